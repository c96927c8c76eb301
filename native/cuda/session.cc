#include "session.h"

#include <algorithm>
#include <string>
#include <utility>

#include "accesses.h"
#include "control.h"
#include "embedded.h"
#include "placement.h"

namespace nodevae::cuda {
namespace {

constexpr size_t kAlignment = 256;
// Of all steps' partial results: below that, every step has a place of its own, so that none waits for another's.
constexpr size_t kScratchBytes = size_t{64} << 20;
size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

PtxText control_module(const Target& target) {
  return std::make_shared<const std::string>(ptx_source("control", target.capability));
}

// Buffers lie apart where memory is plentiful: side by side they would take a quarter of what is free at most.
Plan place_arena(const Context& context, Plan plan) {
  Plan spread = spread_arena(plan);
  const bool plentiful = static_cast<size_t>(spread.arena_bytes) <= context.free_bytes() / 4;
  return plentiful || spread.arena_bytes <= plan.arena_bytes ? spread : plan;
}

} // namespace

struct CudaSession::Progress {
  const RunRequest& request;
  const RunControl& control;
  RunOutcome& outcome;
  uint64_t step = 0;    // counter at which the weights stand
  bool changed = false; // the weights are, or may be, others than before the run
};

CudaSession::CudaSession(std::shared_ptr<Context> context, std::shared_ptr<Modules> modules, Plan plan,
                         std::vector<std::shared_ptr<Resident>> residents, Precision precision)
    : context_(std::move(context)), modules_(std::move(modules)), plan_(place_arena(*context_, std::move(plan))),
      noise_(plan_), residents_(std::move(residents)),
      arena_(context_, static_cast<size_t>(plan_.arena_bytes), "the arena of a session"), recording_(context_) {
  snapshot_.watch(residents_, written_slots(plan_), [this](size_t bytes) -> std::unique_ptr<Memory> {
    return std::make_unique<DeviceMemory>(context_, bytes, "the copy of the weights that divergence goes back to");
  });
  lower_steps(precision);
}

void CudaSession::lower_steps(Precision precision) {
  Target target = context_->target();
  target.precision = precision;
  const std::vector<char*> buffers = buffer_addresses(plan_, arena_.address(), residents_);
  std::vector<ResolvedStep> resolved;
  for (size_t i = 0; i < plan_.steps.size(); ++i) resolved.push_back(noise_.resolve(plan_, i, buffers));
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    try {
      steps_.push_back(noise_.lower(i, resolved[i], target));
    } catch (const std::exception& error) {
      throw at_step(plan_, i, error.what());
    }
  }
  place_scratch();
  for (size_t i = 0; i < plan_.steps.size(); ++i)
    accesses_.push_back(step_accesses(plan_.steps[i], resolved[i], *steps_[i], addresses_[i]));
}

// Every step has tickets of its own. Places for partial results follow one another round a ring, where they are ordered
// as other memory is, once it is too small for all.
void CudaSession::place_scratch() {
  size_t tickets = 0, all = 0, largest = 0;
  for (const auto& step : steps_) {
    tickets += aligned(step->tickets() * sizeof(uint32_t));
    all += aligned(step->scratch_bytes());
    largest = std::max(largest, aligned(step->scratch_bytes()));
  }
  const size_t ring = Pipeline::ring_rows(terms()) * terms() * sizeof(float);
  const size_t partials = std::max(largest, std::min(all, kScratchBytes));
  const size_t bytes = aligned(sizeof(RunState)) + aligned(ring) + tickets + partials;
  scratch_ = std::make_unique<DeviceMemory>(context_, bytes, "the scratch memory of a session");
  state_ = scratch_->device_address();
  ring_ = state_ + aligned(sizeof(RunState));

  CUdeviceptr next_tickets = ring_ + aligned(ring);
  const CUdeviceptr begin = next_tickets + tickets, end = begin + partials;
  CUdeviceptr next = begin;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const size_t needed = aligned(steps_[i]->scratch_bytes());
    if (next + needed > end) next = begin;
    Addresses addresses;
    addresses.state = state_;
    addresses.scratch = next;
    addresses.tickets = next_tickets;
    addresses.guarded = writes_residents(plan_, plan_.steps[i]);
    addresses.step = static_cast<int32_t>(i);
    addresses_.push_back(addresses);
    next += needed;
    next_tickets += aligned(steps_[i]->tickets() * sizeof(uint32_t));
  }
}

// Whether a step counts as made only behind its last launch: something behind the check of the terms reads the counter,
// or may meet a bad index. Else the check raises the counters, which saves a launch.
bool CudaSession::needs_advance_kernel() const {
  for (size_t i = static_cast<size_t>(plan_.commit); i < plan_.steps.size(); ++i)
    if (noise_.draws(i)) return true;
  return std::any_of(plan_.steps.begin() + plan_.commit, plan_.steps.end(), [](const PlanStep& step) {
    switch (step.kernel) {
    case KernelId::random_uniform:
    case KernelId::random_normal:
    case KernelId::shuffled_indices:
    case KernelId::step_index:
    case KernelId::gather:
    case KernelId::scatter_add:
      return true;
    default:
      return false;
    }
  });
}

Task CudaSession::check_task(std::vector<Launch>& launches, bool advances) const {
  const size_t begin = launches.size();
  const CUdeviceptr terms_begin = buffer_address(plan_.terms);
  const uint64_t row = terms() * sizeof(float), rows = Pipeline::ring_rows(terms());
  launches.push_back(make_launch(control_module(context_->target()), "check_terms",
                                 CheckTermsParameters{state_, terms_begin, ring_, terms(), rows, advances ? 1u : 0u}));
  return {begin,
          launches.size(),
          {{terms_begin, terms_begin + row, false},
           {ring_, ring_ + rows * row, true},
           run_counters(state_, advances),
           run_halt(state_, true)}};
}

Task CudaSession::advance_task(std::vector<Launch>& launches) const {
  const size_t begin = launches.size();
  launches.push_back(make_launch(control_module(context_->target()), "advance", AdvanceParameters{state_}));
  return {begin, launches.size(), {run_counters(state_, true), run_halt(state_, false)}};
}

std::vector<Launch> CudaSession::all_launches(std::vector<Task>& tasks) {
  std::vector<Launch> launches;
  const bool has_terms = plan_.terms >= 0, needs_advance = !has_terms || needs_advance_kernel();
  const auto check = [&] {
    if (has_terms) tasks.push_back(check_task(launches, !needs_advance));
    half_ = launches.size();
  };
  spans_.clear();
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    if (i == static_cast<size_t>(plan_.commit)) check();
    const size_t begin = launches.size();
    try {
      for (Launch& launch : steps_[i]->launches(addresses_[i])) launches.push_back(std::move(launch));
    } catch (const std::exception& error) {
      throw at_step(plan_, i, error.what());
    }
    spans_.emplace_back(begin, launches.size());
    tasks.push_back({begin, launches.size(), accesses_[i]});
  }
  if (static_cast<size_t>(plan_.commit) == plan_.steps.size()) check();
  if (needs_advance) tasks.push_back(advance_task(launches));
  return launches;
}

bool CudaSession::prepare(const RunControl& control) {
  if (recording_.compiled()) return true;
  std::vector<Task> tasks;
  std::vector<Launch> launches = all_launches(tasks);
  if (!recording_.compile(std::move(launches), std::move(tasks), *modules_, control.abandon)) return false;
  steps_.clear();
  accesses_.clear();
  pipeline_ = std::make_unique<Pipeline>(*context_, recording_, state_, ring_, terms());
  return true;
}

RunOutcome CudaSession::run(const RunRequest& request, Pool&, const RunControl& control) {
  const Context::Current current(*context_);
  const Context::Busy busy(*context_);
  RunOutcome outcome;
  if (request.profile) outcome.profile.resize(plan_.steps.size());
  Progress progress{request, control, outcome, request.first_step, false};
  if (!prepare(control)) { // the process goes down: nobody will see this
    outcome.status = RunOutcome::Status::stopped;
    outcome.restored_step = request.first_step;
    for (int32_t buffer : plan_.outputs)
      outcome.outputs.emplace_back(buffer_bytes(plan_.buffers[static_cast<size_t>(buffer)]), "a session's output");
    return outcome;
  }
  snapshot_.begin_run(request.first_step, request.seed, !plan_.inputs.empty());
  try {
    upload_inputs(request);
    pipeline_->begin(request.seed, request.first_step);
    RunState state{};
    if (!control.stopped()) {
      if (request.profile || !warm_ || snapshot_.wants_copy(request.first_step)) state = launch_steps(progress);
      if (state.halted == 0) state = pipeline_->advance(request.steps, control, &outcome.terms);
    }
    conclude(progress, state);
    copy_outputs(outcome);
  } catch (const std::exception& error) {
    pipeline_->reset();
    if (progress.changed && snapshot_.valid()) {
      try {
        progress.step = rewind(progress, request.first_step);
      } catch (const std::exception&) { // the device is lost
        snapshot_.drop();
      }
    }
    snapshot_.end_run(progress.step, progress.changed);
    if (dynamic_cast<const DriverError*>(&error) != nullptr)
      throw KernelError("a run on " + context_->name() + " failed behind training step " +
                        std::to_string(request.first_step) + ": " + error.what());
    throw;
  }
  snapshot_.end_run(progress.step, progress.changed);
  outcome.restored_step = progress.step;
  outcome.completed = progress.step > request.first_step ? progress.step - request.first_step : 0;
  outcome.terms.resize(static_cast<size_t>(outcome.completed * terms()));
  return outcome;
}

// Steps launch by launch: the first of a run, where the weights are to be copied when its terms are known, and all of
// them when each plan step is timed.
RunState CudaSession::launch_steps(Progress& progress) {
  const RunRequest& request = progress.request;
  const size_t commit = static_cast<size_t>(plan_.commit), end = plan_.steps.size();
  std::vector<std::unique_ptr<Event>> events; // before and behind each plan step
  for (size_t i = 0; request.profile && i < 2 * end; ++i) events.push_back(std::make_unique<Event>(*context_));
  const auto launch = [&](size_t begin, size_t behind, size_t launched, size_t launches_end) {
    for (size_t i = begin; i < behind; ++i) {
      if (request.profile) events[2 * i]->record();
      recording_.launch(spans_[i].first, spans_[i].second);
      if (request.profile) events[2 * i + 1]->record();
      launched = spans_[i].second;
    }
    recording_.launch(launched, launches_end); // what the session adds
  };
  RunState state{};
  for (uint64_t done = 0; done < (request.profile ? request.steps : 1) && !progress.control.stopped(); ++done) {
    launch(0, commit, 0, half_);
    if (done == 0 && snapshot_.wants_copy(request.first_step)) {
      state = pipeline_->wait();
      if (state.halted != 0) return state;
      snapshot_.confirm(request.first_step);
    }
    progress.changed = true;
    launch(commit, end, half_, recording_.size());
    warm_ = true;
    pipeline_->follow_step();
    if (!request.profile) break;
    state = pipeline_->advance(done + 1, progress.control, &progress.outcome.terms);
    if (state.halted != 0) return state;
    for (size_t i = 0; i < end; ++i)
      progress.outcome.profile[i] += events[2 * i + 1]->nanoseconds_since(*events[2 * i]);
  }
  return state;
}

// What the state says of the run: all went well, it was stopped, it diverged, or an index was bad.
void CudaSession::conclude(Progress& progress, const RunState& state) {
  RunOutcome& outcome = progress.outcome;
  const uint64_t first = progress.request.first_step;
  progress.step = first + state.row;
  progress.changed = state.row > 0;
  if (state.halted == static_cast<uint32_t>(Halt::fault)) {
    const auto number = static_cast<size_t>(state.fault_step);
    progress.changed = progress.changed || state.fault_step >= plan_.commit;
    const PlanStep& step = plan_.steps[number];
    throw at_step(plan_, number, progress.step,
                  std::string(kernel_name(step.kernel)) + ": index " + std::to_string(state.fault_index) +
                      " at position " + std::to_string(state.fault_position) + " is outside of a table of " +
                      std::to_string(step.attributes[0]) + " rows");
  }
  if (state.halted == static_cast<uint32_t>(Halt::diverged)) {
    outcome.status = RunOutcome::Status::diverged;
    outcome.diverged_step = progress.step;
    outcome.diverged_term = state.diverged_term;
    if (snapshot_.valid() && snapshot_.step() < progress.step) {
      progress.changed = true;
      progress.step = rewind(progress, progress.step - 1);
    }
  } else if (state.row < progress.request.steps) {
    outcome.status = RunOutcome::Status::stopped;
  }
}

// Puts the snapshot back and replays the steps from there to `target`, as far as they can be replayed and nobody
// stops it. Returns the counter at which the weights then stand.
uint64_t CudaSession::rewind(Progress& progress, uint64_t target) {
  snapshot_.restore();
  const uint64_t start = snapshot_.step();
  if (!snapshot_.replayable()) return start;
  pipeline_->begin(progress.request.seed, start);
  const RunState state = pipeline_->advance(target - start, progress.control, nullptr);
  if (state.halted == 0) return start + state.row;
  snapshot_.restore(); // these very steps have run before: a fault of the machine
  return start;
}

void CudaSession::upload_inputs(const RunRequest& request) {
  for (size_t i = 0; i < plan_.inputs.size(); ++i)
    context_->staging().upload(buffer_address(plan_.inputs[i]), request.inputs[i].data(), request.inputs[i].bytes());
}

void CudaSession::copy_outputs(RunOutcome& outcome) {
  for (int32_t buffer : plan_.outputs) {
    AlignedMemory output(buffer_bytes(plan_.buffers[static_cast<size_t>(buffer)]), "a copy of a session's output");
    context_->staging().download(output.data(), buffer_address(buffer), output.bytes());
    outcome.outputs.push_back(std::move(output));
  }
}

uint64_t CudaSession::terms() const {
  return plan_.terms < 0 ? 0 : static_cast<uint64_t>(plan_.buffers[static_cast<size_t>(plan_.terms)].elements);
}

CUdeviceptr CudaSession::buffer_address(int32_t buffer) const { // of the arena
  return arena_.device_address() + static_cast<CUdeviceptr>(plan_.buffers[static_cast<size_t>(buffer)].offset);
}

} // namespace nodevae::cuda
