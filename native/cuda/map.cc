// map: chooses how a space is cut into tiles, and runs the program over them.
#include "map.h"

#include <algorithm>
#include <utility>

#include "program.h"

namespace nodevae::cuda {

namespace {

// Tiles are cut for this many multiprocessors, whatever the device has: they decide how sums are rounded.
constexpr int64_t kMultiprocessors = 128;
constexpr int64_t kBlocks = 4 * kMultiprocessors; // enough to keep all of them busy
// A part that another block has to add up costs about as much as this many chunks.
constexpr int64_t kChunksPerPart = 4;
constexpr int64_t kMostParts = 64;       // per result of a reduction over rows or columns
constexpr int64_t kMostPartsBoth = 512;  // per result of one over both
constexpr int64_t kLargeOuter = 1 << 14; // elements per outer index that keep a few blocks busy

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Tiling {
  bool flattened = false;
  int lanes_log2 = 0;
  int64_t rows = 1, columns = 1; // of a tile
  int64_t row_parts = 1, column_parts = 1;
};

class TileCutter {
public:
  explicit TileCutter(const ProgramSpace& space) : space_(space), vector_(Program::vector_for(space, 4)) {
    for (const Instruction& i : space.program)
      if (is_reduction(i)) reduces_[i.c] = true;
  }

  Tiling cut() {
    outer_ = space_.outer(), rows_ = space_.extent[kRows], columns_ = space_.extent[kColumns];
    Tiling tiling;
    // Small matrices one after the other share tiles, unless something is kept apart for each.
    if (outer_ > 1 && !reduces_[over_rows] && !reduces_[over_both] && rows_ * columns_ < kLargeOuter) {
      tiling.flattened = true;
      rows_ *= outer_, outer_ = 1;
    }
    tiling.lanes_log2 = choose_lanes();
    const int64_t chunk_rows = kBlockThreads >> tiling.lanes_log2; // and columns: what a block does at a time
    const int64_t chunk_columns = static_cast<int64_t>(vector_) << tiling.lanes_log2;
    const int64_t down = std::max<int64_t>(1, chunks_down(tiling.lanes_log2));
    const int64_t across = std::max<int64_t>(1, chunks_across(tiling.lanes_log2));
    const auto [tall, wide] = chunks_per_tile(down, across);
    tiling.rows = std::min(rows_, tall * chunk_rows), tiling.columns = std::min(columns_, wide * chunk_columns);
    tiling.row_parts = ceil_div(down, tall), tiling.column_parts = ceil_div(across, wide);
    return tiling;
  }

private:
  int64_t chunks_down(int lanes_log2) const { return ceil_div(rows_, kBlockThreads >> lanes_log2); }
  int64_t chunks_across(int lanes_log2) const {
    return ceil_div(columns_, static_cast<int64_t>(vector_) << lanes_log2);
  }

  // A warp for 32 neighbours, unless that leaves many threads idle: its rows then lie near each other, so that operands
  // that are contiguous along the rows are read by whole sectors. Reductions shape chunks so that there are more blocks
  // without there being more parts to add up.
  int choose_lanes() const {
    int lanes_log2 = 5;
    for (const int other : {6, 7, 8, 4, 3, 2, 1, 0})
      if (5 * chunks_down(other) * chunks_across(other) < 4 * chunks_down(lanes_log2) * chunks_across(lanes_log2))
        lanes_log2 = other;
    if (reduces_[over_rows]) {
      const int least = vector_ == 4 ? 2 : 3; // 64 or 32 bytes of a row
      const auto blocks = [&](int lanes) {
        return outer_ * chunks_across(lanes) * std::clamp<int64_t>(chunks_down(lanes) / kChunksPerPart, 1, kMostParts);
      };
      while (lanes_log2 > least && blocks(lanes_log2) < kBlocks) --lanes_log2;
    } else if (reduces_[over_columns]) {
      while (lanes_log2 < 8 && chunks_across(lanes_log2) > 1 && outer_ * chunks_down(lanes_log2) < kMultiprocessors)
        ++lanes_log2;
    }
    return lanes_log2;
  }

  std::pair<int64_t, int64_t> chunks_per_tile(int64_t down, int64_t across) const {
    if (reduces_[over_rows]) { // columns are independent; with reductions over columns as well, a tile is one chunk
                               // wide
      const int64_t wanted = ceil_div(kBlocks, outer_ * across);
      const int64_t parts = std::clamp<int64_t>(std::min(wanted, down / kChunksPerPart), 1, kMostParts);
      return {ceil_div(down, parts), 1};
    }
    if (reduces_[over_columns]) { // rows are independent
      const int64_t wanted = ceil_div(kBlocks, outer_ * down);
      const int64_t parts = std::clamp<int64_t>(std::min(wanted, across / kChunksPerPart), 1, kMostParts);
      const int64_t tall = reduces_[over_both] ? ceil_div(outer_ * down * parts, kMostPartsBoth)
                                               : ceil_div(outer_ * down * parts, 8 * kBlocks);
      return {std::min(down, tall), ceil_div(across, parts)};
    }
    int64_t chunks = std::clamp<int64_t>(down * across * outer_ / (2 * kBlocks), 1, kChunksPerPart);
    if (reduces_[over_both])
      chunks = std::max(ceil_div(down * across, kMostPartsBoth),
                        std::clamp<int64_t>(down * across * outer_ / kBlocks, 1, 2 * kChunksPerPart));
    const int64_t wide = std::min(across, chunks);
    return {std::min(down, ceil_div(chunks, wide)), wide};
  }

  const ProgramSpace& space_;
  const int vector_;
  int64_t outer_ = 0, rows_ = 0, columns_ = 0; // as tiles see them
  bool reduces_[4] = {false, false, false, false};
};

class LoweredMap final : public LoweredStep {
public:
  LoweredMap(ProgramSpace space, const Tiling& tiling, const Target& target)
      : tiling_(tiling), program_(std::move(space), tiling.row_parts, tiling.column_parts, {4, tiling.flattened}),
        entry_(std::string(program_.reduces() ? "map_reduce" : "map") + (program_.vector() == 4 ? "_v4" : "_v1")),
        module_(program_.splice("map", target.capability, entry_, offsetof(MapParameters, program))) {}

  size_t scratch_bytes() const override { return program_.scratch_bytes(); }
  size_t tickets() const override { return program_.tickets(); }

  std::vector<Launch> launches(const Addresses& addresses) const override {
    MapParameters p{};
    p.program = program_.arguments(addresses, 0, 0);
    p.tile_rows = static_cast<int32_t>(tiling_.rows);
    p.tile_columns = static_cast<int32_t>(tiling_.columns);
    p.lanes_log2 = tiling_.lanes_log2;
    Launch launch = make_launch(module_, entry_, p);
    launch.grid[0] = static_cast<uint32_t>(program_.outer() * tiling_.row_parts * tiling_.column_parts);
    launch.threads = kBlockThreads;
    launch.shared_bytes = static_cast<uint32_t>(program_.stage_bytes());
    return {launch};
  }

private:
  const Tiling tiling_;
  const Program program_;
  const std::string entry_;
  const std::shared_ptr<const std::string> module_;
};

class NothingToDo final : public LoweredStep {
  std::vector<Launch> launches(const Addresses&) const override { return {}; }
};

} // namespace

std::unique_ptr<LoweredStep> lower_map(const ResolvedStep& step, const Target& target) {
  ProgramSpace space(step, 0);
  SpaceShaper shaper(space);
  shaper.shape();
  // Over nothing there is nothing to do, except that a reduction of nothing has a result.
  const bool empty = space.extent[kRows] == 0 || space.extent[kColumns] == 0;
  if (space.outer() == 0 || (empty && shaper.axes() == 0)) return std::make_unique<NothingToDo>();
  const Tiling tiling = TileCutter(space).cut();
  return std::make_unique<LoweredMap>(std::move(space), tiling, target);
}

} // namespace nodevae::cuda
