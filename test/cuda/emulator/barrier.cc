#include "barrier.h"

#include "handlers.h"

namespace emulator {
namespace {

// flags of barrier instructions
constexpr uint32_t kArrive = 1, kAligned = 2, kHasCount = 4, kCountTrue = 8, kAllTrue = 16, kAnyTrue = 32,
                   kNegated = 64;
constexpr uint32_t kReduces = kCountTrue | kAllTrue | kAnyTrue;

void set_pcs(Warp& warp, uint32_t lanes, uint32_t pc) {
  for (uint32_t rest = lanes; rest; rest &= rest - 1) warp.lane_pc[__builtin_ctz(rest)] = pc;
}

// a: number of the barrier, b: count of threads, c: predicate; d: result
Flow barrier(Warp& warp, const Instruction& i, uint32_t mask) {
  Block& block = *warp.block;
  const uint32_t *numbers = row<uint32_t>(warp, i.a), *counts = row<uint32_t>(warp, i.b);
  int first = __builtin_ctz(mask);
  uint32_t number = numbers[first], count = i.flags & kHasCount ? counts[first] : 0;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    if (numbers[lane] != number || (count && counts[lane] != count))
      fail(warp, i, lane, CUDA_ERROR_LAUNCH_FAILED, "lanes of a warp name different barriers or counts");
  }
  if (number > 15) fail(warp, i, first, CUDA_ERROR_LAUNCH_FAILED, "there is no barrier " + std::to_string(number));
  if (i.flags & kHasCount && (count == 0 || count % kLanes))
    fail(warp, i, first, CUDA_ERROR_LAUNCH_FAILED,
         "a barrier for " + std::to_string(count) + " threads: expected a multiple of 32");
  Barrier& state = block.barriers[number];
  if (state.used && state.expected != count)
    fail(warp, i, first, CUDA_ERROR_LAUNCH_FAILED,
         "barrier " + std::to_string(number) + " is for " + std::to_string(state.expected) + " threads, found " +
             std::to_string(count));
  state.used = true;
  state.expected = count;
  if (i.flags & kArrive) {
    state.arrived += mask == warp.lanes() ? kLanes : static_cast<uint32_t>(__builtin_popcount(mask));
    return Flow::next;
  }
  for (uint32_t rest = mask; rest; rest &= rest - 1)
    warp.barrier_of[__builtin_ctz(rest)] = static_cast<uint8_t>(number);
  warp.at_barrier |= mask;
  set_pcs(warp, mask, warp.pc);
  set_pcs(warp, warp.mask & ~mask, warp.pc + 1);
  return Flow::moved;
}

uint32_t lanes_at(const Warp& warp, uint32_t number) {
  uint32_t lanes = 0;
  for (uint32_t rest = warp.at_barrier; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    if (warp.barrier_of[lane] == number) lanes |= 1u << lane;
  }
  return lanes;
}

void release(Block& block, uint32_t number) {
  uint32_t true_count = 0, total = 0;
  for (Warp& warp : block.warps) {
    uint32_t lanes = lanes_at(warp, number);
    if (!lanes) continue;
    int first = __builtin_ctz(lanes);
    for (uint32_t rest = lanes; rest; rest &= rest - 1) {
      int lane = __builtin_ctz(rest);
      const Instruction& i = block.program->code[warp.lane_pc[lane]];
      if (i.flags & kAligned && (lanes != warp.lanes() || warp.lane_pc[lane] != warp.lane_pc[first]))
        fail(warp, i, lane, CUDA_ERROR_LAUNCH_FAILED,
             "the lanes of a warp have not all arrived at the same aligned barrier");
      if (i.flags & kReduces) true_count += (warp.predicates[i.c] ^ (i.flags & kNegated ? kAllLanes : 0)) >> lane & 1;
      ++total;
    }
  }
  for (Warp& warp : block.warps) {
    uint32_t lanes = lanes_at(warp, number);
    for (uint32_t rest = lanes; rest; rest &= rest - 1) {
      int lane = __builtin_ctz(rest);
      const Instruction& i = block.program->code[warp.lane_pc[lane]];
      if (i.flags & kCountTrue)
        row<uint32_t>(warp, i.d)[lane] = true_count;
      else if (i.flags & (kAllTrue | kAnyTrue))
        write_predicate(warp, i.d, 1u << lane,
                        (i.flags & kAllTrue ? true_count == total : true_count > 0) ? kAllLanes : 0);
      ++warp.lane_pc[lane];
    }
    warp.at_barrier &= ~lanes;
  }
  block.barriers[number] = Barrier{};
  ++block.epoch;
}

void decode_barrier(Decoder& decoder) {
  bool legacy = decoder.opcode() == "bar";
  if (legacy && decoder.has("warp")) {
    decoder.take("warp");
    if (!decoder.take("sync")) decoder.error("expected .sync");
    decoder.expect_operands(1, 1);
    uint32_t members = decoder.source(0, Type::b32);
    decoder
        .emit([](Warp& warp, const Instruction& i, uint32_t mask) {
          Meeting meeting = meet(warp, i, mask, row<uint32_t>(warp, i.a));
          if (meeting.lanes) ++warp.warp_epoch;
          return meeting.flow;
        })
        .a = members;
    return;
  }
  decoder.take("cta");
  uint32_t flags = 0;
  if (decoder.take("arrive"))
    flags = kArrive;
  else if (decoder.take("red"))
    flags = kReduces;
  else if (!decoder.take("sync"))
    decoder.error("expected .sync, .arrive or .red");
  if (decoder.take("aligned") || legacy) flags |= kAligned;
  Type type = Type::none;
  if (flags & kReduces) {
    flags &= ~kReduces;
    std::string_view reduction = decoder.first_of({"popc", "and", "or"});
    flags |= reduction == "popc" ? kCountTrue : reduction == "and" ? kAllTrue : reduction == "or" ? kAnyTrue : 0;
    if (reduction.empty()) decoder.error("expected .popc, .and or .or");
    type = decoder.take_type();
    if ((type == Type::u32) != (reduction == "popc")) decoder.error("expected .u32 for .popc, .pred otherwise");
  }
  bool reduces = flags & kReduces;
  size_t least = reduces ? 3 : flags & kArrive ? 2 : 1;
  decoder.expect_operands(least, reduces ? 4 : 2);
  size_t at = reduces ? 1 : 0, count = decoder.operand_count() - (reduces ? 2 : 0);
  uint32_t a = decoder.source(at, Type::u32), b = a, c = 0, d = 0;
  if (count == 2) b = decoder.source(at + 1, Type::u32), flags |= kHasCount;
  if (reduces) {
    bool negated;
    c = decoder.predicate_source(decoder.operand(decoder.operand_count() - 1), negated);
    if (negated) flags |= kNegated;
    d = type == Type::u32 ? decoder.destination(0, type) : decoder.predicate_destination(decoder.operand(0));
  }
  Instruction& instruction = decoder.emit(barrier);
  instruction.a = a, instruction.b = b, instruction.c = c, instruction.d = d, instruction.flags = flags;
}

} // namespace

bool release_barriers(Block& block) {
  uint32_t waiting[16] = {}, total[16] = {};
  bool any = false;
  for (const Warp& warp : block.warps) {
    if (!warp.at_barrier) continue;
    any = true;
    uint32_t counts[16] = {};
    for (uint32_t rest = warp.at_barrier; rest; rest &= rest - 1) ++counts[warp.barrier_of[__builtin_ctz(rest)]];
    // A warp all of whose lanes are there counts in full, even those that it does not have.
    for (int number = 0; number < 16; ++number) {
      waiting[number] += counts[number];
      bool full = counts[number] && counts[number] == static_cast<uint32_t>(__builtin_popcount(warp.lanes()));
      total[number] += full ? kLanes : counts[number];
    }
  }
  if (!any) return false;
  bool released = false;
  for (uint32_t number = 0; number < 16; ++number) {
    if (!waiting[number]) continue;
    const Barrier& state = block.barriers[number];
    bool complete =
        state.expected ? total[number] + state.arrived >= state.expected : waiting[number] == block.live_threads();
    if (!complete) continue;
    release(block, number);
    released = true;
  }
  return released;
}

bool release_waiting(Warp& warp) {
  if (!warp.waiting || warp.exited == warp.exited_at_wait) return false;
  warp.waiting = 0;
  return true;
}

void report_deadlock(Block& block) {
  std::string others;
  Warp* stuck = nullptr;
  for (Warp& warp : block.warps) {
    for (uint32_t rest = warp.lanes(); rest; rest &= rest - 1) {
      int lane = __builtin_ctz(rest);
      if (!stuck) stuck = &warp;
      std::string at = " line " + std::to_string(block.program->code[warp.lane_pc[lane]].line);
      if (others.find(at) == others.npos)
        others += (others.empty() ? "" : ",") + at + " (first: thread " +
                  std::to_string(warp.number * kLanes + static_cast<uint32_t>(lane)) + ")";
    }
  }
  int lane = __builtin_ctz(stuck->lanes());
  fail(*stuck, block.program->code[stuck->lane_pc[lane]], lane, CUDA_ERROR_LAUNCH_FAILED,
       "deadlock: threads wait for others that do not come, at" + others);
}

Meeting meet(Warp& warp, const Instruction& i, uint32_t mask, const uint32_t* members) {
  int first = __builtin_ctz(mask);
  uint32_t member = members ? members[first] : kAllLanes, group = 0;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    if (!members || members[lane] == member) group |= 1u << lane;
  }
  if (group & ~member)
    fail(warp, i, first, CUDA_ERROR_LAUNCH_FAILED, "a lane executes this that is not in the member mask");
  uint32_t need = member & warp.lanes(), others = 0;
  for (uint32_t rest = warp.waiting & need & ~group; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    if (warp.lane_pc[lane] == warp.pc) others |= 1u << lane;
  }
  if (((group | others) & need) == need) {
    if (!others && group == mask) return {need, Flow::next};
    warp.waiting &= ~others;
    set_pcs(warp, others | group | (warp.mask & ~mask), warp.pc + 1);
    set_pcs(warp, mask & ~group, warp.pc); // lanes with other member masks: their turn is next
    return {need, Flow::moved};
  }
  warp.waiting |= group;
  warp.exited_at_wait = warp.exited;
  set_pcs(warp, mask, warp.pc);
  set_pcs(warp, warp.mask & ~mask, warp.pc + 1);
  return {0, Flow::moved};
}

void register_barrier(Registry& registry) {
  registry["bar"] = decode_barrier;
  registry["barrier"] = decode_barrier;
}

} // namespace emulator
