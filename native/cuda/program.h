// A step's program (an epilogue), compiled into the kernel that runs it: PTX is generated for the program's
// instructions and put where run_program() of program.cuh left markers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../space.h"
#include "lowering.h"
#include "program_arguments.h"

namespace nodevae::cuda {

class Program {
public:
  struct Options {
    int vector = 4;         // the most neighbouring columns per thread that the kernel offers: 4 or 1
    bool flattened = false; // rows of all outer indices are numbered through: row = outer * rows + row of the space
  };

  // `space` is ProgramSpace(step, number of operands that are the kernel's own). The kernel covers each outer index
  // by row_parts x column_parts tiles, each of which runs run_program() exactly once; partial results of reductions
  // are combined in the order of the parts' numbers. An empty space has one (empty) part in each direction.
  // Throws KernelError for what is beyond 32-bit row and column numbers or ProgramArguments.
  Program(ProgramSpace space, int64_t row_parts, int64_t column_parts, Options options);
  Program(ProgramSpace space, int64_t row_parts, int64_t column_parts)
      : Program(std::move(space), row_parts, column_parts, Options{}) {}

  // The vector() that a program over `space` will have, for kernels whose parts depend on it.
  static int vector_for(const ProgramSpace& space, int offered);

  int vector() const { return vector_; } // 4 or 1: V of run_program(), and so which variant of the kernel
  bool reduces() const { return !reductions_.empty(); }
  // Whether reductions over rows and over columns meet: then all columns of a tile must fit into one chunk, that is
  // 2^lanes_log2 * V columns (lanes_for() gives such lanes for up to 256 * V columns).
  bool mixed() const { return groups_[1] > 0 && groups_[2] > groups_[1]; }
  size_t scratch_bytes() const; // partial results
  size_t tickets() const;       // see Addresses::tickets
  size_t stage_bytes() const;   // shared memory that run_program() needs, 16-byte aligned
  int32_t outer() const { return static_cast<int32_t>(outer_); } // outer indices that tiles are numbered over

  // `scratch_offset` (bytes, multiple of 4) and `ticket_offset` (tickets) leave room for the kernel's own.
  ProgramArguments arguments(const Addresses& addresses, size_t scratch_offset, size_t ticket_offset) const;

  // The module of kernel `entry` of native/cuda/<file>.cu with this program inside. The kernel's one parameter is a
  // struct that holds the ProgramArguments at `arguments_offset`.
  std::shared_ptr<const std::string> splice(const std::string& file, int capability, const std::string& entry,
                                            size_t arguments_offset) const;

private:
  friend class ProgramWriter;
  struct Reduction {
    bool maximum;
    int axes, value, operand; // value: the instruction reduced
  };
  bool whole(const ResolvedOperand& operand) const; // vector() columns can be read or written as one
  int64_t parts(const Reduction& reduction) const;
  int64_t partials(const Reduction& reduction) const;

  ProgramSpace space_;
  Options options_;
  int vector_ = 1;
  int64_t outer_, rows_, columns_; // as the tiles see them
  int64_t row_parts_, column_parts_;
  std::vector<Reduction> reductions_; // over rows, then over columns, then over both
  int groups_[4] = {0, 0, 0, 0};      // where each of these begins, and the end
};

} // namespace nodevae::cuda
