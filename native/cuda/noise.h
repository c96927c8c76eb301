// Noise made where it is used. A random step writes its draw to memory for one or two programs to load; since every
// element is a pure function of (seed, step, stream, number), those programs can as well make it themselves: sampling,
// and what the backward pass needs of the sample, in one pass each, without a launch and a trip through memory between.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../plan.h"
#include "lowering.h"

namespace nodevae::cuda {

// Which of a plan's draws are made where they are used.
class NoiseFusion {
public:
  explicit NoiseFusion(const Plan& plan);

  // A random step that programs have taken over: it has no launches.
  bool taken_over(size_t step) const { return taken_over_[step]; }
  // Whether the step's program makes noise, and so reads RunState.
  bool draws(size_t step) const { return !loads_[step].empty(); }
  // The step with its memory, and with noise in place of the memory of draws that are taken over.
  ResolvedStep resolve(const Plan& plan, size_t step, const std::vector<char*>& buffers) const;
  // Lowers a step that was resolved here.
  std::unique_ptr<LoweredStep> lower(size_t step, const ResolvedStep& resolved, const Target& target) const;

private:
  struct Load {
    size_t instruction;
    NoiseSource source;
  };
  friend class NoiseReaders;

  std::vector<bool> taken_over_;
  std::vector<std::vector<Load>> loads_; // of each step
};

} // namespace nodevae::cuda
