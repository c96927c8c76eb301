// Memory of a device, of the host among them, and the resident buffers made of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "plan.h"

namespace nodevae {

// Zero-filled, 64-byte aligned host memory.
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

// Memory of some device. Contents are touched on the device's queue only, in the order of its jobs.
class Memory {
public:
  virtual ~Memory() = default;
  virtual size_t bytes() const = 0;
  // As the kernels of the device know it: for the host an ordinary pointer, for others nothing to be followed here.
  virtual char* address() const = 0;
  virtual void write(size_t offset, const char* from, size_t bytes) = 0;
  virtual void read(size_t offset, char* to, size_t bytes) const = 0;
  virtual void copy_from(const Memory& other) = 0; // of the same device and size
};

class HostMemory final : public Memory {
public:
  explicit HostMemory(size_t bytes) : memory_(bytes) {}
  size_t bytes() const override { return memory_.bytes(); }
  char* address() const override { return memory_.data(); }
  void write(size_t offset, const char* from, size_t bytes) override;
  void read(size_t offset, char* to, size_t bytes) const override;
  void copy_from(const Memory& other) override;

private:
  const AlignedMemory memory_;
};

// Memory that lives on the device between runs. Sessions and queued jobs share it, so it outlives its release.
struct Resident {
  Resident(DType type, int64_t count, std::unique_ptr<Memory> memory)
      : dtype(type), elements(count), memory(std::move(memory)) {}
  const DType dtype;
  const int64_t elements;
  const std::unique_ptr<Memory> memory;
  uint64_t version = 0; // raised by whoever changes the memory; touched on the context's thread only
};

} // namespace nodevae
