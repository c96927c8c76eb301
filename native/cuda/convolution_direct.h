// The parameters of the direct kernels of convolution. Shared by host and device.
//
//   grouped           conv2d and conv2d_input_gradient of few channels per group (depthwise ones above all): a thread
//                     sums kGroupedPixels pixels of one channel of the destination, neighbouring threads do so for
//                     neighbouring channels
//   narrow            the same for one group and at most kNarrow channels of the destination: some threads share the
//                     channels of the source, for one pixel
//   grouped_weights   conv2d_weight_gradient of few channels per group: a thread sums up to kGroupedRows rows of one
//                     filter over its share of the pixels
//   narrow_weights    the same for one group and at most kNarrow filters: a thread sums kNarrowRows rows of all filters
#pragma once

#include "convolution.h"
#include "program_arguments.h"

namespace nodevae::cuda {

constexpr int kGroupedPixels = 4;
constexpr int kGroupedRows = 16;
constexpr int kNarrow = 4;
constexpr int kNarrowPixels = 256;      // of a block
constexpr int kNarrowWeights = 8 << 10; // floats that fit into shared memory
constexpr int kNarrowRows = 4;
constexpr int kDirectWidthLog2 = 6; // of neighbouring threads, at most

struct GroupedArguments {
  ProgramArguments program;
  CorrelationArguments geometry;
  int32_t columns_log2; // of a tile
  int32_t column_blocks;
  int32_t blocks_per_phase; // of rows
  int32_t lanes_log2;       // of the program's tiles
};

struct NarrowArguments {
  ProgramArguments program;
  CorrelationArguments geometry;
  int32_t pixels;     // of all images
  int32_t share_log2; // threads of a pixel
  int32_t lanes_log2;
};

// The grid is (row blocks x column blocks, splits).
struct DirectWeightsArguments {
  ProgramArguments program;
  WeightGradientArguments geometry;
  int32_t pixels, rows; // of all images; of the result
  int32_t column_blocks;
  int32_t tile_rows;
  int32_t columns_log2; // grouped: of a tile. narrow: threads that stand side by side along the rows
  int32_t lanes_log2;
  int32_t splits, split_pixels; // parts of the pixels
  uint64_t partials;            // [tile][split][row][column], where splits > 1
  uint64_t tickets;             // uint32 per tile
};

} // namespace nodevae::cuda
