#include "memory.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace nodevae {
namespace {

constexpr size_t kAlignment = 64;

#if defined(__unix__) || defined(__APPLE__)
// Mapped memory comes zeroed without being touched and goes back to the system at once when it is freed.
constexpr size_t kMapFrom = size_t{128} << 10;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kHugePagesFrom = size_t{4} << 20;

size_t physical_memory() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<size_t>(pages) * static_cast<size_t>(page) : SIZE_MAX;
}

char* map(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<char*>(memory);
}

// A huge page must start at a multiple of its size: map a page more and give back what sticks out.
char* map_huge(size_t bytes) {
  char* memory = map(bytes + kHugePage);
  if (memory == nullptr) return nullptr;
  const size_t skip = (kHugePage - reinterpret_cast<uintptr_t>(memory) % kHugePage) % kHugePage;
  if (skip > 0) munmap(memory, skip);
  if (skip < kHugePage) munmap(memory + skip + bytes, kHugePage - skip);
#ifdef MADV_HUGEPAGE
  madvise(memory + skip, bytes, MADV_HUGEPAGE);
#endif
  return memory + skip;
}

size_t page_size() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

char* allocate(size_t bytes) {
  if (bytes > physical_memory()) return nullptr;
  if (bytes >= kHugePagesFrom) return map_huge((bytes + page_size() - 1) / page_size() * page_size());
  if (bytes >= kMapFrom) return map(bytes);
  void* memory = nullptr;
  if (posix_memalign(&memory, kAlignment, bytes) != 0) return nullptr;
  return static_cast<char*>(std::memset(memory, 0, bytes));
}

void release(char* memory, size_t bytes) {
  if (bytes >= kMapFrom)
    munmap(memory, bytes);
  else
    std::free(memory);
}
#else
char* allocate(size_t bytes) {
  void* memory = ::operator new(bytes, std::align_val_t{kAlignment}, std::nothrow);
  return memory == nullptr ? nullptr : static_cast<char*>(std::memset(memory, 0, bytes));
}
void release(char* memory, size_t) { ::operator delete(memory, std::align_val_t{kAlignment}); }
#endif

} // namespace

std::string show_bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"bytes", "kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 1000) return std::to_string(bytes) + " bytes";
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < std::size(kUnits); value /= 1000) ++unit;
  char text[32];
  std::snprintf(text, sizeof text, value < 9.95 ? "%.1f %s" : "%.0f %s", value, kUnits[unit]);
  return text;
}

OutOfMemory::OutOfMemory(size_t bytes, const char* purpose)
    : OutOfMemory("out of memory: " + show_bytes(bytes) + " for " + purpose) {}

AlignedMemory::AlignedMemory(size_t bytes, const char* purpose) : bytes_(bytes) {
  if (bytes == 0) return;
  data_ = allocate(bytes);
  if (data_ == nullptr) throw OutOfMemory(bytes, purpose);
}

AlignedMemory AlignedMemory::copy_of(const char* data, size_t bytes, const char* purpose) {
  AlignedMemory copy(bytes, purpose);
  if (bytes > 0) std::memcpy(copy.data(), data, bytes);
  return copy;
}

AlignedMemory::AlignedMemory(AlignedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

AlignedMemory& AlignedMemory::operator=(AlignedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

AlignedMemory::~AlignedMemory() {
  if (data_ != nullptr) release(data_, bytes_);
}

void trim_heap() noexcept {
#ifdef __GLIBC__
  static std::atomic<bool> busy{false};
  if (busy.exchange(true)) return;
  try {
    std::thread([] {
      malloc_trim(0);
      busy.store(false);
    }).detach();                       // it touches nothing that could end before it
  } catch (const std::system_error&) { // no thread to be had
    busy.store(false);
  }
#endif
}

void HostMemory::write(size_t offset, const char* from, size_t bytes) {
  if (bytes > 0) std::memcpy(memory_.data() + offset, from, bytes);
}

void HostMemory::read(size_t offset, char* to, size_t bytes) const {
  if (bytes > 0) std::memcpy(to, memory_.data() + offset, bytes);
}

void HostMemory::copy_from(const Memory& other) { std::memcpy(memory_.data(), other.address(), bytes()); }

} // namespace nodevae
