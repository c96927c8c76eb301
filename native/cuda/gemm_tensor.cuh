// Products on tensor cores (mma.sync, compute capability 8.0 and later). Operands stay float32 in shared memory and are
// rounded, to nearest, when a thread forms its fragments.
//
// The instructions want a thread to hold certain ks of a line. Which ks of memory take these places does not matter, as
// long as A and B agree: here the thread with number t in its group of four always holds ks 4t .. 4t + 3 of sixteen,
// one 16-byte load from a by_line tile.
#pragma once

#include "gemm.cuh"

namespace nodevae::cuda {

__device__ __forceinline__ uint32_t round_tf32(float x) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}
__device__ __forceinline__ uint32_t round_bfloat16(float low, float high) {
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

// What a thread holds of one line for 16 ks, rounded: for TF32 one register per k; for bfloat16, two ks per register.
template <Method M> struct Fragment {
  static constexpr int kRegisters = M == Method::tf32 ? 4 : 2;
  uint32_t r[kRegisters];

  // `base`: Tile::fragment_base(); `group`: line / 8, counted from there.
  template <class Tile> __device__ void load(const float* tile, int base, int group, int first_k) {
    const float* at = tile + Tile::fragment_offset(base, group, first_k);
    float4 v;
    if constexpr (Tile::kLayout == Layout::by_line)
      v = *reinterpret_cast<const float4*>(at);
    else
      v = make_float4(at[0], at[Tile::kStride], at[2 * Tile::kStride], at[3 * Tile::kStride]);
    if constexpr (M == Method::tf32) {
      r[0] = round_tf32(v.x), r[1] = round_tf32(v.y), r[2] = round_tf32(v.z), r[3] = round_tf32(v.w);
    } else {
      r[0] = round_bfloat16(v.x, v.y), r[1] = round_bfloat16(v.z, v.w);
    }
  }
};

// c += A B for 16 rows x 8 columns x 16 ks; `upper` and `lower` are the lines 0 to 7 and 8 to 15 of A.
template <Method M>
__device__ __forceinline__ void multiply_fragments(float* c, const Fragment<M>& upper, const Fragment<M>& lower,
                                                   const Fragment<M>& b) {
  if constexpr (M == Method::tf32) {
#pragma unroll
    for (int i = 0; i < 4; i += 2)
      asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
          "{%0, %1, %2, %3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(upper.r[i]), "r"(lower.r[i]), "r"(upper.r[i + 1]), "r"(lower.r[i + 1]), "r"(b.r[i]), "r"(b.r[i + 1]));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(upper.r[0]), "r"(lower.r[0]), "r"(upper.r[1]), "r"(lower.r[1]), "r"(b.r[0]), "r"(b.r[1]));
  }
}

template <Method M, int Rows, int Columns> class TensorProduct {
public:
  static constexpr bool kTensor = true;
  static constexpr TileShape kShape{Rows, Columns};
  static constexpr int kDepth = tile_depth(kTensor, kShape), kStages = tile_stages(kTensor, kShape, kAsynchronous);
  static constexpr int kPipelineFloats = pipeline_floats(kTensor, kShape, kAsynchronous);
  static constexpr int kSlabRows = slab_rows(kShape), kSlabStride = slab_stride(kShape);
  static constexpr int kAccumulators = Rows * Columns / kBlockThreads;

  float accumulators[kAccumulators];

  template <Layout LayoutA, Layout LayoutB, class LoaderA, class LoaderB>
  __device__ void run(const LoaderA& loader_a, const LoaderB& loader_b, int first_row, int first_column, int k_begin,
                      int k_end, float* shared) {
    using TileA = OperandTile<Rows, kDepth, LayoutA, kTensor, LoaderA>;
    using TileB = OperandTile<Columns, kDepth, LayoutB, kTensor, LoaderB>;
    static_assert(kStages * (TileA::kFloats + TileB::kFloats) <= kPipelineFloats);
    TileA a(loader_a, first_row);
    TileB b(loader_b, first_column);
#pragma unroll
    for (int i = 0; i < kAccumulators; ++i) accumulators[i] = 0;
    const int base_a = TileA::fragment_base(warp_row()), base_b = TileB::fragment_base(warp_column());
    run_pipeline<kStages, kDepth>(a, b, k_begin, k_end, shared, [&](const float* tile_a, const float* tile_b) {
#pragma unroll
      for (int k = 0; k < kDepth; k += 16) {
        Fragment<M> y[kColumnTiles];
#pragma unroll
        for (int j = 0; j < kColumnTiles; ++j) y[j].template load<TileB>(tile_b, base_b, j, k);
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i) {
          Fragment<M> upper, lower;
          upper.template load<TileA>(tile_a, base_a, 2 * i, k);
          lower.template load<TileA>(tile_a, base_a, 2 * i + 1, k);
#pragma unroll
          for (int j = 0; j < kColumnTiles; ++j) multiply_fragments(accumulators + at(i, j), upper, lower, y[j]);
        }
      }
    });
  }

  // Writes those rows of the tile that lie in [first, first + kSlabRows) to a slab.
  __device__ void store(float* slab, int first) const {
    const int column = warp_column() + static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
    for (int i = 0; i < 2 * kRowTiles; ++i) {
      const int row = warp_row() + lane_line() + 8 * i - first;
      if (row < 0 || row >= kSlabRows) continue;
#pragma unroll
      for (int j = 0; j < kColumnTiles; ++j) {
        const float* c = accumulators + at(i / 2, j) + i % 2 * 2;
        *reinterpret_cast<float2*>(slab + row * kSlabStride + column + 8 * j) = make_float2(c[0], c[1]);
      }
    }
  }

private:
  // A warp computes 64 x 32 of a large tile, 32 x 16 or 16 x 32 of others, in tiles of 16 x 8.
  static constexpr int kWarpRows = Rows * Columns > 8192 ? 64 : Columns < 64 ? 16 : 32;
  static constexpr int kWarpColumns = Rows * Columns / 8 / kWarpRows;
  static constexpr int kRowTiles = kWarpRows / 16, kColumnTiles = kWarpColumns / 8;
  static_assert(Rows % kWarpRows == 0 && Columns % kWarpColumns == 0);

  __device__ static int warp_row() { return static_cast<int>(threadIdx.x) / 32 / (Columns / kWarpColumns) * kWarpRows; }
  __device__ static int warp_column() {
    return static_cast<int>(threadIdx.x) / 32 % (Columns / kWarpColumns) * kWarpColumns;
  }
  __device__ static int lane_line() { return static_cast<int>(threadIdx.x) % 32 / 4; }
  __device__ static constexpr int at(int row_tile, int column_tile) {
    return (row_tile * kColumnTiles + column_tile) * 4;
  }
};

} // namespace nodevae::cuda
