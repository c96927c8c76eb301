// The geometry of convolutions, as the kernels take it. Shared by host and device.
//
// conv2d and conv2d_input_gradient are one relation ("correlation") between a source and a destination image. In each
// direction of the image, destination position phase + index * stride reads, for each tap of its phase, source
// position index * source_step + first + tap * tap_step, and multiplies with kernel position kernel_first +
// tap * kernel_step. Forward there is one phase with all taps. The gradient has one phase for each remainder of the
// position modulo the stride, with the taps that meet it, so that no zero is multiplied.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define NODE_VAE_BOTH __host__ __device__
#else
#define NODE_VAE_BOTH
#endif

namespace nodevae::cuda {

// Divides integers from 0 to 2^31 - 1 by multiplication (Granlund and Montgomery 1994, "Division by invariant integers
// using multiplication"): with 2^(s-1) < divisor <= 2^s, the reciprocal rounded up at 31 + s bits is exact enough.
struct Divisor {
  int32_t divisor;
  uint32_t reciprocal;
  int32_t shift;
};

// Nothing is divided by an extent of 0.
NODE_VAE_BOTH inline Divisor make_divisor(int32_t divisor) {
  if (divisor <= 0) return {divisor, 0, 0};
  int32_t shift = 0;
  while (shift < 31 && (int64_t{1} << shift) < divisor) ++shift;
  const uint64_t d = static_cast<uint64_t>(divisor);
  return {divisor, static_cast<uint32_t>(((uint64_t{1} << (31 + shift)) + d - 1) / d), shift};
}

NODE_VAE_BOTH inline int32_t divide(int32_t value, const Divisor& by) {
  return static_cast<int32_t>((static_cast<uint64_t>(2 * static_cast<uint32_t>(value)) * by.reciprocal >> 32) >>
                              by.shift);
}

// One phase of one direction of the image.
struct AxisPhase {
  Divisor positions; // of the destination
  Divisor taps;      // 0 of them where nothing is read
  int32_t first, kernel_first;
};

constexpr int kPhaseTable = 4; // strides beyond are rare; their phases are worked out on the device

struct CorrelationAxis {
  int32_t source, destination; // extents
  int32_t phases, stride, source_step;
  int32_t kernel, kernel_step, tap_step;
  int32_t pad, dilation;
  Divisor destination_divisor, stride_divisor;
  AxisPhase table[kPhaseTable]; // of the first phases
};

// A phase of the gradient. Output o reads input o * stride - pad + k * dilation, so input `phase` is read for those k
// where the division leaves no rest: the least of them and every kernel_step-th after it.
NODE_VAE_BOTH inline AxisPhase gradient_phase(const CorrelationAxis& axis, int32_t phase) {
  AxisPhase result{make_divisor((axis.destination - phase + axis.stride - 1) / axis.stride), {0, 0, 0}, 0, 0};
  for (int32_t k = 0; k < axis.kernel_step && k < axis.kernel; ++k) {
    const int32_t distance = phase + axis.pad - k * axis.dilation;
    if (distance % axis.stride != 0) continue;
    result.first = distance / axis.stride;
    result.kernel_first = k;
    result.taps = make_divisor((axis.kernel - 1 - k) / axis.kernel_step + 1);
    break;
  }
  return result;
}

NODE_VAE_BOTH inline AxisPhase axis_phase(const CorrelationAxis& axis, int32_t phase) {
  return phase < kPhaseTable ? axis.table[phase] : gradient_phase(axis, phase);
}

// Weights lie [kernel position][channel of the group][filter of all groups]; strides are in elements.
struct CorrelationArguments {
  uint64_t source, weights;
  CorrelationAxis rows, columns;
  int32_t images, groups;
  int32_t in, out; // channels of one group of the source and of the destination
  Divisor in_divisor;
  int32_t weight_position, weight_in, weight_out, weight_group; // strides
  int32_t tap_row, tap_column;                                  // distances in the source from tap to tap,
  int32_t weight_tap_row, weight_tap_column;                    // and in the weights
};

struct WeightGradientArguments {
  uint64_t image, gradient;
  CorrelationAxis rows, columns; // forward, from the image to the gradient
  int32_t images, groups;
  int32_t channels, filters; // of one group
  Divisor channels_divisor, kernel_columns_divisor;
  Divisor pixels_divisor, columns_divisor; // pixels of one gradient image, its columns
};

} // namespace nodevae::cuda
