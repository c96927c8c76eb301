// conv2d_weight_gradient: the sum over all output pixels of window times gradient, for every kernel position, channel
// and filter. Blocks of pixels are divided into chunks by the geometry alone; each chunk's sums are made in order and
// the chunks are added up in order, so that the number of threads changes nothing.
#include <numeric>

#include "convolution_weights.h"
#include "tile_program.h"

namespace nodevae {

namespace {

constexpr int64_t kMostChunks = 8;
constexpr int64_t kChunkPixels = 512;     // fewer do not pay for a chunk's own sums
constexpr int64_t kChunkFloats = 1 << 21; // of all chunks together
constexpr int64_t kAddedFloats = 1 << 14; // of a job that adds up chunks

class WeightGradientKernel final : public Kernel {
public:
  WeightGradientKernel(const ResolvedStep& step, const TierKernels& tier)
      : tier_(tier), form_(make_weight_gradient_form({ConvolutionShape(step.attributes),
                                                      static_cast<const float*>(step.operands[0].data),
                                                      static_cast<const float*>(step.operands[1].data)},
                                                     tier)),
        rows_(static_cast<int64_t>(form_->row_places.size())),
        columns_(static_cast<int64_t>(form_->column_places.size())), sums_(round_up(form_->sums(), 16)),
        finish_rows_(std::max<int64_t>(1, 8192 / columns_)),
        program_(ProgramSpace(step, 2), tier, ceil_div(rows_, finish_rows_), 1) {
    const ConvolutionShape shape(step.attributes);
    const int64_t pixels = shape.images * shape.out_height * shape.out_width;
    chunks_ = std::min({form_->blocks(), kMostChunks, pixels / kChunkPixels, kChunkFloats / sums_});
    chunks_ = std::max<int64_t>(1, chunks_);
    // Further threads take a share of the tiles each, at the price of reading the image again.
    shares_ = std::min({kMostChunks / chunks_, form_->tiles() / 4, pixels * rows_ * columns_ >> 22});
    shares_ = std::max<int64_t>(1, shares_);
    find_runs();
    finish_bytes_ = float_bytes(finish_rows_ * columns_);
  }

  size_t shared_bytes() const override { return sums_offset() + float_bytes(sums_ * chunks_); }
  size_t local_bytes() const override { return std::max(form_->local_bytes(), finish_bytes_ + program_.local_bytes()); }

  void run(const RunContext& context) override {
    float* sums = reinterpret_cast<float*>(context.shared + sums_offset());
    context.pool->parallel_for(chunks_ * shares_, [&](int64_t job, int thread) {
      run_chunk(job / shares_, job % shares_, sums, context.local[thread]);
    });
    if (chunks_ > 1)
      run_jobs(*context.pool, sums_, kAddedFloats, [&](int64_t begin, int64_t end, int) {
        for (int64_t chunk = 1; chunk < chunks_; ++chunk)
          tier_.add(sums + begin, sums + chunk * sums_ + begin, end - begin);
      });
    run_jobs(*context.pool, rows_, finish_rows_, [&](int64_t row, int64_t end, int thread) {
      char* local = context.local[thread];
      float* c = reinterpret_cast<float*>(local);
      gather(sums, row, end, c);
      const Block block{0, row / finish_rows_, row, end - row, 0, 0, columns_, c, columns_};
      program_.run(block, context.shared, local + finish_bytes_);
    });
    program_.finish(context.shared, *context.pool);
  }

private:
  size_t sums_offset() const {
    return static_cast<size_t>(round_up(static_cast<int64_t>(program_.shared_bytes()), 64));
  }

  void run_chunk(int64_t chunk, int64_t share, float* sums, char* local) const {
    const int64_t blocks = form_->blocks(), tiles = form_->tiles();
    const int64_t first = blocks * chunk / chunks_, last = blocks * (chunk + 1) / chunks_;
    for (int64_t block = first; block < last; ++block)
      form_->add_block({block, block == first, block + 1 == last, tiles * share / shares_,
                        tiles * (share + 1) / shares_, sums + chunk * sums_, local});
  }

  // Columns whose sums lie side by side, as many as every such run has.
  void find_runs() {
    const std::vector<int64_t>& places = form_->column_places;
    const auto side_by_side = [&](size_t i) { return places[i] == places[i - 1] + 1; };
    size_t run = 1;
    while (run < places.size() && side_by_side(run)) ++run;
    for (size_t i = 0; i < places.size(); ++i)
      if (places.size() % run != 0 || (i % run != 0 && !side_by_side(i))) run = 1;
    run_ = static_cast<int64_t>(run);
  }

  // Rows [begin, end) of the result, each of all filters.
  void gather(const float* sums, int64_t begin, int64_t end, float* out) const {
    const int64_t lanes = form_->lanes();
    for (int64_t row = begin; row < end; ++row) {
      const float* from = sums + form_->row_places[static_cast<size_t>(row)];
      for (int64_t column = 0; column < columns_; column += run_, out += run_) {
        const float* place = from + form_->column_places[static_cast<size_t>(column)];
        if (lanes == 1)
          std::copy_n(place, run_, out);
        else
          *out = std::accumulate(place, place + lanes, 0.0f);
      }
    }
  }

  const TierKernels& tier_;
  const std::unique_ptr<const WeightGradientForm> form_;
  const int64_t rows_, columns_; // of the result
  const int64_t sums_;           // floats from chunk to chunk
  const int64_t finish_rows_;
  TileProgram program_;
  int64_t chunks_ = 0, shares_ = 0, run_ = 1;
  size_t finish_bytes_ = 0;
};

} // namespace

std::unique_ptr<Kernel> make_convolution_weight_gradient(const ResolvedStep& step, const TierKernels& tier) {
  return std::make_unique<WeightGradientKernel>(step, tier);
}

} // namespace nodevae
