// Which form a weight gradient takes: the one whose register tiles take the fewest cycles per pixel.
#include "convolution_weights.h"

namespace nodevae {

bool can_swap(const ConvolutionShape& s) { return s.stride_height == 1 && s.stride_width == 1; }

WeightGradientOperands swapped(const WeightGradientOperands& of) {
  WeightGradientOperands other{of.shape, of.gradient, of.image};
  ConvolutionShape& s = other.shape;
  std::swap(s.height, s.out_height);
  std::swap(s.width, s.out_width);
  std::swap(s.channels, s.filters);
  s.pad_top = s.dilation_height * (s.kernel_height - 1) - s.pad_top;
  s.pad_left = s.dilation_width * (s.kernel_width - 1) - s.pad_left;
  return other;
}

std::vector<StretchPanel> stretch_panels(const ConvolutionShape& s, int64_t row_stride, int64_t pixel_stride,
                                         const TierKernels& tier) {
  const int64_t run = stretch_of(s), padded = round_up(run, tier.lanes);
  const int64_t stretches = s.kernel_positions() * s.group_channels() / run;
  std::vector<StretchPanel> panels;
  if (padded == tier.lanes && stretches == s.kernel_height) {
    const int64_t spacing = s.dilation_height * row_stride;
    for (const ColumnPanel& panel : column_panels(stretches * tier.lanes, tier))
      panels.push_back({panel.column / tier.lanes * spacing, panel.column, spacing, panel.vectors});
    return panels;
  }
  for (int64_t stretch = 0; stretch < stretches; ++stretch) {
    const int64_t position = stretch * run / s.group_channels();
    const int64_t window = position / s.kernel_width * s.dilation_height * row_stride +
                           position % s.kernel_width * s.dilation_width * pixel_stride;
    for (const ColumnPanel& panel : column_panels(run, tier))
      panels.push_back({window + panel.column, stretch * padded + panel.column, tier.lanes, panel.vectors});
  }
  return panels;
}

namespace {

// Cycles that the register tiles of so many rows and vectors take for a step: one for each multiply-add of vectors, or,
// where they are more, those of the loads.
struct Loads {
  double row, vector; // of a row's factor, of a vector
};
double tiles_cost(int64_t rows, int64_t vectors, const Loads& loads, const TierKernels& tier) {
  double cost = 0;
  for_each_tile(rows, tier.micro_rows, [&](int64_t, int64_t high) {
    for_each_tile(vectors, tier.micro_vectors, [&](int64_t, int64_t wide) {
      const double r = static_cast<double>(high), v = static_cast<double>(wide);
      cost += std::max(r * v, loads.row * r + loads.vector * v);
    });
  });
  return cost;
}
constexpr double kFloatLoad = 0.5, kVectorLoad = 1.0;
constexpr double kStraddlingLoad = 2.0; // of a vector that lies across a boundary of cache lines

// What follows is per pixel.
double filter_cost(const ConvolutionShape& s, const TierKernels& tier) {
  const int64_t filters = s.group_filters(), vectors = ceil_div(filters, tier.lanes);
  const double packing = filters % tier.lanes != 0 ? 2.0 * static_cast<double>(vectors) : 0.0;
  return tiles_cost(s.kernel_positions() * s.group_channels(), vectors, {kFloatLoad, kVectorLoad}, tier) + packing;
}

double stretch_cost(const ConvolutionShape& s, const TierKernels& tier) {
  double cost = 0;
  const Loads loads{kFloatLoad, s.channels % tier.lanes == 0 ? kVectorLoad : kStraddlingLoad};
  for (const StretchPanel& panel : stretch_panels(s, 0, 0, tier))
    cost += tiles_cost(s.group_filters(), panel.vectors, loads, tier);
  return cost;
}

double plane_cost(const ConvolutionShape& s, const TierKernels& tier) {
  const int64_t rows = s.kernel_positions() * s.group_channels();
  const double cost = tiles_cost(rows, s.group_filters(), {kStraddlingLoad, kVectorLoad}, tier);
  // Laying out planes: a load, a store and about as many shuffles as there are channels.
  const double image = static_cast<double>(s.group_channels() * s.stride_height * s.stride_width);
  const double filters = static_cast<double>(s.group_filters());
  const auto layout = [&](double n) { return n * (2 + std::min(n, static_cast<double>(tier.lanes) / 2)); };
  // Where the image's rows have their halo, lanes are empty.
  const double width = static_cast<double>(s.out_width),
               halo = static_cast<double>((s.kernel_width - 1) * s.dilation_width);
  return (cost * (1 + halo / width) + layout(image) + layout(filters)) / tier.lanes;
}

} // namespace

std::unique_ptr<WeightGradientForm> make_weight_gradient_form(const WeightGradientOperands& of,
                                                              const TierKernels& tier) {
  const ConvolutionShape& s = of.shape;
  if (s.group_channels() == 1 && s.group_filters() == 1 && s.groups > 1) return make_lanewise_form(of, tier);
  struct Choice {
    double cost;
    std::unique_ptr<WeightGradientForm> (*make)(const WeightGradientOperands&, const TierKernels&);
  };
  Choice best{filter_cost(s, tier), make_filter_form};
  const auto consider = [&best](const Choice& other) {
    if (other.cost < best.cost) best = other;
  };
  consider({stretch_cost(s, tier), make_stretch_form});
  if (can_swap(s)) consider({filter_cost(swapped(of).shape, tier), make_swapped_form});
  consider({plane_cost(s, tier), make_plane_form});
  return best.make(of, tier);
}

} // namespace nodevae
