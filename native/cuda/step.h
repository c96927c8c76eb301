// What the lowering of the kernels without programs has in common.
#pragma once

#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lowering.h"
#include "ptx.h"

namespace nodevae::cuda {

constexpr int64_t kThreads = 256; // of every block

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline uint64_t address_of(const ResolvedOperand& operand) { return reinterpret_cast<uint64_t>(operand.data); }

// Where a kernel looks whether it may write: nowhere, or at RunState::halted.
inline uint64_t guard_of(const Addresses& addresses) {
  return addresses.guarded ? addresses.state + offsetof(RunState, halted) : 0;
}

// A file of kernels that run no program. Each launch takes its kernel alone: the driver compiles what it is given.
struct EmbeddedFile {
  std::string file;
  int capability;
};
inline EmbeddedFile embedded_module(const std::string& file, int capability) { return {file, capability}; }

// Blocks along the first dimension of a grid.
inline uint32_t grid_of(int64_t blocks, const char* kernel) {
  if (blocks > std::numeric_limits<int32_t>::max())
    throw KernelError(std::string(kernel) + ": expected at most 2^31 - 1 blocks of work, received " +
                      std::to_string(blocks) + "; split the array");
  return static_cast<uint32_t>(blocks);
}

template <class Parameters>
Launch launch_of(const std::shared_ptr<const std::string>& module, const char* entry, uint32_t blocks,
                 const Parameters& parameters, size_t shared_bytes = 0) {
  Launch launch = make_launch(module, entry, parameters);
  launch.grid[0] = blocks;
  launch.threads = kThreads;
  launch.shared_bytes = static_cast<uint32_t>(shared_bytes);
  return launch;
}

template <class Parameters>
Launch launch_of(const EmbeddedFile& file, const char* entry, uint32_t blocks, const Parameters& parameters,
                 size_t shared_bytes = 0) {
  return launch_of(kernel_text(file.file, file.capability, entry), entry, blocks, parameters, shared_bytes);
}

// A step whose launches are a function of its addresses.
class FunctionStep final : public LoweredStep {
public:
  using Function = std::function<std::vector<Launch>(const Addresses&)>;
  explicit FunctionStep(Function function, size_t scratch_bytes = 0, size_t tickets = 0)
      : function_(std::move(function)), scratch_bytes_(scratch_bytes), tickets_(tickets) {}
  size_t scratch_bytes() const override { return scratch_bytes_; }
  size_t tickets() const override { return tickets_; }
  std::vector<Launch> launches(const Addresses& addresses) const override { return function_(addresses); }

private:
  Function function_;
  size_t scratch_bytes_, tickets_;
};

inline std::unique_ptr<LoweredStep> make_step(FunctionStep::Function function, size_t scratch_bytes = 0,
                                              size_t tickets = 0) {
  return std::make_unique<FunctionStep>(std::move(function), scratch_bytes, tickets);
}

} // namespace nodevae::cuda
