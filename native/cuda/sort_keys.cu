// Merge sort of rows of keys: tiles in shared memory, then runs of tiles in pairs.
#include "sort_keys.h"

#include "sort_keys.cuh"

namespace nodevae::cuda {

extern "C" __global__ void __launch_bounds__(256) sort_key_tiles(const __grid_constant__ SortKeysParameters p) {
  if (stopped(p.halted)) return;
  uint64_t* keys = reinterpret_cast<uint64_t*>(shared_memory);
  const int64_t row = blockIdx.x / p.blocks, first = (blockIdx.x - row * p.blocks) * kTileKeys;
  const int64_t left = p.columns - first;
  const int count = static_cast<int>(left < kTileKeys ? left : kTileKeys);
  uint64_t* tile = global<uint64_t>(p.from) + row * p.columns + first;
  int log_width = 0;
  while (1 << log_width < count) ++log_width;
  for (int i = static_cast<int>(threadIdx.x); i < 1 << log_width; i += kBlock) keys[i] = i < count ? tile[i] : kNoKey;
  sort_keys(keys, 1 << log_width, log_width);
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kBlock) tile[i] = keys[i];
}

// Every key finds its place by itself: as far into the merged run as keys precede it in its own run and in the other.
extern "C" __global__ void __launch_bounds__(256) merge_keys(const __grid_constant__ SortKeysParameters p) {
  if (stopped(p.halted)) return;
  const int64_t row = blockIdx.x / p.blocks, at = (blockIdx.x - row * p.blocks) * kBlock + threadIdx.x;
  if (at >= p.columns) return;
  const uint64_t* from = global<const uint64_t>(p.from) + row * p.columns;
  const uint64_t key = from[at];
  const int64_t run = at / p.width, other = (run ^ 1) * p.width;
  int64_t low = other < p.columns ? other : p.columns;
  int64_t high = other + p.width < p.columns ? other + p.width : p.columns;
  const int64_t other_begin = low;
  while (low < high) { // the first key of the other run that is larger
    const int64_t middle = low + (high - low) / 2;
    if (from[middle] < key)
      low = middle + 1;
    else
      high = middle;
  }
  const int64_t begin = (run & ~int64_t{1}) * p.width;
  global<uint64_t>(p.to)[row * p.columns + begin + (at - run * p.width) + (low - other_begin)] = key;
}

} // namespace nodevae::cuda
