// conv2d_weight_gradient of few channels per group, or of few filters.
#include "convolution_direct.cuh"

namespace nodevae::cuda {

namespace {

// Adds up the tiles of all splits, in order, in the block that is the last of them. Whether this one is.
__device__ __forceinline__ bool add_splits(const DirectWeightsArguments& p, float* tile, int elements) {
  if (p.splits == 1) return true;
  const int thread = static_cast<int>(threadIdx.x);
  float* partials = reinterpret_cast<float*>(p.partials) + static_cast<int64_t>(blockIdx.x) * p.splits * elements;
  for (int i = thread; i < elements; i += kBlockThreads)
    partials[static_cast<int64_t>(blockIdx.y) * elements + i] = tile[i];
  __shared__ float scratch[1];
  if (!last_to_arrive(reinterpret_cast<uint32_t*>(p.tickets) + blockIdx.x, p.splits, scratch)) return false;
  for (int i = thread; i < elements; i += kBlockThreads) {
    float sum = 0;
    for (int split = 0; split < p.splits; ++split) sum += __ldcg(partials + static_cast<int64_t>(split) * elements + i);
    tile[i] = sum;
  }
  __syncthreads();
  return true;
}

// Threads are neighbours along the filters; each has up to kGroupedRows rows.
template <int V> __device__ __forceinline__ void grouped_weights(const DirectWeightsArguments& p) {
  if (program_halted(p.program)) return;
  const WeightGradientArguments& g = p.geometry;
  extern __shared__ __align__(16) float stage[];
  __shared__ __align__(16) float all_sums[kGroupedRows * kBlockThreads]; // [row][lane][column]
  __shared__ __align__(16) float tile[kGroupedRows << kDirectWidthLog2]; // [row][column]
  __shared__ Tap taps[kGroupedRows];
  const int thread = static_cast<int>(threadIdx.x), block = static_cast<int>(blockIdx.x);
  const int row_block = block / p.column_blocks, column_block = block - row_block * p.column_blocks;
  const int columns = 1 << p.columns_log2, lanes = kBlockThreads >> p.columns_log2;
  const int first_row = row_block * p.tile_rows, rows = min(p.tile_rows, p.rows - first_row);
  const int all_columns = g.filters * g.groups, first_column = column_block << p.columns_log2;
  if (thread < rows) taps[thread] = weight_tap(g, first_row + thread);
  __syncthreads();

  const int column = first_column + (thread & (columns - 1)), lane = thread >> p.columns_log2;
  float sums[kGroupedRows] = {};
  if (column < all_columns) {
    const int group = column / g.filters;
    const int begin = static_cast<int>(blockIdx.y) * p.split_pixels, end = min(p.pixels, begin + p.split_pixels);
    const float* gradient = reinterpret_cast<const float*>(g.gradient) + column;
    for (int pixel = begin + lane; pixel < end; pixel += lanes) {
      const Window window = pixel_window(g, pixel, group);
      const float factor = gradient[static_cast<int64_t>(pixel) * all_columns];
#pragma unroll
      for (int row = 0; row < kGroupedRows; ++row) {
        if (row >= rows) break;
        const float* from = tap_address(window, taps[row], g.rows.source, g.columns.source);
        if (from != nullptr) sums[row] = fmaf(*from, factor, sums[row]);
      }
    }
  }
#pragma unroll
  for (int row = 0; row < kGroupedRows; ++row) all_sums[row * kBlockThreads + thread] = sums[row];
  __syncthreads();
  const int elements = p.tile_rows << p.columns_log2;
  for (int i = thread; i < elements; i += kBlockThreads) {
    const float* from = all_sums + (i >> p.columns_log2) * kBlockThreads + (i & (columns - 1));
    float sum = 0;
    for (int j = 0; j < lanes; ++j) sum += from[j << p.columns_log2];
    tile[i] = sum;
  }
  __syncthreads();
  if (!add_splits(p, tile, elements)) return;
  const DirectTile finished{tile, columns, first_row};
  const ProgramTile at{
      0, row_block, column_block, rows, first_column, min(columns, all_columns - first_column), p.lanes_log2};
  run_program<V>(p.program, at, finished, stage);
}

// Threads are neighbours along the rows, that is, along channels first; each has kNarrowRows rows, as many threads
// apart as stand side by side, of all filters.
template <int V> __device__ __forceinline__ void narrow_weights(const DirectWeightsArguments& p) {
  if (program_halted(p.program)) return;
  const WeightGradientArguments& g = p.geometry;
  extern __shared__ __align__(16) float stage[];
  __shared__ __align__(16) float all_sums[kNarrow * kNarrowRows * kBlockThreads]; // [filter][row][lane][thread]
  __shared__ __align__(16) float tile[kNarrow * kNarrowRows << kDirectWidthLog2]; // [row][filter]
  const int thread = static_cast<int>(threadIdx.x), row_block = static_cast<int>(blockIdx.x);
  const int width = 1 << p.columns_log2, lanes = kBlockThreads >> p.columns_log2;
  const int first_row = row_block * p.tile_rows, rows = min(p.tile_rows, p.rows - first_row);
  const int place = thread & (width - 1), lane = thread >> p.columns_log2;
  Tap taps[kNarrowRows];
#pragma unroll
  for (int i = 0; i < kNarrowRows; ++i) {
    const int row = place + i * width;
    taps[i] = row < rows ? weight_tap(g, first_row + row) : no_tap();
  }
  float sums[kNarrow][kNarrowRows] = {};
  const int begin = static_cast<int>(blockIdx.y) * p.split_pixels, end = min(p.pixels, begin + p.split_pixels);
  const float* gradient = reinterpret_cast<const float*>(g.gradient);
  for (int pixel = begin + lane; pixel < end; pixel += lanes) {
    const Window window = pixel_window(g, pixel, 0);
    float factors[kNarrow];
#pragma unroll
    for (int filter = 0; filter < kNarrow; ++filter)
      factors[filter] = filter < g.filters ? gradient[static_cast<int64_t>(pixel) * g.filters + filter] : 0;
#pragma unroll
    for (int i = 0; i < kNarrowRows; ++i) {
      const float* from = tap_address(window, taps[i], g.rows.source, g.columns.source);
      if (from == nullptr) continue;
      const float value = *from;
#pragma unroll
      for (int filter = 0; filter < kNarrow; ++filter) sums[filter][i] = fmaf(value, factors[filter], sums[filter][i]);
    }
  }
#pragma unroll
  for (int filter = 0; filter < kNarrow; ++filter)
#pragma unroll
    for (int i = 0; i < kNarrowRows; ++i)
      all_sums[(filter * kNarrowRows + i) * kBlockThreads + thread] = sums[filter][i];
  __syncthreads();
  const int elements = p.tile_rows * g.filters;
  for (int i = thread; i < elements; i += kBlockThreads) {
    const int row = i / g.filters, filter = i - row * g.filters;
    const float* from =
        all_sums + (filter * kNarrowRows + (row >> p.columns_log2)) * kBlockThreads + (row & (width - 1));
    float sum = 0;
    for (int j = 0; j < lanes; ++j) sum += from[j << p.columns_log2];
    tile[i] = sum;
  }
  __syncthreads();
  if (!add_splits(p, tile, elements)) return;
  const DirectTile finished{tile, g.filters, first_row};
  run_program<V>(p.program, {0, row_block, 0, rows, 0, g.filters, p.lanes_log2}, finished, stage);
}

} // namespace

extern "C" {

__global__ void __launch_bounds__(256)
    convolution_grouped_weights_v1(const __grid_constant__ DirectWeightsArguments p) {
  grouped_weights<1>(p);
}
__global__ void __launch_bounds__(256)
    convolution_grouped_weights_v4(const __grid_constant__ DirectWeightsArguments p) {
  grouped_weights<4>(p);
}
__global__ void __launch_bounds__(256) convolution_narrow_weights_v1(const __grid_constant__ DirectWeightsArguments p) {
  narrow_weights<1>(p);
}
__global__ void __launch_bounds__(256) convolution_narrow_weights_v4(const __grid_constant__ DirectWeightsArguments p) {
  narrow_weights<4>(p);
}
}

} // namespace nodevae::cuda
