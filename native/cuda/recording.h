// The launches of one step of a plan, compiled: made one by one, or all at once as a graph of one or several steps.
// Nothing in them changes from step to step, as kernels read seed and counter in RunState, so a graph is made once.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <vector>

#include "context.h"
#include "lowering.h"
#include "modules.h"

namespace nodevae::cuda {

class Recording {
public:
  explicit Recording(std::shared_ptr<Context> context) : context_(std::move(context)) {}
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  // Compiles the launches, in their order. False when `abandon` is set meanwhile. Throws DriverError.
  bool compile(std::vector<Launch> launches, Modules& modules, const std::atomic<bool>* abandon);
  bool compiled() const { return compiled_; }
  size_t size() const { return launches_.size(); }

  void launch(size_t begin, size_t end) const; // these, one by one
  void launch_graph(uint64_t steps);           // everything, so many times over, as one graph

private:
  void launch_on(CUstream stream, size_t begin, size_t end) const;
  CUgraphExec make_graph(uint64_t steps) const;

  const std::shared_ptr<Context> context_;
  std::vector<std::shared_ptr<Module>> modules_;
  std::vector<Launch> launches_;
  std::vector<CUfunction> functions_;      // of the launches
  std::map<uint64_t, CUgraphExec> graphs_; // by number of steps
  bool compiled_ = false;
};

} // namespace nodevae::cuda
