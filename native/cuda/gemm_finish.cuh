// What surrounds the main loop: which tile a block computes, how the splits of k are added up, and how the finished
// tile goes through the step's program.
#pragma once

#include "gemm.cuh"
#include "program.cuh"

namespace nodevae::cuda {

struct OuterIndex {
  int at[4];
};

__device__ __forceinline__ OuterIndex outer_index(const int32_t (&extent)[4], int outer) {
  OuterIndex index;
#pragma unroll
  for (int d = 3; d >= 0; --d) {
    index.at[d] = outer % extent[d];
    outer /= extent[d];
  }
  return index;
}

struct TilePosition {
  int tile; // number among all tiles of the grid
  int outer, row_block, column_block;
  int split, k_begin, k_end;
};

// Neighbouring blocks, which run together, share rows of A and columns of B in the second-level cache.
__device__ __forceinline__ TilePosition tile_position(const GemmArguments& g) {
  constexpr int kBand = 8;
  TilePosition at;
  at.tile = static_cast<int>(blockIdx.x);
  const int tiles = g.row_blocks * g.column_blocks;
  at.outer = at.tile / tiles;
  const int tile = at.tile - at.outer * tiles;
  const int first = tile / (kBand * g.column_blocks) * kBand;
  const int height = min(kBand, g.row_blocks - first), place = tile - first * g.column_blocks;
  at.row_block = first + place % height;
  at.column_block = place / height;
  at.split = static_cast<int>(blockIdx.y);
  at.k_begin = at.split * g.split_depth;
  at.k_end = min(at.k_begin + g.split_depth, g.depth);
  return at;
}

// Shared memory keeps the position during the main loop, which needs all registers. There is a barrier in the main
// loop.
template <class Product> __device__ __forceinline__ void keep_position(const TilePosition& at, float* shared) {
  static_assert(sizeof(TilePosition) <= kPositionFloats * sizeof(float));
  if (threadIdx.x == 0) *reinterpret_cast<TilePosition*>(shared + Product::kPipelineFloats) = at;
}
template <class Product> __device__ __forceinline__ TilePosition kept_position(const float* shared) {
  return *reinterpret_cast<const TilePosition*>(shared + Product::kPipelineFloats);
}

// Where k is split, leaves this block's part in scratch; the last block to come to the tile adds up all parts, in
// order. Returns whether this is it: then `product` holds the sum. `shared` is free before and after.
template <class Product>
__device__ __forceinline__ bool sum_splits(Product& product, const GemmArguments& g, const TilePosition& at,
                                           float* shared) {
  if (g.splits == 1) return true;
  constexpr int kVectors = Product::kAccumulators / 4;
  const int thread = static_cast<int>(threadIdx.x);
  float4* parts = reinterpret_cast<float4*>(g.partials) +
                  static_cast<int64_t>(at.tile) * g.splits * kVectors * kBlockThreads + thread;
  float* const sum = product.accumulators;
#pragma unroll
  for (int i = 0; i < kVectors; ++i)
    parts[(at.split * kVectors + i) * kBlockThreads] =
        make_float4(sum[4 * i], sum[4 * i + 1], sum[4 * i + 2], sum[4 * i + 3]);
  if (!last_to_arrive(reinterpret_cast<uint32_t*>(g.tickets) + at.tile, g.splits, shared)) return false;
#pragma unroll
  for (int i = 0; i < Product::kAccumulators; ++i) sum[i] = 0;
  // Small tiles have room for the loads of several parts at once: one after the other, each waits for the cache.
  constexpr int kAtOnce = kVectors <= 4 ? 4 : 1;
#pragma unroll kAtOnce
  for (int split = 0; split < g.splits; ++split) {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const float4 part = __ldcg(parts + (split * kVectors + i) * kBlockThreads);
      sum[4 * i] += part.x, sum[4 * i + 1] += part.y, sum[4 * i + 2] += part.z, sum[4 * i + 3] += part.w;
    }
  }
  return true;
}

// A slab of the finished tile, for run_program(). `map` gives the row of the space for a row of the tile.
template <class RowMap> struct SlabTile {
  const float* slab;
  int stride, first;
  RowMap map;
  __device__ int row(int r) const { return map(first + r); }
  __device__ float value(int row, int column) const { return slab[row * stride + column]; }
  __device__ float4 value4(int row, int column) const {
    return *reinterpret_cast<const float4*>(slab + row * stride + column);
  }
};

struct IdentityRows {
  int first_row;
  __device__ int operator()(int r) const { return first_row + r; }
};

// Values put aside in local memory, which the compiler is kept from holding in registers.
template <int Count> class Aside {
public:
  __device__ __forceinline__ void put(const float* from) {
    asm volatile("mov.u32 %0, 0;" : "=r"(first_));
#pragma unroll
    for (int i = 0; i < Count; ++i) values_[first_ + i] = from[i];
  }
  __device__ __forceinline__ void take(float* to) const {
#pragma unroll
    for (int i = 0; i < Count; ++i) to[i] = values_[first_ + i];
  }

private:
  int first_; // 0, which the compiler does not know
  float values_[Count];
};

// Runs the program over the tile. Each slab is a tile of the program, and a row part: `at.row_part` numbers the first,
// `at.rows` counts the rows of all that are within the product. An empty tile still has its first slab.
//
// Where there are several slabs, accumulators that wait for theirs are put aside: if they took registers while the
// program runs, the compiler would find too few for the main loop as well.
template <int V, class Product, class RowMap>
__device__ __forceinline__ void finish_tile(Product& product, const ProgramArguments& program, ProgramTile at,
                                            const RowMap& map, float* shared) {
  constexpr int kRows = Product::kSlabRows, kStride = Product::kSlabStride;
  constexpr bool kOneSlab = Product::kShape.rows == kRows;
  Aside<kOneSlab ? 1 : Product::kAccumulators> aside;
  if constexpr (!kOneSlab) aside.put(product.accumulators);
  const int rows = at.rows;
  int first = 0;
#pragma unroll 1
  do {
    __syncthreads();
    if constexpr (!kOneSlab) aside.take(product.accumulators);
    product.store(shared, first);
    __syncthreads();
    at.rows = min(kRows, rows - first);
    run_program<V>(program, at, SlabTile<RowMap>{shared, kStride, first, map}, shared + kRows * kStride);
    first += kRows;
    ++at.row_part;
  } while (!kOneSlab && first < rows);
}

} // namespace nodevae::cuda
