#include "session.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>

namespace nodevae {
namespace {

size_t round_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

// A program says which operands it stores to; a kernel without one writes its last operand.
bool writes(const PlanStep& step, size_t operand) {
  if (step.program.empty()) return operand + 1 == step.operands.size();
  return std::any_of(step.program.begin(), step.program.end(), [&](const Instruction& instruction) {
    const bool is_store =
        instruction.op == Opcode::store || instruction.op == Opcode::reduce_sum || instruction.op == Opcode::reduce_max;
    return is_store && static_cast<size_t>(instruction.b) == operand;
  });
}

std::vector<bool> written_slots(const Plan& plan) {
  std::vector<bool> written(static_cast<size_t>(plan.residents), false);
  for (const PlanStep& step : plan.steps)
    for (size_t i = 0; i < step.operands.size(); ++i) {
      const BufferSpec& buffer = plan.buffers[static_cast<size_t>(step.operands[i].buffer)];
      if (buffer.kind == BufferSpec::Kind::resident && writes(step, i))
        written[static_cast<size_t>(buffer.offset)] = true;
    }
  return written;
}

} // namespace

struct Session::Progress {
  RunContext context;
  const RunControl& control;
  RunOutcome& outcome;
  bool profile;
};

std::string Session::bind_problem(const Plan& plan, const std::vector<std::shared_ptr<Resident>>& residents) {
  if (residents.size() != static_cast<size_t>(plan.residents))
    return "the plan binds " + std::to_string(plan.residents) + " residents, not " + std::to_string(residents.size());
  for (const BufferSpec& buffer : plan.buffers) {
    if (buffer.kind != BufferSpec::Kind::resident) continue;
    const Resident& resident = *residents[static_cast<size_t>(buffer.offset)];
    if (resident.dtype != buffer.dtype || resident.elements != buffer.elements)
      return "resident " + std::to_string(buffer.offset) + " has " + std::to_string(resident.elements) +
             " elements where the plan has " + std::to_string(buffer.elements) + ", or another dtype";
  }
  return "";
}

Session::Session(Plan plan, std::vector<std::shared_ptr<Resident>> residents, int threads, const std::string& tier)
    : plan_(std::move(plan)), residents_(std::move(residents)), arena_(static_cast<size_t>(plan_.arena_bytes)) {
  snapshot_.watch(residents_, written_slots(plan_));
  resolve(threads, tier);
}

void Session::resolve(int threads, const std::string& tier) {
  size_t shared = 0, local = 0;
  for (const PlanStep& step : plan_.steps) {
    ResolvedStep resolved;
    resolved.kernel = step.kernel;
    std::copy(std::begin(step.space), std::end(step.space), resolved.space);
    resolved.attributes = step.attributes;
    resolved.program = step.program;
    for (const Operand& operand : step.operands) {
      const BufferSpec& buffer = plan_.buffers[static_cast<size_t>(operand.buffer)];
      char* base = buffer.kind == BufferSpec::Kind::arena
                       ? arena_data(operand.buffer)
                       : residents_[static_cast<size_t>(buffer.offset)]->memory.data();
      ResolvedOperand view;
      view.data = base + static_cast<size_t>(operand.offset) * dtype_size(buffer.dtype);
      view.dtype = buffer.dtype;
      std::copy(std::begin(operand.strides), std::end(operand.strides), view.strides);
      view.elements_left = buffer.elements - operand.offset;
      resolved.operands.push_back(view);
    }
    kernels_.push_back(make_cpu_kernel(resolved, threads, tier));
    shared = std::max(shared, kernels_.back()->shared_bytes());
    local = std::max(local, round_up(kernels_.back()->local_bytes()));
  }
  shared_ = AlignedMemory(shared);
  local_memory_ = AlignedMemory(local * static_cast<size_t>(threads));
  for (int thread = 0; thread < threads; ++thread)
    local_.push_back(local_memory_.data() + local * static_cast<size_t>(thread));
}

size_t Session::resident_bytes() const {
  size_t bytes = 0;
  for (const auto& resident : residents_) bytes += resident->memory.bytes();
  return bytes;
}

size_t Session::buffer_bytes(int32_t buffer) const {
  const BufferSpec& spec = plan_.buffers[static_cast<size_t>(buffer)];
  return static_cast<size_t>(spec.elements) * dtype_size(spec.dtype);
}

RunOutcome Session::run(const RunRequest& request, Pool& pool, const RunControl& control) {
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

// Runs the plan's steps [begin, end). False when the process goes down meanwhile.
bool Session::run_kernels(Progress& progress, size_t begin, size_t end, uint64_t step) {
  progress.context.step = step;
  for (size_t i = begin; i < end; ++i) {
    if (progress.control.abandoned()) return false;
    try {
      if (progress.profile) {
        const auto start = std::chrono::steady_clock::now();
        kernels_[i]->run(progress.context);
        progress.outcome.profile[i] +=
            std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
      } else {
        kernels_[i]->run(progress.context);
      }
    } catch (const std::exception& error) {
      throw KernelError("plan step " + std::to_string(i) + " (" + kernel_name(plan_.steps[i].kernel) +
                        ") of training step " + std::to_string(step) + ": " + error.what());
    }
  }
  return !progress.control.abandoned();
}

// Records the row of terms; false when one is not finite.
bool Session::check_terms(Progress& progress) const {
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
uint64_t Session::rewind(Progress& progress, uint64_t target) {
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

void Session::copy_outputs(RunOutcome& outcome) const {
  for (int32_t buffer : plan_.outputs)
    outcome.outputs.push_back(AlignedMemory::copy_of(arena_data(buffer), buffer_bytes(buffer)));
}

} // namespace nodevae
