#include "snapshot.h"

#include <utility>

namespace nodevae {

// A new copy costs one pass over the weights; a replay at most this many steps beyond the run's own.
constexpr uint64_t kRefreshAfter = 256;

void Snapshot::watch(const std::vector<std::shared_ptr<Resident>>& residents, std::vector<bool> written,
                     Allocate allocate) {
  residents_ = &residents;
  written_ = std::move(written);
  allocate_ = std::move(allocate);
  copies_.resize(residents.size());
  versions_.resize(residents.size());
  for (bool is_written : written_) writes_anything_ = writes_anything_ || is_written;
}

void Snapshot::begin_run(uint64_t first_step, uint64_t seed, bool has_inputs) {
  if (first_step != next_step_) valid_ = false;
  if (seed != seed_ || has_inputs) replayable_ = false;
  for (size_t slot = 0; slot < written_.size(); ++slot) {
    if ((*residents_)[slot]->version == versions_[slot]) continue;
    if (written_[slot])
      valid_ = false;
    else
      replayable_ = false;
  }
  seed_ = seed;
}

bool Snapshot::wants_copy(uint64_t step) const {
  return writes_anything_ && !(replayable() && step - step_ < kRefreshAfter);
}

void Snapshot::confirm(uint64_t step) {
  if (!wants_copy(step)) return;
  valid_ = false; // while the copy is being overwritten
  for (size_t slot = 0; slot < written_.size(); ++slot) {
    if (!written_[slot]) continue;
    const Memory& weights = *(*residents_)[slot]->memory;
    if (!copies_[slot]) {
      copies_[slot] = allocate_(weights.bytes());
      bytes_.fetch_add(weights.bytes(), std::memory_order_relaxed);
    }
    copies_[slot]->copy_from(weights);
  }
  step_ = step;
  valid_ = replayable_ = true;
}

void Snapshot::restore() const {
  for (size_t slot = 0; slot < written_.size(); ++slot)
    if (written_[slot]) (*residents_)[slot]->memory->copy_from(*copies_[slot]);
}

void Snapshot::end_run(uint64_t next_step, bool changed) {
  next_step_ = next_step;
  for (size_t slot = 0; slot < written_.size(); ++slot)
    if (changed && written_[slot]) ++(*residents_)[slot]->version;
  for (size_t slot = 0; slot < written_.size(); ++slot) versions_[slot] = (*residents_)[slot]->version;
}

} // namespace nodevae
