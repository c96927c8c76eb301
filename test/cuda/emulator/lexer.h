// PTX text to tokens.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "isa.h"

namespace emulator {

struct Token {
  // word: directives, opcodes with their modifiers, names of registers and symbols, labels ("add.s32", "%tid.x").
  enum class Kind : uint8_t { word, integer, real32, real64, string, punctuation, end };
  Kind kind = Kind::end;
  char mark = 0;         // of punctuation
  uint32_t line = 0;     // from 1
  std::string_view text; // into the source
  uint64_t bits = 0;     // of numbers
  bool is(char punctuation) const { return kind == Kind::punctuation && mark == punctuation; }
  bool is(std::string_view word) const { return kind == Kind::word && text == word; }
};

[[noreturn]] void invalid(uint32_t line, const std::string& text);

// The source must outlive the tokens. The last token is Kind::end.
std::vector<Token> tokenize(std::string_view source);

} // namespace emulator
