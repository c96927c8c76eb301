// The launches of one step of a plan, compiled: made one by one, or all at once as a graph of one or several steps,
// where what need not wait for each other runs side by side. Nothing in them changes from step to step, as kernels read
// seed and counter in RunState, so a graph is made once.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <vector>

#include "context.h"
#include "dependencies.h"
#include "lowering.h"
#include "modules.h"

namespace nodevae::cuda {

// Launches that run one after the other, and what they touch.
struct Task {
  size_t begin, end; // of the launches
  std::vector<Access> accesses;
};

class Recording {
public:
  // Throws KernelError for an environment variable NODE_VAE_CUDA_GRAPH other than "parallel" and "chain", which makes
  // graphs without branches: to see by comparison what they bring.
  explicit Recording(std::shared_ptr<Context> context);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  // Compiles the launches, in their order; every one belongs to one of the tasks, which have the same order. False when
  // `abandon` is set meanwhile. Throws DriverError.
  bool compile(std::vector<Launch> launches, std::vector<Task> tasks, Modules& modules,
               const std::atomic<bool>* abandon);
  bool compiled() const { return compiled_; }
  size_t size() const { return launches_.size(); }

  void launch(size_t begin, size_t end) const; // these, one by one
  void launch_graph(uint64_t steps);           // everything, so many times over, as one graph

private:
  CUgraphExec make_graph(uint64_t steps) const;
  void add_steps(CUgraph graph, uint64_t steps) const;
  CUgraphNode add_launch(CUgraph graph, size_t launch, const std::vector<CUgraphNode>& behind) const;

  const std::shared_ptr<Context> context_;
  const bool chain_;
  std::vector<std::shared_ptr<Module>> modules_;
  std::vector<Launch> launches_;
  std::vector<Task> tasks_;
  std::vector<CUfunction> functions_;      // of the launches
  std::map<uint64_t, CUgraphExec> graphs_; // by number of steps
  bool compiled_ = false;
};

} // namespace nodevae::cuda
