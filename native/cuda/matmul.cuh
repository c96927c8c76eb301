// The kernels of matmul. Their names are <method and tile, gemm_lowering.h>_<layout of A><layout of B>_v<V>, where a
// layout is d (by_depth) or l (by_line), and V as in run_program().
#pragma once

#include "gemm_finish.cuh"
#include "matmul.h"

namespace nodevae::cuda {

// Lines and ks at constant distances.
class MatrixLoader {
public:
  struct Line {
    int index; // may be beyond the last: so a thread's lines are one register and constants
  };
  struct Depth {
    const float* first; // line 0
  };
  __device__ MatrixLoader(const MatrixArguments& matrix, const OuterIndex& outer)
      : data_(reinterpret_cast<const float*>(matrix.data)), matrix_(matrix) {
#pragma unroll
    for (int d = 0; d < 4; ++d) data_ += outer.at[d] * matrix.outer_stride[d];
    asm volatile("" : "+l"(data_)); // or the sum and its parts would be kept
  }
  __device__ Line line(int index) const { return {index}; }
  __device__ Depth depth(int k) const { return {data_ + static_cast<int64_t>(k) * matrix_.depth_stride}; }
  __device__ const float* address(const Line& line, const Depth& depth) const {
    return line.index < matrix_.lines ? depth.first + multiply_wide(line.index, matrix_.line_stride) : nullptr;
  }
  __device__ Copy copy() const { return matrix_.copy; }

private:
  // One instruction, and nothing of it can be kept.
  __device__ static int64_t multiply_wide(int a, int b) {
    int64_t product;
    asm volatile("mul.wide.s32 %0, %1, %2;" : "=l"(product) : "r"(a), "r"(b));
    return product;
  }

  const float* data_;
  const MatrixArguments& matrix_; // in the kernel's parameters
};

template <class Product, Layout LayoutA, Layout LayoutB, int V>
__device__ __forceinline__ void multiply_matrices(const MatmulParameters& p) {
  extern __shared__ float4 shared_vectors[];
  float* shared = reinterpret_cast<float*>(shared_vectors);
  if (program_halted(p.program)) return;
  constexpr int kRows = Product::kShape.rows, kColumns = Product::kShape.columns;
  Product product;
  {
    const TilePosition at = tile_position(p.gemm);
    keep_position<Product>(at, shared);
    const OuterIndex outer = outer_index(p.program.outer_extent, at.outer);
    product.template run<LayoutA, LayoutB>(MatrixLoader(p.a, outer), MatrixLoader(p.b, outer), at.row_block * kRows,
                                           at.column_block * kColumns, at.k_begin, at.k_end, shared);
  }
  const TilePosition at = kept_position<Product>(shared);
  if (!sum_splits(product, p.gemm, at, shared)) return;
  const int first_row = at.row_block * kRows, first_column = at.column_block * kColumns;
  ProgramTile tile;
  tile.outer = at.outer;
  tile.row_part = at.row_block * (kRows / Product::kSlabRows);
  tile.column_part = at.column_block;
  tile.rows = min(kRows, p.gemm.rows - first_row);
  tile.first_column = first_column;
  tile.columns = min(kColumns, p.gemm.columns - first_column);
  tile.lanes_log2 = p.gemm.lanes_log2;
  finish_tile<V>(product, p.program, tile, IdentityRows{first_row}, shared);
}

// Two blocks to a multiprocessor, so that one computes while the other waits or runs its program.
#define MATMUL_KERNEL(name, Product, LayoutA, LayoutB, V)                                                              \
  extern "C" __global__ void __launch_bounds__(256, 2) name(const __grid_constant__ MatmulParameters p) {              \
    multiply_matrices<Product, Layout::LayoutA, Layout::LayoutB, V>(p);                                                \
  }

} // namespace nodevae::cuda
