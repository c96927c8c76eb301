// Steps on their way: batches of them are launched while those before are still being computed, and followed by copies
// of the run's state and its terms, so that the device never waits for the host and the host hears of every batch. How
// many steps a batch has follows from how long one takes: a stop is acted on between batches.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../session.h"
#include "context.h"
#include "memory.h"
#include "recording.h"
#include "state.h"

namespace nodevae::cuda {

class Pipeline {
public:
  // Rows of terms in the ring on the device, for plans whose rows have so many terms.
  static uint64_t ring_rows(uint64_t terms);

  // `state` and `ring` on the device; rows of `terms` float32.
  Pipeline(Context& context, Recording& recording, CUdeviceptr state, CUdeviceptr ring, uint64_t terms);

  // A run begins: its state is written, without a wait.
  void begin(uint64_t seed, uint64_t first_step);
  // A step was launched by hand; it is a batch like others.
  void follow_step();
  // Launches steps until `steps` of the run were launched, it is halted, or the control says stop; waits for them.
  // Rows of terms are appended where asked for. Returns the state at the end.
  RunState advance(uint64_t steps, const RunControl& control, std::vector<float>* terms);
  // The state behind everything launched so far.
  RunState wait();
  // Forgets what is on its way, after a failure.
  void reset();

private:
  static constexpr int kSlots = 2;
  struct Slot {
    explicit Slot(Context& context) : began(context), done(context) {}
    Event began, done;
    RunState* state = nullptr; // pinned
    float* rows = nullptr;     // pinned
    uint64_t first = 0, steps = 0;
    bool measures = false; // a graph of one step: tells how long one takes
  };
  Slot& slot(uint64_t batch) { return slots_[batch % kSlots]; }
  uint64_t batch_steps() const;
  void launch_batch(uint64_t steps);
  void copy_back(uint64_t steps, bool measures);
  const RunState& collect(std::vector<float>* terms);

  Context& context_;
  Recording& recording_;
  const CUdeviceptr state_, ring_;
  const uint64_t terms_, rows_;
  PinnedMemory host_;
  Slot slots_[kSlots];
  RunState last_{};
  uint64_t launched_ = 0;                // steps of this run
  uint64_t batches_ = 0, collected_ = 0; // batches launched and collected so far
  int measured_ = 0;
  double step_nanoseconds_ = 0;  // the shortest that was measured
  uint64_t steps_per_graph_ = 0; // 0 until enough was measured
};

} // namespace nodevae::cuda
