// What the direct kernels of convolution share. They serve channels so few that the tile of a product would be mostly
// empty; sums are made in float32, whatever the precision.
#pragma once

#include "convolution.cuh"
#include "convolution_direct.h"
#include "program.cuh"

namespace nodevae::cuda {

// A finished tile in shared memory, as run_program() takes it.
struct DirectTile {
  const float* values;
  int stride, first_row;
  __device__ float value(int row, int column) const { return values[row * stride + column]; }
  __device__ float4 value4(int row, int column) const {
    return *reinterpret_cast<const float4*>(values + row * stride + column);
  }
  __device__ int row(int row) const { return first_row + row; }
};

// The same, where the tile's rows are pixels of one phase.
struct PhaseTile : DirectTile {
  const CorrelationArguments& geometry;
  const CorrelationPhase& phase;
  __device__ PhaseTile(const float* values, int stride, int first, const CorrelationArguments& geometry,
                       const CorrelationPhase& phase)
      : DirectTile{values, stride, first}, geometry(geometry), phase(phase) {}
  __device__ int row(int row) const { return phase.destination(geometry, first_row + row); }
};

} // namespace nodevae::cuda
