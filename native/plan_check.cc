#include "plan_check.h"

#include <algorithm>
#include <utility>

#include "plan_check_step.h"

namespace nodevae {

void StepChecker::check() {
  check_space();
  for (size_t i = 0; i < step_.operands.size(); ++i) check_operand_fields(i);
  switch (step_.kernel) {
  case KernelId::map:
    return check_map();
  case KernelId::matmul:
    return check_matmul();
  case KernelId::gather:
    return check_gather();
  case KernelId::scatter_add:
    return check_scatter_add();
  case KernelId::random_uniform:
  case KernelId::random_normal:
    return check_random();
  case KernelId::shuffled_indices:
    return check_shuffled_indices();
  case KernelId::step_index:
    return check_step_index();
  case KernelId::conv2d:
  case KernelId::conv2d_input_gradient:
  case KernelId::conv2d_weight_gradient:
    return check_convolution();
  case KernelId::fold:
    return check_fold();
  case KernelId::cumulative_sum:
    return check_cumulative_sum();
  case KernelId::sort:
    return check_sort();
  case KernelId::cholesky:
    return check_cholesky();
  case KernelId::triangular_solve:
    return check_triangular_solve();
  case KernelId::count:
    break;
  }
  refuse("unknown kernel");
}

void StepChecker::refuse(const Text& problem) const {
  throw PlanError("step " + std::to_string(index_) + " (" + kernel_name(step_.kernel) + "): " + problem);
}

// --- what every step has ---

void StepChecker::check_space() {
  for (int64_t dimension : step_.space) {
    if (dimension < 1 || dimension > kMaxIterations / iterations_)
      refuse("a space dimension of " + std::to_string(dimension) + " is below 1 or makes too many iterations");
    iterations_ *= dimension;
  }
}

void StepChecker::check_operand_fields(size_t i) const {
  const Operand& operand = step_.operands[i];
  if (i >= static_cast<size_t>(kMaxOperands)) refuse("more than " + std::to_string(kMaxOperands) + " operands");
  if (operand.buffer < 0 || static_cast<size_t>(operand.buffer) >= plan_.buffers.size())
    refuse(operand_name(i) + " names buffer " + std::to_string(operand.buffer) + " of " +
           std::to_string(plan_.buffers.size()));
  if (operand.offset < 0 || operand.offset >= buffer_of(i).elements)
    refuse(operand_name(i) + " starts at element " + std::to_string(operand.offset) + " of a buffer of " +
           std::to_string(buffer_of(i).elements));
  for (int64_t stride : operand.strides)
    if (stride < 0) refuse(operand_name(i) + " has the negative stride " + std::to_string(stride));
}

void StepChecker::expect_counts(size_t operands, size_t attributes) const {
  if (step_.operands.size() != operands)
    refuse("takes " + std::to_string(operands) + " operands, not " + std::to_string(step_.operands.size()));
  expect_attributes(attributes);
  if (!step_.program.empty()) refuse("takes no program");
}

void StepChecker::expect_attributes(size_t attributes) const {
  if (step_.attributes.size() != attributes)
    refuse("takes " + std::to_string(attributes) + " attributes, not " + std::to_string(step_.attributes.size()));
}

void StepChecker::expect_outer_dimensions_of_one(int count) const {
  for (int d = 0; d < count; ++d)
    if (step_.space[d] != 1) refuse("dimension " + std::to_string(d) + " of the space must be 1");
}

void StepChecker::expect_dtype(size_t i, DType dtype) const {
  static constexpr const char* kNames[] = {"float32", "int32", "uint8"};
  if (buffer_of(i).dtype != dtype)
    refuse(operand_name(i) + " must be " + kNames[static_cast<int>(dtype)] + ", not " +
           kNames[static_cast<int>(buffer_of(i).dtype)]);
}

// --- extents ---

// Moves `reach`, the last element touched so far, by (size - 1) * stride, without overflow.
void StepChecker::extend(size_t i, int64_t& reach, int64_t size, int64_t stride) const {
  const int64_t last = buffer_of(i).elements - 1;
  if (size > 1 && stride > 0 && size - 1 > (last - reach) / stride)
    refuse(operand_name(i) + " reaches beyond the " + std::to_string(last + 1) + " elements of buffer " +
           std::to_string(step_.operands[i].buffer));
  reach += (size - 1) * stride;
}

// The last element that the operand's view over the space touches.
int64_t StepChecker::check_view(size_t i) const {
  int64_t reach = step_.operands[i].offset;
  for (int d = 0; d < kDims; ++d) extend(i, reach, step_.space[d], step_.operands[i].strides[d]);
  return reach;
}

void StepChecker::check_written(size_t i) const {
  const BufferSpec& buffer = buffer_of(i);
  if (!buffer.writable) refuse(operand_name(i) + " is written but its resident is not writable");
  if (buffer.kind == BufferSpec::Kind::resident && index_ < static_cast<size_t>(plan_.commit))
    refuse(operand_name(i) + " writes a resident before the commit at step " + std::to_string(plan_.commit));
}

// Two positions of the space must never write the same element: who came last would depend on the threads.
// Holds for every permuted or sliced view of a dense array: each stride exceeds all that the smaller ones span.
void StepChecker::check_writes_apart(size_t i, int32_t reduced) const {
  std::vector<std::pair<int64_t, int64_t>> dimensions; // stride, size
  for (int d = 0; d < kDims; ++d) {
    const bool is_reduced = (d == kRows && (reduced & kReduceRows)) || (d == kColumns && (reduced & kReduceColumns));
    const int64_t stride = step_.operands[i].strides[d];
    if (step_.space[d] == 1) continue;
    if (!is_reduced)
      dimensions.emplace_back(stride, step_.space[d]);
    else if (stride != 0)
      refuse(operand_name(i) + " must have stride 0 along a reduced dimension");
  }
  std::sort(dimensions.begin(), dimensions.end());
  int64_t span = 0;
  for (const auto& [stride, size] : dimensions) {
    if (stride <= span) refuse(operand_name(i) + " is written at overlapping positions");
    span += (size - 1) * stride;
  }
}

void StepChecker::check_output(size_t i, DType dtype, int32_t reduced) const {
  expect_dtype(i, dtype);
  check_view(i);
  check_written(i);
  check_writes_apart(i, reduced);
}

// --- programs ---

void StepChecker::check_program(size_t first_operand) const {
  const std::vector<Instruction>& program = step_.program;
  if (program.size() > static_cast<size_t>(kMaxInstructions))
    refuse("a program of " + std::to_string(program.size()) + " instructions");
  bool stores = false;
  for (size_t i = 0; i < program.size(); ++i) {
    const Instruction& instruction = program[i];
    switch (instruction.op) {
    case Opcode::load:
      check_program_operand(i, instruction.a, first_operand);
      break;
    case Opcode::accumulator:
      if (step_.kernel != KernelId::matmul && !is_convolution(step_.kernel))
        refuse_instruction(i, "stands outside matmul and convolution");
      break;
    case Opcode::constant:
      break;
    case Opcode::store:
      check_value(i, instruction.a);
      check_output(check_program_operand(i, instruction.b, first_operand), DType::float32);
      stores = true;
      break;
    case Opcode::reduce_sum:
    case Opcode::reduce_max:
      check_value(i, instruction.a);
      if (instruction.c < 1 || instruction.c > (kReduceRows | kReduceColumns))
        refuse_instruction(i, "names the axes " + std::to_string(instruction.c));
      check_output(check_program_operand(i, instruction.b, first_operand), DType::float32, instruction.c);
      stores = true;
      break;
    default: {
      const int arity = opcode_arity(instruction.op);
      check_value(i, instruction.a);
      if (arity >= 2) check_value(i, instruction.b);
      if (arity >= 3) check_value(i, instruction.c);
    }
    }
  }
  if (!stores) refuse("the program stores nothing");
}

void StepChecker::refuse_instruction(size_t i, const Text& problem) const {
  refuse("instruction " + std::to_string(i) + " (" + opcode_name(step_.program[i].op) + ") " + problem);
}

size_t StepChecker::check_program_operand(size_t i, int32_t operand, size_t first_operand) const {
  if (operand < 0 || static_cast<size_t>(operand) < first_operand ||
      static_cast<size_t>(operand) >= step_.operands.size())
    refuse_instruction(i, "names operand " + std::to_string(operand) + "; the program's are " +
                              std::to_string(first_operand) + " to " + std::to_string(step_.operands.size() - 1));
  return static_cast<size_t>(operand);
}

void StepChecker::check_value(size_t i, int32_t value) const {
  if (value < 0 || static_cast<size_t>(value) >= i)
    refuse_instruction(i, "names value " + std::to_string(value) + ", which is not an earlier one");
  const Opcode op = step_.program[static_cast<size_t>(value)].op;
  if (op == Opcode::store || op == Opcode::reduce_sum || op == Opcode::reduce_max)
    refuse_instruction(i, "names value " + std::to_string(value) + ", but " + opcode_name(op) + " gives none");
}

void check_step(const Plan& plan, size_t index) { StepChecker(plan, index).check(); }

} // namespace nodevae
