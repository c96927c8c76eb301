// matmul: which of the kernels of matmul_*.cu computes a product, and its parameters.
#include "matmul.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>

#include "gemm_lowering.h"
#include "program.h"
#include "step.h"

namespace nodevae::cuda {

namespace {

int32_t stride32(int64_t stride, int64_t extent) {
  if (extent <= 1) return 0;
  if (stride != static_cast<int32_t>(stride))
    throw KernelError("matmul: expected strides below 2^31 elements, received " + std::to_string(stride) +
                      "; split the matrix");
  return static_cast<int32_t>(stride);
}

// An operand with its layout in shared memory, and how it is copied there.
struct Matrix {
  MatrixArguments arguments{};
  Layout layout;

  Matrix(const ResolvedOperand& operand, const int64_t* outer, int64_t lines, int64_t line_stride, int64_t depth,
         int64_t depth_stride, Method method) {
    arguments.data = address_of(operand);
    arguments.lines = static_cast<int32_t>(lines);
    arguments.line_stride = stride32(line_stride, lines);
    arguments.depth_stride = stride32(depth_stride, depth);
    bool aligned = arguments.data % 16 == 0;
    for (int d = 0; d < kOuter; ++d) {
      arguments.outer_stride[d] = outer[d] > 1 ? operand.strides[d] : 0;
      aligned &= arguments.outer_stride[d] % 4 == 0;
    }
    // Where a dimension of extent 1 is the contiguous one, the other can only be copied element by element.
    const bool lines_whole = aligned && line_stride == 1 && lines % 4 == 0 && arguments.depth_stride % 4 == 0;
    const bool depth_whole = aligned && depth_stride == 1 && depth % 4 == 0 && arguments.line_stride % 4 == 0;
    const bool along_depth = lines == 1 || (depth > 1 && std::llabs(depth_stride) < std::llabs(line_stride));
    if (method == Method::float32) {
      layout = Layout::by_depth;
      arguments.copy = lines_whole ? Copy::vector : along_depth ? Copy::along_depth : Copy::along_lines;
    } else {
      layout = depth_whole || (!lines_whole && along_depth) ? Layout::by_line : Layout::by_depth;
      arguments.copy = lines_whole || depth_whole  ? Copy::vector
                       : layout == Layout::by_line ? Copy::along_depth
                                                   : Copy::along_lines;
    }
  }
};

class Matmul final : public LoweredStep {
public:
  Matmul(const ResolvedStep& step, const Target& target)
      : method_(product_method(target)), rows_(step.space[kRows]), columns_(step.space[kColumns]),
        depth_(step.attributes[0]), outer_(step.space[0] * step.space[1] * step.space[2] * step.space[3]),
        cut_(cut_product({rows_, columns_, rows_ > 0 && columns_ > 0 ? depth_ : 0, outer_}, method_,
                         target.multiprocessors)),
        row_blocks_(blocks(rows_, cut_.shape.rows)), column_blocks_(blocks(columns_, cut_.shape.columns)),
        program_(make_program(step, target)),
        a_(step.operands[0], step.space, rows_, step.operands[0].strides[kRows], depth_, step.attributes[1], method_),
        b_(step.operands[1], step.space, columns_, step.operands[1].strides[kColumns], depth_, step.attributes[2],
           method_),
        tiles_(grid_of(outer_ * row_blocks_ * column_blocks_, "matmul")) {
    constexpr int64_t kMost = (int64_t{1} << 31) - 256; // the kernels count in 32 bits, a stage beyond the end
    if (rows_ > kMost || columns_ > kMost || depth_ > kMost)
      throw KernelError("matmul: expected extents up to " + std::to_string(kMost) + ", received " +
                        std::to_string(rows_) + " x " + std::to_string(depth_) + " times " + std::to_string(depth_) +
                        " x " + std::to_string(columns_) + "; split the matrices");
    // There are no kernels for the pair that both operands transposed would make: B is copied by elements instead.
    if (a_.layout == Layout::by_depth && b_.layout == Layout::by_line) {
      b_.layout = Layout::by_depth;
      b_.arguments.copy = Copy::along_depth;
    }
    const auto letter = [](Layout layout) { return layout == Layout::by_depth ? "d" : "l"; };
    entry_ = product_entry("matmul", method_, cut_.shape) + "_" + letter(a_.layout) + letter(b_.layout) + "_v" +
             std::to_string(program_.vector());
    module_ = program_.splice(std::string("matmul_") + method_name(method_), target.capability, entry_,
                              offsetof(MatmulParameters, program));
    shared_bytes_ = product_shared_bytes(method_, cut_.shape, target.capability, program_.stage_bytes());
  }

  size_t scratch_bytes() const override { return partial_bytes() + program_.scratch_bytes(); }
  size_t tickets() const override { return split_tickets() + program_.tickets(); }

  std::vector<Launch> launches(const Addresses& addresses) const override {
    if (tiles_ == 0) return {};
    MatmulParameters p{};
    p.program = program_.arguments(addresses, partial_bytes(), split_tickets());
    p.a = a_.arguments;
    p.b = b_.arguments;
    p.gemm.rows = static_cast<int32_t>(rows_);
    p.gemm.columns = static_cast<int32_t>(columns_);
    p.gemm.depth = static_cast<int32_t>(depth_);
    p.gemm.row_blocks = static_cast<int32_t>(row_blocks_);
    p.gemm.column_blocks = static_cast<int32_t>(column_blocks_);
    p.gemm.splits = cut_.splits;
    p.gemm.split_depth = cut_.split_depth;
    p.gemm.lanes_log2 = lanes_for(std::min<int64_t>(columns_, cut_.shape.columns), program_.vector());
    p.gemm.partials = addresses.scratch;
    p.gemm.tickets = addresses.tickets;
    Launch launch = launch_of(module_, entry_.c_str(), tiles_, p, shared_bytes_);
    launch.grid[1] = static_cast<uint32_t>(cut_.splits);
    return {launch};
  }

private:
  // Four columns per thread, or one where the reductions of so many do not fit into shared memory beside the tile.
  Program make_program(const ResolvedStep& step, const Target& target) const {
    const int64_t row_parts = blocks(rows_, slab_rows(cut_.shape));
    Program program(ProgramSpace(step, 2), row_parts, column_blocks_);
    if (product_shared_bytes(method_, cut_.shape, target.capability, program.stage_bytes()) <= target.shared_bytes)
      return program;
    Program::Options options;
    options.vector = 1;
    return Program(ProgramSpace(step, 2), row_parts, column_blocks_, options);
  }
  static int64_t blocks(int64_t extent, int64_t size) { return std::max<int64_t>(1, divide_up(extent, size)); }
  size_t partial_bytes() const {
    return cut_.splits == 1 ? 0 : size_t{tiles_} * cut_.splits * cut_.shape.rows * cut_.shape.columns * sizeof(float);
  }
  size_t split_tickets() const { return cut_.splits == 1 ? 0 : tiles_; }

  Method method_;
  int64_t rows_, columns_, depth_, outer_;
  ProductCut cut_;
  int64_t row_blocks_, column_blocks_;
  Program program_;
  Matrix a_, b_;
  uint32_t tiles_;
  std::string entry_;
  std::shared_ptr<const std::string> module_;
  uint32_t shared_bytes_;
};

} // namespace

std::unique_ptr<LoweredStep> lower_matmul(const ResolvedStep& step, const Target& target) {
  return std::make_unique<Matmul>(step, target);
}

} // namespace nodevae::cuda
