#include "recording.h"

#include <utility>

namespace nodevae::cuda {

Recording::~Recording() {
  for (const auto& [steps, graph] : graphs_)
    context_->let_go([&driver = context_->driver(), graph = graph] { driver.cuGraphExecDestroy(graph); });
}

bool Recording::compile(std::vector<Launch> launches, Modules& modules, const std::atomic<bool>* abandon) {
  std::vector<PtxText> texts;
  for (const Launch& launch : launches) texts.push_back(launch.module);
  std::vector<std::shared_ptr<Module>> loaded = modules.load(context_, texts, abandon);
  if (loaded.size() != texts.size()) return false;
  std::vector<CUfunction> functions;
  for (size_t i = 0; i < launches.size(); ++i)
    functions.push_back(loaded[i]->function(launches[i].entry, launches[i].shared_bytes));
  modules_ = std::move(loaded);
  launches_ = std::move(launches);
  functions_ = std::move(functions);
  for (Launch& launch : launches_) launch.module.reset(); // the texts are long
  compiled_ = true;
  return true;
}

void Recording::launch(size_t begin, size_t end) const { launch_on(context_->stream(), begin, end); }

void Recording::launch_on(CUstream stream, size_t begin, size_t end) const {
  const Driver& driver = context_->driver();
  for (size_t i = begin; i < end; ++i) {
    const Launch& launch = launches_[i];
    void* parameters[] = {const_cast<std::byte*>(launch.parameters.data())};
    const CUresult result =
        driver.cuLaunchKernel(functions_[i], launch.grid[0], launch.grid[1], launch.grid[2], launch.threads, 1, 1,
                              launch.shared_bytes, stream, parameters, nullptr);
    if (result != CUDA_SUCCESS) driver.check(result, ("cuLaunchKernel \"" + launch.entry + "\"").c_str());
  }
}

void Recording::launch_graph(uint64_t steps) {
  const auto [at, is_new] = graphs_.try_emplace(steps, nullptr);
  if (is_new) {
    try {
      at->second = make_graph(steps);
    } catch (...) {
      graphs_.erase(at);
      throw;
    }
  }
  NODE_VAE_CUDA_CALL(context_->driver(), cuGraphLaunch, at->second, context_->stream());
}

CUgraphExec Recording::make_graph(uint64_t steps) const {
  const Driver& driver = context_->driver();
  const CUstream stream = context_->capture_stream();
  // Nothing but launches is recorded; what other threads do meanwhile, such as allocating, is no concern of it.
  NODE_VAE_CUDA_CALL(driver, cuStreamBeginCapture, stream, CU_STREAM_CAPTURE_MODE_RELAXED);
  CUgraph graph = nullptr;
  try {
    for (uint64_t step = 0; step < steps; ++step) launch_on(stream, 0, launches_.size());
  } catch (...) {
    if (driver.cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS && graph != nullptr) driver.cuGraphDestroy(graph);
    throw;
  }
  NODE_VAE_CUDA_CALL(driver, cuStreamEndCapture, stream, &graph);
  CUgraphExec executable = nullptr;
  const CUresult result = driver.cuGraphInstantiateWithFlags(&executable, graph, 0);
  driver.cuGraphDestroy(graph);
  driver.check(result, "cuGraphInstantiateWithFlags");
  return executable;
}

} // namespace nodevae::cuda
