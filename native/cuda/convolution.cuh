// Where the factors of a convolution lie, on the device: windows are never copied together. A position of the
// destination gives a Window, a position of the kernel with a channel gives a Tap, and the two give an address or,
// in the halo, none.
#pragma once

#include "convolution.h"

namespace nodevae::cuda {

// A window of the source: its address for the tap that has no offset, which may itself lie outside of the image.
struct Window {
  const float* base;
  int y, x;
};

// What a kernel position and a channel add to a window.
struct Tap {
  int y, x;
  int distance; // in elements
};

__device__ inline bool within(int y, int x, const Tap& tap, int source_rows, int source_columns) {
  return static_cast<unsigned>(y + tap.y) < static_cast<unsigned>(source_rows) &&
         static_cast<unsigned>(x + tap.x) < static_cast<unsigned>(source_columns);
}

__device__ inline const float* tap_address(const Window& window, const Tap& tap, int source_rows, int source_columns) {
  return within(window.y, window.x, tap, source_rows, source_columns) ? window.base + tap.distance : nullptr;
}

__device__ inline Window window_at(const float* image, int y, int x, int source_columns, int source_channels) {
  return {image + (static_cast<int64_t>(y) * source_columns + x) * source_channels, y, x};
}

// All of whose addresses are null.
__device__ inline Window no_window() { return {nullptr, -(1 << 30), 0}; }

__device__ inline Tap no_tap() { return {1 << 30, 0, 0}; }

// One phase of a correlation.
struct CorrelationPhase {
  int row_phase, column_phase;
  AxisPhase rows, columns;

  __device__ CorrelationPhase(const CorrelationArguments& c, int row_phase, int column_phase)
      : row_phase(row_phase), column_phase(column_phase), rows(axis_phase(c.rows, row_phase)),
        columns(axis_phase(c.columns, column_phase)) {}
  // Phases are numbered row by row.
  __device__ CorrelationPhase(const CorrelationArguments& c, int phase)
      : CorrelationPhase(c, phase / c.columns.phases, phase % c.columns.phases) {}
  __device__ int pixels(const CorrelationArguments& c) const {
    return c.images * rows.positions.divisor * columns.positions.divisor;
  }
  __device__ int depth(const CorrelationArguments& c) const { return rows.taps.divisor * columns.taps.divisor * c.in; }

  struct Position {
    int image, row, column; // row and column: index within the phase
  };
  __device__ Position position(int pixel) const {
    const int line = divide(pixel, columns.positions), image = divide(line, rows.positions);
    return {image, line - image * rows.positions.divisor, pixel - line * columns.positions.divisor};
  }
  // Number of a pixel of the phase in the whole destination.
  __device__ int destination(const CorrelationArguments& c, int pixel) const {
    if (c.rows.stride == 1 && c.columns.stride == 1) return pixel;
    const Position at = position(pixel);
    const int y = row_phase + at.row * c.rows.stride, x = column_phase + at.column * c.columns.stride;
    return (at.image * c.rows.destination + y) * c.columns.destination + x;
  }
  __device__ Window window(const CorrelationArguments& c, int pixel, int group) const {
    return window(c, position(pixel), group);
  }
  __device__ Window window(const CorrelationArguments& c, const Position& at, int group) const {
    const int channels = c.in * c.groups;
    const float* image = reinterpret_cast<const float*>(c.source) +
                         static_cast<int64_t>(at.image) * c.rows.source * c.columns.source * channels + group * c.in;
    return window_at(image, at.row * c.rows.source_step + rows.first, at.column * c.columns.source_step + columns.first,
                     c.columns.source, channels);
  }
  // Kernel positions that meet the phase are numbered row by row, by tap.
  __device__ int kernel_position(const CorrelationArguments& c, int tap_row, int tap_column) const {
    return (rows.kernel_first + tap_row * c.rows.kernel_step) * c.columns.kernel + columns.kernel_first +
           tap_column * c.columns.kernel_step;
  }
  // The weights of a group, for its first channels and the first tap.
  __device__ const float* weights(const CorrelationArguments& c, int group) const {
    return reinterpret_cast<const float*>(c.weights) + static_cast<int64_t>(group) * c.weight_group +
           kernel_position(c, 0, 0) * c.weight_position;
  }
};

// Depth of a correlation runs over (tap row, tap column, channel of the source).
struct TapChannel {
  int row, column, channel;
};

__device__ inline Tap correlation_tap(const CorrelationArguments& c, const TapChannel& at) {
  return {at.row * c.rows.tap_step, at.column * c.columns.tap_step,
          at.row * c.tap_row + at.column * c.tap_column + at.channel};
}

// Distance from CorrelationPhase::weights().
__device__ inline int tap_weight(const CorrelationArguments& c, const TapChannel& at) {
  return at.row * c.weight_tap_row + at.column * c.weight_tap_column + at.channel * c.weight_in;
}

// The window of one output pixel, for conv2d_weight_gradient.
__device__ inline Window pixel_window(const WeightGradientArguments& c, int pixel, int group) {
  const int image = divide(pixel, c.pixels_divisor), rest = pixel - image * c.pixels_divisor.divisor;
  const int row = divide(rest, c.columns_divisor), column = rest - row * c.columns_divisor.divisor;
  const int channels = c.channels * c.groups;
  const float* first = reinterpret_cast<const float*>(c.image) +
                       static_cast<int64_t>(image) * c.rows.source * c.columns.source * channels + group * c.channels;
  return window_at(first, row * c.rows.source_step - c.rows.pad, column * c.columns.source_step - c.columns.pad,
                   c.columns.source, channels);
}

// A row of the weights' gradient: (kernel row, kernel column, channel of the group).
__device__ inline Tap weight_tap(const WeightGradientArguments& c, int weight) {
  const int position = divide(weight, c.channels_divisor);
  const int row = divide(position, c.kernel_columns_divisor);
  const int y = row * c.rows.dilation, x = (position - row * c.columns.kernel) * c.columns.dilation;
  return {y, x, (y * c.columns.source + x) * c.channels * c.groups + weight - position * c.channels};
}

} // namespace nodevae::cuda
