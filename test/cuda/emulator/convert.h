// Handlers of cvt between types of floating point.
#pragma once

#include "numbers.h"

namespace emulator {

// Instruction::flags of a conversion: a Rounding (2 bits) and
constexpr uint32_t kFtz = 4, kSat = 8, kRelu = 16, kIntegral = 32; // kIntegral: to integral values

template <class T> inline T round_integral(T value, Rounding rounding) {
  switch (rounding) {
  case Rounding::nearest:
    return std::nearbyint(value);
  case Rounding::zero:
    return std::trunc(value);
  case Rounding::down:
    return std::floor(value);
  case Rounding::up:
    return std::ceil(value);
  }
  return value;
}

Handler float_handler(Type to, Type from); // nullptr for what is not supported
Handler pair_handler(Type to);             // two f32 to f16x2 or bf16x2
Handler tf32_handler();                    // flags: 0 rna, 1 rn, 2 rz

} // namespace emulator
