// Conversions between types of floating point.
#include "convert.h"

namespace emulator {
namespace {

// ---- between floating-point types. flags: rounding, 4: ftz, 8: sat, 16: relu, 32: to integral values

template <class T> inline T finish(T value, uint32_t flags) {
  if (flags & kSat) value = saturate(value);
  if (flags & kRelu && value < 0) value = 0;
  return value;
}
struct Wide { // f64, f32, f16, bf16 as doubles
  static double read(const double* a) { return *a; }
  static double read(const float* a) { return *a; }
};
template <class From> Flow float_to_double(Warp& warp, const Instruction& i, uint32_t mask) {
  double* d = row<double>(warp, i.d);
  From* a = row<From>(warp, i.a);
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    double value = Wide::read(a + lane);
    if (sizeof(From) == 4 && i.flags & kFtz) value = flush(static_cast<float>(value));
    if (i.flags & kIntegral) value = round_integral(value, static_cast<Rounding>(i.flags & 3));
    d[lane] = finish(canonical(value), i.flags);
  }
  return Flow::next;
}
template <class From> Flow float_to_float(Warp& warp, const Instruction& i, uint32_t mask) {
  float* d = row<float>(warp, i.d);
  From* a = row<From>(warp, i.a);
  Rounding rounding = static_cast<Rounding>(i.flags & 3);
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    double value = Wide::read(a + lane);
    if (sizeof(From) == 4 && i.flags & kFtz) value = flush(static_cast<float>(value));
    if (i.flags & kIntegral) value = round_integral(value, rounding);
    float result = round_to_float(value, 0, rounding);
    if (i.flags & kFtz) result = flush(result);
    d[lane] = finish(canonical(result), i.flags);
  }
  return Flow::next;
}
template <bool bfloat> Flow narrow_to_float(Warp& warp, const Instruction& i, uint32_t mask) {
  float* d = row<float>(warp, i.d);
  uint16_t* a = row<uint16_t>(warp, i.a);
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    float value = bfloat ? bfloat_to_float(a[lane]) : half_to_float(a[lane]);
    d[lane] = finish(canonical(i.flags & kFtz ? flush(value) : value), i.flags);
  }
  return Flow::next;
}
template <bool bfloat> uint16_t to_narrow(double value, uint32_t flags) {
  value = finish(value, flags);
  Rounding rounding = static_cast<Rounding>(flags & 3);
  return bfloat ? float_to_bfloat(value, rounding) : float_to_half(value, rounding);
}
template <bool bfloat, class From> Flow float_to_narrow(Warp& warp, const Instruction& i, uint32_t mask) {
  uint16_t* d = row<uint16_t>(warp, i.d);
  From* a = row<From>(warp, i.a);
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    d[lane] = to_narrow<bfloat>(Wide::read(a + lane), i.flags);
  }
  return Flow::next;
}
template <bool bfloat> Flow floats_to_pair(Warp& warp, const Instruction& i, uint32_t mask) { // a is the upper half
  uint32_t* d = row<uint32_t>(warp, i.d);
  float *a = row<float>(warp, i.a), *b = row<float>(warp, i.b);
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    d[lane] = uint32_t{to_narrow<bfloat>(a[lane], i.flags)} << 16 | to_narrow<bfloat>(b[lane], i.flags);
  }
  return Flow::next;
}

// To the 10 bits of fraction of tf32. rna: to nearest, ties away from zero; rn: ties to even.
Flow float_to_tf32(Warp& warp, const Instruction& i, uint32_t mask) {
  uint32_t *d = row<uint32_t>(warp, i.d), *a = row<uint32_t>(warp, i.a);
  uint32_t mode = i.flags;
  for_lanes(mask, [=](int lane) {
    uint32_t bits = a[lane];
    bool finite = (bits & 0x7f800000u) != 0x7f800000u, nan = (bits & 0x7fffffffu) > 0x7f800000u;
    uint32_t half = mode == 0 ? 0x1000u : mode == 1 ? 0xfffu + (bits >> 13 & 1) : 0u;
    uint32_t rounded = (bits + half) & 0xffffe000u;
    d[lane] = nan ? 0x7fffffffu : finite ? rounded : bits;
  });
  return Flow::next;
}

} // namespace

Handler float_handler(Type to, Type from) {
  if (to == Type::f64)
    return from == Type::f64 ? float_to_double<double> : from == Type::f32 ? float_to_double<float> : nullptr;
  if (to == Type::f32)
    return from == Type::f64    ? float_to_float<double>
           : from == Type::f32  ? float_to_float<float>
           : from == Type::f16  ? narrow_to_float<false>
           : from == Type::bf16 ? narrow_to_float<true>
                                : nullptr;
  bool bfloat = to == Type::bf16;
  if (!bfloat && to != Type::f16) return nullptr;
  if (from == Type::f32) return bfloat ? float_to_narrow<true, float> : float_to_narrow<false, float>;
  if (from == Type::f64) return bfloat ? float_to_narrow<true, double> : float_to_narrow<false, double>;
  return nullptr;
}

Handler pair_handler(Type to) { return to == Type::f16x2 ? floats_to_pair<false> : floats_to_pair<true>; }

Handler tf32_handler() { return float_to_tf32; }

} // namespace emulator
