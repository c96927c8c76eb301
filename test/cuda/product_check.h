// What the checks of products and convolutions on CUDA share: operands as the precision rounds them, memory that must
// not be written, and an account of the kernels that ran and of all that they computed.
#pragma once

#include <cstring>
#include <fstream>
#include <memory>
#include <set>
#include <string>

#include "../native/basics.h"
#include "gpu.h"

namespace nodevae::cuda {

constexpr float kMark = -12345.0f; // around every array
constexpr int64_t kMargin = 64;

inline std::set<std::string> entries;
inline std::set<std::shared_ptr<const std::string>> modules; // kept: Gpu tells them apart by their places
inline uint64_t hash =
    1469598103934665603u; // of all results (FNV-1a by words), which no order of the blocks may change

inline void add_to_hash(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  hash = (hash ^ bits) * 1099511628211u;
}

inline float round_to(Precision precision, float x) {
  if (precision == Precision::float32) return x;
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if (precision == Precision::tf32)
    bits = (bits + 0x1000) & ~0x1fffu; // to nearest, ties away from zero
  else
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & ~0xffffu; // to nearest, ties to even
  std::memcpy(&x, &bits, 4);
  return x;
}

// The kernel of a launch, and in how many parts it sums.
inline std::string name_of(const Launch& launch) {
  return launch.entry + (launch.grid[1] > 1 ? " in " + std::to_string(launch.grid[1]) + " parts" : "");
}

// The PTX of all kernels, for ptxas; how many there are.
inline int write_modules(const std::string& folder) {
  int number = 0;
  for (const auto& module : modules) std::ofstream(folder + "/" + std::to_string(number++) + ".ptx") << *module;
  return number;
}

// The end of a check: the kernels that ran, and its exit status.
inline int report_products() {
  for (const std::string& entry : entries) std::printf("%s\n", entry.c_str());
  std::printf("results %016llx; ", static_cast<unsigned long long>(hash));
  return report();
}

} // namespace nodevae::cuda
