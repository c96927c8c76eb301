// What a kernel that runs a program is given, shared by host and device.
//
// Every thread of a block (256) handles V neighbouring columns at a time. 2^lanes_log2 threads stand side by side in
// a row, the others in further rows: together a chunk, and the tile is walked through chunk by chunk. A thread keeps
// its part of every reduction in registers; these are combined over the block in a fixed tree when the walk leaves
// the columns (or rows) that they belong to. What several tiles have to add up goes to scratch, and the last block
// to arrive adds up in the order of the tiles' numbers. So nothing depends on the order in which blocks run.
#pragma once

#include <cstdint>

#include "state.h"

#ifdef __CUDACC__
#define NODE_VAE_BOTH __host__ __device__
#else
#define NODE_VAE_BOTH
#endif

namespace nodevae::cuda {

constexpr int kBlockThreads = 256;
// Floats at the start of the stage (shared memory) for sums of warps and of parts: one double per thread.
constexpr int kStageScratch = 2 * kBlockThreads;
constexpr int kMaxOperands = 128;
constexpr int kMaxReductions = 24;

struct ReductionArguments {
  uint64_t out;            // address of the operand that takes the result (float32)
  int64_t outer_stride[4]; // of the operand, in elements
  int64_t row_stride, column_stride;
  uint64_t partials; // float32 in scratch: one result per part, combined in the order of the parts' numbers
  int32_t axes;      // 1 rows, 2 columns, 3 both
  int32_t maximum;   // 0: sum
};

// Part of the parameter struct of every kernel that runs a program. The generated code reads `operands` from the
// kernel's parameter space; strides are constants in it.
struct ProgramArguments {
  uint64_t operands[kMaxOperands];               // addresses (of noise: its first number), as in the ProgramSpace
  ReductionArguments reductions[kMaxReductions]; // over rows, then over columns, then over both
  int32_t groups[4];                             // where each of these begins, and the end
  int32_t outer_extent[4];
  int32_t rows, columns;           // that tiles are cut from
  int32_t space_rows;              // per outer index of the space: fewer than `rows` when these are numbered through
  int32_t row_parts, column_parts; // as in the code: program_row_parts()
  uint64_t state;                  // address of the RunState, where noise finds its seed and step
  uint64_t halted;                 // address of RunState::halted when the step is guarded, else 0
  uint64_t tickets; // per outer index: one per column part (over rows), one per row part (over columns), one (both)
};

// What a tile covers. row_part and column_part number the tiles of an outer index.
struct ProgramTile {
  int outer, row_part, column_part;
  int rows;                  // of the tile; the tile says which rows of the space they are
  int first_column, columns; // a multiple of V each
  int lanes_log2;            // lanes_for(largest number of columns of a tile, V)
};

// Threads side by side in a row, as a power of two, so that a chunk spans the columns of a tile where that is possible.
NODE_VAE_BOTH constexpr int lanes_for(int64_t columns, int vector) {
  int lanes_log2 = 0;
  while (lanes_log2 < 8 && (static_cast<int64_t>(vector) << lanes_log2) < columns) ++lanes_log2;
  return lanes_log2;
}

} // namespace nodevae::cuda
