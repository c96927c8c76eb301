// Between a plan and the memory it is bound to: does it fit, what is written, and where every operand lies.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "memory.h"
#include "plan.h"

namespace nodevae {

// What does not fit between a plan and the residents it is to be bound to, or "".
std::string bind_problem(const Plan& plan, const std::vector<std::shared_ptr<Resident>>& residents);

// Whether a step writes that operand: its program says which operands it stores to; a kernel without a program writes
// its last operand.
bool writes(const PlanStep& step, size_t operand);
bool writes_residents(const Plan& plan, const PlanStep& step);
std::vector<bool> written_slots(const Plan& plan);

// Where the buffers of a plan could lie, for those who only ask how a step would be computed: nothing is there. Each
// resident for itself at a multiple of 256 bytes, the arena's buffers at their offsets.
class ImaginedMemory {
public:
  explicit ImaginedMemory(const Plan& plan);
  char* take(size_t bytes);
  std::vector<char*> buffers;

private:
  uintptr_t next_ = uintptr_t{1} << 33;
};

size_t buffer_bytes(const BufferSpec& buffer);
size_t total_bytes(const std::vector<std::shared_ptr<Resident>>& residents);
// Where each of the plan's buffers begins, given the arena and the residents.
std::vector<char*> buffer_addresses(const Plan& plan, char* arena,
                                    const std::vector<std::shared_ptr<Resident>>& residents);
ResolvedStep resolve(const Plan& plan, const PlanStep& step, const std::vector<char*>& addresses);

// The same error with the step named that it came from.
KernelError at_step(const Plan& plan, size_t number, const std::string& problem);
KernelError at_step(const Plan& plan, size_t number, uint64_t training_step, const std::string& problem);

} // namespace nodevae
