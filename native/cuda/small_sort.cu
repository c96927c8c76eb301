// sort: each row for itself, stable, NaN larger than any number. What is sorted are keys of a value and its position;
// the values themselves are fetched at the end, as keys do not tell -0 from 0, or one NaN from another.
#include "global.cuh"
#include "small.h"
#include "sort_keys.cuh"

namespace nodevae::cuda {
namespace {

// Unsigned numbers in the order of the floats: the sign bit flipped, and the others too where it was set.
__device__ inline uint64_t key_of(float x, int64_t position, bool descending) {
  uint32_t bits = x == 0.0f ? 0u : __float_as_uint(x);
  if (x != x) bits = 0x7FFFFFFFu;
  bits ^= bits >> 31 != 0 ? 0xFFFFFFFFu : 0x80000000u;
  return static_cast<uint64_t>(descending ? ~bits : bits) << 32 | static_cast<uint32_t>(position);
}

__device__ inline void put(const SortParameters& p, int64_t row, int64_t place, uint64_t key) {
  const int64_t position = static_cast<int64_t>(key & 0xFFFFFFFFu), begin = row * p.columns;
  if (p.positions != 0)
    global<int32_t>(p.out)[begin + place] = static_cast<int32_t>(position);
  else
    global<float>(p.out)[begin + place] = global<const float>(p.in)[begin + position];
}

} // namespace

extern "C" __global__ void __launch_bounds__(256) sort_rows(const __grid_constant__ SortParameters p) {
  if (stopped(p.halted)) return;
  uint64_t* keys = reinterpret_cast<uint64_t*>(shared_memory);
  const float* in = global<const float>(p.in);
  const int count = 1 << (p.log_rows + p.log_width), width = 1 << p.log_width;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) << p.log_rows;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kBlock) {
    const int64_t row = first_row + (i >> p.log_width), at = i & (width - 1);
    keys[i] = row < p.rows && at < p.columns ? key_of(in[row * p.columns + at], at, p.descending != 0) : kNoKey;
  }
  sort_keys(keys, count, p.log_width);
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kBlock) {
    const int64_t row = first_row + (i >> p.log_width), at = i & (width - 1);
    if (row < p.rows && at < p.columns) put(p, row, at, keys[i]);
  }
}

// Rows that do not fit: keys into scratch, where sort_keys.cu sorts them, and results from there.
extern "C" __global__ void __launch_bounds__(256) sort_prepare(const __grid_constant__ SortParameters p) {
  if (stopped(p.halted)) return;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  if (i < p.rows * p.columns)
    global<uint64_t>(p.keys)[i] = key_of(global<const float>(p.in)[i], i % p.columns, p.descending != 0);
}

extern "C" __global__ void __launch_bounds__(256) sort_finish(const __grid_constant__ SortParameters p) {
  if (stopped(p.halted)) return;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  if (i < p.rows * p.columns) put(p, i / p.columns, i % p.columns, global<const uint64_t>(p.keys)[i]);
}

} // namespace nodevae::cuda
