// conv2d and conv2d_input_gradient: windows of an image times packed weights, the result handed to the step's program
// block by block of whole image rows, while it is in cache.
//
// Three forms of the product, by the channels of one group:
//   broadcast  pixels are rows, output channels the lanes: the general one
//   dot        input channels are the lanes: for so few output channels that they would not fill a vector
//   lanewise   channels are the lanes of both factors: depthwise convolutions
// For few output channels of few input channels there is a kernel of its own in convolution_planar.cc.
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
  int64_t run = 0, depth = 0;     // steps of a segment, of all
  int64_t a_step = 1, b_step = 0; // from step to step of a run, in the window and in the weights (lanewise)
  int64_t packed = 0;             // where this phase's weights begin, per group
  int64_t row_phase, column_phase;
  std::vector<int64_t> windows, results; // of each pixel of a block: where its window begins, where its sums go
};

class ConvolutionKernel final : public Kernel {
public:
  ConvolutionKernel(const ResolvedStep& step, const TierKernels& tier)
      : tier_(tier), of_(step), form_(choose_form()), channels_(of_.out * of_.groups),
        window_(of_.rows(), of_.columns(), of_.shape.images, of_.in * of_.groups, kBlockPixels, 0),
        panels_(column_panels(of_.out, tier)), program_(ProgramSpace(step, 2), tier, window_.blocks(), 1),
        direct_(program_.plain_store()), per_job_(blocks_per_job(window_.blocks())) {
    const bool whole = form_ != Form::broadcast || of_.out % tier.lanes == 0;
    if (!whole) direct_ = nullptr;
    // A group's last vector may spill into the next group's columns, which are written later, or beyond the row.
    if (direct_ != nullptr)
      c_row_ = direct_->strides[kRows];
    else
      c_row_ = round_up(channels_, tier.lanes) + (whole ? 0 : tier.lanes);
    for (size_t y = 0; y < window_.rows.phases.size(); ++y)
      for (size_t x = 0; x < window_.columns.phases.size(); ++x) add_phase(y, x);
    c_bytes_ = direct_ != nullptr ? 0 : float_bytes(c_row_ * window_.block_pixels() + tier.lanes);
  }

  size_t shared_bytes() const override { return packed_offset() + float_bytes(group_weights_ * of_.groups); }
  size_t local_bytes() const override { return window_.bytes() + c_bytes_ + program_.local_bytes(); }

  void run(const RunContext& context) override {
    float* packed = reinterpret_cast<float*>(context.shared + packed_offset());
    if (form_ != Form::lanewise) pack_weights(packed, *context.pool);
    run_jobs(*context.pool, window_.blocks(), per_job_, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t block = begin; block < end; ++block)
        run_block(block, block + 1 < end, packed, context.shared, context.local[thread]);
    });
    program_.finish(context.shared, *context.pool);
  }

private:
  size_t packed_offset() const {
    return static_cast<size_t>(round_up(static_cast<int64_t>(program_.shared_bytes()), 64));
  }

  Form choose_form() const {
    if (of_.depthwise()) return Form::lanewise;
    return prefers_dots(of_, tier_) ? Form::dot : Form::broadcast;
  }

  void add_phase(size_t row_phase, size_t column_phase) {
    Phase phase{};
    phase.row_phase = static_cast<int64_t>(row_phase);
    phase.column_phase = static_cast<int64_t>(column_phase);
    const std::vector<Axis::Tap>& columns = window_.columns.phases[column_phase];
    for (const Axis::Tap& y : window_.rows.phases[row_phase])
      for (const Axis::Tap& x : columns)
        phase.taps.push_back({y.kernel * of_.shape.kernel_width + x.kernel,
                              (y.offset - window_.rows.low) * window_.row_stride() +
                                  (x.offset - window_.columns.low) * window_.pixel_stride()});
    // A run is what lies side by side in memory: the channels of neighbouring positions. Lanewise it is all positions
    // of one row, which are evenly spaced.
    bool joined = of_.groups == 1;
    for (size_t i = 1; i < columns.size(); ++i) joined &= columns[i].offset == columns[i - 1].offset + 1;
    if (form_ == Form::lanewise) joined = true;
    if (form_ == Form::lanewise && columns.size() > 1) {
      phase.a_step = (columns[1].offset - columns[0].offset) * window_.pixel_stride();
      phase.b_step = (columns[1].kernel - columns[0].kernel) * channels_;
    }
    const size_t taps_per_run = joined && !columns.empty() ? columns.size() : 1;
    phase.run = static_cast<int64_t>(taps_per_run) * of_.in;
    phase.depth = static_cast<int64_t>(phase.taps.size()) * of_.in;
    const int64_t steps = form_ == Form::dot ? round_up(phase.run, tier_.lanes) : phase.run;
    for (size_t i = 0; i < phase.taps.size(); i += taps_per_run) {
      const int64_t step = static_cast<int64_t>(phase.segments.size()) * steps;
      phase.segments.push_back({phase.taps[i].offset, form_ == Form::lanewise ? phase.taps[i].kernel : step});
    }
    phase.packed = group_weights_;
    const int64_t packed_steps = steps * static_cast<int64_t>(phase.segments.size());
    if (form_ == Form::broadcast) group_weights_ += packed_steps * round_up(of_.out, tier_.lanes);
    if (form_ == Form::dot) group_weights_ += packed_steps * of_.out;
    window_.for_each_pixel(phase.row_phase, phase.column_phase, [&](int64_t pixel, int64_t window) {
      phase.windows.push_back(window);
      phase.results.push_back(pixel * c_row_);
    });
    phases_.push_back(std::move(phase));
  }

  void pack_weights(float* packed, Pool& pool) const {
    const int64_t phases = static_cast<int64_t>(phases_.size());
    const auto body = [&](int64_t job, int) {
      const int64_t group = job / phases;
      const Phase& phase = phases_[static_cast<size_t>(job % phases)];
      float* out = packed + group * group_weights_ + phase.packed;
      if (form_ == Form::dot)
        pack_dots(phase, group, out);
      else
        pack_panels(phase, group, out);
    };
    if (group_weights_ * of_.groups < 1 << 14)
      for (int64_t job = 0; job < of_.groups * phases; ++job) body(job, 0);
    else
      pool.parallel_for(of_.groups * phases, body);
  }

  void pack_panels(const Phase& phase, int64_t group, float* packed) const {
    for (const ColumnPanel& panel : panels_) {
      const int64_t width = int64_t{panel.vectors} * tier_.lanes;
      for (const Phase::Tap& tap : phase.taps) {
        const float* weights = of_.weights_at(tap.kernel, group) + panel.column * of_.out_stride();
        const PackCall call{weights, of_.in_stride(), of_.out_stride(), of_.in, panel.columns, width, packed};
        tier_.pack_panel(&call);
        packed += of_.in * width;
      }
    }
  }

  // [part of the columns][stretch][step of `lanes`][column][lane]
  void pack_dots(const Phase& phase, int64_t group, float* packed) const {
    const int64_t lanes = tier_.lanes, steps = round_up(phase.run, lanes), taps = phase.run / of_.in;
    for (int64_t column = 0; column < of_.out; column += kMaximumDotColumns) {
      const int64_t columns = std::min<int64_t>(kMaximumDotColumns, of_.out - column);
      for (size_t s = 0; s < phase.segments.size(); ++s, packed += steps * columns)
        for (int64_t k = 0; k < steps; ++k)
          for (int64_t n = 0; n < columns; ++n) {
            float& out = packed[(k / lanes * columns + n) * lanes + k % lanes];
            out = 0.0f;
            if (k >= phase.run) continue;
            const Phase::Tap& tap = phase.taps[s * static_cast<size_t>(taps) + static_cast<size_t>(k / of_.in)];
            out = of_.weights_at(tap.kernel, group)[k % of_.in * of_.in_stride() + (column + n) * of_.out_stride()];
          }
    }
  }

  // --- one block ---

  struct Work {
    Block block;
    const float *image, *packed;
    float* c;
    Prefetch next; // the source of the following block
    bool last;     // group and panel of the last phase: what the program needs is fetched meanwhile
  };

  void run_block(int64_t number, bool more, const float* packed, char* shared, char* local) const {
    const Window::Part part = window_.part(number);
    const float* image = window_.read(of_.source, part, reinterpret_cast<float*>(local));
    float* c = reinterpret_cast<float*>(local + window_.bytes());
    if (direct_ != nullptr) c = static_cast<float*>(direct_->data) + part.pixel * c_row_;

    const int64_t products = form_ == Form::lanewise ? 1 : of_.groups * static_cast<int64_t>(panels_.size());
    const Window::Stretch next = more ? window_.stretch(of_.source, window_.part(number + 1)) : Window::Stretch{};
    Work work{{0, number, part.pixel, part.pixels, 0, 0, channels_, c, c_row_}, image, packed, c,
              Prefetch(next, products * part.pixels / tier_.micro_rows),        false};
    for (const Phase& phase : phases_) {
      const int64_t pixels = window_.positions(part, phase.row_phase, phase.column_phase);
      const bool last = direct_ == nullptr && &phase == &phases_.back();
      if (form_ == Form::lanewise) {
        work.last = last;
        multiply_lanewise(phase, pixels, work);
      } else {
        for (int64_t group = 0; group < of_.groups; ++group) {
          work.last = last && group + 1 == of_.groups;
          if (form_ == Form::dot)
            multiply_dots(phase, pixels, group, work);
          else
            multiply(phase, pixels, group, work);
        }
      }
    }
    if (direct_ == nullptr) program_.run(work.block, shared, local + window_.bytes() + c_bytes_);
  }

  WindowTile tile_of(const Phase& phase) const {
    WindowTile tile{};
    tile.segments = static_cast<int64_t>(phase.segments.size());
    tile.run = phase.run;
    tile.segment = phase.segments.data();
    tile.a_k = phase.a_step;
    tile.b_k = phase.b_step;
    return tile;
  }

  template <class Body>
  void for_each_pixels(const Phase& phase, int64_t pixels, WindowTile& tile, Work& work, bool last,
                       const Body& multiply) const {
    const int64_t share =
        work.block.rows / std::max<int64_t>(1, pixels); // of the block's pixels, per pixel of this phase
    for_each_tile(pixels, tier_.micro_rows, [&](int64_t row, int64_t count) {
      work.next.advance();
      if (last) program_.prefetch(work.block, row * share, count * share);
      tile.a_rows = phase.windows.data() + row;
      tile.c_rows = phase.results.data() + row;
      multiply(count);
    });
  }

  void multiply(const Phase& phase, int64_t pixels, int64_t group, Work& work) const {
    WindowTile tile = tile_of(phase);
    tile.a = work.image + group * of_.in;
    tile.b = work.packed + group * group_weights_ + phase.packed;
    for (const ColumnPanel& panel : panels_) {
      tile.b_k = tile.b_unit = int64_t{panel.vectors} * tier_.lanes;
      tile.c = work.c + group * of_.out + panel.column;
      for_each_pixels(phase, pixels, tile, work, work.last && &panel == &panels_.back(),
                      [&](int64_t count) { tier_.window_broadcast[count - 1][panel.vectors - 1](&tile); });
      tile.b += phase.depth * tile.b_k;
    }
  }

  void multiply_dots(const Phase& phase, int64_t pixels, int64_t group, Work& work) const {
    const int64_t rows = tier_.micro_rows, segments = static_cast<int64_t>(phase.segments.size());
    WindowTile tile = tile_of(phase);
    tile.a = work.image + group * of_.in;
    tile.b = work.packed + group * group_weights_ + phase.packed;
    for (int64_t column = 0; column < of_.out; column += kMaximumDotColumns) {
      const int64_t columns = std::min<int64_t>(kMaximumDotColumns, of_.out - column);
      tile.b_unit = columns;
      tile.c = work.c + group * of_.out + column;
      for (int64_t row = 0; row < pixels; row += rows) {
        work.next.advance();
        tile.a_rows = phase.windows.data() + row;
        tile.c_rows = phase.results.data() + row;
        int64_t windows[kMaximumMicroRows], results[kMaximumMicroRows];
        if (row + rows > pixels) { // the last pixel again and again
          for (int64_t i = 0; i < rows; ++i) {
            windows[i] = tile.a_rows[std::min(i, pixels - row - 1)];
            results[i] = tile.c_rows[std::min(i, pixels - row - 1)];
          }
          tile.a_rows = windows;
          tile.c_rows = results;
        }
        tier_.window_dot[columns - 1](&tile);
      }
      tile.b += segments * round_up(phase.run, tier_.lanes) * columns;
    }
  }

  void multiply_lanewise(const Phase& phase, int64_t pixels, Work& work) const {
    WindowTile tile = tile_of(phase);
    tile.a = work.image;
    tile.b = of_.weights;
    tile.b_unit = tile.columns = channels_;
    tile.c = work.c;
    for_each_pixels(phase, pixels, tile, work, work.last,
                    [&](int64_t count) { tier_.window_lanewise[count - 1](&tile); });
  }

  const TierKernels& tier_;
  const Correlation of_;
  const Form form_;
  const int64_t channels_; // of the destination, all groups
  const Window window_;
  const std::vector<ColumnPanel> panels_;
  TileProgram program_;
  const ResolvedOperand* direct_; // where results go without passing through the program
  const int64_t per_job_;
  int64_t c_row_ = 0, group_weights_ = 0;
  std::vector<Phase> phases_;
  size_t c_bytes_;
};

} // namespace

std::unique_ptr<Kernel> make_convolution(const ResolvedStep& step, const TierKernels& tier) {
  if (prefers_planes(Correlation(step), tier)) return make_planar_convolution(step, tier);
  return std::make_unique<ConvolutionKernel>(step, tier);
}

} // namespace nodevae
