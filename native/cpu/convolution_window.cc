// Positions, phases and zero halos: the geometry of convolution.h.
#include "convolution.h"

#include <cstring>

namespace nodevae {

namespace {

constexpr int64_t kBlockElements = 1 << 18; // of several images together: what the second-level cache can hold

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

} // namespace

ConvolutionShape::ConvolutionShape(const std::vector<int32_t>& a)
    : images(a[0]), height(a[1]), width(a[2]), channels(a[3]), out_height(a[4]), out_width(a[5]), filters(a[6]),
      kernel_height(a[7]), kernel_width(a[8]), stride_height(a[9]), stride_width(a[10]), pad_top(a[11]),
      pad_left(a[12]), dilation_height(a[13]), dilation_width(a[14]), groups(a[15]) {}

Correlation::Correlation(const ResolvedStep& step)
    : shape(step.attributes), forward(step.kernel == KernelId::conv2d),
      source(static_cast<const float*>(step.operands[0].data)),
      weights(static_cast<const float*>(step.operands[1].data)),
      in(forward ? shape.group_channels() : shape.group_filters()),
      out(forward ? shape.group_filters() : shape.group_channels()), groups(shape.groups) {}

Axis Correlation::rows() const {
  const ConvolutionShape& s = shape;
  return (forward ? Axis::convolution : Axis::input_gradient)(s.height, s.out_height, s.kernel_height, s.stride_height,
                                                              s.pad_top, s.dilation_height);
}

Axis Correlation::columns() const {
  const ConvolutionShape& s = shape;
  return (forward ? Axis::convolution : Axis::input_gradient)(s.width, s.out_width, s.kernel_width, s.stride_width,
                                                              s.pad_left, s.dilation_width);
}

// Output o reads input o * stride - pad + k * dilation.
Axis Axis::convolution(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
  Axis axis{in, out, 1, stride, {}};
  axis.phases.resize(1);
  for (int64_t k = 0; k < kernel; ++k) axis.phases[0].push_back({k, k * dilation - pad});
  axis.find_range();
  return axis;
}

// The same relation solved for o: input phase + index * stride is read by the outputs
// index + (phase + pad - k * dilation) / stride for those k where the division leaves no rest.
Axis Axis::input_gradient(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
  Axis axis{out, in, stride, 1, {}};
  axis.phases.resize(static_cast<size_t>(std::min(stride, in)));
  for (int64_t k = kernel - 1; k >= 0; --k) {
    const int64_t shift = pad - k * dilation;
    const int64_t phase = ((-shift) % stride + stride) % stride;
    if (phase < in) axis.phases[static_cast<size_t>(phase)].push_back({k, floor_div(phase + shift, stride)});
  }
  axis.find_range();
  return axis;
}

void Axis::find_range() {
  bool any = false;
  for (const std::vector<Tap>& taps : phases)
    for (const Tap& tap : taps) {
      low = any ? std::min(low, tap.offset) : tap.offset;
      high = any ? std::max(high, tap.offset) : tap.offset;
      any = true;
    }
}

Window::Window(Axis row_axis, Axis column_axis, int64_t images, int64_t channels, int64_t pixels, int64_t overread)
    : rows(std::move(row_axis)), columns(std::move(column_axis)), images_(images), channels_(channels) {
  // Evenly sized blocks; rows from a multiple of the step on, so that all blocks have the same tables.
  const int64_t image_pixels = rows.destination * columns.destination;
  const int64_t image_elements = rows.span(rows.destination) * columns.span(columns.destination) * channels;
  block_images_ = std::min({images, pixels / image_pixels, kBlockElements / image_elements});
  block_images_ = std::max<int64_t>(1, block_images_);
  image_blocks_ = ceil_div(images, block_images_);
  block_images_ = ceil_div(images, image_blocks_);
  image_blocks_ = ceil_div(images, block_images_);
  block_rows_ = rows.destination;
  if (image_pixels > pixels) {
    const int64_t at_once = std::max<int64_t>(1, pixels / columns.destination);
    block_rows_ = round_up(ceil_div(rows.destination, ceil_div(rows.destination, at_once)), rows.step);
    block_rows_ = std::min(block_rows_, round_up(rows.destination, rows.step));
  }
  row_blocks_ = ceil_div(rows.destination, block_rows_);
  if (row_blocks_ == 1) block_rows_ = rows.destination;

  copies_ = overread > 0 || !rows.inside() || !columns.inside();
  slab_rows_ = rows.span(block_rows_);
  slab_columns_ = columns.span(columns.destination);
  row_stride_ = channels * (copies_ ? slab_columns_ : columns.source);
  image_stride_ = row_stride_ * (copies_ ? slab_rows_ : rows.source);
  elements_ = image_stride_ * block_images_ + overread;
}

Window::Part Window::part(int64_t block) const {
  Part part{};
  part.image = block / row_blocks_ * block_images_;
  part.images = std::min(block_images_, images_ - part.image);
  part.row = block % row_blocks_ * block_rows_;
  part.rows = std::min(block_rows_, rows.destination - part.row);
  part.pixel = (part.image * rows.destination + part.row) * columns.destination;
  part.pixels = part.images * part.rows * columns.destination;
  return part;
}

void Window::copy_row(const float* source, float* out) const {
  const int64_t left = std::min(slab_columns_, std::max<int64_t>(0, -columns.low));
  const int64_t end = std::max(left, std::min(slab_columns_, columns.source - columns.low));
  const auto bytes = [this](int64_t pixels) { return static_cast<size_t>(pixels * channels_) * sizeof(float); };
  std::memset(out, 0, bytes(left));
  if (end > left) std::memcpy(out + left * channels_, source + (columns.low + left) * channels_, bytes(end - left));
  std::memset(out + end * channels_, 0, bytes(slab_columns_ - end));
}

Window::Stretch Window::stretch(const float* source, const Part& part) const {
  const int64_t first = part.row / rows.step * rows.source_step + rows.low;
  const int64_t begin = std::max<int64_t>(0, first), end = std::min(rows.source, first + rows.span(part.rows));
  const int64_t row = columns.source * channels_, last = part.image + part.images - 1;
  const int64_t from = (part.image * rows.source + begin) * row, to = (last * rows.source + end) * row;
  return {reinterpret_cast<const char*>(source + from),
          std::max<int64_t>(0, to - from) * static_cast<int64_t>(sizeof(float))};
}

const float* Window::read(const float* source, const Part& part, float* scratch) const {
  const int64_t source_row = columns.source * channels_, first = part.row / rows.step * rows.source_step + rows.low;
  source += part.image * rows.source * source_row;
  if (!copies_) return source + first * source_row + columns.low * channels_;
  const int64_t count = rows.span(part.rows);
  for (int64_t image = 0; image < part.images; ++image)
    for (int64_t i = 0; i < count; ++i) {
      const int64_t y = first + i;
      float* out = scratch + image * image_stride_ + i * row_stride_;
      if (y < 0 || y >= rows.source)
        std::memset(out, 0, static_cast<size_t>(row_stride_) * sizeof(float));
      else
        copy_row(source + (image * rows.source + y) * source_row, out);
    }
  return scratch;
}

} // namespace nodevae
