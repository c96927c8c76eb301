// Weight gradients as products of a window of the image and the gradient, both where they lie in memory:
//
//   by_filter   filters are the lanes, (kernel position, channel) the rows
//   swapped     the same with image and gradient in each other's place: channels are the lanes, (kernel position,
//               filter) the rows. A pixel x of the image meets the gradient at x + pad - kernel position, so for stride
//               1 the gradient of the weights is also that of a convolution over the gradient, kernel positions in
//               reverse.
//   by_window   a stretch of the window is the lanes, filters the rows
//   lanewise    channels are the lanes of both: depthwise convolutions
#include "convolution_weights.h"

namespace nodevae {

namespace {

constexpr int64_t kBlockPixels = 256;

int64_t positions(const ConvolutionShape& shape) { return shape.kernel_height * shape.kernel_width; }

class WindowForm : public WeightGradientForm {
public:
  WindowForm(const WeightGradientOperands& of, const TierKernels& tier, int64_t overread)
      : tier_(tier), of_(of), channels_(of.shape.group_channels()), filters_(of.shape.group_filters()),
        rows_(positions(of.shape) * channels_),
        window_(Axis::convolution(of.shape.height, of.shape.out_height, of.shape.kernel_height, of.shape.stride_height,
                                  of.shape.pad_top, of.shape.dilation_height),
                Axis::convolution(of.shape.width, of.shape.out_width, of.shape.kernel_width, of.shape.stride_width,
                                  of.shape.pad_left, of.shape.dilation_width),
                of.shape.images, of.shape.channels, kBlockPixels, overread),
        pixel_step_(of.shape.stride_width * window_.pixel_stride()) {
    const ConvolutionShape& s = of_.shape;
    for (int64_t y = 0; y < s.kernel_height; ++y)
      for (int64_t x = 0; x < s.kernel_width; ++x)
        for (int64_t channel = 0; channel < channels_; ++channel)
          windows_.push_back(y * s.dilation_height * window_.row_stride() +
                             x * s.dilation_width * window_.pixel_stride() + channel);
    // One stretch per row of output pixels: where it begins in the window and among the block's pixels.
    window_.for_each_pixel(0, 0, [&](int64_t pixel, int64_t window) {
      if (pixel % s.out_width == 0) segments_.push_back({window, pixel});
    });
  }

  int64_t blocks() const override { return window_.blocks(); }
  size_t local_bytes() const override { return window_.bytes(); }

protected:
  struct Operands {
    Window::Part part;
    const float *window, *gradient;
    WindowTile tile;
  };
  Operands read(int64_t block, bool first, char* local) const {
    Operands operands{window_.part(block), nullptr, nullptr, {}};
    operands.window = window_.read(of_.image, operands.part, reinterpret_cast<float*>(local));
    operands.gradient = of_.gradient + operands.part.pixel * of_.shape.filters;
    operands.tile.segments = operands.part.images * operands.part.rows;
    operands.tile.run = of_.shape.out_width;
    operands.tile.segment = segments_.data();
    operands.tile.accumulate = !first;
    return operands;
  }

  const TierKernels& tier_;
  const WeightGradientOperands of_;
  const int64_t channels_, filters_; // of a group
  const int64_t rows_;               // kernel positions x channels of a group
  const Window window_;
  const int64_t pixel_step_;                // from window to window
  std::vector<int64_t> windows_, results_;  // of each row: where it begins in the window, where its sums lie
  std::vector<Segment> segments_;
};

// --- filters are the lanes ---

class FilterForm final : public WindowForm {
public:
  // Tiles are numbered [group][panel][rows].
  FilterForm(const WeightGradientOperands& of, const TierKernels& tier, bool swapped)
      : WindowForm(of, tier, 0), panels_(column_panels(filters_, tier)), padded_(round_up(filters_, tier.lanes)),
        pitch_(padded_ * of.shape.groups), tiles_(ceil_div(rows_, tier.micro_rows)) {
    for (int64_t row = 0; row < rows_; ++row) results_.push_back(row * pitch_);
    if (swapped)
      place_swapped();
    else
      place();
  }

  int64_t tiles() const override { return of_.shape.groups * static_cast<int64_t>(panels_.size()) * tiles_; }
  int64_t sums() const override { return rows_ * pitch_; }
  size_t local_bytes() const override {
    const int64_t packed = int64_t{tier_.micro_vectors} * tier_.lanes * window_.block_pixels();
    return window_.bytes() + (packs() ? float_bytes(packed) : 0);
  }

  void add_block(int64_t block, bool first, int64_t begin, int64_t end, float* sums, char* local) const override {
    auto [part, window, gradient, tile] = read(block, first, local);
    float* packed = reinterpret_cast<float*>(local + window_.bytes());
    const int64_t panels = static_cast<int64_t>(panels_.size());
    tile.a_k = pixel_step_;
    for (int64_t i = begin; i < end;) {
      const int64_t group = i / (panels * tiles_), number = i / tiles_ % panels;
      const int64_t next = std::min(end, (i / tiles_ + 1) * tiles_);
      const ColumnPanel& panel = panels_[static_cast<size_t>(number)];
      tile.b = gradient + group * filters_ + panel.column;
      tile.b_k = tile.b_unit = of_.shape.filters;
      if (packs()) {
        const int64_t width = int64_t{panel.vectors} * tier_.lanes;
        const PackCall pack{tile.b, of_.shape.filters, 1, part.pixels, panel.columns, width, packed};
        tier_.pack_panel(&pack);
        tile.b = packed;
        tile.b_k = tile.b_unit = width;
      }
      tile.a = window + group * channels_;
      tile.c = sums + group * padded_ + panel.column;
      for (; i < next; ++i) {
        const int64_t row = rows_ * (i % tiles_) / tiles_, count = rows_ * (i % tiles_ + 1) / tiles_ - row;
        tile.a_rows = windows_.data() + row;
        tile.c_rows = results_.data() + row;
        tier_.window_broadcast[count - 1][panel.vectors - 1](&tile);
      }
    }
  }

private:
  bool packs() const { return filters_ % tier_.lanes != 0; }

  void place() {
    row_places = results_;
    for (int64_t group = 0; group < of_.shape.groups; ++group)
      for (int64_t filter = 0; filter < filters_; ++filter) column_places.push_back(group * padded_ + filter);
  }

  // This form's channels are the convolution's filters, and the other way round.
  void place_swapped() {
    for (int64_t position = positions(of_.shape) - 1; position >= 0; --position)
      for (int64_t channel = 0; channel < filters_; ++channel)
        row_places.push_back(position * channels_ * pitch_ + channel);
    for (int64_t group = 0; group < of_.shape.groups; ++group)
      for (int64_t filter = 0; filter < channels_; ++filter) column_places.push_back(filter * pitch_ + group * padded_);
  }

  const std::vector<ColumnPanel> panels_;
  const int64_t padded_; // filters of a group, filled up
  const int64_t pitch_;  // floats from row to row of the sums
  const int64_t tiles_;  // of a panel
};

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

// --- a stretch of the window is the lanes ---

// Rows of the result whose elements lie side by side in the image.
int64_t stretch_of(const ConvolutionShape& s) {
  return s.group_channels() * (s.groups == 1 && s.dilation_width == 1 ? s.kernel_width : 1);
}

// The register tiles' columns: vectors side by side in a stretch, or one vector from each of several kernel rows.
struct StretchPanel {
  int64_t window, result, spacing;
  int vectors;
};

std::vector<StretchPanel> stretch_panels(const ConvolutionShape& s, int64_t row_stride, int64_t pixel_stride,
                                         const TierKernels& tier) {
  const int64_t run = stretch_of(s), padded = round_up(run, tier.lanes);
  const int64_t stretches = positions(s) * s.group_channels() / run;
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

class StretchForm final : public WindowForm {
public:
  // Sums lie [group][filter][stretch, filled up]. Tiles are numbered [group][panel][filters].
  StretchForm(const WeightGradientOperands& of, const TierKernels& tier)
      : WindowForm(of, tier, int64_t{tier.lanes} * tier.micro_vectors), run_(stretch_of(of.shape)),
        panels_(stretch_panels(of.shape, window_.row_stride(), window_.pixel_stride(), tier)),
        pitch_(round_up(run_, tier.lanes) * (rows_ / run_)), tiles_(ceil_div(filters_, tier.micro_rows)) {
    for (Segment& segment : segments_) segment = {segment.b * of.shape.filters, segment.a};
    for (int64_t filter = 0; filter < filters_; ++filter) {
      filter_offsets_.push_back(filter);
      results_.push_back(filter * pitch_);
    }
    for (int64_t row = 0; row < rows_; ++row)
      row_places.push_back(row / run_ * round_up(run_, tier.lanes) + row % run_);
    for (int64_t filter = 0; filter < of.shape.filters; ++filter) column_places.push_back(filter * pitch_);
  }

  int64_t tiles() const override { return of_.shape.groups * static_cast<int64_t>(panels_.size()) * tiles_; }
  int64_t sums() const override { return pitch_ * of_.shape.filters; }

  void add_block(int64_t block, bool first, int64_t begin, int64_t end, float* sums, char* local) const override {
    auto [part, window, gradient, tile] = read(block, first, local);
    const int64_t panels = static_cast<int64_t>(panels_.size());
    tile.a_k = of_.shape.filters;
    tile.b_k = pixel_step_;
    tile.b_unit = 1;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t group = i / (panels * tiles_), number = i % tiles_;
      const StretchPanel& panel = panels_[static_cast<size_t>(i / tiles_ % panels)];
      const int64_t filter = filters_ * number / tiles_, count = filters_ * (number + 1) / tiles_ - filter;
      tile.a = gradient + group * filters_;
      tile.a_rows = filter_offsets_.data() + filter;
      tile.b = window + panel.window + group * channels_;
      tile.b_vector = panel.spacing;
      tile.c = sums + group * filters_ * pitch_ + panel.result;
      tile.c_rows = results_.data() + filter;
      tier_.window_spread[count - 1][panel.vectors - 1](&tile);
    }
  }

private:
  const int64_t run_;
  const std::vector<StretchPanel> panels_;
  const int64_t pitch_; // floats from filter to filter of the sums
  const int64_t tiles_; // of a panel
  std::vector<int64_t> filter_offsets_;
};

// --- channels are the lanes of both ---

class LanewiseForm final : public WindowForm {
public:
  LanewiseForm(const WeightGradientOperands& of, const TierKernels& tier)
      : WindowForm(of, tier, 0), tiles_(ceil_div(rows_, tier.micro_rows)) {
    for (int64_t row = 0; row < rows_; ++row) results_.push_back(row * of.shape.filters);
    row_places = results_;
    for (int64_t filter = 0; filter < of.shape.filters; ++filter) column_places.push_back(filter);
  }

  int64_t tiles() const override { return tiles_; }
  int64_t sums() const override { return rows_ * of_.shape.filters; }

  void add_block(int64_t block, bool first, int64_t begin, int64_t end, float* sums, char* local) const override {
    auto [part, window, gradient, tile] = read(block, first, local);
    tile.a = window;
    tile.a_k = pixel_step_;
    tile.b = gradient;
    tile.b_k = tile.b_unit = tile.columns = of_.shape.filters;
    tile.c = sums;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = rows_ * i / tiles_, count = rows_ * (i + 1) / tiles_ - row;
      tile.a_rows = windows_.data() + row;
      tile.c_rows = results_.data() + row;
      tier_.window_lanewise[count - 1](&tile);
    }
  }

private:
  const int64_t tiles_;
};

// --- which form ---

// Cycles per pixel, where a cycle is a multiply-add of vectors, or a load of one, or two loads of single floats: what
// a tile of rows x vectors takes.
double tile_cost(int64_t rows, int64_t vectors, double load) {
  return std::max(static_cast<double>(rows * vectors), load * static_cast<double>(vectors) + 0.5 * static_cast<double>(rows));
}

double tiles_cost(int64_t rows, int64_t vectors, double load, const TierKernels& tier) {
  double cost = 0;
  for_each_tile(rows, tier.micro_rows, [&](int64_t, int64_t count) {
    for_each_tile(vectors, tier.micro_vectors, [&](int64_t, int64_t wide) { cost += tile_cost(count, wide, load); });
  });
  return cost;
}

double filter_cost(const ConvolutionShape& s, const TierKernels& tier) {
  const int64_t filters = s.group_filters(), vectors = ceil_div(filters, tier.lanes);
  const double packing = filters % tier.lanes != 0 ? 2.0 * static_cast<double>(vectors) : 0.0;
  return tiles_cost(positions(s) * s.group_channels(), vectors, 1.0, tier) + packing;
}

double stretch_cost(const ConvolutionShape& s, const TierKernels& tier) {
  double cost = 0;
  const double load = s.channels % tier.lanes == 0 ? 1.0 : 2.0; // two for vectors that lie across a boundary of lines
  for (const StretchPanel& panel : stretch_panels(s, 0, 0, tier))
    cost += tiles_cost(s.group_filters(), panel.vectors, load, tier);
  return cost;
}

} // namespace

std::unique_ptr<WeightGradientForm> make_weight_gradient_form(const WeightGradientOperands& of,
                                                              const TierKernels& tier) {
  const ConvolutionShape& s = of.shape;
  if (s.group_channels() == 1 && s.group_filters() == 1 && s.groups > 1)
    return std::make_unique<LanewiseForm>(of, tier);
  const double by_filter = filter_cost(s, tier), by_window = stretch_cost(s, tier);
  if (can_swap(s)) {
    const WeightGradientOperands other = swapped(of);
    if (filter_cost(other.shape, tier) < std::min(by_filter, by_window))
      return std::make_unique<FilterForm>(other, tier, true);
  }
  if (by_window < by_filter) return std::make_unique<StretchForm>(of, tier);
  return std::make_unique<FilterForm>(of, tier, false);
}

} // namespace nodevae
