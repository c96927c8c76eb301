// conv2d and conv2d_input_gradient: windows of an image times packed weights, the result handed to the step's program
// block by block of whole image rows, while it is in cache.
//
// Two forms of the product: pixels are rows and output channels the lanes; or, where every channel is a group of its
// own (depthwise convolutions), channels are the lanes of both factors. For few output channels there is a kernel of
// its own in convolution_planar.cc.
#include "convolution.h"
#include "tile_program.h"

namespace nodevae {

namespace {

constexpr int64_t kBlockPixels = 128;

enum class Form { broadcast, dot, lanewise };

// The products of one phase.
struct Phase {
  struct Tap {
    int64_t kernel; // position in the weights, row-major
    int64_t offset; // in the window
  };
  std::vector<Tap> taps;
  std::vector<Segment> segments;
  int64_t run = 0, depth = 0; // steps of a segment, of all
  int64_t packed = 0;         // where this phase's weights begin, per group
  int64_t row_phase, column_phase;
  std::vector<int64_t> windows, results; // of each pixel of a block: where its window begins, where its sums go
};

class ConvolutionKernel final : public Kernel {
public:
  ConvolutionKernel(const ResolvedStep& step, const TierKernels& tier)
      : tier_(tier), shape_(step.attributes), forward_(step.kernel == KernelId::conv2d),
        source_(static_cast<const float*>(step.operands[0].data)),
        weights_(static_cast<const float*>(step.operands[1].data)),
        in_(forward_ ? shape_.group_channels() : shape_.group_filters()),
        out_(forward_ ? shape_.group_filters() : shape_.group_channels()),
        window_(axis(0), axis(1), shape_.images, in_ * shape_.groups, kBlockPixels, 0),
        panels_(column_panels(out_, tier)), form_(choose_form()),
        program_(ProgramSpace(step, 2), tier, window_.blocks(), 1), direct_(program_.plain_store()) {
    if (out_ % tier.lanes != 0 && form_ != Form::lanewise) direct_ = nullptr;
    // A group's last vector may spill into the next group's columns, which are written later, or beyond the row.
    const int64_t columns = out_ * shape_.groups;
    c_row_ = direct_ != nullptr ? direct_->strides[kRows]
                                : round_up(columns, tier.lanes) + (out_ % tier.lanes ? tier.lanes : 0);
    for (size_t y = 0; y < window_.rows.phases.size(); ++y)
      for (size_t x = 0; x < window_.columns.phases.size(); ++x) add_phase(y, x);
    c_bytes_ = direct_ != nullptr ? 0 : float_bytes(c_row_ * window_.block_pixels() + tier.lanes);
  }

  size_t shared_bytes() const override {
    return program_.shared_bytes() + 64 + float_bytes(group_weights_ * shape_.groups);
  }
  size_t local_bytes() const override { return window_.bytes() + c_bytes_ + program_.local_bytes(); }

  void run(const RunContext& context) override {
    float* packed =
        reinterpret_cast<float*>(context.shared + round_up(static_cast<int64_t>(program_.shared_bytes()), 64));
    if (form_ != Form::lanewise) pack_weights(packed, *context.pool);
    const auto body = [&](int64_t block, int thread) {
      run_block(block, packed, context.shared, context.local[thread]);
    };
    if (window_.blocks() == 1)
      body(0, 0);
    else
      context.pool->parallel_for(window_.blocks(), body);
    program_.finish(context.shared, *context.pool);
  }

private:
  Axis axis(int direction) const {
    const ConvolutionShape& s = shape_;
    const auto make = forward_ ? Axis::convolution : Axis::input_gradient;
    return direction == 0 ? make(s.height, s.out_height, s.kernel_height, s.stride_height, s.pad_top, s.dilation_height)
                          : make(s.width, s.out_width, s.kernel_width, s.stride_width, s.pad_left, s.dilation_width);
  }

  Form choose_form() const {
    if (in_ == 1 && out_ == 1 && shape_.groups > 1) return Form::lanewise;
    // The dot form fills its lanes when a window's stretches are long; it adds up the lanes at the end.
    const bool few = out_ * 3 <= tier_.lanes;
    const int64_t stretch = in_ * (shape_.groups == 1 && shape_.dilation_width == 1 ? shape_.kernel_width : 1);
    return few && stretch / (forward_ ? 1 : shape_.stride_width) >= tier_.lanes ? Form::dot : Form::broadcast;
  }

  void add_phase(size_t row_phase, size_t column_phase) {
    Phase phase{};
    phase.row_phase = static_cast<int64_t>(row_phase);
    phase.column_phase = static_cast<int64_t>(column_phase);
    const std::vector<Axis::Tap>& columns = window_.columns.phases[column_phase];
    for (const Axis::Tap& y : window_.rows.phases[row_phase])
      for (const Axis::Tap& x : columns)
        phase.taps.push_back(
            {y.kernel * shape_.kernel_width + x.kernel, (y.offset - window_.rows.low) * window_.row_stride() +
                                                            (x.offset - window_.columns.low) * window_.pixel_stride()});
    // Neighbouring positions lie side by side in memory: they make one longer stretch.
    bool joined = shape_.groups == 1 && form_ != Form::lanewise;
    for (size_t i = 1; i < columns.size(); ++i) joined &= columns[i].offset == columns[i - 1].offset + 1;
    const size_t taps_per_run = joined && !columns.empty() ? columns.size() : 1;
    phase.run = static_cast<int64_t>(taps_per_run) * in_;
    phase.depth = static_cast<int64_t>(phase.taps.size()) * in_;
    phase.packed = group_weights_;
    int64_t at = 0;
    for (size_t i = 0; i < phase.taps.size(); i += taps_per_run) {
      const Phase::Tap& tap = phase.taps[i];
      phase.segments.push_back({tap.offset, form_ == Form::lanewise ? tap.kernel : at});
      at += form_ == Form::dot ? round_up(phase.run, tier_.lanes) : phase.run;
    }
    // Dot: as many rows of `at` as output channels. Broadcast: `at` rows of whole vectors.
    if (form_ == Form::dot) group_weights_ += at * out_;
    if (form_ == Form::broadcast) group_weights_ += at * round_up(out_, tier_.lanes);
    window_.for_each_pixel(phase.row_phase, phase.column_phase, [&](int64_t pixel, int64_t window) {
      phase.windows.push_back(window);
      phase.results.push_back(pixel * c_row_);
    });
    phases_.push_back(std::move(phase));
  }

  // --- weights: [kernel position][channel of the group][filter] ---

  // Of the input gradient a row is a filter and a column a channel.
  const float* weights_at(int64_t tap, int64_t group) const {
    return weights_ + tap * shape_.group_channels() * shape_.filters + group * shape_.group_filters();
  }
  int64_t in_stride() const { return forward_ ? shape_.filters : 1; }
  int64_t out_stride() const { return forward_ ? 1 : shape_.filters; }

  void pack_weights(float* packed, Pool& pool) const {
    const int64_t phases = static_cast<int64_t>(phases_.size());
    const auto body = [&](int64_t job, int) {
      const int64_t group = job / phases;
      const Phase& phase = phases_[static_cast<size_t>(job % phases)];
      float* out = packed + group * group_weights_ + phase.packed;
      if (form_ == Form::dot)
        pack_dot(phase, group, out);
      else
        pack_panels(phase, group, out);
    };
    if (group_weights_ * shape_.groups < 1 << 14)
      for (int64_t job = 0; job < shape_.groups * phases; ++job) body(job, 0);
    else
      pool.parallel_for(shape_.groups * phases, body);
  }

  void pack_panels(const Phase& phase, int64_t group, float* packed) const {
    for (const ColumnPanel& panel : panels_) {
      const int64_t width = int64_t{panel.vectors} * tier_.lanes;
      for (const Phase::Tap& tap : phase.taps) {
        const PackCall call{weights_at(tap.kernel, group) + panel.column * out_stride(),
                            in_stride(),
                            out_stride(),
                            in_,
                            panel.columns,
                            width,
                            packed};
        tier_.pack_panel(&call);
        packed += in_ * width;
      }
    }
  }

  // --- products ---

  void run_block(int64_t number, const float* packed, char* shared, char* local) const {
    const Window::Part part = window_.part(number);
    float* c = reinterpret_cast<float*>(local + window_.bytes());
    if (direct_ != nullptr) c = static_cast<float*>(direct_->data) + part.pixel * c_row_;
    const float* image = window_.read(source_, part, reinterpret_cast<float*>(local));
    for (const Phase& phase : phases_) {
      const int64_t pixels = window_.positions(part, phase.row_phase, phase.column_phase);
      if (form_ == Form::lanewise)
        multiply_lanewise(phase, pixels, image, c);
      else
        for (int64_t group = 0; group < shape_.groups; ++group) {
          const float* w = packed + group * group_weights_ + phase.packed;
          if (form_ == Form::dot)
            multiply_dot(phase, pixels, image + group * in_, w, c + group * out_);
          else
            multiply(phase, pixels, image + group * in_, w, c + group * out_);
        }
    }
    if (direct_ != nullptr) return;
    const Block block{0, number, part.pixel, part.pixels, 0, 0, out_ * shape_.groups, c, c_row_};
    program_.run(block, shared, local + window_.bytes() + c_bytes_);
  }

  WindowTile tile_of(const Phase& phase, const float* image) const {
    WindowTile tile{};
    tile.segments = static_cast<int64_t>(phase.segments.size());
    tile.run = phase.run;
    tile.segment = phase.segments.data();
    tile.a = image;
    tile.a_k = 1;
    return tile;
  }

  void multiply(const Phase& phase, int64_t pixels, const float* image, const float* weights, float* c) const {
    WindowTile tile = tile_of(phase, image);
    for (const ColumnPanel& panel : panels_) {
      tile.b = weights;
      tile.b_k = tile.b_unit = int64_t{panel.vectors} * tier_.lanes;
      tile.c = c + panel.column;
      for_each_tile(0, pixels, tier_.micro_rows, [&](int64_t row, int64_t count) {
        tile.a_rows = phase.windows.data() + row;
        tile.c_rows = phase.results.data() + row;
        tier_.window_broadcast[count - 1][panel.vectors - 1](&tile);
      });
      weights += phase.depth * tile.b_k;
    }
  }

  void multiply_lanewise(const Phase& phase, int64_t pixels, const float* image, float* c) const {
    WindowTile tile = tile_of(phase, image);
    tile.b = weights_;
    tile.b_unit = shape_.filters;
    tile.c = c;
    tile.columns = shape_.groups;
    for_each_tile(0, pixels, tier_.micro_rows, [&](int64_t row, int64_t count) {
      tile.a_rows = phase.windows.data() + row;
      tile.c_rows = phase.results.data() + row;
      tier_.window_lanewise[count - 1](&tile);
    });
  }

  const TierKernels& tier_;
  const ConvolutionShape shape_;
  const bool forward_;
  const float *source_, *weights_;
  const int64_t in_, out_; // channels of a group
  const Window window_;
  const std::vector<ColumnPanel> panels_;
  const Form form_;
  TileProgram program_;
  const ResolvedOperand* direct_; // where results go without passing through the program
  int64_t c_row_, group_weights_ = 0;
  std::vector<Phase> phases_;
  size_t c_bytes_;
};

} // namespace

std::unique_ptr<Kernel> make_convolution(const ResolvedStep& step, const TierKernels& tier) {
  return std::make_unique<ConvolutionKernel>(step, tier);
}

} // namespace nodevae
