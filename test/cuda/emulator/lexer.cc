#include "lexer.h"

#include <cstring>

namespace emulator {

void invalid(uint32_t line, const std::string& text) {
  throw Failure(CUDA_ERROR_INVALID_PTX, "line " + std::to_string(line) + ": " + text);
}

namespace {

bool begins_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || c == '%' || c == '.';
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool in_word(char c) { return begins_word(c) || is_digit(c); }

int digit_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

struct Lexer {
  std::string_view source;
  size_t at = 0;
  uint32_t line = 1;
  std::vector<Token> tokens;

  void skip_space() {
    while (at < source.size()) {
      char c = source[at];
      if (c == '\n') {
        ++line, ++at;
      } else if (c == ' ' || c == '\t' || c == '\r' || c == '\0') {
        ++at;
      } else if (source.compare(at, 2, "//") == 0) {
        while (at < source.size() && source[at] != '\n') ++at;
      } else if (source.compare(at, 2, "/*") == 0) {
        size_t end = source.find("*/", at + 2);
        if (end == source.npos) invalid(line, "comment without an end");
        for (; at < end + 2; ++at) line += source[at] == '\n';
      } else {
        return;
      }
    }
  }

  Token number() {
    Token token;
    token.line = line;
    size_t begin = at;
    char second = at + 1 < source.size() ? source[at + 1] : 0;
    bool zero = source[at] == '0';
    if (zero && (second == 'f' || second == 'F' || second == 'd' || second == 'D')) {
      bool narrow = second == 'f' || second == 'F';
      at += 2;
      int digits = narrow ? 8 : 16;
      for (int i = 0; i < digits; ++i, ++at) {
        int value = at < source.size() ? digit_value(source[at]) : 99;
        if (value > 15) invalid(line, "expected " + std::to_string(digits) + " hexadecimal digits behind 0f or 0d");
        token.bits = token.bits << 4 | static_cast<uint64_t>(value);
      }
      token.kind = narrow ? Token::Kind::real32 : Token::Kind::real64;
    } else {
      int base = 10;
      if (zero && (second == 'x' || second == 'X'))
        base = 16, at += 2;
      else if (zero && (second == 'b' || second == 'B'))
        base = 2, at += 2;
      else if (zero)
        base = 8;
      size_t first = at;
      for (; at < source.size() && digit_value(source[at]) < base; ++at)
        token.bits = token.bits * static_cast<uint64_t>(base) + static_cast<uint64_t>(digit_value(source[at]));
      if (at == first) invalid(line, "a number without digits");
      if (base == 10 && at < source.size() && (source[at] == '.' || source[at] == 'e' || source[at] == 'E')) {
        // A decimal fraction is a double, as in `.version 9.0`.
        char* end = nullptr;
        std::string digits(source.substr(begin, 64));
        double value = std::strtod(digits.c_str(), &end);
        at = begin + static_cast<size_t>(end - digits.c_str());
        std::memcpy(&token.bits, &value, 8);
        token.kind = Token::Kind::real64;
      } else {
        token.kind = Token::Kind::integer;
        if (at < source.size() && source[at] == 'U') ++at;
      }
    }
    if (at < source.size() && in_word(source[at]))
      invalid(line, "unexpected '" + std::string(1, source[at]) + "' in a number");
    token.text = source.substr(begin, at - begin);
    return token;
  }

  void run() {
    tokens.reserve(source.size() / 5 + 16);
    for (;;) {
      skip_space();
      Token token;
      token.line = line;
      if (at >= source.size()) {
        tokens.push_back(token);
        return;
      }
      char c = source[at];
      size_t begin = at;
      if (is_digit(c)) {
        token = number();
      } else if (c == '"') {
        size_t end = source.find('"', at + 1);
        if (end == source.npos) invalid(line, "string without an end");
        token.kind = Token::Kind::string;
        token.text = source.substr(at + 1, end - at - 1);
        for (; at <= end; ++at) line += source[at] == '\n';
      } else if (begins_word(c)) {
        while (at < source.size()) {
          if (in_word(source[at]))
            ++at;
          else if (source.compare(at, 2, "::") == 0)
            at += 2; // .L2::128B
          else
            break;
        }
        token.kind = Token::Kind::word;
        token.text = source.substr(begin, at - begin);
      } else if (std::strchr("{}[]()<>,;:+-!|@=*/&~", c)) {
        ++at;
        token.kind = Token::Kind::punctuation;
        token.mark = c;
        token.text = source.substr(begin, 1);
      } else {
        invalid(line, std::string("unexpected character '") + c + "'");
      }
      tokens.push_back(token);
    }
  }
};

} // namespace

std::vector<Token> tokenize(std::string_view source) {
  Lexer lexer;
  lexer.source = source;
  lexer.run();
  return std::move(lexer.tokens);
}

} // namespace emulator
