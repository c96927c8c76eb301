// Logic, shifts and bit fields.
#include <algorithm>

#include "handlers.h"

namespace emulator {
namespace {

struct And {
  template <class T> static T apply(T a, T b) { return static_cast<T>(a & b); }
};
struct Or {
  template <class T> static T apply(T a, T b) { return static_cast<T>(a | b); }
};
struct Xor {
  template <class T> static T apply(T a, T b) { return static_cast<T>(a ^ b); }
};
struct Not {
  template <class T> static T apply(T a) { return static_cast<T>(~a); }
};
struct IsZero { // cnot
  template <class T> static T apply(T a) { return a == 0; }
};
// Shifts by more than the width give 0 or the sign.
struct ShiftLeft {
  template <class T> static T apply(T a, uint32_t b) {
    constexpr uint32_t width = 8 * sizeof(T);
    return b >= width ? T{0} : static_cast<T>(a << (b & (width - 1)));
  }
};
struct ShiftRight {
  template <class T> static T apply(T a, uint32_t b) {
    constexpr uint32_t width = 8 * sizeof(T);
    return static_cast<T>(b >= width ? (a < 0 ? ~T{0} : T{0}) : a >> (b & (width - 1)));
  }
};
struct Lop3 {
  static uint32_t apply(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
    uint32_t r = (~((table >> 0 & 1) - 1) & ~a & ~b & ~c) | (~((table >> 1 & 1) - 1) & ~a & ~b & c) |
                 (~((table >> 2 & 1) - 1) & ~a & b & ~c) | (~((table >> 3 & 1) - 1) & ~a & b & c) |
                 (~((table >> 4 & 1) - 1) & a & ~b & ~c) | (~((table >> 5 & 1) - 1) & a & ~b & c) |
                 (~((table >> 6 & 1) - 1) & a & b & ~c) | (~((table >> 7 & 1) - 1) & a & b & c);
    return r;
  }
};
struct FunnelLeftWrap {
  static uint32_t apply(uint32_t low, uint32_t high, uint32_t n) {
    return static_cast<uint32_t>(((uint64_t{high} << 32 | low) << (n & 31)) >> 32);
  }
};
struct FunnelLeftClamp {
  static uint32_t apply(uint32_t low, uint32_t high, uint32_t n) {
    return n >= 32 ? low : FunnelLeftWrap::apply(low, high, n);
  }
};
struct FunnelRightWrap {
  static uint32_t apply(uint32_t low, uint32_t high, uint32_t n) {
    return static_cast<uint32_t>((uint64_t{high} << 32 | low) >> (n & 31));
  }
};
struct FunnelRightClamp {
  static uint32_t apply(uint32_t low, uint32_t high, uint32_t n) {
    return n >= 32 ? high : FunnelRightWrap::apply(low, high, n);
  }
};
struct Permute { // prmt, default mode
  static uint32_t apply(uint32_t a, uint32_t b, uint32_t c) {
    uint64_t bytes = uint64_t{b} << 32 | a;
    uint32_t result = 0;
    for (int i = 0; i < 4; ++i) {
      uint32_t selector = c >> (4 * i) & 15;
      uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (selector & 7))) & 255;
      if (selector & 8) byte = byte & 128 ? 255 : 0;
      result |= byte << (8 * i);
    }
    return result;
  }
};
struct PopulationCount {
  template <class T> static uint32_t apply(T a) { return static_cast<uint32_t>(__builtin_popcountll(a)); }
};
struct LeadingZeros {
  template <class T> static uint32_t apply(T a) {
    if (a == 0) return 8 * sizeof(T);
    return static_cast<uint32_t>(__builtin_clzll(a)) - (64 - 8 * static_cast<uint32_t>(sizeof(T)));
  }
};
struct Reverse {
  template <class T> static T apply(T a) {
    T result = 0;
    for (size_t i = 0; i < 8 * sizeof(T); ++i)
      result = static_cast<T>(result | (a >> i & 1) << (8 * sizeof(T) - 1 - i));
    return result;
  }
};
struct HighestBit { // bfind
  template <class T> static uint32_t apply(T a) {
    using U = std::make_unsigned_t<T>;
    U bits = static_cast<U>(a < 0 ? ~a : a);
    return bits == 0 ? UINT32_MAX : 8 * static_cast<uint32_t>(sizeof(T)) - 1 - LeadingZeros::apply<U>(bits);
  }
};
struct HighestBitShift { // bfind.shiftamt
  template <class T> static uint32_t apply(T a) {
    uint32_t found = HighestBit::apply(a);
    return found == UINT32_MAX ? found : 8 * static_cast<uint32_t>(sizeof(T)) - 1 - found;
  }
};
struct Extract { // bfe
  template <class T> static T apply(T a, uint32_t position, uint32_t length) {
    using U = std::make_unsigned_t<T>;
    constexpr uint32_t width = 8 * sizeof(T);
    position &= 255, length &= 255;
    if (length == 0) return 0;
    uint32_t sign_at = std::min(position + length - 1, width - 1);
    U sign = a < 0 || std::is_signed_v<T> ? static_cast<U>(static_cast<U>(a) >> sign_at & 1) : U{0};
    U fill = sign ? ~U{0} : U{0};
    U bits = position >= width ? fill : static_cast<U>(static_cast<U>(a) >> position);
    U keep = length >= width ? ~U{0} : static_cast<U>((U{1} << length) - 1);
    // Bits from beyond the top of `a` are the sign, too.
    U above = position == 0 ? U{0} : position >= width ? ~U{0} : static_cast<U>(~(~U{0} >> position));
    bits = static_cast<U>((bits & ~above) | (fill & above));
    return static_cast<T>((bits & keep) | (fill & ~keep));
  }
};
template <class T> struct Insert { // bfi
  static T apply(T a, T b, uint32_t position, uint32_t length) {
    constexpr uint32_t width = 8 * sizeof(T);
    position &= 255, length &= 255;
    if (position >= width || length == 0) return b;
    T mask = length >= width ? ~T{0} : static_cast<T>((T{1} << length) - 1);
    mask = static_cast<T>(mask << position);
    return static_cast<T>((b & ~mask) | (a << position & mask));
  }
};

template <class F> struct Binary {
  template <class T> struct Make {
    static constexpr Handler handler = binary<F, T, T>;
  };
};
template <class F> struct Shift {
  template <class T> struct Make {
    static constexpr Handler handler = binary<F, T, T, uint32_t>;
  };
};
template <class F> struct Unary {
  template <class T> struct Make {
    static constexpr Handler handler = unary<F, T, T>;
  };
};

enum class Logic : uint32_t { and_, or_, xor_ };

Flow logic_predicate(Warp& warp, const Instruction& i, uint32_t mask) {
  uint32_t a = warp.predicates[i.a] ^ (i.flags & 1 ? kAllLanes : 0);
  uint32_t b = warp.predicates[i.b] ^ (i.flags & 2 ? kAllLanes : 0);
  Logic logic = static_cast<Logic>(i.immediate);
  write_predicate(warp, i.d, mask, logic == Logic::and_ ? a & b : logic == Logic::or_ ? a | b : a ^ b);
  return Flow::next;
}

Flow lop3(Warp& warp, const Instruction& i, uint32_t mask) {
  uint32_t *d = row<uint32_t>(warp, i.d), *a = row<uint32_t>(warp, i.a), *b = row<uint32_t>(warp, i.b),
           *c = row<uint32_t>(warp, i.c);
  uint32_t table = i.flags;
  for_lanes(mask, [=](int lane) { d[lane] = Lop3::apply(a[lane], b[lane], c[lane], table); });
  return Flow::next;
}

template <class T> Flow insert(Warp& warp, const Instruction& i, uint32_t mask) {
  T *d = row<T>(warp, i.d), *a = row<T>(warp, i.a), *b = row<T>(warp, i.b);
  uint32_t *position = row<uint32_t>(warp, i.c), *length = row<uint32_t>(warp, i.extra);
  for_lanes(mask, [=](int lane) { d[lane] = Insert<T>::apply(a[lane], b[lane], position[lane], length[lane]); });
  return Flow::next;
}

template <class F> void decode_logic(Decoder& decoder, Logic logic) {
  Type type = decoder.take_type();
  if (type != Type::pred) {
    if (type < Type::b16 || type > Type::b64) decoder.error("expected .pred, .b16, .b32 or .b64");
    emit_values(decoder, for_integer<Binary<F>::template Make>(type), type, 2);
    return;
  }
  decoder.expect_operands(3, 3);
  bool not_a, not_b;
  uint32_t a = decoder.predicate_source(decoder.operand(1), not_a);
  uint32_t b = decoder.predicate_source(decoder.operand(2), not_b);
  uint32_t d = decoder.predicate_destination(decoder.operand(0));
  Instruction& instruction = decoder.emit(logic_predicate);
  instruction.d = d, instruction.a = a, instruction.b = b;
  instruction.flags = (not_a ? 1u : 0u) | (not_b ? 2u : 0u);
  instruction.immediate = static_cast<int64_t>(logic);
}

// d and a of `type`, b and c of 32 bits
void decode_shift(Decoder& decoder, Handler handler, Type type) {
  decoder.expect_operands(3, 3);
  uint32_t a = decoder.source(1, type), b = decoder.source(2, Type::u32), d = decoder.destination(0, type);
  Instruction& instruction = decoder.emit(handler);
  instruction.d = d, instruction.a = a, instruction.b = b;
}

template <class F> void decode_count(Decoder& decoder) { // popc, clz
  Type type = decoder.take_type();
  decoder.expect_operands(2, 2);
  uint32_t a = decoder.source(1, type), d = decoder.destination(0, Type::u32);
  Handler handler = type == Type::b32   ? unary<F, uint32_t, uint32_t>
                    : type == Type::b64 ? unary<F, uint32_t, uint64_t>
                                        : nullptr;
  Instruction& instruction = decoder.emit(handler);
  instruction.d = d, instruction.a = a;
}

template <class F> Handler find_handler(Type type) {
  return type == Type::u32   ? unary<F, uint32_t, uint32_t>
         : type == Type::s32 ? unary<F, uint32_t, int32_t>
         : type == Type::u64 ? unary<F, uint32_t, uint64_t>
         : type == Type::s64 ? unary<F, uint32_t, int64_t>
                             : nullptr;
}

void decode_find(Decoder& decoder) {
  bool shift = decoder.take("shiftamt");
  Type type = decoder.take_type();
  decoder.expect_operands(2, 2);
  uint32_t a = decoder.source(1, type), d = decoder.destination(0, Type::u32);
  Instruction& instruction = decoder.emit(shift ? find_handler<HighestBitShift>(type) : find_handler<HighestBit>(type));
  instruction.d = d, instruction.a = a;
}

void decode_extract(Decoder& decoder) {
  Type type = decoder.take_type();
  decoder.expect_operands(4, 4);
  Handler handler = type == Type::u32   ? ternary<Extract, uint32_t, uint32_t, uint32_t, uint32_t>
                    : type == Type::s32 ? ternary<Extract, int32_t, int32_t, uint32_t, uint32_t>
                    : type == Type::u64 ? ternary<Extract, uint64_t, uint64_t, uint32_t, uint32_t>
                    : type == Type::s64 ? ternary<Extract, int64_t, int64_t, uint32_t, uint32_t>
                                        : nullptr;
  uint32_t a = decoder.source(1, type), b = decoder.source(2, Type::u32), c = decoder.source(3, Type::u32);
  uint32_t d = decoder.destination(0, type);
  Instruction& instruction = decoder.emit(handler);
  instruction.d = d, instruction.a = a, instruction.b = b, instruction.c = c;
}

void decode_insert(Decoder& decoder) {
  Type type = decoder.take_type();
  decoder.expect_operands(5, 5);
  Handler handler = type == Type::b32 ? insert<uint32_t> : type == Type::b64 ? insert<uint64_t> : nullptr;
  uint32_t a = decoder.source(1, type), b = decoder.source(2, type), c = decoder.source(3, Type::u32);
  uint32_t length = decoder.source(4, Type::u32), d = decoder.destination(0, type);
  Instruction& instruction = decoder.emit(handler);
  instruction.d = d, instruction.a = a, instruction.b = b, instruction.c = c, instruction.extra = length;
}

void decode_funnel(Decoder& decoder) {
  bool left = decoder.take("l");
  if (!left && !decoder.take("r")) decoder.error("expected .l or .r");
  bool wrap = decoder.take("wrap");
  if (!wrap && !decoder.take("clamp")) decoder.error("expected .wrap or .clamp");
  Type type = decoder.take_type();
  Handler handler =
      left ? (wrap ? ternary<FunnelLeftWrap, uint32_t, uint32_t> : ternary<FunnelLeftClamp, uint32_t, uint32_t>)
           : (wrap ? ternary<FunnelRightWrap, uint32_t, uint32_t> : ternary<FunnelRightClamp, uint32_t, uint32_t>);
  emit_values(decoder, type == Type::b32 ? handler : nullptr, type, 3);
}

} // namespace

void register_bits(Registry& registry) {
  registry["and"] = [](Decoder& decoder) { decode_logic<And>(decoder, Logic::and_); };
  registry["or"] = [](Decoder& decoder) { decode_logic<Or>(decoder, Logic::or_); };
  registry["xor"] = [](Decoder& decoder) { decode_logic<Xor>(decoder, Logic::xor_); };
  registry["not"] = [](Decoder& decoder) {
    Type type = decoder.take_type();
    if (type != Type::pred) {
      emit_values(decoder, type >= Type::b16 && type <= Type::b64 ? for_integer<Unary<Not>::Make>(type) : nullptr, type,
                  1);
      return;
    }
    decoder.expect_operands(2, 2);
    bool negated;
    uint32_t a = decoder.predicate_source(decoder.operand(1), negated);
    uint32_t d = decoder.predicate_destination(decoder.operand(0));
    Instruction& instruction = decoder.emit(move_predicate);
    instruction.d = d, instruction.a = a, instruction.flags = negated ? 0 : kAllLanes;
  };
  registry["cnot"] = [](Decoder& decoder) {
    Type type = decoder.take_type();
    emit_values(decoder, for_integer<Unary<IsZero>::Make>(type), type, 1);
  };
  registry["shl"] = [](Decoder& decoder) {
    Type type = decoder.take_type();
    decode_shift(decoder, for_integer<Shift<ShiftLeft>::Make>(type), type);
  };
  registry["shr"] = [](Decoder& decoder) {
    Type type = decoder.take_type();
    decode_shift(decoder, for_integer<Shift<ShiftRight>::Make>(type), type);
  };
  registry["lop3"] = [](Decoder& decoder) {
    Type type = decoder.take_type();
    decoder.expect_operands(5, 5);
    const Operand& table = decoder.operand(4);
    if (type != Type::b32 || table.kind != Operand::Kind::integer || table.bits > 255)
      decoder.error("expected .b32 and a table from 0 to 255");
    uint32_t a = decoder.source(1, type), b = decoder.source(2, type), c = decoder.source(3, type);
    uint32_t d = decoder.destination(0, type);
    Instruction& instruction = decoder.emit(lop3);
    instruction.d = d, instruction.a = a, instruction.b = b, instruction.c = c;
    instruction.flags = static_cast<uint32_t>(table.bits);
  };
  registry["prmt"] = [](Decoder& decoder) {
    Type type = decoder.take_type();
    emit_values(decoder, type == Type::b32 ? ternary<Permute, uint32_t, uint32_t> : nullptr, type, 3);
  };
  registry["brev"] = [](Decoder& decoder) {
    Type type = decoder.take_type();
    Handler handler = type == Type::b32   ? unary<Reverse, uint32_t, uint32_t>
                      : type == Type::b64 ? unary<Reverse, uint64_t, uint64_t>
                                          : nullptr;
    emit_values(decoder, handler, type, 1);
  };
  registry["shf"] = decode_funnel;
  registry["popc"] = decode_count<PopulationCount>;
  registry["clz"] = decode_count<LeadingZeros>;
  registry["bfind"] = decode_find;
  registry["bfe"] = decode_extract;
  registry["bfi"] = decode_insert;
}

} // namespace emulator
