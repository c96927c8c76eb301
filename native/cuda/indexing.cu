// gather and scatter_add: rows of a table by index. Indices are data, so they are checked here: a bad one stops the run
// and is skipped; the first one is reported, whatever the order in which blocks run.
#include "indexing.h"

#include "global.cuh"
#include "sort_keys.cuh"

namespace nodevae::cuda {
namespace {

__device__ inline int32_t index_at(const IndexParameters& p, int64_t position) {
  return global<const int32_t>(p.indices)[position * p.stride];
}
__device__ inline bool is_inside(const IndexParameters& p, int32_t index) { return index >= 0 && index < p.rows; }

__device__ inline void note_bad_index(const IndexParameters& p, int64_t position) {
  atomicMax(global<uint32_t>(p.tickets) + 1, 0xFFFFFFFFu - static_cast<uint32_t>(position));
}

// Called by all threads of every block at its end. The last block to arrive reports what was noted.
__device__ inline void settle_indices(const IndexParameters& p) {
  __syncthreads();
  if (threadIdx.x != 0) return;
  uint32_t* tickets = global<uint32_t>(p.tickets);
  __threadfence();
  if (atomicAdd(tickets, 1u) != gridDim.x - 1) return;
  __threadfence();
  const uint32_t noted = *reinterpret_cast<volatile uint32_t*>(tickets + 1);
  if (noted != 0) {
    const int64_t position = 0xFFFFFFFFu - noted;
    report_fault(p.state, p.step, position, index_at(p, position));
  }
  tickets[0] = 0;
  tickets[1] = 0;
}

constexpr int kInFlight = 4; // loads that a thread has under way
constexpr int kUpdatesInFlight = 8;

template <class Unit> __device__ inline void gather_rows(const GatherParameters& p) {
  if (stopped(p.index.halted)) return;
  const Unit* table = global<const Unit>(p.table);
  Unit* out = global<Unit>(p.out);
  const int64_t group = blockIdx.x / static_cast<uint32_t>(p.parts);
  const int64_t first_unit = (blockIdx.x - group * p.parts) * p.part_units;
  const int64_t first_row = group * p.block_rows, rows_left = p.index.count - first_row;
  const int64_t units_left = p.units - first_unit;
  const uint32_t rows = static_cast<uint32_t>(rows_left < p.block_rows ? rows_left : p.block_rows);
  const uint32_t units = static_cast<uint32_t>(units_left < p.part_units ? units_left : p.part_units);
  for (uint32_t base = threadIdx.x; base < rows * units; base += kBlock * kInFlight) {
    Unit value[kInFlight];
    int64_t to[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const uint32_t at = base + static_cast<uint32_t>(i) * kBlock;
      to[i] = -1;
      if (at >= rows * units) continue;
      const uint32_t row = at / units;
      const int64_t position = first_row + row, unit = first_unit + (at - row * units);
      const int32_t index = index_at(p.index, position);
      if (!is_inside(p.index, index)) {
        note_bad_index(p.index, position);
        continue;
      }
      value[i] = table[index * p.table_row + unit * p.table_unit];
      to[i] = position * p.out_row + unit * p.out_unit;
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i)
      if (to[i] >= 0) out[to[i]] = value[i];
  }
  settle_indices(p.index);
}

} // namespace

#define GATHER(name, Unit)                                                                                             \
  extern "C" __global__ void __launch_bounds__(256) name(const __grid_constant__ GatherParameters p) {                 \
    gather_rows<Unit>(p);                                                                                              \
  }
GATHER(gather_16, uint4)
GATHER(gather_8, uint2)
GATHER(gather_4, uint32_t)
GATHER(gather_1, uint8_t)

// Small problems: a thread per element of the output looks at all indices, in order.
extern "C" __global__ void __launch_bounds__(256) scatter_add_search(const __grid_constant__ ScatterParameters p) {
  if (stopped(p.index.halted)) return;
  constexpr int kChunk = 1024;
  int32_t* chunk = reinterpret_cast<int32_t*>(shared_memory);
  uint32_t* noted = reinterpret_cast<uint32_t*>(chunk + kChunk); // as the second ticket
  if (threadIdx.x == 0) *noted = 0;
  const uint32_t element = blockIdx.x * kBlock + threadIdx.x, columns = static_cast<uint32_t>(p.columns);
  const uint32_t row = element / columns, column = element - row * columns;
  const bool active = row < p.index.rows;
  const float* updates = global<const float>(p.updates) + column * p.update_column;
  float sum = 0.0f;
  for (int64_t first = 0; first < p.index.count; first += kChunk) {
    const int64_t left = p.index.count - first;
    const int count = static_cast<int>(left < kChunk ? left : kChunk);
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kBlock) {
      const int32_t index = index_at(p.index, first + i);
      chunk[i] = index;
      if (!is_inside(p.index, index)) atomicMax(noted, 0xFFFFFFFFu - static_cast<uint32_t>(first + i));
    }
    __syncthreads();
    if (!active) continue;
    for (int i = 0; i < count; ++i)
      if (chunk[i] == static_cast<int32_t>(row)) sum += updates[(first + i) * p.update_row];
  }
  if (active) global<float>(p.out)[row * p.out_row + column] = sum;
  __syncthreads();
  // All blocks have seen all indices; one of them tells.
  if (blockIdx.x == 0 && threadIdx.x == 0 && *noted != 0) {
    const int64_t position = 0xFFFFFFFFu - *noted;
    report_fault(p.index.state, p.index.step, position, index_at(p.index, position));
  }
}

// Large ones: (index, position) are sorted, then a group of threads adds up the updates of each index. First the output
// becomes zero and the keys are made; a bad index is put behind all others.
extern "C" __global__ void __launch_bounds__(256) scatter_add_prepare(const __grid_constant__ ScatterParameters p) {
  if (stopped(p.index.halted)) return;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kBlock;
  float* out = global<float>(p.out);
  if (p.out_row == p.columns)
    for (int64_t i = first; i < p.index.rows * p.columns; i += threads) out[i] = 0.0f;
  else
    for (int64_t i = first; i < p.index.rows * p.columns; i += threads)
      out[i / p.columns * p.out_row + i % p.columns] = 0.0f;
  uint64_t* keys = global<uint64_t>(p.keys);
  for (int64_t i = first; i < p.index.count; i += threads) {
    const int32_t index = index_at(p.index, i);
    const bool inside = is_inside(p.index, index);
    if (!inside) note_bad_index(p.index, i);
    keys[i] =
        static_cast<uint64_t>(inside ? static_cast<uint32_t>(index) : 0xFFFFFFFFu) << 32 | static_cast<uint32_t>(i);
  }
  settle_indices(p.index);
}

extern "C" __global__ void __launch_bounds__(256) scatter_add_sorted(const __grid_constant__ ScatterParameters p) {
  if (stopped(p.index.halted)) return;
  const int64_t group = blockIdx.x / static_cast<uint32_t>(p.parts);
  const int64_t part = blockIdx.x - group * p.parts;
  const int lane = static_cast<int>(threadIdx.x) & (p.lanes - 1);
  int64_t at = group * (kBlock / p.lanes) + static_cast<int>(threadIdx.x) / p.lanes;
  const int64_t column = part * p.lanes + lane;
  if (at >= p.index.count || column >= p.columns) return;
  const uint64_t* keys = global<const uint64_t>(p.keys);
  const float* updates = global<const float>(p.updates) + column * p.update_column;
  const uint32_t row = static_cast<uint32_t>(keys[at] >> 32);
  if (row >= p.index.rows || (at > 0 && keys[at - 1] >> 32 == row)) return; // only the first of a row's updates starts
  float sum = 0.0f;
  for (bool more = true; more;) {
    float value[kUpdatesInFlight];
    int count = 0;
#pragma unroll
    for (int i = 0; i < kUpdatesInFlight; ++i) {
      const uint64_t key = at + i < p.index.count ? keys[at + i] : kNoKey;
      const bool same = key >> 32 == row;
      value[i] = same ? updates[static_cast<int64_t>(key & 0xFFFFFFFFu) * p.update_row] : 0.0f;
      count += same; // those of a row stand together
    }
#pragma unroll
    for (int i = 0; i < kUpdatesInFlight; ++i)
      if (i < count) sum += value[i];
    at += kUpdatesInFlight;
    more = count == kUpdatesInFlight;
  }
  global<float>(p.out)[row * p.out_row + column] = sum;
}

} // namespace nodevae::cuda
