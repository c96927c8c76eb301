// The last good weights, for a run that turns to NaN.
//
// A session copies the residents that its plan writes when their terms have just been found finite, at the first
// step of a run. Steps are deterministic, so the weights at any later step are this copy with the steps between
// replayed: nothing needs to be copied while a run goes well.
//
// A copy stays restorable until somebody else changes one of the written residents, or a run does not continue the
// step counter where the last one left it. It stays replayable while also everything else that the steps read is as
// it was: the same seed, no inputs from the caller other than those of the run in progress, no data set rewritten.
// A copy that is restorable but not replayable gives older good weights than the newest possible, which beats none.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "memory.h"

namespace nodevae {

class Snapshot {
public:
  using Allocate = std::function<std::unique_ptr<Memory>(size_t bytes)>;

  // The residents of a session by slot, which of them its plan writes, and where copies get their memory.
  void watch(const std::vector<std::shared_ptr<Resident>>& residents, std::vector<bool> written, Allocate allocate);

  bool valid() const { return valid_; }
  uint64_t step() const { return step_; } // the counter at which the copied weights stand
  bool replayable() const { return valid_ && replayable_; }

  // A run begins: decides what the copy is still good for.
  void begin_run(uint64_t first_step, uint64_t seed, bool has_inputs);
  // Whether confirm() would copy.
  bool wants_copy(uint64_t step) const;
  // The terms of the run's first step are finite: copies the weights if the copy at hand cannot serve this run, or
  // is so old that a replay would take long. Throws when there is no memory for it.
  void confirm(uint64_t step);
  // Puts the copied weights back.
  void restore() const;
  // A run has ended (or was taken back) with the weights standing at next_step.
  void end_run(uint64_t next_step, bool changed);
  void drop() { valid_ = false; }
  // May be asked on another thread than the one that copies.
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

private:
  const std::vector<std::shared_ptr<Resident>>* residents_ = nullptr;
  std::vector<bool> written_;
  Allocate allocate_;
  bool writes_anything_ = false;

  bool valid_ = false;
  bool replayable_ = false;
  uint64_t step_ = 0;
  std::vector<std::unique_ptr<Memory>> copies_; // by slot; empty for residents that are only read
  std::atomic<size_t> bytes_{0};

  uint64_t next_step_ = 0;
  uint64_t seed_ = 0;
  std::vector<uint64_t> versions_; // of the residents at the end of the last run
};

} // namespace nodevae
