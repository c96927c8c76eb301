// What a step of a plan reads and writes, as ranges of memory.
#pragma once

#include <vector>

#include "../backend.h"
#include "dependencies.h"
#include "lowering.h"

namespace nodevae::cuda {

// Elements of its buffer that a step's operand may touch, from the operand's first on.
struct Extent {
  int64_t elements;
  bool every; // every one of them is touched
};

// Where the operand is read and where it is written need not be told apart: a step does both with the same view.
// `elements_left`: from the operand's first to the end of its buffer.
Extent operand_extent(const PlanStep& step, size_t operand, int64_t elements_left);
bool reads(const PlanStep& step, size_t operand);

// Of all launches of a step: its operands, what it uses of RunState, and its scratch and tickets at `addresses`.
// `step` and `resolved` are the same step.
std::vector<Access> step_accesses(const PlanStep& step, const ResolvedStep& resolved, const LoweredStep& lowered,
                                  const Addresses& addresses);

// The seed and the counters of RunState; and what stands behind them: whether the run is halted, and why.
Access run_counters(uint64_t state, bool writes);
Access run_halt(uint64_t state, bool writes);

} // namespace nodevae::cuda
