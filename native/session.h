// A session runs a plan on a device: it owns the arena and scratch, holds the residents it is bound to, and turns
// "run k steps" into kernels. It knows neither N-API nor threads: whoever owns the device's queue calls run().
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "memory.h"
#include "plan.h"
#include "pool.h"

namespace nodevae {

struct RunRequest {
  uint64_t steps = 1;
  uint64_t first_step = 0;
  uint64_t seed = 0;
  std::vector<AlignedMemory> inputs; // one per plan input, of its exact size
  bool profile = false;
};

// How others interrupt a run.
struct RunControl {
  std::atomic<bool> stop{false};              // end after the step in progress
  const std::atomic<bool>* abandon = nullptr; // end after the kernel in progress: the process is going down
  bool abandoned() const { return abandon != nullptr && abandon->load(std::memory_order_relaxed); }
  bool stopped() const { return stop.load(std::memory_order_relaxed) || abandoned(); }
};

struct RunOutcome {
  enum class Status { done, stopped, diverged } status = Status::done;
  uint64_t completed = 0;   // steps of this run whose updates stand
  std::vector<float> terms; // completed x row
  std::vector<AlignedMemory> outputs;
  uint64_t diverged_step = 0;  // counter of the step that met a term that is not finite
  uint64_t diverged_term = 0;  // its index in the row
  uint64_t restored_step = 0;  // counter at which the kept weights stand: training may resume from there
  std::vector<double> profile; // nanoseconds per plan step, summed over the steps of this run
};

class Session {
public:
  virtual ~Session() = default;
  virtual const Plan& plan() const = 0;
  virtual size_t arena_bytes() const = 0;
  // Partial results, tiles, and the copy of the weights that divergence goes back to.
  virtual size_t scratch_bytes() const = 0;
  virtual size_t resident_bytes() const = 0;

  // Runs on the context's thread. Throws KernelError (or OutOfMemory); the weights are then those from before
  // this run.
  virtual RunOutcome run(const RunRequest& request, Pool& pool, const RunControl& control) = 0;
};

} // namespace nodevae
