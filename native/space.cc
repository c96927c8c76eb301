#include "space.h"

#include <algorithm>
#include <utility>

namespace nodevae {

ProgramSpace::ProgramSpace(const ResolvedStep& step, size_t first_operand)
    : operands(step.operands.begin() + static_cast<std::ptrdiff_t>(first_operand), step.operands.end()),
      program(step.program) {
  std::copy(step.space, step.space + kDims, extent);
  for (ResolvedOperand& operand : operands)
    for (int d = 0; d < kDims; ++d)
      if (extent[d] == 1) operand.strides[d] = 0;
  if (first_operand == 0) return;
  for (Instruction& i : program) // operands are numbered from the step's first one
    if (i.op == Opcode::load)
      i.a -= static_cast<int32_t>(first_operand);
    else if (i.op == Opcode::store || is_reduction(i))
      i.b -= static_cast<int32_t>(first_operand);
}

SpaceShaper::SpaceShaper(ProgramSpace& space) : space_(space) {
  for (const Instruction& i : space.program)
    if (is_reduction(i)) axes_ |= i.c, all_both_ = all_both_ && i.c == over_both;
}

bool SpaceShaper::reduces_rows() const {
  return std::any_of(space_.program.begin(), space_.program.end(),
                     [](const Instruction& i) { return is_reduction(i) && i.c == over_rows; });
}

void SpaceShaper::shape() {
  if (axes_ == 0) {
    for (int d = kColumns; d > 0; --d) do
        compact(kColumns);
      while (merge(d - 1, d));
    // The contiguous dimension becomes the columns; one that is contiguous for other operands, the rows.
    move_best(kColumns, kColumns);
    move_best(kRows, kRows);
  } else {
    if (all_both_) merge(kRows, kColumns);
    if (score(kRows) > score(kColumns) || space_.extent[kColumns] == 1) swap_axes();
    if (axes_ == over_columns) do
        compact(kOuter - 1);
      while (merge(kOuter - 1, kRows));
  }
}

// Makes one dimension out of neighbours `slow` and `fast`, left in `fast`, when all operands step evenly.
bool SpaceShaper::merge(int slow, int fast) {
  if (space_.extent[slow] == 1) return false;
  if (space_.extent[fast] != 1)
    for (const ResolvedOperand& o : space_.operands)
      if (o.strides[slow] != o.strides[fast] * space_.extent[fast]) return false;
  for (ResolvedOperand& o : space_.operands) {
    if (space_.extent[fast] == 1) o.strides[fast] = o.strides[slow];
    o.strides[slow] = 0;
  }
  space_.extent[fast] *= space_.extent[slow];
  space_.extent[slow] = 1;
  return true;
}

void SpaceShaper::exchange(int i, int j) {
  std::swap(space_.extent[i], space_.extent[j]);
  for (ResolvedOperand& o : space_.operands) std::swap(o.strides[i], o.strides[j]);
}

// Moves dimensions of extent 1 to the front, keeping the order of the others.
void SpaceShaper::compact(int last) {
  int to = last;
  for (int d = last; d >= 0; --d)
    if (space_.extent[d] != 1) exchange(d, to--);
}

void SpaceShaper::swap_axes() {
  exchange(kRows, kColumns);
  const auto swapped = [](int axes) { return (axes & 1) << 1 | (axes & 2) >> 1; };
  axes_ = swapped(axes_);
  for (Instruction& i : space_.program)
    if (is_reduction(i)) i.c = swapped(i.c);
}

// How many operands are contiguous along d. Writing with a stride costs more than reading with one.
int SpaceShaper::score(int d) const {
  if (space_.extent[d] == 1) return -1;
  std::vector<int> weight(space_.operands.size(), 2);
  for (const Instruction& i : space_.program)
    if (i.op == Opcode::store)
      weight[static_cast<size_t>(i.b)] = 3;
    else if (is_reduction(i))
      weight[static_cast<size_t>(i.b)] = 0;
  int total = 0;
  for (size_t i = 0; i < weight.size(); ++i)
    if (space_.operands[i].strides[d] == 1) total += weight[i];
  return total;
}

void SpaceShaper::move_best(int to, int last) {
  int best = last;
  for (int d = last - 1; d >= 0; --d)
    if (score(d) > score(best)) best = d;
  for (int d = best; d < to; ++d) exchange(d, d + 1);
}

} // namespace nodevae
