// mov, cvta, isspacep.
#include <chrono>

#include "handlers.h"

namespace emulator {

Flow move_predicate(Warp& warp, const Instruction& i, uint32_t mask) {
  write_predicate(warp, i.d, mask, warp.predicates[i.a] ^ i.flags);
  return Flow::next;
}

namespace {

template <class T> Flow move(Warp& warp, const Instruction& i, uint32_t mask) {
  T *d = row<T>(warp, i.d), *a = row<T>(warp, i.a);
  if (mask == kAllLanes)
    std::memmove(d, a, kLanes * sizeof(T));
  else
    for_lanes(mask, [=](int lane) { d[lane] = a[lane]; });
  return Flow::next;
}

// {a, b} <-> c: `flags` parts of `immediate` bytes each; rows of the parts in extras.
template <bool unpack> Flow move_parts(Warp& warp, const Instruction& i, uint32_t mask) {
  const uint32_t* parts = warp.block->program->extras.data() + i.extra;
  size_t size = static_cast<size_t>(i.immediate), whole_size = size * i.flags;
  uint8_t* whole = warp.registers + (unpack ? i.a : i.d);
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    size_t lane = static_cast<size_t>(__builtin_ctz(rest));
    uint8_t value[8]; // parts may be written over their own source
    if (unpack) std::memcpy(value, whole + lane * whole_size, whole_size);
    for (size_t part = 0; part < i.flags; ++part) {
      uint8_t* at = warp.registers + parts[part] + lane * size;
      if (unpack)
        std::memcpy(at, value + part * size, size);
      else
        std::memcpy(value + part * size, at, size);
    }
    if (!unpack) std::memcpy(whole + lane * whole_size, value, whole_size);
  }
  return Flow::next;
}

Flow read_clock(Warp& warp, const Instruction& i, uint32_t mask) { // flags: 4 or 8 bytes, 16: %globaltimer
  auto now = std::chrono::steady_clock::now().time_since_epoch();
  uint64_t value = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
  bool wide = i.flags & 8;
  if (i.flags & 32) value >>= 32;
  for_lanes(mask, [&](int lane) {
    if (wide)
      row<uint64_t>(warp, i.d)[lane] = value;
    else
      row<uint32_t>(warp, i.d)[lane] = static_cast<uint32_t>(value);
  });
  return Flow::next;
}

uint64_t window_of(Space space) {
  switch (space) {
  case Space::shared:
    return kSharedWindow;
  case Space::local:
    return kLocalWindow;
  case Space::parameter:
    return kParameterWindow;
  default:
    return 0;
  }
}

Flow convert_address(Warp& warp, const Instruction& i, uint32_t mask) {
  uint64_t *d = row<uint64_t>(warp, i.d), *a = row<uint64_t>(warp, i.a);
  uint64_t add = static_cast<uint64_t>(i.immediate);
  for_lanes(mask, [=](int lane) { d[lane] = a[lane] + add; });
  return Flow::next;
}

Flow is_space(Warp& warp, const Instruction& i, uint32_t mask) {
  const uint64_t* a = row<uint64_t>(warp, i.a);
  uint64_t window = static_cast<uint64_t>(i.immediate);
  write_predicate(warp, i.d, mask, test_lanes([=](int lane) {
                    if (window == 0) return a[lane] < kSharedWindow || a[lane] >= kWindowsEnd;
                    return a[lane] >= window && a[lane] - window < (uint64_t{1} << 32);
                  }));
  return Flow::next;
}

Handler move_handler(uint32_t size) {
  return size == 1   ? move<uint8_t>
         : size == 2 ? move<uint16_t>
         : size == 4 ? move<uint32_t>
         : size == 8 ? move<uint64_t>
                     : nullptr;
}

void decode_parts(Decoder& decoder, Type type, bool unpack) {
  const Operand& vector = decoder.operand(unpack ? 0 : 1);
  size_t count = vector.elements.size();
  if (count != 2 && count != 4) decoder.error("expected 2 or 4 parts");
  uint32_t size = size_of(type) / static_cast<uint32_t>(count);
  Type part = size == 1 ? Type::b8 : size == 2 ? Type::b16 : size == 4 ? Type::b32 : Type::none;
  if (part == Type::none) decoder.error("this type does not have so many parts");
  std::vector<uint32_t> rows;
  for (const Operand& element : vector.elements)
    rows.push_back(unpack ? decoder.destination(element, part) : decoder.source(element, part));
  uint32_t whole = unpack ? decoder.source(1, type) : decoder.destination(0, type);
  uint32_t extra = decoder.extras(rows);
  Instruction& instruction = decoder.emit(unpack ? move_parts<true> : move_parts<false>);
  (unpack ? instruction.a : instruction.d) = whole;
  instruction.extra = extra, instruction.flags = static_cast<uint32_t>(count), instruction.immediate = size;
}

void decode_mov(Decoder& decoder) {
  Type type = decoder.take_type();
  decoder.expect_operands(2, 2);
  if (type == Type::pred) {
    bool negated;
    uint32_t a = decoder.predicate_source(decoder.operand(1), negated),
             d = decoder.predicate_destination(decoder.operand(0));
    Instruction& instruction = decoder.emit(move_predicate);
    instruction.d = d, instruction.a = a, instruction.flags = negated ? kAllLanes : 0;
    return;
  }
  if (decoder.operand(0).kind == Operand::Kind::vector) return decode_parts(decoder, type, true);
  if (decoder.operand(1).kind == Operand::Kind::vector) return decode_parts(decoder, type, false);
  std::string_view name = decoder.operand(1).name;
  bool timer = name == "%globaltimer" || name == "%globaltimer_lo" || name == "%globaltimer_hi";
  if (name == "%clock" || name == "%clock_hi" || name == "%clock64" || timer) {
    uint32_t size = name == "%clock64" || name == "%globaltimer" ? 8 : 4;
    if (size_of(type) != size) decoder.error("'" + std::string(name) + "' has " + std::to_string(8 * size) + " bits");
    uint32_t d = decoder.destination(0, type);
    Instruction& instruction = decoder.emit(read_clock);
    instruction.d = d, instruction.flags = size | (name == "%clock_hi" || name == "%globaltimer_hi" ? 32u : 0u);
    return;
  }
  uint32_t a = decoder.source(1, type), d = decoder.destination(0, type);
  Instruction& instruction = decoder.emit(move_handler(size_of(type)));
  instruction.d = d, instruction.a = a;
}

Space take_space(Decoder& decoder) {
  if (decoder.take("global")) return Space::global;
  if (decoder.take("shared") || decoder.take("shared::cta")) return Space::shared;
  if (decoder.take("local")) return Space::local;
  if (decoder.take("param") || decoder.take("param::entry")) return Space::parameter;
  if (decoder.take("const")) return Space::constant;
  decoder.error("expected a space");
}

} // namespace

void register_move(Registry& registry) {
  registry["mov"] = decode_mov;
  registry["cvta"] = [](Decoder& decoder) {
    bool to = decoder.take("to");
    Space space = take_space(decoder);
    Type type = decoder.take_type();
    decoder.expect_operands(2, 2);
    if (size_of(type) != 8) decoder.error("expected .u64");
    uint32_t a = decoder.source(1, type), d = decoder.destination(0, type);
    Instruction& instruction = decoder.emit(convert_address);
    uint64_t window = window_of(space);
    instruction.d = d, instruction.a = a, instruction.immediate = static_cast<int64_t>(to ? 0 - window : window);
  };
  registry["isspacep"] = [](Decoder& decoder) {
    Space space = take_space(decoder);
    decoder.expect_operands(2, 2);
    if (space == Space::constant) decoder.error(".const is not supported");
    uint32_t a = decoder.source(1, Type::u64), d = decoder.predicate_destination(decoder.operand(0));
    Instruction& instruction = decoder.emit(is_space);
    instruction.d = d, instruction.a = a, instruction.immediate = static_cast<int64_t>(window_of(space));
  };
}

} // namespace emulator
