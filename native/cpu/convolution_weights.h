// conv2d_weight_gradient in the forms that its sums can be made in; which form is best depends on the numbers of
// channels and filters (see make_weight_gradient_form).
#pragma once

#include "convolution.h"

namespace nodevae {

// Makes the sums over one block of pixels after the other. The sums lie in an order of the form's own, filled up to
// whole vectors.
class WeightGradientForm {
public:
  virtual ~WeightGradientForm() = default;

  virtual int64_t blocks() const = 0;
  virtual int64_t tiles() const = 0;          // of the sums: threads may share the tiles of a block
  virtual int64_t sums() const = 0;           // floats
  virtual int64_t lanes() const { return 1; } // that every sum is spread over, side by side
  virtual size_t local_bytes() const = 0;
  // Adds tiles [begin, end) of one block to `sums`. Blocks come in order: the first overwrites what is there, and all
  // but the last may fetch their successor's memory ahead.
  struct Call {
    int64_t block;
    bool first, last;
    int64_t begin, end;
    float* sums;
    char* local;
  };
  virtual void add_block(const Call& call) const = 0;

  // The sum for a row (kernel position, channel of the group) and a column (group, filter of the group) of the result
  // lies at row_places[row] + column_places[column].
  std::vector<int64_t> row_places, column_places;
};

struct WeightGradientOperands {
  ConvolutionShape shape;
  const float *image, *gradient;

  Axis rows() const {
    return Axis::convolution(shape.height, shape.out_height, shape.kernel_height, shape.stride_height, shape.pad_top,
                             shape.dilation_height);
  }
  Axis columns() const {
    return Axis::convolution(shape.width, shape.out_width, shape.kernel_width, shape.stride_width, shape.pad_left,
                             shape.dilation_width);
  }
  // Calls body(row, column, channel) for every row of the result: where it stands in a window.
  template <class Body> void for_each_row(const Body& body) const {
    for (int64_t y = 0; y < shape.kernel_height; ++y)
      for (int64_t x = 0; x < shape.kernel_width; ++x)
        for (int64_t channel = 0; channel < shape.group_channels(); ++channel)
          body(y * shape.dilation_height, x * shape.dilation_width, channel);
  }
};

// The forms, by what the lanes of a vector stand for:
//   filter     filters, against rows of (kernel position, channel)
//   swapped    channels, against rows of (kernel position, filter): image and gradient in each other's place. Pixel x
//              of the image meets the gradient at x + pad - kernel position, so for stride 1 the weights' gradient is
//              also that of a convolution over the gradient, kernel positions in reverse.
//   stretch    what lies side by side in a window, against filters
//   lanewise   channels of both: depthwise convolutions
//   plane      pixels of both
std::unique_ptr<WeightGradientForm> make_filter_form(const WeightGradientOperands& of, const TierKernels& tier);
bool can_swap(const ConvolutionShape& shape);
WeightGradientOperands swapped(const WeightGradientOperands& of);
std::unique_ptr<WeightGradientForm> make_swapped_form(const WeightGradientOperands& of, const TierKernels& tier);
std::unique_ptr<WeightGradientForm> make_stretch_form(const WeightGradientOperands& of, const TierKernels& tier);
std::unique_ptr<WeightGradientForm> make_lanewise_form(const WeightGradientOperands& of, const TierKernels& tier);
std::unique_ptr<WeightGradientForm> make_plane_form(const WeightGradientOperands& of, const TierKernels& tier);

// Rows of the result whose elements lie side by side in a window.
inline int64_t stretch_of(const ConvolutionShape& s) {
  return s.group_channels() * (s.groups == 1 && s.dilation_width == 1 ? s.kernel_width : 1);
}
// The columns of the stretch form's register tiles: vectors side by side in a stretch, or one vector from each of
// several kernel rows.
struct StretchPanel {
  int64_t window, result, spacing;
  int vectors;
};
std::vector<StretchPanel> stretch_panels(const ConvolutionShape& shape, int64_t row_stride, int64_t pixel_stride,
                                         const TierKernels& tier);

// The form that takes the fewest cycles, as far as one can count.
std::unique_ptr<WeightGradientForm> make_weight_gradient_form(const WeightGradientOperands& of,
                                                              const TierKernels& tier);

} // namespace nodevae
