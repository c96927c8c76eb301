// The product of matrices on CUDA, as its kernels and their lowerings know it: the tiles, how operands lie in shared
// memory and how they are copied there. Shared by host and device.
#pragma once

#include <cstdint>

namespace nodevae::cuda {

// A product C(m, n) = sum over k of A(m, k) B(k, n). What is said of both operands speaks of lines: a line of A is one
// of its rows (m), a line of B one of its columns (n). The other dimension is the depth, k.

// How tiles are multiplied: in float32 by ordinary instructions, or by tensor cores (compute capability 8.0 and later)
// with operands rounded to TF32 or bfloat16. All accumulate in float32.
enum class Method : int32_t { float32, tf32, bfloat16 };

// Where the element (line, k) of an operand's tile lies in shared memory.
enum class Layout : int32_t {
  by_depth, // lines are neighbours: [k][line]
  by_line,  // ks are neighbours: [line][k]
};

// How a tile is copied. The layout bounds the choice: by_depth takes any, where `vector` means four neighbouring
// lines; by_line takes `vector`, four neighbouring ks, and `along_depth`.
enum class Copy : int32_t {
  vector,      // 16 bytes: addresses are multiples of 16, and an element exists where its group's first one does
  along_depth, // single elements, neighbouring threads at neighbouring ks
  along_lines, // single elements, neighbouring threads at neighbouring lines
};

// The part of a product that one block computes, by rows and columns of C. The threads of a block are always 256.
struct TileShape {
  int32_t rows, columns;
};
constexpr TileShape kTileShapes[] = {{128, 128}, {32, 128}, {128, 32}, {64, 64}}; // the first of equally good ones wins

constexpr int tile_depth(bool tensor, TileShape shape) { return !tensor && shape.rows * shape.columns > 8192 ? 8 : 16; }
// Asynchronous copies run several stages ahead; where there are none (before compute capability 8.0), the next stage
// waits in registers.
constexpr int tile_stages(bool tensor, TileShape shape, bool asynchronous) {
  return !asynchronous ? 2 : tensor && shape.rows * shape.columns > 8192 ? 3 : 4;
}
// Padding makes the scalar copies of float32 tiles free of bank conflicts; tensor tiles are permuted instead.
constexpr int tile_pad(bool tensor) { return tensor ? 0 : 4; }

// The finished tile passes through shared memory, where the pipeline was, a slab of rows at a time.
constexpr int slab_rows(TileShape shape) { return shape.rows * shape.columns > 8192 ? 64 : shape.rows; }
constexpr int slab_stride(TileShape shape) { return shape.columns + 4; }
constexpr int slab_bytes(TileShape shape) { return slab_rows(shape) * slab_stride(shape) * 4; }
constexpr int kPositionFloats = 8; // behind the pipeline: a TilePosition
constexpr int pipeline_floats(bool tensor, TileShape shape, bool asynchronous) {
  return tile_stages(tensor, shape, asynchronous) * tile_depth(tensor, shape) *
         (shape.rows + shape.columns + 2 * tile_pad(tensor));
}
constexpr int pipeline_bytes(bool tensor, TileShape shape, bool asynchronous) {
  return (pipeline_floats(tensor, shape, asynchronous) + kPositionFloats) * 4;
}

// Part of the parameter struct of every kernel that computes a product. The grid is (tiles, splits, 1), where tiles
// count outer indices x blocks of rows x blocks of columns.
struct GemmArguments {
  int32_t rows, columns, depth; // extents of m, n and k
  int32_t row_blocks, column_blocks;
  int32_t splits;      // parts that k is cut into,
  int32_t split_depth; // each of so many ks (a multiple of 4); the last one has what is left
  int32_t lanes_log2;  // of the program's tiles: ProgramTile
  uint64_t partials;   // [tile][split][elements of a tile], where splits > 1
  uint64_t tickets;    // uint32 per tile: splits done, where splits > 1
};

} // namespace nodevae::cuda
