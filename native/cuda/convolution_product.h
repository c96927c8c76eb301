// What the kernels of convolutions as products are given; shared by host and device.
#pragma once

#include "convolution.h"
#include "gemm.h"
#include "program_arguments.h"

namespace nodevae::cuda {

// Whether the kernels of a tile copy its operands by vectors only, sources of float32 correlations aside.
NODE_VAE_BOTH constexpr bool needs_vectors(TileShape shape) { return shape.rows * shape.columns > 8192; }

// Blocks of rows are those of one phase after the other, blocks of columns those of one group after the other.
struct CorrelationParameters {
  ProgramArguments program;
  GemmArguments gemm; // rows and depth: of the largest phase; columns: of one group
  CorrelationArguments geometry;
  int32_t blocks_per_phase, blocks_per_group;
  Copy source_copy, weights_copy;
};

struct WeightGradientParameters {
  ProgramArguments program;
  GemmArguments gemm; // columns: of one group
  WeightGradientArguments geometry;
  int32_t blocks_per_group;
  Copy image_copy, gradient_copy;
};

} // namespace nodevae::cuda
