// Which pieces of work have to wait for which, worked out from the memory that they touch: one that reads waits for who
// wrote last, one that writes also for all who have read since. What is left unordered may run at the same time, with
// the same results as one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "interval_map.h"

namespace nodevae::cuda {

// Bytes of device memory that a piece of work may touch; who writes may read as well.
struct Access {
  uint64_t begin, end;
  bool writes;
};

class Dependencies {
public:
  // A further piece of work, behind all that were added so far. Returns those that it has to wait for, without the ones
  // that another of them waits for in turn; the latest first.
  std::vector<size_t> add(const std::vector<Access>& accesses);

private:
  struct Users {
    bool written = false;
    size_t writer = 0;           // the last one
    std::vector<size_t> readers; // since then
  };
  bool comes_after(size_t task, size_t earlier) const { return (before_[task][earlier / 64] >> earlier % 64 & 1) != 0; }

  IntervalMap<Users> memory_;
  std::vector<std::vector<uint64_t>> before_; // per piece of work a bit for each that comes before it, however far
};

} // namespace nodevae::cuda
