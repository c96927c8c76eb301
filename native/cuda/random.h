// Parameters of the kernels of random.cu.
#pragma once

#include <cstdint>

namespace nodevae::cuda {

struct RandomParameters {
  uint64_t state, halted, out;
  int64_t count;
  uint32_t stream;
  int32_t aligned; // out lies on a multiple of 16 bytes
};

struct ShuffledIndicesParameters {
  uint64_t state, halted, out;
  int64_t stride;
  uint32_t batch, rows, stream;
  int32_t shuffle;
};

struct StepIndexParameters {
  uint64_t state, halted, out;
};

} // namespace nodevae::cuda
