// Checks the three directions of convolution, with their programs, on every tier of this machine against
// double-precision references, and that the number of threads changes no bit. Then the small kernels: fold,
// cumulative_sum, sort, cholesky and triangular_solve.
#include <numeric>

#include "check.h"
#include "convolution_geometry.h"

using namespace nodevae;

namespace {

ResolvedStep make_step(KernelId kernel, int64_t batch, int64_t rows, int64_t columns) {
  ResolvedStep step{};
  step.kernel = kernel;
  std::fill_n(step.space, kDims, 1);
  step.space[kOuter - 1] = batch, step.space[kRows] = rows, step.space[kColumns] = columns;
  return step;
}
void add_operand(ResolvedStep& step, const Buffer& buffer, int64_t row, int64_t column, DType dtype = DType::float32) {
  step.operands.push_back({buffer.bytes.get(), dtype, {0, 0, 0, 0, row, column}, buffer.elements});
}

// ---- convolutions ----

void check_direction(const Geometry& g, KernelId kernel, const Buffer& x, const Buffer& w, const Buffer& y, int kind) {
  std::vector<double> sums, sizes; // the exact result, and the sum of the products' magnitudes
  const Buffer& result = kernel == KernelId::conv2d ? y : kernel == KernelId::conv2d_input_gradient ? x : w;
  sums.assign(static_cast<size_t>(result.elements), 0), sizes = sums;
  for_each_product(g, [&](int64_t i, int64_t j, int64_t k) {
    const double product = kernel == KernelId::conv2d                  ? double(x[i]) * double(w[j])
                           : kernel == KernelId::conv2d_input_gradient ? double(y[k]) * double(w[j])
                                                                       : double(x[i]) * double(y[k]);
    const int64_t at = kernel == KernelId::conv2d ? k : kernel == KernelId::conv2d_input_gradient ? i : j;
    sums[static_cast<size_t>(at)] += product, sizes[static_cast<size_t>(at)] += std::fabs(product);
  });
  const int64_t columns = kernel == KernelId::conv2d_input_gradient ? g.c : g.f, rows = result.elements / columns;
  ResolvedStep step = make_step(kernel, 1, rows, columns);
  add_operand(step, kernel == KernelId::conv2d_input_gradient ? y : x, 0, 0);
  add_operand(step, kernel == KernelId::conv2d_weight_gradient ? y : w, 0, 0);
  for (const int64_t a :
       {g.n, g.h, g.w, g.c, g.oh(), g.ow(), g.f, g.kh, g.kw, g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.groups})
    step.attributes.push_back(static_cast<int32_t>(a));
  const int sum = emit(step, Opcode::accumulator);
  const Buffer out(result.elements), bias(columns), over_rows(columns), over_columns(rows), over_both(1);
  const std::vector<char> before = out.copy();
  const std::vector<float> out_before(out.floats(), out.floats() + out.elements);
  add_operand(step, out, columns, 1);
  if (kind == 0) emit(step, Opcode::store, sum, 2);
  if (kind == 1) { // bias, activation and all reductions
    add_operand(step, bias, 0, 1);
    add_operand(step, over_rows, 0, 1);
    add_operand(step, over_columns, 1, 0);
    add_operand(step, over_both, 0, 0);
    const int value = emit(step, Opcode::relu, emit(step, Opcode::add, sum, emit(step, Opcode::load, 3)));
    emit(step, Opcode::store, value, 2);
    emit(step, Opcode::reduce_sum, value, 4, 1);
    emit(step, Opcode::reduce_max, sum, 5, 2);
    emit(step, Opcode::reduce_sum, value, 6, 3);
  }
  if (kind == 2)
    emit(step, Opcode::store, emit(step, Opcode::subtract, emit(step, Opcode::load, 2), sum), 2); // in place

  for (const std::string& tier : cpu_available_tiers()) {
    out.restore(before);
    run_on_threads(step, tier, {&out, &over_rows, &over_columns, &over_both}, kernel_name(kernel));
    double worst = 0, total = 0, total_size = 1;
    std::vector<double> by_column(static_cast<size_t>(columns), 0), column_size(static_cast<size_t>(columns), 1);
    for (int64_t r = 0; r < rows; ++r) {
      double largest = -INFINITY, largest_size = 1;
      for (int64_t c = 0; c < columns; ++c) {
        const size_t i = static_cast<size_t>(r * columns + c), column = static_cast<size_t>(c);
        const double scale = 1 + sizes[i];
        double expected = sums[i];
        if (kind == 1) expected = std::fmax(0, expected + double(bias[c]));
        if (kind == 2) expected = double(out_before[i]) - expected;
        worst = std::fmax(worst, distance(out.at(r * columns + c), expected) / scale);
        largest = std::fmax(largest, sums[i]), largest_size = std::fmax(largest_size, sizes[i]);
        by_column[column] += expected, column_size[column] += scale, total += expected, total_size += scale;
      }
      if (kind == 1) worst = std::fmax(worst, distance(over_columns.at(r), largest) / largest_size);
    }
    if (kind == 1) {
      worst = std::fmax(worst, distance(over_both.at(0), total) / total_size);
      for (size_t c = 0; c < by_column.size(); ++c)
        worst = std::fmax(worst, distance(over_rows.at(static_cast<int64_t>(c)), by_column[c]) / column_size[c]);
    }
    CHECK(worst < 3e-6,
          "%s on %s, program %d: error %g; images %dx%dx%dx%d, filters %d, kernel %dx%d, stride %dx%d, padding %d %d "
          "%d %d, "
          "dilation %dx%d, groups %d",
          kernel_name(kernel), tier.c_str(), kind, worst, int(g.n), int(g.h), int(g.w), int(g.c), int(g.f), int(g.kh),
          int(g.kw), int(g.sh), int(g.sw), int(g.top), int(g.bottom), int(g.left), int(g.right), int(g.dh), int(g.dw),
          int(g.groups));
  }
}

void check_geometry(const Geometry& g) {
  if (!g.possible()) return;
  const Buffer x(g.n * g.h * g.w * g.c), w(g.kh * g.kw * g.c / g.groups * g.f), y(g.n * g.oh() * g.ow() * g.f);
  for (const KernelId kernel : {KernelId::conv2d, KernelId::conv2d_input_gradient, KernelId::conv2d_weight_gradient})
    check_direction(g, kernel, x, w, y, static_cast<int>(pick(0, 2)));
}

void convolutions(int rounds) {
  const Geometry chosen[] = {
      {128, 28, 28, 1, 32, 3, 3, 2, 2, 0, 1, 0, 1, 1, 1, 1}, // W2's first
      {8, 14, 14, 32, 64, 3, 3, 2, 2, 0, 1, 0, 1, 1, 1, 1},  // "same" of an even size
      {8, 28, 28, 32, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},   // one filter
      {4, 64, 64, 3, 32, 4, 4, 2, 2, 1, 1, 1, 1, 1, 1, 1},   // W3's first
      {16, 8, 8, 64, 64, 4, 4, 2, 2, 1, 1, 1, 1, 1, 1, 1},   // many filters
      {64, 4, 4, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},   // several images in a block
      {3, 13, 11, 48, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 48}, // depthwise
      {2, 15, 17, 20, 20, 5, 5, 2, 2, 2, 2, 2, 2, 1, 1, 20}, // depthwise, ragged, strided
      {2, 12, 12, 96, 96, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 3},  // groups of two vectors
      {2, 12, 12, 12, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 12}, // two filters per channel
      {5, 1, 40, 7, 5, 1, 5, 1, 2, 0, 0, 2, 2, 1, 1, 1},     // conv1d
      {2, 7, 7, 3, 4, 7, 7, 3, 3, 3, 3, 3, 3, 1, 1, 1},      // kernel as large as the image
      {3, 6, 6, 5, 7, 2, 2, 3, 3, 0, 0, 0, 0, 1, 1, 1},      // stride beyond the kernel: positions nobody reads
      {2, 9, 9, 16, 16, 3, 3, 1, 1, 4, 4, 4, 4, 4, 4, 1},    // dilation
      {2, 9, 10, 8, 16, 3, 3, 2, 3, 2, 2, 3, 3, 3, 2, 2},    // dilation, stride and groups
      {1, 300, 3, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},    // many rows
      {1, 3, 300, 4, 4, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},    // long rows
      {2, 5, 5, 4, 8, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},      // pointwise
      {2, 9, 9, 4, 8, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1, 1},      // pointwise, strided
      {1, 2, 2, 3, 4, 2, 2, 1, 1, 6, 5, 7, 6, 1, 1, 1},      // more zeros than image
      {40, 1, 1, 30, 50, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},   // a matrix product
      {7, 10, 10, 64, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},   // three filters
      {7, 10, 10, 64, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},   // five
      {2, 10, 10, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},    // three to three
      {4, 20, 20, 1, 1, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1, 1},    // one to one
      {2, 16, 16, 600, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1}, // many channels
      {2, 7, 7, 300, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},    // many to few
      {1, 9, 9, 512, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},    // many to one
      {11, 10, 10, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},   // a last block of fewer images
  };
  for (const Geometry& g : chosen) check_geometry(g);
  for (int round = 0; round < rounds; ++round) {
    Geometry g{};
    const int64_t sizes[] = {1, 2, 3, 5, 7, 16, 20, 33, 64};
    g.groups = pick(0, 2) ? 1 : pick(2, 6);
    g.c = g.groups * (g.groups == 1 ? sizes[pick(0, 8)] : pick(0, 1) ? 1 : pick(1, 20));
    g.f = g.groups * (g.groups == 1 ? sizes[pick(0, 8)] : pick(0, 1) ? 1 : pick(1, 20));
    g.n = pick(1, pick(0, 3) ? 3 : 40);
    g.h = pick(1, 16), g.w = pick(1, pick(0, 5) ? 16 : 70);
    g.kh = pick(1, 5), g.kw = pick(1, pick(0, 3) ? 5 : 7), g.sh = pick(1, 3), g.sw = pick(1, 3);
    g.dh = pick(0, 2) ? 1 : pick(1, 3), g.dw = pick(0, 2) ? 1 : pick(1, 3);
    g.top = pick(0, g.kh), g.bottom = pick(0, g.kh), g.left = pick(0, g.kw), g.right = pick(0, g.kw);
    check_geometry(g);
  }
}

// ---- small kernels ----

void check_on_all(const ResolvedStep& step, const Buffer& out, const std::vector<double>& expected, double tolerance,
                  const char* what) {
  for (const std::string& tier : cpu_available_tiers())
    for (int threads = 1; threads <= 3; threads += 2) {
      run_step(step, tier, threads);
      double worst = 0;
      for (int64_t i = 0; i < out.elements; ++i) {
        const double y = expected[static_cast<size_t>(i)];
        const double error = distance(double(out[i]), y);
        if (error > 0) worst = std::fmax(worst, std::isfinite(y) ? error / (1 + std::fabs(y)) : INFINITY);
      }
      CHECK(worst <= tolerance, "%s on %s: error %g", what, tier.c_str(), worst);
    }
}

void folds() {
  for (int round = 0; round < 60; ++round) {
    Geometry g{pick(1, 4), pick(1, 12), pick(1, 12), 0,          0,          pick(1, 4), pick(1, 4), pick(1, 3),
               pick(1, 3), pick(0, 2),  pick(0, 2),  pick(0, 2), pick(0, 2), pick(1, 2), pick(1, 2), 1};
    g.c = g.f = pick(1, 40);
    if (!g.possible()) continue;
    const int64_t windows = g.n * g.oh() * g.ow(), taps = g.kh * g.kw;
    const Buffer in(windows * taps * g.c), out(g.n * g.h * g.w * g.c);
    std::vector<double> expected(static_cast<size_t>(out.elements), 0);
    Geometry depthwise = g;
    depthwise.groups = g.c;
    for_each_product(depthwise, [&](int64_t i, int64_t j, int64_t k) {
      expected[static_cast<size_t>(i)] += double(in[(k / g.c * taps + j / g.c) * g.c + k % g.c]);
    });
    ResolvedStep step = make_step(KernelId::fold, g.n, g.h * g.w, g.c);
    add_operand(step, in, 0, 0);
    add_operand(step, out, g.c, 1);
    for (const int64_t a :
         {g.n, g.h, g.w, g.c, g.oh(), g.ow(), g.f, g.kh, g.kw, g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.groups})
      step.attributes.push_back(static_cast<int32_t>(a));
    check_on_all(step, out, expected, 2e-6, "fold");
  }
}

void cumulative_sums() {
  for (const auto& shape :
       std::vector<std::vector<int64_t>>{{1, 1, 1}, {3, 5, 7}, {1, 1000, 1}, {2, 3, 200}, {100, 33, 1}, {1, 2, 64}})
    for (int mode = 0; mode < 4; ++mode) {
      const int64_t outer = shape[0], length = shape[1], inner = shape[2];
      const Buffer in(outer * length * inner), out(in.elements);
      std::vector<double> expected(static_cast<size_t>(in.elements));
      for (int64_t o = 0; o < outer; ++o)
        for (int64_t j = 0; j < inner; ++j) {
          double sum = 0;
          for (int64_t i = 0; i < length; ++i) {
            const int64_t at = (o * length + (mode & 1 ? length - 1 - i : i)) * inner + j;
            expected[static_cast<size_t>(at)] = mode & 2 ? sum : sum + double(in[at]);
            sum += double(in[at]);
          }
        }
      ResolvedStep step = make_step(KernelId::cumulative_sum, outer, length, inner);
      step.attributes = {mode & 1, mode >> 1};
      add_operand(step, in, inner, 1);
      add_operand(step, out, inner, 1);
      check_on_all(step, out, expected, 1e-6, "cumulative_sum");
    }
}

void sorts() {
  for (const int64_t columns : {1, 2, 3, 17, 64, 1000})
    for (int mode = 0; mode < 4; ++mode) {
      const int64_t rows = 5;
      const Buffer in(rows * columns), out(in.elements);
      for (int64_t i = 0; i < in.elements; ++i) { // many ties, some NaN and infinities
        const int64_t kind = pick(0, 9);
        in[i] = kind == 0 ? NAN : kind == 1 ? INFINITY : static_cast<float>(pick(-5, 5));
      }
      const bool descending = mode & 1, indices = mode >> 1;
      std::vector<double> expected;
      for (int64_t r = 0; r < rows; ++r) {
        std::vector<int64_t> order(static_cast<size_t>(columns));
        std::iota(order.begin(), order.end(), r * columns);
        std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { // NaN is larger than any number
          if (descending) std::swap(a, b);
          return in[b] != in[b] ? in[a] == in[a] : in[a] < in[b];
        });
        for (const int64_t i : order) {
          float value = in[i];
          const int32_t position = static_cast<int32_t>(i - r * columns);
          if (indices) std::memcpy(&value, &position, sizeof value);
          expected.push_back(double(value));
        }
      }
      ResolvedStep step = make_step(KernelId::sort, 1, rows, columns);
      step.attributes = {descending, indices};
      add_operand(step, in, columns, 1);
      add_operand(step, out, columns, 1, indices ? DType::int32 : DType::float32);
      check_on_all(step, out, expected, 0, "sort");
    }
}

void factorizations() {
  for (const int64_t n : {1, 2, 5, 20, 33})
    for (const int64_t batch : {1, 7}) {
      const Buffer a(batch * n * n), l(a.elements);
      std::vector<double> factor(static_cast<size_t>(a.elements), 0);
      for (int64_t b = 0; b < batch; ++b)
        for (int64_t i = 0; i < n; ++i)
          for (int64_t j = 0; j <= i; ++j)
            factor[static_cast<size_t>((b * n + i) * n + j)] =
                i == j ? 1 + std::fabs(double(normal())) : 0.3 * double(normal());
      for (int64_t b = 0; b < batch; ++b)
        for (int64_t i = 0; i < n; ++i)
          for (int64_t j = 0; j < n; ++j) {
            double sum = 0;
            for (int64_t k = 0; k < n; ++k)
              sum +=
                  factor[static_cast<size_t>((b * n + i) * n + k)] * factor[static_cast<size_t>((b * n + j) * n + k)];
            a[(b * n + i) * n + j] = j <= i ? static_cast<float>(sum) : NAN; // the upper triangle is not read
          }
      ResolvedStep step = make_step(KernelId::cholesky, batch, n, n);
      add_operand(step, a, n, 1);
      add_operand(step, l, n, 1);
      std::vector<double> expected = factor;
      if (batch > 1) { // one of them is not positive definite
        a[n * n + (n - 1) * (n + 1)] = -1;
        std::fill_n(expected.begin() + n * n, n * n, NAN);
      }
      check_on_all(step, l, expected, 1e-4, "cholesky");

      for (const int64_t m : {1, 3, 70})
        for (int transpose = 0; transpose < 2; ++transpose) {
          const Buffer lower(batch * n * n), b(batch * n * m), x(b.elements);
          std::vector<double> solution;
          for (int64_t i = 0; i < x.elements; ++i) solution.push_back(double(normal()));
          for (int64_t i = 0; i < lower.elements; ++i) {
            const int64_t row = i / n % n, column = i % n;
            lower[i] = column > row ? NAN : row == column ? 1 + std::fabs(normal()) : 0.2f * normal();
          }
          for (int64_t q = 0; q < batch; ++q)
            for (int64_t i = 0; i < n; ++i)
              for (int64_t j = 0; j < m; ++j) {
                double sum = 0;
                for (int64_t k = 0; k < n; ++k)
                  if (transpose ? k >= i : k <= i)
                    sum += double(lower[(q * n + (transpose ? k : i)) * n + (transpose ? i : k)]) *
                           solution[static_cast<size_t>((q * n + k) * m + j)];
                b[(q * n + i) * m + j] = static_cast<float>(sum);
              }
          ResolvedStep solve = make_step(KernelId::triangular_solve, batch, n, m);
          solve.attributes = {transpose};
          add_operand(solve, lower, n, 0);
          add_operand(solve, b, m, 1);
          add_operand(solve, x, m, 1);
          check_on_all(solve, x, solution, 1e-4, "triangular_solve");
        }
    }
}

} // namespace

int main(int count, char** arguments) { // an argument: how many random geometries
  convolutions(count > 1 ? std::atoi(arguments[1]) : 250);
  folds();
  cumulative_sums();
  sorts();
  factorizations();
  return report();
}
