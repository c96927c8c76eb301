#include "cpu_session.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>

#include "device.h"

namespace nodevae {
namespace {

size_t round_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

// The scratch memory of all kernels of a plan together: they run one after the other.
struct Scratch {
  size_t shared = 0;
  size_t local = 0; // of each thread
  void make_room(const Kernel& kernel) {
    shared = std::max(shared, kernel.shared_bytes());
    local = std::max(local, round_up(kernel.local_bytes()));
  }
};

class CpuDevice final : public Device {
public:
  CpuDevice(int threads, std::string tier) : threads_(threads), tier_(std::move(tier)) {}
  std::unique_ptr<Memory> allocate(size_t bytes) override {
    return std::make_unique<HostMemory>(bytes, "a resident tensor");
  }
  std::unique_ptr<Session> compile(Plan plan, std::vector<std::shared_ptr<Resident>> residents) override {
    return std::make_unique<CpuSession>(std::move(plan), std::move(residents), threads_, tier_);
  }
  size_t scratch_bytes(const Plan& plan) override {
    const ImaginedMemory memory(plan);
    Scratch scratch;
    for (const PlanStep& step : plan.steps)
      scratch.make_room(*make_cpu_kernel(resolve(plan, step, memory.buffers), threads_, tier_));
    return scratch.shared + scratch.local * static_cast<size_t>(threads_);
  }

private:
  const int threads_;
  const std::string tier_;
};

} // namespace

struct CpuSession::Progress {
  RunContext context;
  const RunControl& control;
  RunOutcome& outcome;
  bool profile;
};

CpuSession::CpuSession(Plan plan, std::vector<std::shared_ptr<Resident>> residents, int threads,
                       const std::string& tier)
    : plan_(std::move(plan)), residents_(std::move(residents)),
      arena_(static_cast<size_t>(plan_.arena_bytes), "the working memory of a session") {
  snapshot_.watch(residents_, written_slots(plan_), [](size_t bytes) -> std::unique_ptr<Memory> {
    return std::make_unique<HostMemory>(bytes, "the copy of the weights that divergence goes back to");
  });
  make_kernels(threads, tier);
}

void CpuSession::make_kernels(int threads, const std::string& tier) {
  const std::vector<char*> addresses = buffer_addresses(plan_, arena_.data(), residents_);
  Scratch scratch;
  for (const PlanStep& step : plan_.steps) {
    kernels_.push_back(make_cpu_kernel(resolve(plan_, step, addresses), threads, tier));
    scratch.make_room(*kernels_.back());
  }
  shared_ = AlignedMemory(scratch.shared, "partial results of a session");
  local_memory_ = AlignedMemory(scratch.local * static_cast<size_t>(threads), "the tiles of a session's threads");
  for (int thread = 0; thread < threads; ++thread)
    local_.push_back(local_memory_.data() + scratch.local * static_cast<size_t>(thread));
}

RunOutcome CpuSession::run(const RunRequest& request, Pool& pool, const RunControl& control) {
  const FlushDenormals flush;
  RunOutcome outcome;
  if (request.profile) outcome.profile.resize(plan_.steps.size());
  Progress progress{
      {&pool, request.seed, request.first_step, shared_.data(), local_.data()}, control, outcome, request.profile};
  snapshot_.begin_run(request.first_step, request.seed, !plan_.inputs.empty());
  for (size_t i = 0; i < plan_.inputs.size(); ++i)
    std::memcpy(arena_data(plan_.inputs[i]), request.inputs[i].data(), request.inputs[i].bytes());

  const size_t commit = static_cast<size_t>(plan_.commit), end = plan_.steps.size();
  uint64_t step = request.first_step; // counter at which the weights stand
  bool changed = false;
  try {
    for (uint64_t done = 0; done < request.steps; ++done) {
      if (control.stopped() || !run_kernels(progress, 0, commit, step)) {
        outcome.status = RunOutcome::Status::stopped;
        break;
      }
      if (!check_terms(progress)) {
        outcome.status = RunOutcome::Status::diverged;
        outcome.diverged_step = step;
        if (snapshot_.valid() && snapshot_.step() < step) {
          changed = true;
          step = rewind(progress, step - 1);
        }
        break;
      }
      if (step == request.first_step) snapshot_.confirm(step);
      changed = true;
      if (!run_kernels(progress, commit, end, step)) { // half a step: only ever while the process goes down
        outcome.status = RunOutcome::Status::stopped;
        break;
      }
      ++step;
    }
  } catch (...) {
    if (changed && snapshot_.valid()) step = rewind(progress, request.first_step);
    snapshot_.end_run(step, changed);
    throw;
  }
  snapshot_.end_run(step, changed);
  outcome.restored_step = step;
  outcome.completed = step > request.first_step ? step - request.first_step : 0;
  if (plan_.terms >= 0) {
    const size_t row = static_cast<size_t>(plan_.buffers[static_cast<size_t>(plan_.terms)].elements);
    outcome.terms.resize(static_cast<size_t>(outcome.completed) * row);
  }
  copy_outputs(outcome);
  return outcome;
}

// Runs the plan's steps [begin, end). False when it was told to end meanwhile: before the plan's commit nothing that
// lasts is written, so a stop may leave a step unfinished; from there on only the end of the process does.
bool CpuSession::run_kernels(Progress& progress, size_t begin, size_t end, uint64_t step) {
  progress.context.step = step;
  for (size_t i = begin; i < end; ++i) {
    const bool harmless = i < static_cast<size_t>(plan_.commit);
    if (harmless ? progress.control.stopped() : progress.control.abandoned()) return false;
    try {
      if (progress.profile) {
        const auto start = std::chrono::steady_clock::now();
        kernels_[i]->run(progress.context);
        progress.outcome.profile[i] +=
            std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
      } else {
        kernels_[i]->run(progress.context);
      }
    } catch (const std::bad_alloc& error) {
      throw OutOfMemory(at_step(plan_, i, step, error.what()).what());
    } catch (const std::exception& error) {
      throw at_step(plan_, i, step, error.what());
    }
  }
  return !progress.control.abandoned();
}

// Records the row of terms; false when one is not finite.
bool CpuSession::check_terms(Progress& progress) const {
  if (plan_.terms < 0) return true;
  const float* row = reinterpret_cast<const float*>(arena_data(plan_.terms));
  const float* row_end = row + plan_.buffers[static_cast<size_t>(plan_.terms)].elements;
  const float* bad = std::find_if(row, row_end, [](float term) { return !std::isfinite(term); });
  if (bad != row_end) {
    progress.outcome.diverged_term = static_cast<uint64_t>(bad - row);
    return false;
  }
  progress.outcome.terms.insert(progress.outcome.terms.end(), row, row_end);
  return true;
}

// Puts the snapshot back and replays the steps from there to `target`, as far as they can be replayed and nobody
// stops it. Returns the counter at which the weights then stand.
uint64_t CpuSession::rewind(Progress& progress, uint64_t target) {
  snapshot_.restore();
  uint64_t step = snapshot_.step();
  if (!snapshot_.replayable()) return step;
  progress.profile = false;
  try {
    while (step < target && !progress.control.stopped() && run_kernels(progress, 0, plan_.steps.size(), step)) ++step;
  } catch (const std::exception&) { // these very steps have run before: a fault of the machine
    snapshot_.restore();
    step = snapshot_.step();
  }
  return step;
}

void CpuSession::copy_outputs(RunOutcome& outcome) const {
  for (int32_t buffer : plan_.outputs)
    outcome.outputs.push_back(AlignedMemory::copy_of(
        arena_data(buffer), buffer_bytes(plan_.buffers[static_cast<size_t>(buffer)]), "a copy of a session's output"));
}

std::shared_ptr<Device> open_cpu_device(int threads, const std::string& tier) {
  return std::make_shared<CpuDevice>(threads, tier);
}

} // namespace nodevae
