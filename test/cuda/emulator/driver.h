// What stands behind the handles of the driver API. Everything is executed at once, in the order of the calls: "async"
// calls have happened when they return. A kernel that fails leaves an error that all later calls return, as on a
// device; its text goes to stderr.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "machine.h"

struct CUctx_st {
  int references = 0;
};

struct CUfunc_st {
  CUmodule module = nullptr;
  std::shared_ptr<const emulator::Program> program;
  int dynamic_limit = -1; // from CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
};

struct CUmod_st {
  std::shared_ptr<const emulator::Image> image;
  std::map<std::string, std::unique_ptr<CUfunc_st>> functions;
  std::map<std::string, std::pair<CUdeviceptr, size_t>> variables;
};

struct CUgraphNode_st {
  CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
  std::function<void()> run;
  std::vector<CUgraphNode> dependencies;
};

struct CUgraph_st {
  std::vector<std::shared_ptr<CUgraphNode_st>> nodes; // each behind those that it depends on
};

struct CUgraphExec_st {
  std::vector<std::shared_ptr<CUgraphNode_st>> nodes;              // in the order of their execution
  std::unordered_map<CUgraphNode, std::function<void()>> replaced; // by cuGraphExecKernelNodeSetParams
};

struct CUstream_st {
  CUgraph capture = nullptr;
  bool origin = false; // cuStreamBeginCapture was called for it (others join through events)
  bool global_mode = false;
};

struct CUevent_st {
  bool timing = true, recorded = false;
  std::chrono::steady_clock::time_point time;
  CUgraph capture = nullptr; // recorded in a stream that is being captured
};

namespace emulator {

// Recursive, and first come, first served: a thread that launches in a loop asks again as soon as it lets go, and a
// std::mutex lets it pass those that wait for as long as it goes on.
class FairMutex {
public:
  void lock();
  void unlock();

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t next_ticket_ = 0, served_ = 0;
  std::thread::id owner_;
  int depth_ = 0;
};

constexpr int kMaxSharedPerBlock = 49152, kMaxSharedOptIn = 101376, kMultiprocessors = 4, kMaxThreads = 1024;

struct Driver {
  static Driver& instance();
  FairMutex mutex;
  bool initialized = false;
  CUresult sticky = CUDA_SUCCESS;
  std::string last_error;
  CUctx_st primary;
  std::unordered_set<const void*> live; // handles of all kinds
  std::unordered_set<CUstream> streams;
  int capability() const;
  bool capturing_globally() const;
};

std::vector<CUcontext>& context_stack(); // of the calling thread

enum class Needs { nothing, initialized, context };
// Runs the body of an API function: lock, state of the driver, exceptions to results.
CUresult enter(Needs needs, const char* name, const std::function<void()>& body);

[[noreturn]] void refuse(CUresult code, const std::string& text);
template <class T> T* checked(T* handle, const char* what) {
  if (!handle || !Driver::instance().live.count(handle))
    refuse(CUDA_ERROR_INVALID_HANDLE, std::string("this is not a live ") + what);
  return handle;
}
template <class T> void require(T* pointer, const char* what) {
  if (!pointer) refuse(CUDA_ERROR_INVALID_VALUE, std::string(what) + " is null");
}

// The stream of a handle; nullptr for the default stream.
CUstream checked_stream(CUstream stream);
// Runs an operation now, or appends it to the graph that the stream is captured to.
void submit(CUstream stream, CUgraphNodeType type, std::function<void()> run);
void not_while_capturing(const char* what);
std::function<void()> launch_operation(CUfunction function, const uint32_t (&grid)[3], const uint32_t (&threads)[3],
                                       uint32_t shared_bytes, void** parameters, void** extra);
uint8_t* device_bytes(CUdeviceptr address, size_t size, const char* what);
void* host_bytes(const void* pointer, const char* what);

} // namespace emulator
