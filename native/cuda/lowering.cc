#include "lowering.h"

namespace nodevae::cuda {

std::unique_ptr<LoweredStep> lower(const ResolvedStep& step, const Target& target) {
  switch (step.kernel) {
  case KernelId::map:
    return lower_map(step, target);
  case KernelId::matmul:
    return lower_matmul(step, target);
  case KernelId::gather:
    return lower_gather(step, target);
  case KernelId::scatter_add:
    return lower_scatter_add(step, target);
  case KernelId::random_uniform:
  case KernelId::random_normal:
    return lower_random(step, target);
  case KernelId::shuffled_indices:
    return lower_shuffled_indices(step, target);
  case KernelId::step_index:
    return lower_step_index(step, target);
  case KernelId::conv2d:
  case KernelId::conv2d_input_gradient:
  case KernelId::conv2d_weight_gradient:
    return lower_convolution(step, target);
  case KernelId::fold:
    return lower_fold(step, target);
  case KernelId::cumulative_sum:
    return lower_cumulative_sum(step, target);
  case KernelId::sort:
    return lower_sort(step, target);
  case KernelId::cholesky:
    return lower_cholesky(step, target);
  case KernelId::triangular_solve:
    return lower_triangular_solve(step, target);
  case KernelId::count:
    break;
  }
  throw KernelError("unknown kernel");
}

} // namespace nodevae::cuda
