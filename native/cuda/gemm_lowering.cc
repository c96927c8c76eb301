#include "gemm_lowering.h"

#include <algorithm>

namespace nodevae::cuda {

namespace {

constexpr int kReferenceMultiprocessors = 108;
constexpr int64_t kMaxSplits = 64;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The time of a product in units of one multiprocessor doing 128 multiply-adds: waves of blocks times the time of one.
// A block that is alone on its multiprocessor does not hide its own latencies, and small tiles load more per
// multiply-add; tensor cores make everything around the multiplications weigh more.
double estimate(const ProductExtent& e, TileShape shape, int64_t splits, Method method, int multiprocessors) {
  const double speed = method == Method::float32 ? 1 : method == Method::tf32 ? 4 : 6;
  const double elements = static_cast<double>(shape.rows) * shape.columns;
  const double efficiency = elements > 8192 ? 1.0 : method == Method::float32 ? 0.6 : 0.45;
  const double depth = static_cast<double>(ceil_div(e.depth, splits)) + 16;
  const double multiply = elements * depth / (128 * efficiency * speed);
  const double finish = elements * 4 / 32 + (splits > 1 ? 1500 + elements * 4 / 48 * static_cast<double>(splits) : 0);
  const int64_t blocks = e.outer * ceil_div(e.rows, shape.rows) * ceil_div(e.columns, shape.columns) * splits;
  const int64_t rounds = ceil_div(blocks, multiprocessors);
  return (rounds == 1 ? 1.3 : static_cast<double>(rounds)) * multiply + finish;
}

// Tiles whose other side would be mostly empty are left out.
bool fits(const ProductExtent& e, TileShape shape) {
  if (shape.columns == 32) return e.columns <= 32;
  if (shape.rows == 32) return e.rows <= 32 && e.columns > 32;
  return true;
}

ProductCut cheapest(const ProductExtent& e, Method method, int multiprocessors, int64_t first_split,
                    int64_t last_split) {
  ProductCut best{kTileShapes[0], 1, 0};
  double least = -1;
  for (const TileShape& shape : kTileShapes) {
    if (!fits(e, shape)) continue;
    // Parts cost memory traffic: they are for products that leave multiprocessors idle otherwise.
    const int64_t tiles = e.outer * ceil_div(e.rows, shape.rows) * ceil_div(e.columns, shape.columns);
    const int64_t most = first_split == 1 && tiles >= multiprocessors ? 1 : last_split;
    for (int64_t splits = first_split; splits <= most; splits += splits < 8 ? 1 : splits < 32 ? 4 : 8) {
      const double cost = estimate(e, shape, splits, method, multiprocessors);
      if (least >= 0 && cost >= least) continue;
      least = cost;
      best = {shape, static_cast<int32_t>(splits), 0};
    }
  }
  return best;
}

} // namespace

ProductCut cut_product(const ProductExtent& extent, Method method, int multiprocessors) {
  const int64_t most = std::clamp<int64_t>(extent.depth / 64, 1, kMaxSplits);
  const int64_t wanted = cheapest(extent, method, kReferenceMultiprocessors, 1, most).splits;
  // Whole stages of every kernel's pipeline, so that no split has a ragged one of its own.
  const int64_t split_depth = std::max<int64_t>(16, ceil_div(ceil_div(extent.depth, wanted), 16) * 16);
  const int64_t splits = std::max<int64_t>(1, ceil_div(extent.depth, split_depth));
  ProductCut cut = cheapest(extent, method, multiprocessors, splits, splits);
  cut.split_depth = static_cast<int32_t>(split_depth);
  return cut;
}

Method product_method(const Target& target) {
  if (target.precision == Precision::float32) return Method::float32;
  const Method method = target.precision == Precision::tf32 ? Method::tf32 : Method::bfloat16;
  if (target.capability < 80)
    throw KernelError(std::string("precision \"") + method_name(method) +
                      "\" needs a GPU of compute capability 8.0 or later, received one of " +
                      std::to_string(target.capability / 10) + "." + std::to_string(target.capability % 10) +
                      "; use precision \"float32\"");
  return method;
}

const char* method_name(Method method) {
  return method == Method::float32 ? "float32" : method == Method::tf32 ? "tf32" : "bfloat16";
}

std::string product_entry(const std::string& kernel, Method method, TileShape shape) {
  return kernel + "_" + method_name(method) + "_" + std::to_string(shape.rows) + "x" + std::to_string(shape.columns);
}

uint32_t product_shared_bytes(Method method, TileShape shape, int capability, size_t program_stage_bytes) {
  const size_t pipeline = static_cast<size_t>(pipeline_bytes(method != Method::float32, shape, capability >= 80));
  return static_cast<uint32_t>(std::max(pipeline, static_cast<size_t>(slab_bytes(shape)) + program_stage_bytes));
}

} // namespace nodevae::cuda
