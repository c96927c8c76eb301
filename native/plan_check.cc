#include "plan_check.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace nodevae {
namespace {

// reduce_*: which dimensions an instruction's `c` names.
constexpr int32_t kReduceRows = 1;
constexpr int32_t kReduceColumns = 2;

class StepChecker {
public:
  StepChecker(const Plan& plan, size_t index) : plan_(plan), step_(plan.steps[index]), index_(index) {}

  void check() {
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
    case KernelId::count:
      break;
    }
    refuse("unknown kernel");
  }

private:
  using Text = std::string;

  [[noreturn]] void refuse(const Text& problem) const {
    throw PlanError("step " + std::to_string(index_) + " (" + kernel_name(step_.kernel) + "): " + problem);
  }
  static Text operand_name(size_t i) { return "operand " + std::to_string(i); }
  const BufferSpec& buffer_of(size_t operand) const {
    return plan_.buffers[static_cast<size_t>(step_.operands[operand].buffer)];
  }

  // --- what every step has ---

  void check_space() {
    for (int64_t dimension : step_.space) {
      if (dimension < 1 || dimension > kMaxIterations / iterations_)
        refuse("a space dimension of " + std::to_string(dimension) + " is below 1 or makes too many iterations");
      iterations_ *= dimension;
    }
  }

  void check_operand_fields(size_t i) const {
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

  void expect_counts(size_t operands, size_t attributes) const {
    if (step_.operands.size() != operands)
      refuse("takes " + std::to_string(operands) + " operands, not " + std::to_string(step_.operands.size()));
    expect_attributes(attributes);
    if (!step_.program.empty()) refuse("takes no program");
  }
  void expect_attributes(size_t attributes) const {
    if (step_.attributes.size() != attributes)
      refuse("takes " + std::to_string(attributes) + " attributes, not " + std::to_string(step_.attributes.size()));
  }

  void expect_outer_dimensions_of_one(int count) const {
    for (int d = 0; d < count; ++d)
      if (step_.space[d] != 1) refuse("dimension " + std::to_string(d) + " of the space must be 1");
  }

  void expect_dtype(size_t i, DType dtype) const {
    static constexpr const char* kNames[] = {"float32", "int32", "uint8"};
    if (buffer_of(i).dtype != dtype)
      refuse(operand_name(i) + " must be " + kNames[static_cast<int>(dtype)] + ", not " +
             kNames[static_cast<int>(buffer_of(i).dtype)]);
  }

  // --- extents ---

  // Moves `reach`, the last element touched so far, by (size - 1) * stride, without overflow.
  void extend(size_t i, int64_t& reach, int64_t size, int64_t stride) const {
    const int64_t last = buffer_of(i).elements - 1;
    if (size > 1 && stride > 0 && size - 1 > (last - reach) / stride)
      refuse(operand_name(i) + " reaches beyond the " + std::to_string(last + 1) + " elements of buffer " +
             std::to_string(step_.operands[i].buffer));
    reach += (size - 1) * stride;
  }

  // The last element that the operand's view over the space touches.
  int64_t check_view(size_t i) const {
    int64_t reach = step_.operands[i].offset;
    for (int d = 0; d < kDims; ++d) extend(i, reach, step_.space[d], step_.operands[i].strides[d]);
    return reach;
  }

  void check_written(size_t i) const {
    const BufferSpec& buffer = buffer_of(i);
    if (!buffer.writable) refuse(operand_name(i) + " is written but its resident is not writable");
    if (buffer.kind == BufferSpec::Kind::resident && index_ < static_cast<size_t>(plan_.commit))
      refuse(operand_name(i) + " writes a resident before the commit at step " + std::to_string(plan_.commit));
  }

  // Two positions of the space must never write the same element: who came last would depend on the threads.
  // Holds for every permuted or sliced view of a dense array: each stride exceeds all that the smaller ones span.
  void check_writes_apart(size_t i, int32_t reduced) const {
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

  void check_output(size_t i, DType dtype, int32_t reduced = 0) const {
    expect_dtype(i, dtype);
    check_view(i);
    check_written(i);
    check_writes_apart(i, reduced);
  }

  // --- programs ---

  void check_program(size_t first_operand) const {
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
        if (step_.kernel != KernelId::matmul) refuse_instruction(i, "stands outside matmul");
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

  [[noreturn]] void refuse_instruction(size_t i, const Text& problem) const {
    refuse("instruction " + std::to_string(i) + " (" + opcode_name(step_.program[i].op) + ") " + problem);
  }

  size_t check_program_operand(size_t i, int32_t operand, size_t first_operand) const {
    if (operand < 0 || static_cast<size_t>(operand) < first_operand ||
        static_cast<size_t>(operand) >= step_.operands.size())
      refuse_instruction(i, "names operand " + std::to_string(operand) + "; the program's are " +
                                std::to_string(first_operand) + " to " + std::to_string(step_.operands.size() - 1));
    return static_cast<size_t>(operand);
  }

  void check_value(size_t i, int32_t value) const {
    if (value < 0 || static_cast<size_t>(value) >= i)
      refuse_instruction(i, "names value " + std::to_string(value) + ", which is not an earlier one");
    const Opcode op = step_.program[static_cast<size_t>(value)].op;
    if (op == Opcode::store || op == Opcode::reduce_sum || op == Opcode::reduce_max)
      refuse_instruction(i, "names value " + std::to_string(value) + ", but " + opcode_name(op) + " gives none");
  }

  // --- kernels ---

  void check_map() const {
    expect_attributes(0);
    for (size_t i = 0; i < step_.operands.size(); ++i) check_view(i);
    check_program(0);
  }

  void check_matmul() const {
    expect_attributes(3);
    if (step_.operands.size() < 2) refuse("needs the operands A and B");
    const int64_t k = step_.attributes[0];
    if (k < 1 || k > kMaxIterations / iterations_) refuse("k is " + std::to_string(k));
    for (size_t i = 0; i < 2; ++i) {
      const int64_t k_stride = step_.attributes[1 + i];
      const int free_dimension = i == 0 ? kColumns : kRows;
      expect_dtype(i, DType::float32);
      if (k_stride < 0) refuse(operand_name(i) + " has the negative k stride " + std::to_string(k_stride));
      if (step_.space[free_dimension] > 1 && step_.operands[i].strides[free_dimension] != 0)
        refuse(i == 0 ? "A must have column stride 0" : "B must have row stride 0");
      int64_t reach = check_view(i);
      extend(i, reach, k, k_stride);
    }
    for (size_t i = 2; i < step_.operands.size(); ++i) check_view(i);
    check_program(2);
  }

  void check_gather() const {
    expect_counts(3, 2);
    expect_outer_dimensions_of_one(kOuter);
    const int64_t rows = step_.attributes[0], row_stride = step_.attributes[1];
    if (rows < 1 || row_stride < 0)
      refuse("a table of " + std::to_string(rows) + " rows with row stride " + std::to_string(row_stride));
    if (step_.space[kRows] > 1 && step_.operands[0].strides[kRows] != 0) refuse("the table must have row stride 0");
    int64_t reach = check_view(0);
    extend(0, reach, rows, row_stride);
    expect_dtype(1, DType::int32);
    check_view(1);
    check_output(2, buffer_of(0).dtype);
  }

  void check_scatter_add() const {
    expect_counts(3, 1);
    expect_outer_dimensions_of_one(kOuter);
    expect_dtype(0, DType::float32);
    check_view(0);
    expect_dtype(1, DType::int32);
    check_view(1);
    // The output's view is not over the space: its rows are chosen by the indices.
    const int64_t rows = step_.attributes[0], columns = step_.space[kColumns];
    const int64_t row_stride = step_.operands[2].strides[kRows];
    if (rows < 1) refuse("an output of " + std::to_string(rows) + " rows");
    if (columns > 1 && step_.operands[2].strides[kColumns] != 1) refuse("the output must have column stride 1");
    if (rows > 1 && row_stride < columns) refuse("the output's rows overlap");
    expect_dtype(2, DType::float32);
    check_written(2);
    int64_t reach = step_.operands[2].offset;
    extend(2, reach, rows, row_stride);
    extend(2, reach, columns, 1);
  }

  void expect_dense_output(DType dtype) const {
    expect_outer_dimensions_of_one(kColumns);
    if (step_.space[kColumns] > 1 && step_.operands[0].strides[kColumns] != 1) refuse("the output must be contiguous");
    check_output(0, dtype);
  }

  void check_random() const {
    expect_counts(1, 1);
    // A block of four is numbered by a uint32 (philox.h).
    if (step_.space[kColumns] > int64_t{1} << 34) refuse("a draw of more than 2^34 numbers");
    expect_dense_output(DType::float32);
  }

  void check_shuffled_indices() const {
    expect_counts(1, 3);
    if (step_.attributes[0] < 1) refuse("indices into " + std::to_string(step_.attributes[0]) + " rows");
    if (step_.attributes[1] != 0 && step_.attributes[1] != 1) refuse("shuffle must be 0 or 1");
    if (step_.space[kColumns] > INT32_MAX) refuse("a batch of more than 2^31 - 1 rows");
    expect_dense_output(DType::int32);
  }

  void check_step_index() const {
    expect_counts(1, 0);
    expect_outer_dimensions_of_one(kDims);
    check_output(0, DType::float32);
  }

  const Plan& plan_;
  const PlanStep& step_;
  const size_t index_;
  int64_t iterations_ = 1;
};

} // namespace

void check_step(const Plan& plan, size_t index) { StepChecker(plan, index).check(); }

} // namespace nodevae
