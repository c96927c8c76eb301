// Arithmetic of f32 and f64.
#include "numbers.h"

namespace emulator {

bool decode_integer_arithmetic(Decoder& decoder, std::string_view opcode, Type type);
bool decode_add_carry(Decoder& decoder, bool subtract);
bool decode_half(Decoder& decoder, std::string_view opcode, Type type);

namespace {

// Operations, before NaNs are made canonical.
struct Add {
  template <class T> static T apply(T a, T b) { return a + b; }
  static float directed(float a, float b, Rounding rounding) {
    double error, sum = two_sum(a, b, error);
    if (sum == 0 && error == 0) { // exact zeros: -0 only when rounding down, or from two of them
      bool both = std::signbit(a) && std::signbit(b), unequal = std::signbit(a) != std::signbit(b);
      return both || (unequal && rounding == Rounding::down) ? -0.0f : 0.0f;
    }
    return round_to_float(sum, error, rounding);
  }
};
struct Sub {
  template <class T> static T apply(T a, T b) { return a - b; }
  static float directed(float a, float b, Rounding rounding) { return Add::directed(a, -b, rounding); }
};
struct Mul {
  template <class T> static T apply(T a, T b) { return a * b; }
  static float directed(float a, float b, Rounding rounding) {
    return round_to_float(static_cast<double>(a) * b, 0, rounding);
  }
};
struct Fma {
  static float apply(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  static double apply(double a, double b, double c) { return __builtin_fma(a, b, c); }
  static float directed(float a, float b, float c, Rounding rounding) {
    double product = static_cast<double>(a) * b, error, sum = two_sum(product, c, error);
    if (sum == 0 && error == 0) {
      bool p = std::signbit(product), q = std::signbit(c);
      return (p && q) || (p != q && rounding == Rounding::down) ? -0.0f : 0.0f;
    }
    return round_to_float(sum, error, rounding);
  }
};
struct Div {
  template <class T> static T apply(T a, T b) { return a / b; }
};
// -0 is less than +0; a NaN gives the other operand.
struct Min {
  template <class T> static T apply(T a, T b) {
    T least = a < b ? a : b < a ? b : std::signbit(a) ? a : b;
    return a == a ? (b == b ? least : a) : b;
  }
};
struct Max {
  template <class T> static T apply(T a, T b) {
    T most = a > b ? a : b > a ? b : std::signbit(a) ? b : a;
    return a == a ? (b == b ? most : a) : b;
  }
};
template <class F> struct OrNan { // min.NaN, max.NaN
  template <class T> static T apply(T a, T b) { return a == a && b == b ? F::apply(a, b) : a + b; }
};

template <class F, class T, bool ftz, bool sat> struct Binary {
  static T apply(T a, T b) {
    if constexpr (sizeof(T) == 4) a = flush_if<ftz>(a), b = flush_if<ftz>(b);
    T result = canonical(F::apply(a, b));
    if constexpr (sizeof(T) == 4) result = flush_if<ftz>(result);
    return sat ? saturate(result) : result;
  }
};
template <class T, bool ftz, bool sat> struct Ternary {
  static T apply(T a, T b, T c) {
    if constexpr (sizeof(T) == 4) a = flush_if<ftz>(a), b = flush_if<ftz>(b), c = flush_if<ftz>(c);
    T result = canonical(Fma::apply(a, b, c));
    if constexpr (sizeof(T) == 4) result = flush_if<ftz>(result);
    return sat ? saturate(result) : result;
  }
};

// Directed roundings: flags hold the rounding, 4: ftz, 8: sat.
template <class F> Flow directed2(Warp& warp, const Instruction& i, uint32_t mask) {
  float *d = row<float>(warp, i.d), *a = row<float>(warp, i.a), *b = row<float>(warp, i.b);
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    bool ftz = i.flags & 4;
    float x = ftz ? flush(a[lane]) : a[lane], y = ftz ? flush(b[lane]) : b[lane];
    float result = canonical(F::directed(x, y, static_cast<Rounding>(i.flags & 3)));
    if (ftz) result = flush(result);
    d[lane] = i.flags & 8 ? saturate(result) : result;
  }
  return Flow::next;
}
Flow directed3(Warp& warp, const Instruction& i, uint32_t mask) {
  float *d = row<float>(warp, i.d), *a = row<float>(warp, i.a), *b = row<float>(warp, i.b), *c = row<float>(warp, i.c);
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    bool ftz = i.flags & 4;
    float x = ftz ? flush(a[lane]) : a[lane], y = ftz ? flush(b[lane]) : b[lane], z = ftz ? flush(c[lane]) : c[lane];
    float result = canonical(Fma::directed(x, y, z, static_cast<Rounding>(i.flags & 3)));
    if (ftz) result = flush(result);
    d[lane] = i.flags & 8 ? saturate(result) : result;
  }
  return Flow::next;
}

Rounding take_rounding(Decoder& decoder) {
  std::string_view name = decoder.first_of({"rn", "rz", "rm", "rp"});
  return name == "rz"   ? Rounding::zero
         : name == "rm" ? Rounding::down
         : name == "rp" ? Rounding::up
                        : Rounding::nearest;
}

template <class F> Handler nearest_handler(Type type, bool ftz, bool sat) {
  if (type == Type::f64) return ftz || sat ? nullptr : binary<Binary<F, double, false, false>, double, double>;
  if (type != Type::f32) return nullptr;
  if (ftz)
    return sat ? binary<Binary<F, float, true, true>, float, float>
               : binary<Binary<F, float, true, false>, float, float>;
  return sat ? binary<Binary<F, float, false, true>, float, float>
             : binary<Binary<F, float, false, false>, float, float>;
}

template <class F> void decode_sum(Decoder& decoder, Type type) { // add, sub, mul
  Rounding rounding = take_rounding(decoder);
  bool ftz = decoder.take("ftz"), sat = decoder.take("sat");
  if (rounding == Rounding::nearest) {
    emit_values(decoder, nearest_handler<F>(type, ftz, sat), type, 2);
    return;
  }
  Instruction& instruction = emit_values(decoder, type == Type::f32 ? directed2<F> : nullptr, type, 2);
  instruction.flags = static_cast<uint32_t>(rounding) | (ftz ? 4u : 0u) | (sat ? 8u : 0u);
}

void decode_fma(Decoder& decoder, Type type) {
  if (!decoder.has("rn") && !decoder.has("rz") && !decoder.has("rm") && !decoder.has("rp"))
    decoder.error("expected a rounding: .rn, .rz, .rm or .rp");
  Rounding rounding = take_rounding(decoder);
  bool ftz = decoder.take("ftz"), sat = decoder.take("sat");
  if (type == Type::f64) {
    bool plain = rounding == Rounding::nearest && !ftz && !sat;
    emit_values(decoder, plain ? ternary<Ternary<double, false, false>, double, double> : nullptr, type, 3);
  } else if (rounding != Rounding::nearest) {
    Instruction& instruction = emit_values(decoder, directed3, type, 3);
    instruction.flags = static_cast<uint32_t>(rounding) | (ftz ? 4u : 0u) | (sat ? 8u : 0u);
  } else {
    Handler handler = ftz ? (sat ? ternary<Ternary<float, true, true>, float, float>
                                 : ternary<Ternary<float, true, false>, float, float>)
                          : (sat ? ternary<Ternary<float, false, true>, float, float>
                                 : ternary<Ternary<float, false, false>, float, float>);
    emit_values(decoder, handler, type, 3);
  }
}

template <class F> void decode_extremum(Decoder& decoder, Type type) {
  bool ftz = decoder.take("ftz"), nan = decoder.take("NaN");
  if (nan) decoder.need(80, ".NaN");
  if (type == Type::f64 && nan) decoder.error("no .NaN for .f64");
  emit_values(decoder, nan ? nearest_handler<OrNan<F>>(type, ftz, false) : nearest_handler<F>(type, ftz, false), type,
              2);
}

struct Abs {
  static uint32_t apply(uint32_t a) { return a & 0x7fffffffu; }
  static uint64_t apply(uint64_t a) { return a & 0x7fffffffffffffffull; }
};
struct Neg {
  static uint32_t apply(uint32_t a) { return a ^ 0x80000000u; }
  static uint64_t apply(uint64_t a) { return a ^ 0x8000000000000000ull; }
};
template <class F> struct Flushed {
  static uint32_t apply(uint32_t a) { return F::apply(bits_as<uint32_t>(flush(bits_as<float>(a)))); }
};

template <class F> void decode_sign(Decoder& decoder, Type type) {
  bool ftz = decoder.take("ftz");
  Handler handler = type == Type::f64 ? (ftz ? nullptr : unary<F, uint64_t, uint64_t>)
                    : ftz             ? unary<Flushed<F>, uint32_t, uint32_t>
                                      : unary<F, uint32_t, uint32_t>;
  emit_values(decoder, handler, type, 1);
}

void decode_division(Decoder& decoder, Type type) {
  if (decoder.first_of({"rn", "approx", "full"}).empty()) decoder.error("expected .rn, .approx or .full");
  bool ftz = decoder.take("ftz");
  emit_values(decoder, nearest_handler<Div>(type, ftz, false), type, 2);
}

struct CopySign { // of a, with the magnitude of b
  static uint32_t apply(uint32_t a, uint32_t b) { return (a & 0x80000000u) | (b & 0x7fffffffu); }
  static uint64_t apply(uint64_t a, uint64_t b) { return (a & (1ull << 63)) | (b & ~(1ull << 63)); }
};

// testp. flags: 0 finite, 1 infinite, 2 number, 3 notanumber, 4 normal, 5 subnormal; 8: of f64
Flow test_property(Warp& warp, const Instruction& i, uint32_t mask) {
  const float* a = row<float>(warp, i.a);
  const double* b = row<double>(warp, i.a);
  bool wide = i.flags & 8;
  uint32_t bits = test_lanes([&](int lane) {
    int kind = wide ? std::fpclassify(b[lane]) : std::fpclassify(a[lane]);
    switch (i.flags & 7) {
    case 0:
      return kind != FP_NAN && kind != FP_INFINITE;
    case 1:
      return kind == FP_INFINITE;
    case 2:
      return kind != FP_NAN;
    case 3:
      return kind == FP_NAN;
    case 4:
      return kind == FP_NORMAL;
    default:
      return kind == FP_SUBNORMAL;
    }
  });
  write_predicate(warp, i.d, mask, bits);
  return Flow::next;
}

template <int which> void decode_arithmetic(Decoder& decoder) {
  static constexpr const char* names[] = {"add", "sub", "mul", "min", "max", "abs", "neg", "div", "fma"};
  std::string_view opcode = names[which];
  if (which < 2 && decode_add_carry(decoder, which == 1)) return;
  Type type = decoder.take_type();
  if (type == Type::f32 || type == Type::f64) {
    switch (which) {
    case 0:
      return decode_sum<Add>(decoder, type);
    case 1:
      return decode_sum<Sub>(decoder, type);
    case 2:
      return decode_sum<Mul>(decoder, type);
    case 3:
      return decode_extremum<Min>(decoder, type);
    case 4:
      return decode_extremum<Max>(decoder, type);
    case 5:
      return decode_sign<Abs>(decoder, type);
    case 6:
      return decode_sign<Neg>(decoder, type);
    case 7:
      return decode_division(decoder, type);
    default:
      return decode_fma(decoder, type);
    }
  }
  if (decode_integer_arithmetic(decoder, opcode, type) || decode_half(decoder, opcode, type)) return;
  decoder.error("this type is not supported");
}

} // namespace

void register_float(Registry& registry) {
  registry["add"] = decode_arithmetic<0>;
  registry["sub"] = decode_arithmetic<1>;
  registry["mul"] = decode_arithmetic<2>;
  registry["min"] = decode_arithmetic<3>;
  registry["max"] = decode_arithmetic<4>;
  registry["abs"] = decode_arithmetic<5>;
  registry["neg"] = decode_arithmetic<6>;
  registry["div"] = decode_arithmetic<7>;
  registry["fma"] = decode_arithmetic<8>;
  registry["copysign"] = [](Decoder& decoder) {
    Type type = decoder.take_type();
    Handler handler = type == Type::f32   ? binary<CopySign, uint32_t, uint32_t>
                      : type == Type::f64 ? binary<CopySign, uint64_t, uint64_t>
                                          : nullptr;
    emit_values(decoder, handler, type, 2);
  };
  registry["testp"] = [](Decoder& decoder) {
    uint32_t which = 0;
    for (const char* name : {"finite", "infinite", "number", "notanumber", "normal", "subnormal"}) {
      if (decoder.take(name)) break;
      ++which;
    }
    if (which == 6) decoder.error("expected .finite, .infinite, .number, .notanumber, .normal or .subnormal");
    Type type = decoder.take_type();
    decoder.expect_operands(2, 2);
    uint32_t a = decoder.source(1, type), d = decoder.predicate_destination(decoder.operand(0));
    Instruction& instruction = decoder.emit(type == Type::f32 || type == Type::f64 ? test_property : nullptr);
    instruction.d = d, instruction.a = a, instruction.flags = which | (type == Type::f64 ? 8u : 0u);
  };
}

} // namespace emulator
