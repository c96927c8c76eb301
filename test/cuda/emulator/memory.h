// Device memory. A device address is the host address plus kDeviceBias, which no host pointer can be: a host that
// follows a device address crashes, and a kernel that follows a host address is outside of every allocation. Memory
// from cuMemAllocHost and cuMemHostAlloc is reached from both sides under one address, as with unified addressing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace emulator {

constexpr uint64_t kDeviceBias = uint64_t{1} << 48;
// Generic addresses of the other spaces.
constexpr uint64_t kSharedWindow = uint64_t{1} << 49;
constexpr uint64_t kLocalWindow = kSharedWindow + (uint64_t{1} << 32);
constexpr uint64_t kParameterWindow = kSharedWindow + (uint64_t{1} << 33);
constexpr uint64_t kWindowsEnd = kSharedWindow + (uint64_t{1} << 34);

struct Range {
  uint64_t begin = 0, end = 0; // device addresses; the bytes that were asked for
  uint64_t bias = 0;           // host address = device address - bias
  bool contains(uint64_t address, uint64_t size) const {
    return address >= begin && size <= end - begin && address - begin <= end - begin - size;
  }
  uint8_t* host(uint64_t address) const { return reinterpret_cast<uint8_t*>(address - bias); }
};

class DeviceMemory {
public:
  static DeviceMemory& instance();
  // 256-byte aligned, filled with 0xff so that reading it gives NaN. 0 when EMULATED_MEMORY bytes are not left.
  uint64_t allocate(size_t size, bool host);
  bool release(uint64_t address, bool host); // false for an address that is not the begin of a live allocation
  void release_all();
  const Range* find(uint64_t address) const;    // the allocation that holds the address
  const Range* nearest(uint64_t address) const; // the last allocation that begins before the address
  size_t total() const { return total_; }
  size_t used() const { return used_; }

private:
  DeviceMemory();
  std::map<uint64_t, Range> ranges_; // by begin
  size_t total_ = 0, used_ = 0;
};

} // namespace emulator
