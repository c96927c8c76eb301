// What the kernels of matmul are given; shared by host and device.
#pragma once

#include <cstdint>

#include "gemm.h"
#include "program_arguments.h"

namespace nodevae::cuda {

// One operand, in elements. A line is a row of A, a column of B.
struct MatrixArguments {
  uint64_t data;
  int64_t outer_stride[4];
  int32_t line_stride, depth_stride;
  int32_t lines;
  Copy copy;
};

struct MatmulParameters {
  ProgramArguments program;
  GemmArguments gemm;
  MatrixArguments a, b;
};

} // namespace nodevae::cuda
