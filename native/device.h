// A device as the addon sees it: memory and sessions, whichever backend they are of. One is opened per context and
// outlives whatever it gave out.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "memory.h"
#include "plan.h"
#include "session.h"

namespace nodevae {

class Device {
public:
  virtual ~Device() = default;
  // Zero-filled. Throws OutOfMemory.
  virtual std::unique_ptr<Memory> allocate(size_t bytes) = 0;
  // The plan, ready to run. `residents` by slot, of this device; they must fit the plan (bind_problem() says what does
  // not). Throws as allocate() does, and KernelError for a step that the device cannot compute.
  virtual std::unique_ptr<Session> compile(Plan plan, std::vector<std::shared_ptr<Resident>> residents) = 0;
  // What a session of the plan would take beside its arena, without taking it: partial results and tiles of its
  // kernels. 0 where that is not known beforehand. Throws KernelError.
  virtual size_t scratch_bytes(const Plan& plan) = 0;
};

// The processor: an instruction tier and the number of threads of its queue's pool.
std::shared_ptr<Device> open_cpu_device(int threads, const std::string& tier);

} // namespace nodevae
