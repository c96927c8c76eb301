// Noise, batch order and the step counter: pure functions of (seed, step, stream), as in native/cpu/random.cc.
#include "random.h"

#include "global.cuh"
#include "noise.cuh"

namespace nodevae::cuda {
namespace {

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
