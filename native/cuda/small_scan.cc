#include <algorithm>

#include "small.h"
#include "step.h"

namespace nodevae::cuda {

namespace {

constexpr int64_t kSerialLength = 32;
constexpr int64_t kManySequences = 32768; // neighbouring ones: a thread each keeps a device busy
constexpr int64_t kFewStrips = 64;
constexpr int64_t kSegmentLength = 16384; // at least
constexpr int64_t kMostSegments = 256;
constexpr size_t kSharedBytes = 256 * sizeof(double) + (2048 + 64) * sizeof(float);

} // namespace

std::unique_ptr<LoweredStep> lower_cumulative_sum(const ResolvedStep& step, const Target& target) {
  CumulativeSumParameters p{};
  p.in = address_of(step.operands[0]);
  p.out = address_of(step.operands[1]);
  p.outer = step.space[kOuter - 1];
  p.length = step.space[kRows];
  p.inner = step.space[kColumns];
  p.reverse = step.attributes[0];
  p.exclusive = step.attributes[1];
  const auto module = embedded_module("small_scan", target.capability);

  const int64_t sequences = p.outer * p.inner;
  if (p.length <= kSerialLength || (p.inner >= 32 && sequences >= kManySequences)) {
    const uint32_t blocks = grid_of(divide_up(sequences, kThreads), "cumulative_sum");
    return make_step([=](const Addresses& addresses) {
      CumulativeSumParameters q = p;
      q.halted = guard_of(addresses);
      return std::vector<Launch>{launch_of(module, "cumulative_sum_serial", blocks, q)};
    });
  }

  while (p.log_columns < 5 && int64_t{1} << p.log_columns < p.inner) ++p.log_columns;
  p.column_blocks = divide_up(p.inner, int64_t{1} << p.log_columns);
  const int64_t strips = p.outer * p.column_blocks;
  p.segments = 1;
  if (strips < kFewStrips)
    p.segments = std::clamp<int64_t>((p.length << p.log_columns) / kSegmentLength, 1, kMostSegments / strips);
  p.segment_length = divide_up(p.length, p.segments);
  p.segments = divide_up(p.length, p.segment_length);
  const uint32_t blocks = grid_of(strips * p.segments, "cumulative_sum");
  const size_t scratch = p.segments == 1 ? 0 : static_cast<size_t>(sequences * p.segments) * sizeof(double);
  return make_step(
      [=](const Addresses& addresses) {
        CumulativeSumParameters q = p;
        q.halted = guard_of(addresses);
        q.totals = addresses.scratch;
        std::vector<Launch> launches;
        if (q.segments > 1) launches.push_back(launch_of(module, "cumulative_sum_totals", blocks, q, kSharedBytes));
        launches.push_back(launch_of(module, "cumulative_sum", blocks, q, kSharedBytes));
        return launches;
      },
      scratch);
}

} // namespace nodevae::cuda
