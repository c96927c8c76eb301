// Graphs, and functions by name.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>

#include "driver.h"

namespace emulator {
namespace {

void add_node(CUgraphNode* result, CUgraph graph, const CUgraphNode* dependencies, size_t count, CUgraphNodeType type,
              std::function<void()> run) {
  require(result, "the node's address");
  checked(graph, "graph");
  for (size_t i = 0; i < count; ++i) {
    if (std::none_of(graph->nodes.begin(), graph->nodes.end(),
                     [&](const auto& node) { return node.get() == dependencies[i]; }))
      refuse(CUDA_ERROR_INVALID_VALUE, "a dependency is not a node of the graph");
    if (std::find(dependencies, dependencies + i, dependencies[i]) != dependencies + i)
      refuse(CUDA_ERROR_INVALID_VALUE, "a dependency is named twice");
  }
  auto node = std::make_shared<CUgraphNode_st>();
  node->type = type;
  node->run = std::move(run);
  node->dependencies.assign(dependencies, dependencies + count);
  Driver::instance().live.insert(node.get());
  graph->nodes.push_back(node);
  *result = node.get();
}

std::function<void()> kernel_operation(const CUDA_KERNEL_NODE_PARAMS* p) {
  require(p, "the node's parameters");
  return launch_operation(p->func, {p->gridDimX, p->gridDimY, p->gridDimZ}, {p->blockDimX, p->blockDimY, p->blockDimZ},
                          p->sharedMemBytes, p->kernelParams, p->extra);
}

// In the order of the calls, or another one that the dependencies allow: always the latest node that is ready, or any.
std::vector<std::shared_ptr<CUgraphNode_st>> graph_order(const std::vector<std::shared_ptr<CUgraphNode_st>>& nodes) {
  const char* text = std::getenv("EMULATED_GRAPH_ORDER");
  const std::string order = text && *text ? text : "forward";
  const bool is_random = order.rfind("random:", 0) == 0;
  if (order == "forward") return nodes;
  if (order != "reverse" && !is_random)
    refuse(CUDA_ERROR_INVALID_VALUE,
           "EMULATED_GRAPH_ORDER: expected forward, reverse or random:<seed>, found " + order);
  std::mt19937_64 random(is_random ? std::strtoull(order.c_str() + 7, nullptr, 0) : 0);
  std::unordered_map<CUgraphNode, size_t> numbers;
  std::vector<size_t> waits(nodes.size()), ready; // ready: ascending
  std::vector<std::vector<size_t>> followers(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    numbers[nodes[i].get()] = i;
    waits[i] = nodes[i]->dependencies.size();
    for (CUgraphNode other : nodes[i]->dependencies) followers[numbers.at(other)].push_back(i);
    if (waits[i] == 0) ready.push_back(i);
  }
  std::vector<std::shared_ptr<CUgraphNode_st>> result;
  while (!ready.empty()) {
    const auto chosen =
        ready.begin() + static_cast<ptrdiff_t>((is_random ? random() : ready.size() - 1) % ready.size());
    const size_t node = *chosen;
    ready.erase(chosen);
    result.push_back(nodes[node]);
    for (size_t follower : followers[node])
      if (--waits[follower] == 0) ready.insert(std::lower_bound(ready.begin(), ready.end(), follower), follower);
  }
  return result;
}

struct Side { // of a copy of one row
  CUdeviceptr device = 0;
  uint8_t* host = nullptr;
};

} // namespace
} // namespace emulator

using namespace emulator;

extern "C" {

CUresult CUDAAPI cuGraphCreate(CUgraph* graph, unsigned int flags) {
  return enter(Needs::context, "cuGraphCreate", [=] {
    require(graph, "graph");
    if (flags) refuse(CUDA_ERROR_INVALID_VALUE, "flags must be 0");
    *graph = new CUgraph_st;
    Driver::instance().live.insert(*graph);
  });
}

CUresult CUDAAPI cuGraphAddKernelNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies, size_t count,
                                      const CUDA_KERNEL_NODE_PARAMS* parameters) {
  return enter(Needs::context, "cuGraphAddKernelNode", [=] {
    add_node(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_KERNEL, kernel_operation(parameters));
  });
}

CUresult CUDAAPI cuGraphAddMemcpyNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies, size_t count,
                                      const CUDA_MEMCPY3D* p, CUcontext) {
  return enter(Needs::context, "cuGraphAddMemcpyNode", [=] {
    require(p, "the node's parameters");
    if (p->Height > 1 || p->Depth > 1) refuse(CUDA_ERROR_NOT_SUPPORTED, "only copies of one row are emulated");
    size_t size = p->WidthInBytes;
    auto side = [&](CUmemorytype type, CUdeviceptr device, const void* host, size_t offset, const char* what) {
      Side result;
      if (type == CU_MEMORYTYPE_HOST)
        result.host = static_cast<uint8_t*>(host_bytes(host, what)) + offset;
      else if (type == CU_MEMORYTYPE_DEVICE || type == CU_MEMORYTYPE_UNIFIED)
        result.device = device + offset;
      else
        refuse(CUDA_ERROR_NOT_SUPPORTED, "copies of arrays are not emulated");
      if (!result.host) device_bytes(result.device, size, what);
      return result;
    };
    Side from = side(p->srcMemoryType, p->srcDevice, p->srcHost, p->srcXInBytes, "source");
    Side to = side(p->dstMemoryType, p->dstDevice, p->dstHost, p->dstXInBytes, "destination");
    add_node(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_MEMCPY, [=] {
      std::memmove(to.host ? to.host : device_bytes(to.device, size, "destination"),
                   from.host ? from.host : device_bytes(from.device, size, "source"), size);
    });
  });
}

CUresult CUDAAPI cuGraphAddMemsetNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies, size_t count,
                                      const CUDA_MEMSET_NODE_PARAMS* p, CUcontext) {
  return enter(Needs::context, "cuGraphAddMemsetNode", [=] {
    require(p, "the node's parameters");
    CUDA_MEMSET_NODE_PARAMS set = *p;
    if (set.height > 1) refuse(CUDA_ERROR_NOT_SUPPORTED, "only fills of one row are emulated");
    if (set.elementSize != 1 && set.elementSize != 2 && set.elementSize != 4)
      refuse(CUDA_ERROR_INVALID_VALUE, "elements of 1, 2 or 4 bytes");
    device_bytes(set.dst, set.width * set.elementSize, "destination");
    add_node(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_MEMSET, [set] {
      uint8_t* to = device_bytes(set.dst, set.width * set.elementSize, "destination");
      for (size_t i = 0; i < set.width; ++i) std::memcpy(to + i * set.elementSize, &set.value, set.elementSize);
    });
  });
}

CUresult CUDAAPI cuGraphAddEmptyNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies, size_t count) {
  return enter(Needs::context, "cuGraphAddEmptyNode",
               [=] { add_node(node, graph, dependencies, count, CU_GRAPH_NODE_TYPE_EMPTY, [] {}); });
}

CUresult CUDAAPI cuGraphGetNodes(CUgraph graph, CUgraphNode* nodes, size_t* count) {
  return enter(Needs::context, "cuGraphGetNodes", [=] {
    checked(graph, "graph"), require(count, "count");
    if (nodes) {
      for (size_t i = 0; i < *count; ++i) nodes[i] = i < graph->nodes.size() ? graph->nodes[i].get() : nullptr;
      *count = std::min(*count, graph->nodes.size());
    } else {
      *count = graph->nodes.size();
    }
  });
}

CUresult CUDAAPI cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType* type) {
  return enter(Needs::context, "cuGraphNodeGetType", [=] {
    require(type, "type");
    *type = checked(node, "node")->type;
  });
}

CUresult CUDAAPI cuGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph graph, unsigned long long) {
  return enter(Needs::context, "cuGraphInstantiate", [=] {
    require(executable, "executable");
    auto made = std::make_unique<CUgraphExec_st>();
    made->nodes = graph_order(checked(graph, "graph")->nodes);
    Driver::instance().live.insert(made.get());
    *executable = made.release();
  });
}

CUresult CUDAAPI cuGraphInstantiateWithParams(CUgraphExec* executable, CUgraph graph,
                                              CUDA_GRAPH_INSTANTIATE_PARAMS* p) {
  if (p) p->result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
  return cuGraphInstantiateWithFlags(executable, graph, 0);
}

CUresult CUDAAPI cuGraphExecKernelNodeSetParams(CUgraphExec executable, CUgraphNode node,
                                                const CUDA_KERNEL_NODE_PARAMS* p) {
  return enter(Needs::context, "cuGraphExecKernelNodeSetParams", [=] {
    checked(executable, "executable graph");
    if (checked(node, "node")->type != CU_GRAPH_NODE_TYPE_KERNEL)
      refuse(CUDA_ERROR_INVALID_VALUE, "the node is not a kernel");
    executable->replaced[node] = kernel_operation(p);
  });
}

CUresult CUDAAPI cuGraphUpload(CUgraphExec executable, CUstream) {
  return enter(Needs::context, "cuGraphUpload", [=] { checked(executable, "executable graph"); });
}

CUresult CUDAAPI cuGraphLaunch(CUgraphExec executable, CUstream stream) {
  return enter(Needs::context, "cuGraphLaunch", [=] {
    checked(executable, "executable graph");
    CUgraphExec_st whole = *executable;
    submit(checked_stream(stream), CU_GRAPH_NODE_TYPE_GRAPH, [whole] {
      for (const auto& node : whole.nodes) {
        auto replaced = whole.replaced.find(node.get());
        (replaced == whole.replaced.end() ? node->run : replaced->second)();
      }
    });
  });
}

CUresult CUDAAPI cuGraphExecDestroy(CUgraphExec executable) {
  return enter(Needs::initialized, "cuGraphExecDestroy", [=] {
    Driver::instance().live.erase(checked(executable, "executable graph"));
    delete executable;
  });
}

CUresult CUDAAPI cuGraphDestroy(CUgraph graph) {
  return enter(Needs::initialized, "cuGraphDestroy", [=] {
    Driver::instance().live.erase(checked(graph, "graph"));
    for (const auto& node : graph->nodes) Driver::instance().live.erase(node.get());
    delete graph;
  });
}

CUresult CUDAAPI cuGetProcAddress(const char* name, void** function, int, cuuint64_t,
                                  CUdriverProcAddressQueryResult* status) {
  // cuda.h maps a name to the version of the function that this file defines; the text stays as it is.
#define EMULATOR_FUNCTION(name) {#name, reinterpret_cast<void*>(name)},
  static const std::unordered_map<std::string, void*> functions = {
      EMULATOR_FUNCTION(cuInit) EMULATOR_FUNCTION(cuDriverGetVersion) EMULATOR_FUNCTION(cuDeviceGet) EMULATOR_FUNCTION(
          cuDeviceGetCount) EMULATOR_FUNCTION(cuDeviceGetName) EMULATOR_FUNCTION(cuDeviceGetUuid)
          EMULATOR_FUNCTION(cuDeviceGetAttribute) EMULATOR_FUNCTION(cuDeviceTotalMem) EMULATOR_FUNCTION(
              cuDevicePrimaryCtxRetain) EMULATOR_FUNCTION(cuDevicePrimaryCtxRelease) EMULATOR_FUNCTION(cuCtxSetCurrent)
              EMULATOR_FUNCTION(cuCtxGetCurrent) EMULATOR_FUNCTION(cuCtxPushCurrent) EMULATOR_FUNCTION(
                  cuCtxPopCurrent) EMULATOR_FUNCTION(cuCtxSynchronize) EMULATOR_FUNCTION(cuGetErrorName)
                  EMULATOR_FUNCTION(cuGetErrorString) EMULATOR_FUNCTION(cuMemGetInfo) EMULATOR_FUNCTION(
                      cuMemAlloc) EMULATOR_FUNCTION(cuMemFree) EMULATOR_FUNCTION(cuMemAllocHost)
                      EMULATOR_FUNCTION(cuMemHostAlloc) EMULATOR_FUNCTION(cuMemFreeHost) EMULATOR_FUNCTION(
                          cuMemHostGetDevicePointer) EMULATOR_FUNCTION(cuMemcpyHtoD) EMULATOR_FUNCTION(cuMemcpyDtoH)
                          EMULATOR_FUNCTION(cuMemcpyDtoD) EMULATOR_FUNCTION(cuMemcpyHtoDAsync) EMULATOR_FUNCTION(
                              cuMemcpyDtoHAsync) EMULATOR_FUNCTION(cuMemcpyDtoDAsync) EMULATOR_FUNCTION(cuMemsetD8)
                              EMULATOR_FUNCTION(cuMemsetD32) EMULATOR_FUNCTION(cuMemsetD8Async) EMULATOR_FUNCTION(
                                  cuMemsetD32Async) EMULATOR_FUNCTION(cuStreamCreate) EMULATOR_FUNCTION(cuStreamDestroy)
                                  EMULATOR_FUNCTION(cuStreamSynchronize) EMULATOR_FUNCTION(cuStreamQuery) EMULATOR_FUNCTION(
                                      cuStreamBeginCapture) EMULATOR_FUNCTION(cuStreamEndCapture)
                                      EMULATOR_FUNCTION(cuStreamIsCapturing) EMULATOR_FUNCTION(cuStreamWaitEvent) EMULATOR_FUNCTION(
                                          cuLaunchHostFunc) EMULATOR_FUNCTION(cuEventCreate)
                                          EMULATOR_FUNCTION(cuEventDestroy) EMULATOR_FUNCTION(cuEventRecord) EMULATOR_FUNCTION(
                                              cuEventSynchronize) EMULATOR_FUNCTION(cuEventQuery)
                                              EMULATOR_FUNCTION(cuEventElapsedTime) EMULATOR_FUNCTION(
                                                  cuModuleLoadData) EMULATOR_FUNCTION(cuModuleLoadDataEx)
                                                  EMULATOR_FUNCTION(cuModuleUnload) EMULATOR_FUNCTION(
                                                      cuModuleGetFunction) EMULATOR_FUNCTION(cuModuleGetGlobal)
                                                      EMULATOR_FUNCTION(cuFuncSetAttribute) EMULATOR_FUNCTION(
                                                          cuFuncGetAttribute) EMULATOR_FUNCTION(cuLaunchKernel)
                                                          EMULATOR_FUNCTION(
                                                              cuGraphCreate) EMULATOR_FUNCTION(cuGraphAddKernelNode)
                                                              EMULATOR_FUNCTION(
                                                                  cuGraphAddMemcpyNode) EMULATOR_FUNCTION(cuGraphAddMemsetNode)
                                                                  EMULATOR_FUNCTION(cuGraphAddEmptyNode) EMULATOR_FUNCTION(
                                                                      cuGraphGetNodes) EMULATOR_FUNCTION(cuGraphNodeGetType)
                                                                      EMULATOR_FUNCTION(cuGraphInstantiate) EMULATOR_FUNCTION(
                                                                          cuGraphInstantiateWithFlags)
                                                                          EMULATOR_FUNCTION(
                                                                              cuGraphInstantiateWithParams)
                                                                              EMULATOR_FUNCTION(
                                                                                  cuGraphExecKernelNodeSetParams)
                                                                                  EMULATOR_FUNCTION(cuGraphUpload)
                                                                                      EMULATOR_FUNCTION(cuGraphLaunch)
                                                                                          EMULATOR_FUNCTION(
                                                                                              cuGraphExecDestroy)
                                                                                              EMULATOR_FUNCTION(
                                                                                                  cuGraphDestroy)
                                                                                                  EMULATOR_FUNCTION(
                                                                                                      cuGetProcAddress)};
#undef EMULATOR_FUNCTION
  if (!name || !function) return CUDA_ERROR_INVALID_VALUE;
  auto found = functions.find(name);
  bool known = found != functions.end();
  *function = known ? found->second : nullptr;
  if (status) *status = known ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return known ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

} // extern "C"
