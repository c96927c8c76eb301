// The checker of one step; its methods stand in plan_check.cc (what all steps have, extents, programs),
// plan_check_kernels.cc and plan_check_convolution.cc. All of them throw PlanError.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "plan_check.h"

namespace nodevae {

// reduce_*: which dimensions an instruction's `c` names.
constexpr int32_t kReduceRows = 1;
constexpr int32_t kReduceColumns = 2;

class StepChecker {
public:
  StepChecker(const Plan& plan, size_t index) : plan_(plan), step_(plan.steps[index]), index_(index) {}
  void check();

private:
  using Text = std::string;

  static Text operand_name(size_t i) { return "operand " + std::to_string(i); }
  const BufferSpec& buffer_of(size_t operand) const {
    return plan_.buffers[static_cast<size_t>(step_.operands[operand].buffer)];
  }
  [[noreturn]] void refuse(const Text& problem) const;

  // --- what every step has ---
  void check_space();
  void check_operand_fields(size_t i) const;
  void expect_counts(size_t operands, size_t attributes) const;
  void expect_attributes(size_t attributes) const;
  void expect_outer_dimensions_of_one(int count) const;
  void expect_dtype(size_t i, DType dtype) const;

  // --- extents ---
  void extend(size_t i, int64_t& reach, int64_t size, int64_t stride) const;
  int64_t check_view(size_t i) const;
  void check_written(size_t i) const;
  void check_writes_apart(size_t i, int32_t reduced) const;
  void check_output(size_t i, DType dtype, int32_t reduced = 0) const;

  // --- programs ---
  void check_program(size_t first_operand) const;
  [[noreturn]] void refuse_instruction(size_t i, const Text& problem) const;
  size_t check_program_operand(size_t i, int32_t operand, size_t first_operand) const;
  void check_value(size_t i, int32_t value) const;

  // --- kernels ---
  void check_map() const;
  void check_matmul() const;
  void check_gather() const;
  void check_scatter_add() const;
  void expect_dense_output(DType dtype) const;
  void check_random() const;
  void check_shuffled_indices() const;
  void check_step_index() const;

  void expect_dense(size_t i) const;
  void expect_flag(size_t attribute) const;
  void check_dense_input(size_t i) const;
  void check_dense_result(size_t i, DType dtype) const;
  // So many elements from the operand's first on, whatever its strides.
  void check_stretch(size_t i, int64_t elements) const;
  void check_cumulative_sum() const;
  void check_sort() const;
  void check_cholesky() const;
  void check_triangular_solve() const;

  struct ConvolutionExtents {
    int64_t image, weights, output; // elements
  };
  static bool is_convolution(KernelId kernel);
  int64_t product(std::initializer_list<int64_t> factors, int64_t most, const char* what) const;
  ConvolutionExtents check_convolution_attributes() const;
  void check_convolution() const;
  void check_fold() const;

  const Plan& plan_;
  const PlanStep& step_;
  const size_t index_;
  int64_t iterations_ = 1;
};

} // namespace nodevae
