// From statements to instructions: resolves names to rows and selects handlers.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "machine.h"
#include "parser.h"

namespace emulator {

class Decoder;
using DecodeInstruction = void (*)(Decoder&);
using Registry = std::unordered_map<std::string_view, DecodeInstruction>;

const char* type_name(Type type); // ".u32"

// What a name stands for.
struct Symbol {
  enum class Kind : uint8_t { none, value, predicate, memory, dynamic_shared, module, function };
  Kind kind = Kind::none;
  Type type = Type::none;
  Space space = Space::global; // of memory
  uint32_t at = 0;             // row, predicate, or offset in the space
  uint32_t size = 0;           // of memory in bytes
};

struct AddressOperand {
  uint32_t row = 0;
  uint32_t size = 8; // of the row's values
  int64_t offset = 0;
  Space space = Space::generic;
};

class Decoder {
public:
  Decoder(const Module& module, const std::unordered_map<std::string_view, const Variable*>& variables,
          const std::unordered_map<std::string_view, const Function*>& functions, int capability);
  std::shared_ptr<Program> decode(const Function& entry);

  // ---- the statement at hand, for the functions in the registry
  bool take(std::string_view modifier); // true when the opcode has it; it is then dealt with
  std::string_view opcode() const { return statement_->name.substr(0, statement_->name.find('.')); }
  bool has(std::string_view modifier) const; // without dealing with it
  uint32_t carry_predicate();                // the condition code register of add.cc and addc
  Type take_type();                          // the first modifier that names a type; an error without one
  Type take_type_or(Type fallback);          //
  std::string_view first_of(std::initializer_list<std::string_view> names); // takes one of them; "" without any
  void expect_operands(size_t least, size_t most);                          // and all modifiers dealt with
  size_t operand_count() const { return statement_->operands.size(); }
  const Operand& operand(size_t index) const { return statement_->operands[index]; }
  int capability() const { return capability_; }
  void need(int capability, const char* what) const; // an error on lesser devices
  [[noreturn]] void error(const std::string& text) const;

  uint32_t source(const Operand& operand, Type type); // row
  uint32_t source(size_t index, Type type) { return source(operand(index), type); }
  uint32_t source_narrowed(const Operand& operand, Type type); // also from a wider register, as st and cvt allow
  uint32_t destination(const Operand& operand, Type type);     // row; `_` is a row that nobody reads
  uint32_t destination(size_t index, Type type) { return destination(operand(index), type); }
  // For ld and cvt: a row for the value, to be passed to finish_widened() behind the instruction.
  uint32_t destination_widened(const Operand& operand, Type type);
  void finish_widened();
  uint32_t predicate_source(const Operand& operand, bool& negated);
  uint32_t predicate_destination(const Operand& operand) { return predicate_destination(operand.name); }
  uint32_t predicate_destination(std::string_view name);
  bool is_predicate(const Operand& operand) const;
  uint32_t constant(uint32_t size, uint64_t bits);
  uint32_t temporary(uint32_t size);
  uint32_t temporary_predicate() { return program_->predicates++; }
  AddressOperand address(const Operand& operand, Space space); // [a+4]
  Symbol lookup(std::string_view name) const;
  Instruction& emit(Handler handler); // guarded as the statement is
  uint32_t extras(const std::vector<uint32_t>& values);
  uint32_t memory_number() { return program_->memory_accesses++; }

  // ---- control flow
  void branch(Handler handler, std::string_view label);
  void branch_table(Handler handler, uint32_t index_row, std::string_view label);
  void call();
  bool in_entry() const { return function_->entry; }
  uint32_t return_row() const;

private:
  struct Registers {
    Type type;
    std::vector<uint32_t> rows; // UINT32_MAX: not used yet
  };
  struct Scope {
    std::unordered_map<std::string_view, Symbol> names;
    mutable std::unordered_map<std::string_view, Registers> ranges;
    std::unordered_map<std::string_view, uint32_t> labels; // to statement numbers
    int parent = -1;
  };
  struct Instance { // of a function in this program
    const Function* function = nullptr;
    std::vector<Symbol> results, parameters;
    uint32_t return_row = 0;
    uint32_t first = 0; // instruction
    std::vector<const Function*> calls;
  };
  struct Jump {
    size_t instruction;
    uint32_t statement;       // of this function
    const Function* function; // or the function called
    bool in_table = false;    // `instruction` is a place in the extras
  };

  uint32_t allocate(Type type);
  uint32_t find_label(std::string_view label) const; // statement
  Symbol declare_memory(const Variable& variable);
  void declare(Scope& scope, const Variable& variable);
  Symbol instantiate(const Variable& formal);
  Instance& instance(const Function& function);
  void decode_function(const Function& function);
  void decode_statement(const Statement& statement);
  void pass(const Symbol& to, const Operand* actual, const Symbol* from);
  void check_recursion() const;
  uint32_t symbol_row(const Symbol& symbol, std::string_view name, int64_t offset);
  void check_type(const Symbol& symbol, Type type, std::string_view name, bool wider) const;
  uint64_t immediate(const Operand& operand, Type type) const;
  bool special(std::string_view name, Type type, uint32_t& row);

  const Module& module_;
  const std::unordered_map<std::string_view, const Variable*>& variables_;
  const std::unordered_map<std::string_view, const Function*>& functions_;
  int capability_;
  std::shared_ptr<Program> program_;
  const Function* function_ = nullptr;
  const Statement* statement_ = nullptr;
  std::vector<std::string_view> modifiers_;
  uint32_t taken_ = 0; // bit i: modifiers_[i] was dealt with
  std::vector<Scope> scopes_;
  int scope_ = 0;
  std::vector<Instance> instances_;
  std::vector<Jump> jumps_;
  std::unordered_map<std::string_view, Symbol> shared_; // of the module, that this program uses
  std::vector<std::pair<size_t, uint32_t>> dynamic_;    // constants that are addresses in dynamic shared memory
  uint32_t dynamic_alignment_ = 16;
  std::unordered_map<uint64_t, uint32_t> constants_[4]; // by size: bits -> row
  std::unordered_map<uint32_t, uint32_t> special_rows_;
  struct Widening {
    uint32_t to, from;
    Type type;
    uint32_t size;
  };
  std::vector<Widening> widenings_;
  uint32_t carry_ = 0;
  uint32_t sink_[9] = {}; // rows by size for `_`
};

const Registry& registry();
void register_integer(Registry& registry);
void register_bits(Registry& registry);
void register_float(Registry& registry);
void register_functions(Registry& registry);
void register_compare(Registry& registry);
void register_convert(Registry& registry);
void register_move(Registry& registry);
void register_memory(Registry& registry);
void register_atomic(Registry& registry);
void register_control(Registry& registry);
void register_warp(Registry& registry);
void register_barrier(Registry& registry);
void register_async(Registry& registry);
void register_matrix(Registry& registry);

// Row of `size` bytes per lane from one of another size (narrowing, or widening as `type` of the source says).
Handler resize_handler(uint32_t to, Type from);

} // namespace emulator
