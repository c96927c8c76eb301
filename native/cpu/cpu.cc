// The CPU backend's front door: which tiers there are, which one is in force, and a kernel for every step.
#include <chrono>
#include <cstdlib>

#include "kernels.h"

namespace nodevae {

namespace {

// Best first. A tier is available when the build has it and the processor (and its operating system) supports it.
std::vector<const TierKernels*> available_tiers() {
  std::vector<const TierKernels*> tiers;
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
    tiers.push_back(tier_avx512());
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tiers.push_back(tier_avx2());
#elif defined(__aarch64__)
  tiers.push_back(tier_neon());
#endif
  tiers.push_back(tier_portable());
  return tiers;
}

const TierKernels* find_tier(const std::string& name) {
  for (const TierKernels* tier : available_tiers())
    if (name == tier->name) return tier;
  return nullptr;
}

std::string tier_list() {
  std::string list;
  for (const std::string& name : cpu_available_tiers()) list += (list.empty() ? "" : ", ") + name;
  return list;
}

// Runs `burst`, which returns the operations it made, for about `seconds`; GFLOP/s.
template <class Burst> double rate(double seconds, const Burst& burst) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  double operations = 0, elapsed = 0;
  do {
    operations += burst();
    elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  } while (elapsed < seconds);
  return operations / elapsed / 1e9;
}

} // namespace

const TierKernels& tier_kernels(const std::string& name) {
  const TierKernels* tier = find_tier(name);
  if (tier == nullptr)
    throw std::runtime_error("no CPU instruction tier \"" + name + "\" here; this machine has: " + tier_list());
  return *tier;
}

std::vector<std::string> cpu_available_tiers() {
  std::vector<std::string> names;
  for (const TierKernels* tier : available_tiers()) names.emplace_back(tier->name);
  return names;
}

std::string cpu_tier() {
  static const std::string requested = [] {
    const char* value = std::getenv("NODE_VAE_ISA");
    return std::string(value == nullptr ? "" : value);
  }();
  if (requested.empty()) return available_tiers().front()->name;
  if (find_tier(requested) == nullptr)
    throw std::runtime_error("NODE_VAE_ISA names the instruction tier \"" + requested +
                             "\"; this machine has: " + tier_list());
  return requested;
}

std::unique_ptr<Kernel> make_cpu_kernel(const ResolvedStep& step, int, const std::string& tier_name) {
  const TierKernels& tier = tier_kernels(tier_name);
  switch (step.kernel) {
  case KernelId::map:
    return make_map(step, tier);
  case KernelId::matmul:
    return make_matmul(step, tier);
  case KernelId::conv2d:
  case KernelId::conv2d_input_gradient:
    return make_convolution(step, tier);
  case KernelId::conv2d_weight_gradient:
    return make_convolution_weight_gradient(step, tier);
  case KernelId::fold:
    return make_fold(step, tier);
  case KernelId::cumulative_sum:
    return make_cumulative_sum(step);
  case KernelId::sort:
    return make_sort(step);
  case KernelId::cholesky:
    return make_cholesky(step);
  case KernelId::triangular_solve:
    return make_triangular_solve(step);
  case KernelId::gather:
    return make_gather(step);
  case KernelId::scatter_add:
    return make_scatter_add(step, tier);
  case KernelId::random_uniform:
    return make_random(step, tier.uniform);
  case KernelId::random_normal:
    return make_random(step, tier.normal);
  case KernelId::shuffled_indices:
    return make_shuffled_indices(step, tier);
  case KernelId::step_index:
    return make_step_index(step);
  case KernelId::count:
    break;
  }
  throw std::runtime_error("no CPU kernel for step kernel number " + std::to_string(static_cast<int>(step.kernel)));
}

double cpu_probe_fma(const std::string& tier_name, double seconds) {
  const TierKernels& tier = tier_kernels(tier_name);
  constexpr int64_t rounds = 20000;
  return rate(seconds, [&] { return static_cast<double>(rounds) * tier.fma_burst(rounds); });
}

double cpu_probe_l1(const std::string& tier_name, double seconds) {
  const TierKernels& tier = tier_kernels(tier_name);
  constexpr int64_t depth = 96; // 18 KB of B and 3 KB of A on the widest tier
  const int64_t rows = tier.micro_rows, width = static_cast<int64_t>(tier.micro_vectors) * tier.lanes;
  std::vector<float> memory(static_cast<size_t>(depth * (rows + width) + rows * width + 48), 0.5f);
  float* b = memory.data();
  while (reinterpret_cast<uintptr_t>(b) % 64 != 0) ++b;
  float* a = b + depth * width;
  const MicroTile tile{depth, a, depth, 1, b, tier.lanes, width, a + depth * rows, width, false};
  const MicroKernel kernel = tier.micro[0][rows - 1][tier.micro_vectors - 1];
  constexpr int repeats = 200;
  return rate(seconds, [&] {
    for (int i = 0; i < repeats; ++i) kernel(&tile);
    return 2.0 * static_cast<double>(rows * width * depth) * repeats;
  });
}

} // namespace nodevae
