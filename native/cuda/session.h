// A session on a CUDA device: the plan lowered to launches, which run as graphs of whole steps. What may take long, the
// driver's compilation above all, happens in the first run, on the queue's thread.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "../binding.h"
#include "../session.h"
#include "../snapshot.h"
#include "context.h"
#include "dependencies.h"
#include "lowering.h"
#include "memory.h"
#include "modules.h"
#include "noise.h"
#include "pipeline.h"
#include "recording.h"

namespace nodevae::cuda {

class CudaSession final : public Session {
public:
  // Throws OutOfMemory, and KernelError for a step that cannot be lowered.
  CudaSession(std::shared_ptr<Context> context, std::shared_ptr<Modules> modules, Plan plan,
              std::vector<std::shared_ptr<Resident>> residents, Precision precision);

  const Plan& plan() const override { return plan_; }
  size_t arena_bytes() const override { return arena_.bytes(); }
  size_t scratch_bytes() const override { return scratch_->bytes() + snapshot_.bytes(); }
  size_t resident_bytes() const override { return total_bytes(residents_); }
  RunOutcome run(const RunRequest& request, Pool& pool, const RunControl& control) override;

private:
  struct Progress; // one run under way: session.cc

  void lower_steps(Precision precision);
  bool prepare(const RunControl& control);
  void place_scratch();
  Task check_task(std::vector<Launch>& launches, bool advances) const;
  Task advance_task(std::vector<Launch>& launches) const;
  std::vector<Launch> all_launches(std::vector<Task>& tasks);
  bool needs_advance_kernel() const;
  RunState launch_steps(Progress& progress);
  void conclude(Progress& progress, const RunState& state);
  uint64_t rewind(Progress& progress, uint64_t target);
  void upload_inputs(const RunRequest& request);
  void copy_outputs(RunOutcome& outcome);
  uint64_t terms() const;
  CUdeviceptr buffer_address(int32_t buffer) const;

  const std::shared_ptr<Context> context_;
  const std::shared_ptr<Modules> modules_;
  const Plan plan_; // with the arena spread
  const NoiseFusion noise_;
  const std::vector<std::shared_ptr<Resident>> residents_;
  DeviceMemory arena_;
  std::vector<std::unique_ptr<LoweredStep>> steps_; // of the plan; empty once recorded
  std::vector<Addresses> addresses_;                // of these, in the scratch memory
  std::unique_ptr<DeviceMemory> scratch_;           // RunState, ring of terms, tickets, partial results
  CUdeviceptr state_ = 0, ring_ = 0;
  Snapshot snapshot_;

  std::vector<std::vector<Access>> accesses_;    // of the plan's steps; empty once recorded
  std::vector<std::pair<size_t, size_t>> spans_; // of each plan step's launches in the recording, and their end
  size_t half_ = 0;                              // launches before the first that may write residents
  Recording recording_;
  std::unique_ptr<Pipeline> pipeline_;
  bool warm_ = false; // every kernel has run once, so graphs find them loaded
};

} // namespace nodevae::cuda
