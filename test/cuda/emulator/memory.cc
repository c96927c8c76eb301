#include "memory.h"

#include <cstdlib>
#include <cstring>

namespace emulator {

DeviceMemory::DeviceMemory() {
  const char* text = std::getenv("EMULATED_MEMORY");
  total_ = text ? std::strtoull(text, nullptr, 0) : size_t{8} << 30;
}

DeviceMemory& DeviceMemory::instance() {
  static DeviceMemory* memory = new DeviceMemory; // never destroyed: addons free memory while a process ends
  return *memory;
}

uint64_t DeviceMemory::allocate(size_t size, bool host) {
  size_t padded = (size + 255) / 256 * 256;
  if (size == 0 || padded < size || (!host && padded > total_ - used_)) return 0;
  void* memory = std::aligned_alloc(256, padded);
  if (!memory) return 0;
  std::memset(memory, 0xff, padded);
  if (!host) used_ += padded;
  Range range;
  range.bias = host ? 0 : kDeviceBias;
  range.begin = reinterpret_cast<uint64_t>(memory) + range.bias;
  range.end = range.begin + size;
  ranges_[range.begin] = range;
  return range.begin;
}

bool DeviceMemory::release(uint64_t address, bool host) {
  auto found = ranges_.find(address);
  if (found == ranges_.end() || (found->second.bias == 0) != host) return false;
  const Range& range = found->second;
  if (!host) used_ -= (range.end - range.begin + 255) / 256 * 256;
  std::free(range.host(range.begin));
  ranges_.erase(found);
  return true;
}

void DeviceMemory::release_all() {
  for (const auto& [begin, range] : ranges_) std::free(range.host(begin));
  ranges_.clear();
  used_ = 0;
}

const Range* DeviceMemory::nearest(uint64_t address) const {
  auto after = ranges_.upper_bound(address);
  return after == ranges_.begin() ? nullptr : &(--after)->second;
}

const Range* DeviceMemory::find(uint64_t address) const {
  const Range* range = nearest(address);
  return range && address < range->end ? range : nullptr;
}

} // namespace emulator
