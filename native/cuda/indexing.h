// Parameters of the kernels of indexing.cu.
#pragma once

#include <cstdint>

namespace nodevae::cuda {

// Positions in the indices as they are counted for RunState::fault_position on their way through a uint32 ticket.
constexpr int64_t kMaxPositions = 0xFFFFFFFE;

// What checking indices needs. Tickets: blocks that are done, and 2^32 - 1 - position of the first bad index (so that
// zero means none, and the greatest is the first).
struct IndexParameters {
  uint64_t state, halted, tickets, indices;
  int64_t stride, count; // of the indices
  int64_t rows;          // of the table: indices are in [0, rows)
  int32_t step;
};

// Rows are copied in units of 16, 8, 4 or 1 bytes; strides count units. A block copies `block_rows` rows, or one of
// `parts` parts of a row.
struct GatherParameters {
  IndexParameters index;
  uint64_t table, out;
  int64_t table_row, table_unit, out_row, out_unit; // strides
  int64_t units;                                    // of a row
  int64_t part_units;
  int32_t block_rows, parts;
};

struct ScatterParameters {
  IndexParameters index;
  uint64_t updates, out, keys;
  int64_t update_row, update_column, out_row, columns;
  int32_t lanes; // threads for the columns of one update: a power of two, at most 32
  int32_t parts; // blocks of that many columns
};

} // namespace nodevae::cuda
