// Branches, calls, the end of threads, and what orders memory.
#include "handlers.h"

namespace emulator {
namespace {

// Lanes of the running group that did not take part go on behind the instruction.
void leave_behind(Warp& warp, uint32_t mask) {
  for (uint32_t rest = warp.mask & ~mask; rest; rest &= rest - 1) warp.lane_pc[__builtin_ctz(rest)] = warp.pc + 1;
}

Flow jump(Warp& warp, uint32_t mask, uint32_t target) {
  if (mask == warp.mask) {
    warp.pc = target;
    return Flow::jumped;
  }
  leave_behind(warp, mask);
  for (uint32_t rest = mask; rest; rest &= rest - 1) warp.lane_pc[__builtin_ctz(rest)] = target;
  return Flow::moved;
}

Flow branch(Warp& warp, const Instruction& i, uint32_t mask) {
  return jump(warp, mask, static_cast<uint32_t>(i.immediate));
}

Flow branch_uniform(Warp& warp, const Instruction& i, uint32_t mask) {
  if (mask != warp.mask) fail(warp, i, __builtin_ctz(mask), CUDA_ERROR_LAUNCH_FAILED, "bra.uni, but lanes differ");
  return jump(warp, mask, static_cast<uint32_t>(i.immediate));
}

Flow branch_indexed(Warp& warp, const Instruction& i, uint32_t mask) {
  const uint32_t* index = row<uint32_t>(warp, i.a);
  leave_behind(warp, mask);
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    if (index[lane] >= i.flags)
      fail(warp, i, lane, CUDA_ERROR_LAUNCH_FAILED,
           "branch target " + std::to_string(index[lane]) + " of " + std::to_string(i.flags));
    warp.lane_pc[lane] = warp.block->program->extras[i.extra + index[lane]];
  }
  return Flow::moved;
}

Flow exit_thread(Warp& warp, const Instruction&, uint32_t mask) {
  warp.exited |= mask;
  leave_behind(warp, mask);
  return Flow::moved;
}

Flow return_from_function(Warp& warp, const Instruction& i, uint32_t mask) {
  const uint32_t* to = row<uint32_t>(warp, i.a);
  uint32_t target = to[__builtin_ctz(mask)];
  bool same = true;
  for (uint32_t rest = mask; rest; rest &= rest - 1) same &= to[__builtin_ctz(rest)] == target;
  if (same) return jump(warp, mask, target);
  leave_behind(warp, mask);
  for (uint32_t rest = mask; rest; rest &= rest - 1) warp.lane_pc[__builtin_ctz(rest)] = to[__builtin_ctz(rest)];
  return Flow::moved;
}

Flow trap(Warp& warp, const Instruction& i, uint32_t mask) {
  fail(warp, i, __builtin_ctz(mask), CUDA_ERROR_LAUNCH_FAILED, "trap");
}

void decode_branch(Decoder& decoder) {
  bool uniform = decoder.take("uni");
  decoder.expect_operands(1, 1);
  if (decoder.operand(0).kind != Operand::Kind::name) decoder.error("expected a label");
  decoder.branch(uniform ? branch_uniform : branch, decoder.operand(0).name);
}

void decode_return(Decoder& decoder) {
  decoder.take("uni");
  decoder.expect_operands(0, 0);
  if (decoder.in_entry())
    decoder.emit(exit_thread);
  else
    decoder.emit(return_from_function).a = decoder.return_row();
}

// Blocks are executed one after the other and memory has one order, so there is nothing to do.
void decode_fence(Decoder& decoder) {
  if (decoder.opcode() == "membar") {
    if (decoder.first_of({"cta", "gl", "sys"}).empty()) decoder.error("expected .cta, .gl or .sys");
  } else {
    decoder.first_of({"acq_rel", "sc", "acquire", "release"});
    if (decoder.first_of({"cta", "cluster", "gpu", "sys"}).empty()) decoder.error("expected .cta, .gpu or .sys");
  }
  decoder.expect_operands(0, 0);
}

} // namespace

Flow call_function(Warp& warp, const Instruction& i, uint32_t mask) {
  uint32_t* back = row<uint32_t>(warp, i.d);
  for (uint32_t rest = mask; rest; rest &= rest - 1) back[__builtin_ctz(rest)] = warp.pc + 1;
  return jump(warp, mask, static_cast<uint32_t>(i.immediate));
}

void register_control(Registry& registry) {
  registry["bra"] = decode_branch;
  registry["brx"] = [](Decoder& decoder) {
    if (!decoder.take("idx")) decoder.error("expected .idx");
    decoder.take("uni");
    decoder.expect_operands(2, 2);
    uint32_t index = decoder.source(0, Type::u32);
    decoder.branch_table(branch_indexed, index, decoder.operand(1).name);
  };
  registry["call"] = [](Decoder& decoder) {
    decoder.take("uni");
    decoder.expect_operands(1, 3);
    decoder.call();
  };
  registry["ret"] = decode_return;
  registry["exit"] = [](Decoder& decoder) {
    decoder.expect_operands(0, 0);
    decoder.emit(exit_thread);
  };
  registry["trap"] = [](Decoder& decoder) {
    decoder.expect_operands(0, 0);
    decoder.emit(trap);
  };
  registry["brkpt"] = registry["trap"];
  registry["membar"] = decode_fence;
  registry["fence"] = decode_fence;
  registry["nanosleep"] = [](Decoder& decoder) {
    decoder.take_type();
    decoder.expect_operands(1, 1);
    decoder.source(0, Type::u32);
  };
  // Launches are executed one after the other, so what a dependent launch waits for has always happened.
  registry["griddepcontrol"] = [](Decoder& decoder) {
    decoder.need(90, "griddepcontrol");
    if (decoder.first_of({"launch_dependents", "wait"}).empty()) decoder.error("expected .launch_dependents or .wait");
    decoder.expect_operands(0, 0);
  };
}

} // namespace emulator
