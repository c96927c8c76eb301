// A plan: the plain-data program of one step (one training step, one encode, ...), as decoded from the
// int32 words that TypeScript's lib/compile/encode.ts writes. A plan is untrusted input: parse_plan checks
// every count, index and extent, so that a session that runs a parsed plan cannot touch memory outside its
// buffers, whatever the words were.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace nodevae {

enum class DType : int32_t { float32 = 0, int32 = 1, uint8 = 2 };
inline size_t dtype_size(DType t) { return t == DType::uint8 ? 1 : 4; }

enum class KernelId : int32_t {
#define KERNEL(name) name,
#include "ops.def"
  count
};

enum class Opcode : int32_t {
#define STRUCTURAL(name) name,
#define UNARY(name, expression) name,
#define BINARY(name, expression) name,
#define TERNARY(name, expression) name,
#include "ops.def"
  count
};

const char* kernel_name(KernelId id);
const char* opcode_name(Opcode op);
int opcode_arity(Opcode op); // 0 for structural ones

// Four outer dimensions, then rows, then columns. Absent dimensions are 1.
constexpr int kOuter = 4;
constexpr int kDims = kOuter + 2;
constexpr int kRows = kOuter;
constexpr int kColumns = kOuter + 1;

struct BufferSpec {
  enum class Kind : int32_t { arena = 0, resident = 1 } kind;
  DType dtype;
  int64_t elements;
  int64_t offset; // arena: byte offset, a multiple of 64. resident: slot number
  bool writable;  // residents only; arena buffers always are
};

// A strided view of a buffer, in elements of the buffer's dtype. Stride 0 broadcasts.
struct Operand {
  int32_t buffer;
  int64_t offset;
  int64_t strides[kDims];
};

// SSA: instruction i defines value i (stores and reductions define nothing); arguments name earlier values.
struct Instruction {
  Opcode op;
  int32_t a, b, c;
};

// What each kernel reads from a step. `space` is the iteration space, operand strides run over it.
//
// map               program over `space`. Reductions run over rows, columns or both; outer dims are kept.
// matmul            space = [batch x4, m, n]; attributes = [k, a_k_stride, b_k_stride].
//                   operands[0] = A: strides over (batch, m), column stride 0, plus a_k_stride per k.
//                   operands[1] = B: strides over (batch, n), row stride 0, plus b_k_stride per k.
//                   The rest are the program's. A program is always there; the plainest one is
//                   `accumulator; store`.
// gather            space = [1 x4, count, row_elements]; operands = table (row stride 0 in `space`,
//                   attributes = [table_rows, table_row_stride]), indices (int32), output (same dtype).
// scatter_add       space = [1 x4, count, row_elements]; operands = updates (float32), indices (int32),
//                   output (strides: rows = row stride of the output, columns = 1), which is set to zero
//                   first; attributes = [output_rows].
// random_uniform,
// random_normal     space = [1 x5, n]; operands = output (contiguous float32); attributes = [stream].
// shuffled_indices  space = [1 x5, batch]; operands = output (int32); attributes = [rows, shuffle 0|1, stream].
// conv2d, conv2d_input_gradient, conv2d_weight_gradient
//                   NHWC images and weights [kernel_height, kernel_width, channels / groups, filters].
//                   attributes = [images, height, width, channels, output_height, output_width, filters, kernel_height,
//                   kernel_width, stride_height, stride_width, pad_top, pad_left, dilation_height, dilation_width,
//                   groups]; filter f belongs to group f / (filters / groups). space = [1 x4, pixels of the output,
//                   filters], [1 x4, pixels of the image, channels] or [1 x4, kernel_height * kernel_width *
//                   channels / groups, filters]. operands[0], operands[1] = image and weights, output's gradient and
//                   weights, or image and output's gradient: contiguous, their strides are not read. The rest are the
//                   program's, where `accumulator` is the convolution's value, as in matmul.
// fold              sums overlapping windows back to an image: space = [1 x3, images, height * width, channels];
//                   operands = windows (contiguous [images, output_height, output_width, kernel_height, kernel_width,
//                   channels]), output (contiguous); attributes as conv2d's, with filters = channels and one group.
// cumulative_sum    space = [1 x3, outer, length, inner], along `length`; operands = input, output (contiguous
//                   float32); attributes = [reverse 0|1, exclusive 0|1].
// sort              space = [1 x4, rows, columns], each row for itself, stable, NaN larger than any number; operands =
//                   input (contiguous float32), output (contiguous, float32 or int32); attributes = [descending 0|1,
//                   0 values | 1 their positions in the row].
// cholesky          space = [1 x3, batch, n, n]; operands = input, output (contiguous float32). Reads the lower
//                   triangle; the output's upper one is zero. A matrix that is not positive definite gives all NaN.
// triangular_solve  space = [1 x3, batch, n, m]; operands = lower triangular matrices [batch, n, n], right sides
//                   [batch, n, m], output (contiguous float32); attributes = [transpose 0|1].
// step_index        space = 1; operands = output (one float32): the step counter, from 0.
struct PlanStep {
  KernelId kernel;
  int64_t space[kDims];
  std::vector<Operand> operands;
  std::vector<int32_t> attributes;
  std::vector<Instruction> program;
};

struct Plan {
  int64_t arena_bytes = 0;
  int32_t residents = 0; // number of resident slots
  std::vector<BufferSpec> buffers;
  std::vector<int32_t> inputs;  // buffer indices (arena), filled from the caller before the first step
  std::vector<int32_t> outputs; // buffer indices (arena), copied out after the last step
  int32_t terms = -1;           // buffer index (arena, float32) that holds the row of terms, or -1
  int32_t commit = 0;           // steps before this index write no resident buffer; the terms are
                                // complete there, and a non-finite term stops the run before any update
  std::vector<PlanStep> steps;
};

struct PlanError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Word format (little-endian int32), version 1; 64-bit numbers take two words, low first:
//   magic 0x45415650, version, arena_bytes:64, residents, #buffers, #inputs, #outputs, terms, commit, #steps,
//   buffers: kind, dtype, elements:64, offset:64, writable
//   inputs, outputs: buffer index each
//   steps: kernel, space 6 x 64, #operands, #attributes, #instructions,
//          operands: buffer, offset:64, strides 6 x 64;  attributes: words;  instructions: op, a, b, c
constexpr int32_t kPlanMagic = 0x45415650;
constexpr int32_t kPlanVersion = 1;

Plan parse_plan(const int32_t* words, size_t count); // throws PlanError

} // namespace nodevae
