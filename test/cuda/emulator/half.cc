// f16 and bf16, one value or two in a register.
#include "numbers.h"

namespace emulator {

float half_to_float(uint16_t half) {
  uint32_t sign = uint32_t{half & 0x8000u} << 16, exponent = half >> 10 & 31u, fraction = half & 1023u;
  if (exponent == 31) return bits_as<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent == 0) {
    float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return bits_as<float>(bits_as<uint32_t>(magnitude) | sign);
  }
  return bits_as<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

namespace {

// Rounds |value| to a multiple of the unit of its binade: `digits` significant bits, exponents from `least` on.
double round_magnitude(double value, int digits, int least, Rounding rounding) {
  int exponent;
  std::frexp(value, &exponent); // value = f * 2^exponent, 0.5 <= f < 1
  int unit = std::max(exponent - digits, least);
  double scaled = std::ldexp(value, -unit); // exact
  double rounded = rounding == Rounding::zero ? std::trunc(scaled) : std::nearbyint(scaled);
  return std::ldexp(rounded, unit);
}

} // namespace

uint16_t float_to_half(double value, Rounding rounding) {
  if (value != value) return 0x7fff;
  uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  double magnitude = std::fabs(value);
  if (std::isinf(magnitude)) return sign | 0x7c00;
  magnitude = magnitude == 0 ? 0 : round_magnitude(magnitude, 11, -24, rounding);
  if (magnitude > 65504) return static_cast<uint16_t>(sign | (rounding == Rounding::zero ? 0x7bff : 0x7c00));
  if (magnitude < 0x1p-14) return static_cast<uint16_t>(sign | static_cast<uint16_t>(magnitude * 0x1p24));
  uint32_t bits = bits_as<uint32_t>(static_cast<float>(magnitude));
  return static_cast<uint16_t>(sign | ((bits >> 23) - 112) << 10 | (bits >> 13 & 1023));
}

uint16_t float_to_bfloat(double value, Rounding rounding) {
  if (value != value) return 0x7fff;
  uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  double magnitude = std::fabs(value);
  if (std::isinf(magnitude)) return sign | 0x7f80;
  magnitude = magnitude == 0 ? 0 : round_magnitude(magnitude, 8, -133, rounding);
  if (magnitude >= 0x1p128) return static_cast<uint16_t>(sign | (rounding == Rounding::zero ? 0x7f7f : 0x7f80));
  return static_cast<uint16_t>(sign | bits_as<uint32_t>(static_cast<float>(magnitude)) >> 16);
}

namespace {

struct HalfFormat {
  static double wide(uint16_t bits) { return half_to_float(bits); }
  static uint16_t narrow(double value) { return float_to_half(value, Rounding::nearest); }
};
struct BfloatFormat {
  static double wide(uint16_t bits) { return bfloat_to_float(bits); }
  static uint16_t narrow(double value) { return float_to_bfloat(value, Rounding::nearest); }
};

double sum_to_odd(double a, double b) {
  double error, sum = two_sum(a, b, error);
  return round_to_odd(sum, error);
}

enum class Operation : uint32_t { add, sub, mul, fma, min, max, min_nan, max_nan, abs, neg };

template <class Format> uint16_t compute(Operation operation, uint16_t x, uint16_t y, uint16_t z) {
  double a = Format::wide(x), b = Format::wide(y), c = Format::wide(z);
  auto least = [](double p, double q) {
    return p != p ? q : q != q ? p : p < q || (p == q && std::signbit(p)) ? p : q;
  };
  auto most = [](double p, double q) { return p != p ? q : q != q ? p : p > q || (p == q && std::signbit(q)) ? p : q; };
  switch (operation) {
  case Operation::add:
    return Format::narrow(sum_to_odd(a, b));
  case Operation::sub:
    return Format::narrow(sum_to_odd(a, -b));
  case Operation::mul:
    return Format::narrow(a * b); // exact
  case Operation::fma:
    return Format::narrow(sum_to_odd(a * b, c));
  case Operation::min_nan:
    return Format::narrow(a != a || b != b ? a + b : least(a, b));
  case Operation::max_nan:
    return Format::narrow(a != a || b != b ? a + b : most(a, b));
  case Operation::min:
    return Format::narrow(least(a, b));
  case Operation::max:
    return Format::narrow(most(a, b));
  case Operation::abs:
    return x & 0x7fff;
  case Operation::neg:
    return x ^ 0x8000;
  }
  return 0;
}

// flags: the operation; 32: ReLU (a negative result or NaN: 0 or NaN); 64: saturate to [0, 1]
template <class Format, class Register> Flow arithmetic(Warp& warp, const Instruction& i, uint32_t mask) {
  Register *d = row<Register>(warp, i.d), *a = row<Register>(warp, i.a), *b = row<Register>(warp, i.b),
           *c = row<Register>(warp, i.c);
  Operation operation = static_cast<Operation>(i.flags & 31);
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    uint32_t result = 0;
    for (size_t part = 0; part < sizeof(Register) / 2; ++part) {
      auto take = [&](Register* from) { return static_cast<uint16_t>(uint32_t{from[lane]} >> (16 * part)); };
      uint16_t value = compute<Format>(operation, take(a), take(b), take(c));
      double wide = Format::wide(value);
      if (i.flags & 32 && wide < 0) value = 0;
      if (i.flags & 64) value = Format::narrow(saturate(wide));
      result |= uint32_t{value} << (16 * part);
    }
    d[lane] = static_cast<Register>(result);
  }
  return Flow::next;
}

} // namespace

bool decode_half(Decoder& decoder, std::string_view opcode, Type type) {
  bool half = type == Type::f16 || type == Type::f16x2, bfloat = type == Type::bf16 || type == Type::bf16x2;
  if (!half && !bfloat) return false;
  bool nan = (opcode == "min" || opcode == "max") && decoder.take("NaN");
  Operation operation = opcode == "add"   ? Operation::add
                        : opcode == "sub" ? Operation::sub
                        : opcode == "mul" ? Operation::mul
                        : opcode == "fma" ? Operation::fma
                        : opcode == "min" ? (nan ? Operation::min_nan : Operation::min)
                        : opcode == "max" ? (nan ? Operation::max_nan : Operation::max)
                        : opcode == "abs" ? Operation::abs
                                          : Operation::neg;
  if (opcode == "div") return false;
  bool sum = operation == Operation::add || operation == Operation::sub || operation == Operation::mul;
  if (bfloat) decoder.need(sum ? 90 : 80, "arithmetic of bf16");
  if (operation == Operation::fma && !decoder.has("rn")) decoder.error("expected .rn");
  if (sum || operation == Operation::fma) decoder.take("rn");
  bool relu = operation == Operation::fma && decoder.take("relu");
  bool sat = half && (sum || operation == Operation::fma) && decoder.take("sat");
  size_t sources = operation == Operation::fma ? 3 : operation >= Operation::abs ? 1 : 2;
  bool pair = size_of(type) == 4;
  Handler handler = half ? (pair ? arithmetic<HalfFormat, uint32_t> : arithmetic<HalfFormat, uint16_t>)
                         : (pair ? arithmetic<BfloatFormat, uint32_t> : arithmetic<BfloatFormat, uint16_t>);
  Instruction& instruction = emit_values(decoder, handler, type, sources);
  if (sources < 2) instruction.b = instruction.a; // rows that are there, whatever they hold
  if (sources < 3) instruction.c = instruction.a;
  instruction.flags = static_cast<uint32_t>(operation) | (relu ? 32u : 0u) | (sat ? 64u : 0u);
  return true;
}

} // namespace emulator
