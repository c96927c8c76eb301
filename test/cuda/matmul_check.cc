// Checks matmul on CUDA against sums in double precision of operands rounded as the precision says, for all shapes of
// tiles, kinds of strides and parts of the depth. Nothing may be written beside the outputs.
// Usage: matmul_check [folder for the PTX of all kernels]; the driver is the system's, or the one that
// NODE_VAE_CUDA_DRIVER names. Prints a hash of all results, which no order of the blocks may change.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "product_check.h"

using namespace nodevae;
using namespace nodevae::cuda;

namespace {

// A strided array of floats, in memory of both sides.
struct Array {
  int64_t strides[kDims] = {};
  int64_t shift = 0, elements = 0;
  std::vector<float> host;
  uint64_t device = 0;

  // Dimensions from the innermost to the outermost, each with a gap of `gap` elements; those that are left out, and
  // those of `broadcast`, have stride 0.
  void lay_out(const int64_t* extent, std::initializer_list<int> inner_to_outer, int64_t gap, int broadcast) {
    elements = 1;
    for (int d : inner_to_outer) {
      if (broadcast >> d & 1) continue;
      strides[d] = elements;
      elements = elements * extent[d] + (elements > 1 || extent[d] > 1 ? gap : 0);
    }
    host.assign(static_cast<size_t>(elements + shift + 2 * kMargin), kMark);
  }
  float& at(int64_t offset) { return host[static_cast<size_t>(kMargin + shift + offset)]; }
  void fill() {
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < elements; ++i) at(i) = normal(generator);
  }
  int64_t offset(const int64_t* index) const {
    int64_t sum = 0;
    for (int d = 0; d < kDims; ++d) sum += index[d] * strides[d];
    return sum;
  }
  ResolvedOperand operand() const {
    ResolvedOperand o{};
    o.data = reinterpret_cast<void*>(device + static_cast<uint64_t>(kMargin + shift) * 4);
    o.dtype = DType::float32;
    std::copy(strides, strides + kDims, o.strides);
    o.elements_left = elements;
    return o;
  }
};

enum class Epilogue { store, bias_relu, column_sum, row_sum, total, count };

struct Case {
  int64_t m, n, k;
  std::vector<int64_t> batch = {1, 1, 1, 1};
  bool transpose_a = false, transpose_b = false;
  int64_t gap = 0, shift = 0;
  int broadcast_a = 0, broadcast_b = 0; // bits of batch dimensions
  Epilogue epilogue = Epilogue::store;
};

std::string describe(const Case& c, const Target& target, const std::string& entry) {
  return entry + " " + std::to_string(c.m) + "x" + std::to_string(c.n) + "x" + std::to_string(c.k) + " batch " +
         std::to_string(c.batch[0] * c.batch[1] * c.batch[2] * c.batch[3]) + (c.transpose_a ? " A'" : "") +
         (c.transpose_b ? " B'" : "") + " gap " + std::to_string(c.gap) + " shift " + std::to_string(c.shift) +
         " epilogue " + std::to_string(static_cast<int>(c.epilogue)) + " multiprocessors " +
         std::to_string(target.multiprocessors);
}

void compare(const Case& c, const Target& target, const std::string& entry, const char* what, Array& array,
             const std::vector<double>& wanted, const std::vector<int64_t>& offsets, double scale) {
  double worst = 0;
  std::vector<char> expected(array.host.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    const double got = array.at(offsets[i]);
    const double error = std::fabs(got - wanted[i]);
    worst = error <= worst ? worst : error; // a NaN stays
    expected[static_cast<size_t>(kMargin + array.shift + offsets[i])] = 1;
  }
  CHECK(worst <= 4e-6 * scale, "%s: %s differs by %g of a scale of %g", describe(c, target, entry).c_str(), what, worst,
        scale);
  size_t beside = 0; // elements outside of it that were written
  for (size_t i = 0; i < array.host.size(); ++i) {
    add_to_hash(array.host[i]);
    beside += !expected[i] && array.host[i] != kMark;
  }
  CHECK(beside == 0, "%s: wrote %s at %zu places outside of it", describe(c, target, entry).c_str(), what, beside);
}

void run(Gpu& gpu, const Case& c, const Target& target) {
  const int64_t space[kDims] = {c.batch[0], c.batch[1], c.batch[2], c.batch[3], c.m, c.n};
  const int64_t a_extent[kDims] = {c.batch[0], c.batch[1], c.batch[2], c.batch[3], c.m, c.k};
  const int64_t b_extent[kDims] = {c.batch[0], c.batch[1], c.batch[2], c.batch[3], c.k, c.n};
  // `reduced` takes the reduction, or gives the bias.
  Array a, b, out, reduced;
  for (Array* array : {&a, &b, &out, &reduced}) array->shift = c.shift;
  if (c.transpose_a)
    a.lay_out(a_extent, {kRows, kColumns, 3, 2, 1, 0}, c.gap, c.broadcast_a);
  else
    a.lay_out(a_extent, {kColumns, kRows, 3, 2, 1, 0}, c.gap, c.broadcast_a);
  if (c.transpose_b)
    b.lay_out(b_extent, {kRows, kColumns, 3, 2, 1, 0}, c.gap, c.broadcast_b);
  else
    b.lay_out(b_extent, {kColumns, kRows, 3, 2, 1, 0}, c.gap, c.broadcast_b);
  out.lay_out(space, {kColumns, kRows, 3, 2, 1, 0}, 0, 0);
  switch (c.epilogue) {
  case Epilogue::row_sum:
    reduced.lay_out(space, {kRows, 3, 2, 1, 0}, 0, 1 << kColumns);
    break;
  case Epilogue::total:
    reduced.lay_out(space, {3, 2, 1, 0}, 0, 1 << kColumns | 1 << kRows);
    break;
  case Epilogue::bias_relu:
    reduced.lay_out(space, {kColumns}, 0, 0);
    break;
  default:
    reduced.lay_out(space, {kColumns, 3, 2, 1, 0}, 0, 1 << kRows);
    break;
  }
  a.fill();
  b.fill();
  if (c.epilogue == Epilogue::bias_relu) reduced.fill();

  for (Array* array : {&a, &b, &out, &reduced}) {
    array->device = gpu.allocate(array->host.size() * 4);
    gpu.upload(array->device, array->host.data(), array->host.size() * 4);
  }

  ResolvedStep step{};
  step.kernel = KernelId::matmul;
  std::copy(space, space + kDims, step.space);
  step.attributes = {static_cast<int32_t>(c.k), static_cast<int32_t>(a.strides[kColumns]),
                     static_cast<int32_t>(b.strides[kRows])};
  ResolvedOperand operand_a = a.operand(), operand_b = b.operand();
  operand_a.strides[kColumns] = 0;
  operand_b.strides[kRows] = 0;
  step.operands = {operand_a, operand_b, out.operand(), reduced.operand()};
  step.program = {{Opcode::accumulator, 0, 0, 0}};
  if (c.epilogue == Epilogue::bias_relu) {
    step.program.push_back({Opcode::load, 3, 0, 0});
    step.program.push_back({Opcode::add_relu, 0, 1, 0});
    step.program.push_back({Opcode::store, 2, 2, 0});
  } else {
    step.program.push_back({Opcode::store, 0, 2, 0});
    if (c.epilogue != Epilogue::store) {
      const int axes = c.epilogue == Epilogue::column_sum ? 1 : c.epilogue == Epilogue::row_sum ? 2 : 3;
      step.program.push_back({Opcode::reduce_sum, 0, 3, axes});
    }
  }

  const auto lowered = lower_matmul(step, target);
  Addresses addresses;
  const size_t scratch = std::max<size_t>(lowered->scratch_bytes(), 4), tickets = lowered->tickets();
  addresses.scratch = gpu.allocate(scratch);
  addresses.tickets = gpu.allocate(4 * tickets + 4);
  std::vector<uint32_t> counts(tickets + 1);
  gpu.upload(addresses.tickets, counts.data(), counts.size() * 4);
  std::string entry = "(no launch)";
  for (const Launch& launch : lowered->launches(addresses)) {
    modules.insert(launch.module);
    entry = name_of(launch);
    entries.insert(launch.entry);
    gpu.launch(launch);
  }
  gpu.download(out.host.data(), out.device, out.host.size() * 4);
  gpu.download(reduced.host.data(), reduced.device, reduced.host.size() * 4);
  gpu.download(counts.data(), addresses.tickets, counts.size() * 4);
  CHECK(std::all_of(counts.begin(), counts.end(), [](uint32_t x) { return x == 0; }), "%s: tickets are left",
        describe(c, target, entry).c_str());

  std::vector<double> wanted, sums;
  std::vector<int64_t> offsets, sum_offsets;
  if (c.epilogue >= Epilogue::column_sum) {
    sums.assign(static_cast<size_t>(reduced.elements), 0);
    for (int64_t i = 0; i < reduced.elements; ++i) sum_offsets.push_back(i);
  }
  int64_t i[kDims];
  for (i[0] = 0; i[0] < space[0]; ++i[0])
    for (i[1] = 0; i[1] < space[1]; ++i[1])
      for (i[2] = 0; i[2] < space[2]; ++i[2])
        for (i[3] = 0; i[3] < space[3]; ++i[3])
          for (i[4] = 0; i[4] < space[4]; ++i[4])
            for (i[5] = 0; i[5] < space[5]; ++i[5]) {
              const int64_t first_a = operand_a.strides[kRows] * i[4], first_b = operand_b.strides[kColumns] * i[5];
              int64_t batch_a = 0, batch_b = 0;
              for (int d = 0; d < kOuter; ++d) batch_a += a.strides[d] * i[d], batch_b += b.strides[d] * i[d];
              double sum = 0;
              for (int64_t k = 0; k < c.k; ++k)
                sum +=
                    static_cast<double>(round_to(target.precision, a.at(batch_a + first_a + k * a.strides[kColumns]))) *
                    round_to(target.precision, b.at(batch_b + first_b + k * b.strides[kRows]));
              if (c.epilogue == Epilogue::bias_relu) sum = std::max(0.0, sum + reduced.at(i[5]));
              wanted.push_back(sum);
              offsets.push_back(out.offset(i));
              if (!sums.empty()) sums[static_cast<size_t>(reduced.offset(i))] += sum;
            }
  // The errors of a sum grow with its addends, though these cancel.
  double scale = 1, squares = 1;
  for (double x : wanted) scale = std::max(scale, std::fabs(x)), squares += x * x;
  compare(c, target, entry, "the product", out, wanted, offsets, scale);
  if (!sums.empty())
    compare(c, target, entry, "its sum", reduced, sums, sum_offsets,
            std::sqrt(squares / static_cast<double>(sums.size())));
  for (uint64_t address : {a.device, b.device, out.device, reduced.device, addresses.scratch, addresses.tickets})
    gpu.release(address);
}

std::vector<Case> make_cases() {
  std::vector<Case> cases;
  // All forms of strides at extents of whole vectors and of none, small and beyond one tile.
  for (const auto& [m, n, k] : std::vector<std::array<int64_t, 3>>{
           {1, 1, 1}, {16, 8, 16}, {3, 5, 7}, {64, 64, 64}, {128, 128, 24}, {130, 67, 33}, {129, 132, 40}})
    for (int form = 0; form < 4; ++form)
      for (int64_t variant = 0; variant < 3; ++variant) {
        Case c{m, n, k};
        c.transpose_a = form & 1;
        c.transpose_b = form & 2;
        c.gap = variant == 1 ? 3 : variant == 2 ? 4 : 0;
        c.shift = variant == 1 ? 1 : 0;
        c.epilogue = static_cast<Epilogue>(cases.size() % static_cast<size_t>(Epilogue::count));
        cases.push_back(c);
      }
  // Thin ones, deep ones (in parts), and none at all.
  for (const auto& [m, n, k] : std::vector<std::array<int64_t, 3>>{{1, 300, 50},
                                                                   {300, 1, 50},
                                                                   {20, 200, 64},
                                                                   {200, 20, 64},
                                                                   {31, 33, 1},
                                                                   {5, 9, 1000},
                                                                   {64, 64, 2000},
                                                                   {100, 30, 777},
                                                                   {17, 260, 515},
                                                                   {70, 70, 0},
                                                                   {5, 5, 0},
                                                                   {0, 7, 3},
                                                                   {7, 0, 3},
                                                                   {260, 140, 20}})
    for (Epilogue epilogue : {Epilogue::store, Epilogue::column_sum, Epilogue::row_sum, Epilogue::total}) {
      Case c{m, n, k};
      c.transpose_a = pick(0, 1);
      c.transpose_b = pick(0, 1);
      c.epilogue = epilogue;
      cases.push_back(c);
    }
  cases.push_back({20, 201, 64});
  cases.push_back({256, 384, 40});
  cases.back().transpose_a = true;
  for (const auto& batch : std::vector<std::vector<int64_t>>{{1, 1, 1, 3}, {2, 1, 3, 2}, {1, 5, 1, 1}})
    for (int broadcast = 0; broadcast < 4; ++broadcast)
      for (int64_t size : {6, 40}) {
        Case c{size, size + 4, size + 2};
        c.batch = batch;
        c.broadcast_a = broadcast & 1 ? 1 << 3 | 1 << 1 : 0;
        c.broadcast_b = broadcast & 2 ? 1 << 0 | 1 << 3 : 0;
        c.transpose_b = size == 40;
        c.epilogue = broadcast % 2 ? Epilogue::column_sum : Epilogue::bias_relu;
        cases.push_back(c);
      }
  for (int i = 0; i < 24; ++i) {
    Case c{pick(1, 200), pick(1, 200), pick(1, 150)};
    c.batch[3] = pick(1, 2);
    c.transpose_a = pick(0, 1);
    c.transpose_b = pick(0, 1);
    c.gap = pick(0, 2) * 2;
    c.shift = pick(0, 1) * pick(0, 3);
    c.epilogue = static_cast<Epilogue>(pick(0, static_cast<int64_t>(Epilogue::count) - 1));
    cases.push_back(c);
  }
  return cases;
}

} // namespace

int main(int argc, char** argv) {
  try {
    Gpu gpu;
    Target target = gpu.target();
    const std::vector<Case> cases = make_cases();
    for (Precision precision : {Precision::float32, Precision::tf32, Precision::bfloat16}) {
      if (precision != Precision::float32 && target.capability < 80) continue;
      target.precision = precision;
      // One multiprocessor prefers large tiles, many prefer small ones.
      for (const Case& c : cases)
        for (int multiprocessors : {1, 132}) {
          target.multiprocessors = multiprocessors;
          run(gpu, c, target);
        }
    }
    if (argc > 1) write_modules(argv[1]);
    return report_products();
  } catch (const std::exception& problem) {
    std::printf("%s\n", problem.what());
    return 1;
  }
}
