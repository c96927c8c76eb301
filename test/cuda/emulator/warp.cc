// shfl, vote, match, redux, activemask, elect.
#include "barrier.h"
#include "handlers.h"

namespace emulator {
namespace {

const uint32_t* members_of(Warp& warp, const Instruction& i) { return row<uint32_t>(warp, i.extra); }

enum class Shuffle : uint32_t { up, down, butterfly, index };

// d|flags>>8 = value a of the lane that b and c name; flags: Shuffle, 16: has a predicate (its number above)
Flow shuffle(Warp& warp, const Instruction& i, uint32_t mask) {
  Meeting meeting = meet(warp, i, mask, members_of(warp, i));
  if (!meeting.lanes) return meeting.flow;
  uint32_t *d = row<uint32_t>(warp, i.d), *b = row<uint32_t>(warp, i.b), *c = row<uint32_t>(warp, i.c);
  uint32_t values[kLanes], in_range = 0;
  std::memcpy(values, row<uint32_t>(warp, i.a), sizeof values);
  for (uint32_t rest = meeting.lanes; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    int by = static_cast<int>(b[lane] & 31), clamp = static_cast<int>(c[lane] & 31),
        segment = static_cast<int>(c[lane] >> 8 & 31);
    int least = lane & segment, most = least | (clamp & ~segment), from = lane;
    bool valid = false;
    switch (static_cast<Shuffle>(i.flags & 3)) {
    case Shuffle::up:
      from = lane - by, valid = from >= most;
      break; // clamp is 0: most is the segment's first lane
    case Shuffle::down:
      from = lane + by, valid = from <= most;
      break;
    case Shuffle::butterfly:
      from = lane ^ by, valid = from <= most;
      break;
    case Shuffle::index:
      from = least | (by & ~segment), valid = from <= most;
      break;
    }
    if (!valid) from = lane;
    // A lane that does not take part gives what is not defined.
    d[lane] = meeting.lanes >> from & 1 ? values[from] : UINT32_MAX;
    in_range |= static_cast<uint32_t>(valid) << lane;
  }
  if (i.flags & 16) write_predicate(warp, i.flags >> 8, meeting.lanes, in_range);
  return meeting.flow;
}

enum class Vote : uint32_t { all, any, uniform, ballot };

Flow vote(Warp& warp, const Instruction& i, uint32_t mask) {
  Meeting meeting = meet(warp, i, mask, members_of(warp, i));
  if (!meeting.lanes) return meeting.flow;
  uint32_t bits = (warp.predicates[i.a] ^ (i.flags & 16 ? kAllLanes : 0)) & meeting.lanes;
  bool all = bits == meeting.lanes, any = bits != 0;
  switch (static_cast<Vote>(i.flags & 3)) {
  case Vote::all:
    write_predicate(warp, i.d, meeting.lanes, all ? kAllLanes : 0);
    break;
  case Vote::any:
    write_predicate(warp, i.d, meeting.lanes, any ? kAllLanes : 0);
    break;
  case Vote::uniform:
    write_predicate(warp, i.d, meeting.lanes, all || !any ? kAllLanes : 0);
    break;
  case Vote::ballot:
    for_lanes(meeting.lanes, [d = row<uint32_t>(warp, i.d), bits](int lane) { d[lane] = bits; });
    break;
  }
  return meeting.flow;
}

// flags: 1 all (else any), 2 64-bit values, 16 has a predicate (its number above)
Flow match(Warp& warp, const Instruction& i, uint32_t mask) {
  Meeting meeting = meet(warp, i, mask, members_of(warp, i));
  if (!meeting.lanes) return meeting.flow;
  auto value = [&](int lane) { return i.flags & 2 ? row<uint64_t>(warp, i.a)[lane] : row<uint32_t>(warp, i.a)[lane]; };
  uint32_t found[kLanes] = {};
  for (uint32_t rest = meeting.lanes; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    for (uint32_t other = meeting.lanes; other; other &= other - 1)
      if (value(__builtin_ctz(other)) == value(lane)) found[lane] |= other & (0 - other);
  }
  bool equal = found[__builtin_ctz(meeting.lanes)] == meeting.lanes;
  uint32_t* d = row<uint32_t>(warp, i.d);
  for_lanes(meeting.lanes, [&](int lane) { d[lane] = !(i.flags & 1) ? found[lane] : equal ? meeting.lanes : 0; });
  if (i.flags & 16) write_predicate(warp, i.flags >> 8, meeting.lanes, equal ? kAllLanes : 0);
  return meeting.flow;
}

enum class Reduction : uint32_t { add, min_u, max_u, min_s, max_s, and_, or_, xor_ };

Flow reduce(Warp& warp, const Instruction& i, uint32_t mask) {
  Meeting meeting = meet(warp, i, mask, members_of(warp, i));
  if (!meeting.lanes) return meeting.flow;
  const uint32_t* a = row<uint32_t>(warp, i.a);
  uint32_t result = a[__builtin_ctz(meeting.lanes)];
  for (uint32_t rest = meeting.lanes & (meeting.lanes - 1); rest; rest &= rest - 1) {
    uint32_t value = a[__builtin_ctz(rest)];
    switch (static_cast<Reduction>(i.flags)) {
    case Reduction::add:
      result += value;
      break;
    case Reduction::min_u:
      result = std::min(result, value);
      break;
    case Reduction::max_u:
      result = std::max(result, value);
      break;
    case Reduction::min_s:
      result = static_cast<uint32_t>(std::min(static_cast<int32_t>(result), static_cast<int32_t>(value)));
      break;
    case Reduction::max_s:
      result = static_cast<uint32_t>(std::max(static_cast<int32_t>(result), static_cast<int32_t>(value)));
      break;
    case Reduction::and_:
      result &= value;
      break;
    case Reduction::or_:
      result |= value;
      break;
    case Reduction::xor_:
      result ^= value;
      break;
    }
  }
  for_lanes(meeting.lanes, [d = row<uint32_t>(warp, i.d), result](int lane) { d[lane] = result; });
  return meeting.flow;
}

// Which lanes are active where a warp has diverged is not defined; here, those that have run together.
Flow active_mask(Warp& warp, const Instruction& i, uint32_t mask) {
  for_lanes(mask, [d = row<uint32_t>(warp, i.d), mask](int lane) { d[lane] = mask; });
  return Flow::next;
}

Flow elect(Warp& warp, const Instruction& i, uint32_t mask) {
  Meeting meeting = meet(warp, i, mask, members_of(warp, i));
  if (!meeting.lanes) return meeting.flow;
  uint32_t first = static_cast<uint32_t>(__builtin_ctz(meeting.lanes));
  for_lanes(meeting.lanes, [d = row<uint32_t>(warp, i.d), first](int lane) { d[lane] = first; });
  write_predicate(warp, i.flags, meeting.lanes, 1u << first);
  return meeting.flow;
}

void need_sync(Decoder& decoder) {
  if (!decoder.take("sync")) decoder.error("expected .sync");
}

void decode_shuffle(Decoder& decoder) {
  need_sync(decoder);
  std::string_view mode = decoder.first_of({"up", "down", "bfly", "idx"});
  if (mode.empty()) decoder.error("expected .up, .down, .bfly or .idx");
  if (decoder.take_type() != Type::b32) decoder.error("expected .b32");
  decoder.expect_operands(5, 5);
  uint32_t a = decoder.source(1, Type::b32), b = decoder.source(2, Type::b32), c = decoder.source(3, Type::b32);
  uint32_t members = decoder.source(4, Type::b32);
  Operand target = decoder.operand(0);
  uint32_t flags = mode == "up" ? 0 : mode == "down" ? 1 : mode == "bfly" ? 2 : 3;
  if (!target.second.empty()) flags |= 16 | decoder.predicate_destination(target.second) << 8;
  uint32_t d = decoder.destination(target, Type::b32);
  Instruction& instruction = decoder.emit(shuffle);
  instruction.d = d, instruction.a = a, instruction.b = b, instruction.c = c, instruction.extra = members,
  instruction.flags = flags;
}

void decode_vote(Decoder& decoder) {
  need_sync(decoder);
  std::string_view mode = decoder.first_of({"all", "any", "uni", "ballot"});
  if (mode.empty()) decoder.error("expected .all, .any, .uni or .ballot");
  Type type = decoder.take_type();
  bool ballot = mode == "ballot";
  if (type != (ballot ? Type::b32 : Type::pred)) decoder.error("expected .pred, or .b32 for .ballot");
  decoder.expect_operands(3, 3);
  bool negated;
  uint32_t a = decoder.predicate_source(decoder.operand(1), negated), members = decoder.source(2, Type::b32);
  uint32_t d = ballot ? decoder.destination(0, type) : decoder.predicate_destination(decoder.operand(0));
  Instruction& instruction = decoder.emit(vote);
  instruction.d = d, instruction.a = a, instruction.extra = members;
  instruction.flags = (mode == "all" ? 0u : mode == "any" ? 1u : mode == "uni" ? 2u : 3u) | (negated ? 16u : 0u);
}

void decode_match(Decoder& decoder) {
  bool all = decoder.take("all");
  if (!all && !decoder.take("any")) decoder.error("expected .all or .any");
  need_sync(decoder);
  Type type = decoder.take_type();
  if (type != Type::b32 && type != Type::b64) decoder.error("expected .b32 or .b64");
  decoder.expect_operands(3, 3);
  uint32_t a = decoder.source(1, type), members = decoder.source(2, Type::b32);
  Operand target = decoder.operand(0);
  uint32_t flags = (all ? 1u : 0u) | (type == Type::b64 ? 2u : 0u);
  if (!target.second.empty()) flags |= 16 | decoder.predicate_destination(target.second) << 8;
  uint32_t d = decoder.destination(target, Type::b32);
  Instruction& instruction = decoder.emit(match);
  instruction.d = d, instruction.a = a, instruction.extra = members, instruction.flags = flags;
}

void decode_reduce(Decoder& decoder) {
  decoder.need(80, "redux");
  need_sync(decoder);
  std::string_view name = decoder.first_of({"add", "min", "max", "and", "or", "xor"});
  Type type = decoder.take_type();
  bool negative = type == Type::s32, logic = type == Type::b32;
  if (name.empty() || (!negative && !logic && type != Type::u32) ||
      logic != (name == "and" || name == "or" || name == "xor"))
    decoder.error("expected .add, .min, .max with .u32 or .s32, or .and, .or, .xor with .b32");
  Reduction reduction = name == "add"   ? Reduction::add
                        : name == "min" ? (negative ? Reduction::min_s : Reduction::min_u)
                        : name == "max" ? (negative ? Reduction::max_s : Reduction::max_u)
                        : name == "and" ? Reduction::and_
                        : name == "or"  ? Reduction::or_
                                        : Reduction::xor_;
  decoder.expect_operands(3, 3);
  uint32_t a = decoder.source(1, type), members = decoder.source(2, Type::b32), d = decoder.destination(0, type);
  Instruction& instruction = decoder.emit(reduce);
  instruction.d = d, instruction.a = a, instruction.extra = members,
  instruction.flags = static_cast<uint32_t>(reduction);
}

} // namespace

void register_warp(Registry& registry) {
  registry["shfl"] = decode_shuffle;
  registry["vote"] = decode_vote;
  registry["match"] = decode_match;
  registry["redux"] = decode_reduce;
  registry["activemask"] = [](Decoder& decoder) {
    if (decoder.take_type() != Type::b32) decoder.error("expected .b32");
    decoder.expect_operands(1, 1);
    uint32_t d = decoder.destination(0, Type::b32);
    decoder.emit(active_mask).d = d;
  };
  registry["elect"] = [](Decoder& decoder) {
    decoder.need(90, "elect");
    need_sync(decoder);
    decoder.expect_operands(2, 2);
    uint32_t members = decoder.source(1, Type::b32), p = decoder.predicate_destination(decoder.operand(0).second);
    uint32_t d = decoder.destination(decoder.operand(0), Type::b32);
    Instruction& instruction = decoder.emit(elect);
    instruction.d = d, instruction.extra = members, instruction.flags = p;
  };
}

} // namespace emulator
