// Functions of one number of floating point: rcp, sqrt, rsqrt, ex2, lg2, sin, cos, tanh. What PTX calls .approx is
// computed in double precision and rounded: closer to the exact result than on devices, within the errors that PTX
// allows.
#include "numbers.h"

namespace emulator {
namespace {

struct Reciprocal {
  template <class T> static T apply(T a) { return 1 / a; }
};
struct SquareRoot {
  static float apply(float a) { return __builtin_sqrtf(a); }
  static double apply(double a) { return __builtin_sqrt(a); }
};
struct InverseRoot {
  static float apply(float a) { return static_cast<float>(1 / __builtin_sqrt(static_cast<double>(a))); }
  static double apply(double a) { return 1 / __builtin_sqrt(a); }
};
struct Exp2 {
  static float apply(float a) { return static_cast<float>(std::exp2(static_cast<double>(a))); }
};
struct Log2 {
  static float apply(float a) { return static_cast<float>(std::log2(static_cast<double>(a))); }
};
struct Sin {
  static float apply(float a) { return static_cast<float>(std::sin(static_cast<double>(a))); }
};
struct Cos {
  static float apply(float a) { return static_cast<float>(std::cos(static_cast<double>(a))); }
};
struct Tanh {
  static float apply(float a) { return static_cast<float>(std::tanh(static_cast<double>(a))); }
};
// The approximate reciprocal and square root of a 64-bit number: of its upper half, to 20 bits of the fraction.
struct Reciprocal64 {
  static double apply(double a) {
    double upper = bits_as<double>(bits_as<uint64_t>(a) & 0xffffffff00000000ull);
    return bits_as<double>(bits_as<uint64_t>(flush(1 / flush(upper))) & 0xffffffff00000000ull);
  }
  static double flush(double a) { return std::fabs(a) < 0x1p-1022 ? std::copysign(0.0, a) : a; }
};
struct InverseRoot64 {
  static double apply(double a) {
    double upper = bits_as<double>(bits_as<uint64_t>(a) & 0xffffffff00000000ull);
    return bits_as<double>(bits_as<uint64_t>(1 / std::sqrt(Reciprocal64::flush(upper))) & 0xffffffff00000000ull);
  }
};
template <class F, bool ftz> struct Rounded {
  static float apply(float a) { return flush_if<ftz>(canonical(F::apply(flush_if<ftz>(a)))); }
  static double apply(double a) { return canonical(F::apply(a)); }
};

template <class F> Handler function_handler(bool ftz) {
  return ftz ? unary<Rounded<F, true>, float, float> : unary<Rounded<F, false>, float, float>;
}

template <class F> void decode_approximate(Decoder& decoder) { // ex2, lg2, sin, cos, tanh, rsqrt
  if (!decoder.take("approx")) decoder.error("expected .approx");
  bool ftz = decoder.take("ftz");
  Type type = decoder.take_type();
  if (type == Type::f64 && std::is_same_v<F, InverseRoot>) {
    emit_values(decoder,
                ftz ? unary<InverseRoot64, double, double> : unary<Rounded<InverseRoot, false>, double, double>, type,
                1);
    return;
  }
  emit_values(decoder, type == Type::f32 ? function_handler<F>(ftz) : nullptr, type, 1);
}

template <class F> void decode_root(Decoder& decoder) { // rcp, sqrt: .rn or .approx
  bool exact = decoder.take("rn"), approximate = !exact && decoder.take("approx"), ftz = decoder.take("ftz");
  if (!exact && !approximate) decoder.error("expected .rn or .approx (other roundings are not supported)");
  Type type = decoder.take_type();
  Handler handler = nullptr;
  if (type == Type::f32)
    handler = function_handler<F>(ftz);
  else if (type == Type::f64 && exact && !ftz)
    handler = unary<Rounded<F, false>, double, double>;
  else if (type == Type::f64 && approximate && ftz && std::is_same_v<F, Reciprocal>)
    handler = unary<Reciprocal64, double, double>;
  emit_values(decoder, handler, type, 1);
}

} // namespace

void register_functions(Registry& registry) {
  registry["rcp"] = decode_root<Reciprocal>;
  registry["sqrt"] = decode_root<SquareRoot>;
  registry["rsqrt"] = decode_approximate<InverseRoot>;
  registry["ex2"] = decode_approximate<Exp2>;
  registry["lg2"] = decode_approximate<Log2>;
  registry["sin"] = decode_approximate<Sin>;
  registry["cos"] = decode_approximate<Cos>;
  registry["tanh"] = decode_approximate<Tanh>;
}

} // namespace emulator
