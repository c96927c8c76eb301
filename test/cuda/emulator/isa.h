// The decoded form of PTX. A warp is interpreted as one: every register is a row of 32 values, and one handler call
// executes an instruction for all lanes of a mask, so that decoding costs are shared by 32 threads and the rows
// vectorize. Immediates, addresses of symbols and special registers are rows as well: handlers read rows only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <cuda.h>

namespace emulator {

constexpr int kLanes = 32;
constexpr uint32_t kAllLanes = 0xffffffffu;

enum class Type : uint8_t {
  none,
  pred,
  b8,
  b16,
  b32,
  b64,
  u8,
  u16,
  u32,
  u64,
  s8,
  s16,
  s32,
  s64,
  f16,
  f16x2,
  bf16,
  bf16x2,
  tf32,
  f32,
  f64
};

// Bytes of a value in memory and of a lane in its row; 0 for predicates, which are masks.
inline uint32_t size_of(Type type) {
  constexpr uint8_t sizes[] = {0, 0, 1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 2, 4, 4, 4, 8};
  return sizes[static_cast<int>(type)];
}
inline bool is_signed(Type type) { return type >= Type::s8 && type <= Type::s64; }
inline bool is_float(Type type) { return type >= Type::f16; }
Type type_named(const std::string& name); // "u32" -> Type::u32; none when it names no type

// What cuModuleLoadData and cuLaunchKernel report.
struct Failure : std::runtime_error {
  Failure(CUresult code, const std::string& text) : std::runtime_error(text), result(code) {}
  CUresult result;
};

enum class Space : uint8_t { generic, global, shared, local, parameter, constant };

// next: go on behind the instruction; jumped: all lanes go on at Warp::pc; moved: the lanes' own pcs were written.
enum class Flow { next, jumped, moved };

struct Warp;
struct Instruction;
using Handler = Flow (*)(Warp& warp, const Instruction& instruction, uint32_t mask);

struct Instruction {
  Handler run = nullptr;
  uint32_t guard = 0;                  // predicate; number 0 is always true
  uint32_t invert = 0;                 // kAllLanes: executed where the predicate is false
  uint32_t d = 0, a = 0, b = 0, c = 0; // rows (byte offsets) or predicates (numbers)
  uint32_t extra = 0;                  // first of further operands in Program::extras; meaning depends on the handler
  uint32_t flags = 0;                  // depends on the handler
  int64_t immediate = 0;               // offset of an address, target of a branch, ...
  uint32_t line = 0;                   // of the PTX text, from 1
  uint32_t memory = 0;                 // number among the instructions that access global memory
};

// How a special register's row is filled.
enum class Special : uint8_t {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  nwarpid,
  smid,
  nsmid,
  gridid,
  lanemask_eq,
  lanemask_le,
  lanemask_lt,
  lanemask_ge,
  lanemask_gt,
  dynamic_smem_size,
  total_smem_size,
};

struct Parameter {
  std::string name;
  uint32_t offset = 0, size = 0, alignment = 1;
};

// A variable of the module in .global or .const.
struct GlobalVariable {
  std::string name;
  uint32_t alignment = 1;
  uint64_t size = 0;
  bool external = false;
  std::vector<uint8_t> content; // zeros without an initializer
  struct Pointer {
    uint64_t offset;
    std::string symbol;
    int64_t addend;
  };
  std::vector<Pointer> pointers; // addresses within content
};

// An entry with the functions that it calls, linked: one array of instructions.
struct Program {
  std::string name;
  std::vector<Instruction> code;
  std::vector<uint32_t> extras;
  std::vector<Parameter> parameters;
  uint32_t parameter_bytes = 0;

  // Rows of the register file that are filled before a block begins.
  struct Constant {
    uint32_t row;
    uint32_t size; // of a lane
    uint64_t bits;
  };
  struct Symbol { // constant row with the address of a module's variable
    uint32_t row;
    std::string name;
    int64_t addend;
  };
  struct SpecialRow {
    uint32_t row;
    uint32_t size;
    Special special;
  };
  std::vector<Constant> constants;
  std::vector<Symbol> symbols;
  std::vector<SpecialRow> specials;
  uint32_t register_bytes = 0;
  uint32_t predicates = 1;
  uint32_t memory_accesses = 0;

  uint32_t shared_bytes = 0; // static; the dynamic part begins at dynamic_offset
  uint32_t dynamic_offset = 0;
  uint32_t local_bytes = 0; // per thread, parameters of calls included
  uint32_t max_threads[3] = {0, 0, 0}, required_threads[3] = {0, 0, 0};
  uint32_t registers_used = 0; // for cuFuncGetAttribute: an estimate, as nothing is allocated

  std::shared_ptr<const std::string> text;
  std::string line_text(uint32_t line) const;
};

// A module's text, decoded; shared by all modules loaded from equal texts.
struct Image {
  std::map<std::string, GlobalVariable> variables;
  std::map<std::string, std::shared_ptr<Program>> programs;
};

// Throws Failure (CUDA_ERROR_INVALID_PTX) with "line N: ..." for everything that is not understood.
std::shared_ptr<const Image> decode_module(const std::string& text, int capability);

} // namespace emulator
