// The CPU's elementwise functions (native/cpu/math.inc) on scalars: the same operations in the same order, so that
// the GPU computes the bits that a CPU tier with fused multiply-adds does. Compiled with --fmad=false.
#pragma once

#include <cstdint>

#ifndef NODEVAE_INLINE
#define NODEVAE_INLINE __device__ __forceinline__
#endif

namespace nodevae::cuda {

using Vector = float;
using Integers = int32_t;
using Words = uint32_t;
using Doubles = double;

NODEVAE_INLINE Vector v_splat(float x) { return x; }
NODEVAE_INLINE Integers i_splat(int32_t x) { return x; }
NODEVAE_INLINE Integers mask(bool comparison) { return -static_cast<int32_t>(comparison); }
NODEVAE_INLINE Integers integers(Words x) { return static_cast<int32_t>(x); }
NODEVAE_INLINE Words words(Integers x) { return static_cast<uint32_t>(x); }
#define NODEVAE_CONVERT(To, x) static_cast<To>(x)

#ifdef __CUDACC__
NODEVAE_INLINE Integers bits(Vector x) { return __float_as_int(x); }
NODEVAE_INLINE Vector from_bits(Integers x) { return __int_as_float(x); }
NODEVAE_INLINE Vector v_multiply_add(Vector a, Vector b, Vector c) { return __fmaf_rn(a, b, c); }
NODEVAE_INLINE Vector v_sqrt(Vector x) { return __fsqrt_rn(x); }
NODEVAE_INLINE uint64_t high_product(uint64_t a, uint64_t b) { return __umul64hi(a, b); }
#else // the check of these functions on the host
NODEVAE_INLINE Integers bits(Vector x) {
  int32_t y;
  __builtin_memcpy(&y, &x, sizeof y);
  return y;
}
NODEVAE_INLINE Vector from_bits(Integers x) {
  float y;
  __builtin_memcpy(&y, &x, sizeof y);
  return y;
}
NODEVAE_INLINE Vector v_multiply_add(Vector a, Vector b, Vector c) { return __builtin_fmaf(a, b, c); }
NODEVAE_INLINE Vector v_sqrt(Vector x) { return __builtin_sqrtf(x); }
NODEVAE_INLINE uint64_t high_product(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b >> 64);
}
#endif
NODEVAE_INLINE Words words(Vector x) { return static_cast<uint32_t>(bits(x)); }

NODEVAE_INLINE Vector sine_beyond(Vector y, Integers beyond, Vector x, int32_t shift);

#include "../cpu/math.inc"

// Bits [32 i, 32 i + 32) of the binary fraction of 2 / pi. Selected one by one: a table would have to be carried
// into every kernel that a program is spliced into.
NODEVAE_INLINE uint32_t two_over_pi(int i) {
  uint32_t word = 0xa2f9836eu;
  word = i == 1 ? 0x4e441529u : word;
  word = i == 2 ? 0xfc2757d1u : word;
  word = i == 3 ? 0xf534ddc0u : word;
  word = i == 4 ? 0xdb629599u : word;
  word = i == 5 ? 0x3c439041u : word;
  word = i == 6 ? 0xfe5163abu : word;
  return word;
}

// sin(x + shift * pi / 2) for |x| = m 2^e >= 2^22. Bits of 2 / pi of weight 2^(2 - e) and above add whole turns to
// m 2^e (2 / pi), which counts quarters of a turn; the 128 bits behind them are enough for the rest (Payne and Hanek,
// Radian reduction for trigonometric functions, 1983).
NODEVAE_INLINE Vector sine_beyond(Vector y, Integers beyond, Vector x, int32_t shift) {
  if (beyond == 0) return y;
  const int32_t word = bits(x), exponent = (word >> 23 & 255) - 150;
  if (exponent > 104) return x - x; // infinity and NaN
  const uint64_t m = static_cast<uint64_t>((word & 0x7fffff) | 0x800000);
  const int first = exponent > 2 ? exponent - 2 : 0, place = first >> 5, left = first & 31;
  const uint64_t upper = static_cast<uint64_t>(two_over_pi(place)) << 32 | two_over_pi(place + 1);
  const uint64_t lower = static_cast<uint64_t>(two_over_pi(place + 2)) << 32 | two_over_pi(place + 3);
  uint64_t high = left == 0 ? upper : upper << left | lower >> (64 - left), low = lower << left;
  const int right = exponent < 2 ? 2 - exponent : 0; // no bit is left out
  if (right != 0) low = high << (64 - right) | low >> right, high >>= right;
  const uint64_t turns = m * high + high_product(m, low); // the fraction of a turn, times 2^64
  const uint64_t quarters = (turns + (uint64_t{1} << 61)) >> 62;
  const double r = static_cast<double>(static_cast<int64_t>(turns - (quarters << 62))) * 3.4061215800865545e-19;
  const int32_t quadrant = static_cast<int32_t>(quarters & 3);
  return sine_in_quadrant(static_cast<float>(word < 0 ? -r : r), (word < 0 ? -quadrant : quadrant) + shift);
}

} // namespace nodevae::cuda
