// What the emulator's checks share: the driver's functions through dlsym, arrays on the device, launches.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <cuda.h>
#include <dlfcn.h>

extern int failures;
extern void* library;

#define CHECK(condition, ...)                                                                                          \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);                                                      \
      std::printf(__VA_ARGS__);                                                                                        \
      std::printf("\n");                                                                                               \
      ++failures;                                                                                                      \
    }                                                                                                                  \
  } while (0)

// CALL(cuMemAlloc)(...): cuda.h maps the name to a version of the function.
#define TEXT_OF(name) #name
#define VERSIONED(name) TEXT_OF(name)
#define CALL(name) (*reinterpret_cast<decltype(&name)>(find(VERSIONED(name))))
#define MUST(call) must(call, #call)

void* find(const char* name);
void must(CUresult result, const char* what);
CUfunction function(const char* name);  // of the module at hand
void load_text(const std::string& ptx); // the module at hand, in place of the one before

template <class T> struct Device { // an array on the device
  CUdeviceptr address = 0;
  size_t count;
  explicit Device(size_t n) : count(n) { MUST(CALL(cuMemAlloc)(&address, n * sizeof(T))); }
  explicit Device(const std::vector<T>& values) : Device(values.size()) {
    MUST(CALL(cuMemcpyHtoD)(address, values.data(), count * sizeof(T)));
  }
  Device(const Device&) = delete;
  ~Device() { CALL(cuMemFree)(address); }
  std::vector<T> read() const {
    std::vector<T> result(count);
    MUST(CALL(cuMemcpyDtoH)(result.data(), address, count * sizeof(T)));
    return result;
  }
};

struct Extent {
  unsigned x = 1, y = 1;
};
template <class... Arguments>
void run(const char* name, Extent grid, unsigned threads, unsigned shared, CUstream stream, Arguments... arguments) {
  void* pointers[] = {&arguments...};
  MUST(CALL(cuLaunchKernel)(function(name), grid.x, grid.y, 1, threads, 1, 1, shared, stream, pointers, nullptr));
  if (!stream) MUST(CALL(cuCtxSynchronize)());
}

void check_instructions(int capability);
void check_lanes(int capability);
void check_text(); // with check.ptx loaded
void check_refusals();
