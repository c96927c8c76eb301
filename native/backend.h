// What a device offers. A backend turns each plan step into a Kernel once, when a session is compiled, with
// every pointer resolved; running a step is then one virtual call. Kernels know neither N-API nor plans
// beyond the step they were made from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "plan.h"

namespace nodevae {

class Pool;

// Noise that a program makes for itself instead of loading it: number `first` + strides . index of a draw (philox.h).
struct NoiseSource {
  bool normal; // else uniform
  uint32_t stream;
  int64_t first;
};

// A step whose operands point at memory. Views have been bounds-checked by parse_plan.
struct ResolvedOperand {
  void* data; // base + offset applied
  DType dtype;
  int64_t strides[kDims];
  int64_t elements_left; // elements from `data` to the end of its buffer (for vector over-reads: none allowed)
  std::optional<NoiseSource> noise = std::nullopt; // what loads give in place of memory; none on the CPU
};

struct ResolvedStep {
  KernelId kernel;
  int64_t space[kDims];
  std::vector<ResolvedOperand> operands;
  std::vector<int32_t> attributes;
  std::vector<Instruction> program;
};

// Thrown by a kernel while it runs (an index out of range, a device fault); the session reports it with the
// step's number and stops before the next step.
struct KernelError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct RunContext {
  Pool* pool;
  uint64_t seed;
  uint64_t step;      // counter of the noise, the batch order and step_index
  char* shared;       // scratch for partial results, Kernel::shared_bytes() at least, 64-byte aligned
  char* const* local; // one scratch area per thread of the pool, Kernel::local_bytes() at least, 64-byte aligned
};

class Kernel {
public:
  virtual ~Kernel() = default;
  virtual size_t shared_bytes() const { return 0; }
  virtual size_t local_bytes() const { return 0; }
  virtual void run(const RunContext& context) = 0;
};

// CPU: instruction tiers are "portable", "avx2", "avx512", "neon". The tier is fixed at first use: the best one
// the processor has, or the one NODE_VAE_ISA names (an unknown or unsupported name is an error).
std::vector<std::string> cpu_available_tiers(); // best first
std::string cpu_tier();                         // throws std::runtime_error for a bad NODE_VAE_ISA
std::unique_ptr<Kernel> make_cpu_kernel(const ResolvedStep& step, int threads, const std::string& tier);

// Same-run probes for benchmarks: GFLOP/s of register-only FMAs, and of the GEMM microkernel on panels in L1.
double cpu_probe_fma(const std::string& tier, double seconds);
double cpu_probe_l1(const std::string& tier, double seconds);

} // namespace nodevae
