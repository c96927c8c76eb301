// cp.async. A copy happens when it is waited for and not before, so that a missing wait shows. (Devices may copy at
// any time in between.)
#include "access.h"

namespace emulator {
namespace {

// d: shared address row (extra: its offset), a: global address row; b: row with the source size; c: predicate
// flags: bytes; 64: has a source size; 128: has an ignore predicate; 256: it is negated
constexpr uint32_t kHasSize = 64, kHasIgnore = 128, kNegated = 256, kNarrowTarget = 512;

Flow copy(Warp& warp, const Instruction& i, uint32_t mask) {
  uint32_t size = i.flags & 63;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    int64_t target_offset = static_cast<int32_t>(i.extra);
    uint64_t to = (i.flags & kNarrowTarget ? row<uint32_t>(warp, i.d)[lane] : row<uint64_t>(warp, i.d)[lane]) +
                  static_cast<uint64_t>(target_offset);
    if (i.flags & kNarrowTarget) to &= 0xffffffffu;
    uint64_t from = row<uint64_t>(warp, i.a)[lane] + static_cast<uint64_t>(i.immediate);
    uint32_t source_size = i.flags & kHasSize ? row<uint32_t>(warp, i.b)[lane] : size;
    if (i.flags & kHasIgnore && ((warp.predicates[i.c] ^ (i.flags & kNegated ? kAllLanes : 0)) >> lane & 1))
      source_size = 0;
    if (source_size > size)
      fail(warp, i, lane, CUDA_ERROR_LAUNCH_FAILED,
           "cp.async of " + std::to_string(source_size) + " bytes, at most " + std::to_string(size) + " are possible");
    if ((to | from) & (size - 1)) misaligned_address(warp, i, lane, to & (size - 1) ? to : from, size);
    const uint8_t* source = source_size ? resolve_global(warp, i, lane, from, source_size) : nullptr;
    if (to > warp.block->shared.size() || size > warp.block->shared.size() - to)
      illegal_address(warp, i, lane, Space::shared, to, size);
    warp.copies.push_back(
        {static_cast<uint32_t>(lane), static_cast<uint32_t>(to), size, source_size, warp.committed[lane], source});
  }
  return Flow::next;
}

Flow commit(Warp& warp, const Instruction&, uint32_t mask) {
  for_lanes(mask, [&](int lane) { ++warp.committed[lane]; });
  return Flow::next;
}

// immediate: groups that may be pending; -1: none, and what is not committed has to be done as well
Flow wait(Warp& warp, const Instruction& i, uint32_t mask) {
  size_t kept = 0;
  for (size_t at = 0; at < warp.copies.size(); ++at) {
    const PendingCopy pending = warp.copies[at];
    uint64_t pending_groups = i.immediate < 0 ? 0 : static_cast<uint64_t>(i.immediate);
    bool due = i.immediate < 0 || pending.group + pending_groups < warp.committed[pending.lane];
    if (!(mask >> pending.lane & 1) || !due) {
      warp.copies[kept++] = pending;
      continue;
    }
    uint8_t* to =
        resolve_shared(warp, i, static_cast<int>(pending.lane), pending.destination, pending.size, SharedAccess::write);
    if (pending.source_size) std::memcpy(to, pending.source, pending.source_size);
    std::memset(to + pending.source_size, 0, pending.size - pending.source_size);
  }
  warp.copies.resize(kept);
  return Flow::next;
}

void decode_copy(Decoder& decoder) {
  if (!decoder.take("async")) decoder.error("expected .async");
  decoder.need(80, "cp.async");
  if (decoder.take("commit_group")) {
    decoder.expect_operands(0, 0);
    decoder.emit(commit);
    return;
  }
  if (decoder.take("wait_all")) {
    decoder.expect_operands(0, 0);
    decoder.emit(wait).immediate = -1;
    return;
  }
  if (decoder.take("wait_group")) {
    decoder.expect_operands(1, 1);
    if (decoder.operand(0).kind != Operand::Kind::integer) decoder.error("expected a number of groups");
    decoder.emit(wait).immediate = static_cast<int64_t>(decoder.operand(0).bits);
    return;
  }
  bool always = decoder.take("ca");
  if (!always && !decoder.take("cg")) decoder.error("expected .ca or .cg");
  if (!decoder.take("shared") && !decoder.take("shared::cta")) decoder.error("expected .shared");
  if (!decoder.take("global")) decoder.error("expected .global");
  decoder.first_of({"L2::64B", "L2::128B", "L2::256B"});
  decoder.expect_operands(3, 4);
  AddressOperand to = decoder.address(decoder.operand(0), Space::shared);
  AddressOperand from = decoder.address(decoder.operand(1), Space::global);
  const Operand& bytes = decoder.operand(2);
  bool fits =
      bytes.kind == Operand::Kind::integer && (bytes.bits == 16 || (always && (bytes.bits == 4 || bytes.bits == 8)));
  if (!fits) decoder.error("expected 16 bytes, or 4 or 8 with .ca");
  uint32_t flags = static_cast<uint32_t>(bytes.bits) | (to.size == 4 ? kNarrowTarget : 0u), b = 0, c = 0;
  if (decoder.operand_count() == 4 && decoder.is_predicate(decoder.operand(3))) {
    bool negated;
    c = decoder.predicate_source(decoder.operand(3), negated);
    flags |= kHasIgnore | (negated ? kNegated : 0u);
  } else if (decoder.operand_count() == 4) {
    b = decoder.source(3, Type::u32);
    flags |= kHasSize;
  }
  uint32_t memory = decoder.memory_number();
  Instruction& instruction = decoder.emit(copy);
  instruction.d = to.row, instruction.extra = static_cast<uint32_t>(to.offset), instruction.a = from.row;
  instruction.immediate = from.offset, instruction.b = b, instruction.c = c, instruction.flags = flags,
  instruction.memory = memory;
}

} // namespace

void register_async(Registry& registry) { registry["cp"] = decode_copy; }

} // namespace emulator
