// Convolutions of few channels, without a product's tiles.
#include <algorithm>

#include "convolution_direct.h"
#include "convolution_lowering.h"
#include "program.h"
#include "step.h"

namespace nodevae::cuda {

namespace {

constexpr int32_t kGroupedChannels = 8; // of a group: with more of them, the tile of a product is full enough
constexpr int64_t kWeightBlocks = 432; // that keep a large device busy; the same everywhere, as they decide on rounding
constexpr int64_t kMaxSplits = 64;
constexpr int64_t kLeastPixels = 16; // of one thread

int32_t log2_up(int64_t value, int32_t most) {
  int32_t log2 = 0;
  while (log2 < most && (int64_t{1} << log2) < value) ++log2;
  return log2;
}

template <class Arguments> class DirectStep final : public LoweredStep {
public:
  DirectStep(Program program, const Arguments& arguments, const Target& target, const std::string& file,
             const std::string& entry, int64_t blocks, size_t shared_bytes)
      : program_(std::move(program)), arguments_(arguments), entry_(entry + "_v" + std::to_string(program_.vector())),
        blocks_(grid_of(blocks, "convolution")), shared_bytes_(shared_bytes + program_.stage_bytes()),
        module_(program_.splice(file, target.capability, entry_, offsetof(Arguments, program))) {}

  // Partial sums of `splits` parts for each of the blocks.
  void split(int64_t splits, int64_t elements) {
    splits_ = static_cast<uint32_t>(splits);
    if (splits == 1) return;
    partial_bytes_ = static_cast<size_t>(splits * elements * blocks_) * sizeof(float);
    split_tickets_ = blocks_;
  }

  size_t scratch_bytes() const override { return partial_bytes_ + program_.scratch_bytes(); }
  size_t tickets() const override { return split_tickets_ + program_.tickets(); }
  std::vector<Launch> launches(const Addresses& addresses) const override {
    Arguments arguments = arguments_;
    arguments.program = program_.arguments(addresses, partial_bytes_, split_tickets_);
    if constexpr (std::is_same_v<Arguments, DirectWeightsArguments>) {
      arguments.partials = addresses.scratch;
      arguments.tickets = addresses.tickets;
    }
    Launch launch = launch_of(module_, entry_.c_str(), blocks_, arguments, shared_bytes_);
    launch.grid[1] = splits_;
    return {launch};
  }

private:
  Program program_;
  Arguments arguments_;
  std::string entry_;
  uint32_t blocks_, splits_ = 1;
  size_t shared_bytes_, partial_bytes_ = 0, split_tickets_ = 0;
  std::shared_ptr<const std::string> module_;
};

std::unique_ptr<LoweredStep> lower_grouped(const ResolvedStep& step, const CorrelationArguments& geometry,
                                           const Target& target) {
  GroupedArguments p{};
  p.geometry = geometry;
  const int64_t columns = step.space[kColumns];
  const PhaseExtent extent = phase_extent(geometry);
  p.columns_log2 = log2_up(columns, kDirectWidthLog2);
  const int64_t width = int64_t{1} << p.columns_log2, tile_rows = kBlockThreads * kGroupedPixels / width;
  p.column_blocks = static_cast<int32_t>(divide_up(columns, width));
  p.blocks_per_phase = static_cast<int32_t>(divide_up(extent.pixels, tile_rows));
  const int64_t row_blocks = int64_t{extent.phases} * p.blocks_per_phase;
  Program program(ProgramSpace(step, 2), row_blocks, p.column_blocks);
  p.lanes_log2 = lanes_for(std::min(width, columns), program.vector());
  return std::make_unique<DirectStep<GroupedArguments>>(std::move(program), p, target, "convolution_direct",
                                                        "convolution_grouped", row_blocks * p.column_blocks, 0);
}

std::unique_ptr<LoweredStep> lower_narrow(const ResolvedStep& step, const CorrelationArguments& geometry,
                                          const Target& target) {
  NarrowArguments p{};
  p.geometry = geometry;
  const bool vectors = reads_vectors(step.operands[0], geometry.in);
  p.pixels = phase_extent(geometry).all_pixels;
  p.share_log2 = log2_up(divide_up(geometry.in, vectors ? 4 : 1), 3);
  const int64_t blocks = divide_up(p.pixels, kNarrowPixels);
  Program program(ProgramSpace(step, 2), blocks, 1);
  p.lanes_log2 = lanes_for(geometry.out, program.vector());
  const int64_t weights = int64_t{geometry.rows.kernel} * geometry.columns.kernel * geometry.out * geometry.in;
  const int64_t floats = kNarrowPixels * kNarrow + divide_up(weights, 4) * 4;
  return std::make_unique<DirectStep<NarrowArguments>>(std::move(program), p, target, "convolution_direct",
                                                       vectors ? "convolution_narrow_vector"
                                                               : "convolution_narrow_scalar",
                                                       blocks, static_cast<size_t>(floats) * sizeof(float));
}

} // namespace

std::unique_ptr<LoweredStep> lower_direct_correlation(const ResolvedStep& step, const ConvolutionShape& shape,
                                                      const Target& target) {
  const CorrelationArguments geometry = correlation_arguments(step, shape);
  if (geometry.groups > 1 && geometry.out <= kGroupedChannels) return lower_grouped(step, geometry, target);
  if (geometry.groups > 1 || geometry.out > kNarrow) return nullptr;
  const int64_t weights = int64_t{shape.weight_rows()} * shape.filters;
  // Few pixels leave most of the device idle, unless the depth is shared out by a product.
  const bool deep = weights / geometry.out > 1024 && phase_extent(geometry).all_pixels < 4096;
  return weights <= kNarrowWeights && !deep ? lower_narrow(step, geometry, target) : nullptr;
}

std::unique_ptr<LoweredStep> lower_direct_weights(const ResolvedStep& step, const ConvolutionShape& shape,
                                                  const Target& target) {
  const bool grouped = shape.groups > 1;
  if (shape.group_filters() > (grouped ? kGroupedChannels : kNarrow)) return nullptr;
  DirectWeightsArguments p{};
  p.geometry = weight_gradient_arguments(step, shape);
  p.pixels = shape.out_pixels();
  p.rows = shape.weight_rows();
  // Tiles of even height.
  int64_t row_blocks;
  if (grouped) {
    p.columns_log2 = log2_up(shape.filters, kDirectWidthLog2);
    row_blocks = divide_up(p.rows, kGroupedRows);
    p.tile_rows = static_cast<int32_t>(divide_up(p.rows, row_blocks));
    p.column_blocks = static_cast<int32_t>(divide_up(shape.filters, int64_t{1} << p.columns_log2));
  } else {
    p.columns_log2 = log2_up(divide_up(p.rows, kNarrowRows), 5);
    const int64_t width = int64_t{1} << p.columns_log2;
    row_blocks = divide_up(p.rows, width * kNarrowRows);
    p.tile_rows = static_cast<int32_t>(divide_up(divide_up(p.rows, row_blocks), width) * width);
    row_blocks = divide_up(p.rows, p.tile_rows);
    p.column_blocks = 1;
  }
  const int64_t blocks = row_blocks * p.column_blocks, lanes = kBlockThreads >> p.columns_log2;
  const int64_t most = std::clamp<int64_t>(p.pixels / (lanes * kLeastPixels), 1, kMaxSplits);
  p.split_pixels = static_cast<int32_t>(divide_up(p.pixels, std::min(most, divide_up(kWeightBlocks, blocks))));
  p.splits = static_cast<int32_t>(divide_up(p.pixels, p.split_pixels));

  Program program(ProgramSpace(step, 2), row_blocks, p.column_blocks);
  const int64_t width = std::min<int64_t>(shape.filters, grouped ? int64_t{1} << p.columns_log2 : kNarrow);
  p.lanes_log2 = lanes_for(width, program.vector());
  auto lowered = std::make_unique<DirectStep<DirectWeightsArguments>>(
      std::move(program), p, target, "convolution_direct_weights",
      grouped ? "convolution_grouped_weights" : "convolution_narrow_weights", blocks, 0);
  lowered->split(p.splits, p.tile_rows * (grouped ? int64_t{1} << p.columns_log2 : shape.filters));
  return lowered;
}

} // namespace nodevae::cuda
