#include "context.h"

#include <cstdio>
#include <utility>

#include "memory.h"

namespace nodevae::cuda {
namespace {

constexpr int kLowestCapability = 75; // Turing: the oldest that the kernels are compiled for

int attribute(const Driver& driver, CUdevice device, CUdevice_attribute which) {
  int value = 0;
  NODE_VAE_CUDA_CALL(driver, cuDeviceGetAttribute, &value, which, device);
  return value;
}

CUdevice find_device(const Driver& driver, int number) {
  int count = 0;
  NODE_VAE_CUDA_CALL(driver, cuDeviceGetCount, &count);
  if (number >= count)
    throw Unusable(count == 0 ? "the CUDA driver sees no device"
                              : "there are " + std::to_string(count) +
                                    " CUDA devices, cuda:0 to cuda:" + std::to_string(count - 1));
  CUdevice device = 0;
  NODE_VAE_CUDA_CALL(driver, cuDeviceGet, &device, number);
  return device;
}

} // namespace

std::string gibibytes(size_t bytes) {
  char text[32];
  if (bytes < size_t{1} << 30)
    std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  else
    std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / (1 << 30));
  return text;
}

DeviceDescription describe(const Driver& driver, int number) {
  const CUdevice device = find_device(driver, number);
  DeviceDescription description;
  char name[256] = "";
  NODE_VAE_CUDA_CALL(driver, cuDeviceGetName, name, static_cast<int>(sizeof name), device);
  NODE_VAE_CUDA_CALL(driver, cuDeviceTotalMem, &description.bytes, device);
  description.name = name;
  description.capability = attribute(driver, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
                           attribute(driver, device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  if (description.capability < kLowestCapability)
    throw Unusable(description.name + " has compute capability " + std::to_string(description.capability / 10) + "." +
                   std::to_string(description.capability % 10) + "; 7.5 (Turing) or later is needed");
  return description;
}

Context::Context(int number) : driver_(cuda::driver()) {
  const DeviceDescription description = describe(driver_, number);
  device_ = find_device(driver_, number);
  name_ = "cuda:" + std::to_string(number) + " (" + description.name + ")";
  target_.capability = description.capability;
  target_.multiprocessors = attribute(driver_, device_, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  target_.shared_bytes =
      static_cast<size_t>(attribute(driver_, device_, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN));
  const CUresult retained = driver_.cuDevicePrimaryCtxRetain(&context_, device_);
  if (retained != CUDA_SUCCESS)
    throw Unusable("no context could be made on " + description.name +
                   ": cuDevicePrimaryCtxRetain: " + driver_.text(retained));
  try {
    const Current current(*this);
    NODE_VAE_CUDA_CALL(driver_, cuStreamCreate, &stream_, CU_STREAM_NON_BLOCKING);
  } catch (const std::exception&) {
    driver_.cuDevicePrimaryCtxRelease(device_);
    throw;
  }
}

Context::~Context() {
  try {
    const Current current(*this);
    driver_.cuStreamSynchronize(stream_);
    give_back_all();
    staging_.reset();
    driver_.cuStreamDestroy(stream_);
  } catch (const std::exception&) { // a context that a fault has made unusable: the driver clears up behind it
  }
  driver_.cuDevicePrimaryCtxRelease(device_);
}

Context::Current::Current(const Context& context) : driver_(context.driver_) {
  NODE_VAE_CUDA_CALL(driver_, cuCtxPushCurrent, context.context_);
}

Context::Current::~Current() {
  CUcontext popped = nullptr;
  driver_.cuCtxPopCurrent(&popped);
}

Context::Busy::Busy(Context& context) : context_(context) {
  const std::lock_guard lock(context.mutex_);
  ++context.busy_;
}

Context::Busy::~Busy() {
  {
    const std::lock_guard lock(context_.mutex_);
    if (--context_.busy_ > 0) return;
  }
  context_.give_back_all();
}

void Context::let_go(std::function<void()> give_back) noexcept {
  {
    const std::lock_guard lock(mutex_);
    let_go_.push_back(std::move(give_back));
    if (busy_ > 0) return;
  }
  give_back_all();
}

void Context::give_back_all() noexcept {
  std::vector<std::function<void()>> all;
  {
    const std::lock_guard lock(mutex_);
    all.swap(let_go_);
  }
  if (all.empty()) return;
  try {
    const Current current(*this);
    for (const auto& give_back : all) give_back();
  } catch (const std::exception&) { // a context that a fault has made unusable has nothing to give back
  }
}

CUdeviceptr Context::allocate(size_t bytes, const std::string& purpose) {
  const Current current(*this);
  CUdeviceptr address = 0;
  CUresult result = driver_.cuMemAlloc(&address, bytes == 0 ? 1 : bytes);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    give_back_all(); // waits for the device, but what is needed may be there
    result = driver_.cuMemAlloc(&address, bytes == 0 ? 1 : bytes);
  }
  if (result == CUDA_ERROR_OUT_OF_MEMORY) throw OutOfMemory(out_of_memory(bytes, purpose));
  driver_.check(result, "cuMemAlloc");
  return address;
}

std::string Context::out_of_memory(size_t bytes, const std::string& purpose) const {
  size_t free = 0, total = 0;
  driver_.cuMemGetInfo(&free, &total);
  return "out of memory on " + name_ + ": " + purpose + " needs " + gibibytes(bytes) + ", and " + gibibytes(free) +
         " of " + gibibytes(total) + " are free";
}

size_t Context::free_bytes() const {
  const Current current(*this);
  size_t free = 0, total = 0;
  NODE_VAE_CUDA_CALL(driver_, cuMemGetInfo, &free, &total);
  return free;
}

void Context::synchronize() const { NODE_VAE_CUDA_CALL(driver_, cuStreamSynchronize, stream_); }

Staging& Context::staging() {
  if (!staging_) staging_ = std::make_unique<Staging>(*this);
  return *staging_;
}

} // namespace nodevae::cuda
