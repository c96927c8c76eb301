// map: a program over a space. A block has one tile: of an outer index, a part of the rows and one of the columns.
#include "map.h"

#include "program.cuh"

namespace nodevae::cuda {

template <int V, bool Reduces> __device__ __forceinline__ void map(const MapParameters& p) {
  extern __shared__ __align__(16) float stage[];
  const int column_parts = p.program.column_parts, row_parts = p.program.row_parts;
  const int number = blockIdx.x, rest = number / column_parts;
  ProgramTile tile;
  tile.outer = rest / row_parts;
  tile.row_part = rest % row_parts;
  tile.column_part = number % column_parts;
  const int first_row = tile.row_part * p.tile_rows;
  tile.rows = min(p.tile_rows, p.program.rows - first_row);
  tile.first_column = tile.column_part * p.tile_columns;
  tile.columns = min(p.tile_columns, p.program.columns - tile.first_column);
  tile.lanes_log2 = p.lanes_log2;
  run_program<V, Reduces>(p.program, tile, PlainTile{first_row}, stage);
}

#define NODE_VAE_MAP(name, V, Reduces)                                                                                 \
  extern "C" __global__ void __launch_bounds__(kBlockThreads, 1) name(const __grid_constant__ MapParameters p) {       \
    map<V, Reduces>(p);                                                                                                \
  }
NODE_VAE_MAP(map_v1, 1, false)
NODE_VAE_MAP(map_v4, 4, false)
NODE_VAE_MAP(map_reduce_v1, 1, true)
NODE_VAE_MAP(map_reduce_v4, 4, true)

} // namespace nodevae::cuda
