// map: a program over a space. The space is first brought into a shape that runs well: long contiguous columns.
#include <utility>

#include "tile_program.h"

namespace nodevae {

namespace {

constexpr int64_t kBlockElements = 16384;

struct Blocking {
  int64_t rows, columns;
};

// Blocks depend on the space alone, never on the number of threads: they decide how sums are rounded.
Blocking choose_blocks(const ProgramSpace& space, bool reduces_rows) {
  const int64_t rows = space.extent[kRows], columns = space.extent[kColumns];
  // A reduction over rows leaves one partial result per column and block: blocks of few rows would leave many.
  const int64_t widest = reduces_rows ? 1024 : kBlockElements;
  const int64_t parts = ceil_div(columns, widest);
  const int64_t block_columns = parts == 1 ? columns : round_up(ceil_div(columns, parts), 64);
  const int64_t block_rows =
      std::max<int64_t>(reduces_rows ? 32 : 1, kBlockElements / std::max<int64_t>(1, block_columns));
  return {std::max<int64_t>(1, std::min(rows, block_rows)), std::max<int64_t>(1, block_columns)};
}

class MapKernel final : public Kernel {
public:
  MapKernel(ProgramSpace space, const TierKernels& tier, bool reduces_rows)
      : rows_(space.extent[kRows]), columns_(space.extent[kColumns]), outer_(space.outer()),
        block_(choose_blocks(space, reduces_rows)), row_blocks_(std::max<int64_t>(1, ceil_div(rows_, block_.rows))),
        column_blocks_(std::max<int64_t>(1, ceil_div(columns_, block_.columns))),
        program_(std::move(space), tier, row_blocks_, column_blocks_) {
    const int64_t per_block = block_.rows * block_.columns;
    blocks_per_job_ = std::max<int64_t>(1, kBlockElements / 2 / std::max<int64_t>(1, per_block));
  }

  size_t shared_bytes() const override { return program_.shared_bytes(); }
  size_t local_bytes() const override { return program_.local_bytes(); }

  void run(const RunContext& context) override {
    const int64_t blocks = outer_ * row_blocks_ * column_blocks_;
    run_jobs(*context.pool, blocks, blocks_per_job_, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end; ++i) program_.run(block(i), context.shared, context.local[thread]);
    });
    program_.finish(context.shared, *context.pool);
  }

private:
  Block block(int64_t number) const {
    Block b{};
    b.column_block = number % column_blocks_;
    b.row_block = number / column_blocks_ % row_blocks_;
    b.outer = number / column_blocks_ / row_blocks_;
    b.row = b.row_block * block_.rows;
    b.rows = std::min(block_.rows, rows_ - b.row);
    b.column = b.column_block * block_.columns;
    b.columns = std::min(block_.columns, columns_ - b.column);
    return b;
  }

  int64_t rows_, columns_, outer_;
  Blocking block_;
  int64_t row_blocks_, column_blocks_;
  TileProgram program_;
  int64_t blocks_per_job_;
};

} // namespace

std::unique_ptr<Kernel> make_map(const ResolvedStep& step, const TierKernels& tier) {
  ProgramSpace space(step, 0);
  SpaceShaper shaper(space);
  shaper.shape();
  return std::make_unique<MapKernel>(std::move(space), tier, shaper.reduces_rows());
}

} // namespace nodevae
