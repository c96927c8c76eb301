#include "pipeline.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace nodevae::cuda {
namespace {

constexpr uint64_t kRingBytes = uint64_t{1} << 20;
constexpr uint64_t kMostRows = 512;
constexpr uint64_t kMostNodes = 8192; // of a graph
constexpr double kBatchNanoseconds = 3e6;
constexpr int kMeasurements = 3;

// For benchmarks and tests: NODE_VAE_CUDA_STEPS_PER_LAUNCH fixes what is else measured.
uint64_t fixed_steps() {
  const char* text = std::getenv("NODE_VAE_CUDA_STEPS_PER_LAUNCH");
  return text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
}

constexpr size_t aligned(size_t bytes) { return (bytes + 255) / 256 * 256; }

} // namespace

uint64_t Pipeline::ring_rows(uint64_t terms) {
  if (terms == 0) return kMostRows; // no ring, but batches all the same
  return std::clamp<uint64_t>(kRingBytes / (terms * sizeof(float)), kSlots, kMostRows) / kSlots * kSlots;
}

Pipeline::Pipeline(Context& context, Recording& recording, CUdeviceptr state, CUdeviceptr ring, uint64_t terms)
    : context_(context), recording_(recording), state_(state), ring_(ring), terms_(terms), rows_(ring_rows(terms)),
      host_(context, (kSlots + 1) * aligned(sizeof(RunState)) + rows_ * terms * sizeof(float)), slots_{Slot(context),
                                                                                                       Slot(context)} {
  char* at = host_.data() + aligned(sizeof(RunState)); // the first is begin()'s
  for (Slot& slot : slots_) {
    slot.state = reinterpret_cast<RunState*>(at);
    at += aligned(sizeof(RunState));
  }
  for (Slot& slot : slots_) {
    slot.rows = reinterpret_cast<float*>(at);
    at += rows_ / kSlots * terms * sizeof(float);
  }
}

void Pipeline::begin(uint64_t seed, uint64_t first_step) {
  last_ = RunState{};
  last_.seed = seed;
  last_.step = first_step;
  launched_ = 0;
  // The transfer from the last run's state is over: every run waits for its end.
  std::memcpy(host_.data(), &last_, sizeof last_);
  NODE_VAE_CUDA_CALL(context_.driver(), cuMemcpyHtoDAsync, state_, host_.data(), sizeof last_, context_.stream());
}

void Pipeline::follow_step() {
  slot(batches_).began.record();
  copy_back(1, false);
}

RunState Pipeline::advance(uint64_t steps, const RunControl& control, std::vector<float>* terms) {
  while (last_.halted == 0) {
    while (batches_ - collected_ < kSlots && launched_ < steps && !control.stopped())
      launch_batch(std::min(steps - launched_, batch_steps()));
    if (batches_ == collected_) break;
    last_ = collect(terms);
  }
  while (batches_ > collected_) last_ = collect(terms); // halted: these did nothing that counts
  return last_;
}

RunState Pipeline::wait() {
  RunState state;
  context_.staging().download(reinterpret_cast<char*>(&state), state_, sizeof state);
  return state;
}

void Pipeline::reset() { collected_ = batches_; }

uint64_t Pipeline::batch_steps() const { return steps_per_graph_ == 0 ? 1 : steps_per_graph_; }

void Pipeline::launch_batch(uint64_t steps) {
  slot(batches_).began.record();
  const bool measures = steps_per_graph_ == 0;
  if (steps == steps_per_graph_)
    recording_.launch_graph(steps);
  else
    for (uint64_t step = 0; step < steps; ++step) recording_.launch_graph(1);
  copy_back(steps, measures);
}

void Pipeline::copy_back(uint64_t steps, bool measures) {
  const Driver& driver = context_.driver();
  const CUstream stream = context_.stream();
  Slot& batch = slot(batches_);
  const size_t row_bytes = terms_ * sizeof(float);
  NODE_VAE_CUDA_CALL(driver, cuMemcpyDtoHAsync, batch.state, state_, sizeof(RunState), stream);
  const uint64_t begin = launched_ % rows_, straight = std::min(steps, rows_ - begin);
  if (terms_ > 0) {
    NODE_VAE_CUDA_CALL(driver, cuMemcpyDtoHAsync, batch.rows, ring_ + begin * row_bytes, straight * row_bytes, stream);
    if (straight < steps) // the rest stands at the ring's beginning
      NODE_VAE_CUDA_CALL(driver, cuMemcpyDtoHAsync, batch.rows + straight * terms_, ring_,
                         (steps - straight) * row_bytes, stream);
  }
  batch.done.record();
  batch.first = launched_;
  batch.steps = steps;
  batch.measures = measures;
  launched_ += steps;
  ++batches_;
}

const RunState& Pipeline::collect(std::vector<float>* terms) {
  Slot& batch = slot(collected_);
  batch.done.wait();
  ++collected_;
  const RunState& state = *batch.state;
  const uint64_t made = std::min(batch.steps, state.row - std::min(state.row, batch.first));
  if (terms != nullptr) terms->insert(terms->end(), batch.rows, batch.rows + made * terms_);
  if (batch.measures && state.halted == 0 && steps_per_graph_ == 0) {
    const double nanoseconds = batch.done.nanoseconds_since(batch.began) / static_cast<double>(batch.steps);
    step_nanoseconds_ = measured_ == 0 ? nanoseconds : std::min(step_nanoseconds_, nanoseconds);
    if (++measured_ == kMeasurements) {
      const uint64_t fixed = fixed_steps();
      const double steps =
          fixed > 0 ? static_cast<double>(fixed) : kBatchNanoseconds / std::max(step_nanoseconds_, 1e3);
      const uint64_t most = std::max<uint64_t>(1, std::min(rows_ / kSlots, kMostNodes / recording_.size()));
      steps_per_graph_ = static_cast<uint64_t>(std::clamp(steps, 1.0, static_cast<double>(most)));
    }
  }
  return state;
}

} // namespace nodevae::cuda
