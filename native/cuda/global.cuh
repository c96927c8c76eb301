// What the kernels without programs have in common, on the device.
#pragma once

#include <cstdint>

#include "state.h"

namespace nodevae::cuda {

constexpr int kBlock = 256; // threads of every block

extern __shared__ __align__(16) unsigned char shared_memory[]; // as much as the launch asks for

// Global memory at an address from the parameters; told so, the compiler need not ask which memory it is.
template <class T> __device__ inline T* global(uint64_t address) {
  T* pointer = reinterpret_cast<T*>(address);
  __builtin_assume(__isGlobal(pointer));
  return pointer;
}

// Whether a guarded step must leave everything as it is. `halted` is the address of RunState::halted, or 0.
__device__ inline bool stopped(uint64_t halted) { return halted != 0 && *global<const uint32_t>(halted) != 0; }

// The first fault of a run is kept.
__device__ inline void report_fault(uint64_t state_address, int32_t step, int64_t position, int32_t index) {
  RunState* state = global<RunState>(state_address);
  if (state->halted != static_cast<uint32_t>(Halt::none)) return;
  state->fault_step = step;
  state->fault_index = index;
  state->fault_position = position;
  __threadfence();
  state->halted = static_cast<uint32_t>(Halt::fault);
}

} // namespace nodevae::cuda
