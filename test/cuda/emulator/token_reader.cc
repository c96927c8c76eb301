#include "token_reader.h"

#include <cstring>

namespace emulator {

Operand TokenReader::operand() {
  Operand result;
  const Token& token = peek();
  if (accept('{') || accept('(')) {
    char end = token.is('{') ? '}' : ')';
    result.kind = end == '}' ? Operand::Kind::vector : Operand::Kind::list;
    if (!accept(end)) {
      do result.elements.push_back(operand());
      while (accept(','));
      expect(end);
    }
  } else if (accept('[')) {
    result.kind = Operand::Kind::address;
    if (peek().kind == Token::Kind::word) {
      result.name = next().text;
      result.offset = offset();
    } else {
      bool minus = accept('-');
      int64_t value = static_cast<int64_t>(integer("a register, symbol or integer"));
      result.offset = (minus ? -value : value) + offset();
    }
    expect(']');
  } else if (token.kind == Token::Kind::integer || token.is('-')) {
    result.kind = Operand::Kind::integer;
    result.is_signed = accept('-');
    uint64_t value = integer("an integer");
    result.bits = result.is_signed ? 0 - value : value;
  } else if (token.kind == Token::Kind::real32 || token.kind == Token::Kind::real64) {
    result.kind = token.kind == Token::Kind::real32 ? Operand::Kind::real32 : Operand::Kind::real64;
    result.bits = next().bits;
  } else {
    result.negated = accept('!');
    result.name = word("an operand");
    if (accept('|'))
      result.second = word("a second destination");
    else
      result.offset = offset();
  }
  return result;
}

Variable TokenReader::variable(Space space, bool is_register) {
  Variable result;
  result.line = peek().line;
  result.space = space;
  result.is_register = is_register;
  bool aligned = false;
  uint32_t vector = 1;
  while (peek().kind == Token::Kind::word && peek().text[0] == '.') {
    std::string_view text = next().text;
    if (text == ".align") {
      result.alignment = static_cast<uint32_t>(integer("an alignment"));
      aligned = true;
      if (result.alignment == 0 || (result.alignment & (result.alignment - 1)))
        invalid(result.line, "an alignment must be a power of 2, found " + std::to_string(result.alignment));
    } else if (text == ".v2" || text == ".v4") {
      vector = text == ".v2" ? 2 : 4;
    } else if (text == ".ptr") {
      while (accept(".global") || accept(".shared") || accept(".local") || accept(".const") || accept(".align"))
        if (peek().kind == Token::Kind::integer) next();
    } else {
      result.type = type_named(std::string(text.substr(1)));
      if (result.type == Type::none) invalid(result.line, "unknown type or directive '" + std::string(text) + "'");
    }
  }
  result.name = word("a name");
  result.size = size_of(result.type) * vector;
  if (!aligned) result.alignment = std::max(1u, size_of(result.type) * vector);
  if (is_register) {
    if (vector != 1) invalid(result.line, "vector registers are not supported");
    if (accept('<')) {
      result.count = integer("a count of registers");
      result.range = true;
      expect('>');
    }
    return result;
  }
  while (accept('[')) {
    if (accept(']')) {
      result.dynamic = true;
      result.size = 0;
    } else {
      result.size *= integer("an extent");
      expect(']');
    }
  }
  return result;
}

void TokenReader::initializer_element(Variable& variable, uint64_t& position, uint64_t capacity) {
  if (accept('{')) {
    if (!accept('}')) {
      do initializer_element(variable, position, capacity);
      while (accept(','));
      expect('}');
    }
    return;
  }
  uint32_t size = size_of(variable.type);
  if (position + size > capacity) invalid(peek().line, "too many initial values for " + std::string(variable.name));
  uint64_t bits = 0;
  bool generic = peek().is("generic");
  if (generic) {
    next();
    expect('(');
  }
  Operand value = operand();
  if (generic) expect(')');
  if (value.kind == Operand::Kind::name) {
    if (size != 8) invalid(peek().line, "an address in an initializer needs a 64-bit type");
    variable.initial.pointers.push_back({position, std::string(value.name), value.offset});
  } else if (value.kind == Operand::Kind::real32 && variable.type == Type::f64) {
    float narrow;
    std::memcpy(&narrow, &value.bits, 4);
    double wide = narrow;
    std::memcpy(&bits, &wide, 8);
  } else if (value.kind == Operand::Kind::real64 && variable.type == Type::f32) {
    double wide;
    std::memcpy(&wide, &value.bits, 8);
    float narrow = static_cast<float>(wide);
    std::memcpy(&bits, &narrow, 4);
  } else {
    bits = value.bits;
  }
  std::memcpy(variable.initial.content.data() + position, &bits, size);
  position += size;
}

void TokenReader::initialize(Variable& variable) {
  bool has_content = variable.space == Space::global || variable.space == Space::constant;
  bool given = accept('=');
  if (given && !has_content) invalid(variable.line, "only .global and .const variables have initial values");
  if (given && variable.dynamic) { // the initializer gives the extent
    size_t depth = 0, count = 1;
    for (size_t i = at; tokens[i].kind != Token::Kind::end; ++i) {
      if (tokens[i].is('{')) ++depth;
      if (tokens[i].is('}') && --depth == 0) break;
      if (tokens[i].is(',')) ++count;
    }
    variable.size = count * size_of(variable.type);
    variable.dynamic = false;
  }
  if (has_content) variable.initial.content.assign(variable.size, 0);
  uint64_t position = 0;
  if (given) initializer_element(variable, position, variable.size);
  variable.initial.name = variable.name;
  variable.initial.alignment = variable.alignment;
  variable.initial.size = variable.size;
  variable.initial.external = variable.external;
}

bool TokenReader::space_named(std::string_view text, Space& space, bool& is_register) {
  is_register = text == ".reg";
  if (text == ".global")
    space = Space::global;
  else if (text == ".const")
    space = Space::constant;
  else if (text == ".shared" || text == ".shared::cta")
    space = Space::shared;
  else if (text == ".local")
    space = Space::local;
  else if (text == ".param")
    space = Space::parameter;
  else
    return is_register;
  return true;
}

} // namespace emulator
