// Names, rows and immediates.
#include <algorithm>
#include <cstring>

#include "decoder.h"

namespace emulator {

namespace {

// "%r12" -> "%r", 12
bool split_number(std::string_view name, std::string_view& prefix, uint64_t& number) {
  size_t at = name.size();
  while (at > 0 && name[at - 1] >= '0' && name[at - 1] <= '9') --at;
  if (at == name.size() || at == 0 || name.size() - at > 9) return false;
  if (name[at] == '0' && at + 1 < name.size()) return false;
  number = 0;
  for (size_t i = at; i < name.size(); ++i) number = number * 10 + static_cast<uint64_t>(name[i] - '0');
  prefix = name.substr(0, at);
  return true;
}

} // namespace

uint32_t Decoder::temporary(uint32_t size) {
  // Rows of 32-bit values fill cache lines; narrower ones share them.
  uint32_t bytes = size * kLanes, alignment = std::min(bytes, 64u);
  uint32_t at = (program_->register_bytes + alignment - 1) / alignment * alignment;
  program_->register_bytes = at + bytes;
  return at;
}

uint32_t Decoder::allocate(Type type) {
  if (type == Type::pred) return program_->predicates++;
  ++program_->registers_used;
  return temporary(size_of(type));
}

Symbol Decoder::lookup(std::string_view name) const {
  std::string_view prefix;
  uint64_t number = 0;
  bool numbered = split_number(name, prefix, number);
  for (int at = scope_; at >= 0; at = scopes_[static_cast<size_t>(at)].parent) {
    const Scope& scope = scopes_[static_cast<size_t>(at)];
    auto found = scope.names.find(name);
    if (found != scope.names.end()) return found->second;
    if (!numbered) continue;
    auto range = scope.ranges.find(prefix);
    if (range == scope.ranges.end() || number >= range->second.rows.size()) continue;
    uint32_t& slot = range->second.rows[number];
    if (slot == UINT32_MAX) slot = const_cast<Decoder*>(this)->allocate(range->second.type);
    bool predicate = range->second.type == Type::pred;
    return {predicate ? Symbol::Kind::predicate : Symbol::Kind::value, range->second.type, Space::generic, slot, 0};
  }
  if (functions_.count(name)) return {Symbol::Kind::function, Type::none, Space::generic, 0, 0};
  auto variable = variables_.find(name);
  if (variable == variables_.end()) return {};
  if (variable->second->space != Space::shared) {
    return {Symbol::Kind::module, Type::b64, variable->second->space, 0, 0};
  }
  auto known = shared_.find(name);
  if (known != shared_.end()) return known->second;
  Decoder& self = *const_cast<Decoder*>(this);
  return self.shared_[name] = self.declare_memory(*variable->second);
}

Symbol Decoder::declare_memory(const Variable& variable) {
  Symbol symbol;
  symbol.kind = Symbol::Kind::memory;
  symbol.type = variable.type;
  symbol.space = variable.space == Space::parameter ? Space::local : variable.space;
  symbol.size = static_cast<uint32_t>(variable.size);
  if (variable.dynamic || (variable.external && variable.space == Space::shared)) {
    if (variable.space != Space::shared || !variable.external)
      invalid(variable.line, "only an .extern .shared array may be without an extent");
    symbol.kind = Symbol::Kind::dynamic_shared;
    dynamic_alignment_ = std::max(dynamic_alignment_, variable.alignment);
    return symbol;
  }
  if (symbol.space != Space::shared && symbol.space != Space::local)
    invalid(variable.line, "a variable of this space cannot be declared in a function");
  uint32_t& used = symbol.space == Space::shared ? program_->shared_bytes : program_->local_bytes;
  // Calls copy parameters by words; nothing is lost by aligning local variables to them.
  uint32_t alignment = std::max(variable.alignment, symbol.space == Space::local ? 8u : 1u);
  symbol.at = (used + alignment - 1) / alignment * alignment;
  used = symbol.at + symbol.size;
  return symbol;
}

void Decoder::declare(Scope& scope, const Variable& variable) {
  if (!variable.is_register) {
    if (!scope.names.emplace(variable.name, declare_memory(variable)).second)
      invalid(variable.line, "'" + std::string(variable.name) + "' is declared twice");
    return;
  }
  if (variable.range) {
    std::vector<uint32_t> rows(variable.count, UINT32_MAX);
    if (!scope.ranges.emplace(variable.name, Registers{variable.type, std::move(rows)}).second)
      invalid(variable.line, "'" + std::string(variable.name) + "' is declared twice");
    return;
  }
  if (!scope.names.emplace(variable.name, instantiate(variable)).second)
    invalid(variable.line, "'" + std::string(variable.name) + "' is declared twice");
}

Symbol Decoder::instantiate(const Variable& formal) {
  if (!formal.is_register) return declare_memory(formal);
  bool predicate = formal.type == Type::pred;
  return {predicate ? Symbol::Kind::predicate : Symbol::Kind::value, formal.type, Space::generic, allocate(formal.type),
          0};
}

void Decoder::check_type(const Symbol& symbol, Type type, std::string_view name, bool wider) const {
  uint32_t have = size_of(symbol.type), want = size_of(type);
  bool fits = wider ? have >= want : have == want;
  // .f32 values do not go where integers are wanted, nor the other way round; .bN goes everywhere.
  bool same = have == want;
  auto kind = [](Type t) { return t >= Type::b8 && t <= Type::b64 ? 0 : is_float(t) ? 2 : 1; };
  bool packed = type == Type::f16x2 || type == Type::bf16x2 || type == Type::tf32;
  if (same && kind(symbol.type) && kind(type) && kind(symbol.type) != kind(type) && !packed) fits = false;
  if (!fits)
    error("'" + std::string(name) + "' is a register of type " + type_name(symbol.type) + ", expected one for " +
          type_name(type));
}

// The row with the address of a variable in its space, as `mov` and [name] see it.
uint32_t Decoder::symbol_row(const Symbol& symbol, std::string_view name, int64_t offset) {
  if (symbol.kind == Symbol::Kind::memory) return constant(8, static_cast<uint64_t>(symbol.at + offset));
  uint32_t row = temporary(8);
  if (symbol.kind == Symbol::Kind::dynamic_shared) {
    dynamic_.push_back({program_->constants.size(), static_cast<uint32_t>(offset)});
    program_->constants.push_back({row, 8, 0});
  } else {
    program_->symbols.push_back({row, std::string(name), offset});
  }
  return row;
}

uint32_t Decoder::source(const Operand& operand, Type type) {
  if (operand.kind != Operand::Kind::name) return constant(size_of(type), immediate(operand, type));
  if (operand.negated || !operand.second.empty()) error("unexpected '!' or '|' at '" + std::string(operand.name) + "'");
  uint32_t row;
  Symbol symbol = lookup(operand.name);
  if (symbol.kind == Symbol::Kind::none && special(operand.name, type, row)) return row;
  if (symbol.kind == Symbol::Kind::none) error("unknown name '" + std::string(operand.name) + "'");
  if (symbol.kind == Symbol::Kind::predicate || symbol.kind == Symbol::Kind::function)
    error("'" + std::string(operand.name) + "' is not a value");
  if (symbol.kind == Symbol::Kind::value) {
    if (operand.offset) error("an offset behind a register outside of an address");
    check_type(symbol, type, operand.name, false);
    return symbol.at;
  }
  uint32_t wide = symbol_row(symbol, operand.name, operand.offset);
  if (size_of(type) == 8) return wide;
  if (size_of(type) != 4 || (symbol.kind == Symbol::Kind::module))
    error("the address of '" + std::string(operand.name) + "' needs a 64-bit type");
  uint32_t narrow = temporary(4);
  Instruction& instruction = emit(resize_handler(4, Type::u64));
  instruction.d = narrow;
  instruction.a = wide;
  return narrow;
}

uint32_t Decoder::source_narrowed(const Operand& operand, Type type) {
  if (operand.kind != Operand::Kind::name) return source(operand, type);
  Symbol symbol = lookup(operand.name);
  if (symbol.kind != Symbol::Kind::value || size_of(symbol.type) == size_of(type)) return source(operand, type);
  check_type(symbol, type, operand.name, true);
  uint32_t row = temporary(size_of(type));
  Instruction& instruction = emit(resize_handler(size_of(type), symbol.type));
  instruction.d = row;
  instruction.a = symbol.at;
  return row;
}

uint32_t Decoder::destination(const Operand& operand, Type type) {
  if (operand.kind != Operand::Kind::name || operand.negated || operand.offset) error("expected a register");
  if (operand.name == "_") {
    uint32_t& row = sink_[size_of(type)];
    return row ? row : row = temporary(size_of(type));
  }
  Symbol symbol = lookup(operand.name);
  if (symbol.kind != Symbol::Kind::value) error("'" + std::string(operand.name) + "' is not a register for values");
  check_type(symbol, type, operand.name, false);
  return symbol.at;
}

uint32_t Decoder::destination_widened(const Operand& operand, Type type) {
  Symbol symbol = operand.kind == Operand::Kind::name ? lookup(operand.name) : Symbol{};
  if (symbol.kind != Symbol::Kind::value || size_of(symbol.type) == size_of(type)) return destination(operand, type);
  check_type(symbol, type, operand.name, true);
  uint32_t row = temporary(size_of(type));
  widenings_.push_back({symbol.at, row, type, size_of(symbol.type)});
  return row;
}

void Decoder::finish_widened() {
  for (const Widening& widening : widenings_) {
    Instruction& instruction = emit(resize_handler(widening.size, widening.type));
    instruction.d = widening.to;
    instruction.a = widening.from;
  }
  widenings_.clear();
}

bool Decoder::is_predicate(const Operand& operand) const {
  return operand.kind == Operand::Kind::name && lookup(operand.name).kind == Symbol::Kind::predicate;
}

uint32_t Decoder::predicate_source(const Operand& operand, bool& negated) {
  negated = operand.negated;
  if (operand.kind == Operand::Kind::integer) { // 1 or 0 stand for true and false
    negated = (operand.bits == 0) != operand.negated;
    return 0;
  }
  if (!is_predicate(operand)) error("'" + std::string(operand.name) + "' is not a predicate");
  return lookup(operand.name).at;
}

uint32_t Decoder::predicate_destination(std::string_view name) {
  if (name == "_") return temporary_predicate();
  Symbol symbol = lookup(name);
  if (symbol.kind != Symbol::Kind::predicate) error("'" + std::string(name) + "' is not a predicate");
  return symbol.at;
}

AddressOperand Decoder::address(const Operand& operand, Space space) {
  if (operand.kind != Operand::Kind::address) error("expected an address in brackets");
  AddressOperand result;
  result.space = space;
  result.offset = operand.offset;
  if (operand.name.empty()) {
    result.row = constant(8, 0);
    return result;
  }
  Symbol symbol = lookup(operand.name);
  if (symbol.kind == Symbol::Kind::value) {
    result.size = size_of(symbol.type);
    if (is_float(symbol.type) || (result.size != 8 && result.size != 4))
      error("'" + std::string(operand.name) + "' cannot hold an address");
    bool narrow_space = space == Space::shared || space == Space::local || space == Space::parameter;
    if (result.size == 4 && !narrow_space) error("a 32-bit address outside of .shared, .local and .param");
    if (space == Space::parameter && !in_entry()) error("ld.param through a register in a function");
    result.row = symbol.at;
    return result;
  }
  if (symbol.kind == Symbol::Kind::none || symbol.kind == Symbol::Kind::predicate ||
      symbol.kind == Symbol::Kind::function)
    error("unknown address '" + std::string(operand.name) + "'");
  // Parameters of calls are local memory, those of the entry are not; both are .param.
  bool matches =
      space == symbol.space || space == Space::generic || (space == Space::parameter && symbol.space == Space::local);
  if (!matches) error("'" + std::string(operand.name) + "' is in another space than the instruction's");
  if (space == Space::generic && symbol.kind != Symbol::Kind::module)
    error("the generic address of '" + std::string(operand.name) + "' needs cvta");
  result.space = space == Space::generic ? Space::generic : symbol.space;
  result.row = symbol_row(symbol, operand.name, 0);
  return result;
}

} // namespace emulator
