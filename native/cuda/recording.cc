#include "recording.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

namespace nodevae::cuda {
namespace {

bool wants_chain() {
  const char* text = std::getenv("NODE_VAE_CUDA_GRAPH");
  if (text == nullptr || *text == '\0' || std::strcmp(text, "parallel") == 0) return false;
  if (std::strcmp(text, "chain") == 0) return true;
  throw KernelError("the environment variable NODE_VAE_CUDA_GRAPH: expected \"parallel\" or \"chain\", received \"" +
                    std::string(text) + "\"; leave it away for \"parallel\"");
}

} // namespace

Recording::Recording(std::shared_ptr<Context> context) : context_(std::move(context)), chain_(wants_chain()) {}

Recording::~Recording() {
  for (const auto& [steps, graph] : graphs_)
    context_->let_go([&driver = context_->driver(), graph = graph] { driver.cuGraphExecDestroy(graph); });
}

bool Recording::compile(std::vector<Launch> launches, std::vector<Task> tasks, Modules& modules,
                        const std::atomic<bool>* abandon) {
  std::vector<ModuleRequest> requests;
  for (const Launch& launch : launches) requests.push_back({launch.module, launch.entry, launch.shared_bytes});
  std::vector<std::shared_ptr<Module>> loaded = modules.load(context_, requests, abandon);
  if (loaded.size() != requests.size()) return false;
  std::vector<CUfunction> functions;
  for (size_t i = 0; i < launches.size(); ++i)
    functions.push_back(loaded[i]->function(launches[i].entry, launches[i].shared_bytes));
  modules_ = std::move(loaded);
  launches_ = std::move(launches);
  tasks_ = std::move(tasks);
  functions_ = std::move(functions);
  for (Launch& launch : launches_) launch.module.reset(); // the texts are long
  compiled_ = true;
  return true;
}

void Recording::launch(size_t begin, size_t end) const {
  const Driver& driver = context_->driver();
  for (size_t i = begin; i < end; ++i) {
    const Launch& launch = launches_[i];
    void* parameters[] = {const_cast<std::byte*>(launch.parameters.data())};
    const CUresult result =
        driver.cuLaunchKernel(functions_[i], launch.grid[0], launch.grid[1], launch.grid[2], launch.threads, 1, 1,
                              launch.shared_bytes, context_->stream(), parameters, nullptr);
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
  CUgraph graph = nullptr;
  NODE_VAE_CUDA_CALL(driver, cuGraphCreate, &graph, 0);
  try {
    add_steps(graph, steps);
  } catch (...) {
    driver.cuGraphDestroy(graph);
    throw;
  }
  CUgraphExec executable = nullptr;
  const CUresult result = driver.cuGraphInstantiateWithFlags(&executable, graph, 0);
  driver.cuGraphDestroy(graph);
  driver.check(result, "cuGraphInstantiateWithFlags");
  return executable;
}

void Recording::add_steps(CUgraph graph, uint64_t steps) const {
  Dependencies dependencies;     // across the steps: the next one may begin before this one has ended
  std::vector<CUgraphNode> last; // launch of each task so far
  std::vector<CUgraphNode> behind;
  for (uint64_t step = 0; step < steps; ++step)
    for (const Task& task : tasks_) {
      if (task.begin == task.end) continue;
      behind.clear();
      if (!chain_)
        for (const size_t other : dependencies.add(task.accesses)) behind.push_back(last[other]);
      else if (!last.empty())
        behind.push_back(last.back());
      for (size_t i = task.begin; i < task.end; ++i) behind = {add_launch(graph, i, behind)};
      last.push_back(behind.front());
    }
}

CUgraphNode Recording::add_launch(CUgraph graph, size_t number, const std::vector<CUgraphNode>& behind) const {
  const Driver& driver = context_->driver();
  const Launch& launch = launches_[number];
  void* parameters[] = {const_cast<std::byte*>(launch.parameters.data())};
  CUDA_KERNEL_NODE_PARAMS node{};
  node.func = functions_[number];
  node.gridDimX = launch.grid[0];
  node.gridDimY = launch.grid[1];
  node.gridDimZ = launch.grid[2];
  node.blockDimX = launch.threads;
  node.blockDimY = node.blockDimZ = 1;
  node.sharedMemBytes = launch.shared_bytes;
  node.kernelParams = parameters; // copied by the call
  CUgraphNode added = nullptr;
  const CUresult result = driver.cuGraphAddKernelNode(&added, graph, behind.data(), behind.size(), &node);
  if (result != CUDA_SUCCESS) driver.check(result, ("cuGraphAddKernelNode \"" + launch.entry + "\"").c_str());
  return added;
}

} // namespace nodevae::cuda
