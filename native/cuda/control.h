// The kernels that keep a run going: parameters of control.cu.
#pragma once

#include <cstdint>

#include "state.h"

namespace nodevae::cuda {

// Copies the row of terms into the ring, and halts the run when one of them is not finite.
struct CheckTermsParameters {
  uint64_t state; // RunState
  uint64_t terms; // `count` float32
  uint64_t ring;  // `capacity` rows of `count`
  uint64_t count;
  uint64_t capacity;
  uint32_t advances; // 1: the step counts as made, as nothing behind reads the counter or can fail
};

// The step is made: raises the counters, unless the run is halted.
struct AdvanceParameters {
  uint64_t state;
};

} // namespace nodevae::cuda
