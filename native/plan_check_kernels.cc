// What each kernel asks of its step, as native/plan.h says; convolutions stand in plan_check_convolution.cc.
#include "plan_check_step.h"

namespace nodevae {

void StepChecker::check_map() const {
  expect_attributes(0);
  for (size_t i = 0; i < step_.operands.size(); ++i) check_view(i);
  check_program(0);
}

void StepChecker::check_matmul() const {
  expect_attributes(3);
  if (step_.operands.size() < 2) refuse("needs the operands A and B");
  const int64_t k = step_.attributes[0];
  if (k < 1 || k > kMaxIterations / iterations_) refuse("k is " + std::to_string(k));
  if (step_.space[kColumns] > kMaxMatmulColumns) refuse(std::to_string(step_.space[kColumns]) + " columns");
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

void StepChecker::check_gather() const {
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

void StepChecker::check_scatter_add() const {
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

void StepChecker::expect_dense_output(DType dtype) const {
  expect_outer_dimensions_of_one(kColumns);
  if (step_.space[kColumns] > 1 && step_.operands[0].strides[kColumns] != 1) refuse("the output must be contiguous");
  check_output(0, dtype);
}

void StepChecker::check_random() const {
  expect_counts(1, 1);
  // A block of four is numbered by a uint32 (philox.h).
  if (step_.space[kColumns] > int64_t{1} << 34) refuse("a draw of more than 2^34 numbers");
  expect_dense_output(DType::float32);
}

void StepChecker::check_shuffled_indices() const {
  expect_counts(1, 3);
  if (step_.attributes[0] < 1) refuse("indices into " + std::to_string(step_.attributes[0]) + " rows");
  if (step_.attributes[1] != 0 && step_.attributes[1] != 1) refuse("shuffle must be 0 or 1");
  if (step_.space[kColumns] > INT32_MAX) refuse("a batch of more than 2^31 - 1 rows");
  expect_dense_output(DType::int32);
}

void StepChecker::check_step_index() const {
  expect_counts(1, 0);
  expect_outer_dimensions_of_one(kDims);
  check_output(0, DType::float32);
}

void StepChecker::expect_dense(size_t i) const {
  int64_t stride = 1;
  for (int d = kDims - 1; d >= 0; --d) {
    if (step_.space[d] > 1 && step_.operands[i].strides[d] != stride) refuse(operand_name(i) + " must be contiguous");
    stride *= step_.space[d];
  }
}

void StepChecker::expect_flag(size_t attribute) const {
  if (step_.attributes[attribute] != 0 && step_.attributes[attribute] != 1)
    refuse("attribute " + std::to_string(attribute) + " must be 0 or 1, not " +
           std::to_string(step_.attributes[attribute]));
}

void StepChecker::check_dense_input(size_t i) const {
  expect_dtype(i, DType::float32);
  expect_dense(i);
  check_view(i);
}

void StepChecker::check_dense_result(size_t i, DType dtype) const {
  expect_dense(i);
  check_output(i, dtype);
}

void StepChecker::check_cumulative_sum() const {
  expect_counts(2, 2);
  expect_outer_dimensions_of_one(kOuter - 1);
  expect_flag(0);
  expect_flag(1);
  check_dense_input(0);
  check_dense_result(1, DType::float32);
}

void StepChecker::check_sort() const {
  expect_counts(2, 2);
  expect_outer_dimensions_of_one(kOuter);
  expect_flag(0);
  expect_flag(1);
  if (step_.space[kColumns] > INT32_MAX) refuse("rows of more than 2^31 - 1 values");
  check_dense_input(0);
  check_dense_result(1, step_.attributes[1] == 1 ? DType::int32 : DType::float32);
}

void StepChecker::check_cholesky() const {
  expect_counts(2, 0);
  expect_outer_dimensions_of_one(kOuter - 1);
  if (step_.space[kRows] != step_.space[kColumns]) refuse("takes square matrices");
  check_dense_input(0);
  check_dense_result(1, DType::float32);
}

void StepChecker::check_triangular_solve() const {
  expect_counts(3, 1);
  expect_outer_dimensions_of_one(kOuter - 1);
  expect_flag(0);
  // The matrices are n x n, whatever the number of columns.
  const int64_t n = step_.space[kRows], rows = step_.space[kOuter - 1] * n;
  if (n > kMaxIterations / rows) refuse("matrices of " + std::to_string(n) + " rows");
  check_stretch(0, rows * n);
  check_dense_input(1);
  check_dense_result(2, DType::float32);
}

void StepChecker::check_stretch(size_t i, int64_t elements) const {
  expect_dtype(i, DType::float32);
  int64_t reach = step_.operands[i].offset;
  extend(i, reach, elements, 1);
}

} // namespace nodevae
