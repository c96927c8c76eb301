#include "small.h"
#include "sort_keys.h"
#include "step.h"

namespace nodevae::cuda {

std::unique_ptr<LoweredStep> lower_sort(const ResolvedStep& step, const Target& target) {
  SortParameters p{};
  p.in = address_of(step.operands[0]);
  p.out = address_of(step.operands[1]);
  p.rows = step.space[kRows];
  p.columns = step.space[kColumns];
  p.descending = step.attributes[0];
  p.positions = step.attributes[1];
  const auto module = embedded_module("small_sort", target.capability);

  if (p.columns <= kTileKeys) {
    while (int64_t{1} << p.log_width < p.columns) ++p.log_width;
    // Short rows side by side: enough of them for every thread to have two keys to compare.
    while (p.log_rows + p.log_width < 9 && int64_t{1} << p.log_rows < p.rows) ++p.log_rows;
    const uint32_t blocks = grid_of(divide_up(p.rows, int64_t{1} << p.log_rows), "sort");
    const size_t shared = sizeof(uint64_t) << (p.log_rows + p.log_width);
    return make_step([=](const Addresses& addresses) {
      SortParameters q = p;
      q.halted = guard_of(addresses);
      return std::vector<Launch>{launch_of(module, "sort_rows", blocks, q, shared)};
    });
  }

  const int64_t elements = p.rows * p.columns;
  const uint32_t blocks = grid_of(divide_up(elements, kThreads), "sort");
  const size_t key_bytes = static_cast<size_t>(divide_up(elements, 32) * 32) * sizeof(uint64_t);
  return make_step(
      [=, capability = target.capability](const Addresses& addresses) {
        SortParameters q = p;
        q.halted = guard_of(addresses);
        q.keys = addresses.scratch;
        std::vector<Launch> launches{launch_of(module, "sort_prepare", blocks, q)};
        q.keys = append_key_sort(launches, capability, q.halted, addresses.scratch, addresses.scratch + key_bytes,
                                 q.rows, q.columns);
        launches.push_back(launch_of(module, "sort_finish", blocks, q));
        return launches;
      },
      2 * key_bytes);
}

} // namespace nodevae::cuda
