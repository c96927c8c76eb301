// Checks every CPU kernel on every tier of this machine against slow double-precision references.
// Build: cmake -DNODE_VAE_CHECKS=ON, target kernels_check
#include "../../native/philox.h"
#include "case.h"

using namespace nodevae;

namespace {

void random_space(Case& c, int64_t budget) {
  for (const int d : {5, 4, 3, 2, 1, 0}) {
    const int64_t most = d >= kRows ? (pick(0, 3) == 0 ? budget : std::min<int64_t>(budget, 130)) : 4;
    c.step.space[d] = pick(0, d >= kRows ? 7 : 2) == 0 ? 1 : pick(1, std::max<int64_t>(1, std::min(most, budget)));
    if (d < kRows && pick(0, 1)) c.step.space[d] = 1;
    budget /= c.step.space[d];
  }
}

void random_programs() {
  for (int round = 0; round < 400; ++round) {
    Case c(KernelId::map);
    random_space(c, round % 10 == 0 ? 60000 : 6000);
    std::vector<int> values;
    const int loads = static_cast<int>(pick(1, 4));
    for (int i = 0; i < loads; ++i) {
      std::vector<int> order = {0, 1, 2, 3, 4, 5};
      if (pick(0, 2) == 0) std::shuffle(order.begin(), order.end(), generator);
      const int mask = pick(0, 1) ? 63 : static_cast<int>(pick(0, 63));
      const DType type = static_cast<DType>(pick(0, 4) == 0 ? pick(0, 2) : 0);
      values.push_back(c.load(c.operand(mask, type, order, pick(0, 3) == 0 ? pick(1, 5) : 0)));
    }
    values.push_back(c.constant(normal()));
    const Opcode safe[] = {
        Opcode::add,           Opcode::subtract, Opcode::multiply, Opcode::maximum,      Opcode::minimum,
        Opcode::where,         Opcode::tanh,     Opcode::relu,     Opcode::multiply_add, Opcode::sigmoid,
        Opcode::negate,        Opcode::sin,      Opcode::add_relu, Opcode::interpolate,  Opcode::interpolate_square,
        Opcode::where_positive};
    const auto any = [&] { return values[static_cast<size_t>(pick(0, static_cast<int64_t>(values.size()) - 1))]; };
    for (int i = static_cast<int>(pick(0, 8)); i > 0; --i) {
      const int bounded = c.emit(Opcode::tanh, any()); // keeps values of a size that the tolerance can speak about
      values.push_back(c.emit(safe[pick(0, 15)], bounded, any(), any()));
      values.push_back(c.emit(Opcode::minimum, values.back(), c.constant(50.0f)));
    }
    for (int i = static_cast<int>(pick(1, 2)); i > 0; --i) {
      if (pick(0, 2) != 0) { // in place over an operand that is loaded, or somewhere else, perhaps transposed
        std::vector<int> order = {0, 1, 2, 3, 4, 5};
        if (pick(0, 3) == 0) std::shuffle(order.begin(), order.end(), generator);
        const auto& first = c.step.operands[0];
        bool dense = first.dtype == DType::float32;
        for (int d = 0; d < kDims; ++d) dense &= c.step.space[d] == 1 || first.strides[d] != 0;
        c.emit(Opcode::store, any(), c.operand(63, DType::float32, order, 0, dense && i == 1 && pick(0, 1) ? 0 : -1));
      }
      const int axes = static_cast<int>(pick(1, 3)), kept = 15 | (axes & 1 ? 0 : 16) | (axes & 2 ? 0 : 32);
      if (pick(0, 1)) c.emit(pick(0, 2) ? Opcode::reduce_sum : Opcode::reduce_max, any(), c.operand(kept), axes);
    }
    check(c, "random program", 4e-6);
  }
}

void shaped_reductions() {
  const int64_t shapes[][3] = {{1, 128, 784}, {1, 1, 100000}, {1, 100000, 1}, {1, 20000, 3}, {1, 3, 20000},
                               {1, 1, 1},     {500, 2, 3},    {4, 1, 1000},   {1, 784, 128}, {100, 1, 20}};
  for (const auto& shape : shapes)
    for (int axes = 1; axes <= 3; ++axes) {
      Case c(KernelId::map);
      c.step.space[3] = shape[0], c.step.space[4] = shape[1], c.step.space[5] = shape[2];
      const int x = c.load(c.operand(63)), kept = 15 | (axes & 1 ? 0 : 16) | (axes & 2 ? 0 : 32);
      c.emit(Opcode::reduce_sum, x, c.operand(kept), axes);
      c.emit(Opcode::reduce_max, x, c.operand(kept), axes);
      c.emit(Opcode::reduce_sum, c.constant(2.0f), c.operand(kept), axes);
      check(c, "reduction", 2e-6);
    }
}

// p, m and v are updated in place; the order of the stores is the worst one.
void adam_in_place() {
  Case c(KernelId::map);
  c.step.space[5] = 30001;
  const int g = c.operand(63), m = c.operand(63), v = c.operand(63), p = c.operand(63), t = c.operand(0);
  for (int64_t i = 0; i < 30001; ++i) c.buffers[2].floats()[i] = std::fabs(normal());
  const int vg = c.load(g), vm = c.load(m), vv = c.load(v), vp = c.load(p);
  const int m1 = c.emit(Opcode::multiply_add, c.constant(0.9f), vm, c.emit(Opcode::multiply, c.constant(0.1f), vg));
  const int m_out = c.operand(63, DType::float32, {}, 0, m);
  c.emit(Opcode::store, m1, m_out);
  const int v1 = c.emit(Opcode::multiply_add, c.constant(0.999f), vv,
                        c.emit(Opcode::multiply, c.constant(0.001f), c.emit(Opcode::square, vg)));
  c.emit(Opcode::store, v1, c.operand(63, DType::float32, {}, 0, v));
  const int rate = c.emit(Opcode::exp, c.emit(Opcode::minimum, c.load(t), c.constant(0.0f)));
  const int step = c.emit(Opcode::divide, c.emit(Opcode::multiply, rate, m1),
                          c.emit(Opcode::add, c.emit(Opcode::sqrt, v1), c.constant(1e-3f)));
  c.emit(Opcode::store, c.emit(Opcode::subtract, vp, step), c.operand(63, DType::float32, {}, 0, p));
  c.emit(Opcode::reduce_sum, c.emit(Opcode::subtract, vm, m1), c.operand(0), 3); // the old m, after its store
  check(c, "Adam in place", 2e-5);
}

void matrix_products() {
  for (int round = 0; round < 250; ++round) {
    Case c(KernelId::matmul);
    const bool large = round % 8 == 0;
    const int64_t m = c.step.space[4] = pick(1, large ? 300 : 40), n = c.step.space[5] = pick(1, large ? 200 : 70);
    const int64_t k = pick(0, 9) == 0 ? pick(1500, 4000) : pick(1, large ? 300 : 60);
    const bool batched = pick(0, 2) == 0;
    if (batched) c.step.space[3] = pick(1, 4), c.step.space[1] = pick(1, 2);
    const int64_t batches = c.step.space[3] * c.step.space[1];
    const int form_a = static_cast<int>(pick(0, 4)), form_b = static_cast<int>(pick(0, 4));
    const int64_t pad = pick(0, 1) * pick(1, 9);
    // Dense matrices of batches x rows x columns in either order; form 4 is spread out in both directions.
    const auto matrix = [&](int64_t extent, int form, int dimension, bool shared) {
      ResolvedOperand o{};
      int64_t k_stride = 1, size = 0;
      if (form == 4)
        o.strides[dimension] = 2 * k + 3, k_stride = 2, size = extent * (2 * k + 3);
      else if (form % 2 == 0)
        o.strides[dimension] = k + pad, size = extent * (k + pad);
      else
        o.strides[dimension] = 1, k_stride = extent + pad, size = k * (extent + pad);
      if (!shared) o.strides[3] = size, o.strides[1] = size * c.step.space[3];
      const int64_t last = (extent - 1) * o.strides[dimension] + (k - 1) * k_stride + 1;
      c.add(o, (shared ? 0 : (batches - 1) * size) + last);
      return static_cast<int32_t>(k_stride);
    };
    const int32_t a_k = matrix(m, form_a, 4, false), b_k = matrix(n, form_b, 5, pick(0, 1) == 0);
    c.step.attributes = {static_cast<int32_t>(k), a_k, b_k};
    const int product = c.emit(Opcode::accumulator);
    const int kind = static_cast<int>(pick(0, 3));
    if (kind == 0)
      c.emit(Opcode::store, product, c.operand(63, DType::float32, {0, 1, 2, 3, 4, 5}, pick(0, 3)));
    else {
      const int bias = c.load(c.operand(32)), other = c.load(c.operand(63));
      const int y = c.emit(Opcode::relu, c.emit(Opcode::add, product, bias));
      const int z = c.emit(Opcode::multiply, y, other);
      std::vector<int> order = {0, 1, 2, 3, 4, 5};
      if (kind == 3) order = {0, 1, 2, 3, 5, 4};
      c.emit(Opcode::store, z,
             kind == 2 ? c.operand(63, DType::float32, order, 0, 3) : c.operand(63, DType::float32, order));
      c.emit(Opcode::reduce_sum, z, c.operand(47), 1);
      c.emit(Opcode::reduce_sum, y, c.operand(31), 2);
      c.emit(Opcode::reduce_max, z, c.operand(15), 3);
    }
    check(c, "matrix product", 4e-6);
  }
}

void matrix_product_of_great_depth() {
  Case c(KernelId::matmul);
  c.step.space[4] = 20, c.step.space[5] = 50;
  c.step.attributes = {60000, 20, 50};
  for (const int d : {4, 5}) {
    ResolvedOperand o{};
    o.strides[d] = 1;
    c.add(o, 60000 * c.step.space[d]);
  }
  c.emit(Opcode::store, c.emit(Opcode::accumulator), c.operand(63));
  check(c, "matrix product of great depth", 1e-5);
}

void indexing() {
  for (const int64_t columns : {1, 3, 20, 784}) {
    for (const DType type : {DType::float32, DType::int32, DType::uint8}) {
      Case c(KernelId::gather);
      c.step.space[4] = 130, c.step.space[5] = columns;
      Buffer table(50 * columns, type);
      Buffer indices(130, DType::int32);
      for (int i = 0; i < 130; ++i) indices.ints()[i] = static_cast<int32_t>(pick(0, 49));
      c.step.attributes = {50, static_cast<int32_t>(columns)};
      c.step.operands = {{table.bytes.get(), type, {0, 0, 0, 0, 0, 1}, 0},
                         {indices.ints(), DType::int32, {0, 0, 0, 0, 1, 0}, 0}};
      c.buffer_of = {-1, -1};
      c.operand(63, type);
      c.run(cpu_available_tiers()[0], 2);
      bool same = true;
      for (int64_t i = 0; i < 130 * columns; ++i)
        same &= c.buffers[0].at(i) == table.at(indices.ints()[i / columns] * columns + i % columns);
      CHECK(same, "gather of %d columns", int(columns));
      indices.ints()[77] = 50;
      std::string message;
      try {
        c.run(cpu_available_tiers()[0], 2);
      } catch (const KernelError& e) {
        message = e.what();
      }
      CHECK(message.find("50") != std::string::npos && message.find("77") != std::string::npos, "gather: \"%s\"",
            message.c_str());
    }
    for (const std::string& tier : cpu_available_tiers())
      for (int threads = 1; threads <= 3; ++threads) {
        Case c(KernelId::scatter_add);
        const int64_t count = 3000, rows = 40;
        c.step.space[4] = count, c.step.space[5] = columns;
        c.step.attributes = {static_cast<int32_t>(rows)};
        const int updates = c.operand(63);
        Buffer indices(count, DType::int32), out(rows * columns, DType::float32);
        for (int64_t i = 0; i < count; ++i) indices.ints()[i] = static_cast<int32_t>(pick(0, rows - 1));
        c.step.operands.push_back({indices.ints(), DType::int32, {0, 0, 0, 0, 1, 0}, 0});
        c.step.operands.push_back({out.floats(), DType::float32, {0, 0, 0, 0, columns, 1}, 0});
        c.run(tier, threads);
        std::vector<float> sum(static_cast<size_t>(rows * columns), 0.0f); // the same order: exactly equal
        for (int64_t i = 0; i < count * columns; ++i)
          sum[static_cast<size_t>(indices.ints()[i / columns] * columns + i % columns)] +=
              c.buffers[static_cast<size_t>(updates)].floats()[i];
        CHECK(std::memcmp(sum.data(), out.floats(), sum.size() * 4) == 0, "scatter_add of %d columns", int(columns));
      }
  }
}

void noise() {
  for (const std::string& tier : cpu_available_tiers())
    for (const int64_t n : {1, 5, 63, 64, 1000, 50001}) {
      const uint64_t seed = 0x123456789abcdefull, counter = (1ull << 33) + 5;
      Case u(KernelId::random_uniform), g(KernelId::random_normal);
      for (Case* c : {&u, &g}) {
        c->step.space[5] = n;
        c->step.attributes = {42};
        c->operand(63);
        c->run(tier, 3, seed, counter);
      }
      bool exact = true;
      double worst = 0;
      for (int64_t i = 0; i < n; ++i) {
        const PhiloxBlock block = philox(static_cast<uint32_t>(i / 4), 42, counter, seed);
        exact &= u.buffers[0].floats()[i] == static_cast<float>(block.word[i % 4] >> 8) / 16777216.0f;
        const uint32_t w0 = block.word[i % 4 / 2 * 2] >> 8, w1 = block.word[i % 4 / 2 * 2 + 1] >> 8;
        const double radius = std::sqrt(-2 * std::log((w0 + 1.0) / 16777216.0)),
                     angle = 6.283185307179586 * w1 / 16777216.0;
        const double expected = radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
        worst = std::fmax(worst, std::fabs(g.buffers[0].floats()[i] - expected) / std::fmax(1e-3, std::fabs(expected)));
      }
      CHECK(exact, "uniform on %s, n = %d", tier.c_str(), int(n));
      CHECK(worst < 1e-6, "normal on %s, n = %d: %g", tier.c_str(), int(n), worst);
    }
  for (const std::string& tier : cpu_available_tiers())
    for (const int32_t rows : {1, 2, 5, 100, 1000, 60000, 100000})
      for (const int shuffle : {0, 1}) {
        Case c(KernelId::shuffled_indices);
        c.step.space[5] = 130;
        c.step.attributes = {rows, shuffle, 9};
        c.operand(63, DType::int32);
        const uint64_t counter = 1000000007ull;
        c.run(tier, 1, 11, counter);
        bool same = true;
        for (uint32_t i = 0; i < 130; ++i)
          same &= static_cast<uint32_t>(c.buffers[0].ints()[i]) ==
                  batch_index(counter, 130, i, static_cast<uint32_t>(rows), shuffle != 0, 9, 11);
        CHECK(same, "shuffled_indices on %s of %d rows", tier.c_str(), rows);
      }
  Case s(KernelId::step_index);
  s.operand(63);
  s.run(cpu_available_tiers()[0], 1, 0, 12345);
  CHECK(s.buffers[0].floats()[0] == 12345.0f, "step_index");
}

double ulps(float x, double y) {
  if (x != x || y != y) return (x != x) == (y != y) ? 0 : INFINITY;
  const float rounded = static_cast<float>(y);
  if (x == rounded) return 0;
  if (std::isinf(x) || std::isinf(rounded)) return INFINITY;
  int exponent;
  std::frexp(std::fmax(std::fabs(y), 1.2e-38), &exponent);
  return std::fabs(x - y) / std::ldexp(1.0, exponent - 24);
}

void accuracy(bool verbose) {
  struct Function {
    Opcode op;
    double low, high, bound;
  };
  const Function functions[] = {{Opcode::exp, -87.3, 89, 2},
                                {Opcode::expm1, -30, 89, 4},
                                {Opcode::log, 1e-38, 3e38, 2},
                                {Opcode::log, 0.4, 2.5, 2},
                                {Opcode::log1p, -0.999, 10, 4},
                                {Opcode::log1p, 1e-30, 1e30, 4},
                                {Opcode::tanh, -12, 12, 2},
                                {Opcode::tanh, 1e-30, 1, 2},
                                {Opcode::sigmoid, -87, 30, 4},
                                {Opcode::sigmoid, -20, 20, 2.5},
                                {Opcode::softplus, -87, 100, 4},
                                {Opcode::sin, -10, 10, 4},
                                {Opcode::sin, -4e6, 4e6, 4},
                                {Opcode::sin, 1e-20, 1e30, 4},
                                {Opcode::cos, -10, 10, 4},
                                {Opcode::cos, -4e6, 4e6, 4},
                                {Opcode::sqrt, 1e-37, 1e38, 0},
                                {Opcode::floor, -1e3, 1e3, 0},
                                {Opcode::reciprocal, 1e-30, 1e30, 0.51}};
  for (const std::string& tier : cpu_available_tiers())
    for (const Function& f : functions) {
      Case c(KernelId::map);
      const int64_t n = c.step.space[5] = 400003;
      const int x = c.operand(63);
      c.emit(Opcode::store, c.emit(f.op, c.load(x)), c.operand(63));
      const bool logarithmic = f.low > 0 && f.high / f.low > 1e3;
      for (int64_t i = 0; i < n; ++i) {
        const double u = static_cast<double>(i) / static_cast<double>(n - 1);
        c.buffers[0].floats()[i] = static_cast<float>(
            logarithmic ? std::exp(std::log(f.low) + u * std::log(f.high / f.low)) : f.low + u * (f.high - f.low));
      }
      c.run(tier, 1);
      double worst = 0;
      float where = 0;
      for (int64_t i = 0; i < n; ++i) {
        const float in = c.buffers[0].floats()[i];
        const double e = ulps(c.buffers[1].floats()[i], apply(f.op, in, 0, 0));
        if (e > worst) worst = e, where = in;
      }
      if (verbose)
        std::printf("%-9s %-10s [%g, %g]: %.2f ulp at %.9g\n", tier.c_str(), opcode_name(f.op), f.low, f.high, worst,
                    where);
      CHECK(worst <= f.bound, "%s on %s: %.2f ulp at %.9g", opcode_name(f.op), tier.c_str(), worst, where);
    }
  const float edges[] = {0.0f,    -0.0f, INFINITY, -INFINITY, NAN,  -1.0f, 1.0f,  200.0f,
                         -200.0f, 3e38f, -3e38f,   1e-38f,    0.5f, -0.5f, -1.5f, 1e9f};
  for (const std::string& tier : cpu_available_tiers())
    for (int op = static_cast<int>(Opcode::negate); op < static_cast<int>(Opcode::count); ++op)
      for (const float a : edges)
        for (const float b : edges) {
          Case c(KernelId::map);
          c.step.space[5] = 3;
          const int x = c.load(c.operand(63)), y = c.load(c.operand(63));
          c.emit(Opcode::store, c.emit(static_cast<Opcode>(op), x, y), c.operand(63));
          for (int i = 0; i < 3; ++i) c.buffers[0].floats()[i] = a, c.buffers[1].floats()[i] = b;
          c.run(tier, 1);
          if (opcode_arity(static_cast<Opcode>(op)) > 2) continue;
          const float got = c.buffers[2].floats()[2];
          const float expected = static_cast<float>(apply(static_cast<Opcode>(op), a, b, 0));
          const bool zero_sign = static_cast<Opcode>(op) >= Opcode::maximum ||
                                 static_cast<Opcode>(op) == Opcode::relu ||
                                 std::signbit(got) == std::signbit(expected) || expected != 0;
          CHECK((ulps(got, expected) <= 4 || std::fabs(got - expected) < 1e-30) && (expected != expected || zero_sign),
                "%s(%g, %g) on %s = %g, not %g", opcode_name(static_cast<Opcode>(op)), a, b, tier.c_str(), got,
                expected);
          if (opcode_arity(static_cast<Opcode>(op)) < 2) break;
        }
}

} // namespace

int main(int count, char**) { // with any argument, prints the accuracy of the functions
  accuracy(count > 1);
  random_programs();
  shaped_reductions();
  adam_in_place();
  matrix_products();
  matrix_product_of_great_depth();
  indexing();
  noise();
  return report();
}
