// conv2d_weight_gradient: the sum over all output pixels of window times gradient, for every kernel position, channel
// and filter. Pixels are divided into chunks by the geometry alone; each chunk's sums are made in order and the
// chunks are added up in order, so that the number of threads changes nothing.
//
// Three forms, by the channels of one group:
//   by_filter   filters are the lanes, (kernel position, channel) the rows: the general one
//   by_window   a stretch of the window is the lanes, filters the rows: for few filters
//   lanewise    channels are the lanes of both: depthwise convolutions
#include "convolution.h"
#include "tile_program.h"

namespace nodevae {

namespace {

constexpr int64_t kBlockPixels = 256;
constexpr int64_t kMostChunks = 8;
constexpr int64_t kChunkPixels = 512;       // fewer do not pay for a chunk's own partial sums
constexpr int64_t kPartialFloats = 1 << 21; // of all chunks together

enum class Form { by_filter, by_window, lanewise };

class WeightGradientKernel final : public Kernel {
public:
  WeightGradientKernel(const ResolvedStep& step, const TierKernels& tier)
      : tier_(tier), shape_(step.attributes), image_(static_cast<const float*>(step.operands[0].data)),
        gradient_(static_cast<const float*>(step.operands[1].data)), channels_(shape_.group_channels()),
        filters_(shape_.group_filters()), rows_(shape_.kernel_height * shape_.kernel_width * channels_),
        run_(shape_.groups == 1 && shape_.dilation_width == 1 ? shape_.kernel_width * channels_ : channels_),
        form_(choose_form()), window_(Axis::convolution(shape_.height, shape_.out_height, shape_.kernel_height,
                                                        shape_.stride_height, shape_.pad_top, shape_.dilation_height),
                                      Axis::convolution(shape_.width, shape_.out_width, shape_.kernel_width,
                                                        shape_.stride_width, shape_.pad_left, shape_.dilation_width),
                                      shape_.images, shape_.channels, kBlockPixels,
                                      form_ == Form::by_window ? int64_t{tier.lanes} * tier.micro_vectors : 0),
        finish_rows_(std::max<int64_t>(1, 8192 / shape_.filters)),
        program_(ProgramSpace(step, 2), tier, ceil_div(rows_, finish_rows_), 1) {
    lay_out();
    divide();
    gradient_bytes_ = packs_gradient() ? float_bytes(window_.block_pixels() * packed_width()) : 0;
    finish_bytes_ = float_bytes(finish_rows_ * shape_.filters);
  }

  size_t shared_bytes() const override { return partial_offset() + float_bytes(partial_ * chunks_); }
  size_t local_bytes() const override {
    return std::max(window_.bytes() + gradient_bytes_, finish_bytes_ + program_.local_bytes());
  }

  void run(const RunContext& context) override {
    float* partials = reinterpret_cast<float*>(context.shared + partial_offset());
    context.pool->parallel_for(chunks_ * shares_, [&](int64_t job, int thread) {
      run_chunk(job / shares_, job % shares_, partials, context.local[thread]);
    });
    run_jobs(*context.pool, rows_, finish_rows_, [&](int64_t row, int64_t end, int thread) {
      char* local = context.local[thread];
      float* c = reinterpret_cast<float*>(local);
      add_chunks(partials, row, end - row, c);
      const Block block{0, row / finish_rows_, row, end - row, 0, 0, shape_.filters, c, shape_.filters};
      program_.run(block, context.shared, local + finish_bytes_);
    });
    program_.finish(context.shared, *context.pool);
  }

private:
  Form choose_form() const {
    if (channels_ == 1 && filters_ == 1 && shape_.groups > 1) return Form::lanewise;
    const auto filled = [this](int64_t n) {
      return static_cast<double>(n) / static_cast<double>(round_up(n, tier_.lanes));
    };
    return filters_ * 3 <= tier_.lanes && filled(run_) > filled(filters_) ? Form::by_window : Form::by_filter;
  }

  // --- where everything lies ---

  bool packs_gradient() const { return form_ == Form::by_filter && filters_ % tier_.lanes != 0; }
  int64_t packed_width() const { return int64_t{tier_.micro_vectors} * tier_.lanes; }
  size_t partial_offset() const {
    return static_cast<size_t>(round_up(static_cast<int64_t>(program_.shared_bytes()), 64));
  }

  void lay_out() {
    const ConvolutionShape& s = shape_;
    for (int64_t y = 0; y < s.kernel_height; ++y)
      for (int64_t x = 0; x < s.kernel_width; ++x)
        for (int64_t channel = 0; channel < channels_; ++channel)
          windows_.push_back(y * s.dilation_height * window_.row_stride() +
                             x * s.dilation_width * window_.pixel_stride() + channel);

    panels_ = column_panels(form_ == Form::by_window ? run_ : filters_, tier_);
    const int64_t padded = round_up(form_ == Form::by_window ? run_ : filters_, tier_.lanes);
    if (form_ == Form::by_window) { // [group][filter][stretch, filled up]
      pitch_ = padded * (rows_ / run_);
      for (int64_t filter = 0; filter < filters_; ++filter) {
        filter_offsets_.push_back(filter);
        results_.push_back(filter * pitch_);
      }
      partial_ = pitch_ * s.filters;
    } else { // [row][group][filters, filled up]
      pitch_ = form_ == Form::lanewise ? s.filters : padded * s.groups;
      for (int64_t row = 0; row < rows_; ++row) results_.push_back(row * pitch_);
      partial_ = pitch_ * rows_;
    }

    // One stretch per row of output pixels. The gradient is `a` by window, `b` otherwise.
    for (int64_t pixel = 0; pixel < window_.block_pixels(); pixel += s.out_width) segments_.push_back({pixel, pixel});
    window_.for_each_pixel(0, 0, [&](int64_t pixel, int64_t window) {
      if (pixel % s.out_width != 0) return;
      Segment& segment = segments_[static_cast<size_t>(pixel / s.out_width)];
      if (form_ == Form::by_window)
        segment = {pixel * s.filters, window};
      else
        segment = {window, pixel};
    });
  }

  // A tile is what one call of a register kernel covers; tiles are numbered [group][panel][rows or stretches].
  void divide() {
    const int64_t groups = form_ == Form::lanewise ? 1 : shape_.groups;
    const int64_t panels = form_ == Form::lanewise ? 1 : static_cast<int64_t>(panels_.size());
    if (form_ == Form::by_window)
      tiles_ = (rows_ / run_) * ceil_div(filters_, tier_.micro_rows);
    else
      tiles_ = ceil_div(rows_, tier_.micro_rows);
    all_tiles_ = groups * panels * tiles_;

    const int64_t pixels = shape_.images * shape_.out_height * shape_.out_width;
    chunks_ = std::min({window_.blocks(), kMostChunks, pixels / kChunkPixels, kPartialFloats / partial_});
    chunks_ = std::max<int64_t>(1, chunks_);
    // Further threads take a share of the tiles each, at the price of reading the image again.
    const int64_t work = pixels * rows_ * filters_ * shape_.groups;
    shares_ = std::max<int64_t>(1, std::min({kMostChunks / chunks_, all_tiles_ / 4, work >> 22}));
  }

  // --- sums of one chunk ---

  void run_chunk(int64_t chunk, int64_t share, float* partials, char* local) const {
    const int64_t first = window_.blocks() * chunk / chunks_, last = window_.blocks() * (chunk + 1) / chunks_;
    const int64_t begin = all_tiles_ * share / shares_, end = all_tiles_ * (share + 1) / shares_;
    float* c = partials + chunk * partial_;
    for (int64_t number = first; number < last; ++number) {
      const Window::Part part = window_.part(number);
      const float* window = window_.read(image_, part, reinterpret_cast<float*>(local));
      WindowTile tile{};
      tile.segments = part.images * part.rows;
      tile.run = shape_.out_width;
      tile.segment = segments_.data();
      tile.accumulate = number > first;
      const float* gradient = gradient_ + part.pixel * shape_.filters;
      float* scratch = reinterpret_cast<float*>(local + window_.bytes());
      if (form_ == Form::by_filter)
        multiply_by_filter(tile, part, window, gradient, begin, end, c, scratch);
      else if (form_ == Form::by_window)
        multiply_by_window(tile, window, gradient, begin, end, c);
      else
        multiply_lanewise(tile, window, gradient, begin, end, c);
    }
  }

  void multiply_by_filter(WindowTile& tile, const Window::Part& part, const float* window, const float* gradient,
                          int64_t begin, int64_t end, float* c, float* scratch) const {
    const int64_t panels = static_cast<int64_t>(panels_.size()), per_group = panels * tiles_;
    tile.a_k = shape_.stride_width * window_.pixel_stride();
    for (int64_t i = begin; i < end;) {
      const int64_t group = i / per_group, number = i / tiles_ % panels;
      const int64_t next = std::min(end, (i / tiles_ + 1) * tiles_);
      const ColumnPanel& panel = panels_[static_cast<size_t>(number)];
      tile.b = gradient + group * filters_ + panel.column;
      tile.b_k = tile.b_unit = shape_.filters;
      if (packs_gradient()) {
        const int64_t width = int64_t{panel.vectors} * tier_.lanes;
        const PackCall pack{tile.b, shape_.filters, 1, part.pixels, panel.columns, width, scratch};
        tier_.pack_panel(&pack);
        tile.b = scratch;
        tile.b_k = tile.b_unit = width;
      }
      tile.a = window + group * channels_;
      tile.c = c + group * round_up(filters_, tier_.lanes) + panel.column;
      for (; i < next; ++i) {
        const int64_t row = rows_ * (i % tiles_) / tiles_, count = rows_ * (i % tiles_ + 1) / tiles_ - row;
        tile.a_rows = windows_.data() + row;
        tile.c_rows = results_.data() + row;
        tier_.window_broadcast[count - 1][panel.vectors - 1](&tile);
      }
    }
  }

  void multiply_by_window(WindowTile& tile, const float* window, const float* gradient, int64_t begin, int64_t end,
                          float* c) const {
    const int64_t panels = static_cast<int64_t>(panels_.size()), per_group = panels * tiles_, stretches = rows_ / run_;
    const int64_t parts = tiles_ / stretches, padded = pitch_ / stretches;
    tile.a_k = shape_.filters;
    tile.b_k = shape_.stride_width * window_.pixel_stride();
    tile.b_unit = 1;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t group = i / per_group, stretch = i % tiles_ / parts, number = i % parts;
      const ColumnPanel& panel = panels_[static_cast<size_t>(i / tiles_ % panels)];
      const int64_t filter = filters_ * number / parts, count = filters_ * (number + 1) / parts - filter;
      tile.a = gradient + group * filters_;
      tile.a_rows = filter_offsets_.data() + filter;
      tile.b = window + windows_[static_cast<size_t>(stretch * run_)] + group * channels_ + panel.column;
      tile.c = c + group * filters_ * pitch_ + stretch * padded + panel.column;
      tile.c_rows = results_.data() + filter;
      tier_.window_broadcast[count - 1][panel.vectors - 1](&tile);
    }
  }

  void multiply_lanewise(WindowTile& tile, const float* window, const float* gradient, int64_t begin, int64_t end,
                         float* c) const {
    tile.a = window;
    tile.a_k = shape_.stride_width * window_.pixel_stride();
    tile.b = gradient;
    tile.b_k = tile.b_unit = shape_.filters;
    tile.c = c;
    tile.columns = shape_.groups;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = rows_ * i / tiles_, count = rows_ * (i + 1) / tiles_ - row;
      tile.a_rows = windows_.data() + row;
      tile.c_rows = results_.data() + row;
      tier_.window_lanewise[count - 1](&tile);
    }
  }

  // --- sums of all chunks, as rows of all filters ---

  void add_chunks(const float* partials, int64_t row, int64_t rows, float* out) const {
    std::fill_n(out, rows * shape_.filters, 0.0f);
    if (form_ == Form::by_window) return add_transposed(partials, row, rows, out);
    const int64_t padded = form_ == Form::lanewise ? shape_.filters : round_up(filters_, tier_.lanes);
    for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
      const float* in = partials + chunk * partial_ + row * pitch_;
      if (pitch_ == shape_.filters)
        tier_.add(out, in, rows * pitch_);
      else
        for (int64_t i = 0; i < rows * shape_.groups; ++i) tier_.add(out + i * filters_, in + i * padded, filters_);
    }
  }

  void add_transposed(const float* partials, int64_t row, int64_t rows, float* out) const {
    const int64_t padded = pitch_ / (rows_ / run_);
    for (int64_t chunk = 0; chunk < chunks_; ++chunk)
      for (int64_t i = 0; i < rows; ++i) {
        const float* in = partials + chunk * partial_ + (row + i) / run_ * padded + (row + i) % run_;
        for (int64_t filter = 0; filter < shape_.filters; ++filter)
          out[i * shape_.filters + filter] += in[filter * pitch_];
      }
  }

  const TierKernels& tier_;
  const ConvolutionShape shape_;
  const float *image_, *gradient_;
  const int64_t channels_, filters_; // of a group
  const int64_t rows_;               // of the result: kernel positions x channels of a group
  const int64_t run_;                // rows that lie side by side in the image
  const Form form_;
  const Window window_;
  const int64_t finish_rows_;
  TileProgram program_;
  std::vector<ColumnPanel> panels_;
  std::vector<int64_t> windows_, filter_offsets_,
      results_; // offsets of rows: in the window, in the gradient, of the sums
  std::vector<Segment> segments_;
  int64_t pitch_ = 0, partial_ = 0;   // floats from row to row of the sums; of one chunk
  int64_t tiles_ = 0, all_tiles_ = 0; // of a panel; of everything
  int64_t chunks_ = 0, shares_ = 0;
  size_t gradient_bytes_ = 0, finish_bytes_ = 0;
};

} // namespace

std::unique_ptr<Kernel> make_convolution_weight_gradient(const ResolvedStep& step, const TierKernels& tier) {
  return std::make_unique<WeightGradientKernel>(step, tier);
}

} // namespace nodevae
