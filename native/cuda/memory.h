// Memory of a device, pinned memory of the host, and the copies between them.
#pragma once

#include <memory>

#include "../memory.h"
#include "context.h"

namespace nodevae::cuda {

// Zero-filled memory of a device. Contents are touched on the queue's thread only.
class DeviceMemory final : public Memory {
public:
  DeviceMemory(std::shared_ptr<Context> context, size_t bytes, const std::string& purpose);
  ~DeviceMemory() override;
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  size_t bytes() const override { return bytes_; }
  char* address() const override { return reinterpret_cast<char*>(address_); }
  void write(size_t offset, const char* from, size_t bytes) override;
  void read(size_t offset, char* to, size_t bytes) const override;
  void copy_from(const Memory& other) override;
  CUdeviceptr device_address() const { return address_; }

private:
  const std::shared_ptr<Context> context_;
  const size_t bytes_;
  CUdeviceptr address_ = 0;
};

// Memory of the host that the device reaches by itself, so that transfers need not wait. Its owner keeps the context.
class PinnedMemory {
public:
  PinnedMemory(Context& context, size_t bytes);
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;
  char* data() const { return data_; }

private:
  Context& context_;
  char* data_ = nullptr;
};

// A point in the stream. Its owner keeps the context.
class Event {
public:
  explicit Event(Context& context);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record();
  void wait() const;                                    // polls briefly, then sleeps
  double nanoseconds_since(const Event& earlier) const; // both have been waited for

private:
  Context& context_;
  CUevent event_ = nullptr;
};

// A pinned ring through which copies go, so that the copy of one piece on the host overlaps with the transfer of
// another.
class Staging {
public:
  explicit Staging(Context& context);
  // `from` may be reused when this returns; the transfer goes on in the order of the stream.
  void upload(CUdeviceptr to, const char* from, size_t bytes);
  // Returns when the content is there.
  void download(char* to, CUdeviceptr from, size_t bytes);

private:
  static constexpr size_t kPieceBytes = size_t{2} << 20;
  static constexpr size_t kPieces = 2;
  char* piece(size_t number) const { return memory_.data() + number % kPieces * kPieceBytes; }
  Event& moved(size_t number) { return moved_[number % kPieces]; }

  Context& context_;
  PinnedMemory memory_;
  Event moved_[kPieces]; // the transfer from or to a piece is done
  size_t next_ = 0;      // pieces used so far
};

} // namespace nodevae::cuda
