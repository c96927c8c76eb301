// The kernels of matmul on tensor cores, of one precision.
#pragma once

#include "gemm_tensor.cuh"
#include "matmul.cuh"

#define MATMUL_LAYOUTS(name, Product, V)                                                                               \
  MATMUL_KERNEL(name##_ll_v##V, Product, by_line, by_line, V)                                                          \
  MATMUL_KERNEL(name##_ld_v##V, Product, by_line, by_depth, V)                                                         \
  MATMUL_KERNEL(name##_dd_v##V, Product, by_depth, by_depth, V)

#define MATMUL_TILE(method, rows, columns)                                                                             \
  using Product##rows##x##columns = TensorProduct<Method::method, rows, columns>;                                      \
  MATMUL_LAYOUTS(matmul_##method##_##rows##x##columns, Product##rows##x##columns, 1)                                   \
  MATMUL_LAYOUTS(matmul_##method##_##rows##x##columns, Product##rows##x##columns, 4)

#define MATMUL_TILES(method)                                                                                           \
  MATMUL_TILE(method, 128, 128)                                                                                        \
  MATMUL_TILE(method, 64, 64)                                                                                          \
  MATMUL_TILE(method, 32, 128)                                                                                         \
  MATMUL_TILE(method, 128, 32)
