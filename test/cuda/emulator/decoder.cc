// Statements to instructions, functions to programs.
#include "decoder.h"

#include <algorithm>
#include <functional>

#include "handlers.h"

namespace emulator {

Decoder::Decoder(const Module& module, const std::unordered_map<std::string_view, const Variable*>& variables,
                 const std::unordered_map<std::string_view, const Function*>& functions, int capability)
    : module_(module), variables_(variables), functions_(functions), capability_(capability) {}

void Decoder::error(const std::string& text) const {
  std::string opcode(statement_->name);
  invalid(statement_->line, opcode + ": " + text);
}

void Decoder::need(int capability, const char* what) const {
  if (capability_ < capability)
    error(std::string(what) + " needs compute capability " + std::to_string(capability / 10) + "." +
          std::to_string(capability % 10) + ", the device has " + std::to_string(capability_ / 10) + "." +
          std::to_string(capability_ % 10));
  if (module_.target < capability)
    error(std::string(what) + " needs .target sm_" + std::to_string(capability) + ", the module has sm_" +
          std::to_string(module_.target));
}

bool Decoder::take(std::string_view modifier) {
  for (size_t i = 0; i < modifiers_.size(); ++i)
    if (!(taken_ >> i & 1) && modifiers_[i] == modifier) {
      taken_ |= 1u << i;
      return true;
    }
  return false;
}

bool Decoder::has(std::string_view modifier) const {
  return std::find(modifiers_.begin(), modifiers_.end(), modifier) != modifiers_.end();
}

uint32_t Decoder::carry_predicate() {
  if (!carry_) carry_ = program_->predicates++;
  return carry_;
}

std::string_view Decoder::first_of(std::initializer_list<std::string_view> names) {
  for (std::string_view name : names)
    if (take(name)) return name;
  return "";
}

Type Decoder::take_type_or(Type fallback) {
  for (size_t i = 0; i < modifiers_.size(); ++i) {
    if (taken_ >> i & 1) continue;
    Type type = type_named(std::string(modifiers_[i]));
    if (type == Type::none) continue;
    taken_ |= 1u << i;
    return type;
  }
  return fallback;
}

Type Decoder::take_type() {
  Type type = take_type_or(Type::none);
  if (type == Type::none) error("expected a type");
  return type;
}

void Decoder::expect_operands(size_t least, size_t most) {
  for (size_t i = 0; i < modifiers_.size(); ++i)
    if (!(taken_ >> i & 1)) error("unknown modifier '." + std::string(modifiers_[i]) + "'");
  size_t count = operand_count();
  if (count < least || count > most)
    error("expected " + std::to_string(least) + (most > least ? " to " + std::to_string(most) : "") +
          " operands, found " + std::to_string(count));
}

Instruction& Decoder::emit(Handler handler) {
  if (!handler) error("this combination of types is not supported");
  Instruction instruction;
  instruction.run = handler;
  instruction.line = statement_->line;
  if (!statement_->guard.empty()) {
    Symbol symbol = lookup(statement_->guard);
    if (symbol.kind != Symbol::Kind::predicate) error("'" + std::string(statement_->guard) + "' is not a predicate");
    instruction.guard = symbol.at;
    instruction.invert = statement_->invert ? kAllLanes : 0;
  }
  program_->code.push_back(instruction);
  return program_->code.back();
}

uint32_t Decoder::extras(const std::vector<uint32_t>& values) {
  uint32_t first = static_cast<uint32_t>(program_->extras.size());
  program_->extras.insert(program_->extras.end(), values.begin(), values.end());
  return first;
}

uint32_t Decoder::return_row() const {
  for (const Instance& known : instances_)
    if (known.function == function_) return known.return_row;
  return 0;
}

uint32_t Decoder::find_label(std::string_view label) const {
  for (int at = scope_; at >= 0; at = scopes_[static_cast<size_t>(at)].parent) {
    auto found = scopes_[static_cast<size_t>(at)].labels.find(label);
    if (found != scopes_[static_cast<size_t>(at)].labels.end()) return found->second;
  }
  error("unknown label '" + std::string(label) + "'");
}

void Decoder::branch(Handler handler, std::string_view label) {
  uint32_t statement = find_label(label);
  emit(handler);
  jumps_.push_back({program_->code.size() - 1, statement, nullptr});
}

void Decoder::branch_table(Handler handler, uint32_t index_row, std::string_view label) {
  size_t at = find_label(label) + 1;
  if (at >= function_->body.size() || function_->body[at].name != ".branchtargets")
    error("expected .branchtargets at '" + std::string(label) + "'");
  const std::vector<Operand>& targets = function_->body[at].operands;
  uint32_t first = extras(std::vector<uint32_t>(targets.size()));
  for (size_t i = 0; i < targets.size(); ++i) jumps_.push_back({first + i, find_label(targets[i].name), nullptr, true});
  Instruction& instruction = emit(handler);
  instruction.a = index_row, instruction.extra = first, instruction.flags = static_cast<uint32_t>(targets.size());
}

void Decoder::decode_statement(const Statement& statement) {
  statement_ = &statement;
  modifiers_.clear();
  taken_ = 0;
  std::string_view rest = statement.name;
  size_t dot = rest.find('.');
  std::string_view opcode = rest.substr(0, dot);
  while (dot != rest.npos) {
    rest = rest.substr(dot + 1);
    dot = rest.find('.');
    modifiers_.push_back(rest.substr(0, dot));
  }
  if (modifiers_.size() > 31) error("too many modifiers");
  auto found = registry().find(opcode);
  if (found == registry().end()) error("unknown instruction");
  found->second(*this);
}

void Decoder::decode_function(const Function& function) {
  function_ = &function;
  scopes_.assign(1, Scope{});
  scope_ = 0;
  Instance own; // instances_ may grow meanwhile
  for (Instance& known : instances_)
    if (known.function == &function) {
      known.first = static_cast<uint32_t>(program_->code.size());
      own = known;
    }
  if (function.entry) {
    for (const Parameter& parameter : program_->parameters) {
      const Symbol symbol{Symbol::Kind::memory, Type::b8, Space::parameter, parameter.offset, parameter.size};
      for (const Variable& formal : function.parameters)
        if (formal.name == parameter.name) scopes_[0].names.emplace(formal.name, symbol);
    }
  }
  for (size_t i = 0; i < own.results.size(); ++i) scopes_[0].names.emplace(function.results[i].name, own.results[i]);
  for (size_t i = 0; i < own.parameters.size(); ++i)
    scopes_[0].names.emplace(function.parameters[i].name, own.parameters[i]);
  // Labels may be used before they are met, so scopes and labels come first.
  std::vector<int> opened;
  for (size_t i = 0; i < function.body.size(); ++i) {
    const Statement& statement = function.body[i];
    if (statement.kind == Statement::Kind::open) {
      scopes_.emplace_back();
      scopes_.back().parent = scope_;
      scope_ = static_cast<int>(scopes_.size()) - 1;
    } else if (statement.kind == Statement::Kind::close) {
      scope_ = scopes_[static_cast<size_t>(scope_)].parent;
    } else if (statement.kind == Statement::Kind::label) {
      if (!scopes_[static_cast<size_t>(scope_)].labels.emplace(statement.name, static_cast<uint32_t>(i)).second)
        invalid(statement.line, "label '" + std::string(statement.name) + "' is set twice");
    }
  }
  std::vector<uint32_t> position(function.body.size() + 1);
  int next_scope = 1;
  scope_ = 0;
  jumps_.clear();
  for (size_t i = 0; i < function.body.size(); ++i) {
    const Statement& statement = function.body[i];
    position[i] = static_cast<uint32_t>(program_->code.size());
    switch (statement.kind) {
    case Statement::Kind::open:
      scope_ = next_scope++;
      break;
    case Statement::Kind::close:
      scope_ = scopes_[static_cast<size_t>(scope_)].parent;
      break;
    case Statement::Kind::label:
      break;
    case Statement::Kind::variable:
      declare(scopes_[static_cast<size_t>(scope_)], function.variables[statement.variable]);
      break;
    case Statement::Kind::instruction:
      if (statement.name != ".branchtargets") decode_statement(statement);
      break;
    }
  }
  Statement end; // what falls off the end returns
  end.line = function.body.empty() ? function.line : function.body.back().line;
  end.name = "ret";
  scope_ = 0;
  decode_statement(end);
  for (const Jump& jump : jumps_)
    if (jump.in_table)
      program_->extras[jump.instruction] = position[jump.statement];
    else if (!jump.function)
      program_->code[jump.instruction].immediate = position[jump.statement];
}

const Registry& registry() {
  static const Registry* all = [] {
    Registry* made = new Registry;
    for (auto add : {register_integer, register_bits, register_float, register_functions, register_compare,
                     register_convert, register_move, register_memory, register_atomic, register_control, register_warp,
                     register_barrier, register_async, register_matrix})
      add(*made);
    return made;
  }();
  return *all;
}

std::shared_ptr<const Image> decode_module(const std::string& text, int capability) {
  auto source = std::make_shared<const std::string>(text);
  Module module = parse_module(tokenize(*source));
  if (module.target > capability)
    throw Failure(CUDA_ERROR_NO_BINARY_FOR_GPU,
                  "the module is for sm_" + std::to_string(module.target) + ", the device has compute capability " +
                      std::to_string(capability / 10) + "." + std::to_string(capability % 10));
  auto image = std::make_shared<Image>();
  std::unordered_map<std::string_view, const Variable*> variables;
  std::unordered_map<std::string_view, const Function*> functions;
  for (const Variable& variable : module.variables) {
    auto [known, added] = variables.emplace(variable.name, &variable);
    if (!added && !variable.external) {
      if (!known->second->external) invalid(variable.line, "'" + std::string(variable.name) + "' is defined twice");
      known->second = &variable;
    }
  }
  for (const auto& [name, variable] : variables) {
    if (variable->space != Space::global && variable->space != Space::constant) continue;
    if (variable->external) invalid(variable->line, "'" + std::string(name) + "' is not defined in this module");
    image->variables.emplace(name, variable->initial);
  }
  for (const Function& function : module.functions) {
    auto [known, added] = functions.emplace(function.name, &function);
    if (!added && function.defined) {
      if (known->second->defined) invalid(function.line, "'" + std::string(function.name) + "' is defined twice");
      known->second = &function;
    }
  }
  for (const Function& function : module.functions) {
    if (!function.defined) continue;
    // A function that no entry calls is decoded as well, so that what it has is checked.
    Decoder decoder(module, variables, functions, capability);
    std::shared_ptr<Program> program = decoder.decode(function);
    program->text = source;
    if (function.entry) image->programs[std::string(function.name)] = program;
  }
  return image;
}

} // namespace emulator
