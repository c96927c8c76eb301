// A device for checks of single kernels: memory, and launches one after the other, by the driver that is there (a GPU's
// or, with NODE_VAE_CUDA_DRIVER, the emulator).
#ifndef NODE_VAE_TEST_GPU
#define NODE_VAE_TEST_GPU

#include <map>
#include <string>

#include "../../native/cuda/driver.h"
#include "../../native/cuda/lowering.h"

namespace nodevae::cuda {

class Gpu {
public:
  Gpu() : driver_(driver()) {
    CUdevice device = 0;
    NODE_VAE_CUDA_CALL(driver_, cuDeviceGet, &device, 0);
    NODE_VAE_CUDA_CALL(driver_, cuDevicePrimaryCtxRetain, &context_, device);
    NODE_VAE_CUDA_CALL(driver_, cuCtxPushCurrent, context_);
    int major = 0, minor = 0;
    const auto attribute = [&](int* value, CUdevice_attribute name) {
      NODE_VAE_CUDA_CALL(driver_, cuDeviceGetAttribute, value, name, device);
    };
    attribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    attribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    attribute(&target_.multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    target_.capability = 10 * major + minor;
    NODE_VAE_CUDA_CALL(driver_, cuStreamCreate, &stream_, CU_STREAM_NON_BLOCKING);
  }

  Target target() const { return target_; }

  uint64_t allocate(size_t bytes) {
    CUdeviceptr address = 0;
    NODE_VAE_CUDA_CALL(driver_, cuMemAlloc, &address, bytes);
    return address;
  }
  void release(uint64_t address) { NODE_VAE_CUDA_CALL(driver_, cuMemFree, address); }

  void upload(uint64_t to, const void* from, size_t bytes) {
    NODE_VAE_CUDA_CALL(driver_, cuMemcpyHtoDAsync, to, from, bytes, stream_);
    NODE_VAE_CUDA_CALL(driver_, cuStreamSynchronize, stream_);
  }
  void download(void* to, uint64_t from, size_t bytes) {
    NODE_VAE_CUDA_CALL(driver_, cuMemcpyDtoHAsync, to, from, bytes, stream_);
    NODE_VAE_CUDA_CALL(driver_, cuStreamSynchronize, stream_);
  }

  void launch(const Launch& launch) {
    const auto [entry, fresh] = functions_.try_emplace({launch.module.get(), launch.entry});
    if (fresh) {
      CUmodule& module = modules_[launch.module.get()];
      if (module == nullptr)
        NODE_VAE_CUDA_CALL(driver_, cuModuleLoadDataEx, &module, launch.module->c_str(), 0, nullptr, nullptr);
      NODE_VAE_CUDA_CALL(driver_, cuModuleGetFunction, &entry->second, module, launch.entry.c_str());
    }
    if (launch.shared_bytes > 48 * 1024)
      NODE_VAE_CUDA_CALL(driver_, cuFuncSetAttribute, entry->second, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                         static_cast<int>(launch.shared_bytes));
    size_t size = launch.parameters.size();
    void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, const_cast<std::byte*>(launch.parameters.data()),
                     CU_LAUNCH_PARAM_BUFFER_SIZE, &size, CU_LAUNCH_PARAM_END};
    NODE_VAE_CUDA_CALL(driver_, cuLaunchKernel, entry->second, launch.grid[0], launch.grid[1], launch.grid[2],
                       launch.threads, 1, 1, launch.shared_bytes, stream_, nullptr, extra);
  }

private:
  const Driver& driver_;
  Target target_;
  CUcontext context_ = nullptr;
  CUstream stream_ = nullptr;
  std::map<const std::string*, CUmodule> modules_; // embedded texts, which stay where they are
  std::map<std::pair<const std::string*, std::string>, CUfunction> functions_;
};

} // namespace nodevae::cuda

#endif
