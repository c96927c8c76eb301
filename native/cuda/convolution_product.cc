// Convolutions as products of implicit matrices: which of the kernels of convolution_float32.cu, convolution_tf32.cu
// and convolution_bfloat16.cu computes one, and its parameters.
#include "convolution_product.h"

#include <algorithm>

#include "convolution_lowering.h"
#include "gemm_lowering.h"
#include "program.h"
#include "step.h"

namespace nodevae::cuda {

namespace {

Copy vector_or(Copy scalar, bool vectors) { return vectors ? Copy::vector : scalar; }

// Kernels keep distances within the source from the first pixel of a tile to its last.
void check_distances(const ResolvedStep& step, const CorrelationArguments& g) {
  const auto fewest = [](const CorrelationAxis& axis) { return std::max(1, axis.destination / axis.stride); };
  const int64_t pixels = int64_t{fewest(g.rows)} * fewest(g.columns);
  const int64_t images = std::min<int64_t>(g.images, 128 / pixels + 2);
  const int64_t image = int64_t{g.rows.source} * g.columns.source * g.in * g.groups;
  constexpr int64_t kLimit = int64_t{1} << 31;
  if (images * image >= kLimit)
    throw KernelError(std::string(kernel_name(step.kernel)) + " on CUDA: expected fewer than 2^31 elements in " +
                      std::to_string(images) + " images, received " + std::to_string(images * image) +
                      "; use smaller images, or the CPU");
}

// Blocks of rows and of columns, each of them in so many equal parts: phases and groups.
struct Partition {
  int64_t rows, columns, depth; // of the largest part
  int64_t row_parts, column_parts;
  bool vectors; // both factors can be copied by vectors
};

template <class Parameters> class ConvolutionProduct final : public LoweredStep {
public:
  ConvolutionProduct(const ResolvedStep& step, const Target& target, const Parameters& parameters,
                     const Partition& parts)
      : method_(product_method(target)), parameters_(parameters), cut_(choose_cut(parts, method_, target)),
        row_blocks_(parts.row_parts * divide_up(parts.rows, cut_.shape.rows)),
        column_blocks_(parts.column_parts * divide_up(parts.columns, cut_.shape.columns)),
        program_(make_program(step, target, parts)),
        tiles_(grid_of(row_blocks_ * column_blocks_, kernel_name(step.kernel))),
        entry_(product_entry(kernel_name(step.kernel), method_, cut_.shape) + "_v" + std::to_string(program_.vector())),
        module_(program_.splice(std::string("convolution_") + method_name(method_), target.capability, entry_,
                                offsetof(Parameters, program))),
        shared_bytes_(product_shared_bytes(method_, cut_.shape, target.capability, program_.stage_bytes())) {
    GemmArguments& gemm = parameters_.gemm;
    gemm.rows = static_cast<int32_t>(parts.rows);
    gemm.columns = static_cast<int32_t>(parts.columns);
    gemm.depth = static_cast<int32_t>(parts.depth);
    gemm.row_blocks = static_cast<int32_t>(row_blocks_);
    gemm.column_blocks = static_cast<int32_t>(column_blocks_);
    gemm.splits = cut_.splits;
    gemm.split_depth = cut_.split_depth;
    gemm.lanes_log2 = lanes_for(std::min<int64_t>(parts.columns, cut_.shape.columns), program_.vector());
    parameters_.blocks_per_group = static_cast<int32_t>(column_blocks_ / parts.column_parts);
    if constexpr (std::is_same_v<Parameters, CorrelationParameters>)
      parameters_.blocks_per_phase = static_cast<int32_t>(row_blocks_ / parts.row_parts);
  }

  size_t scratch_bytes() const override { return partial_bytes() + program_.scratch_bytes(); }
  size_t tickets() const override { return split_tickets() + program_.tickets(); }

  std::vector<Launch> launches(const Addresses& addresses) const override {
    Parameters p = parameters_;
    p.program = program_.arguments(addresses, partial_bytes(), split_tickets());
    p.gemm.partials = addresses.scratch;
    p.gemm.tickets = addresses.tickets;
    Launch launch = launch_of(module_, entry_.c_str(), tiles_, p, shared_bytes_);
    launch.grid[1] = static_cast<uint32_t>(cut_.splits);
    return {launch};
  }

private:
  static ProductCut choose_cut(const Partition& parts, Method method, const Target& target) {
    ProductCut cut = cut_product({parts.rows, parts.columns, parts.depth, parts.row_parts * parts.column_parts}, method,
                                 target.multiprocessors);
    if (needs_vectors(cut.shape) && !parts.vectors) cut.shape = {64, 64};
    return cut;
  }
  // Four columns per thread, or one where the tiles of a group begin at any column, or where the reductions of so many
  // do not fit into shared memory beside the tile.
  Program make_program(const ResolvedStep& step, const Target& target, const Partition& parts) const {
    // Correlations run all slabs of all tiles, others those that have rows.
    const int64_t slab = slab_rows(cut_.shape);
    const bool all = std::is_same_v<Parameters, CorrelationParameters>;
    const int64_t row_parts = all ? row_blocks_ * (cut_.shape.rows / slab) : divide_up(parts.rows, slab);
    Program::Options options;
    options.vector = parts.column_parts == 1 || parts.columns % 4 == 0 ? 4 : 1;
    Program program(ProgramSpace(step, 2), row_parts, column_blocks_, options);
    const size_t bytes = product_shared_bytes(method_, cut_.shape, target.capability, program.stage_bytes());
    if (bytes <= target.shared_bytes) return program;
    options.vector = 1;
    return Program(ProgramSpace(step, 2), row_parts, column_blocks_, options);
  }
  size_t partial_bytes() const {
    return cut_.splits == 1 ? 0 : size_t{tiles_} * cut_.splits * cut_.shape.rows * cut_.shape.columns * sizeof(float);
  }
  size_t split_tickets() const { return cut_.splits == 1 ? 0 : tiles_; }

  Method method_;
  Parameters parameters_;
  ProductCut cut_;
  int64_t row_blocks_, column_blocks_;
  Program program_;
  uint32_t tiles_;
  std::string entry_;
  std::shared_ptr<const std::string> module_;
  uint32_t shared_bytes_;
};

} // namespace

std::unique_ptr<LoweredStep> lower_correlation_product(const ResolvedStep& step, const ConvolutionShape& shape,
                                                       const Target& target) {
  CorrelationParameters p{};
  p.geometry = correlation_arguments(step, shape);
  check_distances(step, p.geometry);
  const bool forward = step.kernel == KernelId::conv2d;
  const bool source_vectors = reads_vectors(step.operands[0], p.geometry.in);
  const bool weight_vectors = reads_vectors(step.operands[1], shape.group_filters());
  p.source_copy = vector_or(Copy::along_depth, source_vectors);
  p.weights_copy = vector_or(forward ? Copy::along_lines : Copy::along_depth, weight_vectors);
  const PhaseExtent extent = phase_extent(p.geometry);
  const Partition parts{extent.pixels, p.geometry.out,    extent.depth,
                        extent.phases, p.geometry.groups, source_vectors && weight_vectors};
  return std::make_unique<ConvolutionProduct<CorrelationParameters>>(step, target, p, parts);
}

std::unique_ptr<LoweredStep> lower_weights_product(const ResolvedStep& step, const ConvolutionShape& shape,
                                                   const Target& target) {
  WeightGradientParameters p{};
  p.geometry = weight_gradient_arguments(step, shape);
  const bool image_vectors = reads_vectors(step.operands[0], shape.group_channels());
  const bool gradient_vectors = reads_vectors(step.operands[1], shape.group_filters());
  p.image_copy = vector_or(Copy::along_lines, image_vectors);
  p.gradient_copy = vector_or(Copy::along_lines, gradient_vectors);
  const Partition parts{shape.weight_rows(), shape.group_filters(),
                        shape.out_pixels(),  1,
                        shape.groups,        image_vectors && gradient_vectors};
  return std::make_unique<ConvolutionProduct<WeightGradientParameters>>(step, target, p, parts);
}

} // namespace nodevae::cuda
