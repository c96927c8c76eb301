// Memory of a device, of the host among them, and the resident buffers made of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "plan.h"

namespace nodevae {

// Memory that could not be had. what() says how much was asked for, and what for.
class OutOfMemory : public std::bad_alloc {
public:
  explicit OutOfMemory(std::string problem) : problem_(std::move(problem)) {}
  // "out of memory: 1.5 GB for the working memory of a session"
  OutOfMemory(size_t bytes, const char* purpose);
  const char* what() const noexcept override { return problem_.c_str(); }

private:
  std::string problem_;
};

// "1.5 GB", "812 bytes".
std::string show_bytes(uint64_t bytes);

// Zero-filled, 64-byte aligned host memory.
class AlignedMemory {
public:
  AlignedMemory() = default;
  // Throws OutOfMemory, also for more than the machine's physical memory: an operating system that overcommits would
  // grant it and kill the process later. `purpose` is for its message.
  AlignedMemory(size_t bytes, const char* purpose);
  static AlignedMemory copy_of(const char* data, size_t bytes, const char* purpose);
  AlignedMemory(AlignedMemory&& other) noexcept;
  AlignedMemory& operator=(AlignedMemory&& other) noexcept;
  ~AlignedMemory();

  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

private:
  char* data_ = nullptr;
  size_t bytes_ = 0;
};

// Gives free pages of the C library's heap back to the system, where it keeps them. Does not wait for it: that takes
// half a millisecond for each of the megabytes given back.
void trim_heap() noexcept;

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
  HostMemory(size_t bytes, const char* purpose) : memory_(bytes, purpose) {}
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
