// A step's program, compiled for running over tiles that stay in the first-level cache. Every value of the program
// is a tile of floats; every instruction is one loop over the tile, so that its dispatch costs little. Loads and
// stores that already are contiguous rows of floats cost nothing: their memory takes the place of scratch.
#pragma once

#include <vector>

#include "../space.h"
#include "kernels.h"

namespace nodevae {

// A rectangle of rows x columns of one outer index: the unit of parallel work, and of partial results.
struct Block {
  int64_t outer;
  int64_t row_block, row, rows;
  int64_t column_block, column, columns;
  const float* accumulator; // of the block's first element; matmul only
  int64_t accumulator_stride;
};

class TileProgram {
public:
  // Blocks are numbered [0, row_blocks) x [0, column_blocks) for each outer index. They must be the same whatever
  // the number of threads: reductions leave one partial result per block, combined in the order of the numbers.
  TileProgram(ProgramSpace space, const TierKernels& tier, int64_t row_blocks, int64_t column_blocks);

  size_t shared_bytes() const { return shared_bytes_; }
  size_t local_bytes() const { return local_bytes_; }

  // Asks the memory of some rows of the block (counted from its first) into the cache, ahead of run().
  void prefetch(const Block& block, int64_t row, int64_t rows) const;
  void run(const Block& block, char* shared, char* local) const;
  // After all blocks: combines the partial results and writes the reductions' operands.
  void finish(char* shared, Pool& pool) const;

  // The operand that a program of nothing but `accumulator; store` writes, when its columns are contiguous floats.
  const ResolvedOperand* plain_store() const;

private:
  enum class Extent { uniform, row, full }; // one value for all; one row for all rows; every element its own
  enum class Home { none, uniform, slot, operand, accumulator };
  struct Place {
    Home home = Home::none;
    int index = 0; // uniform number, slot, operand
    Extent extent = Extent::uniform;
  };
  enum class Action { elementwise, load, broadcast, store, reduce };
  struct TileStep {
    Action action;
    Extent extent;
    ElementwiseFunction function;
    int arity;
    Place out, in[3];
    int index; // operand (load, store) or reduction
  };
  struct Reduction {
    ReduceFunction function;
    bool maximum;
    int axes, operand;
    size_t offset; // of its partial results in shared scratch
  };
  struct Frame; // where everything is for the tile at hand
  class Compiler;

  int64_t partial_elements(const Reduction& reduction) const;
  float* partial(const Reduction& reduction, const Block& block, char* shared) const;
  void combine(const Reduction& reduction, const char* shared, int64_t begin, int64_t end) const;
  TileView view(const Place& place, const Frame& frame) const;
  void execute(const TileStep& step, const Frame& frame) const;
  void execute_narrow(const TileStep& step, ElementwiseCall call) const;
  int64_t outer_offset(const ResolvedOperand& operand, int64_t outer) const;

  ProgramSpace space_;
  const TierKernels& tier_;
  int64_t row_blocks_, column_blocks_;
  std::vector<std::pair<int, float>> constants_; // uniform number, value
  std::vector<TileStep> prelude_, steps_;        // once per block; once per tile
  std::vector<Reduction> reductions_;
  std::vector<int> streams_; // operands of which every element is read or written, in contiguous rows
  int uniforms_ = 0, slots_ = 0;
  int64_t tile_elements_ = 0;
  size_t shared_bytes_ = 0, local_bytes_ = 0;
};

} // namespace nodevae
