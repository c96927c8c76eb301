// PTX tokens to variables and functions whose bodies are lists of statements; names are not resolved yet.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "isa.h"
#include "lexer.h"

namespace emulator {

struct Operand {
  enum class Kind : uint8_t { name, integer, real32, real64, vector, address, list };
  Kind kind = Kind::name;
  bool negated = false;          // !%p
  bool is_signed = false;        // an integer with a minus sign
  uint64_t bits = 0;             // of numbers
  int64_t offset = 0;            // name+offset, [name+offset]
  std::string_view name;         // "" in an address without a base
  std::string_view second;       // %p|%q
  std::vector<Operand> elements; // {a, b}, (a, b)
};

struct Variable {
  std::string_view name;
  Space space = Space::global;
  Type type = Type::b8;
  uint32_t alignment = 1;
  uint64_t size = 0;  // bytes
  uint64_t count = 1; // for .reg: %r<count> declares %r0 ... %r(count-1)
  bool range = false; // for .reg: declared with <count>
  bool is_register = false;
  bool dynamic = false; // extern array without a size
  bool external = false;
  uint32_t line = 0;
  GlobalVariable initial; // content and pointers of .global and .const
};

struct Statement {
  enum class Kind : uint8_t { instruction, label, open, close, variable };
  Kind kind = Kind::instruction;
  bool invert = false; // @!%p
  uint32_t line = 0;
  std::string_view guard;
  std::string_view name; // opcode with modifiers; label
  std::vector<Operand> operands;
  uint32_t variable = 0; // into Function::variables
};

struct Function {
  std::string_view name;
  bool entry = false;
  bool defined = false;
  uint32_t line = 0;
  std::vector<Variable> results, parameters;
  std::vector<Variable> variables; // declared in the body
  std::vector<Statement> body;
  uint32_t max_threads[3] = {0, 0, 0}, required_threads[3] = {0, 0, 0};
};

struct Module {
  std::vector<Variable> variables;
  std::vector<Function> functions;
  int target = 0; // sm_80 -> 80
};

Module parse_module(const std::vector<Token>& tokens);

} // namespace emulator
