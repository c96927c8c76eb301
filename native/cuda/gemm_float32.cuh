// Products in float32: each thread accumulates 8 x 8 or 4 x 4 elements of the tile, one fused multiply-add at a time.
#pragma once

#include "gemm.cuh"

namespace nodevae::cuda {

template <int Rows, int Columns> class Float32Product {
public:
  static constexpr bool kTensor = false;
  static constexpr TileShape kShape{Rows, Columns};
  static constexpr int kDepth = tile_depth(kTensor, kShape), kStages = tile_stages(kTensor, kShape, kAsynchronous);
  static constexpr int kPipelineFloats = pipeline_floats(kTensor, kShape, kAsynchronous);
  static constexpr int kSlabRows = slab_rows(kShape), kSlabStride = slab_stride(kShape);
  static constexpr int kAccumulators = Rows * Columns / kBlockThreads;

  float accumulators[kAccumulators];

  template <Layout LayoutA, Layout LayoutB, class LoaderA, class LoaderB>
  __device__ void run(const LoaderA& loader_a, const LoaderB& loader_b, int first_row, int first_column, int k_begin,
                      int k_end, float* shared) {
    static_assert(LayoutA == Layout::by_depth && LayoutB == Layout::by_depth, "float32 tiles are by_depth");
    using TileA = OperandTile<Rows, kDepth, LayoutA, kTensor, LoaderA>;
    using TileB = OperandTile<Columns, kDepth, LayoutB, kTensor, LoaderB>;
    static_assert(kStages * (TileA::kFloats + TileB::kFloats) <= kPipelineFloats);
    TileA a(loader_a, first_row);
    TileB b(loader_b, first_column);
#pragma unroll
    for (int i = 0; i < kAccumulators; ++i) accumulators[i] = 0;
    const int row = thread_row(), column = thread_column();
    run_pipeline<kStages, kDepth>(a, b, k_begin, k_end, shared, [&](const float* tile_a, const float* tile_b) {
#pragma unroll
      for (int k = 0; k < kDepth; ++k) {
        float4 x[kGroups], y[kGroups];
#pragma unroll
        for (int g = 0; g < kGroups; ++g) {
          x[g] = *reinterpret_cast<const float4*>(tile_a + TileA::offset(row + g * kRowStep, k));
          y[g] = *reinterpret_cast<const float4*>(tile_b + TileB::offset(column + g * kColumnStep, k));
        }
#pragma unroll
        for (int g = 0; g < kGroups; ++g)
#pragma unroll
          for (int h = 0; h < kGroups; ++h) {
            multiply_row(accumulators + at(g, 0, h), x[g].x, y[h]);
            multiply_row(accumulators + at(g, 1, h), x[g].y, y[h]);
            multiply_row(accumulators + at(g, 2, h), x[g].z, y[h]);
            multiply_row(accumulators + at(g, 3, h), x[g].w, y[h]);
          }
      }
    });
  }

  // Writes those rows of the tile that lie in [first, first + kSlabRows) to a slab.
  __device__ void store(float* slab, int first) const {
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      const int row = thread_row() + g * kRowStep - first;
      if (row < 0 || row >= kSlabRows) continue;
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int h = 0; h < kGroups; ++h) {
          const float* c = accumulators + at(g, i, h);
          *reinterpret_cast<float4*>(slab + (row + i) * kSlabStride + thread_column() + h * kColumnStep) =
              make_float4(c[0], c[1], c[2], c[3]);
        }
    }
  }

private:
  // A warp's lanes are 4 x 8: they read 4 and 8 groups of 4 neighbouring lines, which takes the fewest cycles.
  static constexpr int kGroups = kAccumulators == 64 ? 2 : 1; // of 4 rows, and of 4 columns, per thread
  static constexpr int kRowStep = 16, kColumnStep = 32;
  static constexpr int kWarpColumns = Columns / (kColumnStep * kGroups);
  static_assert(kAccumulators == 16 * kGroups * kGroups && Columns % (kColumnStep * kGroups) == 0);

  __device__ static int thread_row() {
    const int thread = static_cast<int>(threadIdx.x);
    return thread / 32 / kWarpColumns * kRowStep * kGroups + thread % 32 / 8 * 4;
  }
  __device__ static int thread_column() {
    const int thread = static_cast<int>(threadIdx.x);
    return thread / 32 % kWarpColumns * kColumnStep * kGroups + thread % 8 * 4;
  }
  __device__ static constexpr int at(int group, int row, int column_group) {
    return ((group * 4 + row) * kGroups + column_group) * 4;
  }
  __device__ static void multiply_row(float* c, float x, const float4& y) {
    c[0] = fmaf(x, y.x, c[0]), c[1] = fmaf(x, y.y, c[1]), c[2] = fmaf(x, y.z, c[2]), c[3] = fmaf(x, y.w, c[3]);
  }
};

} // namespace nodevae::cuda
