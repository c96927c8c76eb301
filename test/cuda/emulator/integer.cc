// Integer arithmetic.
#include <type_traits>

#include "handlers.h"

namespace emulator {
namespace {

template <class T> using Unsigned = std::make_unsigned_t<T>;
// Arithmetic without the undefined overflow of signed types nor the promotion of 16-bit ones to int.
template <class T> using Plain = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
template <class T>
using Wide =
    std::conditional_t<sizeof(T) == 8, std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>,
                       std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>,
                                          std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>>>;

struct Add {
  template <class T> static T apply(T a, T b) {
    return static_cast<T>(static_cast<Plain<T>>(a) + static_cast<Plain<T>>(b));
  }
};
struct Sub {
  template <class T> static T apply(T a, T b) {
    return static_cast<T>(static_cast<Plain<T>>(a) - static_cast<Plain<T>>(b));
  }
};
struct AddSaturated {
  static int32_t apply(int32_t a, int32_t b) {
    int64_t sum = int64_t{a} + b;
    return static_cast<int32_t>(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
  }
};
struct SubSaturated {
  static int32_t apply(int32_t a, int32_t b) {
    int64_t sum = int64_t{a} - b;
    return static_cast<int32_t>(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
  }
};
struct MulLow {
  template <class T> static T apply(T a, T b) {
    return static_cast<T>(static_cast<Plain<T>>(a) * static_cast<Plain<T>>(b));
  }
};
struct MulHigh {
  template <class T> static T apply(T a, T b) {
    return static_cast<T>(static_cast<Wide<T>>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b)) >> (8 * sizeof(T)));
  }
};
struct MulWide {
  template <class T> static Wide<T> apply(T a, T b) { return static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b); }
};
struct MadLow {
  template <class T> static T apply(T a, T b, T c) { return Add::apply(MulLow::apply(a, b), c); }
};
struct MadHigh {
  template <class T> static T apply(T a, T b, T c) { return Add::apply(MulHigh::apply(a, b), c); }
};
struct MadWide {
  template <class T> static Wide<T> apply(T a, T b, Wide<T> c) { return Add::apply(MulWide::apply(a, b), c); }
};
// Division by zero gives all ones, as the devices do; PTX leaves it open.
struct Div {
  template <class T> static T apply(T a, T b) {
    if (b == 0) return static_cast<T>(~T{0});
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return Sub::apply(T{0}, a);
    return static_cast<T>(a / b);
  }
};
struct Rem {
  template <class T> static T apply(T a, T b) {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
    return static_cast<T>(a % b);
  }
};
struct Min {
  template <class T> static T apply(T a, T b) { return a < b ? a : b; }
};
struct Max {
  template <class T> static T apply(T a, T b) { return a < b ? b : a; }
};
struct Abs {
  template <class T> static T apply(T a) { return a < 0 ? Sub::apply(T{0}, a) : a; }
};
struct Neg {
  template <class T> static T apply(T a) { return Sub::apply(T{0}, a); }
};
// a * b of 24 bits
struct Mul24 {
  template <class T> static int64_t product(T a, T b) {
    if (std::is_signed_v<T>)
      return int64_t{static_cast<int32_t>(static_cast<uint32_t>(a) << 8) >> 8} *
             (static_cast<int32_t>(static_cast<uint32_t>(b) << 8) >> 8);
    return static_cast<int64_t>(uint64_t{static_cast<uint32_t>(a) & 0xffffff} * (static_cast<uint32_t>(b) & 0xffffff));
  }
  template <class T> static T apply(T a, T b) { return static_cast<T>(product(a, b)); }
};
struct Mad24 {
  template <class T> static T apply(T a, T b, T c) { return Add::apply(Mul24::apply(a, b), c); }
};
struct Sad {
  template <class T> static T apply(T a, T b, T c) {
    return Add::apply(c, a < b ? Sub::apply(b, a) : Sub::apply(a, b));
  }
};

template <class F> struct Unary {
  template <class T> struct Make {
    static constexpr Handler handler = unary<F, T, T>;
  };
};
template <class F> struct Binary {
  template <class T> struct Make {
    static constexpr Handler handler = binary<F, T, T>;
  };
};
template <class F> struct Ternary {
  template <class T> struct Make {
    static constexpr Handler handler = ternary<F, T, T>;
  };
};

bool is_integer(Type type) { return type >= Type::u16 && type <= Type::s64 && type != Type::s8; }

// Carries are kept in a predicate of the whole program: the condition code register. (flags: its number)
template <class T, bool subtract> Flow carry(Warp& warp, const Instruction& i, uint32_t mask) {
  T *d = row<T>(warp, i.d), *a = row<T>(warp, i.a), *b = row<T>(warp, i.b);
  uint32_t& code = warp.predicates[i.extra];
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    T in = (i.flags & 1) ? static_cast<T>(code >> lane & 1) : T{0}, sum, total;
    bool first =
        subtract ? __builtin_sub_overflow(a[lane], b[lane], &sum) : __builtin_add_overflow(a[lane], b[lane], &sum);
    bool second = subtract ? __builtin_sub_overflow(sum, in, &total) : __builtin_add_overflow(sum, in, &total);
    d[lane] = total;
    if (i.flags & 2) code = (code & ~(1u << lane)) | static_cast<uint32_t>(first || second) << lane;
  }
  return Flow::next;
}

// mad{c}.lo/hi.cc: d = part of a * b + c
template <class T> Flow mad_carry(Warp& warp, const Instruction& i, uint32_t mask) {
  T *d = row<T>(warp, i.d), *a = row<T>(warp, i.a), *b = row<T>(warp, i.b), *c = row<T>(warp, i.c);
  uint32_t& code = warp.predicates[i.extra];
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    T product = (i.flags & 4) ? MulHigh::apply(a[lane], b[lane]) : MulLow::apply(a[lane], b[lane]);
    T in = (i.flags & 1) ? static_cast<T>(code >> lane & 1) : T{0}, sum, total;
    Unsigned<T> u, v;
    bool first = __builtin_add_overflow(static_cast<Unsigned<T>>(product), static_cast<Unsigned<T>>(c[lane]), &u);
    bool second = __builtin_add_overflow(u, static_cast<Unsigned<T>>(in), &v);
    sum = static_cast<T>(v), total = sum;
    d[lane] = total;
    if (i.flags & 2) code = (code & ~(1u << lane)) | static_cast<uint32_t>(first || second) << lane;
  }
  return Flow::next;
}

template <bool subtract> void decode_carry(Decoder& decoder, bool in) {
  bool out = decoder.take("cc");
  Type type = decoder.take_type();
  bool wide = size_of(type) == 8;
  if (!is_integer(type) && type != Type::b32 && type != Type::b64) decoder.error("expected an integer type");
  Handler handler = wide ? carry<uint64_t, subtract> : size_of(type) == 4 ? carry<uint32_t, subtract> : nullptr;
  Instruction& instruction = emit_values(decoder, handler, type, 2);
  instruction.extra = decoder.carry_predicate();
  instruction.flags = (in ? 1u : 0u) | (out ? 2u : 0u);
}

void decode_mad(Decoder& decoder, bool carry_in) {
  bool low = decoder.take("lo"), high = !low && decoder.take("hi"), wide = !low && !high && decoder.take("wide");
  bool carry_out = decoder.take("cc");
  Type type = decoder.take_type();
  if (!is_integer(type) || (!low && !high && !wide)) decoder.error("expected .lo, .hi or .wide and an integer type");
  if (carry_in || carry_out) {
    Handler handler = type == Type::u32   ? mad_carry<uint32_t>
                      : type == Type::s32 ? mad_carry<int32_t>
                      : type == Type::u64 ? mad_carry<uint64_t>
                      : type == Type::s64 ? mad_carry<int64_t>
                                          : nullptr;
    Instruction& instruction = emit_values(decoder, wide ? nullptr : handler, type, 3);
    instruction.extra = decoder.carry_predicate();
    instruction.flags = (carry_in ? 1u : 0u) | (carry_out ? 2u : 0u) | (high ? 4u : 0u);
    return;
  }
  if (low) {
    emit_values(decoder, for_integer<Ternary<MadLow>::Make>(type), type, 3);
  } else if (high) {
    emit_values(decoder, for_integer<Ternary<MadHigh>::Make>(type), type, 3);
  } else {
    decoder.expect_operands(4, 4);
    Type result = type == Type::u16   ? Type::u32
                  : type == Type::s16 ? Type::s32
                  : type == Type::u32 ? Type::u64
                                      : Type::s64;
    Handler handler = type == Type::u16   ? ternary<MadWide, uint32_t, uint16_t, uint16_t, uint32_t>
                      : type == Type::s16 ? ternary<MadWide, int32_t, int16_t, int16_t, int32_t>
                      : type == Type::u32 ? ternary<MadWide, uint64_t, uint32_t, uint32_t, uint64_t>
                      : type == Type::s32 ? ternary<MadWide, int64_t, int32_t, int32_t, int64_t>
                                          : nullptr;
    uint32_t a = decoder.source(1, type), b = decoder.source(2, type), c = decoder.source(3, result);
    uint32_t d = decoder.destination(0, result);
    Instruction& instruction = decoder.emit(handler);
    instruction.d = d, instruction.a = a, instruction.b = b, instruction.c = c;
  }
}

void decode_mul(Decoder& decoder, Type type) {
  if (decoder.take("lo")) {
    emit_values(decoder, for_integer<Binary<MulLow>::Make>(type), type, 2);
  } else if (decoder.take("hi")) {
    emit_values(decoder, for_integer<Binary<MulHigh>::Make>(type), type, 2);
  } else if (decoder.take("wide")) {
    decoder.expect_operands(3, 3);
    Type result = type == Type::u16   ? Type::u32
                  : type == Type::s16 ? Type::s32
                  : type == Type::u32 ? Type::u64
                                      : Type::s64;
    Handler handler = type == Type::u16   ? binary<MulWide, uint32_t, uint16_t>
                      : type == Type::s16 ? binary<MulWide, int32_t, int16_t>
                      : type == Type::u32 ? binary<MulWide, uint64_t, uint32_t>
                      : type == Type::s32 ? binary<MulWide, int64_t, int32_t>
                                          : nullptr;
    uint32_t a = decoder.source(1, type), b = decoder.source(2, type), d = decoder.destination(0, result);
    Instruction& instruction = decoder.emit(handler);
    instruction.d = d, instruction.a = a, instruction.b = b;
  } else {
    decoder.error("expected .lo, .hi or .wide");
  }
}

template <class F> void decode_24(Decoder& decoder, size_t sources) {
  if (!decoder.take("lo")) decoder.error("expected .lo");
  Type type = decoder.take_type();
  Handler handler = nullptr;
  if constexpr (std::is_same_v<F, Mul24>)
    handler = type == Type::u32   ? binary<F, uint32_t, uint32_t>
              : type == Type::s32 ? binary<F, int32_t, int32_t>
                                  : nullptr;
  else
    handler = type == Type::u32   ? ternary<F, uint32_t, uint32_t>
              : type == Type::s32 ? ternary<F, int32_t, int32_t>
                                  : nullptr;
  emit_values(decoder, handler, type, sources);
}

} // namespace

// Called for the opcodes that floats share (add, sub, mul, min, max, abs, neg, div, mad), once the type is known.
bool decode_integer_arithmetic(Decoder& decoder, std::string_view opcode, Type type) {
  if (!is_integer(type)) return false;
  if ((opcode == "add" || opcode == "sub") && decoder.take("sat")) {
    Handler handler = type != Type::s32 ? nullptr
                      : opcode == "add" ? binary<AddSaturated, int32_t, int32_t>
                                        : binary<SubSaturated, int32_t, int32_t>;
    emit_values(decoder, handler, type, 2);
  } else if (opcode == "add") {
    emit_values(decoder, for_integer<Binary<Add>::Make>(type), type, 2);
  } else if (opcode == "sub") {
    emit_values(decoder, for_integer<Binary<Sub>::Make>(type), type, 2);
  } else if (opcode == "mul") {
    decode_mul(decoder, type);
  } else if (opcode == "div") {
    emit_values(decoder, for_integer<Binary<Div>::Make>(type), type, 2);
  } else if (opcode == "min") {
    emit_values(decoder, for_integer<Binary<Min>::Make>(type), type, 2);
  } else if (opcode == "max") {
    emit_values(decoder, for_integer<Binary<Max>::Make>(type), type, 2);
  } else if (opcode == "abs") {
    emit_values(decoder, is_signed(type) ? for_integer<Unary<Abs>::Make>(type) : nullptr, type, 1);
  } else if (opcode == "neg") {
    emit_values(decoder, is_signed(type) ? for_integer<Unary<Neg>::Make>(type) : nullptr, type, 1);
  } else {
    return false;
  }
  return true;
}

bool decode_add_carry(Decoder& decoder, bool subtract) {
  if (!decoder.has("cc")) return false;
  subtract ? decode_carry<true>(decoder, false) : decode_carry<false>(decoder, false);
  return true;
}

void register_integer(Registry& registry) {
  registry["addc"] = [](Decoder& decoder) { decode_carry<false>(decoder, true); };
  registry["subc"] = [](Decoder& decoder) { decode_carry<true>(decoder, true); };
  registry["mad"] = [](Decoder& decoder) { decode_mad(decoder, false); };
  registry["madc"] = [](Decoder& decoder) { decode_mad(decoder, true); };
  registry["mul24"] = [](Decoder& decoder) { decode_24<Mul24>(decoder, 2); };
  registry["mad24"] = [](Decoder& decoder) { decode_24<Mad24>(decoder, 3); };
  registry["rem"] = [](Decoder& decoder) {
    Type type = decoder.take_type();
    emit_values(decoder, is_integer(type) ? for_integer<Binary<Rem>::Make>(type) : nullptr, type, 2);
  };
  registry["sad"] = [](Decoder& decoder) {
    Type type = decoder.take_type();
    emit_values(decoder, is_integer(type) ? for_integer<Ternary<Sad>::Make>(type) : nullptr, type, 3);
  };
}

} // namespace emulator
