// cholesky and triangular_solve: many small matrices, a block or more for each. Sums run in double precision, in the
// order of native/cpu/small_linear_algebra.cc; products of two floats are exact there.
#include "global.cuh"
#include "small.h"

namespace nodevae::cuda {
namespace {

// A lower triangle by columns in shared memory: threads of neighbouring rows read neighbouring places.
struct PackedTriangle {
  float* values;
  int64_t n;
  __device__ float& at(int64_t i, int64_t k) const { return values[k * n - k * (k + 1) / 2 + i]; }
};
// The output itself, for matrices that do not fit.
struct PlainMatrix {
  float* values;
  int64_t n;
  __device__ float& at(int64_t i, int64_t k) const { return values[i * n + k]; }
};

// a = L L^T, column by column; each thread computes every 256th row from the diagonal on, so that thread 0 has the
// pivot first. False where that is not positive. `pivot` is shared.
template <class Matrix> __device__ inline bool factor(const float* a, const Matrix& l, float* pivot) {
  const int64_t n = l.n;
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t first = j; first < n; first += kBlock) {
      const int64_t i = first + threadIdx.x;
      double sum = 0.0;
      if (i < n) {
        sum = static_cast<double>(a[i * n + j]);
        for (int64_t k = 0; k < j; ++k) sum -= static_cast<double>(l.at(i, k)) * static_cast<double>(l.at(j, k));
      }
      if (first == j) {
        if (i == j) *pivot = sum > 0.0 ? static_cast<float>(sqrt(sum)) : -1.0f;
        __syncthreads();
        if (*pivot < 0.0f) return false;
      }
      if (i < n) l.at(i, j) = i == j ? *pivot : static_cast<float>(sum / static_cast<double>(*pivot));
    }
    __syncthreads();
  }
  return true;
}

__device__ inline void fill_nan(float* out, int64_t n) {
  for (int64_t i = threadIdx.x; i < n * n; i += kBlock) out[i] = __int_as_float(0x7FC00000);
}

template <bool Shared> __device__ inline void cholesky_matrix(const CholeskyParameters& p) {
  if (stopped(p.halted)) return;
  const int64_t n = p.n;
  float* pivot = reinterpret_cast<float*>(shared_memory);
  const float* a = global<const float>(p.in) + blockIdx.x * n * n;
  float* out = global<float>(p.out) + blockIdx.x * n * n;
  if constexpr (Shared) {
    const PackedTriangle l{pivot + 1, n};
    if (!factor(a, l, pivot)) return fill_nan(out, n);
    for (int64_t at = threadIdx.x; at < n * n; at += kBlock) {
      const int64_t i = at / n, j = at - i * n;
      out[at] = j <= i ? l.at(i, j) : 0.0f;
    }
  } else {
    if (!factor(a, PlainMatrix{out, n}, pivot)) return fill_nan(out, n);
    for (int64_t at = threadIdx.x; at < n * n; at += kBlock)
      if (at % n > at / n) out[at] = 0.0f;
  }
}

// L x = b, or L^T x = b: as soon as an element of x is known, it is subtracted from all sums that it is part of.
template <bool Shared> __device__ inline void solve(const TriangularSolveParameters& p) {
  if (stopped(p.halted)) return;
  const int64_t n = p.n, matrix = blockIdx.x / p.column_blocks;
  const int columns = 1 << p.log_columns, thread = static_cast<int>(threadIdx.x);
  const int64_t first_column = (blockIdx.x - matrix * p.column_blocks) << p.log_columns;
  const int64_t count = (n << p.log_columns);
  double* x = reinterpret_cast<double*>(shared_memory);
  double* sums = Shared ? x + columns : global<double>(p.sums) + blockIdx.x * count;
  const float* l = global<const float>(p.matrices) + matrix * n * n;
  const float* right = global<const float>(p.right) + matrix * n * p.columns + first_column;
  float* out = global<float>(p.out) + matrix * n * p.columns + first_column;
  const int64_t present = p.columns - first_column < columns ? p.columns - first_column : columns;
  for (int64_t at = thread; at < count; at += kBlock) {
    const int64_t i = at >> p.log_columns, j = at & (columns - 1);
    sums[at] = j < present ? static_cast<double>(right[i * p.columns + j]) : 0.0;
  }
  __syncthreads();
  for (int64_t step = 0; step < n; ++step) {
    const int64_t k = p.transpose != 0 ? n - 1 - step : step;
    if (thread < columns) {
      const float solved = static_cast<float>(sums[(k << p.log_columns) + thread] / static_cast<double>(l[k * n + k]));
      x[thread] = static_cast<double>(solved);
      if (thread < present) out[k * p.columns + thread] = solved;
    }
    __syncthreads();
    for (int64_t at = thread; at < (n - 1 - step) << p.log_columns; at += kBlock) {
      const int64_t row = at >> p.log_columns, i = p.transpose != 0 ? row : k + 1 + row;
      const float factor = p.transpose != 0 ? l[k * n + i] : l[i * n + k];
      const int j = static_cast<int>(at & (columns - 1));
      sums[(i << p.log_columns) + j] -= static_cast<double>(factor) * x[j];
    }
    __syncthreads();
  }
}

} // namespace

extern "C" __global__ void __launch_bounds__(256) cholesky_shared(const __grid_constant__ CholeskyParameters p) {
  cholesky_matrix<true>(p);
}
extern "C" __global__ void __launch_bounds__(256) cholesky_global(const __grid_constant__ CholeskyParameters p) {
  cholesky_matrix<false>(p);
}
extern "C" __global__ void __launch_bounds__(256)
    triangular_solve_shared(const __grid_constant__ TriangularSolveParameters p) {
  solve<true>(p);
}
extern "C" __global__ void __launch_bounds__(256)
    triangular_solve_global(const __grid_constant__ TriangularSolveParameters p) {
  solve<false>(p);
}

} // namespace nodevae::cuda
