// What CUDA graphs order, and where the arena's buffers lie, against definitions that need no cleverness: orders of
// every two accesses that conflict, and plans executed byte by byte.
#include <algorithm>
#include <set>
#include <utility>

#include "../../native/binding.h"
#include "../../native/cuda/accesses.h"
#include "../../native/cuda/dependencies.h"
#include "../../native/cuda/placement.h"
#include "../native/basics.h"

namespace nodevae::cuda {
namespace {

bool conflict(const std::vector<Access>& a, const std::vector<Access>& b) {
  for (const Access& x : a)
    for (const Access& y : b)
      if ((x.writes || y.writes) && std::max(x.begin, y.begin) < std::min(x.end, y.end)) return true;
  return false;
}

// The order that the edges make is the one that conflicts make, and no edge is implied by the others.
void check_dependencies(int tasks, int64_t addresses) {
  std::vector<std::vector<Access>> accesses;
  std::vector<std::set<size_t>> expected, found; // all that come before, however far
  Dependencies dependencies;
  for (int i = 0; i < tasks; ++i) {
    std::vector<Access> own;
    for (int64_t n = pick(0, 4); n > 0; --n) {
      const auto begin = static_cast<uint64_t>(pick(0, addresses));
      own.push_back({begin, begin + static_cast<uint64_t>(pick(0, 6)), pick(0, 2) == 0});
    }
    std::set<size_t> before;
    for (size_t j = 0; j < accesses.size(); ++j)
      if (conflict(accesses[j], own)) {
        before.insert(j);
        before.insert(expected[j].begin(), expected[j].end());
      }
    const std::vector<size_t> direct = dependencies.add(own);
    std::set<size_t> reached;
    for (const size_t other : direct) {
      for (const size_t second : direct)
        CHECK(found[second].count(other) == 0, "task %d: %zu is implied by %zu", i, other, second);
      reached.insert(other);
      reached.insert(found[other].begin(), found[other].end());
    }
    CHECK(reached == before, "task %d: %zu come before it, and %zu should", i, reached.size(), before.size());
    accesses.push_back(own);
    expected.push_back(before);
    found.push_back(reached);
  }
}

// Steps of one dimension over random parts of buffers that overlap each other.
Plan random_plan() {
  Plan plan;
  const int64_t buffers = pick(2, 8);
  plan.arena_bytes = 64 * pick(2, 8);
  for (int64_t i = 0; i < buffers; ++i) {
    const int64_t offset = 64 * pick(0, plan.arena_bytes / 64 - 1);
    const int64_t elements = pick(1, std::min<int64_t>(40, (plan.arena_bytes - offset) / 4));
    plan.buffers.push_back({BufferSpec::Kind::arena, DType::float32, elements, offset, true});
  }
  const auto any_buffer = [&] { return static_cast<int32_t>(pick(0, buffers - 1)); };
  if (pick(0, 1) == 0) plan.inputs.push_back(any_buffer());
  if (pick(0, 1) == 0) plan.outputs.push_back(any_buffer());
  for (int64_t i = pick(1, 9); i > 0; --i) {
    PlanStep step{KernelId::map, {1, 1, 1, 1, 1, 1}, {}, {}, {}};
    int64_t columns = 40;
    for (int64_t n = pick(1, 3); n >= 0; --n) {
      Operand operand{any_buffer(), 0, {0, 0, 0, 0, 0, pick(1, 2)}};
      const int64_t elements = plan.buffers[static_cast<size_t>(operand.buffer)].elements;
      operand.offset = pick(0, 2) == 0 ? pick(0, elements - 1) : 0;
      columns = std::min(columns, (elements - operand.offset - 1) / operand.strides[kColumns] + 1);
      step.operands.push_back(operand);
    }
    step.space[kColumns] = columns;
    for (int32_t n = 0; n + 1 < static_cast<int32_t>(step.operands.size()); ++n)
      step.program.push_back({Opcode::load, n, 0, 0});
    step.program.push_back({Opcode::store, 0, static_cast<int32_t>(step.operands.size()) - 1, 0});
    plan.steps.push_back(step);
  }
  plan.commit = static_cast<int32_t>(plan.steps.size());
  return plan;
}

// Every element holds where its value comes from; the trace is what was read, by steps and as outputs.
std::vector<uint64_t> trace(const Plan& plan, int runs, int steps) {
  std::vector<uint64_t> memory(static_cast<size_t>(plan.arena_bytes) / 4, 0), seen;
  uint64_t stamp = 0;
  const auto at = [&](int32_t buffer, int64_t element) -> uint64_t& {
    return memory[static_cast<size_t>(plan.buffers[static_cast<size_t>(buffer)].offset / 4 + element)];
  };
  const auto size = [&](int32_t buffer) { return plan.buffers[static_cast<size_t>(buffer)].elements; };
  for (int run = 0; run < runs; ++run) {
    for (const int32_t input : plan.inputs)
      for (int64_t i = 0; i < size(input); ++i) at(input, i) = ++stamp;
    for (int step = 0; step < steps; ++step) {
      for (const PlanStep& s : plan.steps) {
        for (const bool writing : {false, true})
          for (size_t o = 0; o < s.operands.size(); ++o) {
            if (writes(s, o) != writing) continue;
            for (int64_t i = 0; i < s.space[kColumns]; ++i) {
              uint64_t& value = at(s.operands[o].buffer, s.operands[o].offset + i * s.operands[o].strides[kColumns]);
              if (writing)
                value = ++stamp;
              else
                seen.push_back(value);
            }
          }
      }
      for (const int32_t output : plan.outputs)
        for (int64_t i = 0; i < size(output); ++i) seen.push_back(at(output, i));
    }
  }
  return seen;
}

// Buffers of a plan whose values never pass from one to another do not share memory any more.
void check_placement() {
  int64_t planned = 0, spread = 0;
  for (int i = 0; i < 3000; ++i) {
    const Plan plan = random_plan(), placed = spread_arena(plan);
    for (const BufferSpec& buffer : placed.buffers)
      CHECK(buffer.offset >= 0 && buffer.offset % 64 == 0 &&
                buffer.offset + static_cast<int64_t>(buffer_bytes(buffer)) <= placed.arena_bytes,
            "plan %d: a buffer at %lld", i, static_cast<long long>(buffer.offset));
    CHECK(trace(plan, 2, 3) == trace(placed, 2, 3), "plan %d: other values are read", i);
    planned += plan.arena_bytes;
    spread += placed.arena_bytes;
  }
  CHECK(spread > planned, "no arena was spread: %lld bytes of %lld", static_cast<long long>(spread),
        static_cast<long long>(planned));
}

// Two buffers in the same place: apart when each is written before it is read, together when one carries the other on.
void check_flows() {
  const auto step = [](int32_t from, int32_t to, int64_t columns) {
    PlanStep made{KernelId::map, {1, 1, 1, 1, 1, columns}, {}, {}, {{Opcode::load, 0, 0, 0}, {Opcode::store, 0, 1, 0}}};
    made.operands = {{from, 0, {0, 0, 0, 0, 0, 1}}, {to, 0, {0, 0, 0, 0, 0, 1}}};
    return made;
  };
  Plan plan;
  plan.arena_bytes = 256;
  for (const int64_t offset : {0, 64, 64, 128})
    plan.buffers.push_back({BufferSpec::Kind::arena, DType::float32, 16, offset, true});
  plan.inputs = {0};
  plan.outputs = {3};
  const auto apart = [&](std::vector<PlanStep> steps) {
    plan.steps = std::move(steps);
    const Plan placed = spread_arena(plan);
    return placed.buffers[1].offset != placed.buffers[2].offset;
  };
  CHECK(apart({step(0, 1, 16), step(1, 3, 16), step(0, 2, 16), step(2, 3, 16)}), "reused memory is kept");
  CHECK(apart({step(0, 1, 16), step(1, 2, 16), step(2, 3, 16)}), "an update in place is kept");
  CHECK(!apart({step(0, 1, 16), step(2, 3, 16)}), "a value written as one buffer and read as another is lost");
  CHECK(!apart({step(0, 1, 16), step(0, 2, 8), step(2, 3, 16)}), "the half that was not overwritten is lost");
  CHECK(!apart({step(1, 3, 16), step(0, 2, 16)}), "what the step before left behind is lost");
}

// A step waits for the check of the terms and for the counters where it looks at them, and for memory that it uses.
void check_accesses() {
  struct NoLaunches final : LoweredStep {
    size_t scratch_bytes() const override { return 512; }
    size_t tickets() const override { return 2; }
    std::vector<Launch> launches(const Addresses&) const override { return {}; }
  };
  constexpr uint64_t kMemory = 4096, kScratch = 1024, kTickets = 2048; // RunState stands at 0
  const auto touches = [&](KernelId kernel, bool guarded, bool noise, Access other) {
    PlanStep step{kernel, {1, 1, 1, 1, 1, 8}, {}, {8, 1, 0}, {}};
    ResolvedStep resolved{};
    for (int32_t i = 0; i < 3; ++i) {
      step.operands.push_back({i, 0, {0, 0, 0, 0, 0, 1}});
      const auto address = reinterpret_cast<void*>(kMemory + static_cast<uint64_t>(i) * 256);
      resolved.operands.push_back({address, DType::float32, {0, 0, 0, 0, 0, 1}, 16});
    }
    if (kernel == KernelId::map) step.program = {{Opcode::load, 0, 0, 0}, {Opcode::store, 0, 2, 0}};
    if (noise) resolved.operands[0].noise = NoiseSource{true, 0, 0};
    Addresses addresses;
    addresses.scratch = kScratch;
    addresses.tickets = kTickets;
    addresses.guarded = guarded;
    return conflict(step_accesses(step, resolved, NoLaunches(), addresses), {other});
  };
  const Access halts = run_halt(0, true), looks = run_halt(0, false), advances = run_counters(0, true);
  CHECK(touches(KernelId::map, true, false, halts), "a guarded step does not wait for who halts the run");
  CHECK(!touches(KernelId::map, false, false, halts), "a step that is not guarded waits for who halts the run");
  CHECK(!touches(KernelId::map, true, false, looks), "two guarded steps wait for each other");
  CHECK(!touches(KernelId::map, true, false, advances), "a step without noise waits for the counters");
  CHECK(touches(KernelId::map, false, true, advances), "a step that draws noise does not wait for the counters");
  for (const KernelId kernel :
       {KernelId::random_uniform, KernelId::random_normal, KernelId::shuffled_indices, KernelId::step_index})
    CHECK(touches(kernel, false, false, advances), "%s does not wait for the counters", kernel_name(kernel));
  for (const KernelId kernel : {KernelId::gather, KernelId::scatter_add})
    CHECK(touches(kernel, false, false, looks), "%s may halt the run unnoticed", kernel_name(kernel));

  const auto memory = [](int operand, int64_t element, bool writes) {
    const uint64_t begin = kMemory + static_cast<uint64_t>(operand) * 256 + static_cast<uint64_t>(element) * 4;
    return Access{begin, begin + 4, writes};
  };
  CHECK(touches(KernelId::map, false, false, memory(0, 7, true)), "the last element that is read");
  CHECK(!touches(KernelId::map, false, false, memory(0, 8, true)), "an element behind those that are read");
  CHECK(!touches(KernelId::map, false, true, memory(0, 7, true)), "memory in place of which noise is drawn");
  CHECK(!touches(KernelId::map, false, false, memory(0, 7, false)), "two readers wait for each other");
  CHECK(touches(KernelId::map, false, false, memory(2, 7, false)), "the last element that is written");
  CHECK(touches(KernelId::gather, false, false, memory(0, 15, true)), "the end of a table");
  CHECK(touches(KernelId::map, false, false, {kScratch + 511, kScratch + 512, false}), "scratch");
  CHECK(touches(KernelId::map, false, false, {kTickets + 7, kTickets + 8, false}), "tickets");
}

} // namespace
} // namespace nodevae::cuda

int main() {
  using namespace nodevae::cuda;
  for (int i = 0; i < 60; ++i) {
    check_dependencies(150, 100);
    check_dependencies(150, 1000);
  }
  check_placement();
  check_flows();
  check_accesses();
  return nodevae::report();
}
