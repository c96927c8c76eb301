// map: a program over a space. The space is first brought into a shape that runs well: long contiguous columns.
#include <utility>

#include "tile_program.h"

namespace nodevae {

namespace {

constexpr int64_t kBlockElements = 16384;

bool is_reduction(const Instruction& i) { return i.op == Opcode::reduce_sum || i.op == Opcode::reduce_max; }

class SpaceShaper {
public:
  explicit SpaceShaper(ProgramSpace& space) : space_(space) {
    for (const Instruction& i : space.program)
      if (is_reduction(i)) axes_ |= i.c, all_both_ = all_both_ && i.c == over_both;
  }
  // Whether some reduction keeps the columns.
  bool reduces_rows() const {
    return std::any_of(space_.program.begin(), space_.program.end(),
                       [](const Instruction& i) { return is_reduction(i) && i.c == over_rows; });
  }

  void shape() {
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

private:
  // Makes one dimension out of neighbours `slow` and `fast`, left in `fast`, when all operands step evenly.
  bool merge(int slow, int fast) {
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
  void exchange(int i, int j) {
    std::swap(space_.extent[i], space_.extent[j]);
    for (ResolvedOperand& o : space_.operands) std::swap(o.strides[i], o.strides[j]);
  }
  // Moves dimensions of extent 1 to the front, keeping the order of the others.
  void compact(int last) {
    int to = last;
    for (int d = last; d >= 0; --d)
      if (space_.extent[d] != 1) exchange(d, to--);
  }
  void swap_axes() {
    exchange(kRows, kColumns);
    const auto swapped = [](int axes) { return (axes & 1) << 1 | (axes & 2) >> 1; };
    axes_ = swapped(axes_);
    for (Instruction& i : space_.program)
      if (is_reduction(i)) i.c = swapped(i.c);
  }
  // How many operands are contiguous along d. Writing with a stride costs more than reading with one.
  int score(int d) const {
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
  void move_best(int to, int last) {
    int best = last;
    for (int d = last - 1; d >= 0; --d)
      if (score(d) > score(best)) best = d;
    for (int d = best; d < to; ++d) exchange(d, d + 1);
  }

  ProgramSpace& space_;
  int axes_ = 0;
  bool all_both_ = true;
};

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
    const auto body = [&](int64_t job, int thread) {
      const int64_t end = std::min(blocks, (job + 1) * blocks_per_job_);
      for (int64_t i = job * blocks_per_job_; i < end; ++i)
        program_.run(block(i), context.shared, context.local[thread]);
    };
    const int64_t jobs = ceil_div(blocks, blocks_per_job_);
    if (jobs == 1)
      body(0, 0);
    else
      context.pool->parallel_for(jobs, body);
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
