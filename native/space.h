// The space that a step's program runs over, and how a map's space is brought into a shape that runs well.
#pragma once

#include "axes.h"
#include "backend.h"

namespace nodevae {

// Strides of dimensions of extent 1 are 0.
struct ProgramSpace {
  int64_t extent[kDims];
  std::vector<ResolvedOperand> operands;
  std::vector<Instruction> program;

  // Operands before `first_operand` are the kernel's own; the program's are numbered from there on.
  ProgramSpace(const ResolvedStep& step, size_t first_operand);
  int64_t outer() const { return extent[0] * extent[1] * extent[2] * extent[3]; }
};

inline bool is_reduction(const Instruction& i) { return i.op == Opcode::reduce_sum || i.op == Opcode::reduce_max; }

// Long contiguous columns: dimensions that all operands step through evenly become one, and the dimension that is
// contiguous for most operands becomes the columns, as far as reductions allow.
class SpaceShaper {
public:
  explicit SpaceShaper(ProgramSpace& space);
  void shape();
  // The axes that some reduction runs over (of all reductions together), and whether some reduction keeps the columns.
  int axes() const { return axes_; }
  bool reduces_rows() const;

private:
  bool merge(int slow, int fast);
  void exchange(int i, int j);
  void compact(int last);
  void swap_axes();
  int score(int d) const;
  void move_best(int to, int last);

  ProgramSpace& space_;
  int axes_ = 0;
  bool all_both_ = true;
};

} // namespace nodevae
