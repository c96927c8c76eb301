// conv2d, conv2d_input_gradient and conv2d_weight_gradient: their geometry, and which kernels compute them.
#include <numeric>

#include "convolution_lowering.h"

namespace nodevae::cuda {

namespace {

[[noreturn]] void refuse(const ResolvedStep& step, const char* what, int64_t value, int64_t limit) {
  throw KernelError(std::string(kernel_name(step.kernel)) + " on CUDA: expected " + what + " below " +
                    std::to_string(limit) + ", received " + std::to_string(value) +
                    "; use smaller batches or images, or the CPU");
}

CorrelationAxis axis(bool forward, int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t pad,
                     int32_t dilation) {
  CorrelationAxis a{};
  a.kernel = kernel;
  a.pad = pad;
  a.dilation = dilation;
  if (forward) {
    a.source = in, a.destination = out;
    a.phases = a.stride = a.kernel_step = 1;
    a.source_step = stride;
    a.tap_step = dilation;
  } else {
    const int32_t common = std::gcd(stride, dilation);
    a.source = out, a.destination = in;
    a.phases = std::min(stride, in);
    a.stride = stride;
    a.source_step = 1;
    a.kernel_step = stride / common;
    a.tap_step = -(dilation / common);
  }
  a.destination_divisor = make_divisor(a.destination);
  a.stride_divisor = make_divisor(a.stride);
  if (forward)
    a.table[0] = {make_divisor(a.destination), make_divisor(kernel), -pad, 0};
  else
    for (int32_t phase = 0; phase < std::min(a.phases, kPhaseTable); ++phase) a.table[phase] = gradient_phase(a, phase);
  return a;
}

} // namespace

ConvolutionShape::ConvolutionShape(const ResolvedStep& step) {
  int32_t* const fields[] = {&images,   &height,          &width,          &channels,      &out_height,   &out_width,
                             &filters,  &kernel_height,   &kernel_width,   &stride_height, &stride_width, &pad_top,
                             &pad_left, &dilation_height, &dilation_width, &groups};
  if (step.attributes.size() != std::size(fields))
    throw KernelError(std::string(kernel_name(step.kernel)) + ": expected 16 attributes, received " +
                      std::to_string(step.attributes.size()));
  for (size_t i = 0; i < std::size(fields); ++i) *fields[i] = step.attributes[i];

  constexpr int64_t kPositions = int64_t{1} << 29, kElements = int64_t{1} << 31;
  const auto below = [&](const char* what, int64_t limit, std::initializer_list<int64_t> factors) {
    double product = 1;
    for (const int64_t factor : factors) product *= static_cast<double>(factor);
    if (product >= static_cast<double>(limit)) refuse(step, what, static_cast<int64_t>(std::min(product, 9e18)), limit);
  };
  const int64_t reach_height = int64_t{kernel_height} * dilation_height + pad_top + stride_height;
  const int64_t reach_width = int64_t{kernel_width} * dilation_width + pad_left + stride_width;
  below("the extent of an image with its padding", kPositions, {height + reach_height});
  below("the extent of an image with its padding", kPositions, {width + reach_width});
  below("pixels of all images", kElements, {images, height, width});
  below("pixels of all outputs", kElements, {images, out_height, out_width});
  // Offsets within one image, from its halo on.
  below("elements of one image with its padding", kElements, {height + reach_height, width + reach_width, channels});
  below("elements of one output with its padding", kElements,
        {out_height + reach_height, out_width + reach_width, filters});
  below("elements of all weights", kElements, {kernel_height, kernel_width, channels / groups, filters});
}

CorrelationArguments correlation_arguments(const ResolvedStep& step, const ConvolutionShape& s) {
  const bool forward = step.kernel == KernelId::conv2d;
  CorrelationArguments c{};
  c.source = reinterpret_cast<uint64_t>(step.operands[0].data);
  c.weights = reinterpret_cast<uint64_t>(step.operands[1].data);
  c.rows = axis(forward, s.height, s.out_height, s.kernel_height, s.stride_height, s.pad_top, s.dilation_height);
  c.columns = axis(forward, s.width, s.out_width, s.kernel_width, s.stride_width, s.pad_left, s.dilation_width);
  c.images = s.images;
  c.groups = s.groups;
  c.in = forward ? s.group_channels() : s.group_filters();
  c.out = forward ? s.group_filters() : s.group_channels();
  c.in_divisor = make_divisor(c.in);
  c.weight_position = s.group_channels() * s.filters;
  c.weight_in = forward ? s.filters : 1;
  c.weight_out = forward ? 1 : s.filters;
  c.weight_group = s.group_filters();
  const int32_t channels = c.in * c.groups;
  c.tap_row = c.rows.tap_step * c.columns.source * channels;
  c.tap_column = c.columns.tap_step * channels;
  c.weight_tap_row = c.rows.kernel_step * c.columns.kernel * c.weight_position;
  c.weight_tap_column = c.columns.kernel_step * c.weight_position;
  return c;
}

WeightGradientArguments weight_gradient_arguments(const ResolvedStep& step, const ConvolutionShape& s) {
  WeightGradientArguments c{};
  c.image = reinterpret_cast<uint64_t>(step.operands[0].data);
  c.gradient = reinterpret_cast<uint64_t>(step.operands[1].data);
  c.rows = axis(true, s.height, s.out_height, s.kernel_height, s.stride_height, s.pad_top, s.dilation_height);
  c.columns = axis(true, s.width, s.out_width, s.kernel_width, s.stride_width, s.pad_left, s.dilation_width);
  c.images = s.images;
  c.groups = s.groups;
  c.channels = s.group_channels();
  c.filters = s.group_filters();
  c.channels_divisor = make_divisor(c.channels);
  c.kernel_columns_divisor = make_divisor(s.kernel_width);
  c.pixels_divisor = make_divisor(s.out_height * s.out_width);
  c.columns_divisor = make_divisor(s.out_width);
  return c;
}

PhaseExtent phase_extent(const CorrelationArguments& c) {
  const AxisPhase rows = axis_phase(c.rows, 0), columns = axis_phase(c.columns, 0); // no phase has more pixels
  const auto most_taps = [](const CorrelationAxis& axis) { return (axis.kernel - 1) / axis.kernel_step + 1; };
  return {c.rows.phases * c.columns.phases, c.images * rows.positions.divisor * columns.positions.divisor,
          most_taps(c.rows) * most_taps(c.columns) * c.in, c.images * c.rows.destination * c.columns.destination};
}

bool reads_vectors(const ResolvedOperand& operand, int32_t group_channels) {
  return group_channels % 4 == 0 && reinterpret_cast<uint64_t>(operand.data) % 16 == 0;
}

std::unique_ptr<LoweredStep> lower_convolution(const ResolvedStep& step, const Target& target) {
  const ConvolutionShape shape(step);
  const bool weights = step.kernel == KernelId::conv2d_weight_gradient;
  if (auto direct = (weights ? lower_direct_weights : lower_direct_correlation)(step, shape, target)) return direct;
  return (weights ? lower_weights_product : lower_correlation_product)(step, shape, target);
}

} // namespace nodevae::cuda
