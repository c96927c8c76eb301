// matmul: packed, register-tiled product of strided matrices, its result tile handed to the step's program while it
// is still in cache (Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication").
//
// A unit of work is one block of rows times one panel of columns, or a group of panels where the block of A must be
// packed first. Where there is one block of rows, the unit packs its own panel of B just before use, so that the panel
// is in the second-level cache when the micro-kernel streams it, once for all row tiles of the block. Several blocks
// share panels that are packed once, ahead of all units (bench/kernels/RESULTS.md, experiment 1). Each element of the
// result is accumulated over the whole of k by one thread, in order, whatever the blocking.
#include <unistd.h>

#include "panels.h"
#include "tile_program.h"

namespace nodevae {

namespace {

constexpr int64_t kBlockRows = 128;
// Wide units, see Geometry::wide.
constexpr int64_t kWideRows = 16;
constexpr int64_t kWideColumns = 1024; // at most: with them B's panels fit into the second-level cache
constexpr int64_t kWideDepth = 256;
constexpr int64_t kWidePanels = 4;         // at least
constexpr int64_t kWideStreams = 3;        // at least
constexpr int64_t kUnpackedRows = 16;      // for so few rows, packing B costs more than it saves
constexpr int64_t kSharedBytes = 32 << 20; // a larger B is packed panel by panel: it would double the weights' memory

// Depth of a panel: it shares the second-level cache with a block of A. Does not influence results.
int64_t choose_depth(int64_t k) {
  long cache = -1;
#if defined(_SC_LEVEL2_CACHE_SIZE)
  cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
  const int64_t deepest = cache > 0 && cache < (768 << 10) ? 512 : 1024;
  if (k <= deepest + deepest / 2) return std::max<int64_t>(k, 1);
  return round_up(ceil_div(k, ceil_div(k, deepest)), 16);
}

struct Geometry {
  int64_t m, n, k, batch;
  ResolvedOperand a, b;
  int64_t a_row, a_k, b_k, b_column;
  std::vector<ColumnPanel> panels;
  int64_t block_rows, row_blocks, depth;
  bool column_major_a, packs_a;
  bool shares_b; // all of B is packed ahead
  // A unit is few rows of many panels instead of many rows of one, and its program runs over all of them together: a
  // program that streams several arrays past the product (Adam: weights and moments) then reads and writes long rows of
  // them (bench/kernels/RESULTS.md, experiment 11).
  bool wide;
  int64_t group, groups;  // panels per unit, units per block of rows
  int64_t packed_columns; // of all panels, their padding included

  Geometry(const ResolvedStep& step, const TierKernels& tier)
      : m(step.space[kRows]), n(step.space[kColumns]), k(step.attributes[0]),
        batch(step.space[0] * step.space[1] * step.space[2] * step.space[3]), a(step.operands[0]), b(step.operands[1]),
        a_row(a.strides[kRows]), a_k(step.attributes[1]), b_k(step.attributes[2]), b_column(b.strides[kColumns]),
        panels(column_panels(n, tier)), depth(choose_depth(k)) {
    // A dimension of extent 1 may have any stride; these choose the fast paths.
    if (n == 1) b_column = 1;
    if (k == 1) a_k = 1;
    // Smaller blocks where a large product would otherwise keep only few threads busy.
    block_rows = kBlockRows;
    while (block_rows > 32 && batch * ceil_div(m, block_rows) * static_cast<int64_t>(panels.size()) < 8 &&
           block_rows * k * n > 1 << 19)
      block_rows /= 2;
    row_blocks = std::max<int64_t>(1, ceil_div(m, block_rows));
    block_rows = round_up(ceil_div(m, row_blocks), tier.micro_rows);
    row_blocks = std::max<int64_t>(1, ceil_div(m, block_rows));

    // Rows of A are read where they are. Columns would touch one cache line per k for a few floats.
    column_major_a = packs_a = a_k != 1;
    const int64_t panel_count = std::max<int64_t>(1, static_cast<int64_t>(panels.size()));
    groups = packs_a ? std::min(panel_count, ceil_div(8, batch * row_blocks)) : panel_count;
    group = ceil_div(panel_count, groups);
    groups = ceil_div(panel_count, group);

    packed_columns = 0;
    for (const ColumnPanel& panel : panels) packed_columns += static_cast<int64_t>(panel.vectors) * tier.lanes;
    const bool one_b = std::all_of(b.strides, b.strides + kOuter, [](int64_t stride) { return stride == 0; });
    const bool packs_all = float_bytes(packed_columns * k) <= static_cast<size_t>(kSharedBytes);
    wide = one_b && packs_a && k <= kWideDepth && m >= 4 * kWideRows && panel_count >= kWidePanels &&
           memory_streams(step) >= kWideStreams && packs_all;
    if (wide) {
      block_rows = kWideRows;
      row_blocks = ceil_div(m, block_rows);
      groups = ceil_div(packed_columns, kWideColumns);
      group = ceil_div(panel_count, groups);
      groups = ceil_div(panel_count, group);
    }
    shares_b = wide || (packs_all && row_blocks * (one_b ? batch : 1) > 1 && (one_b || batch == 1) &&
                        block_rows > kUnpackedRows);
  }
  // Operands of which the program reads or writes every element.
  static int memory_streams(const ResolvedStep& step) {
    int streams = 0;
    for (size_t i = 2; i < step.operands.size(); ++i) {
      const ResolvedOperand& operand = step.operands[i];
      streams += operand.strides[kRows] != 0 && operand.strides[kColumns] != 0;
    }
    return streams;
  }
  int64_t slices() const { return ceil_div(k, depth); }
  // Where the packed panel stands among all of B, in floats: slice after slice of k, panel after panel.
  int64_t packed_offset(const ColumnPanel& panel, int64_t start, int64_t slice_depth) const {
    return start * packed_columns + slice_depth * panel.column;
  }
};

class MatmulKernel final : public Kernel {
public:
  MatmulKernel(const ResolvedStep& step, const TierKernels& tier)
      : tier_(tier), g_(step, tier),
        program_(ProgramSpace(step, 2), tier, g_.row_blocks,
                 g_.wide ? g_.groups : std::max<int64_t>(1, static_cast<int64_t>(g_.panels.size()))),
        direct_(g_.wide ? nullptr : program_.plain_store()) {
    std::copy(step.space, step.space + kOuter, outer_);
    const int64_t width = tier.lanes * tier.micro_vectors;
    a_bytes_ = g_.packs_a ? float_bytes(g_.block_rows * g_.depth + tier.lanes) : 0;
    b_bytes_ = g_.shares_b ? 0 : float_bytes(width * g_.depth);
    shared_b_ = round_up(static_cast<int64_t>(program_.shared_bytes()), 64);
    c_elements_ = round_up(width * g_.block_rows * (g_.wide ? g_.group : 1), 16);
    c_bytes_ = float_bytes(c_elements_ * (g_.slices() > 1 ? g_.group : 1));
    const int64_t work = std::min(g_.m, g_.block_rows) * width * g_.group * std::max<int64_t>(g_.k, 1);
    units_per_job_ = std::max<int64_t>(1, (1 << 17) / std::max<int64_t>(1, work));
  }

  size_t shared_bytes() const override {
    return g_.shares_b ? static_cast<size_t>(shared_b_) + float_bytes(g_.packed_columns * g_.k)
                       : program_.shared_bytes();
  }
  size_t local_bytes() const override { return a_bytes_ + b_bytes_ + c_bytes_ + program_.local_bytes(); }

  void run(const RunContext& context) override {
    if (g_.shares_b) pack_all_of_b(context);
    const int64_t units = g_.n > 0 ? g_.batch * g_.row_blocks * g_.groups : 0;
    run_jobs(*context.pool, units, units_per_job_, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end; ++i) run_unit(i, context.shared, context.local[thread]);
    });
    program_.finish(context.shared, *context.pool);
  }

private:
  int64_t batch_offset(const int64_t* strides, int64_t batch) const {
    int64_t offset = 0;
    for (int d = kOuter - 1; d >= 0; --d) {
      offset += batch % outer_[d] * strides[d];
      batch /= outer_[d];
    }
    return offset;
  }

  float* all_of_b(char* shared) const { return reinterpret_cast<float*>(shared + shared_b_); }

  void pack_all_of_b(const RunContext& context) const {
    const int64_t panels = static_cast<int64_t>(g_.panels.size());
    context.pool->parallel_for(panels * g_.slices(), [&](int64_t job, int) {
      const ColumnPanel& panel = g_.panels[static_cast<size_t>(job % panels)];
      const int64_t start = job / panels * g_.depth, depth = std::min(g_.depth, g_.k - start);
      const float* b = static_cast<const float*>(g_.b.data) + panel.column * g_.b_column + start * g_.b_k;
      pack_b(panel, b, depth, all_of_b(context.shared) + g_.packed_offset(panel, start, depth));
    });
  }

  void pack_b(const ColumnPanel& panel, const float* b, int64_t depth, float* packed) const {
    const PackCall pack{b, g_.b_k, g_.b_column, depth, panel.columns, panel.vectors * int64_t{tier_.lanes}, packed};
    tier_.pack_panel(&pack);
  }

  // What a unit of work is about, and its scratch.
  struct Unit {
    int64_t batch, row_block, row, rows;
    const float *a, *b; // of the unit's first row; of the batch
    float *packed_a, *packed_b, *c;
    char *shared, *program;
  };

  // Neighbouring units share the block of A, which stays in the second-level cache.
  void run_unit(int64_t number, char* shared, char* local) const {
    Unit u{};
    const int64_t first = number % g_.groups * g_.group;
    const int64_t last = std::min<int64_t>(first + g_.group, static_cast<int64_t>(g_.panels.size()));
    u.row_block = number / g_.groups % g_.row_blocks;
    u.batch = number / g_.groups / g_.row_blocks;
    u.row = u.row_block * g_.block_rows;
    u.rows = std::min(g_.block_rows, g_.m - u.row);
    u.a = static_cast<const float*>(g_.a.data) + batch_offset(g_.a.strides, u.batch) + u.row * g_.a_row;
    u.b = static_cast<const float*>(g_.b.data) + batch_offset(g_.b.strides, u.batch);
    u.packed_a = reinterpret_cast<float*>(local);
    u.packed_b = reinterpret_cast<float*>(local + a_bytes_);
    u.c = reinterpret_cast<float*>(local + a_bytes_ + b_bytes_);
    u.program = local + a_bytes_ + b_bytes_ + c_bytes_;
    u.shared = shared;

    if (g_.wide) return run_wide(u, first, last);
    const int64_t slices = std::max<int64_t>(1, g_.slices());
    for (int64_t slice = 0; slice < slices; ++slice) {
      const int64_t start = slice * g_.depth, depth = std::min(g_.depth, g_.k - start);
      if (g_.packs_a) pack_a(u, start, depth);
      for (int64_t p = first; p < last; ++p) {
        float* c = u.c + (slices > 1 ? (p - first) * c_elements_ : 0);
        multiply_panel(u, static_cast<int>(p), start, depth, c, slice + 1 == slices);
      }
    }
  }

  // Panels [first, last) of a wide unit.
  void run_wide(const Unit& u, int64_t first, int64_t last) const {
    const ColumnPanel &left = g_.panels[static_cast<size_t>(first)], &right = g_.panels[static_cast<size_t>(last - 1)];
    const int64_t c_row = right.column + right.vectors * int64_t{tier_.lanes} - left.column;
    pack_a(u, 0, g_.k);
    MicroTile tile{g_.k, nullptr, 1, 0, nullptr, tier_.lanes, 0, nullptr, c_row, false};
    for (int64_t p = first; p < last; ++p) {
      const ColumnPanel& panel = g_.panels[static_cast<size_t>(p)];
      const Block part{u.batch, u.row_block, u.row, u.rows, 0, panel.column, panel.columns, nullptr, 0};
      tile.b = all_of_b(u.shared) + g_.packed_offset(panel, 0, g_.k);
      tile.b_k = panel.vectors * int64_t{tier_.lanes};
      for_each_tile(u.rows, tier_.micro_rows, [&](int64_t row, int64_t count) {
        program_.prefetch(part, row, count);
        tile.a = u.packed_a + row * g_.k;
        tile.a_k = count;
        tile.c = u.c + row * c_row + panel.column - left.column;
        tier_.micro[1][count - 1][panel.vectors - 1](&tile);
      });
    }
    const Block block{
        u.batch, u.row_block, u.row, u.rows, first / g_.group, left.column, right.column + right.columns - left.column,
        u.c,     c_row};
    program_.run(block, u.shared, u.program);
  }

  void pack_a(const Unit& u, int64_t start, int64_t depth) const {
    for_each_tile(u.rows, tier_.micro_rows, [&](int64_t row, int64_t count) {
      const PackCall pack{
          u.a + row * g_.a_row + start * g_.a_k, g_.a_k, g_.a_row, depth, count, count, u.packed_a + row * depth};
      tier_.pack_rows(&pack);
    });
  }

  // Multiplies one slice of k into the tile `c` of a panel; after the last slice the program takes the tile over.
  void multiply_panel(const Unit& u, int number, int64_t start, int64_t depth, float* c, bool last_slice) const {
    const ColumnPanel& panel = g_.panels[static_cast<size_t>(number)];
    const int64_t width = static_cast<int64_t>(panel.vectors) * tier_.lanes;
    int64_t c_row = width;
    const bool direct = direct_ != nullptr && panel.columns == width;
    if (direct) {
      c_row = direct_->strides[kRows];
      c = static_cast<float*>(direct_->data) + batch_offset(direct_->strides, u.batch) + u.row * c_row + panel.column;
    }
    const Block block{u.batch, u.row_block, u.row, u.rows, number, panel.column, panel.columns, c, c_row};

    MicroTile tile{depth, nullptr, g_.a_row, g_.a_k, nullptr, tier_.lanes, g_.b_k, nullptr, c_row, start > 0};
    tile.b = u.b + panel.column * g_.b_column + start * g_.b_k;
    if (g_.shares_b) {
      tile.b = all_of_b(u.shared) + g_.packed_offset(panel, start, depth);
      tile.b_k = width;
    } else if (u.rows > kUnpackedRows || g_.b_column != 1 || panel.columns < width) {
      pack_b(panel, tile.b, depth, u.packed_b);
      tile.b = u.packed_b;
      tile.b_k = width;
    }
    for_each_tile(u.rows, tier_.micro_rows, [&](int64_t row, int64_t count) {
      if (last_slice && !direct) program_.prefetch(block, row, count);
      tile.a = g_.packs_a ? u.packed_a + row * depth : u.a + row * g_.a_row + start * g_.a_k;
      if (g_.packs_a) tile.a_row = 1, tile.a_k = count;
      tile.c = c + row * c_row;
      tier_.micro[g_.column_major_a ? 1 : 0][count - 1][panel.vectors - 1](&tile);
    });
    if (last_slice && !direct) program_.run(block, u.shared, u.program);
  }

  const TierKernels& tier_;
  const Geometry g_;
  int64_t outer_[kOuter];
  TileProgram program_;
  const ResolvedOperand* direct_; // where results go without passing through the program
  size_t a_bytes_, b_bytes_, c_bytes_;
  int64_t shared_b_;   // where the packed B begins in shared scratch, in bytes
  int64_t c_elements_; // of one panel's tile
  int64_t units_per_job_;
};

} // namespace

std::unique_ptr<Kernel> make_matmul(const ResolvedStep& step, const TierKernels& tier) {
  return std::make_unique<MatmulKernel>(step, tier);
}

} // namespace nodevae
