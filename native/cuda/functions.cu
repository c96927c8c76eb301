// Every elementwise instruction of ops.def, and noise, as functions whose bodies program_access.cc puts into the
// kernels.
#include "math.cuh"
#include "noise.cuh"

namespace nodevae::cuda {

#define UNARY(name, expression)                                                                                        \
  extern "C" __device__ float op_##name(float a) { return expression; }
#define BINARY(name, expression)                                                                                       \
  extern "C" __device__ float op_##name(float a, float b) { return expression; }
#define TERNARY(name, expression)                                                                                      \
  extern "C" __device__ float op_##name(float a, float b, float c) { return expression; }
#include "../ops.def"

// Elements 4 block ... 4 block + 3 of a draw, or that of one lane. Halves of 64-bit numbers come apart, as the
// generated code holds them in registers of 32 bits.
#define NOISE(name, Distribution)                                                                                      \
  extern "C" __device__ float4 noise_##name##_block(uint32_t block, uint32_t stream, uint32_t step_low,                \
                                                    uint32_t step_high, uint32_t seed_low, uint32_t seed_high) {       \
    float x[4];                                                                                                        \
    Distribution::apply(philox(block, stream, wide(step_low, step_high), wide(seed_low, seed_high)), x);               \
    return make_float4(x[0], x[1], x[2], x[3]);                                                                        \
  }                                                                                                                    \
  extern "C" __device__ float noise_##name##_lane(uint32_t block, uint32_t stream, uint32_t step_low,                  \
                                                  uint32_t step_high, uint32_t seed_low, uint32_t seed_high,           \
                                                  uint32_t lane) {                                                     \
    return Distribution::apply(philox(block, stream, wide(step_low, step_high), wide(seed_low, seed_high)), lane);     \
  }
__device__ __forceinline__ uint64_t wide(uint32_t low, uint32_t high) {
  return static_cast<uint64_t>(high) << 32 | low;
}
NOISE(uniform, Uniform)
NOISE(normal, Normal)

} // namespace nodevae::cuda
