// Checks the three directions of convolution on CUDA against sums in double precision of operands rounded as the
// precision says: strides, dilations, groups, ragged channels, tiles of all shapes, with and without reductions.
// Nothing may be written beside the outputs, and no ticket may be left.
//
// Usage: convolution_check                  on the system's driver, or the one that NODE_VAE_CUDA_DRIVER names; prints
//                                           a hash of all results, which no order of the blocks may change
//        convolution_check <capability> <folder>   writes the PTX of all kernels, without a driver, for ptxas
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "convolution_cases.h"
#include "product_check.h"

using namespace nodevae;
using namespace nodevae::cuda;

namespace {

// Contiguous floats, on both sides, that begin `shift` elements behind a multiple of 16 bytes.
struct Array {
  int64_t count, shift;
  std::vector<float> host;
  uint64_t device = 0;

  Array(int64_t n, int64_t misaligned)
      : count(n), shift(misaligned), host(static_cast<size_t>(n + misaligned + 2 * kMargin), kMark) {
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < n; ++i) at(i) = normal(generator);
  }
  float& at(int64_t i) { return host[static_cast<size_t>(kMargin + shift + i)]; }
  double rounded(int64_t i, Precision precision) { return static_cast<double>(round_to(precision, at(i))); }
  size_t bytes() const { return host.size() * sizeof(float); }
  ResolvedOperand operand(int64_t row_stride, int64_t column_stride) const {
    ResolvedOperand o{};
    o.data = reinterpret_cast<void*>(device + static_cast<uint64_t>(kMargin + shift) * sizeof(float));
    o.dtype = DType::float32;
    o.strides[kRows] = row_stride;
    o.strides[kColumns] = column_stride;
    o.elements_left = count;
    return o;
  }
};

enum Kind { store, bias_and_reductions, in_place, column_sums, kinds };

void write_program(ResolvedStep& step, Kind kind) {
  const int sum = emit(step, Opcode::accumulator);
  if (kind == store) emit(step, Opcode::store, sum, 2);
  if (kind == in_place) emit(step, Opcode::store, emit(step, Opcode::subtract, emit(step, Opcode::load, 2), sum), 2);
  if (kind == column_sums) {
    emit(step, Opcode::store, sum, 2);
    emit(step, Opcode::reduce_sum, sum, 4, 1);
  }
  if (kind == bias_and_reductions) {
    const int value = emit(step, Opcode::add_relu, sum, emit(step, Opcode::load, 3));
    emit(step, Opcode::store, value, 2);
    emit(step, Opcode::reduce_sum, value, 4, 1);
    emit(step, Opcode::reduce_max, sum, 5, 2);
    emit(step, Opcode::reduce_sum, value, 6, 3);
  }
}

std::string describe(const Geometry& g, Kind kind, const Target& target, const std::string& entry) {
  char text[400];
  std::snprintf(
      text, sizeof text,
      "%s, program %d, %d multiprocessors; images %dx%dx%dx%d, filters %d, kernel %dx%d, stride %dx%d, padding "
      "%d %d %d %d, dilation %dx%d, groups %d",
      entry.c_str(), static_cast<int>(kind), target.multiprocessors, int(g.n), int(g.h), int(g.w), int(g.c), int(g.f),
      int(g.kh), int(g.kw), int(g.sh), int(g.sw), int(g.top), int(g.bottom), int(g.left), int(g.right), int(g.dh),
      int(g.dw), int(g.groups));
  return text;
}

// The largest error, in parts of the scale of each element; and nothing beside the array may have been written.
class Comparison {
public:
  void add(double got, double wanted, double scale) {
    const double error = std::fabs(got - wanted) / scale;
    worst = error <= worst ? worst : error == error ? error : INFINITY;
  }
  double worst = 0;
};

bool margins_are_whole(Array& array) {
  bool whole = true;
  for (int64_t i = 0; i < kMargin + array.shift; ++i) whole &= array.host[static_cast<size_t>(i)] == kMark;
  for (int64_t i = 0; i < kMargin; ++i) whole &= array.at(array.count + i) == kMark;
  return whole;
}

ResolvedStep make_step(const Geometry& g, KernelId kernel, Array* const (&arrays)[7]) {
  ResolvedStep step{};
  step.kernel = kernel;
  std::fill_n(step.space, kDims, 1);
  const int64_t columns = kernel == KernelId::conv2d_input_gradient ? g.c : g.f, rows = arrays[2]->count / columns;
  step.space[kRows] = rows, step.space[kColumns] = columns;
  for (const int64_t a :
       {g.n, g.h, g.w, g.c, g.oh(), g.ow(), g.f, g.kh, g.kw, g.sh, g.sw, g.top, g.left, g.dh, g.dw, g.groups})
    step.attributes.push_back(static_cast<int32_t>(a));
  const int64_t strides[7][2] = {{0, 0}, {0, 0}, {columns, 1}, {0, 1}, {0, 1}, {1, 0}, {0, 0}};
  for (int i = 0; i < 7; ++i) step.operands.push_back(arrays[i]->operand(strides[i][0], strides[i][1]));
  return step;
}

void check_direction(Gpu* gpu, const Target& target, const Geometry& g, KernelId kernel, Kind kind, int64_t shift) {
  Array x(g.n * g.h * g.w * g.c, shift), w(g.kh * g.kw * g.c / g.groups * g.f, shift),
      y(g.n * g.oh() * g.ow() * g.f, shift);
  const bool forward = kernel == KernelId::conv2d, to_input = kernel == KernelId::conv2d_input_gradient;
  Array& first = to_input ? y : x;
  Array& second = forward || to_input ? w : y;
  Array& out = forward ? y : to_input ? x : w;
  const int64_t columns = to_input ? g.c : g.f, rows = out.count / columns;
  Array bias(columns, 0), over_rows(columns, 0), over_columns(rows, 0), over_both(1, 0);
  const Array before = out;
  Array* const arrays[7] = {&first, &second, &out, &bias, &over_rows, &over_columns, &over_both};
  if (gpu == nullptr) {
    for (uint64_t i = 0; i < 7; ++i) arrays[i]->device = (i + 1) << 32;
  } else {
    for (Array* array : arrays) {
      array->device = gpu->allocate(array->bytes());
      gpu->upload(array->device, array->host.data(), array->bytes());
    }
  }
  ResolvedStep step = make_step(g, kernel, arrays);
  write_program(step, kind);
  const auto lowered = lower_convolution(step, target);
  Addresses addresses;
  if (gpu == nullptr) {
    for (const Launch& launch : lowered->launches(addresses))
      modules.insert(launch.module), entries.insert(launch.entry);
    return;
  }
  const size_t tickets = lowered->tickets();
  std::vector<uint32_t> counts(tickets + 1);
  addresses.scratch = gpu->allocate(std::max<size_t>(lowered->scratch_bytes(), 4));
  addresses.tickets = gpu->allocate(counts.size() * 4);
  gpu->upload(addresses.tickets, counts.data(), counts.size() * 4);
  // A guarded step that is halted writes nothing.
  RunState state{};
  state.halted = 1;
  addresses.state = gpu->allocate(sizeof state);
  addresses.guarded = true;
  gpu->upload(addresses.state, &state, sizeof state);
  for (const Launch& launch : lowered->launches(addresses)) gpu->launch(launch);
  for (Array* array : arrays) {
    const std::vector<float> uploaded = array->host;
    gpu->download(array->host.data(), array->device, array->bytes());
    CHECK(uploaded == array->host, "%s: a halted step has written", kernel_name(kernel));
  }
  state.halted = 0;
  gpu->upload(addresses.state, &state, sizeof state);
  std::string entry;
  for (const Launch& launch : lowered->launches(addresses)) {
    modules.insert(launch.module);
    entries.insert(launch.entry + (launch.grid[1] > 1 ? " in parts" : ""));
    entry = name_of(launch);
    gpu->launch(launch);
  }
  const std::string text = describe(g, kind, target, entry);
  for (Array* array : arrays) {
    gpu->download(array->host.data(), array->device, array->bytes());
    CHECK(margins_are_whole(*array), "%s: written outside of an array", text.c_str());
    for (const float value : array->host) add_to_hash(value);
    gpu->release(array->device);
  }
  gpu->download(counts.data(), addresses.tickets, counts.size() * 4);
  CHECK(std::all_of(counts.begin(), counts.end(), [](uint32_t n) { return n == 0; }), "%s: tickets are left",
        text.c_str());
  gpu->release(addresses.state);
  gpu->release(addresses.scratch);
  gpu->release(addresses.tickets);

  // Direct kernels do not round.
  const bool direct = entry.find("narrow") != std::string::npos || entry.find("grouped") != std::string::npos;
  const Precision precision = direct ? Precision::float32 : target.precision;
  std::vector<double> sums(static_cast<size_t>(out.count)), sizes(sums.size());
  for_each_product(g, [&](int64_t i, int64_t j, int64_t k) {
    const double product = forward    ? x.rounded(i, precision) * w.rounded(j, precision)
                           : to_input ? y.rounded(k, precision) * w.rounded(j, precision)
                                      : x.rounded(i, precision) * y.rounded(k, precision);
    const size_t at = static_cast<size_t>(forward ? k : to_input ? i : j);
    sums[at] += product, sizes[at] += std::fabs(product);
  });
  Comparison result, by_rows, by_columns, by_both;
  std::vector<double> column_sums_wanted(static_cast<size_t>(columns)), column_sizes(column_sums_wanted.size(), 1);
  double total = 0, total_size = 1;
  Array previous = before;
  for (int64_t r = 0; r < rows; ++r) {
    double largest = -INFINITY, largest_size = 1;
    for (int64_t c = 0; c < columns; ++c) {
      const size_t i = static_cast<size_t>(r * columns + c), column = static_cast<size_t>(c);
      double expected = sums[i];
      if (kind == bias_and_reductions) expected = std::max(0.0, expected + static_cast<double>(bias.at(c)));
      if (kind == in_place) expected = static_cast<double>(previous.at(r * columns + c)) - expected;
      result.add(static_cast<double>(out.at(r * columns + c)), expected, 1 + sizes[i]);
      largest = std::max(largest, sums[i]), largest_size = std::max(largest_size, 1 + sizes[i]);
      column_sums_wanted[column] += expected, column_sizes[column] += 1 + sizes[i];
      total += expected, total_size += 1 + sizes[i];
    }
    by_columns.add(static_cast<double>(over_columns.at(r)), largest, largest_size);
  }
  for (int64_t c = 0; c < columns; ++c)
    by_rows.add(static_cast<double>(over_rows.at(c)), column_sums_wanted[static_cast<size_t>(c)],
                column_sizes[static_cast<size_t>(c)]);
  by_both.add(static_cast<double>(over_both.at(0)), total, total_size);
  const double tolerance = 3e-6;
  CHECK(result.worst < tolerance, "%s: error %g", text.c_str(), result.worst);
  if (kind == column_sums || kind == bias_and_reductions)
    CHECK(by_rows.worst < tolerance, "%s: sums over rows, error %g", text.c_str(), by_rows.worst);
  if (kind == bias_and_reductions) {
    CHECK(by_columns.worst < tolerance, "%s: maxima over columns, error %g", text.c_str(), by_columns.worst);
    CHECK(by_both.worst < tolerance, "%s: sum of all, error %g", text.c_str(), by_both.worst);
  }
}

void check_all(Gpu* gpu, Target target) {
  const std::vector<Geometry> geometries = make_geometries(60);
  for (const Precision precision : {Precision::float32, Precision::tf32, Precision::bfloat16}) {
    if (precision != Precision::float32 && target.capability < 80) continue;
    target.precision = precision;
    int number = 0;
    for (const Geometry& g : geometries)
      for (const KernelId kernel :
           {KernelId::conv2d, KernelId::conv2d_input_gradient, KernelId::conv2d_weight_gradient}) {
        // One multiprocessor prefers large tiles, many prefer small ones.
        const bool both = g.c * g.f > 4096;
        for (int choice = both ? 0 : number % 2; choice < (both ? 2 : number % 2 + 1); ++choice) {
          target.multiprocessors = choice == 0 ? 132 : 1;
          const int64_t shift = number % 7 == 6 ? 1 : 0;
          check_direction(gpu, target, g, kernel, static_cast<Kind>(pick(0, kinds - 1)), shift);
        }
        ++number;
      }
  }
}

} // namespace

int main(int count, char** arguments) {
  try {
    if (count > 2) {
      Target target;
      target.capability = std::atoi(arguments[1]);
      check_all(nullptr, target);
      for (const std::string& entry : entries) std::printf("%s\n", entry.c_str());
      std::printf("%d modules\n", write_modules(arguments[2]));
      return 0;
    }
    Gpu gpu;
    check_all(&gpu, gpu.target());
    return report_products();
  } catch (const std::exception& problem) {
    std::printf("%s\n", problem.what());
    return 1;
  }
}
