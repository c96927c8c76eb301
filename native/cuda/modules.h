// PTX into functions that can be launched: each text is compiled once per context, by its driver.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "context.h"

namespace nodevae::cuda {

using PtxText = std::shared_ptr<const std::string>;

class Module {
public:
  // With the context current. Throws DriverError with what the driver's compiler said.
  Module(std::shared_ptr<Context> context, PtxText text);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const std::string& text() const { return *text_; }
  // Ready for blocks that ask for that much dynamic shared memory.
  CUfunction function(const std::string& entry, uint32_t shared_bytes);

private:
  const std::shared_ptr<Context> context_;
  const PtxText text_;
  CUmodule module_ = nullptr;
  std::map<std::string, uint32_t> shared_; // what was asked for so far, by entry
};

// What a launch needs of the driver's compiler.
struct ModuleRequest {
  PtxText text;
  std::string entry;
  uint32_t shared_bytes; // dynamic shared memory of a block
};

// The modules of a context: those that some session holds, and the last ones that were compiled, as plans that come
// one after the other have much in common. Used on the queue's thread.
class Modules {
public:
  // The modules of the requests, in their order. Those not there yet are compiled on several threads, as a plan takes
  // seconds otherwise. Empty when `abandon` is set meanwhile.
  std::vector<std::shared_ptr<Module>> load(const std::shared_ptr<Context>& context,
                                            const std::vector<ModuleRequest>& requests,
                                            const std::atomic<bool>* abandon);

private:
  static constexpr size_t kKept = 256;
  std::vector<std::weak_ptr<Module>> modules_;
  std::deque<std::shared_ptr<Module>> kept_;
};

} // namespace nodevae::cuda
