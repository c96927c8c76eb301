#include "accesses.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "../binding.h"

namespace nodevae::cuda {
namespace {

// The operands that are a kernel's own stand before those of its program.
size_t first_program_operand(const PlanStep& step) {
  switch (step.kernel) {
  case KernelId::map:
    return 0;
  case KernelId::matmul:
  case KernelId::conv2d:
  case KernelId::conv2d_input_gradient:
  case KernelId::conv2d_weight_gradient:
    return 2;
  default:
    return step.operands.size();
  }
}

Extent view_extent(std::vector<std::pair<int64_t, int64_t>> dimensions) { // stride, size
  std::sort(dimensions.begin(), dimensions.end());
  Extent extent{1, true};
  for (const auto& [stride, size] : dimensions) {
    if (size == 1 || stride == 0) continue;
    extent.every = extent.every && stride == extent.elements;
    extent.elements += (size - 1) * stride;
  }
  return extent;
}

bool reads_counters(KernelId kernel) {
  return kernel == KernelId::random_uniform || kernel == KernelId::random_normal ||
         kernel == KernelId::shuffled_indices || kernel == KernelId::step_index;
}

// May meet an index outside of its table, which halts the run.
bool may_halt(KernelId kernel) { return kernel == KernelId::gather || kernel == KernelId::scatter_add; }

} // namespace

Extent operand_extent(const PlanStep& step, size_t operand, int64_t elements_left) {
  const Operand& view = step.operands[operand];
  const bool is_program = operand >= first_program_operand(step), written = writes(step, operand);
  if (step.kernel == KernelId::scatter_add && written)
    return view_extent({{view.strides[kRows], step.attributes[0]}, {1, step.space[kColumns]}});
  // Indices choose rows of a table, and the strides of some kernels are not read.
  if (!is_program && !written && step.kernel != KernelId::matmul) return {elements_left, true};
  std::vector<std::pair<int64_t, int64_t>> dimensions;
  for (int d = 0; d < kDims; ++d) dimensions.emplace_back(view.strides[d], step.space[d]);
  if (!is_program && !written) dimensions.emplace_back(step.attributes[1 + operand], step.attributes[0]); // along k
  return view_extent(std::move(dimensions));
}

bool reads(const PlanStep& step, size_t operand) {
  if (!writes(step, operand)) return true;
  return std::any_of(step.program.begin(), step.program.end(), [&](const Instruction& instruction) {
    return instruction.op == Opcode::load && static_cast<size_t>(instruction.a) == operand;
  });
}

Access run_counters(uint64_t state, bool writes) { return {state, state + offsetof(RunState, halted), writes}; }
Access run_halt(uint64_t state, bool writes) {
  return {state + offsetof(RunState, halted), state + sizeof(RunState), writes};
}

std::vector<Access> step_accesses(const PlanStep& step, const ResolvedStep& resolved, const LoweredStep& lowered,
                                  const Addresses& addresses) {
  std::vector<Access> accesses;
  bool uses_counters = reads_counters(step.kernel);
  for (size_t i = 0; i < resolved.operands.size(); ++i) { // the plan's, and behind them perhaps noise
    const ResolvedOperand& operand = resolved.operands[i];
    if (operand.noise.has_value()) { // drawn where it is used
      uses_counters = true;
      continue;
    }
    const auto begin = reinterpret_cast<uint64_t>(operand.data);
    const int64_t elements = operand_extent(step, i, operand.elements_left).elements;
    accesses.push_back({begin, begin + static_cast<uint64_t>(elements) * dtype_size(operand.dtype), writes(step, i)});
  }
  if (uses_counters) accesses.push_back(run_counters(addresses.state, false));
  if (addresses.guarded || may_halt(step.kernel)) accesses.push_back(run_halt(addresses.state, may_halt(step.kernel)));
  accesses.push_back({addresses.scratch, addresses.scratch + lowered.scratch_bytes(), true});
  accesses.push_back({addresses.tickets, addresses.tickets + lowered.tickets() * sizeof(uint32_t), true});
  return accesses;
}

} // namespace nodevae::cuda
