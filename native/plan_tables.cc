// Names and arities of what ops.def lists, in its order.
#include "plan.h"

namespace nodevae {
namespace {

constexpr const char* kKernelNames[] = {
#define KERNEL(name) #name,
#include "ops.def"
};

struct OpcodeRow {
  const char* name;
  int arity;
};

constexpr OpcodeRow kOpcodes[] = {
#define STRUCTURAL(name) {#name, 0},
#define UNARY(name, expression) {#name, 1},
#define BINARY(name, expression) {#name, 2},
#define TERNARY(name, expression) {#name, 3},
#include "ops.def"
};

static_assert(sizeof(kKernelNames) / sizeof(kKernelNames[0]) == static_cast<size_t>(KernelId::count));
static_assert(sizeof(kOpcodes) / sizeof(kOpcodes[0]) == static_cast<size_t>(Opcode::count));

} // namespace

const char* kernel_name(KernelId id) { return kKernelNames[static_cast<int>(id)]; }
const char* opcode_name(Opcode op) { return kOpcodes[static_cast<int>(op)].name; }
int opcode_arity(Opcode op) { return kOpcodes[static_cast<int>(op)].arity; }

} // namespace nodevae
