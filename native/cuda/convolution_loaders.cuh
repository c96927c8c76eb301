// The factors of convolutions as the main loop of products (gemm.cuh) asks for them. What threads keep for each line is
// little, since they keep it in registers all along: distances are relative to where the block's tile begins.
#pragma once

#include "convolution.cuh"
#include "gemm.cuh"

namespace nodevae::cuda {

// Loaders that offer few ways of copying make small kernels. For large tiles, which have no registers to spare, they
// take vectors alone (needs_vectors(), convolution_product.h).
template <bool VectorsOnly> __device__ __forceinline__ Copy vector_or(Copy scalar, Copy chosen) {
  return VectorsOnly || chosen == Copy::vector ? Copy::vector : scalar;
}

// Finds the tap and the channel of a k.
struct CorrelationDepth {
  const CorrelationArguments& geometry; // in the kernel's parameters
  Divisor taps;                         // along the columns

  __device__ CorrelationDepth(const CorrelationArguments& geometry, const CorrelationPhase& phase)
      : geometry(geometry), taps(phase.columns.taps) {}
  __device__ TapChannel at(int k) const {
    const int tap = divide(k, geometry.in_divisor), row = divide(tap, taps);
    return {row, tap - row * taps.divisor, k - tap * geometry.in};
  }
};

// A of a correlation: lines are pixels of the phase.
template <Layout L, bool VectorsOnly> class CorrelationSource {
public:
  struct Line {
    int y, x, distance;
  };
  using Depth = Tap;
  __device__ CorrelationSource(const CorrelationDepth& depth, const CorrelationPhase& phase, int group, int first_line,
                               Copy copy)
      : depth_(depth), phase_(phase), group_(group),
        base_(phase.window(depth.geometry, min(first_line, max(0, phase.pixels(depth.geometry) - 1)), group).base),
        copy_(copy) {}
  __device__ Line line(int index) const {
    if (index >= phase_.pixels(depth_.geometry)) return {-(1 << 30), 0, 0};
    const Window window = phase_.window(depth_.geometry, index, group_);
    return {window.y, window.x, static_cast<int>(window.base - base_)};
  }
  __device__ Depth depth(int k) const { return correlation_tap(depth_.geometry, depth_.at(k)); }
  __device__ const float* address(const Line& line, const Depth& tap) const {
    const bool inside = within(line.y, line.x, tap, depth_.geometry.rows.source, depth_.geometry.columns.source);
    return inside ? base_ + (line.distance + tap.distance) : nullptr;
  }
  __device__ Copy copy() const {
    if (L == Layout::by_depth) return Copy::along_depth;
    return vector_or<VectorsOnly>(Copy::along_depth, copy_);
  }

private:
  const CorrelationDepth& depth_;
  const CorrelationPhase& phase_;
  int group_;
  const float* base_;
  Copy copy_;
};

// B of a correlation: lines are channels of the destination. From the input (forward), neighbouring lines are
// neighbours in memory; towards the input, neighbouring ks are.
template <bool Forward, Layout L, bool VectorsOnly> class CorrelationWeights {
public:
  struct Line {
    int distance; // -1: beyond the last
  };
  using Depth = const float*;
  __device__ CorrelationWeights(const CorrelationDepth& depth, const CorrelationPhase& phase, int group, Copy copy)
      : depth_(depth), base_(phase.weights(depth.geometry, group)), copy_(copy) {}
  __device__ Line line(int index) const {
    return {index < depth_.geometry.out ? index * depth_.geometry.weight_out : -1};
  }
  __device__ Depth depth(int k) const {
    const CorrelationArguments& g = depth_.geometry;
    return base_ + (Forward ? k * g.weight_in : tap_weight(g, depth_.at(k)));
  }
  __device__ const float* address(const Line& line, const Depth& depth) const {
    return line.distance < 0 ? nullptr : depth + line.distance;
  }
  __device__ Copy copy() const {
    if (Forward) return vector_or<VectorsOnly>(Copy::along_lines, copy_);
    if (L == Layout::by_depth) return Copy::along_depth;
    return vector_or<VectorsOnly>(Copy::along_depth, copy_);
  }

private:
  const CorrelationDepth& depth_;
  const float* base_;
  Copy copy_;
};

// A of the weights' gradient: lines are (kernel row, kernel column, channel), depth runs over the pixels of the
// gradient of the output.
template <bool VectorsOnly> class GradientWindows {
public:
  using Line = Tap;
  using Depth = Window;
  __device__ GradientWindows(const WeightGradientArguments& geometry, int group, Copy copy)
      : geometry_(geometry), group_(group), copy_(copy) {}
  __device__ Line line(int index) const {
    const int lines = geometry_.rows.kernel * geometry_.columns.kernel * geometry_.channels;
    return index < lines ? weight_tap(geometry_, index) : no_tap();
  }
  __device__ Depth depth(int k) const { return pixel_window(geometry_, k, group_); }
  __device__ const float* address(const Line& tap, const Depth& window) const {
    return tap_address(window, tap, geometry_.rows.source, geometry_.columns.source);
  }
  __device__ Copy copy() const { return vector_or<VectorsOnly>(Copy::along_lines, copy_); }

private:
  const WeightGradientArguments& geometry_;
  int group_;
  Copy copy_;
};

// B of the weights' gradient: lines are filters.
template <bool VectorsOnly> class GradientPixels {
public:
  struct Line {
    int filter; // -1: beyond the last
  };
  using Depth = const float*;
  __device__ GradientPixels(const WeightGradientArguments& geometry, int group, Copy copy)
      : geometry_(geometry), gradient_(reinterpret_cast<const float*>(geometry.gradient) + group * geometry.filters),
        copy_(copy) {}
  __device__ Line line(int index) const { return {index < geometry_.filters ? index : -1}; }
  __device__ Depth depth(int k) const {
    return gradient_ + static_cast<int64_t>(k) * (geometry_.filters * geometry_.groups);
  }
  __device__ const float* address(const Line& line, const Depth& pixel) const {
    return line.filter < 0 ? nullptr : pixel + line.filter;
  }
  __device__ Copy copy() const { return vector_or<VectorsOnly>(Copy::along_lines, copy_); }

private:
  const WeightGradientArguments& geometry_;
  const float* gradient_;
  Copy copy_;
};

} // namespace nodevae::cuda
