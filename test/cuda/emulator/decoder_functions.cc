// Functions within a program: their frames, calls, and the entry with all that it calls. Registers and parameters of a
// function are rows of the program like any others, which is enough as there is no recursion.
#include <algorithm>
#include <functional>

#include "handlers.h"

namespace emulator {

Decoder::Instance& Decoder::instance(const Function& function) {
  for (Instance& known : instances_)
    if (known.function == &function) return known;
  if (!function.defined) error("function '" + std::string(function.name) + "' is not defined in this module");
  Instance made;
  made.function = &function;
  for (const Variable& result : function.results) made.results.push_back(instantiate(result));
  for (const Variable& parameter : function.parameters) made.parameters.push_back(instantiate(parameter));
  made.return_row = temporary(4);
  instances_.push_back(std::move(made));
  return instances_.back();
}

// Copies an actual parameter to a formal one (from == nullptr: `actual` is the source), or a result back.
void Decoder::pass(const Symbol& to, const Operand* actual, const Symbol* from) {
  Symbol other;
  if (actual->kind == Operand::Kind::name) other = lookup(actual->name);
  const Symbol& formal = from ? *from : to;
  if (formal.kind == Symbol::Kind::memory) {
    if (other.kind != Symbol::Kind::memory || other.space != Space::local)
      error("expected a .param variable, found '" + std::string(actual->name) + "'");
    if (other.size != formal.size)
      error("'" + std::string(actual->name) + "' has " + std::to_string(other.size) + " bytes, expected " +
            std::to_string(formal.size));
    Instruction& copy = emit(copy_local);
    copy.d = from ? other.at : formal.at;
    copy.a = from ? formal.at : other.at;
    copy.b = formal.size;
  } else if (formal.kind == Symbol::Kind::predicate) {
    bool negated = false;
    uint32_t there = from ? predicate_destination(*actual) : predicate_source(*actual, negated);
    Instruction& move = emit(move_predicate);
    move.d = from ? there : formal.at;
    move.a = from ? formal.at : there;
    move.flags = negated ? kAllLanes : 0;
  } else {
    uint32_t there = from ? destination(*actual, formal.type) : source(*actual, formal.type);
    Instruction& move = emit(resize_handler(size_of(formal.type), formal.type));
    move.d = from ? there : formal.at;
    move.a = from ? formal.at : there;
  }
}

void Decoder::call() {
  size_t at = 0;
  std::vector<Operand> results, arguments;
  if (at < operand_count() && operand(at).kind == Operand::Kind::list) results = operand(at++).elements;
  if (at >= operand_count() || operand(at).kind != Operand::Kind::name) error("expected a function");
  std::string_view name = operand(at++).name;
  if (at < operand_count() && operand(at).kind == Operand::Kind::list) arguments = operand(at++).elements;
  if (at != operand_count()) error("calls through a pointer are not supported");
  auto found = functions_.find(name);
  if (found == functions_.end()) error("unknown function '" + std::string(name) + "'");
  const Function& function = *found->second;
  if (function.entry) error("'" + std::string(name) + "' is an entry");
  Instance callee = instance(function);
  if (callee.results.size() != results.size() || callee.parameters.size() != arguments.size())
    error("'" + std::string(name) + "' has " + std::to_string(callee.parameters.size()) + " parameters and " +
          std::to_string(callee.results.size()) + " results, found " + std::to_string(arguments.size()) + " and " +
          std::to_string(results.size()));
  for (size_t i = 0; i < arguments.size(); ++i) pass(callee.parameters[i], &arguments[i], nullptr);
  Instruction& instruction = emit(call_function);
  instruction.d = callee.return_row;
  jumps_.push_back({program_->code.size() - 1, 0, &function});
  for (Instance& caller : instances_)
    if (caller.function == function_) caller.calls.push_back(&function);
  for (size_t i = 0; i < results.size(); ++i) pass(callee.results[i], &results[i], &callee.results[i]);
}

void Decoder::check_recursion() const {
  std::unordered_map<const Function*, int> state; // 1: being visited, 2: done
  std::function<void(const Function*)> visit = [&](const Function* function) {
    int& mark = state[function];
    if (mark == 1) invalid(function->line, "recursion in '" + std::string(function->name) + "' is not supported");
    if (mark == 2) return;
    mark = 1;
    for (const Instance& known : instances_)
      if (known.function == function)
        for (const Function* callee : known.calls) visit(callee);
    state[function] = 2;
  };
  for (const Instance& known : instances_) visit(known.function);
}

std::shared_ptr<Program> Decoder::decode(const Function& entry) {
  program_ = std::make_shared<Program>();
  program_->name = entry.name;
  std::copy(entry.max_threads, entry.max_threads + 3, program_->max_threads);
  std::copy(entry.required_threads, entry.required_threads + 3, program_->required_threads);
  if (entry.entry) {
    uint32_t& bytes = program_->parameter_bytes;
    for (const Variable& formal : entry.parameters) {
      if (formal.is_register) invalid(formal.line, "parameters of an entry are in .param");
      bytes = (bytes + formal.alignment - 1) / formal.alignment * formal.alignment;
      uint32_t size = static_cast<uint32_t>(formal.size);
      program_->parameters.push_back({std::string(formal.name), bytes, size, formal.alignment});
      bytes += size;
    }
    Instance first;
    first.function = &entry;
    instances_.push_back(first);
  } else {
    instance(entry);
  }
  std::vector<Jump> calls;
  for (size_t i = 0; i < instances_.size(); ++i) { // grows while functions are decoded
    decode_function(*instances_[i].function);
    for (const Jump& jump : jumps_)
      if (jump.function) calls.push_back(jump);
  }
  for (const Jump& call : calls)
    for (const Instance& callee : instances_)
      if (callee.function == call.function) program_->code[call.instruction].immediate = callee.first;
  check_recursion();
  uint32_t alignment = dynamic_alignment_;
  program_->dynamic_offset =
      dynamic_.empty() ? program_->shared_bytes : (program_->shared_bytes + alignment - 1) / alignment * alignment;
  for (const auto& [number, offset] : dynamic_)
    program_->constants[number].bits = static_cast<uint64_t>(program_->dynamic_offset) + static_cast<int32_t>(offset);
  program_->local_bytes = (program_->local_bytes + 15) / 16 * 16;
  return program_;
}

} // namespace emulator
