// What the checks of the CPU backend share: buffers, running a step, comparing.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "../../native/pool.h"
#include "basics.h"

namespace nodevae {

// Random values; exactly as large as it says, so that the address sanitizer sees every access beyond it. A handle, as
// pointers are: a const one can be written through.
struct Buffer {
  DType dtype = DType::float32;
  int64_t elements = 0;
  std::unique_ptr<char[]> bytes;

  explicit Buffer(int64_t n, DType type = DType::float32)
      : dtype(type), elements(n), bytes(new char[static_cast<size_t>(n) * dtype_size(type)]) {
    for (int64_t i = 0; i < n; ++i) {
      if (type == DType::float32)
        floats()[i] = normal();
      else if (type == DType::int32)
        ints()[i] = static_cast<int32_t>(pick(-1000, 1000));
      else
        reinterpret_cast<uint8_t*>(bytes.get())[i] = static_cast<uint8_t>(pick(0, 255));
    }
  }
  float* floats() const { return reinterpret_cast<float*>(bytes.get()); }
  int32_t* ints() const { return reinterpret_cast<int32_t*>(bytes.get()); }
  float& operator[](int64_t i) const { return floats()[i]; }
  double at(int64_t i) const {
    if (dtype == DType::float32) return floats()[i];
    if (dtype == DType::int32) return ints()[i];
    return reinterpret_cast<const uint8_t*>(bytes.get())[i];
  }
  std::vector<char> copy() const {
    return {bytes.get(), bytes.get() + static_cast<size_t>(elements) * dtype_size(dtype)};
  }
  void restore(const std::vector<char>& saved) const { std::memcpy(bytes.get(), saved.data(), saved.size()); }
};

// Scratch may hold anything: here NaN, which spoils every result that uses what was not written before.
inline void run_kernel(Kernel& kernel, int threads, uint64_t seed = 7, uint64_t counter = 3) {
  using Scratch = std::unique_ptr<float, void (*)(void*)>;
  const auto scratch = [](size_t bytes) {
    Scratch area(static_cast<float*>(std::aligned_alloc(64, (bytes + 64) / 64 * 64)), std::free);
    std::fill_n(area.get(), bytes / sizeof(float), NAN);
    return area;
  };
  Pool pool(threads);
  const Scratch shared = scratch(kernel.shared_bytes());
  std::vector<Scratch> owned;
  std::vector<char*> local;
  for (int i = 0; i < threads; ++i) {
    owned.push_back(scratch(kernel.local_bytes()));
    local.push_back(reinterpret_cast<char*>(owned.back().get()));
  }
  kernel.run({&pool, seed, counter, reinterpret_cast<char*>(shared.get()), local.data()});
}

inline void run_step(const ResolvedStep& step, const std::string& tier, int threads, uint64_t seed = 7,
                     uint64_t counter = 3) {
  run_kernel(*make_cpu_kernel(step, threads, tier), threads, seed, counter);
}

// Runs a step with one, two and three threads, each time from what is in its buffers now. No bit of them may differ.
inline void run_on_threads(const ResolvedStep& step, const std::string& tier, const std::vector<const Buffer*>& buffers,
                           const char* what) {
  std::vector<std::vector<char>> original, first;
  for (const Buffer* buffer : buffers) original.push_back(buffer->copy());
  for (int threads = 1; threads <= 3; ++threads) {
    for (size_t i = 0; i < buffers.size(); ++i) buffers[i]->restore(original[i]);
    run_step(step, tier, threads);
    std::vector<std::vector<char>> now;
    for (const Buffer* buffer : buffers) now.push_back(buffer->copy());
    if (threads == 1) {
      first = std::move(now);
      continue;
    }
    CHECK(now == first, "%s on %s: %d threads differ from one", what, tier.c_str(), threads);
  }
}

// |x - y|; NaN is at no distance from NaN, and infinitely far from anything else.
inline double distance(double x, double y) {
  if (x == y || (x != x && y != y)) return 0;
  const double difference = std::fabs(x - y);
  return difference == difference ? difference : INFINITY;
}

} // namespace nodevae
