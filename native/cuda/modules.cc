#include "modules.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <thread>
#include <utility>

namespace nodevae::cuda {
namespace {

constexpr uint32_t kOrdinarySharedBytes = 48 * 1024; // more must be asked for

// The compiler writes the version of its own day, which older drivers refuse, but the kernels use nothing of it: PTX
// ISA 7.8 has all of it (CUDA 11.8), also for GPUs that are newer.
std::string portable(const std::string& ptx) {
  static constexpr char kVersion[] = ".version ";
  const size_t at = ptx.find(kVersion);
  if (at == std::string::npos) return ptx;
  const size_t begin = at + std::strlen(kVersion), end = ptx.find_first_of("\r\n", begin);
  std::string text = ptx;
  return text.replace(begin, end - begin, "7.8");
}

} // namespace

Module::Module(std::shared_ptr<Context> context, PtxText text) : context_(std::move(context)), text_(std::move(text)) {
  char log[8192] = "";
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void* values[] = {log, reinterpret_cast<void*>(sizeof log - 1)};
  const std::string ptx = portable(*text_);
  const CUresult result = context_->driver().cuModuleLoadDataEx(&module_, ptx.c_str(), 2, options, values);
  if (result != CUDA_SUCCESS)
    throw DriverError(result, "the driver could not compile a kernel for " + context_->name() + ": " +
                                  context_->driver().text(result) + (*log == '\0' ? "" : "\n") + log);
}

Module::~Module() {
  context_->let_go([&driver = context_->driver(), module = module_] { driver.cuModuleUnload(module); });
}

CUfunction Module::function(const std::string& entry, uint32_t shared_bytes) {
  const Driver& driver = context_->driver();
  CUfunction function = nullptr;
  driver.check(driver.cuModuleGetFunction(&function, module_, entry.c_str()),
               ("cuModuleGetFunction \"" + entry + "\"").c_str());
  uint32_t& allowed = shared_[entry];
  int fixed = 0; // what the kernel declares counts too
  driver.check(driver.cuFuncGetAttribute(&fixed, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, function),
               ("cuFuncGetAttribute \"" + entry + "\"").c_str());
  if (shared_bytes > allowed && shared_bytes + static_cast<uint32_t>(fixed) > kOrdinarySharedBytes)
    driver.check(
        driver.cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                  static_cast<int>(shared_bytes)),
        ("cuFuncSetAttribute \"" + entry + "\", " + std::to_string(shared_bytes) + " bytes of shared memory").c_str());
  allowed = std::max(allowed, shared_bytes);
  return function;
}

std::vector<std::shared_ptr<Module>> Modules::load(const std::shared_ptr<Context>& context,
                                                   const std::vector<ModuleRequest>& requests,
                                                   const std::atomic<bool>* abandon) {
  std::vector<PtxText> texts;
  for (const ModuleRequest& request : requests) texts.push_back(request.text);
  modules_.erase(std::remove_if(modules_.begin(), modules_.end(), [](const auto& module) { return module.expired(); }),
                 modules_.end());
  std::vector<std::shared_ptr<Module>> loaded(texts.size());
  std::vector<size_t> missing, first_of(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    for (const auto& known : modules_)
      if (auto module = known.lock(); module && module->text() == *texts[i]) loaded[i] = std::move(module);
    if (loaded[i]) continue;
    const auto same = std::find_if(missing.begin(), missing.end(), [&](size_t j) { return *texts[j] == *texts[i]; });
    first_of[i] = same == missing.end() ? i : *same;
    if (same == missing.end()) missing.push_back(i);
  }

  std::atomic<size_t> next{0};
  const auto abandoned = [abandon] { return abandon != nullptr && abandon->load(std::memory_order_relaxed); };
  std::vector<std::exception_ptr> problems(missing.size());
  const auto compile = [&] {
    for (size_t i = next++; i < missing.size() && !abandoned(); i = next++) {
      try {
        const Context::Current current(*context);
        const ModuleRequest& request = requests[missing[i]];
        auto module = std::make_shared<Module>(context, request.text);
        module->function(request.entry, request.shared_bytes); // drivers may compile no sooner than here
        loaded[missing[i]] = std::move(module);
      } catch (...) {
        problems[i] = std::current_exception();
      }
    }
  };
  const size_t workers = std::min<size_t>(missing.size(), std::max(1u, std::thread::hardware_concurrency()));
  std::vector<std::thread> threads;
  for (size_t i = 1; i < workers; ++i) {
    try {
      threads.emplace_back(compile);
    } catch (const std::system_error&) { // the threads there are do it all
      break;
    }
  }
  compile();
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& problem : problems)
    if (problem) std::rethrow_exception(problem);
  if (abandoned()) return {};
  for (size_t i = 0; i < texts.size(); ++i)
    if (!loaded[i]) loaded[i] = loaded[first_of[i]];
  for (size_t i : missing) {
    modules_.push_back(loaded[i]);
    kept_.push_back(loaded[i]);
    if (kept_.size() > kKept) kept_.pop_front();
  }
  return loaded;
}

} // namespace nodevae::cuda
