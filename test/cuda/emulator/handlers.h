// What handlers are made of: loops over the lanes of a mask around a function of single values.
#pragma once

#include <cstring>

#include "decoder.h"

namespace emulator {

// Calls body(lane) for every lane of the mask; the case of all lanes is a plain loop, which vectorizes. Rows are
// equal or do not overlap, so iterations do not depend on each other.
template <class Body> inline void for_lanes(uint32_t mask, const Body& body) {
  if (mask == kAllLanes) {
#pragma GCC ivdep
    for (int lane = 0; lane < kLanes; ++lane) body(lane);
  } else {
    for (uint32_t rest = mask; rest; rest &= rest - 1) body(__builtin_ctz(rest));
  }
}

// F::apply(a[, b[, c]]) for each lane.
template <class F, class D, class A> Flow unary(Warp& warp, const Instruction& i, uint32_t mask) {
  D* d = row<D>(warp, i.d);
  const A* a = row<A>(warp, i.a);
  for_lanes(mask, [=](int lane) { d[lane] = F::apply(a[lane]); });
  return Flow::next;
}
template <class F, class D, class A, class B = A> Flow binary(Warp& warp, const Instruction& i, uint32_t mask) {
  D* d = row<D>(warp, i.d);
  const A* a = row<A>(warp, i.a);
  const B* b = row<B>(warp, i.b);
  for_lanes(mask, [=](int lane) { d[lane] = F::apply(a[lane], b[lane]); });
  return Flow::next;
}
template <class F, class D, class A, class B = A, class C = A>
Flow ternary(Warp& warp, const Instruction& i, uint32_t mask) {
  D* d = row<D>(warp, i.d);
  const A* a = row<A>(warp, i.a);
  const B* b = row<B>(warp, i.b);
  const C* c = row<C>(warp, i.c);
  for_lanes(mask, [=](int lane) { d[lane] = F::apply(a[lane], b[lane], c[lane]); });
  return Flow::next;
}

// Writes a predicate from a function of the lane.
template <class Test> inline uint32_t test_lanes(const Test& test) {
  uint32_t bits = 0;
  for (int lane = 0; lane < kLanes; ++lane) bits |= static_cast<uint32_t>(test(lane)) << lane;
  return bits;
}
inline void write_predicate(Warp& warp, uint32_t number, uint32_t mask, uint32_t bits) {
  uint32_t& predicate = warp.predicates[number];
  predicate = (predicate & ~mask) | (bits & mask);
}

// The instruction for the integer type (16 to 64 bits; .b types as unsigned).
template <template <class> class Make> Handler for_integer(Type type) {
  switch (type) {
  case Type::b16:
  case Type::u16:
    return Make<uint16_t>::handler;
  case Type::b32:
  case Type::u32:
    return Make<uint32_t>::handler;
  case Type::b64:
  case Type::u64:
    return Make<uint64_t>::handler;
  case Type::s16:
    return Make<int16_t>::handler;
  case Type::s32:
    return Make<int32_t>::handler;
  case Type::s64:
    return Make<int64_t>::handler;
  default:
    return nullptr;
  }
}

template <class To, class From> inline To bits_as(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  std::memcpy(&result, &value, sizeof result);
  return result;
}

// d = op(a[, b[, c]]), all of one type.
inline Instruction& emit_values(Decoder& decoder, Handler handler, Type type, size_t sources) {
  decoder.expect_operands(sources + 1, sources + 1);
  uint32_t rows[3] = {0, 0, 0};
  for (size_t i = 0; i < sources; ++i) rows[i] = decoder.source(i + 1, type);
  uint32_t d = decoder.destination(0, type);
  Instruction& instruction = decoder.emit(handler);
  instruction.d = d;
  instruction.a = rows[0];
  instruction.b = rows[1];
  instruction.c = rows[2];
  return instruction;
}

Flow copy_local(Warp& warp, const Instruction& instruction, uint32_t mask);
Flow move_predicate(Warp& warp, const Instruction& instruction, uint32_t mask);
Flow call_function(Warp& warp, const Instruction& instruction, uint32_t mask);

} // namespace emulator
