// Sorting rows of 64-bit keys that are all different, in global memory: what has to be sorted is put into the upper
// half of the key and its position into the lower one, so every sort is stable, and its result is unique.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lowering.h"

namespace nodevae::cuda {

constexpr int64_t kTileKeys = 4096; // sorted at once, in shared memory

struct SortKeysParameters {
  uint64_t halted, from, to; // `from` and `to` are the same for tiles
  int64_t rows, columns;
  int64_t width;  // of the sorted runs that are merged in pairs
  int64_t blocks; // per row
};

// Appends what sorts `keys` [rows, columns] (uint64); `spare` is as large. Returns where the sorted keys are then.
uint64_t append_key_sort(std::vector<Launch>& launches, int capability, uint64_t halted, uint64_t keys, uint64_t spare,
                         int64_t rows, int64_t columns);

} // namespace nodevae::cuda
