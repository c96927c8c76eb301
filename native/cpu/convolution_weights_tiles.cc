// Weight gradients as products of a window of the image and the gradient, both where they lie in memory.
#include "convolution_weights.h"

namespace nodevae {

namespace {

constexpr int64_t kBlockPixels = 256;
constexpr int64_t kFetchedPerTile = 8192; // bytes

class WindowForm : public WeightGradientForm {
public:
  WindowForm(const WeightGradientOperands& of, const TierKernels& tier, int64_t overread)
      : tier_(tier), of_(of), channels_(of.shape.group_channels()), filters_(of.shape.group_filters()),
        rows_(of.shape.kernel_positions() * channels_),
        window_(of.rows(), of.columns(), of.shape.images, of.shape.channels, kBlockPixels, overread),
        pixel_step_(of.shape.stride_width * window_.pixel_stride()) {
    of.for_each_row([this](int64_t y, int64_t x, int64_t channel) {
      windows_.push_back(y * window_.row_stride() + x * window_.pixel_stride() + channel);
    });
    // One stretch per row of output pixels: where it begins in the window and among the block's pixels.
    window_.for_each_pixel(0, 0, [&](int64_t pixel, int64_t window) {
      if (pixel % of_.shape.out_width == 0) segments_.push_back({window, pixel});
    });
  }

  int64_t blocks() const override { return window_.blocks(); }
  size_t local_bytes() const override { return window_.bytes(); }

protected:
  struct Operands {
    int64_t pixels;
    const float *window, *gradient;
    WindowTile tile;
    Prefetch next_image, next_gradient;

    void advance() {
      next_image.advance();
      next_gradient.advance();
    }
  };
  Operands read(const Call& call) const {
    const Window::Part part = window_.part(call.block);
    WindowTile tile{};
    tile.segments = part.images * part.rows;
    tile.run = of_.shape.out_width;
    tile.segment = segments_.data();
    tile.accumulate = !call.first;
    Window::Stretch image, gradient;
    if (!call.last) {
      const Window::Part next = window_.part(call.block + 1);
      image = window_.stretch(of_.image, next);
      gradient = {reinterpret_cast<const char*>(gradient_of(next)),
                  next.pixels * of_.shape.filters * static_cast<int64_t>(sizeof(float))};
    }
    // Asked for in large bursts, memory only keeps the loads of the present block waiting.
    const int64_t steps = call.end - call.begin, most = steps * kFetchedPerTile;
    if (image.bytes > most) image = {};
    if (gradient.bytes > most) gradient = {};
    return {part.pixels,
            window_.read(of_.image, part, reinterpret_cast<float*>(call.local)),
            gradient_of(part),
            tile,
            Prefetch(image, steps),
            Prefetch(gradient, steps)};
  }
  const float* gradient_of(const Window::Part& part) const { return of_.gradient + part.pixel * of_.shape.filters; }

  const TierKernels& tier_;
  const WeightGradientOperands of_;
  const int64_t channels_, filters_; // of a group
  const int64_t rows_;               // kernel positions x channels of a group
  const Window window_;
  const int64_t pixel_step_;               // from window to window
  std::vector<int64_t> windows_, results_; // of each row: where it begins in the window, where its sums lie
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

  void add_block(const Call& call) const override {
    Operands of = read(call);
    WindowTile& tile = of.tile;
    float* packed = reinterpret_cast<float*>(call.local + window_.bytes());
    const int64_t panels = static_cast<int64_t>(panels_.size());
    tile.a_k = pixel_step_;
    for (int64_t i = call.begin; i < call.end;) {
      const int64_t group = i / (panels * tiles_), number = i / tiles_ % panels;
      const int64_t next = std::min(call.end, (i / tiles_ + 1) * tiles_);
      const ColumnPanel& panel = panels_[static_cast<size_t>(number)];
      tile.b = of.gradient + group * filters_ + panel.column;
      tile.b_k = tile.b_unit = of_.shape.filters;
      if (packs()) {
        const int64_t width = int64_t{panel.vectors} * tier_.lanes;
        const PackCall pack{tile.b, of_.shape.filters, 1, of.pixels, panel.columns, width, packed};
        tier_.pack_panel(&pack);
        tile.b = packed;
        tile.b_k = tile.b_unit = width;
      }
      tile.a = of.window + group * channels_;
      tile.c = call.sums + group * padded_ + panel.column;
      for (; i < next; ++i) {
        of.advance();
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
    for (int64_t position = of_.shape.kernel_positions() - 1; position >= 0; --position)
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

// --- a stretch of the window is the lanes ---

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

  void add_block(const Call& call) const override {
    Operands of = read(call);
    WindowTile& tile = of.tile;
    const int64_t panels = static_cast<int64_t>(panels_.size());
    tile.a_k = of_.shape.filters;
    tile.b_k = pixel_step_;
    tile.b_unit = 1;
    for (int64_t i = call.begin; i < call.end; ++i) {
      of.advance();
      const int64_t group = i / (panels * tiles_), number = i % tiles_;
      const StretchPanel& panel = panels_[static_cast<size_t>(i / tiles_ % panels)];
      const int64_t filter = filters_ * number / tiles_, count = filters_ * (number + 1) / tiles_ - filter;
      tile.a = of.gradient + group * filters_;
      tile.a_rows = filter_offsets_.data() + filter;
      tile.b = of.window + panel.window + group * channels_;
      tile.b_vector = panel.spacing;
      tile.c = call.sums + group * filters_ * pitch_ + panel.result;
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

  void add_block(const Call& call) const override {
    Operands of = read(call);
    WindowTile& tile = of.tile;
    tile.a = of.window;
    tile.a_k = pixel_step_;
    tile.b = of.gradient;
    tile.b_k = tile.b_unit = tile.columns = of_.shape.filters;
    tile.c = call.sums;
    for (int64_t i = call.begin; i < call.end; ++i) {
      of.advance();
      const int64_t row = rows_ * i / tiles_, count = rows_ * (i + 1) / tiles_ - row;
      tile.a_rows = windows_.data() + row;
      tile.c_rows = results_.data() + row;
      tier_.window_lanewise[count - 1](&tile);
    }
  }

private:
  const int64_t tiles_;
};

} // namespace

std::unique_ptr<WeightGradientForm> make_filter_form(const WeightGradientOperands& of, const TierKernels& tier) {
  return std::make_unique<FilterForm>(of, tier, false);
}
std::unique_ptr<WeightGradientForm> make_swapped_form(const WeightGradientOperands& of, const TierKernels& tier) {
  return std::make_unique<FilterForm>(swapped(of), tier, true);
}
std::unique_ptr<WeightGradientForm> make_stretch_form(const WeightGradientOperands& of, const TierKernels& tier) {
  return std::make_unique<StretchForm>(of, tier);
}
std::unique_ptr<WeightGradientForm> make_lanewise_form(const WeightGradientOperands& of, const TierKernels& tier) {
  return std::make_unique<LanewiseForm>(of, tier);
}

} // namespace nodevae
