// How the rows and columns of a product are divided among register tiles.
#pragma once

#include <vector>

#include "kernels.h"

namespace nodevae {

// A panel of columns as wide as a register tile, or what is left of them.
struct ColumnPanel {
  int64_t column, columns; // columns: without those that only fill up the last vector
  int vectors;
};

inline std::vector<ColumnPanel> column_panels(int64_t columns, const TierKernels& tier) {
  std::vector<ColumnPanel> panels;
  const int64_t widest = tier.micro_vectors;
  int64_t vectors = ceil_div(columns, tier.lanes);
  for (int64_t column = 0; vectors > 0;) {
    // A last panel of one vector would be slow, so four vectors become two and two.
    const int64_t width = vectors == widest + 1 && widest == 3 ? 2 : std::min(vectors, widest);
    panels.push_back({column, std::min(columns - column, width * tier.lanes), static_cast<int>(width)});
    column += width * tier.lanes;
    vectors -= width;
  }
  return panels;
}

// Spreads rows evenly over register tiles: calls body(first row, rows) for each.
template <class Body> void for_each_tile(int64_t rows, int64_t tile_rows, const Body& body) {
  int64_t row = 0;
  for (int64_t left = ceil_div(rows, tile_rows); left > 0; --left) {
    const int64_t count = ceil_div(rows - row, left);
    body(row, count);
    row += count;
  }
}

} // namespace nodevae
