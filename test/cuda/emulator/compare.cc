// setp, set, selp, slct.
#include <type_traits>

#include "numbers.h"

namespace emulator {
namespace {

enum class Compare : uint32_t { eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan };
constexpr const char* kCompares[] = {"eq",  "ne",  "lt",  "le",  "gt",  "ge",  "equ",
                                     "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};

template <Compare compare, class T> inline bool holds(T a, T b) {
  if constexpr (compare == Compare::eq) return a == b;
  if constexpr (compare == Compare::lt) return a < b;
  if constexpr (compare == Compare::le) return a <= b;
  if constexpr (compare == Compare::gt) return a > b;
  if constexpr (compare == Compare::ge) return a >= b;
  // Ordered: false where a NaN takes part. Unordered: true.
  if constexpr (compare == Compare::ne) {
    if constexpr (std::is_floating_point_v<T>)
      return a < b || a > b;
    else
      return a != b;
  }
  if constexpr (compare == Compare::equ) return !(a < b || a > b);
  if constexpr (compare == Compare::neu) return !(a == b);
  if constexpr (compare == Compare::ltu) return !(a >= b);
  if constexpr (compare == Compare::leu) return !(a > b);
  if constexpr (compare == Compare::gtu) return !(a <= b);
  if constexpr (compare == Compare::geu) return !(a < b);
  if constexpr (compare == Compare::num) return a == a && b == b;
  if constexpr (compare == Compare::nan) return a != a || b != b;
}

// Compares to a mask. A function per type and comparison; the handlers call it.
using Test = uint32_t (*)(const uint8_t* a, const uint8_t* b);

template <class T, Compare compare, bool ftz> uint32_t test(const uint8_t* a_row, const uint8_t* b_row) {
  const T* a = reinterpret_cast<const T*>(a_row);
  const T* b = reinterpret_cast<const T*>(b_row);
  return test_lanes([=](int lane) {
    if constexpr (ftz)
      return holds<compare>(flush(a[lane]), flush(b[lane]));
    else
      return holds<compare>(a[lane], b[lane]);
  });
}

struct Half {};
struct Bfloat {};
template <class T, Compare compare> uint32_t test_narrow(const uint8_t* a_row, const uint8_t* b_row) {
  const uint16_t* a = reinterpret_cast<const uint16_t*>(a_row);
  const uint16_t* b = reinterpret_cast<const uint16_t*>(b_row);
  return test_lanes([=](int lane) {
    if constexpr (std::is_same_v<T, Half>)
      return holds<compare>(half_to_float(a[lane]), half_to_float(b[lane]));
    else
      return holds<compare>(bfloat_to_float(a[lane]), bfloat_to_float(b[lane]));
  });
}

template <class T, Compare compare, bool ftz> constexpr Test test_of() {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, Bfloat>)
    return test_narrow<T, compare>;
  else
    return test<T, compare, ftz>;
}

template <class T, bool ftz = false> Test select_test(Compare compare) {
  switch (compare) {
  case Compare::eq:
    return test_of<T, Compare::eq, ftz>();
  case Compare::ne:
    return test_of<T, Compare::ne, ftz>();
  case Compare::lt:
    return test_of<T, Compare::lt, ftz>();
  case Compare::le:
    return test_of<T, Compare::le, ftz>();
  case Compare::gt:
    return test_of<T, Compare::gt, ftz>();
  case Compare::ge:
    return test_of<T, Compare::ge, ftz>();
  case Compare::equ:
    return test_of<T, Compare::equ, ftz>();
  case Compare::neu:
    return test_of<T, Compare::neu, ftz>();
  case Compare::ltu:
    return test_of<T, Compare::ltu, ftz>();
  case Compare::leu:
    return test_of<T, Compare::leu, ftz>();
  case Compare::gtu:
    return test_of<T, Compare::gtu, ftz>();
  case Compare::geu:
    return test_of<T, Compare::geu, ftz>();
  case Compare::num:
    return test_of<T, Compare::num, ftz>();
  case Compare::nan:
    return test_of<T, Compare::nan, ftz>();
  }
  return nullptr;
}

Test find_test(Type type, Compare compare, bool ftz) {
  if (ftz && type != Type::f32) return nullptr;
  if (!is_float(type) && compare > Compare::ge) return nullptr;
  bool bits = type >= Type::b16 && type <= Type::b64;
  if (bits && compare != Compare::eq && compare != Compare::ne) return nullptr;
  switch (type) {
  case Type::b16:
  case Type::u16:
    return select_test<uint16_t>(compare);
  case Type::b32:
  case Type::u32:
    return select_test<uint32_t>(compare);
  case Type::b64:
  case Type::u64:
    return select_test<uint64_t>(compare);
  case Type::s16:
    return select_test<int16_t>(compare);
  case Type::s32:
    return select_test<int32_t>(compare);
  case Type::s64:
    return select_test<int64_t>(compare);
  case Type::f32:
    return ftz ? select_test<float, true>(compare) : select_test<float>(compare);
  case Type::f64:
    return select_test<double>(compare);
  case Type::f16:
    return select_test<Half>(compare);
  case Type::bf16:
    return select_test<Bfloat>(compare);
  default:
    return nullptr;
  }
}

// flags: 1 and, 2 or, 3 xor (with predicate c); 4: c negated; 8: a second destination, extra
template <bool combined> Flow set_predicate(Warp& warp, const Instruction& i, uint32_t mask) {
  uint32_t bits = reinterpret_cast<Test>(i.immediate)(warp.registers + i.a, warp.registers + i.b);
  if constexpr (combined) {
    uint32_t c = warp.predicates[i.c] ^ (i.flags & 4 ? kAllLanes : 0);
    auto combine = [&](uint32_t value) {
      switch (i.flags & 3) {
      case 1:
        return value & c;
      case 2:
        return value | c;
      case 3:
        return value ^ c;
      default:
        return value;
      }
    };
    if (i.flags & 8) write_predicate(warp, i.extra, mask, combine(~bits));
    bits = combine(bits);
  }
  write_predicate(warp, i.d, mask, bits);
  return Flow::next;
}

Flow set_value(Warp& warp, const Instruction& i, uint32_t mask) { // set.cmp.u32.f32: all ones or zero; .f32: 1.0 or 0
  uint32_t bits = reinterpret_cast<Test>(i.immediate)(warp.registers + i.a, warp.registers + i.b);
  uint32_t* d = row<uint32_t>(warp, i.d);
  uint32_t value = i.flags;
  for_lanes(mask, [=](int lane) { d[lane] = bits >> lane & 1 ? value : 0; });
  return Flow::next;
}

Compare take_compare(Decoder& decoder, std::string_view name) {
  // lo, ls, hi, hs: the unsigned comparisons under their other names.
  if (name == "lo") return Compare::lt;
  if (name == "ls") return Compare::le;
  if (name == "hi") return Compare::gt;
  if (name == "hs") return Compare::ge;
  for (uint32_t at = 0; at < 14; ++at)
    if (name == kCompares[at]) return static_cast<Compare>(at);
  decoder.error("expected a comparison");
}

std::string_view comparison_name(Decoder& decoder) {
  return decoder.first_of({"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan",
                           "lo", "ls", "hi", "hs"});
}

void decode_setp(Decoder& decoder) {
  std::string_view name = comparison_name(decoder);
  std::string_view logic = decoder.first_of({"and", "or", "xor"});
  bool ftz = decoder.take("ftz");
  Type type = decoder.take_type();
  Compare compare = take_compare(decoder, name);
  size_t operands = logic.empty() ? 3 : 4;
  decoder.expect_operands(operands, operands);
  Test found = find_test(type, compare, ftz);
  if (!found) decoder.error("this comparison is not supported for this type");
  uint32_t a = decoder.source(1, type), b = decoder.source(2, type), c = 0;
  bool negated = false;
  if (!logic.empty()) c = decoder.predicate_source(decoder.operand(3), negated);
  uint32_t d = decoder.predicate_destination(decoder.operand(0));
  bool second = !decoder.operand(0).second.empty();
  uint32_t e = second ? decoder.predicate_destination(decoder.operand(0).second) : 0;
  Instruction& instruction = decoder.emit(second || !logic.empty() ? set_predicate<true> : set_predicate<false>);
  instruction.d = d, instruction.a = a, instruction.b = b, instruction.c = c, instruction.extra = e;
  instruction.flags = (logic == "and"   ? 1u
                       : logic == "or"  ? 2u
                       : logic == "xor" ? 3u
                                        : 0u) |
                      (negated ? 4u : 0u) | (second ? 8u : 0u);
  instruction.immediate = reinterpret_cast<int64_t>(found);
}

void decode_set(Decoder& decoder) {
  std::string_view name = comparison_name(decoder);
  bool ftz = decoder.take("ftz");
  Type result = decoder.take_type(), type = decoder.take_type();
  Compare compare = take_compare(decoder, name);
  decoder.expect_operands(3, 3);
  Test found = find_test(type, compare, ftz);
  bool known = result == Type::u32 || result == Type::s32 || result == Type::f32;
  if (!found || !known) decoder.error("this comparison is not supported for this type");
  uint32_t a = decoder.source(1, type), b = decoder.source(2, type), d = decoder.destination(0, result);
  Instruction& instruction = decoder.emit(set_value);
  instruction.d = d, instruction.a = a, instruction.b = b;
  instruction.flags = result == Type::f32 ? 0x3f800000u : kAllLanes;
  instruction.immediate = reinterpret_cast<int64_t>(found);
}

template <class T> Flow select_value(Warp& warp, const Instruction& i, uint32_t mask) {
  T *d = row<T>(warp, i.d), *a = row<T>(warp, i.a), *b = row<T>(warp, i.b);
  uint32_t predicate = warp.predicates[i.c] ^ i.flags;
  for_lanes(mask, [=](int lane) { d[lane] = predicate >> lane & 1 ? a[lane] : b[lane]; });
  return Flow::next;
}

struct SelectBySign {
  template <class T> static T apply(T a, T b, int32_t c) { return c >= 0 ? a : b; }
  template <class T> static T apply(T a, T b, float c) { return c >= 0 ? a : b; }
};

} // namespace

void register_compare(Registry& registry) {
  registry["setp"] = decode_setp;
  registry["set"] = decode_set;
  registry["selp"] = [](Decoder& decoder) {
    Type type = decoder.take_type();
    decoder.expect_operands(4, 4);
    bool negated;
    uint32_t a = decoder.source(1, type), b = decoder.source(2, type);
    uint32_t c = decoder.predicate_source(decoder.operand(3), negated), d = decoder.destination(0, type);
    uint32_t size = size_of(type);
    Instruction& instruction = decoder.emit(size == 2   ? select_value<uint16_t>
                                            : size == 4 ? select_value<uint32_t>
                                            : size == 8 ? select_value<uint64_t>
                                                        : nullptr);
    instruction.d = d, instruction.a = a, instruction.b = b, instruction.c = c;
    instruction.flags = negated ? kAllLanes : 0;
  };
  registry["slct"] = [](Decoder& decoder) {
    Type type = decoder.take_type(), by = decoder.take_type();
    decoder.expect_operands(4, 4);
    if (by != Type::s32 && by != Type::f32) decoder.error("expected .s32 or .f32");
    Handler handler =
        size_of(type) == 4   ? (by == Type::s32 ? ternary<SelectBySign, uint32_t, uint32_t, uint32_t, int32_t>
                                                : ternary<SelectBySign, uint32_t, uint32_t, uint32_t, float>)
        : size_of(type) == 8 ? (by == Type::s32 ? ternary<SelectBySign, uint64_t, uint64_t, uint64_t, int32_t>
                                                : ternary<SelectBySign, uint64_t, uint64_t, uint64_t, float>)
                             : nullptr;
    uint32_t a = decoder.source(1, type), b = decoder.source(2, type), c = decoder.source(3, by);
    uint32_t d = decoder.destination(0, type);
    Instruction& instruction = decoder.emit(handler);
    instruction.d = d, instruction.a = a, instruction.b = b, instruction.c = c;
  };
}

} // namespace emulator
