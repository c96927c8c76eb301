// Memory: allocation, copies, fills.
#include <cstring>

#include "driver.h"

namespace emulator {

uint8_t* device_bytes(CUdeviceptr address, size_t size, const char* what) {
  const Range* range = DeviceMemory::instance().find(address);
  if (!range || !range->contains(address, size))
    refuse(CUDA_ERROR_INVALID_VALUE, std::string(what) + ": " + std::to_string(size) + " bytes at " +
                                         std::to_string(address) + " are not in a live allocation");
  return range->host(address);
}

void* host_bytes(const void* pointer, const char* what) {
  require(pointer, what);
  if (reinterpret_cast<uint64_t>(pointer) >= kDeviceBias)
    refuse(CUDA_ERROR_INVALID_VALUE, std::string(what) + " is a device address");
  return const_cast<void*>(pointer);
}

namespace {

CUdeviceptr allocate(size_t size, bool host) {
  not_while_capturing("an allocation");
  if (size == 0) refuse(CUDA_ERROR_INVALID_VALUE, "an allocation of 0 bytes");
  CUdeviceptr address = DeviceMemory::instance().allocate(size, host);
  if (!address) throw std::bad_alloc(); // not reported on stderr: programs try and fall back
  return address;
}

// `synchronous`: the call waits, which a stream that is captured cannot.
CUresult copy(const char* name, CUstream stream, bool synchronous, const std::function<std::function<void()>()>& make) {
  return enter(Needs::context, name, [&] {
    if (synchronous) not_while_capturing(name);
    submit(checked_stream(stream), CU_GRAPH_NODE_TYPE_MEMCPY, make());
  });
}

std::function<void()> to_device(CUdeviceptr to, const void* from, size_t size) {
  if (size == 0) return [] {};
  device_bytes(to, size, "destination");
  void* host = host_bytes(from, "source");
  return [=] { std::memcpy(device_bytes(to, size, "destination"), host, size); };
}
std::function<void()> to_host(void* to, CUdeviceptr from, size_t size) {
  if (size == 0) return [] {};
  device_bytes(from, size, "source");
  void* host = host_bytes(to, "destination");
  return [=] { std::memcpy(host, device_bytes(from, size, "source"), size); };
}
std::function<void()> on_device(CUdeviceptr to, CUdeviceptr from, size_t size) {
  if (size == 0) return [] {};
  device_bytes(from, size, "source"), device_bytes(to, size, "destination");
  return [=] { std::memmove(device_bytes(to, size, "destination"), device_bytes(from, size, "source"), size); };
}

template <class T> CUresult fill(const char* name, CUdeviceptr to, T value, size_t count, CUstream stream) {
  return enter(Needs::context, name, [=] {
    if (to % sizeof(T)) refuse(CUDA_ERROR_INVALID_VALUE, "the address is not aligned to the element");
    if (count) device_bytes(to, count * sizeof(T), "destination");
    submit(checked_stream(stream), CU_GRAPH_NODE_TYPE_MEMSET, [=] {
      uint8_t* bytes = count ? device_bytes(to, count * sizeof(T), "destination") : nullptr;
      for (size_t i = 0; i < count; ++i) std::memcpy(bytes + i * sizeof(T), &value, sizeof(T));
    });
  });
}

} // namespace
} // namespace emulator

using namespace emulator;

extern "C" {

CUresult CUDAAPI cuMemGetInfo(size_t* free, size_t* total) {
  return enter(Needs::context, "cuMemGetInfo", [=] {
    const DeviceMemory& memory = DeviceMemory::instance();
    if (free) *free = memory.total() - memory.used();
    if (total) *total = memory.total();
  });
}

CUresult CUDAAPI cuMemAlloc(CUdeviceptr* address, size_t size) {
  return enter(Needs::context, "cuMemAlloc", [=] {
    require(address, "address");
    *address = allocate(size, false);
  });
}

CUresult CUDAAPI cuMemFree(CUdeviceptr address) {
  return enter(Needs::context, "cuMemFree", [=] {
    not_while_capturing("cuMemFree");
    if (address && !DeviceMemory::instance().release(address, false))
      refuse(CUDA_ERROR_INVALID_VALUE, std::to_string(address) + " is not the begin of a live allocation");
  });
}

CUresult CUDAAPI cuMemAllocHost(void** pointer, size_t size) { return cuMemHostAlloc(pointer, size, 0); }

CUresult CUDAAPI cuMemHostAlloc(void** pointer, size_t size, unsigned int flags) {
  return enter(Needs::context, "cuMemHostAlloc", [=] {
    require(pointer, "pointer");
    unsigned known = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
    if (flags & ~known) refuse(CUDA_ERROR_INVALID_VALUE, "unknown flags " + std::to_string(flags));
    *pointer = reinterpret_cast<void*>(allocate(size, true));
  });
}

CUresult CUDAAPI cuMemFreeHost(void* pointer) {
  return enter(Needs::context, "cuMemFreeHost", [=] {
    if (!DeviceMemory::instance().release(reinterpret_cast<uint64_t>(pointer), true))
      refuse(CUDA_ERROR_INVALID_VALUE, "this is not memory of cuMemHostAlloc");
  });
}

CUresult CUDAAPI cuMemHostGetDevicePointer(CUdeviceptr* address, void* pointer, unsigned int) {
  return enter(Needs::context, "cuMemHostGetDevicePointer", [=] {
    require(address, "address");
    device_bytes(reinterpret_cast<uint64_t>(pointer), 1, "pointer");
    *address = reinterpret_cast<uint64_t>(pointer);
  });
}

CUresult CUDAAPI cuMemcpyHtoD(CUdeviceptr to, const void* from, size_t size) {
  return copy("cuMemcpyHtoD", nullptr, true, [=] { return to_device(to, from, size); });
}
CUresult CUDAAPI cuMemcpyDtoH(void* to, CUdeviceptr from, size_t size) {
  return copy("cuMemcpyDtoH", nullptr, true, [=] { return to_host(to, from, size); });
}
CUresult CUDAAPI cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t size) {
  return copy("cuMemcpyDtoD", nullptr, true, [=] { return on_device(to, from, size); });
}
CUresult CUDAAPI cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, size_t size, CUstream stream) {
  return copy("cuMemcpyHtoDAsync", stream, false, [=] { return to_device(to, from, size); });
}
CUresult CUDAAPI cuMemcpyDtoHAsync(void* to, CUdeviceptr from, size_t size, CUstream stream) {
  return copy("cuMemcpyDtoHAsync", stream, false, [=] { return to_host(to, from, size); });
}
CUresult CUDAAPI cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
  return copy("cuMemcpyDtoDAsync", stream, false, [=] { return on_device(to, from, size); });
}

CUresult CUDAAPI cuMemsetD8(CUdeviceptr to, unsigned char value, size_t count) {
  return fill<uint8_t>("cuMemsetD8", to, value, count, nullptr);
}
CUresult CUDAAPI cuMemsetD32(CUdeviceptr to, unsigned int value, size_t count) {
  return fill<uint32_t>("cuMemsetD32", to, value, count, nullptr);
}
CUresult CUDAAPI cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  return fill<uint8_t>("cuMemsetD8Async", to, value, count, stream);
}
CUresult CUDAAPI cuMemsetD32Async(CUdeviceptr to, unsigned int value, size_t count, CUstream stream) {
  return fill<uint32_t>("cuMemsetD32Async", to, value, count, stream);
}

} // extern "C"
