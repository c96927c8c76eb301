// cvt, and rows of one width from those of another.
#include <type_traits>

#include "convert.h"

namespace emulator {
namespace {

template <class To, class From> Flow resize(Warp& warp, const Instruction& i, uint32_t mask) {
  To* d = row<To>(warp, i.d);
  From* a = row<From>(warp, i.a);
  for_lanes(mask, [=](int lane) { d[lane] = static_cast<To>(a[lane]); });
  return Flow::next;
}
template <class From> Handler resize_from(uint32_t to) {
  switch (to) {
  case 1:
    return resize<uint8_t, From>;
  case 2:
    return resize<uint16_t, From>;
  case 4:
    return resize<uint32_t, From>;
  case 8:
    return resize<uint64_t, From>;
  default:
    return nullptr;
  }
}

// ---- integers to integers that saturate
template <class To, class From> Flow clamp(Warp& warp, const Instruction& i, uint32_t mask) {
  To* d = row<To>(warp, i.d);
  From* a = row<From>(warp, i.a);
  constexpr __int128 least = std::numeric_limits<To>::min(), most = std::numeric_limits<To>::max();
  for_lanes(mask, [=](int lane) {
    __int128 value = a[lane];
    d[lane] = static_cast<To>(value < least ? least : value > most ? most : value);
  });
  return Flow::next;
}

// ---- floating point to integers
// flags: rounding, 4: ftz, 8: sat
template <class To, class From, Rounding rounding> Flow to_integer(Warp& warp, const Instruction& i, uint32_t mask) {
  To* d = row<To>(warp, i.d);
  From* a = row<From>(warp, i.a);
  bool ftz = i.flags & 4;
  // Out of range saturates; NaN gives 0, and the top bit for 64-bit types, as PTX has it.
  constexpr bool wide = sizeof(From) == 8 || sizeof(To) == 8;
  constexpr To nan = wide ? static_cast<To>(uint64_t{1} << (8 * sizeof(To) - 1)) : To{0};
  const From least = static_cast<From>(std::numeric_limits<To>::min());
  const From end = static_cast<From>(std::ldexp(1.0, std::numeric_limits<To>::digits)); // 2^digits
  for_lanes(mask, [=](int lane) {
    From value = a[lane];
    if constexpr (sizeof(From) == 4) value = ftz ? flush(value) : value;
    if (value != value) {
      d[lane] = nan;
    } else {
      value = round_integral(value, rounding);
      d[lane] = value < least  ? std::numeric_limits<To>::min()
                : value >= end ? std::numeric_limits<To>::max()
                               : static_cast<To>(value);
    }
  });
  return Flow::next;
}

template <class To, class From> Flow from_integer(Warp& warp, const Instruction& i, uint32_t mask) {
  To* d = row<To>(warp, i.d);
  From* a = row<From>(warp, i.a);
  for_lanes(mask, [=](int lane) { d[lane] = static_cast<To>(a[lane]); });
  return Flow::next;
}
template <class To, class From> Flow from_integer_directed(Warp& warp, const Instruction& i, uint32_t mask) {
  To* d = row<To>(warp, i.d);
  From* a = row<From>(warp, i.a);
  Rounding rounding = static_cast<Rounding>(i.flags & 3);
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    To value = static_cast<To>(a[lane]);
    __int128 exact = a[lane], rounded = static_cast<__int128>(value);
    bool down = rounding == Rounding::down || (rounding == Rounding::zero && exact > 0);
    if (down && rounded > exact) value = std::nextafter(value, -std::numeric_limits<To>::infinity());
    if (!down && rounded < exact) value = std::nextafter(value, std::numeric_limits<To>::infinity());
    d[lane] = value;
  }
  return Flow::next;
}

template <class From> Handler to_integer_of(Type to, Rounding rounding) {
#define EMULATOR_TO_INTEGER(T)                                                                                         \
  return rounding == Rounding::zero      ? to_integer<T, From, Rounding::zero>                                         \
         : rounding == Rounding::nearest ? to_integer<T, From, Rounding::nearest>                                      \
         : rounding == Rounding::down    ? to_integer<T, From, Rounding::down>                                         \
                                         : to_integer<T, From, Rounding::up>;
  switch (to) {
  case Type::u8:
    EMULATOR_TO_INTEGER(uint8_t)
  case Type::u16:
    EMULATOR_TO_INTEGER(uint16_t)
  case Type::u32:
    EMULATOR_TO_INTEGER(uint32_t)
  case Type::u64:
    EMULATOR_TO_INTEGER(uint64_t)
  case Type::s8:
    EMULATOR_TO_INTEGER(int8_t)
  case Type::s16:
    EMULATOR_TO_INTEGER(int16_t)
  case Type::s32:
    EMULATOR_TO_INTEGER(int32_t)
  case Type::s64:
    EMULATOR_TO_INTEGER(int64_t)
  default:
    return nullptr;
  }
#undef EMULATOR_TO_INTEGER
}
template <class To> Handler from_integer_of(Type from, bool directed) {
  switch (from) {
  case Type::u8:
    return from_integer<To, uint8_t>;
  case Type::u16:
    return from_integer<To, uint16_t>;
  case Type::u32:
    return directed ? from_integer_directed<To, uint32_t> : from_integer<To, uint32_t>;
  case Type::u64:
    return directed ? from_integer_directed<To, uint64_t> : from_integer<To, uint64_t>;
  case Type::s8:
    return from_integer<To, int8_t>;
  case Type::s16:
    return from_integer<To, int16_t>;
  case Type::s32:
    return directed ? from_integer_directed<To, int32_t> : from_integer<To, int32_t>;
  case Type::s64:
    return directed ? from_integer_directed<To, int64_t> : from_integer<To, int64_t>;
  default:
    return nullptr;
  }
}
template <class To> Handler clamp_from(Type from) {
  switch (from) {
  case Type::u8:
    return clamp<To, uint8_t>;
  case Type::u16:
    return clamp<To, uint16_t>;
  case Type::u32:
    return clamp<To, uint32_t>;
  case Type::u64:
    return clamp<To, uint64_t>;
  case Type::s8:
    return clamp<To, int8_t>;
  case Type::s16:
    return clamp<To, int16_t>;
  case Type::s32:
    return clamp<To, int32_t>;
  case Type::s64:
    return clamp<To, int64_t>;
  default:
    return nullptr;
  }
}
Handler clamp_handler(Type to, Type from) {
  switch (to) {
  case Type::u8:
    return clamp_from<uint8_t>(from);
  case Type::u16:
    return clamp_from<uint16_t>(from);
  case Type::u32:
    return clamp_from<uint32_t>(from);
  case Type::u64:
    return clamp_from<uint64_t>(from);
  case Type::s8:
    return clamp_from<int8_t>(from);
  case Type::s16:
    return clamp_from<int16_t>(from);
  case Type::s32:
    return clamp_from<int32_t>(from);
  case Type::s64:
    return clamp_from<int64_t>(from);
  default:
    return nullptr;
  }
}

void decode_tf32(Decoder& decoder) {
  uint32_t mode = decoder.take("rna") ? 0 : decoder.take("rn") ? 1 : decoder.take("rz") ? 2 : 3;
  if (mode == 3) decoder.error("expected .rna, .rn or .rz");
  decoder.need(mode == 0 ? 80 : 90, "this rounding to tf32");
  if (decoder.take_type() != Type::f32) decoder.error("expected .f32");
  decoder.expect_operands(2, 2);
  uint32_t a = decoder.source(1, Type::f32), d = decoder.destination(0, Type::b32);
  Instruction& instruction = decoder.emit(tf32_handler());
  instruction.d = d, instruction.a = a, instruction.flags = mode;
}

void decode_cvt(Decoder& decoder) {
  if (decoder.take("pack")) decoder.error("cvt.pack is not supported");
  bool integral = false;
  uint32_t rounding = 0, flags = 0;
  bool given = true;
  std::string_view name = decoder.first_of({"rni", "rzi", "rmi", "rpi"});
  if (!name.empty())
    integral = true;
  else if (decoder.has("tf32"))
    name = "";
  else
    name = decoder.first_of({"rn", "rz", "rm", "rp"});
  if (name.empty())
    given = false;
  else
    rounding = name[1] == 'n' ? 0 : name[1] == 'z' ? 1 : name[1] == 'm' ? 2 : 3;
  flags = rounding | (decoder.take("ftz") ? kFtz : 0) | (decoder.take("sat") ? kSat : 0) |
          (decoder.take("relu") ? kRelu : 0) | (integral ? kIntegral : 0);
  Type to = decoder.take_type();
  if (to == Type::tf32) return decode_tf32(decoder);
  Type from = decoder.take_type();
  if (to == Type::f16x2 || to == Type::bf16x2) {
    decoder.need(80, "conversion to pairs");
    decoder.expect_operands(3, 3);
    if (from != Type::f32 || !given || integral || rounding > 1) decoder.error("expected .rn or .rz and .f32");
    uint32_t a = decoder.source(1, from), b = decoder.source(2, from), d = decoder.destination(0, to);
    Instruction& instruction = decoder.emit(pair_handler(to));
    instruction.d = d, instruction.a = a, instruction.b = b, instruction.flags = flags;
    return;
  }
  decoder.expect_operands(2, 2);
  if ((to == Type::bf16 && from == Type::f32)) decoder.need(80, "conversion to bf16");
  if (to == Type::bf16 && from == Type::f64) decoder.need(90, "conversion from f64 to bf16");
  if (from == Type::bf16) decoder.need(90, "conversion from bf16");
  Handler handler = nullptr;
  if (!is_float(to) && !is_float(from)) {
    if (given || to < Type::u8 || from < Type::u8) decoder.error("unexpected rounding or type");
    handler = flags & kSat ? clamp_handler(to, from) : resize_handler(size_of(to), from);
  } else if (!is_float(to)) {
    if (!integral) decoder.error("expected .rni, .rzi, .rmi or .rpi");
    Rounding mode = static_cast<Rounding>(rounding);
    handler = from == Type::f32   ? to_integer_of<float>(to, mode)
              : from == Type::f64 ? to_integer_of<double>(to, mode)
                                  : nullptr;
    if (from == Type::f16 || from == Type::bf16) { // through f32, which is exact
      uint32_t a = decoder.source(1, from), middle = decoder.temporary(4);
      Instruction& widen = decoder.emit(float_handler(Type::f32, from));
      widen.d = middle, widen.a = a;
      uint32_t d = decoder.destination_widened(decoder.operand(0), to);
      Instruction& instruction = decoder.emit(to_integer_of<float>(to, mode));
      instruction.d = d, instruction.a = middle, instruction.flags = flags;
      decoder.finish_widened();
      return;
    }
  } else if (!is_float(from)) {
    if (!given || integral) decoder.error("expected .rn, .rz, .rm or .rp");
    if (flags & kSat) decoder.error(".sat from an integer is not supported");
    bool directed = rounding != 0;
    if (to == Type::f16 || to == Type::bf16) {
      // Through f64: exact for up to 32 bits; 64-bit values beyond 2^53 are far above what f16 holds.
      bool bfloat = to == Type::bf16;
      if (directed || (bfloat && size_of(from) == 8)) decoder.error("this conversion is not supported");
      uint32_t a = decoder.source_narrowed(decoder.operand(1), from), middle = decoder.temporary(8);
      Instruction& widen = decoder.emit(from_integer_of<double>(from, false));
      widen.d = middle, widen.a = a;
      uint32_t d = decoder.destination(0, to);
      Instruction& instruction = decoder.emit(float_handler(to, Type::f64));
      instruction.d = d, instruction.a = middle, instruction.flags = flags;
      return;
    }
    handler = to == Type::f32   ? from_integer_of<float>(from, directed)
              : to == Type::f64 ? from_integer_of<double>(from, directed)
                                : nullptr;
  } else {
    bool narrowing = size_of(to) < size_of(from);
    if (narrowing && !given) decoder.error("expected a rounding");
    if (!narrowing && given && !integral) decoder.error("unexpected rounding");
    if (size_of(to) == 2 && rounding > 1) decoder.error("expected .rn or .rz");
    handler = float_handler(to, from);
  }
  uint32_t a = is_float(from) ? decoder.source(1, from) : decoder.source_narrowed(decoder.operand(1), from);
  uint32_t d = is_float(to) ? decoder.destination(0, to) : decoder.destination_widened(decoder.operand(0), to);
  Instruction& instruction = decoder.emit(handler);
  instruction.d = d, instruction.a = a, instruction.flags = flags;
  decoder.finish_widened();
}

} // namespace

Handler resize_handler(uint32_t to, Type from) {
  if (is_signed(from)) {
    switch (size_of(from)) {
    case 1:
      return resize_from<int8_t>(to);
    case 2:
      return resize_from<int16_t>(to);
    case 4:
      return resize_from<int32_t>(to);
    default:
      return resize_from<int64_t>(to);
    }
  }
  switch (size_of(from)) {
  case 1:
    return resize_from<uint8_t>(to);
  case 2:
    return resize_from<uint16_t>(to);
  case 4:
    return resize_from<uint32_t>(to);
  default:
    return resize_from<uint64_t>(to);
  }
}

void register_convert(Registry& registry) { registry["cvt"] = decode_cvt; }

} // namespace emulator
