// What the lowerings of convolutions share: a step's attributes as the kernels take them.
#pragma once

#include "convolution.h"
#include "lowering.h"

namespace nodevae::cuda {

struct ConvolutionShape {
  int32_t images, height, width, channels, out_height, out_width, filters;
  int32_t kernel_height, kernel_width, stride_height, stride_width, pad_top, pad_left;
  int32_t dilation_height, dilation_width, groups;

  // Throws KernelError where positions would not fit into 32 bits.
  explicit ConvolutionShape(const ResolvedStep& step);
  int32_t group_channels() const { return channels / groups; }
  int32_t group_filters() const { return filters / groups; }
  int32_t weight_rows() const { return kernel_height * kernel_width * group_channels(); }
  int32_t out_pixels() const { return images * out_height * out_width; }
};

// conv2d and conv2d_input_gradient.
CorrelationArguments correlation_arguments(const ResolvedStep& step, const ConvolutionShape& shape);
WeightGradientArguments weight_gradient_arguments(const ResolvedStep& step, const ConvolutionShape& shape);

// Of the phases of a correlation: how many, the pixels and the depth of the largest one, and the pixels of all.
struct PhaseExtent {
  int32_t phases, pixels, depth, all_pixels;
};
PhaseExtent phase_extent(const CorrelationArguments& geometry);

// Whether an operand can be read by groups of four neighbouring channels, given the channels of one group.
bool reads_vectors(const ResolvedOperand& operand, int32_t group_channels);

// A kernel of the direct ones (convolution_direct.h) where these fit, otherwise null.
std::unique_ptr<LoweredStep> lower_direct_correlation(const ResolvedStep& step, const ConvolutionShape& shape,
                                                      const Target& target);
std::unique_ptr<LoweredStep> lower_direct_weights(const ResolvedStep& step, const ConvolutionShape& shape,
                                                  const Target& target);

// As a product of implicit matrices.
std::unique_ptr<LoweredStep> lower_correlation_product(const ResolvedStep& step, const ConvolutionShape& shape,
                                                       const Target& target);
std::unique_ptr<LoweredStep> lower_weights_product(const ResolvedStep& step, const ConvolutionShape& shape,
                                                   const Target& target);

} // namespace nodevae::cuda
