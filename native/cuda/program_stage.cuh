// Where the threads of a block bring their parts of a program's reductions together.
#pragma once

#include "program_reduce.cuh"

namespace nodevae::cuda {

__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

template <int V> class ProgramStage {
public:
  __device__ __forceinline__ ProgramStage(const ProgramArguments& p, const ProgramTile& at, float* stage)
      : p_(p), at_(at), scratch_(stage), slots_(stage + kStageScratch) {}

  // Results of the columns of a chunk, over all rows of the tile.
  __device__ __forceinline__ void flush_rows(int chunk) const {
    const int thread = threadIdx.x, lanes = 1 << at_.lanes_log2;
    if (program_columns_end() > program_rows_end()) __syncthreads(); // slots of flush_columns() may still be read
    asm volatile("//@flush_rows %0" ::"r"(shared_address(slots_ + thread * V)) : "memory");
    if (at_.lanes_log2 < 5) // several rows in a warp
#pragma unroll 1
      for (int r = 0; r < program_rows_end(); ++r) {
        const bool maximum = p_.reductions[r].maximum != 0;
#pragma unroll
        for (int v = 0; v < V; ++v) {
          float& own = slots_[(r * kBlockThreads + thread) * V + v];
          float x = own;
#pragma unroll 1
          for (int offset = lanes; offset < 32; offset *= 2)
            x = reduce_pair(maximum, x, __shfl_xor_sync(0xffffffffu, x, offset));
          own = x;
        }
      }
    __syncthreads();
    const int rows = min(8, kBlockThreads >> at_.lanes_log2), pitch = max(32, lanes) * V;
    const int columns = min(at_.columns - chunk, lanes * V);
#pragma unroll 1
    for (int r = 0; r < program_rows_end(); ++r)
#pragma unroll 1
      for (int column = thread; column < columns; column += kBlockThreads) {
        const float* slot = slots_ + r * kBlockThreads * V + column;
        float x = slot[0];
#pragma unroll 1
        for (int row = 1; row < rows; ++row) x = reduce_pair(p_.reductions[r].maximum != 0, x, slot[row * pitch]);
        put_part(p_, p_.reductions[r], at_, 0, at_.first_column + chunk + column, x);
      }
    __syncthreads();
  }

  // Results of the rows of a chunk, over all of its columns so far.
  template <class Tile> __device__ __forceinline__ void flush_columns(const Tile& tile, int tile_row) const {
    asm volatile("//@flush_columns %0" ::"r"(shared_address(slots_ + threadIdx.x)) : "memory");
#pragma unroll 1
    for (int r = program_rows_end(); r < program_columns_end(); ++r) {
      const ReductionArguments& reduction = p_.reductions[r];
      const float x =
          reduce_neighbours(reduction.maximum != 0, slots_[(r - program_rows_end()) * kBlockThreads + threadIdx.x],
                            at_.lanes_log2, scratch_);
      if ((threadIdx.x & ((1 << at_.lanes_log2) - 1)) == 0 && tile_row < at_.rows)
        put_part(p_, reduction, at_, tile.row(tile_row), 0, x);
    }
  }

  // At the end of a tile: results of the whole tile, and what several tiles have left.
  template <class Tile> __device__ __forceinline__ void finish(const Tile& tile) const {
    const int columns_end = program_columns_end(), end = program_both_end();
    if (end == 0) return;
    if (end > columns_end) {
      asm volatile("//@flush_both %0" ::"r"(shared_address(slots_ + threadIdx.x)) : "memory");
#pragma unroll 1
      for (int r = columns_end; r < end; ++r) {
        const ReductionArguments& reduction = p_.reductions[r];
        const float x = reduce_neighbours(reduction.maximum != 0,
                                          slots_[(r - columns_end) * kBlockThreads + threadIdx.x], 8, scratch_);
        if (threadIdx.x == 0) put_part(p_, reduction, at_, 0, 0, x);
      }
    }
    const bool several = program_row_parts() > 1 && (program_rows_end() > 0 || end > columns_end);
    if (!several && !(program_column_parts() > 1 && end > program_rows_end())) { // no results in several parts
      __syncthreads();                                                           // the stage may be used again
      return;
    }
    uint32_t* tickets = global<uint32_t>(p_.tickets) +
                        static_cast<int64_t>(at_.outer) * (program_row_parts() + program_column_parts() + 1);
#pragma unroll 1
    for (int axes = 1; axes <= 3; ++axes) {
      const int parts = (axes & 1 ? program_row_parts() : 1) * (axes & 2 ? program_column_parts() : 1);
      const int ticket =
          axes == 1 ? at_.column_part : program_column_parts() + (axes == 2 ? at_.row_part : program_row_parts());
      if (p_.groups[axes] > p_.groups[axes - 1] && parts > 1 && last_to_arrive(tickets + ticket, parts, scratch_))
#pragma unroll 1
        for (int r = p_.groups[axes - 1]; r < p_.groups[axes]; ++r)
          combine_parts(p_, p_.reductions[r], at_, axes, parts, tile, reinterpret_cast<double*>(scratch_));
    }
    __syncthreads(); // the stage may be used again
  }

private:
  const ProgramArguments& p_;
  const ProgramTile& at_;
  float *scratch_, *slots_;
};

} // namespace nodevae::cuda
