// The contract between the tier-neutral CPU code and one instruction tier (portable, avx2, avx512, neon).
//
// A tier is one translation unit compiled with that tier's flags. It may only define functions with internal
// linkage over the plain structs below, and it exports one table. No header that defines inline functions or
// templates of the standard library is included there: the linker keeps one copy of a weak symbol, and the copy
// it keeps could be the one with instructions that this processor does not have.
#pragma once

#include <cstdint>

#include "../axes.h"

namespace nodevae {

// The instruction numbers of ops.def, without plan.h and the containers it pulls in.
namespace opcode {
enum Id : int {
#define STRUCTURAL(name) name,
#define UNARY(name, expression) name,
#define BINARY(name, expression) name,
#define TERNARY(name, expression) name,
#include "../ops.def"
  count
};
} // namespace opcode

// The part of a value that one tile holds: rows of contiguous floats, `stride` floats apart (0: one row for all).
struct TileView {
  float* data;
  int64_t stride;
};

struct ElementwiseCall {
  int64_t rows, columns;
  TileView out;
  TileView argument[3]; // an argument that is uniform over the tile points at one float
};
using ElementwiseFunction = void (*)(const ElementwiseCall*);

enum class ElementType : int32_t { float32 = 0, int32 = 1, uint8 = 2 };

// Moves a tile between strided memory of any type and contiguous float rows.
struct TransferCall {
  int64_t rows, columns;
  void* memory;
  ElementType type;
  int64_t row_stride, column_stride; // of `memory`, in elements
  TileView tile;
};
using TransferFunction = void (*)(const TransferCall*);

// Adds a tile (or takes the maximum with it) into `result`: `columns` floats for a reduction over rows, `rows`
// floats for one over columns, one float for both.
struct ReduceCall {
  int64_t rows, columns;
  TileView tile;
  float* result;
};
using ReduceFunction = void (*)(const ReduceCall*);

// c[rows x vectors * lanes] = (or +=, when accumulating) a * b over `k`.
// Row r of a at k: a[r * a_row + k * a_k], where one of the two strides is 1 (see TierKernels::micro).
// Vector v of b at k: b[v * b_vector + k * b_k].
struct MicroTile {
  int64_t k;
  const float* a;
  int64_t a_row, a_k;
  const float* b;
  int64_t b_vector, b_k;
  float* c;
  int64_t c_row;
  bool accumulate;
};
using MicroKernel = void (*)(const MicroTile*);

// Copies `k` x `count` floats into a panel: packed[i * width + j] = source[i * k_stride + j * unit_stride].
// Columns from `count` to `width` become 0.
struct PackCall {
  const float* source;
  int64_t k_stride, unit_stride;
  int64_t k, count, width;
  float* packed;
};
using PackFunction = void (*)(const PackCall*);

// A register tile of a convolution. Its rows stand anywhere (`a_rows`, `c_rows`: offsets in floats), and the products
// run over `segments` stretches of `run` steps each: row r reads a[a_rows[r] + segment.a + i * a_k] at step i, against
// b[segment.b * b_unit + i * b_k]. What the tables hold is the geometry; see convolution.h.
struct Segment {
  int64_t a, b;
};
struct WindowTile {
  int64_t segments, run;
  const Segment* segment;
  const float* a;
  const int64_t* a_rows;
  int64_t a_k;
  const float* b;
  int64_t b_k, b_unit;
  float* c;
  const int64_t* c_rows;
  int64_t columns;  // of the lanewise form
  int64_t b_vector; // of the spread and the pairwise form
  bool accumulate;  // not for the dot form
};
using WindowKernel = void (*)(const WindowTile*);

// Between rows of pixels of `streams` floats and planes of one: planes[s * plane_stride + j] is pixels[j * streams +
// s]. Rows have `floats` floats; where the last pixel is not whole, what it lacks may be written as 0. Planes are read
// in whole vectors.
struct InterleaveCall {
  int64_t streams, rows, floats;
  float* planes;
  int64_t plane_stride, plane_row;
  float* pixels;
  int64_t pixel_row;
};
using InterleaveFunction = void (*)(const InterleaveCall*);

// A register tile of planes: some rows of sums, `columns` wide, for some outputs. Output n of row r at column i is the
// sum over channels, taps and k < count of planes[channel * plane_stride + offset + (r + k) * row_stride + i] times a
// weight; weights lie in the order of the sum, [channel][tap][k][output].
struct PlaneTaps {
  int64_t offset;
  int64_t count; // kernel rows that read consecutive rows of one plane, <= kMaximumPlaneTaps
};
struct PlaneTile {
  int64_t columns; // planes are read in whole vectors
  int64_t channels, tap_count;
  const PlaneTaps* taps;
  const float* planes;
  int64_t plane_stride, row_stride;
  const float* weights;
  float* sums;
  int64_t sum_stride, sum_row_stride; // from output to output, from row to row
  const char* ahead;                  // what is needed later: fetched `ahead_lines` cache lines per vector and channel
  int64_t ahead_lines;
};
using PlaneFunction = void (*)(const PlaneTile*);

struct NoiseCall {
  float* out;
  int64_t count;
  uint32_t first_block; // element i of `out` is lane i % 4 of block first_block + i / 4
  uint32_t stream;
  uint64_t step, seed;
};
using NoiseFunction = void (*)(const NoiseCall*);

// out[i] = permuted_index(first + i, rows, stream, epoch, seed) of philox.h; with shuffling only.
struct PermutationCall {
  int32_t* out;
  int64_t count;
  uint32_t first, rows, stream;
  uint64_t epoch, seed;
};

constexpr int kMaximumMicroRows = 8;
constexpr int kMaximumMicroVectors = 3;
constexpr int kMaximumDotColumns = 4;
constexpr int kMaximumPlaneOutputs = 4;
constexpr int kMaximumPlaneRows = 8;
constexpr int kMaximumPlaneTaps = 3;

struct TierKernels {
  const char* name;
  int lanes;      // floats per vector
  int micro_rows; // largest register tile: micro_rows x (micro_vectors * lanes)
  int micro_vectors;

  // By instruction and by the set of uniform arguments (bit i = argument i). Null where there is no such form:
  // an instruction whose arguments are all uniform is a tile of one element.
  ElementwiseFunction elementwise[opcode::count][8];
  TransferFunction load, store;
  ReduceFunction reduce_sum[4], reduce_max[4]; // by ReductionAxes

  // By (a_row == 1 ? 1 : 0), rows - 1, vectors - 1. Form 0 wants a_k == 1, form 1 wants a_row == 1.
  MicroKernel micro[2][kMaximumMicroRows][kMaximumMicroVectors];
  PackFunction pack_panel; // width is a multiple of the lanes
  PackFunction pack_rows;  // width = count <= micro_rows; may write up to `lanes` floats past the end

  // Broadcast form, by rows - 1 and vectors - 1: a is one float per row, b `vectors` vectors, c their outer product.
  // Spread form: the same with the vectors of b b_vector apart. Pairwise form: moreover a is a vector per row,
  // multiplied lane by lane. Lanewise form, by rows - 1: a and b are `columns` floats each, multiplied one by one. Dot
  // form, by columns - 1: always micro_rows rows; a and b run along k; one sum per row and column. b is packed in steps
  // of `lanes`, each `columns` vectors, filled up with zeros at the end of a run.
  WindowKernel window_broadcast[kMaximumMicroRows][kMaximumMicroVectors];
  WindowKernel window_spread[kMaximumMicroRows][kMaximumMicroVectors];
  WindowKernel window_pairwise[kMaximumMicroRows][kMaximumMicroVectors];
  WindowKernel window_lanewise[kMaximumMicroRows];
  WindowKernel window_dot[kMaximumDotColumns];

  InterleaveFunction deinterleave, interleave;
  // By outputs - 1 and rows - 1. For each number of outputs there are forms of 1 to plane_rows[outputs - 1] rows.
  PlaneFunction planes[kMaximumPlaneOutputs][kMaximumPlaneRows];
  int plane_rows[kMaximumPlaneOutputs];

  NoiseFunction uniform, normal;
  void (*permute)(const PermutationCall*);
  void (*add)(float* out, const float* values, int64_t count); // out += values

  // `rounds` rounds of independent multiply-adds in registers; returns floating-point operations per round.
  double (*fma_burst)(int64_t rounds);
};

// Defined for the tiers that the build has.
const TierKernels* tier_portable();
const TierKernels* tier_avx2();
const TierKernels* tier_avx512();
const TierKernels* tier_neon();

} // namespace nodevae
