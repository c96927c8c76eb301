// Noise, batch order and the step counter: pure functions of (seed, step, stream); seed and step stand in RunState.
#include "random.h"

#include "step.h"

namespace nodevae::cuda {

std::unique_ptr<LoweredStep> lower_random(const ResolvedStep& step, const Target& target) {
  RandomParameters p{};
  p.out = address_of(step.operands[0]);
  p.count = step.space[kColumns];
  p.stream = static_cast<uint32_t>(step.attributes[0]);
  p.aligned = p.out % 16 == 0;
  const char* entry = step.kernel == KernelId::random_normal ? "random_normal" : "random_uniform";
  const uint32_t blocks = grid_of(divide_up(p.count, 4 * kThreads), entry);
  return make_step([=, module = embedded_module("random", target.capability)](const Addresses& addresses) {
    RandomParameters q = p;
    q.state = addresses.state;
    q.halted = guard_of(addresses);
    return std::vector<Launch>{launch_of(module, entry, blocks, q)};
  });
}

std::unique_ptr<LoweredStep> lower_shuffled_indices(const ResolvedStep& step, const Target& target) {
  ShuffledIndicesParameters p{};
  p.out = address_of(step.operands[0]);
  p.stride = step.operands[0].strides[kColumns];
  p.batch = static_cast<uint32_t>(step.space[kColumns]);
  p.rows = static_cast<uint32_t>(step.attributes[0]);
  p.shuffle = step.attributes[1];
  p.stream = static_cast<uint32_t>(step.attributes[2]);
  const uint32_t blocks = grid_of(divide_up(p.batch, kThreads), "shuffled_indices");
  return make_step([=, module = embedded_module("random", target.capability)](const Addresses& addresses) {
    ShuffledIndicesParameters q = p;
    q.state = addresses.state;
    q.halted = guard_of(addresses);
    return std::vector<Launch>{launch_of(module, "shuffled_indices", blocks, q)};
  });
}

std::unique_ptr<LoweredStep> lower_step_index(const ResolvedStep& step, const Target& target) {
  const uint64_t out = address_of(step.operands[0]);
  return make_step([=, module = embedded_module("random", target.capability)](const Addresses& addresses) {
    return std::vector<Launch>{
        launch_of(module, "step_index", 1, StepIndexParameters{addresses.state, guard_of(addresses), out})};
  });
}

} // namespace nodevae::cuda
