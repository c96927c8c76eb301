// Reading tokens: what modules and function bodies have in common.
#pragma once

#include <algorithm>

#include "parser.h"

namespace emulator {

struct TokenReader {
  const std::vector<Token>& tokens;
  size_t at = 0;

  TokenReader(const std::vector<Token>& all) : tokens(all) {}

  const Token& peek(size_t ahead = 0) const { return tokens[std::min(at + ahead, tokens.size() - 1)]; }
  const Token& next() {
    const Token& token = peek();
    if (at + 1 < tokens.size()) ++at;
    return token;
  }
  [[noreturn]] void unexpected(const std::string& expected) const {
    const Token& token = peek();
    std::string found =
        token.kind == Token::Kind::end ? "the end of the text" : "'" + std::string(token.text.substr(0, 60)) + "'";
    invalid(token.line, "expected " + expected + ", found " + found);
  }
  bool accept(char mark) {
    if (!peek().is(mark)) return false;
    next();
    return true;
  }
  bool accept(std::string_view word) {
    if (!peek().is(word)) return false;
    next();
    return true;
  }
  void expect(char mark) {
    if (!accept(mark)) unexpected(std::string("'") + mark + "'");
  }
  std::string_view word(const char* what) {
    if (peek().kind != Token::Kind::word) unexpected(what);
    return next().text;
  }
  uint64_t integer(const char* what) {
    if (peek().kind != Token::Kind::integer) unexpected(what);
    return next().bits;
  }
  int64_t offset() { // "+4", "-4", "+-4" or nothing
    int64_t value = 0;
    while (peek().is('+') || peek().is('-')) {
      bool minus = next().is('-');
      if (minus == false && accept('-')) minus = true;
      int64_t term = static_cast<int64_t>(integer("an offset"));
      value += minus ? -term : term;
    }
    return value;
  }

  // .param .align 8 .b8 name[24], .reg .b32 %r<8>, .shared .align 4 .f32 tile[2][3]; behind the directive of the space.
  Operand operand();
  Variable variable(Space space, bool is_register);
  void initializer_element(Variable& variable, uint64_t& position, uint64_t capacity);
  void initialize(Variable& variable);
  static bool space_named(std::string_view text, Space& space, bool& is_register);
};

} // namespace emulator
