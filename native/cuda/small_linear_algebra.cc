#include "small.h"
#include "step.h"

namespace nodevae::cuda {

namespace {

constexpr int64_t kSharedBytes = 48 * 1024; // what every device gives a block

} // namespace

std::unique_ptr<LoweredStep> lower_cholesky(const ResolvedStep& step, const Target& target) {
  CholeskyParameters p{};
  p.in = address_of(step.operands[0]);
  p.out = address_of(step.operands[1]);
  p.n = step.space[kRows];
  const int64_t triangle = (1 + p.n * (p.n + 1) / 2) * static_cast<int64_t>(sizeof(float));
  const bool shared = triangle <= kSharedBytes;
  const uint32_t blocks = grid_of(step.space[kOuter - 1], "cholesky");
  return make_step(
      [=, module = embedded_module("small_linear_algebra", target.capability)](const Addresses& addresses) {
        CholeskyParameters q = p;
        q.halted = guard_of(addresses);
        return std::vector<Launch>{launch_of(module, shared ? "cholesky_shared" : "cholesky_global", blocks, q,
                                             static_cast<size_t>(shared ? triangle : 16))};
      });
}

std::unique_ptr<LoweredStep> lower_triangular_solve(const ResolvedStep& step, const Target& target) {
  TriangularSolveParameters p{};
  p.matrices = address_of(step.operands[0]);
  p.right = address_of(step.operands[1]);
  p.out = address_of(step.operands[2]);
  p.n = step.space[kRows];
  p.columns = step.space[kColumns];
  p.transpose = step.attributes[0];
  const int64_t batch = step.space[kOuter - 1];

  // As many columns as stand next to each other in a cache line, where their sums fit and other blocks have some too.
  const auto bytes = [&](int32_t log_columns) { return ((p.n + 1) << log_columns) * int64_t{sizeof(double)}; };
  while (p.log_columns < 5 && int64_t{1} << p.log_columns < p.columns) {
    const int64_t blocks = batch * divide_up(p.columns, int64_t{2} << p.log_columns);
    if (bytes(p.log_columns + 1) > kSharedBytes && bytes(0) <= kSharedBytes) break;
    if (p.log_columns >= 3 && blocks < target.multiprocessors) break;
    ++p.log_columns;
  }
  p.column_blocks = divide_up(p.columns, int64_t{1} << p.log_columns);
  const uint32_t blocks = grid_of(batch * p.column_blocks, "triangular_solve");
  const bool shared = bytes(p.log_columns) <= kSharedBytes;
  const size_t x_bytes = sizeof(double) << p.log_columns, sum_bytes = x_bytes * static_cast<size_t>(p.n);
  return make_step(
      [=, module = embedded_module("small_linear_algebra", target.capability)](const Addresses& addresses) {
        TriangularSolveParameters q = p;
        q.halted = guard_of(addresses);
        q.sums = addresses.scratch;
        return std::vector<Launch>{launch_of(module, shared ? "triangular_solve_shared" : "triangular_solve_global",
                                             blocks, q, x_bytes + (shared ? sum_bytes : 0))};
      },
      shared ? 0 : blocks * sum_bytes);
}

} // namespace nodevae::cuda
