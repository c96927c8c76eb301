// Modules, functions, launches.
#include <cstdio>
#include <cstring>

#include "driver.h"

namespace emulator {
namespace {

// Equal texts are decoded once, whatever loads them.
std::shared_ptr<const Image> decoded(const std::string& text, int capability) {
  static auto& cache = *new std::unordered_map<std::string, std::shared_ptr<const Image>>;
  std::string key = std::to_string(capability) + "\n" + text;
  auto found = cache.find(key);
  if (found != cache.end()) return found->second;
  return cache[std::move(key)] = decode_module(text, capability);
}

void place_variables(CUmod_st& module) {
  for (const auto& [name, variable] : module.image->variables) {
    if (variable.size == 0) continue;
    CUdeviceptr address = DeviceMemory::instance().allocate(variable.size, false);
    if (!address) throw std::bad_alloc();
    module.variables[name] = {address, variable.size};
    std::memcpy(device_bytes(address, variable.size, "variable"), variable.content.data(), variable.size);
  }
  for (const auto& [name, variable] : module.image->variables)
    for (const auto& pointer : variable.pointers) {
      auto target = module.variables.find(pointer.symbol);
      if (target == module.variables.end())
        refuse(CUDA_ERROR_INVALID_PTX, "unknown symbol '" + pointer.symbol + "' in an initializer");
      CUdeviceptr value = target->second.first + static_cast<uint64_t>(pointer.addend);
      std::memcpy(device_bytes(module.variables[name].first + pointer.offset, 8, "variable"), &value, 8);
    }
}

CUmodule load(const void* image) {
  require(image, "image");
  const char* text = static_cast<const char*>(image);
  if (std::memcmp(text,
                  "\x7f"
                  "ELF",
                  4) == 0 ||
      static_cast<unsigned char>(text[0]) == 0x50)
    refuse(CUDA_ERROR_INVALID_IMAGE, "only PTX text can be executed");
  auto module = std::make_unique<CUmod_st>();
  module->image = decoded(text, Driver::instance().capability());
  place_variables(*module);
  for (const auto& [name, program] : module->image->programs) {
    auto function = std::make_unique<CUfunc_st>();
    function->module = module.get();
    function->program = program;
    Driver::instance().live.insert(function.get());
    module->functions[name] = std::move(function);
  }
  Driver::instance().live.insert(module.get());
  return module.release();
}

int shared_limit(CUfunction function) {
  return function->dynamic_limit >= 0 ? function->dynamic_limit
                                      : kMaxSharedPerBlock - static_cast<int>(function->program->shared_bytes);
}

[[noreturn]] void refuse_launch(const CUfunction function, const std::string& text) {
  refuse(CUDA_ERROR_INVALID_VALUE, "kernel " + function->program->name + ": " + text);
}

} // namespace

std::function<void()> launch_operation(CUfunction function, const uint32_t (&grid)[3], const uint32_t (&threads)[3],
                                       uint32_t shared_bytes, void** parameters, void** extra) {
  checked(function, "function");
  const Program& program = *function->program;
  auto launch = std::make_shared<Launch>();
  launch->program = function->program;
  for (int i = 0; i < 3; ++i) {
    launch->grid[i] = grid[i], launch->threads[i] = threads[i];
    if (grid[i] == 0 || threads[i] == 0) refuse_launch(function, "a grid or block of 0");
    if (grid[i] > (i == 0 ? 0x7fffffffu : 65535u))
      refuse_launch(function, "a grid of " + std::to_string(grid[i]) + " blocks in dimension " + std::to_string(i));
    if (program.required_threads[0] && threads[i] != program.required_threads[i])
      refuse_launch(function, "a block that is not of .reqntid");
  }
  uint64_t total = uint64_t{threads[0]} * threads[1] * threads[2];
  uint64_t most = program.max_threads[0]
                      ? uint64_t{program.max_threads[0]} * program.max_threads[1] * program.max_threads[2]
                      : kMaxThreads;
  if (total > most || total > kMaxThreads || threads[2] > 64)
    refuse_launch(function, "a block of " + std::to_string(total) + " threads, at most " + std::to_string(most) +
                                " are possible");
  if (shared_bytes > static_cast<uint32_t>(shared_limit(function)))
    refuse_launch(function, std::to_string(shared_bytes) + " bytes of dynamic shared memory, " +
                                std::to_string(shared_limit(function)) +
                                " are allowed (CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)");
  launch->dynamic_shared = shared_bytes;
  launch->parameters.resize(program.parameter_bytes);
  if (parameters && extra) refuse_launch(function, "parameters are given twice");
  if (extra) {
    const void* buffer = nullptr;
    const size_t* size = nullptr;
    for (void** at = extra; *at != CU_LAUNCH_PARAM_END; at += 2) {
      if (at[0] == CU_LAUNCH_PARAM_BUFFER_POINTER)
        buffer = at[1];
      else if (at[0] == CU_LAUNCH_PARAM_BUFFER_SIZE)
        size = static_cast<const size_t*>(at[1]);
      else
        refuse_launch(function, "unknown option in `extra`");
    }
    if (!buffer || !size) refuse_launch(function, "`extra` is without a buffer or its size");
    if (*size < program.parameter_bytes || *size > (program.parameter_bytes + size_t{15}) / 16 * 16)
      refuse_launch(function, std::to_string(*size) + " bytes of parameters, expected " +
                                  std::to_string(program.parameter_bytes));
    std::memcpy(launch->parameters.data(), buffer, program.parameter_bytes);
  } else {
    if (!parameters && !program.parameters.empty()) refuse_launch(function, "no parameters");
    for (size_t i = 0; i < program.parameters.size(); ++i) {
      require(parameters[i], "a parameter");
      std::memcpy(launch->parameters.data() + program.parameters[i].offset, parameters[i], program.parameters[i].size);
    }
  }
  for (const auto& symbol : program.symbols) {
    auto found = function->module->variables.find(symbol.name);
    uint64_t address = found == function->module->variables.end() ? 0 : found->second.first;
    launch->symbols.push_back({symbol.row, address + static_cast<uint64_t>(symbol.addend)});
  }
  return [launch] { run_launch(*launch); };
}

} // namespace emulator

using namespace emulator;

extern "C" {

CUresult CUDAAPI cuModuleLoadData(CUmodule* module, const void* image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

CUresult CUDAAPI cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned int count, CUjit_option* options,
                                    void** values) {
  return enter(Needs::context, "cuModuleLoadData", [=] {
    require(module, "module");
    char *error_log = nullptr, *info_log = nullptr;
    size_t error_size = 0, error_at = count, info_at = count;
    for (unsigned int i = 0; i < count; ++i) {
      switch (options[i]) {
      case CU_JIT_ERROR_LOG_BUFFER:
        error_log = static_cast<char*>(values[i]);
        break;
      case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
        error_size = reinterpret_cast<size_t>(values[i]), error_at = i;
        break;
      case CU_JIT_INFO_LOG_BUFFER:
        info_log = static_cast<char*>(values[i]);
        break;
      case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
        info_at = i;
        break;
      case CU_JIT_WALL_TIME: {
        float none = 0;
        std::memcpy(&values[i], &none, sizeof none);
        break;
      }
      case CU_JIT_MAX_REGISTERS:
      case CU_JIT_THREADS_PER_BLOCK:
      case CU_JIT_OPTIMIZATION_LEVEL:
      case CU_JIT_TARGET_FROM_CUCONTEXT:
      case CU_JIT_GENERATE_DEBUG_INFO:
      case CU_JIT_LOG_VERBOSE:
      case CU_JIT_GENERATE_LINE_INFO:
      case CU_JIT_CACHE_MODE:
        break;
      default:
        refuse(CUDA_ERROR_INVALID_VALUE, "JIT option " + std::to_string(options[i]) + " is not emulated");
      }
    }
    if (info_log && info_at < count && values[info_at]) info_log[0] = 0, values[info_at] = nullptr;
    try {
      *module = load(image);
      if (error_log && error_size) error_log[0] = 0;
      if (error_at < count) values[error_at] = nullptr; // sizes come back as what was written
    } catch (const Failure& failure) {
      if (error_log && error_size) {
        int length = std::snprintf(error_log, error_size, "%s", failure.what());
        if (error_at < count)
          values[error_at] = reinterpret_cast<void*>(std::min(static_cast<size_t>(length) + 1, error_size));
      }
      throw;
    }
  });
}

CUresult CUDAAPI cuModuleUnload(CUmodule module) {
  return enter(Needs::initialized, "cuModuleUnload", [=] {
    Driver& driver = Driver::instance();
    driver.live.erase(checked(module, "module"));
    for (const auto& [name, function] : module->functions) driver.live.erase(function.get());
    for (const auto& [name, variable] : module->variables) DeviceMemory::instance().release(variable.first, false);
    delete module;
  });
}

CUresult CUDAAPI cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  return enter(Needs::context, "cuModuleGetFunction", [=] {
    require(function, "function"), require(name, "name");
    auto found = checked(module, "module")->functions.find(name);
    if (found == module->functions.end())
      refuse(CUDA_ERROR_NOT_FOUND, std::string("the module has no entry '") + name + "'");
    *function = found->second.get();
  });
}

CUresult CUDAAPI cuModuleGetGlobal(CUdeviceptr* address, size_t* bytes, CUmodule module, const char* name) {
  return enter(Needs::context, "cuModuleGetGlobal", [=] {
    require(name, "name");
    auto found = checked(module, "module")->variables.find(name);
    if (found == module->variables.end())
      refuse(CUDA_ERROR_NOT_FOUND, std::string("the module has no variable '") + name + "'");
    if (address) *address = found->second.first;
    if (bytes) *bytes = found->second.second;
  });
}

CUresult CUDAAPI cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  return enter(Needs::context, "cuFuncSetAttribute", [=] {
    checked(function, "function");
    if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT) return;
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
      refuse(CUDA_ERROR_INVALID_VALUE, "function attribute " + std::to_string(attribute) + " cannot be set");
    int most = (Driver::instance().capability() < 80 ? 65536 : kMaxSharedOptIn) -
               static_cast<int>(function->program->shared_bytes);
    if (value < 0 || value > most)
      refuse(CUDA_ERROR_INVALID_VALUE, std::to_string(value) + " bytes of dynamic shared memory, at most " +
                                           std::to_string(most) + " are possible");
    function->dynamic_limit = value;
  });
}

CUresult CUDAAPI cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction function) {
  return enter(Needs::context, "cuFuncGetAttribute", [=] {
    require(value, "value");
    const Program& program = *checked(function, "function")->program;
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = program.max_threads[0]
                   ? static_cast<int>(program.max_threads[0] * program.max_threads[1] * program.max_threads[2])
                   : kMaxThreads;
      break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
      *value = static_cast<int>(program.shared_bytes);
      break;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
      *value = 0;
      break;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
      *value = static_cast<int>(program.local_bytes);
      break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
      *value = static_cast<int>(std::min(program.registers_used, 255u));
      break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
      *value = Driver::instance().capability();
      break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      *value = shared_limit(function);
      break;
    default:
      refuse(CUDA_ERROR_INVALID_VALUE, "function attribute " + std::to_string(attribute) + " is not emulated");
    }
  });
}

CUresult CUDAAPI cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                                unsigned int threads_x, unsigned int threads_y, unsigned int threads_z,
                                unsigned int shared_bytes, CUstream stream, void** parameters, void** extra) {
  return enter(Needs::context, "cuLaunchKernel", [=] {
    submit(checked_stream(stream), CU_GRAPH_NODE_TYPE_KERNEL,
           launch_operation(function, {grid_x, grid_y, grid_z}, {threads_x, threads_y, threads_z}, shared_bytes,
                            parameters, extra));
  });
}

} // extern "C"
