// conv2d and conv2d_input_gradient from few to few channels, which would leave most lanes empty: pixels are the lanes
// and output channels the rows.
//
// A block of the image is laid out in planes, one per channel and per remainder of the source position modulo the
// source step, with its zero halo. In planes, neighbouring windows are neighbouring floats and every kernel position
// is one offset, also across the ends of rows: sums are made for the whole stretch of plane that the block's windows
// begin in, and those that belong to no pixel are left out at the end.
#include <cstring>

#include "convolution.h"
#include "tile_program.h"

namespace nodevae {

namespace {

constexpr int64_t kBlockPixels = 512;

struct Phase {
  int64_t row_phase, column_phase;
  std::vector<Segment> segments;           // a: in the weights, b: in the planes
  std::vector<int64_t> positions, results; // of each pixel of a block: in the sums, in the accumulator
};

class PlanarConvolutionKernel final : public Kernel {
public:
  PlanarConvolutionKernel(const ResolvedStep& step, const TierKernels& tier)
      : tier_(tier), of_(step), channels_(of_.out * of_.groups), source_channels_(of_.in * of_.groups),
        width_(int64_t{tier.lanes} * tier.micro_vectors),
        window_(of_.rows(), of_.columns(), of_.shape.images, source_channels_, kBlockPixels, 0),
        program_(ProgramSpace(step, 2), tier, window_.blocks(), 1), per_job_(blocks_per_job(window_.blocks())) {
    const Axis &rows = window_.rows, &columns = window_.columns;
    // A plane holds the rows of all images of the block, one below the other.
    row_ = ceil_div(columns.span(columns.destination), columns.source_step);
    const Window::Part first = window_.part(0);
    image_rows_ = ceil_div(rows.span(first.rows), rows.source_step);
    const int64_t used = first.images * image_rows_ * row_;
    // Reading a whole tile from any window on stays inside; an odd number of cache lines spreads planes over the cache.
    plane_ = round_up(used + width_, 16) | 16;
    planes_ = source_channels_ * rows.source_step * columns.source_step;
    sums_ = round_up(used, width_);
    for (int64_t i = 0; i < of_.out; ++i) {
      weight_rows_.push_back(i * of_.out_stride());
      sum_rows_.push_back(i * sums_);
    }
    for (size_t y = 0; y < rows.phases.size(); ++y)
      for (size_t x = 0; x < columns.phases.size(); ++x) add_phase(y, x);
    planes_bytes_ = float_bytes(planes_ * plane_);
    sums_bytes_ = float_bytes(of_.out * sums_);
    c_bytes_ = float_bytes(channels_ * window_.block_pixels());
  }

  size_t shared_bytes() const override { return program_.shared_bytes(); }
  size_t local_bytes() const override { return planes_bytes_ + sums_bytes_ + c_bytes_ + program_.local_bytes(); }

  void run(const RunContext& context) override {
    run_jobs(*context.pool, window_.blocks(), per_job_, [&](int64_t begin, int64_t end, int thread) {
      // The halo is cleared once: blocks write between its columns.
      std::memset(context.local[thread], 0, planes_bytes_);
      for (int64_t block = begin; block < end; ++block)
        run_block(block, block + 1 < end, context.shared, context.local[thread]);
    });
    program_.finish(context.shared, *context.pool);
  }

private:
  // Planes lie [row remainder][column remainder][channel].
  int64_t plane_of(int64_t row, int64_t column) const {
    return (row % window_.rows.source_step * window_.columns.source_step + column % window_.columns.source_step) *
           source_channels_ * plane_;
  }

  void add_phase(size_t row_phase, size_t column_phase) {
    const Axis &rows = window_.rows, &columns = window_.columns;
    Phase phase{static_cast<int64_t>(row_phase), static_cast<int64_t>(column_phase), {}, {}, {}};
    for (const Axis::Tap& y : rows.phases[row_phase])
      for (const Axis::Tap& x : columns.phases[column_phase]) {
        const int64_t row = y.offset - rows.low, column = x.offset - columns.low;
        phase.segments.push_back(
            {of_.weights_at(y.kernel * of_.shape.kernel_width + x.kernel, 0) - of_.weights,
             plane_of(row, column) + row / rows.source_step * row_ + column / columns.source_step});
      }
    const Window::Part first = window_.part(0);
    for (int64_t image = 0; image < first.images; ++image)
      for (int64_t y = phase.row_phase; y < first.rows; y += rows.step)
        for (int64_t x = phase.column_phase; x < columns.destination; x += columns.step) {
          phase.positions.push_back((image * image_rows_ + y / rows.step) * row_ + x / columns.step);
          phase.results.push_back(((image * first.rows + y) * columns.destination + x) * channels_);
        }
    phases_.push_back(std::move(phase));
  }

  void run_block(int64_t number, bool more, char* shared, char* local) const {
    const Window::Part part = window_.part(number);
    float* planes = reinterpret_cast<float*>(local);
    float* sums = reinterpret_cast<float*>(local + planes_bytes_);
    float* c = reinterpret_cast<float*>(local + planes_bytes_ + sums_bytes_);
    fill_planes(part, planes);
    const Window::Stretch next = more ? window_.stretch(of_.source, window_.part(number + 1)) : Window::Stretch{};
    Prefetch prefetch(next, of_.groups * static_cast<int64_t>(phases_.size()) *
                                ceil_div(part.pixels, width_ * static_cast<int64_t>(phases_.size())));
    for (const Phase& phase : phases_) {
      const int64_t pixels = window_.positions(part, phase.row_phase, phase.column_phase);
      if (pixels == 0) continue;
      for (int64_t group = 0; group < of_.groups; ++group) {
        const int64_t extent = phase.positions[static_cast<size_t>(pixels - 1)] + 1;
        multiply(phase, extent, group, planes, sums, prefetch);
        for (int64_t i = 0; i < of_.out; ++i) {
          const float* from = sums + sum_rows_[static_cast<size_t>(i)];
          float* to = c + group * of_.out + i;
          for (size_t j = 0; j < static_cast<size_t>(pixels); ++j) to[phase.results[j]] = from[phase.positions[j]];
        }
      }
    }
    const Block block{0, number, part.pixel, part.pixels, 0, 0, channels_, c, channels_};
    program_.run(block, shared, local + planes_bytes_ + sums_bytes_ + c_bytes_);
  }

  void multiply(const Phase& phase, int64_t extent, int64_t group, const float* planes, float* sums,
                Prefetch& prefetch) const {
    WindowTile tile{};
    tile.segments = static_cast<int64_t>(phase.segments.size());
    tile.run = of_.in;
    tile.segment = phase.segments.data();
    tile.a_k = of_.in_stride();
    tile.b_k = plane_;
    tile.b_unit = 1;
    for (int64_t position = 0; position < extent; position += width_) {
      prefetch.advance();
      const int64_t vectors = std::min<int64_t>(tier_.micro_vectors, ceil_div(extent - position, tier_.lanes));
      tile.a = of_.weights_at(0, group);
      tile.b = planes + group * of_.in * plane_ + position;
      tile.c = sums + position;
      for_each_tile(of_.out, tier_.micro_rows, [&](int64_t row, int64_t count) {
        tile.a_rows = weight_rows_.data() + row;
        tile.c_rows = sum_rows_.data() + row;
        tier_.window_broadcast[count - 1][vectors - 1](&tile);
      });
    }
  }

  // --- planes ---

  void fill_planes(const Window::Part& part, float* planes) const {
    const Axis &rows = window_.rows, &columns = window_.columns;
    const int64_t first = part.row / rows.step * rows.source_step + rows.low, count = rows.span(part.rows);
    for (int64_t image = 0; image < part.images; ++image)
      for (int64_t i = 0; i < count; ++i) {
        const int64_t y = first + i, source_row = (part.image + image) * rows.source + y;
        for (int64_t remainder = 0; remainder < columns.source_step; ++remainder) {
          float* out = planes + plane_of(i, remainder) + (image * image_rows_ + i / rows.source_step) * row_;
          if (y < 0 || y >= rows.source)
            for (int64_t channel = 0; channel < source_channels_; ++channel)
              std::fill_n(out + channel * plane_, row_, 0.0f);
          else
            fill_row(of_.source + source_row * columns.source * source_channels_, remainder, out);
        }
      }
  }

  // One row of the planes of one remainder: plane position j shows source position columns.low + remainder + j * step.
  void fill_row(const float* source, int64_t remainder, float* out) const {
    const int64_t step = window_.columns.source_step, low = window_.columns.low + remainder;
    const int64_t left = low < 0 ? ceil_div(-low, step) : 0, room = window_.columns.source - low;
    const int64_t count = std::min(row_, room > 0 ? ceil_div(room, step) : 0) - left;
    if (count <= 0) return;
    const int64_t pixel = step * source_channels_;
    source += low * source_channels_ + left * pixel;
    out += left;
    if (source_channels_ < kTransposedChannels || count < tier_.lanes) {
      for (int64_t channel = 0; channel < source_channels_; ++channel)
        for (int64_t j = 0; j < count; ++j) out[channel * plane_ + j] = source[j * pixel + channel];
      return;
    }
    // Whole squares are transposed fastest; the last ones overlap.
    for (const int64_t begin : {int64_t{0}, count - tier_.lanes}) {
      const int64_t columns = begin == 0 ? count / tier_.lanes * tier_.lanes : tier_.lanes;
      const TransferCall call{source_channels_,     columns, const_cast<float*>(source + begin * pixel),
                              ElementType::float32, 1,       pixel,
                              {out + begin, plane_}};
      tier_.load(&call);
      if (columns == count) break;
    }
  }
  static constexpr int64_t kTransposedChannels = 6; // for fewer, single floats are as fast as transposing

  const TierKernels& tier_;
  const Correlation of_;
  const int64_t channels_, source_channels_; // of all groups
  const int64_t width_;                      // floats of a register tile
  const Window window_;
  TileProgram program_;
  const int64_t per_job_;
  int64_t row_ = 0, image_rows_ = 0, plane_ = 0, planes_ = 0, sums_ = 0;
  std::vector<int64_t> weight_rows_, sum_rows_; // of each output channel
  std::vector<Phase> phases_;
  size_t planes_bytes_ = 0, sums_bytes_ = 0, c_bytes_ = 0;
};

} // namespace

bool prefers_dots(const Correlation& of, const TierKernels& tier) {
  return !of.depthwise() && of.out * 3 <= tier.lanes && of.in >= tier.lanes;
}

bool prefers_planes(const Correlation& of, const TierKernels& tier) {
  return !of.depthwise() && of.out * 2 <= tier.lanes && !prefers_dots(of, tier);
}

std::unique_ptr<Kernel> make_planar_convolution(const ResolvedStep& step, const TierKernels& tier) {
  return std::make_unique<PlanarConvolutionKernel>(step, tier);
}

} // namespace nodevae
