// matmul in float32, on every GPU.
#include "gemm_float32.cuh"
#include "matmul.cuh"

namespace nodevae::cuda {

#define MATMUL_KERNELS(rows, columns)                                                                                  \
  using Product##rows##x##columns = Float32Product<rows, columns>;                                                     \
  MATMUL_KERNEL(matmul_float32_##rows##x##columns##_dd_v1, Product##rows##x##columns, by_depth, by_depth, 1)           \
  MATMUL_KERNEL(matmul_float32_##rows##x##columns##_dd_v4, Product##rows##x##columns, by_depth, by_depth, 4)

MATMUL_KERNELS(128, 128)
MATMUL_KERNELS(64, 64)
MATMUL_KERNELS(32, 128)
MATMUL_KERNELS(128, 32)

} // namespace nodevae::cuda
