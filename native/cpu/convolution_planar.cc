// conv2d and conv2d_input_gradient to few channels, which would leave most lanes empty: pixels are the lanes.
//
// A block of the image is laid out in planes (planes.h). Sums are made row by row of the destination, in planes again:
// one per output channel and per column phase, so that a row of the destination is all of them interleaved.
#include <cstring>

#include "planes.h"
#include "tile_program.h"

namespace nodevae {

namespace {

// Many pixels share what every row and block costs, but planes of many channels stay in cache only if they are small.
int64_t block_pixels(int64_t source_channels) { return std::max<int64_t>(512, 4096 / source_channels); }

struct Phase {
  int64_t row_phase, column_phase;
  std::vector<PlaneTaps> taps;
  std::vector<int64_t> kernel; // of each row of each of the taps: position in the weights
};

// Output channels of one group that a register tile computes together.
struct Outputs {
  int64_t first, count;
};

// The next block's source, to be fetched line by line while this one is computed: at once, it would hold up the rest.
struct Ahead {
  const char* at;
  int64_t lines, per_step;

  void give(PlaneTile& tile, int64_t steps) {
    tile.ahead = at;
    tile.ahead_lines = std::min(per_step, lines / steps);
    at += tile.ahead_lines * steps * 64;
    lines -= tile.ahead_lines * steps;
  }
};

class PlanarConvolutionKernel final : public Kernel {
public:
  PlanarConvolutionKernel(const ResolvedStep& step, const TierKernels& tier)
      : tier_(tier), of_(step), channels_(of_.out * of_.groups),
        window_(of_.rows(), of_.columns(), of_.shape.images, of_.in * of_.groups, block_pixels(of_.in * of_.groups), 0),
        planes_(window_, of_.in * of_.groups, tier), program_(ProgramSpace(step, 2), tier, window_.blocks(), 1),
        direct_(program_.plain_store()), per_job_(blocks_per_job(window_.blocks())),
        streams_(channels_ * window_.columns.step) {
    if (direct_ != nullptr && direct_->strides[kRows] != channels_) direct_ = nullptr;
    for_each_tile(of_.out, kMaximumPlaneOutputs, [&](int64_t first, int64_t count) {
      outputs_.push_back({first, count});
    });
    for (size_t y = 0; y < window_.rows.phases.size(); ++y)
      for (size_t x = 0; x < window_.columns.phases.size(); ++x) add_phase(y, x);
    const Window::Part first = window_.part(0);
    in_place_ = streams_ == 1 && first.images == 1;
    sum_ = in_place_ ? window_.columns.destination : round_up(columns_of(first), tier.lanes);
    // An image's part of a row is read in whole vectors.
    sums_bytes_ = in_place_ ? 0 : float_bytes(first.rows * streams_ * sum_ + tier.lanes);
    c_bytes_ = direct_ != nullptr ? 0 : float_bytes(channels_ * window_.block_pixels());
  }

  size_t shared_bytes() const override { return packed_offset() + float_bytes(of_.groups * group_weights_); }
  size_t local_bytes() const override { return planes_.bytes() + sums_bytes_ + c_bytes_ + program_.local_bytes(); }

  void run(const RunContext& context) override {
    float* packed = reinterpret_cast<float*>(context.shared + packed_offset());
    pack_weights(packed);
    cleared_.assign(static_cast<size_t>(context.pool->threads()), 0);
    run_jobs(*context.pool, window_.blocks(), per_job_, [&](int64_t begin, int64_t end, int thread) {
      // Zeros around the image stay, whichever block is written between them.
      char& cleared = cleared_[static_cast<size_t>(thread)];
      if (cleared == 0) std::memset(context.local[thread], 0, planes_.bytes());
      cleared = 1;
      for (int64_t block = begin; block < end; ++block)
        run_block(block, block + 1 < end, packed, context.shared, context.local[thread]);
    });
    program_.finish(context.shared, *context.pool);
  }

private:
  size_t packed_offset() const {
    return static_cast<size_t>(round_up(static_cast<int64_t>(program_.shared_bytes()), 64));
  }

  // Of a row of sums: those of all images of a block, and what lies between them.
  int64_t columns_of(const Window::Part& part) const {
    return (part.images - 1) * planes_.image_stride() + ceil_div(window_.columns.destination, window_.columns.step);
  }

  void add_phase(size_t row_phase, size_t column_phase) {
    const Axis &rows = window_.rows, &columns = window_.columns;
    Phase phase{static_cast<int64_t>(row_phase), static_cast<int64_t>(column_phase), {}, {}};
    for (const Axis::Tap& x : columns.phases[column_phase])
      // Rows of the same remainder follow each other in a plane.
      for (int64_t remainder = 0; remainder < rows.source_step; ++remainder) {
        int64_t next = -1; // the offset that the taps at hand would go on with
        for (const Axis::Tap& y : rows.phases[row_phase]) {
          const int64_t row = y.offset - rows.low;
          if (row % rows.source_step != remainder) continue;
          const int64_t offset = planes_.at(row, x.offset - columns.low);
          if (offset == next && phase.taps.back().count < kMaximumPlaneTaps)
            ++phase.taps.back().count;
          else
            phase.taps.push_back({offset, 1});
          next = offset + planes_.row_stride();
          phase.kernel.push_back(y.kernel * of_.shape.kernel_width + x.kernel);
        }
      }
    group_weights_ += static_cast<int64_t>(phase.kernel.size()) * of_.in * of_.out;
    phases_.push_back(std::move(phase));
  }

  // [group][phase][outputs] and there in the order of the sum.
  void pack_weights(float* packed) const {
    for (int64_t group = 0; group < of_.groups; ++group)
      for (const Phase& phase : phases_)
        for (const Outputs& outputs : outputs_)
          for (int64_t channel = 0; channel < of_.in; ++channel)
            for (const int64_t kernel : phase.kernel)
              for (int64_t i = 0; i < outputs.count; ++i)
                *packed++ =
                    of_.weights_at(kernel, group)[channel * of_.in_stride() + (outputs.first + i) * of_.out_stride()];
  }

  void run_block(int64_t number, bool more, const float* packed, char* shared, char* local) const {
    const Window::Part part = window_.part(number);
    float* planes = reinterpret_cast<float*>(local);
    float* sums = reinterpret_cast<float*>(local + planes_.bytes());
    float* c = reinterpret_cast<float*>(local + planes_.bytes() + sums_bytes_);
    if (direct_ != nullptr) c = static_cast<float*>(direct_->data) + part.pixel * channels_;
    if (in_place_) sums = c;
    planes_.fill(of_.source, part, planes);
    const Window::Stretch next = more ? window_.stretch(of_.source, window_.part(number + 1)) : Window::Stretch{};
    int64_t steps = 0; // vectors of a tile times channels
    for (const Outputs& outputs : outputs_)
      steps += of_.groups * of_.in * static_cast<int64_t>(window_.columns.phases.size()) *
               ceil_div(part.rows, tier_.plane_rows[outputs.count - 1]) * ceil_div(columns_of(part), tier_.lanes);
    Ahead ahead{next.data, ceil_div(next.bytes, 64), 0};
    ahead.per_step = ceil_div(ahead.lines, steps);
    for (int64_t group = 0; group < of_.groups; ++group)
      for (const Phase& phase : phases_) {
        if (group + 1 == of_.groups) prefetch_program(part, &phase - phases_.data());
        multiply(phase, part, group, planes, sums, packed, ahead);
      }
    if (!in_place_) interleave(part, sums, c);
    if (direct_ != nullptr) return;
    const Block block{0, number, part.pixel, part.pixels, 0, 0, channels_, c, channels_};
    program_.run(block, shared, local + planes_.bytes() + sums_bytes_ + c_bytes_);
  }

  // What the program needs for the block is fetched meanwhile, a part with each phase; its short rows as one.
  void prefetch_program(const Window::Part& part, int64_t phase) const {
    if (direct_ != nullptr) return;
    const int64_t share = ceil_div(part.pixels, static_cast<int64_t>(phases_.size())), first = phase * share;
    const int64_t pixels = std::min(share, part.pixels - first);
    if (pixels > 0) program_.prefetch({0, 0, part.pixel + first, 1, 0, 0, pixels * channels_, nullptr, 0}, 0, 1);
  }

  // One phase of one group; `weights` goes on to the next.
  void multiply(const Phase& phase, const Window::Part& block, int64_t group, const float* planes, float* sums,
                const float*& weights, Ahead& ahead) const {
    const int64_t row_sums = streams_ * sum_, step = window_.rows.step;
    PlaneTile tile{};
    tile.columns = columns_of(block);
    tile.channels = of_.in;
    tile.tap_count = static_cast<int64_t>(phase.taps.size());
    tile.taps = phase.taps.data();
    tile.plane_stride = planes_.plane_stride();
    tile.row_stride = planes_.row_stride();
    tile.sum_stride = sum_;
    tile.sum_row_stride = step * row_sums;
    planes += group * of_.in * tile.plane_stride;
    sums += phase.row_phase * row_sums + (phase.column_phase * channels_ + group * of_.out) * sum_;
    const int64_t tile_steps = ceil_div(tile.columns, tier_.lanes) * of_.in;
    for (const Outputs& outputs : outputs_) {
      tile.weights = weights;
      weights += static_cast<int64_t>(phase.kernel.size()) * of_.in * outputs.count;
      for_each_tile(window_.rows.positions(block.rows, phase.row_phase), tier_.plane_rows[outputs.count - 1],
                    [&](int64_t row, int64_t count) {
                      ahead.give(tile, tile_steps);
                      tile.planes = planes + row * tile.row_stride;
                      tile.sums = sums + row * tile.sum_row_stride + outputs.first * sum_;
                      tier_.planes[outputs.count - 1][count - 1](&tile);
                    });
    }
  }

  void interleave(const Window::Part& part, float* sums, float* c) const {
    const int64_t floats = window_.columns.destination * channels_;
    for (int64_t image = 0; image < part.images; ++image) {
      const InterleaveCall call{streams_,
                                part.rows,
                                floats,
                                sums + image * planes_.image_stride(),
                                sum_,
                                streams_ * sum_,
                                c + image * part.rows * floats,
                                floats};
      tier_.interleave(&call);
    }
  }

  const TierKernels& tier_;
  const Correlation of_;
  const int64_t channels_; // of the destination, all groups
  const Window window_;
  const Planes planes_;
  TileProgram program_;
  const ResolvedOperand* direct_; // where results go without passing through the program
  const int64_t per_job_;
  const int64_t streams_; // planes of sums
  int64_t sum_ = 0;       // floats of one row of one of them
  bool in_place_ = false; // sums are the destination's rows as they are
  int64_t group_weights_ = 0;
  std::vector<char> cleared_; // by thread
  std::vector<Outputs> outputs_;
  std::vector<Phase> phases_;
  size_t sums_bytes_ = 0, c_bytes_ = 0;
};

} // namespace

// Planes of very many channels do not stay in cache.
bool prefers_dots(const Correlation& of, const TierKernels& tier) {
  return !of.depthwise() && of.out * 3 <= tier.lanes && of.in * of.groups > 256;
}

// Output channels for lanes waste less of the lanes the more of them there are, but pay only where many products are
// summed.
bool prefers_planes(const Correlation& of, const TierKernels& tier) {
  const bool few = of.out * 2 <= tier.lanes || (of.out < tier.lanes && of.in < 2 * tier.lanes);
  return few && !of.depthwise() && !prefers_dots(of, tier);
}

std::unique_ptr<Kernel> make_planar_convolution(const ResolvedStep& step, const TierKernels& tier) {
  return std::make_unique<PlanarConvolutionKernel>(step, tier);
}

} // namespace nodevae
