#include "binding.h"

#include <algorithm>

namespace nodevae {

std::string bind_problem(const Plan& plan, const std::vector<std::shared_ptr<Resident>>& residents) {
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

bool writes(const PlanStep& step, size_t operand) {
  if (step.program.empty()) return operand + 1 == step.operands.size();
  return std::any_of(step.program.begin(), step.program.end(), [&](const Instruction& instruction) {
    const bool is_store =
        instruction.op == Opcode::store || instruction.op == Opcode::reduce_sum || instruction.op == Opcode::reduce_max;
    return is_store && static_cast<size_t>(instruction.b) == operand;
  });
}

bool writes_residents(const Plan& plan, const PlanStep& step) {
  for (size_t i = 0; i < step.operands.size(); ++i) {
    const BufferSpec& buffer = plan.buffers[static_cast<size_t>(step.operands[i].buffer)];
    if (buffer.kind == BufferSpec::Kind::resident && writes(step, i)) return true;
  }
  return false;
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

size_t buffer_bytes(const BufferSpec& buffer) {
  return static_cast<size_t>(buffer.elements) * dtype_size(buffer.dtype);
}

size_t total_bytes(const std::vector<std::shared_ptr<Resident>>& residents) {
  size_t bytes = 0;
  for (const auto& resident : residents) bytes += resident->memory->bytes();
  return bytes;
}

std::vector<char*> buffer_addresses(const Plan& plan, char* arena,
                                    const std::vector<std::shared_ptr<Resident>>& residents) {
  std::vector<char*> addresses;
  for (const BufferSpec& buffer : plan.buffers)
    addresses.push_back(buffer.kind == BufferSpec::Kind::arena
                            ? arena + buffer.offset
                            : residents[static_cast<size_t>(buffer.offset)]->memory->address());
  return addresses;
}

ImaginedMemory::ImaginedMemory(const Plan& plan) {
  char* const arena = take(static_cast<size_t>(plan.arena_bytes));
  std::vector<char*> slots(static_cast<size_t>(plan.residents), nullptr);
  for (const BufferSpec& buffer : plan.buffers) {
    if (buffer.kind == BufferSpec::Kind::arena) {
      buffers.push_back(arena + buffer.offset);
      continue;
    }
    char*& slot = slots[static_cast<size_t>(buffer.offset)];
    if (slot == nullptr) slot = take(buffer_bytes(buffer));
    buffers.push_back(slot);
  }
}

char* ImaginedMemory::take(size_t bytes) {
  char* const address = reinterpret_cast<char*>(next_);
  next_ += (bytes + 255) / 256 * 256 + 256;
  return address;
}

ResolvedStep resolve(const Plan& plan, const PlanStep& step, const std::vector<char*>& addresses) {
  ResolvedStep resolved;
  resolved.kernel = step.kernel;
  std::copy(std::begin(step.space), std::end(step.space), resolved.space);
  resolved.attributes = step.attributes;
  resolved.program = step.program;
  for (const Operand& operand : step.operands) {
    const BufferSpec& buffer = plan.buffers[static_cast<size_t>(operand.buffer)];
    ResolvedOperand view;
    view.data =
        addresses[static_cast<size_t>(operand.buffer)] + static_cast<size_t>(operand.offset) * dtype_size(buffer.dtype);
    view.dtype = buffer.dtype;
    std::copy(std::begin(operand.strides), std::end(operand.strides), view.strides);
    view.elements_left = buffer.elements - operand.offset;
    resolved.operands.push_back(view);
  }
  return resolved;
}

KernelError at_step(const Plan& plan, size_t number, const std::string& problem) {
  return KernelError("plan step " + std::to_string(number) + " (" + kernel_name(plan.steps[number].kernel) +
                     "): " + problem);
}

KernelError at_step(const Plan& plan, size_t number, uint64_t training_step, const std::string& problem) {
  return KernelError("plan step " + std::to_string(number) + " (" + kernel_name(plan.steps[number].kernel) +
                     ") of training step " + std::to_string(training_step) + ": " + problem);
}

} // namespace nodevae
