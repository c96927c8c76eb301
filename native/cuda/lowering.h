// From a plan's step to launches of CUDA kernels, as plain data: nothing here needs a driver or a GPU, so the
// lowering of any plan can be printed, assembled with ptxas and run by the emulator of test/cuda.
//
// Kernels are CUDA C++ (*.cu), compiled by nvcc to PTX when the addon is built and embedded as text. A kernel that
// applies a program (an epilogue) holds markers; program.cc replaces them by PTX generated for the program at hand,
// and the driver compiles the result for the device. So every epilogue is compiled into its kernel, for every GPU
// there is or will be, without a compiler on the user's machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../backend.h"
#include "state.h"

namespace nodevae::cuda {

// How products and convolutions are computed. All of them accumulate in float32.
enum class Precision { float32, tf32, bfloat16 };

// What the lowering may count on.
struct Target {
  int capability = 80; // compute capability 8.0
  int multiprocessors = 108;
  size_t shared_bytes = 99 * 1024; // of shared memory that a block may ask for
  Precision precision = Precision::float32;
};

// Device addresses that the session provides.
struct Addresses {
  uint64_t state = 0;   // RunState
  uint64_t scratch = 0; // scratch_bytes() of the step, 256-byte aligned; content undefined before every launch
  uint64_t tickets = 0; // tickets() of uint32, zero before and after every step
  bool guarded = false; // the step writes residents: it must do nothing once RunState::halted is set
  int32_t step = 0;     // number in the plan, for RunState::fault_step
};

struct Launch {
  std::shared_ptr<const std::string> module; // PTX; equal texts are compiled once
  std::string entry;
  uint32_t grid[3] = {1, 1, 1};
  uint32_t threads = 256;
  uint32_t shared_bytes = 0;         // dynamic shared memory
  std::vector<std::byte> parameters; // the one parameter struct of the kernel, by value
};

template <class Parameters>
Launch make_launch(std::shared_ptr<const std::string> module, std::string entry, const Parameters& parameters) {
  Launch launch;
  launch.module = std::move(module);
  launch.entry = std::move(entry);
  const auto* bytes = reinterpret_cast<const std::byte*>(&parameters);
  launch.parameters.assign(bytes, bytes + sizeof(Parameters));
  return launch;
}

// A step, lowered. Launches run one after the other, in order, and behind those of the steps before.
class LoweredStep {
public:
  virtual ~LoweredStep() = default;
  virtual size_t scratch_bytes() const { return 0; }
  virtual size_t tickets() const { return 0; }
  virtual std::vector<Launch> launches(const Addresses& addresses) const = 0;
};

// `step`'s operands hold device addresses. Throws KernelError for what this backend cannot do.
std::unique_ptr<LoweredStep> lower(const ResolvedStep& step, const Target& target);

// One per file of kernels.
std::unique_ptr<LoweredStep> lower_map(const ResolvedStep& step, const Target& target);
std::unique_ptr<LoweredStep> lower_matmul(const ResolvedStep& step, const Target& target);
std::unique_ptr<LoweredStep> lower_convolution(const ResolvedStep& step, const Target& target); // all three directions
std::unique_ptr<LoweredStep> lower_gather(const ResolvedStep& step, const Target& target);
std::unique_ptr<LoweredStep> lower_scatter_add(const ResolvedStep& step, const Target& target);
std::unique_ptr<LoweredStep> lower_random(const ResolvedStep& step, const Target& target); // uniform and normal
std::unique_ptr<LoweredStep> lower_shuffled_indices(const ResolvedStep& step, const Target& target);
std::unique_ptr<LoweredStep> lower_step_index(const ResolvedStep& step, const Target& target);
std::unique_ptr<LoweredStep> lower_fold(const ResolvedStep& step, const Target& target);
std::unique_ptr<LoweredStep> lower_cumulative_sum(const ResolvedStep& step, const Target& target);
std::unique_ptr<LoweredStep> lower_sort(const ResolvedStep& step, const Target& target);
std::unique_ptr<LoweredStep> lower_cholesky(const ResolvedStep& step, const Target& target);
std::unique_ptr<LoweredStep> lower_triangular_solve(const ResolvedStep& step, const Target& target);

} // namespace nodevae::cuda
