#include "placement.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "../binding.h"
#include "accesses.h"
#include "interval_map.h"

namespace nodevae::cuda {
namespace {

// Large buffers make large launches, which fill a device by themselves.
constexpr int64_t kAlwaysBytes = int64_t{32} << 20, kMostBytes = int64_t{256} << 20, kMostTimes = 3;
constexpr int64_t kAlignment = 64; // as in lib/compile/memory.ts

// Groups of buffers that have to keep their distances. Follows who wrote every byte of the arena last.
class Flows {
public:
  explicit Flows(const Plan& plan) : plan_(plan), parents_(plan.buffers.size()) {
    std::iota(parents_.begin(), parents_.end(), size_t{0});
    for (const int32_t input : plan.inputs) write_whole(input);
    // What a step leaves behind is there in the next one; what that leaves behind, has been seen.
    for (int round = 0; round < 2; ++round) follow_step();
  }
  size_t group(size_t buffer) {
    while (parents_[buffer] != buffer) buffer = parents_[buffer] = parents_[parents_[buffer]];
    return buffer;
  }

private:
  struct Range {
    uint64_t begin, end;
  };
  const BufferSpec& buffer(int32_t number) const { return plan_.buffers[static_cast<size_t>(number)]; }
  Range whole(int32_t number) const {
    const auto begin = static_cast<uint64_t>(buffer(number).offset);
    return {begin, begin + buffer_bytes(buffer(number))};
  }
  void write_whole(int32_t number) { write(number, whole(number), true); }
  void read_whole(int32_t number) { read(number, whole(number)); }

  void read(int32_t number, Range range) {
    writers_.visit(range.begin, range.end, [&](const std::vector<int32_t>& writers) {
      for (const int32_t writer : writers)
        parents_[group(static_cast<size_t>(writer))] = group(static_cast<size_t>(number));
    });
  }
  void write(int32_t number, Range range, bool every) {
    writers_.visit(range.begin, range.end, [&](std::vector<int32_t>& writers) {
      if (every) writers.clear(); // else what was there may still be there
      if (std::find(writers.begin(), writers.end(), number) == writers.end()) writers.push_back(number);
    });
  }

  void follow_step() {
    for (size_t i = 0; i <= plan_.steps.size(); ++i) {
      if (i == static_cast<size_t>(plan_.commit) && plan_.terms >= 0) read_whole(plan_.terms);
      if (i < plan_.steps.size()) follow(plan_.steps[i]);
    }
    for (const int32_t output : plan_.outputs) read_whole(output);
  }
  void follow(const PlanStep& step) {
    for (const bool writing : {false, true})
      for (size_t i = 0; i < step.operands.size(); ++i) {
        const Operand& operand = step.operands[i];
        const BufferSpec& spec = buffer(operand.buffer);
        if (spec.kind != BufferSpec::Kind::arena || !(writing ? writes(step, i) : reads(step, i))) continue;
        const Extent extent = operand_extent(step, i, spec.elements - operand.offset);
        const auto element = static_cast<uint64_t>(dtype_size(spec.dtype));
        const uint64_t begin = static_cast<uint64_t>(spec.offset) + static_cast<uint64_t>(operand.offset) * element;
        const Range range{begin, begin + static_cast<uint64_t>(extent.elements) * element};
        if (writing)
          write(operand.buffer, range, extent.every);
        else
          read(operand.buffer, range);
      }
  }

  const Plan& plan_;
  std::vector<size_t> parents_;
  IntervalMap<std::vector<int32_t>> writers_;
};

} // namespace

Plan spread_arena(Plan plan) {
  struct Span {
    int64_t begin = std::numeric_limits<int64_t>::max(), end = 0, place = 0;
  };
  Flows flows(plan);
  std::vector<Span> spans(plan.buffers.size()); // of groups
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const BufferSpec& buffer = plan.buffers[i];
    if (buffer.kind != BufferSpec::Kind::arena) continue;
    Span& span = spans[flows.group(i)];
    span.begin = std::min(span.begin, buffer.offset);
    span.end = std::max(span.end, buffer.offset + static_cast<int64_t>(buffer_bytes(buffer)));
  }
  int64_t total = 0;
  for (Span& span : spans) {
    if (span.end == 0) continue;
    span.place = total;
    total += (span.end - span.begin + kAlignment - 1) / kAlignment * kAlignment;
    if (total > kMostBytes) return plan;
  }
  if (total > kAlwaysBytes && total > kMostTimes * plan.arena_bytes) return plan;
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    BufferSpec& buffer = plan.buffers[i];
    const Span& span = spans[flows.group(i)];
    if (buffer.kind == BufferSpec::Kind::arena) buffer.offset += span.place - span.begin;
  }
  plan.arena_bytes = std::max(total, plan.arena_bytes);
  return plan;
}

} // namespace nodevae::cuda
