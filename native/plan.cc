// Decodes the words of a plan. Nothing is believed: every count is compared with the words that are left before
// memory is reserved for it, every index with what it indexes, every view with its buffer (plan_check.cc).
#include "plan.h"

#include <string>

#include "plan_check.h"

namespace nodevae {
namespace {

constexpr size_t kBufferWords = 7;
constexpr size_t kStepWords = 1 + 2 * kDims + 3;
constexpr size_t kOperandWords = 1 + 2 + 2 * kDims;
constexpr size_t kInstructionWords = 4;

class WordReader {
public:
  WordReader(const int32_t* words, size_t count) : words_(words), count_(count) {}

  int32_t word(const char* what) {
    if (position_ >= count_) throw PlanError(std::string("the words end before ") + what);
    return words_[position_++];
  }

  int64_t wide(const char* what) {
    const uint32_t low = static_cast<uint32_t>(word(what));
    const uint32_t high = static_cast<uint32_t>(word(what));
    return static_cast<int64_t>(static_cast<uint64_t>(high) << 32 | low);
  }

  // `count` things of at least `words_each` words, all of which must still be there.
  size_t checked(int32_t count, const char* what, size_t words_each) const {
    if (count < 0 || static_cast<size_t>(count) > remaining() / words_each)
      throw PlanError(std::to_string(count) + " " + what + " do not fit into the " + std::to_string(remaining()) +
                      " words that are left");
    return static_cast<size_t>(count);
  }

  size_t remaining() const { return count_ - position_; }

private:
  const int32_t* words_;
  size_t count_;
  size_t position_ = 0;
};

std::string numbered(const char* what, size_t index) { return std::string(what) + " " + std::to_string(index); }

BufferSpec read_buffer(WordReader& reader, size_t index) {
  const auto refuse = [&](const std::string& problem) { throw PlanError(numbered("buffer", index) + " " + problem); };
  const int32_t kind = reader.word("a buffer's kind");
  const int32_t dtype = reader.word("a buffer's dtype");
  BufferSpec buffer;
  buffer.elements = reader.wide("a buffer's elements");
  buffer.offset = reader.wide("a buffer's offset");
  const int32_t writable = reader.word("a buffer's writable flag");
  if (kind != 0 && kind != 1) refuse("has the unknown kind " + std::to_string(kind));
  if (dtype < 0 || dtype > 2) refuse("has the unknown dtype " + std::to_string(dtype));
  if (writable != 0 && writable != 1) refuse("has the writable flag " + std::to_string(writable));
  if (buffer.elements < 1 || buffer.elements > kMaxElements)
    refuse("has " + std::to_string(buffer.elements) + " elements");
  buffer.kind = static_cast<BufferSpec::Kind>(kind);
  buffer.dtype = static_cast<DType>(dtype);
  buffer.writable = writable == 1 || buffer.kind == BufferSpec::Kind::arena;
  return buffer;
}

void check_arena_buffer(const Plan& plan, size_t index) {
  const BufferSpec& buffer = plan.buffers[index];
  const int64_t bytes = buffer.elements * static_cast<int64_t>(dtype_size(buffer.dtype));
  if (buffer.offset < 0 || buffer.offset % 64 != 0 || bytes > plan.arena_bytes ||
      buffer.offset > plan.arena_bytes - bytes)
    throw PlanError(numbered("buffer", index) + " of " + std::to_string(bytes) + " bytes at offset " +
                    std::to_string(buffer.offset) + " is not 64-byte aligned inside the arena of " +
                    std::to_string(plan.arena_bytes) + " bytes");
}

void check_resident_buffer(const Plan& plan, size_t index, std::vector<int32_t>& buffer_of_slot) {
  const BufferSpec& buffer = plan.buffers[index];
  if (buffer.offset < 0 || buffer.offset >= plan.residents)
    throw PlanError(numbered("buffer", index) + " names resident slot " + std::to_string(buffer.offset) + " of " +
                    std::to_string(plan.residents));
  int32_t& first = buffer_of_slot[static_cast<size_t>(buffer.offset)];
  if (first < 0) first = static_cast<int32_t>(index);
  const BufferSpec& other = plan.buffers[static_cast<size_t>(first)];
  if (other.dtype != buffer.dtype || other.elements != buffer.elements || other.writable != buffer.writable)
    throw PlanError(numbered("buffer", index) + " and buffer " + std::to_string(first) + " name resident slot " +
                    std::to_string(buffer.offset) + " but differ");
}

// Inputs, outputs and terms live in the arena, where no other session can change them.
void check_arena_index(const Plan& plan, int32_t index, const char* what) {
  if (index < 0 || static_cast<size_t>(index) >= plan.buffers.size())
    throw PlanError(std::string(what) + " names buffer " + std::to_string(index) + " of " +
                    std::to_string(plan.buffers.size()));
  if (plan.buffers[static_cast<size_t>(index)].kind != BufferSpec::Kind::arena)
    throw PlanError(std::string(what) + " names buffer " + std::to_string(index) + ", which is not in the arena");
}

PlanStep read_step(WordReader& reader, size_t index) {
  const int32_t kernel = reader.word("a step's kernel");
  if (kernel < 0 || kernel >= static_cast<int32_t>(KernelId::count))
    throw PlanError(numbered("step", index) + " has the unknown kernel " + std::to_string(kernel));
  PlanStep step;
  step.kernel = static_cast<KernelId>(kernel);
  for (int64_t& dimension : step.space) dimension = reader.wide("a step's space");
  const int32_t operands = reader.word("a step's number of operands");
  const int32_t attributes = reader.word("a step's number of attributes");
  const int32_t instructions = reader.word("a step's number of instructions");

  step.operands.resize(reader.checked(operands, "operands", kOperandWords));
  for (Operand& operand : step.operands) {
    operand.buffer = reader.word("an operand's buffer");
    operand.offset = reader.wide("an operand's offset");
    for (int64_t& stride : operand.strides) stride = reader.wide("an operand's strides");
  }
  step.attributes.resize(reader.checked(attributes, "attributes", 1));
  for (int32_t& attribute : step.attributes) attribute = reader.word("an attribute");
  step.program.resize(reader.checked(instructions, "instructions", kInstructionWords));
  for (Instruction& instruction : step.program) {
    const int32_t op = reader.word("an instruction's opcode");
    if (op < 0 || op >= static_cast<int32_t>(Opcode::count))
      throw PlanError(numbered("step", index) + " (" + kernel_name(step.kernel) + ") has the unknown opcode " +
                      std::to_string(op));
    instruction.op = static_cast<Opcode>(op);
    instruction.a = reader.word("an instruction's argument");
    instruction.b = reader.word("an instruction's argument");
    instruction.c = reader.word("an instruction's argument");
  }
  return step;
}

} // namespace

Plan parse_plan(const int32_t* words, size_t count) {
  WordReader reader(words, count);
  if (reader.word("the magic number") != kPlanMagic) throw PlanError("these are not the words of a plan");
  if (const int32_t version = reader.word("the version"); version != kPlanVersion)
    throw PlanError("plan version " + std::to_string(version) + " is not " + std::to_string(kPlanVersion));

  Plan plan;
  plan.arena_bytes = reader.wide("the size of the arena");
  if (plan.arena_bytes < 0 || plan.arena_bytes > kMaxArenaBytes)
    throw PlanError("an arena of " + std::to_string(plan.arena_bytes) + " bytes");
  plan.residents = reader.word("the number of residents");
  const int32_t buffers = reader.word("the number of buffers");
  const int32_t inputs = reader.word("the number of inputs");
  const int32_t outputs = reader.word("the number of outputs");
  plan.terms = reader.word("the terms");
  plan.commit = reader.word("the commit");
  const int32_t steps = reader.word("the number of steps");

  plan.buffers.reserve(reader.checked(buffers, "buffers", kBufferWords));
  // Every slot needs a buffer that names it, so there cannot be more slots than buffers.
  if (plan.residents < 0 || plan.residents > buffers)
    throw PlanError(std::to_string(plan.residents) + " resident slots with " + std::to_string(buffers) + " buffers");
  std::vector<int32_t> buffer_of_slot(static_cast<size_t>(plan.residents), -1);
  for (size_t i = 0; i < static_cast<size_t>(buffers); ++i) {
    plan.buffers.push_back(read_buffer(reader, i));
    if (plan.buffers[i].kind == BufferSpec::Kind::arena)
      check_arena_buffer(plan, i);
    else
      check_resident_buffer(plan, i, buffer_of_slot);
  }
  for (size_t slot = 0; slot < buffer_of_slot.size(); ++slot)
    if (buffer_of_slot[slot] < 0) throw PlanError("no buffer names " + numbered("resident slot", slot));

  plan.inputs.resize(reader.checked(inputs, "inputs", 1));
  for (int32_t& input : plan.inputs) check_arena_index(plan, input = reader.word("an input"), "an input");
  plan.outputs.resize(reader.checked(outputs, "outputs", 1));
  for (int32_t& output : plan.outputs) check_arena_index(plan, output = reader.word("an output"), "an output");
  if (plan.terms != -1) {
    check_arena_index(plan, plan.terms, "the row of terms");
    const BufferSpec& terms = plan.buffers[static_cast<size_t>(plan.terms)];
    if (terms.dtype != DType::float32) throw PlanError("the row of terms is not float32");
    if (terms.elements > kMaxTerms) throw PlanError("a row of " + std::to_string(terms.elements) + " terms");
  }

  plan.steps.reserve(reader.checked(steps, "steps", kStepWords));
  if (plan.commit < 0 || plan.commit > steps)
    throw PlanError("commit at step " + std::to_string(plan.commit) + " of " + std::to_string(steps));
  for (size_t i = 0; i < static_cast<size_t>(steps); ++i) {
    plan.steps.push_back(read_step(reader, i));
    check_step(plan, i);
  }
  if (reader.remaining() != 0) throw PlanError(std::to_string(reader.remaining()) + " words too many");
  return plan;
}

} // namespace nodevae
