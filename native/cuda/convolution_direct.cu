// conv2d and conv2d_input_gradient of few channels per group, or of few channels to write.
#include "convolution_direct.cuh"

namespace nodevae::cuda {

namespace {

template <int Width> struct Values {
  float at[Width];
};

template <int Width> __device__ __forceinline__ Values<Width> load_values(const float* from) {
  Values<Width> values;
  if constexpr (Width == 4)
    *reinterpret_cast<float4*>(values.at) = *reinterpret_cast<const float4*>(from);
  else
    values.at[0] = *from;
  return values;
}

// Threads are neighbours along the channels; each has kGroupedPixels pixels of the phase, so that a weight serves all
// of them.
template <int V> __device__ __forceinline__ void grouped(const GroupedArguments& p) {
  if (program_halted(p.program)) return;
  const CorrelationArguments& g = p.geometry;
  __shared__ __align__(16) float tile[kBlockThreads * kGroupedPixels];
  extern __shared__ __align__(16) float stage[];
  const int thread = static_cast<int>(threadIdx.x), block = static_cast<int>(blockIdx.x);
  const int row_block = block / p.column_blocks, column_block = block - row_block * p.column_blocks;
  const int phase_number = row_block / p.blocks_per_phase;
  const CorrelationPhase phase(g, phase_number);
  const int columns = 1 << p.columns_log2, lanes = kBlockThreads >> p.columns_log2;
  const int first_row = (row_block - phase_number * p.blocks_per_phase) * lanes * kGroupedPixels;
  const int rows = max(0, min(lanes * kGroupedPixels, phase.pixels(g) - first_row));

  const int first_column = column_block << p.columns_log2;
  const int column = first_column + (thread & (columns - 1)), lane = thread >> p.columns_log2;
  float sums[kGroupedPixels] = {};
  if (column < g.out * g.groups) {
    const int group = column / g.out;
    const float* weights = phase.weights(g, group) + (column - group * g.out) * g.weight_out;
    Window windows[kGroupedPixels];
#pragma unroll
    for (int i = 0; i < kGroupedPixels; ++i) {
      const int row = lane + i * lanes;
      windows[i] = row < rows ? phase.window(g, first_row + row, group) : no_window();
    }
    for (int y = 0; y < phase.rows.taps.divisor; ++y)
      for (int x = 0; x < phase.columns.taps.divisor; ++x) {
        const Tap tap = correlation_tap(g, {y, x, 0});
        const float* weight = weights + tap_weight(g, {y, x, 0});
        const float* from[kGroupedPixels];
#pragma unroll
        for (int i = 0; i < kGroupedPixels; ++i)
          from[i] = tap_address(windows[i], tap, g.rows.source, g.columns.source);
        for (int channel = 0; channel < g.in; ++channel) {
          const float factor = weight[channel * g.weight_in];
#pragma unroll
          for (int i = 0; i < kGroupedPixels; ++i)
            if (from[i] != nullptr) sums[i] = fmaf(from[i][channel], factor, sums[i]);
        }
      }
  }
#pragma unroll
  for (int i = 0; i < kGroupedPixels; ++i) tile[i * kBlockThreads + thread] = sums[i];
  __syncthreads();
  const PhaseTile finished(tile, columns, first_row, g, phase);
  const ProgramTile at{
      0, row_block, column_block, rows, first_column, min(columns, g.out * g.groups - first_column), p.lanes_log2};
  run_program<V>(p.program, at, finished, stage);
}

// All weights lie in shared memory, [kernel position][channel of the destination][channel of the source]. A pixel is
// shared by some neighbouring threads, each of which has every so many-th group of the source's channels.
template <int V, int Width> __device__ __forceinline__ void narrow(const NarrowArguments& p) {
  if (program_halted(p.program)) return;
  const CorrelationArguments& g = p.geometry;
  extern __shared__ __align__(16) float shared[];
  const int thread = static_cast<int>(threadIdx.x), block = static_cast<int>(blockIdx.x);
  const int weight_count = g.rows.kernel * g.columns.kernel * g.out * g.in;
  float* tile = shared; // [pixel][channel]
  float* weights = tile + kNarrowPixels * kNarrow;
  float* stage = weights + (weight_count + 3) / 4 * 4;
  for (int i = thread; i < weight_count; i += kBlockThreads) {
    const int line = divide(i, g.in_divisor), position = line / g.out;
    const int out = line - position * g.out, in = i - line * g.in;
    weights[i] =
        reinterpret_cast<const float*>(g.weights)[position * g.weight_position + out * g.weight_out + in * g.weight_in];
  }
  __syncthreads();

  const int share = thread & ((1 << p.share_log2) - 1), lane = thread >> p.share_log2;
  const int lanes = kBlockThreads >> p.share_log2;
  const int first = block * kNarrowPixels, count = min(kNarrowPixels, p.pixels - first);
  for (int begin = 0; begin < count; begin += lanes) {
    float sums[kNarrow] = {};
    const int number = begin + lane;
    if (number < count) {
      const int line = divide(first + number, g.columns.destination_divisor);
      const int column = first + number - line * g.columns.destination;
      const int image = divide(line, g.rows.destination_divisor), row = line - image * g.rows.destination;
      const int y_index = divide(row, g.rows.stride_divisor), x_index = divide(column, g.columns.stride_divisor);
      const CorrelationPhase phase(g, row - y_index * g.rows.stride, column - x_index * g.columns.stride);
      const Window window = phase.window(g, {image, y_index, x_index}, 0);
      for (int y = 0; y < phase.rows.taps.divisor; ++y)
        for (int x = 0; x < phase.columns.taps.divisor; ++x) {
          const float* from = tap_address(window, correlation_tap(g, {y, x, 0}), g.rows.source, g.columns.source);
          if (from == nullptr) continue;
          const float* factors = weights + phase.kernel_position(g, y, x) * g.out * g.in;
          for (int channel = share * Width; channel < g.in; channel += Width << p.share_log2) {
            const Values<Width> source = load_values<Width>(from + channel);
#pragma unroll
            for (int out = 0; out < kNarrow; ++out) {
              if (out >= g.out) break;
              const Values<Width> weight = load_values<Width>(factors + out * g.in + channel);
#pragma unroll
              for (int i = 0; i < Width; ++i) sums[out] = fmaf(source.at[i], weight.at[i], sums[out]);
            }
          }
        }
    }
#pragma unroll
    for (int out = 0; out < kNarrow; ++out) {
      for (int distance = 1; distance < 1 << p.share_log2; distance *= 2)
        sums[out] += __shfl_xor_sync(0xffffffffu, sums[out], distance);
      if (share == 0 && number < count && out < g.out) tile[number * g.out + out] = sums[out];
    }
  }
  __syncthreads();
  const DirectTile finished{tile, g.out, first};
  run_program<V>(p.program, {0, block, 0, count, 0, g.out, p.lanes_log2}, finished, stage);
}

} // namespace

extern "C" {

__global__ void __launch_bounds__(256) convolution_grouped_v1(const __grid_constant__ GroupedArguments p) {
  grouped<1>(p);
}
__global__ void __launch_bounds__(256) convolution_grouped_v4(const __grid_constant__ GroupedArguments p) {
  grouped<4>(p);
}

// By the vectors of the source, and by the program's.
__global__ void __launch_bounds__(256) convolution_narrow_scalar_v1(const __grid_constant__ NarrowArguments p) {
  narrow<1, 1>(p);
}
__global__ void __launch_bounds__(256) convolution_narrow_scalar_v4(const __grid_constant__ NarrowArguments p) {
  narrow<4, 1>(p);
}
__global__ void __launch_bounds__(256) convolution_narrow_vector_v1(const __grid_constant__ NarrowArguments p) {
  narrow<1, 4>(p);
}
__global__ void __launch_bounds__(256) convolution_narrow_vector_v4(const __grid_constant__ NarrowArguments p) {
  narrow<4, 4>(p);
}
}

} // namespace nodevae::cuda
