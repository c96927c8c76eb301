#include "sort_keys.h"

#include <utility>

#include "step.h"

namespace nodevae::cuda {

uint64_t append_key_sort(std::vector<Launch>& launches, int capability, uint64_t halted, uint64_t keys, uint64_t spare,
                         int64_t rows, int64_t columns) {
  const auto module = embedded_module("sort_keys", capability);
  SortKeysParameters p{halted, keys, keys, rows, columns, kTileKeys, divide_up(columns, kTileKeys)};
  launches.push_back(
      launch_of(module, "sort_key_tiles", grid_of(rows * p.blocks, "sort"), p, kTileKeys * sizeof(uint64_t)));
  p.blocks = divide_up(columns, kThreads);
  for (; p.width < columns; p.width *= 2) {
    p.from = keys;
    p.to = spare;
    launches.push_back(launch_of(module, "merge_keys", grid_of(rows * p.blocks, "sort"), p));
    std::swap(keys, spare);
  }
  return keys;
}

} // namespace nodevae::cuda
