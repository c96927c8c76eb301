// Noise, batch order and the step counter: pure functions of (seed, step, stream), as in native/cpu/random.cc.
#include "random.h"

#include "../philox.h"
#include "global.cuh"
#include "math.cuh"

namespace nodevae::cuda {
namespace {

constexpr float kUnit = 1.0f / 16777216.0f;
__device__ inline float top_bits(uint32_t word) { return static_cast<float>(static_cast<int32_t>(word >> 8)); }

struct Uniform {
  static __device__ void apply(const PhiloxBlock& block, float (&x)[4]) {
    for (int i = 0; i < 4; ++i) x[i] = top_bits(block.word[i]) * kUnit;
  }
};

// Box-Muller, operation by operation that of native/cpu/noise.inc.
struct Normal {
  static __device__ void pair(uint32_t w0, uint32_t w1, float& first, float& second) {
    const float u = (top_bits(w0) + 1.0f) * kUnit;
    const float radius = v_sqrt(log_positive(u) * -2.0f);
    const float quarters = top_bits(w1) * (4.0f * kUnit);
    const float nearest = v_floor(quarters + 0.5f);
    const float r = (quarters - nearest) * 1.57079632679f;
    const int32_t quadrant = static_cast<int32_t>(nearest);
    first = radius * sine_in_quadrant(r, quadrant + 1);
    second = radius * sine_in_quadrant(r, quadrant);
  }
  static __device__ void apply(const PhiloxBlock& block, float (&x)[4]) {
    pair(block.word[0], block.word[1], x[0], x[1]);
    pair(block.word[2], block.word[3], x[2], x[3]);
  }
};

// A thread draws one block of Philox: four neighbouring elements.
template <class Distribution> __device__ inline void fill_noise(const RandomParameters& p) {
  if (stopped(p.halted)) return;
  const int64_t number = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x, first = 4 * number;
  if (first >= p.count) return;
  const RunState* state = global<const RunState>(p.state);
  float x[4];
  Distribution::apply(philox(static_cast<uint32_t>(number), p.stream, state->step, state->seed), x);
  float* out = global<float>(p.out) + first;
  if (p.aligned != 0 && first + 4 <= p.count) {
    *reinterpret_cast<float4*>(out) = make_float4(x[0], x[1], x[2], x[3]);
    return;
  }
  for (int i = 0; i < 4; ++i)
    if (first + i < p.count) out[i] = x[i];
}

} // namespace

extern "C" __global__ void __launch_bounds__(256) random_uniform(const __grid_constant__ RandomParameters p) {
  fill_noise<Uniform>(p);
}

extern "C" __global__ void __launch_bounds__(256) random_normal(const __grid_constant__ RandomParameters p) {
  fill_noise<Normal>(p);
}

extern "C" __global__ void __launch_bounds__(256)
    shuffled_indices(const __grid_constant__ ShuffledIndicesParameters p) {
  if (stopped(p.halted)) return;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  if (i >= p.batch) return;
  const RunState* state = global<const RunState>(p.state);
  global<int32_t>(p.out)[i * p.stride] = static_cast<int32_t>(
      batch_index(state->step, p.batch, static_cast<uint32_t>(i), p.rows, p.shuffle != 0, p.stream, state->seed));
}

extern "C" __global__ void __launch_bounds__(256) step_index(const __grid_constant__ StepIndexParameters p) {
  if (threadIdx.x == 0 && !stopped(p.halted))
    *global<float>(p.out) = static_cast<float>(global<const RunState>(p.state)->step);
}

} // namespace nodevae::cuda
