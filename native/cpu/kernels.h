// The CPU kernels, one maker each. Everything here is tier-neutral: it splits work and calls a tier's functions.
#pragma once

#include <algorithm>
#include <memory>

#include "../backend.h"
#include "../pool.h"
#include "tier.h"

namespace nodevae {

const TierKernels& tier_kernels(const std::string& name); // throws std::runtime_error for an unavailable tier

std::unique_ptr<Kernel> make_map(const ResolvedStep& step, const TierKernels& tier);
std::unique_ptr<Kernel> make_matmul(const ResolvedStep& step, const TierKernels& tier);
std::unique_ptr<Kernel> make_convolution(const ResolvedStep& step, const TierKernels& tier); // and its input gradient
std::unique_ptr<Kernel> make_convolution_weight_gradient(const ResolvedStep& step, const TierKernels& tier);
std::unique_ptr<Kernel> make_fold(const ResolvedStep& step, const TierKernels& tier);
std::unique_ptr<Kernel> make_cumulative_sum(const ResolvedStep& step);
std::unique_ptr<Kernel> make_sort(const ResolvedStep& step);
std::unique_ptr<Kernel> make_cholesky(const ResolvedStep& step);
std::unique_ptr<Kernel> make_triangular_solve(const ResolvedStep& step);
std::unique_ptr<Kernel> make_gather(const ResolvedStep& step);
std::unique_ptr<Kernel> make_scatter_add(const ResolvedStep& step, const TierKernels& tier);
std::unique_ptr<Kernel> make_random(const ResolvedStep& step, NoiseFunction fill);
std::unique_ptr<Kernel> make_shuffled_indices(const ResolvedStep& step, const TierKernels& tier);
std::unique_ptr<Kernel> make_step_index(const ResolvedStep& step);

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// Divides `items` into jobs of `per_job` neighbours, the last one shorter, and calls body(begin, end, thread) for each:
// in parallel, or, where there is only one, by the caller without waking a worker (Pool::run).
template <class Body> void run_jobs(Pool& pool, int64_t items, int64_t per_job, const Body& body) {
  pool.parallel_for(ceil_div(items, per_job), [&](int64_t job, int thread) {
    const int64_t begin = job * per_job;
    body(begin, std::min(items, begin + per_job), thread);
  });
}

// Bytes for n floats, so that what follows them is aligned to a cache line.
inline size_t float_bytes(int64_t n) { return static_cast<size_t>(round_up(n, 16)) * sizeof(float); }

} // namespace nodevae
