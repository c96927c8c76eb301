// A small thread pool with dynamic chunks. On shared machines a static split with spin barriers loses to one
// thread, so chunks are handed out one by one and the caller, which works too, only ever waits for chunks that a
// worker has really begun. What a chunk computes never depends on who runs it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace nodevae {

// Flush denormals to zero on this thread while alive (Adam's moments decay into denormals, which run 10-100x slower).
class FlushDenormals {
public:
  FlushDenormals();
  ~FlushDenormals();

private:
  uint64_t saved_;
};

class Pool {
public:
  explicit Pool(int threads); // the caller counts as one: threads - 1 workers are started, on first use
  ~Pool();
  int threads() const;
  // Once `flag` is set, chunks not yet begun are skipped, so that a process that ends need not wait for a long
  // kernel. What the kernel computed is then worthless. The flag must outlive the pool.
  void abandon_when(const std::atomic<bool>* flag);
  // Calls body(chunk, thread) for chunk in [0, chunks), thread in [0, threads()). Rethrows the first exception.
  // Not reentrant. `Body` is passed by reference and never outlives the call.
  template <class Body> void parallel_for(int64_t chunks, const Body& body) {
    run(
        chunks, [](const void* b, int64_t chunk, int thread) { (*static_cast<const Body*>(b))(chunk, thread); }, &body);
  }

private:
  using Call = void (*)(const void* body, int64_t chunk, int thread);
  void run(int64_t chunks, Call call, const void* body);
  struct State;
  std::unique_ptr<State> state_;
};

} // namespace nodevae
