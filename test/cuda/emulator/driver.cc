// The driver's state, devices, contexts and errors.
#include "driver.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace emulator {

void FairMutex::lock() {
  std::unique_lock<std::mutex> lock(mutex_);
  if (owner_ != std::this_thread::get_id()) {
    const uint64_t ticket = next_ticket_++;
    changed_.wait(lock, [&] { return served_ == ticket; });
    owner_ = std::this_thread::get_id();
  }
  ++depth_;
}

void FairMutex::unlock() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (--depth_ > 0) return;
  owner_ = std::thread::id();
  ++served_;
  changed_.notify_all();
}

Driver& Driver::instance() {
  static Driver* driver = new Driver; // never destroyed: addons call while a process ends
  return *driver;
}

int Driver::capability() const {
  const char* text = std::getenv("EMULATED_CAPABILITY");
  int value = text && *text ? std::atoi(text) : 80;
  return value >= 50 && value <= 130 ? value : 80;
}

bool Driver::capturing_globally() const {
  return std::any_of(streams.begin(), streams.end(), [](CUstream s) { return s->capture && s->global_mode; });
}

std::vector<CUcontext>& context_stack() {
  thread_local std::vector<CUcontext> stack;
  return stack;
}

void refuse(CUresult code, const std::string& text) { throw Failure(code, text); }

CUresult enter(Needs needs, const char* name, const std::function<void()>& body) {
  Driver& driver = Driver::instance();
  std::lock_guard<FairMutex> lock(driver.mutex);
  if (needs != Needs::nothing && !driver.initialized) return CUDA_ERROR_NOT_INITIALIZED;
  if (needs == Needs::context && driver.sticky != CUDA_SUCCESS) return driver.sticky;
  try {
    if (needs == Needs::context && (context_stack().empty() || !context_stack().back()))
      refuse(CUDA_ERROR_INVALID_CONTEXT, "no context is current to the calling thread");
    if (needs == Needs::context && !driver.live.count(context_stack().back()))
      refuse(CUDA_ERROR_CONTEXT_IS_DESTROYED, "the thread's context was released");
    body();
    return CUDA_SUCCESS;
  } catch (const Failure& failure) {
    driver.last_error = std::string(name) + ": " + failure.what();
    std::fprintf(stderr, "cuda emulator: %s\n", driver.last_error.c_str());
    return failure.result;
  } catch (const std::bad_alloc&) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
}

} // namespace emulator

using namespace emulator;

namespace {

void check_device(CUdevice device) {
  if (device != 0) refuse(CUDA_ERROR_INVALID_DEVICE, "there is one device, 0; found " + std::to_string(device));
}

int device_attribute(CUdevice_attribute attribute) {
  int capability = Driver::instance().capability();
  switch (attribute) {
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
    return capability / 10;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
    return capability % 10;
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
    return kMultiprocessors;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
    return kMaxSharedPerBlock;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
    return capability < 80 ? 65536 : kMaxSharedOptIn;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
    return capability < 80 ? 65536 : kMaxSharedOptIn + 1024;
  case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK:
    return capability < 80 ? 0 : 1024;
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
    return kMaxThreads;
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
    return 64;
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
    return INT32_MAX;
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
    return 65535;
  case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
    return kLanes;
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
    return 65536;
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
    return capability < 80 ? 1024 : 2048;
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR:
    return 16;
  case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY:
    return 65536;
  case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
    return 1000000;
  case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
    return 1000000;
  case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
    return 256;
  case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
    return 4 << 20;
  case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
  case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
  case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
  case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT:
  case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP:
    return 1;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_MODE:
  case CU_DEVICE_ATTRIBUTE_INTEGRATED:
  case CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT:
  case CU_DEVICE_ATTRIBUTE_ECC_ENABLED:
  case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
  case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID:
  case CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID:
  case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
  case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH:
  case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
    return 0;
  default:
    refuse(CUDA_ERROR_INVALID_VALUE, "device attribute " + std::to_string(attribute) + " is not emulated");
  }
}

} // namespace

extern "C" {

CUresult CUDAAPI cuInit(unsigned int flags) {
  return enter(Needs::nothing, "cuInit", [=] {
    if (flags) refuse(CUDA_ERROR_INVALID_VALUE, "flags must be 0");
    Driver::instance().initialized = true;
  });
}

CUresult CUDAAPI cuDriverGetVersion(int* version) {
  return enter(Needs::nothing, "cuDriverGetVersion", [=] {
    require(version, "version");
    *version = CUDA_VERSION;
  });
}

CUresult CUDAAPI cuDeviceGet(CUdevice* device, int ordinal) {
  return enter(Needs::initialized, "cuDeviceGet", [=] {
    require(device, "device");
    check_device(ordinal);
    *device = 0;
  });
}

CUresult CUDAAPI cuDeviceGetCount(int* count) {
  return enter(Needs::initialized, "cuDeviceGetCount", [=] {
    require(count, "count");
    *count = 1;
  });
}

CUresult CUDAAPI cuDeviceGetName(char* name, int length, CUdevice device) {
  return enter(Needs::initialized, "cuDeviceGetName", [=] {
    check_device(device);
    require(name, "name");
    int capability = Driver::instance().capability();
    std::snprintf(name, static_cast<size_t>(std::max(length, 0)), "Emulated GPU (compute capability %d.%d)",
                  capability / 10, capability % 10);
  });
}

CUresult CUDAAPI cuDeviceGetUuid(CUuuid* uuid, CUdevice device) {
  return enter(Needs::initialized, "cuDeviceGetUuid", [=] {
    check_device(device);
    require(uuid, "uuid");
    std::memset(uuid, 0xe0, sizeof *uuid);
  });
}

CUresult CUDAAPI cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  return enter(Needs::initialized, "cuDeviceGetAttribute", [=] {
    check_device(device);
    require(value, "value");
    *value = device_attribute(attribute);
  });
}

CUresult CUDAAPI cuDeviceTotalMem(size_t* bytes, CUdevice device) {
  return enter(Needs::initialized, "cuDeviceTotalMem", [=] {
    check_device(device);
    require(bytes, "bytes");
    *bytes = DeviceMemory::instance().total();
  });
}

CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  return enter(Needs::initialized, "cuDevicePrimaryCtxRetain", [=] {
    check_device(device);
    require(context, "context");
    Driver& driver = Driver::instance();
    ++driver.primary.references;
    driver.live.insert(&driver.primary);
    *context = &driver.primary;
  });
}

CUresult CUDAAPI cuDevicePrimaryCtxRelease(CUdevice device) {
  return enter(Needs::initialized, "cuDevicePrimaryCtxRelease", [=] {
    check_device(device);
    Driver& driver = Driver::instance();
    if (driver.primary.references == 0) refuse(CUDA_ERROR_INVALID_CONTEXT, "the primary context is not retained");
    if (--driver.primary.references) return;
    // The context ends, and what it holds with it: the next one is without its error.
    driver.live.erase(&driver.primary);
    driver.sticky = CUDA_SUCCESS;
    DeviceMemory::instance().release_all();
  });
}

CUresult CUDAAPI cuCtxSetCurrent(CUcontext context) {
  return enter(Needs::initialized, "cuCtxSetCurrent", [=] {
    if (context) checked(context, "context");
    std::vector<CUcontext>& stack = context_stack();
    if (!stack.empty()) stack.pop_back();
    if (context) stack.push_back(context);
  });
}

CUresult CUDAAPI cuCtxGetCurrent(CUcontext* context) {
  return enter(Needs::initialized, "cuCtxGetCurrent", [=] {
    require(context, "context");
    *context = context_stack().empty() ? nullptr : context_stack().back();
  });
}

CUresult CUDAAPI cuCtxPushCurrent(CUcontext context) {
  return enter(Needs::initialized, "cuCtxPushCurrent", [=] { context_stack().push_back(checked(context, "context")); });
}

CUresult CUDAAPI cuCtxPopCurrent(CUcontext* context) {
  return enter(Needs::initialized, "cuCtxPopCurrent", [=] {
    if (context_stack().empty()) refuse(CUDA_ERROR_INVALID_CONTEXT, "no context is current");
    if (context) *context = context_stack().back();
    context_stack().pop_back();
  });
}

CUresult CUDAAPI cuCtxSynchronize(void) {
  return enter(Needs::context, "cuCtxSynchronize", [] { not_while_capturing("cuCtxSynchronize"); });
}

CUresult CUDAAPI cuGetErrorName(CUresult error, const char** text) {
  if (!text) return CUDA_ERROR_INVALID_VALUE;
  *text = nullptr;
  switch (error) {
#define EMULATOR_ERROR(name)                                                                                           \
  case name:                                                                                                           \
    *text = #name;                                                                                                     \
    return CUDA_SUCCESS;
    EMULATOR_ERROR(CUDA_SUCCESS)
    EMULATOR_ERROR(CUDA_ERROR_INVALID_VALUE)
    EMULATOR_ERROR(CUDA_ERROR_OUT_OF_MEMORY)
    EMULATOR_ERROR(CUDA_ERROR_NOT_INITIALIZED)
    EMULATOR_ERROR(CUDA_ERROR_INVALID_DEVICE)
    EMULATOR_ERROR(CUDA_ERROR_INVALID_CONTEXT)
    EMULATOR_ERROR(CUDA_ERROR_CONTEXT_IS_DESTROYED)
    EMULATOR_ERROR(CUDA_ERROR_INVALID_IMAGE)
    EMULATOR_ERROR(CUDA_ERROR_NO_BINARY_FOR_GPU)
    EMULATOR_ERROR(CUDA_ERROR_INVALID_PTX)
    EMULATOR_ERROR(CUDA_ERROR_INVALID_HANDLE)
    EMULATOR_ERROR(CUDA_ERROR_NOT_FOUND)
    EMULATOR_ERROR(CUDA_ERROR_NOT_READY)
    EMULATOR_ERROR(CUDA_ERROR_ILLEGAL_ADDRESS)
    EMULATOR_ERROR(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES)
    EMULATOR_ERROR(CUDA_ERROR_LAUNCH_TIMEOUT)
    EMULATOR_ERROR(CUDA_ERROR_LAUNCH_FAILED)
    EMULATOR_ERROR(CUDA_ERROR_MISALIGNED_ADDRESS)
    EMULATOR_ERROR(CUDA_ERROR_ILLEGAL_STATE)
    EMULATOR_ERROR(CUDA_ERROR_NOT_SUPPORTED)
    EMULATOR_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
    EMULATOR_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED)
    EMULATOR_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNJOINED)
    EMULATOR_ERROR(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT)
    EMULATOR_ERROR(CUDA_ERROR_CAPTURED_EVENT)
#undef EMULATOR_ERROR
  default:
    return CUDA_ERROR_INVALID_VALUE;
  }
}

// The text of the last failure that the emulator reported with this code, or what the code is called.
CUresult CUDAAPI cuGetErrorString(CUresult error, const char** text) {
  CUresult known = cuGetErrorName(error, text);
  if (known != CUDA_SUCCESS || error == CUDA_SUCCESS) return known;
  Driver& driver = Driver::instance();
  std::lock_guard<FairMutex> lock(driver.mutex);
  if (error == driver.sticky && !driver.last_error.empty()) *text = driver.last_error.c_str();
  return CUDA_SUCCESS;
}

} // extern "C"
