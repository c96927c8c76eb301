// cholesky and triangular_solve: many small matrices, one after the other. Sums run in double precision.
#include <cmath>
#include <limits>

#include "kernels.h"

namespace nodevae {

namespace {

// a = L L^T by rows (Cholesky-Banachiewicz): reads the lower triangle of a, writes zeros above the diagonal of L.
// Where a pivot is not positive the matrix is not positive definite, and all of L becomes NaN.
class CholeskyKernel final : public Kernel {
public:
  explicit CholeskyKernel(const ResolvedStep& step)
      : in_(static_cast<const float*>(step.operands[0].data)), out_(static_cast<float*>(step.operands[1].data)),
        batch_(step.space[kOuter - 1]), n_(step.space[kRows]) {}

  void run(const RunContext& context) override {
    context.pool->parallel_for(batch_, [&](int64_t i, int) { factor(in_ + i * n_ * n_, out_ + i * n_ * n_); });
  }

private:
  void factor(const float* a, float* l) const {
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        double sum = static_cast<double>(a[i * n_ + j]);
        for (int64_t k = 0; k < j; ++k) sum -= static_cast<double>(l[i * n_ + k]) * static_cast<double>(l[j * n_ + k]);
        if (j < i)
          l[i * n_ + j] = static_cast<float>(sum / static_cast<double>(l[j * n_ + j]));
        else if (sum > 0)
          l[i * n_ + i] = static_cast<float>(std::sqrt(sum));
        else {
          std::fill_n(l, n_ * n_, std::numeric_limits<float>::quiet_NaN());
          return;
        }
      }
      std::fill_n(l + i * n_ + i + 1, n_ - i - 1, 0.0f);
    }
  }

  const float* in_;
  float* out_;
  int64_t batch_, n_;
};

// L x = b, or L^T x = b, by substitution; only the lower triangle of L is read.
class TriangularSolveKernel final : public Kernel {
public:
  explicit TriangularSolveKernel(const ResolvedStep& step)
      : l_(static_cast<const float*>(step.operands[0].data)), b_(static_cast<const float*>(step.operands[1].data)),
        out_(static_cast<float*>(step.operands[2].data)), batch_(step.space[kOuter - 1]), n_(step.space[kRows]),
        columns_(step.space[kColumns]), transpose_(step.attributes[0] != 0) {}

  void run(const RunContext& context) override {
    const int64_t strips = ceil_div(columns_, kColumnsAtOnce);
    context.pool->parallel_for(batch_ * strips, [&](int64_t job, int) {
      const int64_t i = job / strips, column = job % strips * kColumnsAtOnce;
      solve(l_ + i * n_ * n_, b_ + i * n_ * columns_ + column, out_ + i * n_ * columns_ + column,
            std::min(kColumnsAtOnce, columns_ - column));
    });
  }

private:
  static constexpr int64_t kColumnsAtOnce = 64;

  void solve(const float* l, const float* b, float* x, int64_t count) const {
    double sum[kColumnsAtOnce];
    for (int64_t step = 0; step < n_; ++step) {
      const int64_t i = transpose_ ? n_ - 1 - step : step;
      for (int64_t j = 0; j < count; ++j) sum[j] = static_cast<double>(b[i * columns_ + j]);
      for (int64_t before = 0; before < step; ++before) {
        const int64_t k = transpose_ ? n_ - 1 - before : before;
        const double factor = static_cast<double>(transpose_ ? l[k * n_ + i] : l[i * n_ + k]);
        for (int64_t j = 0; j < count; ++j) sum[j] -= factor * static_cast<double>(x[k * columns_ + j]);
      }
      const double pivot = static_cast<double>(l[i * n_ + i]);
      for (int64_t j = 0; j < count; ++j) x[i * columns_ + j] = static_cast<float>(sum[j] / pivot);
    }
  }

  const float *l_, *b_;
  float* out_;
  int64_t batch_, n_, columns_;
  bool transpose_;
};

} // namespace

std::unique_ptr<Kernel> make_cholesky(const ResolvedStep& step) { return std::make_unique<CholeskyKernel>(step); }
std::unique_ptr<Kernel> make_triangular_solve(const ResolvedStep& step) {
  return std::make_unique<TriangularSolveKernel>(step);
}

} // namespace nodevae
