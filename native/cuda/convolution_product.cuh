// The kernels of convolutions as products. Their names are <step>_<method and tile, gemm_lowering.h>_v<V>, with V as in
// run_program().
#pragma once

#include "convolution_loaders.cuh"
#include "convolution_product.h"
#include "gemm_finish.cuh"

namespace nodevae::cuda {

// Rows of a tile are pixels of a phase.
template <bool Forward> struct PhaseRows {
  const CorrelationArguments& geometry;
  const CorrelationPhase& phase;
  int first_row;
  __device__ int operator()(int r) const {
    return Forward ? first_row + r : phase.destination(geometry, first_row + r);
  }
};

template <class Product, bool Forward, Layout LayoutA, Layout LayoutB, int V>
__device__ __forceinline__ void correlate(const CorrelationParameters& p) {
  extern __shared__ float4 shared_vectors[];
  float* shared = reinterpret_cast<float*>(shared_vectors);
  if (program_halted(p.program)) return;
  constexpr TileShape kShape = Product::kShape;
  constexpr bool kVectors = needs_vectors(kShape);
  constexpr int kSlabs = kShape.rows / Product::kSlabRows;
  const CorrelationArguments& g = p.geometry;
  const TilePosition at = tile_position(p.gemm);
  int phase_number = Forward ? 0 : at.row_block / p.blocks_per_phase;
  const int group = at.column_block / p.blocks_per_group;
  const int first_row = (at.row_block - phase_number * p.blocks_per_phase) * kShape.rows;
  const int first_column = (at.column_block - group * p.blocks_per_group) * kShape.columns;
  Product product;
  {
    const CorrelationPhase phase(g, phase_number);
    const CorrelationDepth depth(g, phase);
    product.template run<LayoutA, LayoutB>(
        CorrelationSource<LayoutA, kVectors>(depth, phase, group, first_row, p.source_copy),
        CorrelationWeights<Forward, LayoutB, kVectors>(depth, phase, group, p.weights_copy), first_row, first_column,
        at.k_begin, min(at.k_end, phase.depth(g)), shared);
  }
  if (!sum_splits(product, p.gemm, at, shared)) return;
  // Works the phase out again: kept during the main loop, it would take registers that are needed there.
  if (!Forward) asm volatile("" : "+r"(phase_number));
  const CorrelationPhase phase(g, phase_number);
  ProgramTile tile{0,
                   at.row_block * kSlabs,
                   at.column_block,
                   max(0, min(kShape.rows, phase.pixels(g) - first_row)),
                   group * g.out + first_column,
                   min(kShape.columns, g.out - first_column),
                   p.gemm.lanes_log2};
  // Phases end in tiles of fewer rows, but the program counts on all slabs of each: those without rows follow.
  const int end = tile.row_part + kSlabs;
#pragma unroll 1
  do {
    finish_tile<V>(product, p.program, tile, PhaseRows<Forward>{g, phase, first_row}, shared);
    tile.row_part += max(1, (tile.rows + Product::kSlabRows - 1) / Product::kSlabRows);
    tile.rows = 0;
#pragma unroll
    for (int i = 0; i < Product::kAccumulators; ++i) product.accumulators[i] = 0;
  } while (kSlabs > 1 && tile.row_part < end);
}

template <class Product, int V> __device__ __forceinline__ void multiply_pixels(const WeightGradientParameters& p) {
  extern __shared__ float4 shared_vectors[];
  float* shared = reinterpret_cast<float*>(shared_vectors);
  if (program_halted(p.program)) return;
  constexpr TileShape kShape = Product::kShape;
  constexpr bool kVectors = needs_vectors(kShape);
  constexpr int kSlabs = kShape.rows / Product::kSlabRows;
  const WeightGradientArguments& g = p.geometry;
  const TilePosition at = tile_position(p.gemm);
  const int group = at.column_block / p.blocks_per_group, first_row = at.row_block * kShape.rows;
  const int first_column = (at.column_block - group * p.blocks_per_group) * kShape.columns;
  Product product;
  product.template run<Layout::by_depth, Layout::by_depth>(GradientWindows<kVectors>(g, group, p.image_copy),
                                                           GradientPixels<kVectors>(g, group, p.gradient_copy),
                                                           first_row, first_column, at.k_begin, at.k_end, shared);
  if (!sum_splits(product, p.gemm, at, shared)) return;
  const ProgramTile tile{0,
                         at.row_block * kSlabs,
                         at.column_block,
                         min(kShape.rows, p.gemm.rows - first_row),
                         group * g.filters + first_column,
                         min(kShape.columns, g.filters - first_column),
                         p.gemm.lanes_log2};
  finish_tile<V>(product, p.program, tile, IdentityRows{first_row}, shared);
}

// Blocks to a multiprocessor: two, so that one computes while the other waits or runs its program.
#define CONVOLUTION_KERNEL(name, Parameters, blocks, ...)                                                              \
  extern "C" __global__ void __launch_bounds__(256, blocks) name(const __grid_constant__ Parameters p) {               \
    __VA_ARGS__(p);                                                                                                    \
  }

// Large tiles towards the input need more registers than two blocks have where copies pass through registers as well.
constexpr int kLargeTileBlocks = kAsynchronous ? 2 : 1;

// `layout` is that of operands whose neighbours in memory are neighbours along the depth: sources of correlations, and
// weights towards the input. Filters are lines forward; towards the weights, channels and filters are.
#define CONVOLUTION_KERNELS(name, Product, layout, V)                                                                  \
  CONVOLUTION_KERNEL(conv2d_##name##_v##V, CorrelationParameters, 2,                                                   \
                     correlate<Product, true, Layout::layout, Layout::by_depth, V>)                                    \
  CONVOLUTION_KERNEL(conv2d_input_gradient_##name##_v##V, CorrelationParameters,                                       \
                     (needs_vectors(Product::kShape) ? kLargeTileBlocks : 2),                                          \
                     correlate<Product, false, Layout::layout, Layout::layout, V>)                                     \
  CONVOLUTION_KERNEL(conv2d_weight_gradient_##name##_v##V, WeightGradientParameters, 2, multiply_pixels<Product, V>)

#define CONVOLUTION_TILE(method, Method, layout, rows, columns)                                                        \
  using Product##rows##x##columns = Method<rows, columns>;                                                             \
  CONVOLUTION_KERNELS(method##_##rows##x##columns, Product##rows##x##columns, layout, 1)                               \
  CONVOLUTION_KERNELS(method##_##rows##x##columns, Product##rows##x##columns, layout, 4)

#define CONVOLUTION_TILES(method, Method, layout)                                                                      \
  CONVOLUTION_TILE(method, Method, layout, 128, 128)                                                                   \
  CONVOLUTION_TILE(method, Method, layout, 64, 64)                                                                     \
  CONVOLUTION_TILE(method, Method, layout, 32, 128)                                                                    \
  CONVOLUTION_TILE(method, Method, layout, 128, 32)

} // namespace nodevae::cuda
