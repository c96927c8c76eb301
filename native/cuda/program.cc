// What a program needs of its kernel: blocks' parts, scratch, tickets, arguments.
#include "program.h"

#include <algorithm>
#include <limits>

namespace nodevae::cuda {

namespace {

constexpr int64_t kMaxIndex = std::numeric_limits<int32_t>::max();

int32_t narrow(int64_t x, const char* what) {
  if (x < 0 || x > kMaxIndex)
    throw KernelError(std::string("a space of at most ") + std::to_string(kMaxIndex) + " " + what +
                      " was expected by the CUDA backend, received " + std::to_string(x) + " (use smaller batches)");
  return static_cast<int32_t>(x);
}

// Whether V = 4 neighbouring columns can be read or written as one, or are one block of noise.
bool vector_access(const ProgramSpace& space, const ResolvedOperand& operand) {
  const uint64_t group = 4 * dtype_size(operand.dtype);
  const bool aligned =
      operand.noise ? operand.noise->first % 4 == 0 : reinterpret_cast<uintptr_t>(operand.data) % group == 0;
  if (operand.strides[kColumns] != 1 || !aligned) return false;
  for (int d = 0; d < kColumns; ++d)
    if (space.extent[d] > 1 && operand.strides[d] % 4 != 0) return false;
  return true;
}

} // namespace

int Program::vector_for(const ProgramSpace& space, int offered) {
  if (offered < 4 || space.extent[kColumns] % 4 != 0) return 1;
  int whole = 0, apart = 0, over_rows_only = 0;
  for (const Instruction& i : space.program) {
    if (i.op == Opcode::accumulator) ++whole;
    if (is_reduction(i) && i.c == over_rows) ++over_rows_only;
    if (i.op != Opcode::load && i.op != Opcode::store) continue;
    const ResolvedOperand& operand = space.operands[static_cast<size_t>(i.op == Opcode::load ? i.a : i.b)];
    if (operand.strides[kColumns] == 0) continue;
    ++(vector_access(space, operand) ? whole : apart);
  }
  // The stage holds a sum of each reduction over rows for every column that the block has at a time.
  return whole >= apart && over_rows_only <= 8 ? 4 : 1;
}

bool Program::whole(const ResolvedOperand& operand) const { return vector_ == 4 && vector_access(space_, operand); }

Program::Program(ProgramSpace space, int64_t row_parts, int64_t column_parts, Options options)
    : space_(std::move(space)), options_(options), vector_(vector_for(space_, options.vector)),
      outer_(options.flattened ? 1 : space_.outer()),
      rows_(space_.extent[kRows] * (options.flattened ? space_.outer() : 1)), columns_(space_.extent[kColumns]),
      row_parts_(row_parts), column_parts_(column_parts) {
  narrow(rows_, "rows");
  narrow(columns_, "columns");
  narrow(outer_, "outer positions");
  narrow(outer_ * row_parts_ * column_parts_, "tiles");
  if (space_.operands.size() > kMaxOperands)
    throw KernelError("a program of at most " + std::to_string(kMaxOperands) +
                      " operands was expected by the CUDA backend, received " + std::to_string(space_.operands.size()));
  for (const int axes : {over_rows, over_columns, over_both}) {
    groups_[axes - 1] = static_cast<int>(reductions_.size());
    for (const Instruction& i : space_.program)
      if (is_reduction(i) && i.c == axes) reductions_.push_back({i.op == Opcode::reduce_max, axes, i.a, i.b});
  }
  groups_[3] = static_cast<int>(reductions_.size());
  if (reductions_.size() > kMaxReductions)
    throw KernelError("a program of at most " + std::to_string(kMaxReductions) +
                      " reductions was expected by the CUDA backend, received " + std::to_string(reductions_.size()));
}

int64_t Program::parts(const Reduction& reduction) const {
  return (reduction.axes & over_rows ? row_parts_ : 1) * (reduction.axes & over_columns ? column_parts_ : 1);
}

// Floats in scratch.
int64_t Program::partials(const Reduction& reduction) const {
  if (parts(reduction) == 1) return 0;
  return outer_ * (reduction.axes & over_rows ? row_parts_ : rows_) *
         (reduction.axes & over_columns ? column_parts_ : columns_);
}

size_t Program::scratch_bytes() const {
  int64_t total = 0;
  for (const Reduction& reduction : reductions_) total += partials(reduction);
  return static_cast<size_t>(total) * sizeof(float);
}

size_t Program::tickets() const {
  const bool needed = std::any_of(reductions_.begin(), reductions_.end(), [&](const auto& r) { return parts(r) > 1; });
  return needed ? static_cast<size_t>(outer_ * (row_parts_ + column_parts_ + 1)) : 0;
}

size_t Program::stage_bytes() const {
  if (reductions_.empty()) return 0;
  const int most = std::max({groups_[1] * vector_, groups_[2] - groups_[1], groups_[3] - groups_[2]});
  return static_cast<size_t>(kStageScratch + most * kBlockThreads) * sizeof(float);
}

ProgramArguments Program::arguments(const Addresses& addresses, size_t scratch_offset, size_t ticket_offset) const {
  ProgramArguments result{};
  for (size_t i = 0; i < space_.operands.size(); ++i) {
    const ResolvedOperand& operand = space_.operands[i];
    result.operands[i] = operand.noise ? static_cast<uint64_t>(operand.noise->first)
                                       : static_cast<uint64_t>(reinterpret_cast<uintptr_t>(operand.data));
  }
  uint64_t scratch = addresses.scratch + scratch_offset;
  for (size_t i = 0; i < reductions_.size(); ++i) {
    const Reduction& reduction = reductions_[i];
    const ResolvedOperand& operand = space_.operands[static_cast<size_t>(reduction.operand)];
    ReductionArguments& out = result.reductions[i];
    out.out = reinterpret_cast<uintptr_t>(operand.data);
    std::copy(operand.strides, operand.strides + kOuter, out.outer_stride);
    out.row_stride = operand.strides[kRows];
    out.column_stride = operand.strides[kColumns];
    out.partials = scratch;
    out.axes = reduction.axes;
    out.maximum = reduction.maximum ? 1 : 0;
    scratch += static_cast<uint64_t>(partials(reduction)) * sizeof(float);
  }
  std::copy(groups_, groups_ + 4, result.groups);
  // An extent of 0 has no tiles; the device divides by these.
  for (int d = 0; d < kOuter; ++d)
    result.outer_extent[d] = static_cast<int32_t>(std::max<int64_t>(1, space_.extent[d]));
  result.rows = static_cast<int32_t>(rows_);
  result.columns = static_cast<int32_t>(columns_);
  result.space_rows = static_cast<int32_t>(space_.extent[kRows]);
  result.row_parts = static_cast<int32_t>(row_parts_);
  result.column_parts = static_cast<int32_t>(column_parts_);
  result.state = addresses.state;
  result.halted = addresses.guarded ? addresses.state + offsetof(RunState, halted) : 0;
  result.tickets = addresses.tickets + ticket_offset * sizeof(uint32_t);
  return result;
}

} // namespace nodevae::cuda
