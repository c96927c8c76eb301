// A session runs a plan: it owns the arena and scratch, holds the residents it is bound to, and turns "run k steps"
// into kernel calls. It knows neither N-API nor threads: whoever owns the device's queue calls run().
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "memory.h"
#include "plan.h"
#include "pool.h"
#include "snapshot.h"

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
  // `residents` by slot; they must fit the plan (bind_problem() says what does not). Throws std::bad_alloc.
  Session(Plan plan, std::vector<std::shared_ptr<Resident>> residents, int threads, const std::string& tier);

  // What does not fit between a plan and the residents it is to be bound to, or "".
  static std::string bind_problem(const Plan& plan, const std::vector<std::shared_ptr<Resident>>& residents);

  const Plan& plan() const { return plan_; }
  size_t arena_bytes() const { return arena_.bytes(); }
  // Partial results, tiles, and the copy of the weights that divergence goes back to.
  size_t scratch_bytes() const { return shared_.bytes() + local_memory_.bytes() + snapshot_.bytes(); }
  size_t resident_bytes() const;

  // Runs on the context's thread. Throws KernelError (or std::bad_alloc); the weights are then those from before
  // this run.
  RunOutcome run(const RunRequest& request, Pool& pool, const RunControl& control);

private:
  struct Progress; // one run under way: session.cc

  void resolve(int threads, const std::string& tier);
  bool run_kernels(Progress& progress, size_t begin, size_t end, uint64_t step);
  bool check_terms(Progress& progress) const;
  uint64_t rewind(Progress& progress, uint64_t target);
  void copy_outputs(RunOutcome& outcome) const;
  char* arena_data(int32_t buffer) const { return arena_.data() + plan_.buffers[static_cast<size_t>(buffer)].offset; }
  size_t buffer_bytes(int32_t buffer) const;

  Plan plan_;
  std::vector<std::shared_ptr<Resident>> residents_;
  AlignedMemory arena_, shared_, local_memory_;
  std::vector<char*> local_;
  std::vector<std::unique_ptr<Kernel>> kernels_;
  Snapshot snapshot_;
};

} // namespace nodevae
