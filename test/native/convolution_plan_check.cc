// Plans are untrusted: plans of one convolution, fold or small kernel with random words changed must be refused, or
// run without touching memory outside of their buffers. Meant for a build with -DNODE_VAE_SANITIZE=address,undefined.
#include "check.h"

using namespace nodevae;

namespace {

struct Words {
  std::vector<int32_t> list;
  void add(int64_t word) { list.push_back(static_cast<int32_t>(word)); }
  void add64(int64_t number) {
    add(static_cast<int32_t>(static_cast<uint64_t>(number) & 0xffffffffu));
    add(number >> 32);
  }
};

// A plan of one step; every operand has a buffer of its own, just large enough.
struct Step {
  KernelId kernel;
  int64_t outer, rows, columns;
  struct Operand {
    int64_t elements, outer_stride, row_stride, column_stride;
    DType dtype;
  };
  std::vector<Operand> operands;
  std::vector<int64_t> attributes;
  bool program;

  std::vector<int32_t> encode() const {
    Words w;
    const int64_t count = static_cast<int64_t>(operands.size());
    int64_t bytes = 0;
    for (const Operand& o : operands) bytes += (o.elements * 4 + 63) / 64 * 64;
    w.add(kPlanMagic), w.add(kPlanVersion), w.add64(bytes);
    for (const int64_t number : {int64_t{0}, count, int64_t{0}, int64_t{0}, int64_t{-1}, int64_t{0}, int64_t{1}})
      w.add(number);
    bytes = 0;
    for (const Operand& o : operands) {
      w.add(0), w.add(static_cast<int64_t>(o.dtype)), w.add64(o.elements), w.add64(bytes), w.add(1);
      bytes += (o.elements * 4 + 63) / 64 * 64;
    }
    w.add(static_cast<int64_t>(kernel));
    for (const int64_t size : {int64_t{1}, int64_t{1}, int64_t{1}, outer, rows, columns}) w.add64(size);
    w.add(count), w.add(static_cast<int64_t>(attributes.size())), w.add(program ? 2 : 0);
    for (int64_t i = 0; i < count; ++i) {
      const Operand& o = operands[static_cast<size_t>(i)];
      w.add(i), w.add64(0);
      for (const int64_t stride : {int64_t{0}, int64_t{0}, int64_t{0}, o.outer_stride, o.row_stride, o.column_stride})
        w.add64(stride);
    }
    for (const int64_t attribute : attributes) w.add(attribute);
    if (program)
      for (const int64_t word : {static_cast<int64_t>(Opcode::accumulator), int64_t{0}, int64_t{0}, int64_t{0},
                                 static_cast<int64_t>(Opcode::store), int64_t{0}, count - 1, int64_t{0}})
        w.add(word);
    return w.list;
  }
};

Step random_step() {
  const auto dense = [](int64_t outer, int64_t rows, int64_t columns) {
    return Step::Operand{outer * rows * columns, rows * columns, columns, 1, DType::float32};
  };
  const int64_t kind = pick(0, 9), outer = pick(1, 4), rows = pick(1, 6), columns = pick(1, 6);
  if (kind == 0)
    return {KernelId::cumulative_sum,
            outer,
            rows,
            columns,
            {dense(outer, rows, columns), dense(outer, rows, columns)},
            {1, 0},
            false};
  if (kind == 1)
    return {KernelId::sort, 1, rows, columns, {dense(1, rows, columns), dense(1, rows, columns)}, {0, 0}, false};
  if (kind == 2)
    return {KernelId::cholesky, outer, rows, rows, {dense(outer, rows, rows), dense(outer, rows, rows)}, {}, false};
  if (kind == 3)
    return {KernelId::triangular_solve,
            outer,
            rows,
            columns,
            {dense(outer, rows, rows), dense(outer, rows, columns), dense(outer, rows, columns)},
            {0},
            false};

  const int64_t groups = pick(0, 2) ? 1 : pick(1, 4), n = pick(1, 3), h = pick(1, 9), w = pick(1, 9);
  const int64_t c = groups * pick(1, 9), f = groups * pick(1, 20), kh = pick(1, 4), kw = pick(1, 4);
  const int64_t sh = pick(1, 3), sw = pick(1, 3), dh = pick(1, 2), dw = pick(1, 2);
  const int64_t top = pick(0, 3) + (kh - 1) * dh, left = pick(0, 3) + (kw - 1) * dw; // room for one window at least
  const int64_t oh = (h + top - (kh - 1) * dh - 1) / sh + 1, ow = (w + left - (kw - 1) * dw - 1) / sw + 1;
  const std::vector<int64_t> attributes = {n, h, w, c, oh, ow, f, kh, kw, sh, sw, top, left, dh, dw, groups};
  const Step::Operand image = dense(1, n * h * w, c), weights = dense(1, kh * kw * c / groups, f),
                      output = dense(1, n * oh * ow, f);
  switch (kind) {
  case 4:
  case 5:
    return {KernelId::conv2d, 1, n * oh * ow, f, {image, weights, output}, attributes, true};
  case 6:
  case 7:
    return {KernelId::conv2d_input_gradient, 1, n * h * w, c, {output, weights, image}, attributes, true};
  case 8:
    return {KernelId::conv2d_weight_gradient, 1, kh * kw * c / groups, f, {image, output, weights}, attributes, true};
  default: {
    std::vector<int64_t> pooled = attributes;
    pooled[6] = c, pooled[15] = 1;
    return {KernelId::fold, n, h * w, c, {dense(1, n * oh * ow * kh * kw, c), dense(n, h * w, c)}, pooled, false};
  }
  }
}

void run(const Plan& plan) {
  constexpr size_t kMostScratch = size_t{64} << 20;
  for (const PlanStep& step : plan.steps) {
    std::vector<std::unique_ptr<char[]>> buffers;
    for (const BufferSpec& buffer : plan.buffers) {
      const size_t bytes = static_cast<size_t>(buffer.elements) * dtype_size(buffer.dtype);
      if (bytes > kMostScratch) return;
      buffers.emplace_back(new char[bytes]());
    }
    ResolvedStep resolved{};
    resolved.kernel = step.kernel;
    std::copy(step.space, step.space + kDims, resolved.space);
    resolved.attributes = step.attributes;
    resolved.program = step.program;
    for (const Operand& operand : step.operands) {
      const size_t number = static_cast<size_t>(operand.buffer);
      const BufferSpec& buffer = plan.buffers[number];
      ResolvedOperand o{};
      o.data = buffers[number].get() + operand.offset * static_cast<int64_t>(dtype_size(buffer.dtype));
      o.dtype = buffer.dtype;
      std::copy(operand.strides, operand.strides + kDims, o.strides);
      resolved.operands.push_back(o);
    }
    const auto kernel = make_cpu_kernel(
        resolved, 1,
        cpu_available_tiers()[static_cast<size_t>(pick(0, static_cast<int64_t>(cpu_available_tiers().size()) - 1))]);
    if (kernel->shared_bytes() > kMostScratch || kernel->local_bytes() > kMostScratch) return;
    run_kernel(*kernel, 1);
  }
}

} // namespace

int main(int count, char** arguments) { // an argument: how many plans
  const int rounds = count > 1 ? std::atoi(arguments[1]) : 20000;
  int refused = 0, ran = 0;
  for (int round = 0; round < rounds; ++round) {
    std::vector<int32_t> words = random_step().encode();
    const bool changed = round % 4 != 0;
    if (changed)
      for (int64_t i = pick(1, 3); i > 0; --i) {
        int32_t& word = words[static_cast<size_t>(pick(0, static_cast<int64_t>(words.size()) - 1))];
        const int32_t choices[] = {static_cast<int32_t>(pick(-2, 12)),
                                   static_cast<int32_t>(std::clamp<int64_t>(word + pick(-3, 3), INT32_MIN, INT32_MAX)),
                                   INT32_MAX, INT32_MIN, int32_t{1} << pick(0, 30)};
        word = choices[pick(0, 4)];
      }
    try {
      const Plan plan = parse_plan(words.data(), words.size());
      run(plan);
      ++ran;
    } catch (const PlanError& error) {
      ++refused;
      if (!changed && ++failures < 10) std::printf("refused an untouched plan: %s\n", error.what());
    }
  }
  std::printf("%d plans ran, %d refused, %d failures\n", ran, refused, failures);
  return failures != 0 || ran == 0 || refused == 0;
}
