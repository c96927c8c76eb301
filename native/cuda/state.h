// What a running session keeps in device memory, so that no captured graph has to be changed between steps: kernels
// read the seed and the step counter here, and a run that must not go on is halted here. Shared by host and device.
#pragma once

#include <cstdint>

namespace nodevae::cuda {

enum class Halt : uint32_t {
  none = 0,
  diverged = 1, // a term was not finite
  fault = 2,    // an index lay outside of its table
};

struct RunState {
  uint64_t seed;
  uint64_t step;          // counter of the noise, the batch order and step_index
  uint64_t row;           // steps completed in this run: the row of the terms' ring that comes next
  uint32_t halted;        // a Halt. Kernels that write residents do nothing once it is set
  uint32_t diverged_term; // for Halt::diverged
  int32_t fault_step;     // for Halt::fault: the plan's step, the position in its indices, and the index found there
  int32_t fault_index;
  int64_t fault_position;
};

} // namespace nodevae::cuda
