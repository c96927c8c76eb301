// Floating point as the devices compute it.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "handlers.h"

namespace emulator {

enum class Rounding { nearest, zero, down, up };

// Results that are not a number have one bit pattern.
inline float canonical(float value) { return value == value ? value : bits_as<float>(0x7fffffffu); }
inline double canonical(double value) { return value == value ? value : bits_as<double>(0xfff8000000000000ull); }

inline float flush(float value) {
  uint32_t bits = bits_as<uint32_t>(value);
  return (bits & 0x7f800000u) == 0 ? bits_as<float>(bits & 0x80000000u) : value;
}
template <bool ftz> inline float flush_if(float value) { return ftz ? flush(value) : value; }
inline float saturate(float value) { return value > 0 ? (value < 1 ? value : 1.0f) : 0.0f; } // NaN and -0 give +0
inline double saturate(double value) { return value > 0 ? (value < 1 ? value : 1.0) : 0.0; }

// sum + error = a + b exactly (Knuth's two-sum).
inline double two_sum(double a, double b, double& error) {
  double sum = a + b, b_part = sum - a;
  error = (a - (sum - b_part)) + (b - b_part);
  if (!(error == error)) error = 0;
  return sum;
}

// value + error, rounded to float. `error` is smaller than half a unit in the last place of `value`.
inline float round_to_float(double value, double error, Rounding rounding) {
  float nearest = static_cast<float>(value);
  if (!(value == value) || std::isinf(value)) return canonical(nearest);
  double away = (static_cast<double>(nearest) - value) - error; // > 0: rounded up
  bool above = away > 0, below = away < 0;
  if (rounding == Rounding::zero) rounding = value > 0 ? Rounding::down : Rounding::up;
  if (rounding == Rounding::down && above) return std::nextafterf(nearest, -INFINITY);
  if (rounding == Rounding::up && below) return std::nextafterf(nearest, INFINITY);
  return nearest;
}

// value + error rounded to odd: a rounding of the result to fewer bits is then that of the exact sum (Boldo and
// Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008).
inline double round_to_odd(double value, double error) {
  uint64_t bits = bits_as<uint64_t>(value);
  if (error == 0 || (bits & 1) || !(std::fabs(value) <= std::numeric_limits<double>::max())) return value;
  return bits_as<double>((error > 0) == (value > 0) ? bits + 1 : bits - 1);
}

// From an exact value: to nearest with ties to even, or towards zero.
float half_to_float(uint16_t half);
uint16_t float_to_half(double value, Rounding rounding);
inline float bfloat_to_float(uint16_t bits) { return bits_as<float>(uint32_t{bits} << 16); }
uint16_t float_to_bfloat(double value, Rounding rounding);

} // namespace emulator
