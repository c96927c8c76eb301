// Parameters of the kernels of small_*.cu.
#pragma once

#include <cstdint>

namespace nodevae::cuda {

struct FoldParameters {
  uint64_t halted, windows, out;
  int32_t images, height, width, channels, out_height, out_width, kernel_height, kernel_width;
  int32_t stride_height, stride_width, pad_top, pad_left, dilation_height, dilation_width;
  int32_t group_images; // computed by blocks numbered in a row; so many have fewer than 2^31 elements
  uint32_t group_blocks;
};

// Sequences run along `length`, for each of `outer` x `inner`.
struct CumulativeSumParameters {
  uint64_t halted, in, out, totals; // totals: double [outer, segments, inner]
  int64_t outer, length, inner;
  int64_t column_blocks; // of 2^log_columns neighbouring sequences
  int64_t segments, segment_length;
  int32_t log_columns, reverse, exclusive;
};

// A block sorts 2^log_rows rows, each in 2^log_width places of shared memory; or writes and reads keys of longer ones.
struct SortParameters {
  uint64_t halted, in, out, keys;
  int64_t rows, columns;
  int32_t log_rows, log_width, descending, positions;
};

struct CholeskyParameters {
  uint64_t halted, in, out;
  int64_t n;
};

// A block solves for 2^log_columns columns of one matrix. Running sums, in double precision, lie in shared memory or in
// `sums`: [block, n, 2^log_columns].
struct TriangularSolveParameters {
  uint64_t halted, matrices, right, out, sums;
  int64_t n, columns, column_blocks;
  int32_t log_columns, transpose;
};

} // namespace nodevae::cuda
