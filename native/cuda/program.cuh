// Applying a step's program to tiles, on the device. Kernels (map, products, convolutions) call run_program() for
// their tiles; inside, markers in the PTX stand where program.cc puts the code of the program at hand.
#pragma once

#include "program_stage.cuh"

namespace nodevae::cuda {

// Whether this step must not write anything: kernels of guarded steps leave early.
__device__ __forceinline__ bool program_halted(const ProgramArguments& p) { return stopped(p.halted); }

// A tile of a kernel that has no product of its own. For products, `value` and `value4` (neighbouring columns, the
// first a multiple of 4) give the accumulator by row and column of the tile, and `row` the row of the space.
struct PlainTile {
  int first_row;
  __device__ int row(int r) const { return first_row + r; }
  __device__ float value(int, int) const { return 0.0f; }
  __device__ float4 value4(int, int) const { return make_float4(0.0f, 0.0f, 0.0f, 0.0f); }
};

// One thread's element, or V of them: the program's own code.
template <int V, class Tile>
__device__ __forceinline__ void run_element(const Tile& tile, int tile_row, int tile_column, int row, int column) {
  if constexpr (V == 4) {
    const float4 x = tile.value4(tile_row, tile_column);
    asm volatile("//@element %0 %1 %2 %3 %4 %5" ::"r"(row), "r"(column), "f"(x.x), "f"(x.y), "f"(x.z), "f"(x.w));
  } else {
    const float x = tile.value(tile_row, tile_column);
    asm volatile("//@element %0 %1 %2" ::"r"(row), "r"(column), "f"(x));
  }
}

// Applies the program to a tile. Called by all 256 threads of a block; what the tile reads from shared memory must be
// there already (a barrier before), and may be overwritten after a barrier. `stage` is Program::stage_bytes() of
// shared memory, aligned to 16 bytes, and none of the tile's. A block may run several tiles, one after the other.
// Reduces: whether the program may have reductions (Program::reduces()); without, there is less to compile.
template <int V, bool Reduces = true, class Tile>
__device__ __forceinline__ void run_program(const ProgramArguments& p, const ProgramTile& at, const Tile& tile,
                                            float* stage) {
  static_assert(V == 1 || V == 4, "columns per thread");
  if (program_halted(p)) return;
  const int thread = threadIdx.x, lanes = 1 << at.lanes_log2;
  const int chunk_rows = kBlockThreads >> at.lanes_log2, chunk_columns = lanes * V;
  const int row_in_chunk = thread >> at.lanes_log2, column_in_chunk = (thread & (lanes - 1)) * V;
  const int row_chunks = (at.rows + chunk_rows - 1) >> (8 - at.lanes_log2);
  const int column_chunks = (at.columns + chunk_columns - 1) / chunk_columns;
  const bool columns_reduced = program_columns_end() > program_rows_end();
  const ProgramStage<V> stages(p, at, stage);

  asm volatile("//@begin %0" ::"r"(at.outer));
  // Without a chunk in some direction, what follows a walk over nothing still happens.
  const bool rows_first = Reduces && program_rows_first() != 0;
  const int outer_chunks = max(1, rows_first ? row_chunks : column_chunks);
  const int inner_chunks = max(1, rows_first ? column_chunks : row_chunks);
#pragma unroll 1
  for (int i = 0; i < outer_chunks; ++i) {
#pragma unroll 1
    for (int j = 0; j < inner_chunks; ++j) {
      const int tile_row = (rows_first ? i : j) * chunk_rows + row_in_chunk;
      const int tile_column = (rows_first ? j : i) * chunk_columns + column_in_chunk;
      if (tile_row < at.rows && tile_column < at.columns)
        run_element<V>(tile, tile_row, tile_column, tile.row(tile_row), at.first_column + tile_column);
      if (Reduces && columns_reduced && (!rows_first || j == inner_chunks - 1)) stages.flush_columns(tile, tile_row);
    }
    if (Reduces && program_rows_end() > 0) stages.flush_rows(i * chunk_columns);
  }
  if (Reduces) stages.finish(tile);
}

} // namespace nodevae::cuda
