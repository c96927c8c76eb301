// A block of an image as planes: one per channel and per remainder of the source position modulo the source step. In
// planes neighbouring windows are neighbouring floats, so pixels can be the lanes of a vector, and every kernel
// position is one offset.
#pragma once

#include "convolution.h"

namespace nodevae {

class Planes {
public:
  // Of the blocks of `window`, for reading `lanes` floats from any window on.
  Planes(const Window& window, int64_t channels, const TierKernels& tier);

  size_t bytes() const { return float_bytes(planes_ * plane_); }
  int64_t plane_stride() const { return plane_; }
  // All images of a block lie side by side, so that small ones fill vectors too.
  int64_t row_stride() const { return row_; }
  int64_t image_stride() const { return image_; }

  // Where the window of a block's first pixel has its position (row, column), counted from the axes' lowest offsets: in
  // the plane of the first channel.
  int64_t at(int64_t row, int64_t column) const {
    return (row % row_step() * column_step() + column % column_step()) * channels_ * plane_ + lead_ +
           row / row_step() * row_ + column / column_step();
  }

  // Writes a block's part of `source`. What lies outside the image must be 0 beforehand, and still is afterwards.
  void fill(const float* source, const Window::Part& part, float* planes) const;

private:
  int64_t row_step() const { return window_.rows.source_step; }
  int64_t column_step() const { return window_.columns.source_step; }
  void clear_rows(int64_t row, int64_t end, float* planes) const;
  void fill_rows(const float* source, int64_t source_row, int64_t rows, float* planes) const;

  const Window& window_;
  const TierKernels& tier_;
  const int64_t channels_;
  int64_t row_, image_, lead_, plane_, planes_;
};

} // namespace nodevae
