// Reductions of a program: within a block, and over the parts that several blocks leave.
#pragma once

#include "global.cuh"
#include "program_arguments.h"

namespace nodevae::cuda {

// What is known about the program when its code is put in: as constants, so that the driver's compiler drops what
// the program has no use for. Over rows, over columns, over both: where the reductions of each begin and end.
#define NODE_VAE_PROGRAM_CONSTANT(name)                                                                                \
  __device__ __forceinline__ int program_##name() {                                                                    \
    int x;                                                                                                             \
    asm("//@constant " #name " %0" : "=r"(x));                                                                         \
    return x;                                                                                                          \
  }
NODE_VAE_PROGRAM_CONSTANT(rows_end)
NODE_VAE_PROGRAM_CONSTANT(columns_end)
NODE_VAE_PROGRAM_CONSTANT(both_end)
NODE_VAE_PROGRAM_CONSTANT(rows_first)
NODE_VAE_PROGRAM_CONSTANT(row_parts)
NODE_VAE_PROGRAM_CONSTANT(column_parts)

__device__ __forceinline__ float reduce_pair(bool maximum, float a, float b) {
  if (!maximum) return a + b;
  return a > b || a != a ? a : b;
}
__device__ __forceinline__ double reduce_pair(bool maximum, double a, double b) {
  if (!maximum) return a + b;
  return a > b || a != a ? a : b;
}

// Over groups of 2^size_log2 neighbouring threads; the result is the first thread's of each. scratch: 8 floats.
__device__ __forceinline__ float reduce_neighbours(bool maximum, float x, int size_log2, float* scratch) {
  const int warp = threadIdx.x >> 5;
#pragma unroll 1
  for (int offset = 1; offset < 32 && offset < 1 << size_log2; offset *= 2)
    x = reduce_pair(maximum, x, __shfl_xor_sync(0xffffffffu, x, offset));
  if (size_log2 <= 5) return x;
  __syncthreads(); // of earlier uses of the scratch
  if ((threadIdx.x & 31) == 0) scratch[warp] = x;
  __syncthreads();
  if ((threadIdx.x & ((1 << size_log2) - 1)) == 0)
#pragma unroll 1
    for (int i = 1; i < 1 << (size_log2 - 5); ++i) x = reduce_pair(maximum, x, scratch[warp + i]);
  return x;
}

// Element offset of a result within the reduction's operand. With rows numbered through, `row` holds the outer index.
__device__ __forceinline__ int64_t result_offset(const ProgramArguments& p, const ReductionArguments& reduction,
                                                 int outer, int row, int column) {
  if (p.space_rows < p.rows) outer += row / p.space_rows, row %= p.space_rows;
  int64_t offset = row * reduction.row_stride + column * reduction.column_stride;
#pragma unroll 1
  for (int d = 3; d >= 0; --d) {
    offset += outer % p.outer_extent[d] * reduction.outer_stride[d];
    outer /= p.outer_extent[d];
  }
  return offset;
}

// What a tile has for a result: the result itself when no other tile has a part in it.
__device__ __forceinline__ void put_part(const ProgramArguments& p, const ReductionArguments& reduction,
                                         const ProgramTile& at, int row, int column, float x) {
  const int parts = (reduction.axes & 1 ? program_row_parts() : 1) * (reduction.axes & 2 ? program_column_parts() : 1);
  if (parts == 1) {
    global<float>(reduction.out)[result_offset(p, reduction, at.outer, row, column)] = x;
    return;
  }
  int64_t i = static_cast<int64_t>(at.outer) * parts;
  if (reduction.axes == 1)
    i = (i + at.row_part) * p.columns + column;
  else if (reduction.axes == 2)
    i = (i + at.column_part) * p.rows + row;
  else
    i += at.row_part * program_column_parts() + at.column_part;
  global<float>(reduction.partials)[i] = x;
}

// Whether this block is the last of `parts` to come here.
__device__ __forceinline__ bool last_to_arrive(uint32_t* ticket, int parts, float* scratch) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    const bool last = atomicAdd(ticket, 1u) == static_cast<uint32_t>(parts) - 1;
    if (last) *ticket = 0;
    scratch[0] = last ? 1.0f : 0.0f;
  }
  __syncthreads();
  const bool last = scratch[0] != 0.0f;
  __syncthreads();
  if (last) __threadfence();
  return last;
}

// Combines the `parts` partial results of each of this tile's results. They are shared out to groups of threads, whose
// sums are added as a tree. sums: one double per thread.
template <class Tile>
__device__ __forceinline__ void combine_parts(const ProgramArguments& p, const ReductionArguments& reduction,
                                              const ProgramTile& at, int axes, int parts, const Tile& tile,
                                              double* sums) {
  const int count = axes == 1 ? at.columns : axes == 2 ? at.rows : 1;
  const int64_t pitch = axes == 1 ? p.columns : axes == 2 ? p.rows : 1;
  const bool maximum = reduction.maximum != 0;
  const int width_log2 = lanes_for(count, 1), width = 1 << width_log2, groups = kBlockThreads >> width_log2;
  const int thread = threadIdx.x, group = thread >> width_log2, place = thread & (width - 1);
  const float* partials = global<const float>(reduction.partials) + static_cast<int64_t>(at.outer) * parts * pitch;
#pragma unroll 1
  for (int first = 0; first < count; first += width) {
    const int i = first + place;
    double sum = maximum ? static_cast<double>(-__int_as_float(0x7f800000)) : 0.0;
    if (i < count) {
      const float* first_part = partials + (axes == 1 ? at.first_column + i : axes == 2 ? tile.row(i) : 0);
#pragma unroll 4
      for (int part = group; part < parts; part += groups)
        sum = reduce_pair(maximum, sum, static_cast<double>(__ldcg(first_part + part * pitch)));
    }
    if (groups > 1) { // count <= width: the only round
      sums[thread] = sum;
      __syncthreads();
#pragma unroll 1
      for (int half = groups / 2; half > 0; half /= 2) {
        if (group < half) sums[thread] = reduce_pair(maximum, sums[thread], sums[thread + half * width]);
        __syncthreads();
      }
      sum = sums[thread];
      __syncthreads();
    }
    if (group == 0 && i < count) {
      const int row = axes == 2 ? tile.row(i) : 0, column = axes == 1 ? at.first_column + i : 0;
      global<float>(reduction.out)[result_offset(p, reduction, at.outer, row, column)] = static_cast<float>(sum);
    }
  }
}

} // namespace nodevae::cuda
