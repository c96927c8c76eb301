// Between the two halves of a step and behind it: see control.h. One block each.
#include "control.h"

namespace nodevae::cuda {

namespace {

__device__ bool is_finite(float value) { return (__float_as_uint(value) & 0x7f800000u) != 0x7f800000u; }

__device__ void advance_counters(RunState& state) {
  ++state.step;
  ++state.row;
}

} // namespace

extern "C" __global__ void __launch_bounds__(256) check_terms(const __grid_constant__ CheckTermsParameters p) {
  RunState& state = *reinterpret_cast<RunState*>(p.state);
  __shared__ unsigned int first_bad;
  if (threadIdx.x == 0) first_bad = 0xffffffffu;
  const bool halted = state.halted != 0; // read by every thread before one of them may write it
  __syncthreads();
  if (halted) return;
  const float* terms = reinterpret_cast<const float*>(p.terms);
  float* row = reinterpret_cast<float*>(p.ring) + state.row % p.capacity * p.count;
  for (uint64_t i = threadIdx.x; i < p.count; i += blockDim.x) {
    const float term = terms[i];
    row[i] = term;
    if (!is_finite(term)) atomicMin(&first_bad, static_cast<unsigned int>(i));
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  if (first_bad != 0xffffffffu) {
    state.diverged_term = first_bad;
    state.halted = static_cast<uint32_t>(Halt::diverged);
  } else if (p.advances != 0) {
    advance_counters(state);
  }
}

extern "C" __global__ void __launch_bounds__(256) advance(const __grid_constant__ AdvanceParameters p) {
  RunState& state = *reinterpret_cast<RunState*>(p.state);
  if (threadIdx.x == 0 && state.halted == 0) advance_counters(state);
}

} // namespace nodevae::cuda
