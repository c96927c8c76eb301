// Sorting keys that lie in shared memory.
#pragma once

#include <cstdint>

#include "global.cuh"

namespace nodevae::cuda {

constexpr uint64_t kNoKey = ~uint64_t{0}; // fills up a tile: behind every key

__device__ inline void order_keys(uint64_t* keys, int a, int b) {
  const uint64_t x = keys[a], y = keys[b];
  if (x <= y) return;
  keys[a] = y;
  keys[b] = x;
}

// Bitonic sort (Batcher 1968) of every aligned group of 2^log_width keys, all of them ascending: a stage compares each
// key with its mirror image in the group, then halves sort like halves. `count` is a multiple of the width.
__device__ inline void sort_keys(uint64_t* keys, int count, int log_width) {
  for (int log_size = 1; log_size <= log_width; ++log_size) {
    for (int log_half = log_size - 1; log_half >= 0; --log_half) {
      __syncthreads();
      const int half = 1 << log_half, mirror = log_half == log_size - 1 ? 2 * half - 1 : half;
      for (int i = static_cast<int>(threadIdx.x); i < count / 2; i += kBlock) {
        const int a = (i >> log_half << (log_half + 1)) | (i & (half - 1));
        order_keys(keys, a, a ^ mirror);
      }
    }
  }
  __syncthreads();
}

} // namespace nodevae::cuda
