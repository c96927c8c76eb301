// One step with its buffers, and what it should leave in them: instruction by instruction, in double precision.
#pragma once

#include "check.h"

namespace nodevae {

struct Case {
  ResolvedStep step{};
  std::vector<int> buffer_of; // operand -> buffer
  std::vector<Buffer> buffers;

  explicit Case(KernelId kernel) {
    step.kernel = kernel;
    for (int64_t& extent : step.space) extent = 1;
  }
  // A dense operand over the dimensions of `mask` (bit d), laid out in the order of `order`.
  int operand(int mask, DType dtype = DType::float32, const std::vector<int>& order = {0, 1, 2, 3, 4, 5},
              int64_t padding = 0, int alias = -1) {
    ResolvedOperand o{};
    int64_t size = 1;
    for (size_t i = order.size(); i-- > 0;)
      if (const int d = order[i]; mask >> d & 1) {
        o.strides[d] = size;
        size = size * step.space[d] + (i + 1 == order.size() ? padding : 0);
      }
    o.dtype = dtype;
    if (alias < 0) return add(o, size);
    step.operands.push_back(step.operands[static_cast<size_t>(alias)]);
    buffer_of.push_back(buffer_of[static_cast<size_t>(alias)]);
    return static_cast<int>(step.operands.size()) - 1;
  }
  // An operand with a buffer of its own.
  int add(ResolvedOperand o, int64_t elements) {
    buffers.emplace_back(std::max<int64_t>(elements, 1), o.dtype);
    o.data = buffers.back().bytes.get();
    o.elements_left = elements;
    buffer_of.push_back(static_cast<int>(buffers.size()) - 1);
    step.operands.push_back(o);
    return static_cast<int>(step.operands.size()) - 1;
  }
  int emit(Opcode op, int a = 0, int b = 0, int c = 0) { return nodevae::emit(step, op, a, b, c); }
  int constant(float x) {
    int32_t word;
    std::memcpy(&word, &x, 4);
    return emit(Opcode::constant, word);
  }
  int load(int operand) { return emit(Opcode::load, operand); }

  void run(const std::string& tier, int threads, uint64_t seed = 7, uint64_t counter = 3) const {
    run_step(step, tier, threads, seed, counter);
  }
};

inline double apply(Opcode op, double a, double b, double c) {
  switch (op) {
  case Opcode::negate:
    return -a;
  case Opcode::absolute:
    return std::fabs(a);
  case Opcode::sign:
    return a > 0 ? 1 : a < 0 ? -1 : a;
  case Opcode::reciprocal:
    return 1 / a;
  case Opcode::square:
    return a * a;
  case Opcode::sqrt:
    return std::sqrt(a);
  case Opcode::exp:
    return std::exp(a);
  case Opcode::expm1:
    return std::expm1(a);
  case Opcode::log:
    return std::log(a);
  case Opcode::log1p:
    return std::log1p(a);
  case Opcode::tanh:
    return std::tanh(a);
  case Opcode::sigmoid:
    return 1 / (1 + std::exp(-a));
  case Opcode::softplus:
    return std::fmax(a, 0) + std::log1p(std::exp(-std::fabs(a))) + (a != a ? a : 0);
  case Opcode::relu:
    return a < 0 ? 0 : a;
  case Opcode::floor:
    return std::floor(a);
  case Opcode::sin:
    return std::sin(a);
  case Opcode::cos:
    return std::cos(a);
  case Opcode::is_finite:
    return std::isfinite(a);
  case Opcode::add:
    return a + b;
  case Opcode::subtract:
    return a - b;
  case Opcode::multiply:
    return a * b;
  case Opcode::divide:
    return a / b;
  case Opcode::maximum:
    return a != a || b != b ? std::nan("") : std::fmax(a, b);
  case Opcode::minimum:
    return a != a || b != b ? std::nan("") : std::fmin(a, b);
  case Opcode::less:
    return a < b;
  case Opcode::less_equal:
    return a <= b;
  case Opcode::equal:
    return a == b;
  case Opcode::where:
    return a != 0 ? b : c;
  case Opcode::multiply_add:
    return a * b + c;
  case Opcode::interpolate:
    return a + c * (b - a);
  case Opcode::interpolate_square:
    return a + c * (b * b - a);
  case Opcode::subtract_product:
    return a - b * c;
  case Opcode::divide_root:
    return a / (std::sqrt(b) + c);
  case Opcode::sqrt_add:
    return std::sqrt(a) + b;
  case Opcode::add_relu:
    return a + b < 0 ? 0 : a + b;
  case Opcode::where_positive:
    return a > 0 ? b : 0;
  default:
    return std::nan("");
  }
}

// What every stored or reduced operand should hold afterwards, one value per element of its buffer;
// "untouched" elements keep their old value.
inline std::vector<std::vector<double>> reference(const Case& c) {
  std::vector<std::vector<double>> result;
  for (const Buffer& b : c.buffers) {
    result.emplace_back();
    for (int64_t i = 0; i < b.elements; ++i) result.back().push_back(b.at(i));
  }
  const auto before = result;
  const ResolvedStep& s = c.step;
  for (const Instruction& i : s.program)
    if (i.op == Opcode::reduce_sum || i.op == Opcode::reduce_max) {
      auto& out = result[static_cast<size_t>(c.buffer_of[static_cast<size_t>(i.b)])];
      std::fill(out.begin(), out.end(), i.op == Opcode::reduce_sum ? 0.0 : -INFINITY);
    }
  int64_t index[kDims];
  std::vector<double> value(s.program.size());
  int64_t total = 1;
  for (const int64_t extent : s.space) total *= extent;
  for (int64_t n = 0; n < total; ++n) {
    for (int64_t d = kDims - 1, rest = n; d >= 0; --d) index[d] = rest % s.space[d], rest /= s.space[d];
    const auto offset = [&](int32_t operand) {
      int64_t at = 0;
      for (int d = 0; d < kDims; ++d) at += index[d] * s.operands[static_cast<size_t>(operand)].strides[d];
      return static_cast<size_t>(at);
    };
    const auto buffer = [&](int32_t operand) { return static_cast<size_t>(c.buffer_of[static_cast<size_t>(operand)]); };
    for (size_t i = 0; i < s.program.size(); ++i) {
      const Instruction& in = s.program[i];
      const auto v = [&](int32_t k) { return value[static_cast<size_t>(k)]; };
      if (in.op == Opcode::load)
        value[i] = before[buffer(in.a)][offset(in.a)];
      else if (in.op == Opcode::constant) {
        float x;
        std::memcpy(&x, &in.a, 4);
        value[i] = x;
      } else if (in.op == Opcode::accumulator) {
        value[i] = 0;
        for (int32_t k = 0; k < s.attributes[0]; ++k)
          value[i] += before[buffer(0)][offset(0) + static_cast<size_t>(k * s.attributes[1])] *
                      before[buffer(1)][offset(1) + static_cast<size_t>(k * s.attributes[2])];
      } else if (in.op == Opcode::store)
        result[buffer(in.b)][offset(in.b)] = v(in.a);
      else if (in.op == Opcode::reduce_sum)
        result[buffer(in.b)][offset(in.b)] += v(in.a);
      else if (in.op == Opcode::reduce_max) {
        double& r = result[buffer(in.b)][offset(in.b)];
        r = std::fmax(r, v(in.a));
      } else {
        const int arity = opcode_arity(in.op);
        value[i] = apply(in.op, v(in.a), arity > 1 ? v(in.b) : 0, arity > 2 ? v(in.c) : 0);
      }
    }
  }
  return result;
}

// Runs a case on every tier: near the reference, and bit-identical in threads.
inline void check(Case& c, const char* what, double tolerance) {
  const auto expected = reference(c);
  std::vector<std::vector<char>> original;
  std::vector<const Buffer*> buffers;
  for (const Buffer& b : c.buffers) original.push_back(b.copy()), buffers.push_back(&b);
  for (const std::string& tier : cpu_available_tiers()) {
    for (size_t i = 0; i < original.size(); ++i) buffers[i]->restore(original[i]);
    run_on_threads(c.step, tier, buffers, what);
    double worst = 0;
    for (size_t i = 0; i < c.buffers.size(); ++i) {
      double scale = 1;
      for (const Instruction& in : c.step.program) // a sum that cancels is as exact as its terms' random walk is long
        if (in.op == Opcode::reduce_sum && c.buffer_of[static_cast<size_t>(in.b)] == static_cast<int>(i))
          scale = std::sqrt(static_cast<double>(c.step.space[4] * c.step.space[5]));
      for (const double x : expected[i]) scale = std::isfinite(x) ? std::fmax(scale, std::fabs(x)) : scale;
      for (int64_t j = 0; j < c.buffers[i].elements; ++j)
        worst = std::fmax(worst, distance(c.buffers[i].at(j), expected[i][static_cast<size_t>(j)]) / scale);
    }
    CHECK(worst <= tolerance, "%s on %s [%d %d %d %d | %d %d]: error %g", what, tier.c_str(), int(c.step.space[0]),
          int(c.step.space[1]), int(c.step.space[2]), int(c.step.space[3]), int(c.step.space[4]), int(c.step.space[5]),
          worst);
  }
}

} // namespace nodevae
