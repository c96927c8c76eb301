// A session on the processor: every step of the plan is a kernel made for it, called one after the other.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "binding.h"
#include "session.h"
#include "snapshot.h"

namespace nodevae {

class CpuSession final : public Session {
public:
  // Throws OutOfMemory.
  CpuSession(Plan plan, std::vector<std::shared_ptr<Resident>> residents, int threads, const std::string& tier);

  const Plan& plan() const override { return plan_; }
  size_t arena_bytes() const override { return arena_.bytes(); }
  size_t scratch_bytes() const override { return shared_.bytes() + local_memory_.bytes() + snapshot_.bytes(); }
  size_t resident_bytes() const override { return total_bytes(residents_); }
  RunOutcome run(const RunRequest& request, Pool& pool, const RunControl& control) override;

private:
  struct Progress; // one run under way: cpu_session.cc

  void make_kernels(int threads, const std::string& tier);
  bool run_kernels(Progress& progress, size_t begin, size_t end, uint64_t step);
  bool check_terms(Progress& progress) const;
  uint64_t rewind(Progress& progress, uint64_t target);
  void copy_outputs(RunOutcome& outcome) const;
  char* arena_data(int32_t buffer) const { return arena_.data() + plan_.buffers[static_cast<size_t>(buffer)].offset; }

  Plan plan_;
  std::vector<std::shared_ptr<Resident>> residents_;
  AlignedMemory arena_, shared_, local_memory_;
  std::vector<char*> local_;
  std::vector<std::unique_ptr<Kernel>> kernels_;
  Snapshot snapshot_;
};

} // namespace nodevae
