// The CUDA driver, opened when it is first asked for: nothing of CUDA is linked, so the addon loads on machines without
// a GPU. NODE_VAE_CUDA_DRIVER names another library than the system's.
#pragma once

#include <stdexcept>
#include <string>

#include <cuda.h>

namespace nodevae::cuda {

// What is called, and the symbol it is: cuda.h renames functions to newer versions than are needed here.
#define NODE_VAE_CUDA_FUNCTIONS(X)                                                                                     \
  X(cuInit, "cuInit")                                                                                                  \
  X(cuDriverGetVersion, "cuDriverGetVersion")                                                                          \
  X(cuGetErrorName, "cuGetErrorName")                                                                                  \
  X(cuGetErrorString, "cuGetErrorString")                                                                              \
  X(cuDeviceGet, "cuDeviceGet")                                                                                        \
  X(cuDeviceGetCount, "cuDeviceGetCount")                                                                              \
  X(cuDeviceGetName, "cuDeviceGetName")                                                                                \
  X(cuDeviceGetAttribute, "cuDeviceGetAttribute")                                                                      \
  X(cuDeviceTotalMem, "cuDeviceTotalMem_v2")                                                                           \
  X(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain")                                                              \
  X(cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2")                                                         \
  X(cuCtxPushCurrent, "cuCtxPushCurrent_v2")                                                                           \
  X(cuCtxPopCurrent, "cuCtxPopCurrent_v2")                                                                             \
  X(cuMemGetInfo, "cuMemGetInfo_v2")                                                                                   \
  X(cuMemAlloc, "cuMemAlloc_v2")                                                                                       \
  X(cuMemFree, "cuMemFree_v2")                                                                                         \
  X(cuMemHostAlloc, "cuMemHostAlloc")                                                                                  \
  X(cuMemFreeHost, "cuMemFreeHost")                                                                                    \
  X(cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2")                                                                         \
  X(cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2")                                                                         \
  X(cuMemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2")                                                                         \
  X(cuMemsetD8Async, "cuMemsetD8Async")                                                                                \
  X(cuStreamCreate, "cuStreamCreate")                                                                                  \
  X(cuStreamDestroy, "cuStreamDestroy_v2")                                                                             \
  X(cuStreamSynchronize, "cuStreamSynchronize")                                                                        \
  X(cuEventCreate, "cuEventCreate")                                                                                    \
  X(cuEventRecord, "cuEventRecord")                                                                                    \
  X(cuEventQuery, "cuEventQuery")                                                                                      \
  X(cuEventSynchronize, "cuEventSynchronize")                                                                          \
  X(cuEventElapsedTime, "cuEventElapsedTime")                                                                          \
  X(cuEventDestroy, "cuEventDestroy_v2")                                                                               \
  X(cuModuleLoadDataEx, "cuModuleLoadDataEx")                                                                          \
  X(cuModuleUnload, "cuModuleUnload")                                                                                  \
  X(cuModuleGetFunction, "cuModuleGetFunction")                                                                        \
  X(cuFuncGetAttribute, "cuFuncGetAttribute")                                                                          \
  X(cuFuncSetAttribute, "cuFuncSetAttribute")                                                                          \
  X(cuLaunchKernel, "cuLaunchKernel")                                                                                  \
  X(cuGraphCreate, "cuGraphCreate")                                                                                    \
  X(cuGraphAddKernelNode, "cuGraphAddKernelNode")                                                                      \
  X(cuGraphInstantiateWithFlags, "cuGraphInstantiateWithFlags")                                                        \
  X(cuGraphLaunch, "cuGraphLaunch")                                                                                    \
  X(cuGraphExecDestroy, "cuGraphExecDestroy")                                                                          \
  X(cuGraphDestroy, "cuGraphDestroy")

// Why no CUDA device can be used, for people: what was looked for, what was there, what to do.
struct Unusable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A call of the driver that failed.
struct DriverError : std::runtime_error {
  DriverError(CUresult code, const std::string& problem) : std::runtime_error(problem), code(code) {}
  const CUresult code;
};

struct Driver {
#define NODE_VAE_DECLARE(name, symbol) decltype(&::name) name = nullptr;
  NODE_VAE_CUDA_FUNCTIONS(NODE_VAE_DECLARE)
#undef NODE_VAE_DECLARE
  int version = 0; // 12040 for CUDA 12.4: the newest that the driver knows

  // Throws DriverError unless the call succeeded: "cuMemAlloc: CUDA_ERROR_..., <the driver's text>".
  void check(CUresult result, const char* call) const;
  std::string text(CUresult result) const;
};

#define NODE_VAE_CUDA_CALL(driver, name, ...) (driver).check((driver).name(__VA_ARGS__), #name)

// The driver, opened, checked and initialised once per process. Throws Unusable, and tries again at the next call.
const Driver& driver();

} // namespace nodevae::cuda
