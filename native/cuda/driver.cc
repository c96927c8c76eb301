#include "driver.h"

#include <cstdlib>
#include <mutex>

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace nodevae::cuda {
namespace {

// The lowest that takes PTX ISA 7.8, as which the kernels are handed over (modules.cc).
constexpr int kLowestVersion = 11080;

#ifdef _WIN32
constexpr const char* kLibrary = "nvcuda.dll";

void* open_library(const std::string& path, std::string& problem) {
  void* library = reinterpret_cast<void*>(LoadLibraryA(path.c_str()));
  if (library == nullptr) problem = "error " + std::to_string(GetLastError());
  return library;
}

void* find_symbol(void* library, const char* symbol) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), symbol));
}
#else
constexpr const char* kLibrary = "libcuda.so.1";

void* open_library(const std::string& path, std::string& problem) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) problem = dlerror();
  return library;
}

void* find_symbol(void* library, const char* symbol) { return dlsym(library, symbol); }
#endif

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Driver open_driver() {
  const char* named = std::getenv("NODE_VAE_CUDA_DRIVER");
  const std::string path = named != nullptr && *named != '\0' ? named : kLibrary;
  std::string problem;
  void* const library = open_library(path, problem);
  if (library == nullptr)
    throw Unusable("no CUDA driver: " + path + " could not be opened (" + problem + ")" +
                   (path == kLibrary ? "; install NVIDIA's driver" : "; NODE_VAE_CUDA_DRIVER names it"));
  Driver driver;
  const auto find = [&](auto& function, const char* symbol, const char* in_header) {
    void* found = find_symbol(library, symbol);
    if (found == nullptr) found = find_symbol(library, in_header); // the same to us, where the old one is gone
    if (found == nullptr)
      throw Unusable("the CUDA driver " + path + " is too old: it has no " + symbol + "; CUDA " +
                     version_text(kLowestVersion) + " or later is needed");
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(found);
  };
#define NODE_VAE_TEXT(name) #name
#define NODE_VAE_FIND(name, symbol) find(driver.name, symbol, NODE_VAE_TEXT(name));
  NODE_VAE_CUDA_FUNCTIONS(NODE_VAE_FIND)
#undef NODE_VAE_FIND
#undef NODE_VAE_TEXT

  if (driver.cuDriverGetVersion(&driver.version) == CUDA_SUCCESS && driver.version < kLowestVersion)
    throw Unusable("the CUDA driver is too old: it is made for CUDA " + version_text(driver.version) + ", and CUDA " +
                   version_text(kLowestVersion) + " or later is needed; update NVIDIA's driver");
  const CUresult initialised = driver.cuInit(0);
  if (initialised == CUDA_ERROR_NO_DEVICE) {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    throw Unusable("the CUDA driver sees no device" +
                   (visible == nullptr ? std::string() : ": CUDA_VISIBLE_DEVICES is \"" + std::string(visible) + "\""));
  }
  if (initialised != CUDA_SUCCESS)
    throw Unusable("the CUDA driver does not start: cuInit: " + driver.text(initialised));
  return driver;
}

} // namespace

std::string Driver::text(CUresult result) const {
  const char *name = nullptr, *description = nullptr;
  if (cuGetErrorName(result, &name) != CUDA_SUCCESS || name == nullptr)
    return "error " + std::to_string(static_cast<int>(result));
  if (cuGetErrorString(result, &description) != CUDA_SUCCESS || description == nullptr) return name;
  return std::string(name) + ", " + description;
}

void Driver::check(CUresult result, const char* call) const {
  if (result != CUDA_SUCCESS) throw DriverError(result, std::string(call) + ": " + text(result));
}

const Driver& driver() {
  static std::mutex mutex;
  static const Driver* opened = nullptr; // never closed: contexts may live until the process ends
  const std::lock_guard lock(mutex);
  if (opened == nullptr) opened = new Driver(open_driver());
  return *opened;
}

} // namespace nodevae::cuda
