// Weight gradients from few channels to few filters: pixels are the lanes, and every lane has a sum of its own until
// the very end. Image and gradient are laid out in planes of the same width, the gradient's with zeros where the
// image's rows have their halo: so all pixels of a block are one stretch, whichever the kernel position.
#include <cstring>

#include "convolution_weights.h"
#include "planes.h"

namespace nodevae {

namespace {

constexpr int64_t kBlockFloats = 4096; // of image and gradient together: half of the first-level cache

int64_t block_pixels(const ConvolutionShape& s) {
  return std::max<int64_t>(128, kBlockFloats / (s.channels * s.stride_height * s.stride_width + s.filters));
}

class PlaneForm final : public WeightGradientForm {
public:
  // Sums lie [group][row][filter][lane]. Tiles are numbered [group][panel of filters][rows].
  PlaneForm(const WeightGradientOperands& of, const TierKernels& tier)
      : tier_(tier), of_(of), channels_(of.shape.group_channels()), filters_(of.shape.group_filters()),
        rows_(of.shape.kernel_positions() * channels_), lanes_(tier.lanes),
        window_(of.rows(), of.columns(), of.shape.images, of.shape.channels, block_pixels(of.shape), 0),
        planes_(window_, of.shape.channels, tier), panels_(column_panels(filters_ * lanes_, tier)),
        row_tiles_(ceil_div(rows_, tier.micro_rows)), pitch_(filters_ * lanes_) {
    of.for_each_row([this](int64_t y, int64_t x, int64_t channel) {
      windows_.push_back(planes_.at(y, x) + channel * planes_.plane_stride());
    });
    for (int64_t row = 0; row < rows_; ++row) results_.push_back(row * pitch_);
    row_places = results_;
    for (int64_t group = 0; group < of.shape.groups; ++group)
      for (int64_t filter = 0; filter < filters_; ++filter)
        column_places.push_back((group * rows_ * filters_ + filter) * lanes_);
    // An odd number of cache lines spreads planes over the cache.
    gradient_plane_ = round_up(window_.part(0).rows * planes_.row_stride(), 16) | 16;
  }

  int64_t lanes() const override { return lanes_; }
  int64_t blocks() const override { return window_.blocks(); }
  int64_t tiles() const override { return of_.shape.groups * static_cast<int64_t>(panels_.size()) * row_tiles_; }
  int64_t sums() const override { return of_.shape.groups * rows_ * pitch_; }
  size_t local_bytes() const override { return planes_.bytes() + gradient_bytes(); }

  void add_block(const Call& call) const override {
    const Window::Part part = window_.part(call.block);
    float* image = reinterpret_cast<float*>(call.local);
    float* gradient = reinterpret_cast<float*>(call.local + planes_.bytes());
    // What lies between the rows stays zero from block to block.
    if (call.first) std::memset(call.local, 0, local_bytes());
    // So must what an incomplete block leaves of its predecessor's images.
    if (part.images < window_.part(0).images) std::memset(gradient, 0, gradient_bytes());
    planes_.fill(of_.image, part, image);
    fill_gradient(part, gradient);

    const int64_t panels = static_cast<int64_t>(panels_.size());
    const Segment whole{0, 0};
    WindowTile tile{};
    tile.segments = 1;
    tile.segment = &whole;
    tile.run = part.rows * planes_.row_stride() / lanes_;
    tile.a_k = tile.b_k = lanes_;
    tile.b_vector = gradient_plane_;
    tile.accumulate = !call.first;
    for (int64_t i = call.begin; i < call.end; ++i) {
      const int64_t group = i / (panels * row_tiles_), number = i % row_tiles_;
      const ColumnPanel& panel = panels_[static_cast<size_t>(i / row_tiles_ % panels)];
      const int64_t row = rows_ * number / row_tiles_, count = rows_ * (number + 1) / row_tiles_ - row;
      tile.a = image + group * channels_ * planes_.plane_stride();
      tile.a_rows = windows_.data() + row;
      tile.b = gradient + (group * filters_ + panel.column / lanes_) * gradient_plane_;
      tile.c = call.sums + group * rows_ * pitch_ + panel.column;
      tile.c_rows = results_.data() + row;
      tier_.window_pairwise[count - 1][panel.vectors - 1](&tile);
    }
  }

private:
  size_t gradient_bytes() const { return float_bytes(gradient_plane_ * of_.shape.filters); }

  void fill_gradient(const Window::Part& part, float* planes) const {
    const ConvolutionShape& s = of_.shape;
    for (int64_t image = 0; image < part.images; ++image) {
      const float* pixels = of_.gradient + (part.pixel + image * part.rows * s.out_width) * s.filters;
      const InterleaveCall call{s.filters,
                                part.rows,
                                s.out_width * s.filters,
                                planes + image * planes_.image_stride(),
                                gradient_plane_,
                                planes_.row_stride(),
                                const_cast<float*>(pixels),
                                s.out_width * s.filters};
      tier_.deinterleave(&call);
    }
  }

  const TierKernels& tier_;
  const WeightGradientOperands of_;
  const int64_t channels_, filters_; // of a group
  const int64_t rows_;               // kernel positions x channels of a group
  const int64_t lanes_;
  const Window window_;
  const Planes planes_;
  const std::vector<ColumnPanel> panels_; // of filters, each as wide as a vector
  const int64_t row_tiles_, pitch_;
  std::vector<int64_t> windows_, results_; // of each row: in the planes, in the sums
  int64_t gradient_plane_ = 0;
};

} // namespace

std::unique_ptr<WeightGradientForm> make_plane_form(const WeightGradientOperands& of, const TierKernels& tier) {
  return std::make_unique<PlaneForm>(of, tier);
}

} // namespace nodevae
