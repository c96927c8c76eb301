// Zero-filled, 64-byte aligned host memory, and the resident buffers made of it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "plan.h"

namespace nodevae {

class AlignedMemory {
public:
  AlignedMemory() = default;
  // Throws std::bad_alloc, also for more than the machine's physical memory: an operating system that overcommits
  // would grant it and kill the process later.
  explicit AlignedMemory(size_t bytes);
  static AlignedMemory copy_of(const char* data, size_t bytes);
  AlignedMemory(AlignedMemory&& other) noexcept;
  AlignedMemory& operator=(AlignedMemory&& other) noexcept;
  ~AlignedMemory();

  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

private:
  char* data_ = nullptr;
  size_t bytes_ = 0;
};

// Memory that lives on the device between runs. Sessions and queued jobs share it, so it outlives its release.
struct Resident {
  Resident(DType type, int64_t count)
      : dtype(type), elements(count), memory(static_cast<size_t>(count) * dtype_size(type)) {}
  const DType dtype;
  const int64_t elements;
  const AlignedMemory memory;
  uint64_t version = 0; // raised by whoever changes the memory; touched on the context's thread only
};

} // namespace nodevae
