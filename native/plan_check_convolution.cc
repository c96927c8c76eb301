// Convolutions and fold: sixteen attributes from which all extents follow.
#include "plan_check_step.h"

namespace nodevae {

namespace {

// Tables and scratch of the kernels grow with these.
constexpr int64_t kMaxKernelPositions = int64_t{1} << 20;
constexpr int64_t kMaxPhases = int64_t{1} << 16; // remainders of positions modulo the strides
constexpr int64_t kMaxPadded = int64_t{1} << 34; // elements of one image with its padding

struct Direction {
  const char* name;
  int64_t in, out, kernel, stride, pad, dilation;
};

} // namespace

bool StepChecker::is_convolution(KernelId kernel) {
  return kernel == KernelId::conv2d || kernel == KernelId::conv2d_input_gradient ||
         kernel == KernelId::conv2d_weight_gradient;
}

// Each factor is at least 1.
int64_t StepChecker::product(std::initializer_list<int64_t> factors, int64_t most, const char* what) const {
  int64_t result = 1;
  for (const int64_t factor : factors) {
    if (factor > most / result) refuse(Text("too many ") + what);
    result *= factor;
  }
  return result;
}

StepChecker::ConvolutionExtents StepChecker::check_convolution_attributes() const {
  static constexpr const char* kNames[] = {
      "images",       "height", "width",  "channels", "output height", "output width", "filters",  "kernel height",
      "kernel width", "stride", "stride", "padding",  "padding",       "dilation",     "dilation", "groups"};
  constexpr size_t kFirstPad = 11, kLastPad = 12;
  expect_attributes(16);
  const std::vector<int32_t>& a = step_.attributes;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] < (i >= kFirstPad && i <= kLastPad ? 0 : 1)) refuse(Text(kNames[i]) + " is " + std::to_string(a[i]));
  if (a[3] % a[15] != 0 || a[6] % a[15] != 0)
    refuse(std::to_string(a[15]) + " groups do not divide " + std::to_string(a[3]) + " channels and " +
           std::to_string(a[6]) + " filters");

  if (a[3] > kMaxMatmulColumns || a[6] > kMaxMatmulColumns)
    refuse(std::to_string(a[3]) + " channels, " + std::to_string(a[6]) + " filters");

  const Direction directions[] = {{"height", a[1], a[4], a[7], a[9], a[11], a[13]},
                                  {"width", a[2], a[5], a[8], a[10], a[12], a[14]}};
  int64_t padded[2];
  for (int i = 0; i < 2; ++i) {
    // How much padding follows is not written down; at least none: a negative one would leave windows out.
    const Direction& d = directions[i];
    const int64_t span = (d.kernel - 1) * d.dilation + 1, room = d.in + d.pad - span;
    if (room >= 0 && d.out < room / d.stride + 1)
      refuse("an output " + Text(d.name) + " of " + std::to_string(d.out) + " leaves out windows; there are " +
             std::to_string(room / d.stride + 1));
    padded[i] = std::max(d.in + d.pad, (d.out - 1) * d.stride + span);
  }
  product({padded[0], padded[1], a[3]}, kMaxPadded, "elements of a padded image");
  product({a[7], a[8]}, kMaxKernelPositions, "kernel positions");
  product({std::min(a[9], a[1]), std::min(a[10], a[2])}, kMaxPhases, "phases of the stride");

  ConvolutionExtents e{};
  e.image = product({a[0], a[1], a[2], a[3]}, kMaxElements, "elements of the image");
  e.weights = product({a[7], a[8], a[3] / a[15], a[6]}, kMaxElements, "weights");
  e.output = product({a[0], a[4], a[5], a[6]}, kMaxElements, "elements of the output");
  product({e.output, a[7], a[8], a[3] / a[15]}, kMaxIterations, "products");
  return e;
}

void StepChecker::check_convolution() const {
  const ConvolutionExtents e = check_convolution_attributes();
  if (step_.operands.size() < 2) refuse("needs the two factors as operands");
  const bool to_input = step_.kernel == KernelId::conv2d_input_gradient;
  const bool to_weights = step_.kernel == KernelId::conv2d_weight_gradient;
  const int64_t columns = step_.attributes[to_input ? 3 : 6];
  const int64_t rows = (to_input ? e.image : to_weights ? e.weights : e.output) / columns;
  expect_outer_dimensions_of_one(kOuter);
  if (step_.space[kRows] != rows || step_.space[kColumns] != columns)
    refuse("the space must be " + std::to_string(rows) + " x " + std::to_string(columns));
  check_stretch(0, to_input ? e.output : e.image);
  check_stretch(1, to_weights ? e.output : e.weights);
  for (size_t i = 2; i < step_.operands.size(); ++i) check_view(i);
  check_program(2);
}

void StepChecker::check_fold() const {
  const ConvolutionExtents e = check_convolution_attributes();
  expect_counts(2, 16);
  expect_outer_dimensions_of_one(kOuter - 1);
  const std::vector<int32_t>& a = step_.attributes;
  if (a[15] != 1 || a[6] != a[3]) refuse("takes one group, and as many filters as channels");
  if (step_.space[kOuter - 1] != a[0] || step_.space[kRows] != int64_t{a[1]} * a[2] || step_.space[kColumns] != a[3])
    refuse("the space must be images x (height x width) x channels");
  check_stretch(0, product({e.output, a[7], a[8]}, kMaxElements, "elements of the windows"));
  check_dense_result(1, DType::float32);
}

} // namespace nodevae
