// The geometry that all directions of convolution share.
//
// Every direction is a product of matrices of which one has windows of an image for rows. Windows are not copied
// together: a block of the image with its zero halo lies in scratch (or the image itself is read, where nothing is
// padded), and tables of offsets say where each row of the product and each stretch of its depth begins.
//
//   conv2d                   rows: output pixels, depth: kernel positions x input channels, columns: filters
//   conv2d_input_gradient    the same from gradient to input, for each remainder of the input position modulo the
//                            stride on its own ("phase"): only the kernel positions that meet it are in its depth, so
//                            no zero is multiplied
//   conv2d_weight_gradient   rows: kernel positions x input channels, depth: output pixels, columns: filters
#pragma once

#include <vector>

#include "kernels.h"
#include "panels.h"

namespace nodevae {

struct ConvolutionShape {
  int64_t images, height, width, channels, out_height, out_width, filters;
  int64_t kernel_height, kernel_width, stride_height, stride_width, pad_top, pad_left;
  int64_t dilation_height, dilation_width, groups;

  explicit ConvolutionShape(const std::vector<int32_t>& attributes);
  int64_t group_channels() const { return channels / groups; }
  int64_t group_filters() const { return filters / groups; }
  int64_t kernel_positions() const { return kernel_height * kernel_width; }
};

// One direction of the image, from where values are read (source) to where sums are written (destination).
// Destination position p = phase + index * step reads, for each tap of its phase, source position
// index * source_step + offset.
struct Axis {
  struct Tap {
    int64_t kernel, offset; // position in the kernel; offsets ascend
  };
  int64_t source, destination;
  int64_t step, source_step;
  std::vector<std::vector<Tap>> phases; // `step` many
  int64_t low = 0, high = 0;            // least and greatest offset of all phases that have positions

  static Axis convolution(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation);
  static Axis input_gradient(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation);

  // Positions among the first `count` that belong to a phase.
  int64_t positions(int64_t count, int64_t phase) const { return count > phase ? ceil_div(count - phase, step) : 0; }
  // Source positions that `count` destinations, from a multiple of `step` on, span.
  int64_t span(int64_t count) const { return (ceil_div(count, step) - 1) * source_step + high - low + 1; }
  bool inside() const { return low >= 0 && low + span(destination) <= source; }

private:
  void find_range();
};

// Cuts the destination into blocks, of whole images or of whole rows of one image, and provides what a block reads.
class Window {
public:
  struct Part {
    int64_t image, images, row, rows; // of the destination
    int64_t pixel, pixels;
  };

  // Blocks have about `pixels` destination pixels. With `overread`, reading some floats beyond the last is safe.
  Window(Axis rows, Axis columns, int64_t images, int64_t channels, int64_t pixels, int64_t overread);

  int64_t blocks() const { return image_blocks_ * row_blocks_; }
  Part part(int64_t block) const;
  int64_t block_pixels() const { return block_images_ * block_rows_ * columns.destination; }
  size_t bytes() const { return copies_ ? float_bytes(elements_) : 0; }

  // The memory that a block reads, as one stretch; where it begins and how many bytes.
  struct Stretch {
    const char* data = nullptr;
    int64_t bytes = 0;
  };
  Stretch stretch(const float* source, const Part& part) const;
  // The block's part of the source: its first element is at offset (rows.low, columns.low). Distances in floats.
  const float* read(const float* source, const Part& part, float* scratch) const;
  int64_t pixel_stride() const { return channels_; }
  int64_t row_stride() const { return row_stride_; }

  // Calls body(number in the block, where its window begins) for every pixel of one phase of a whole block. A block
  // that is cut short has the first positions() of them.
  template <class Body> void for_each_pixel(int64_t row_phase, int64_t column_phase, const Body& body) const {
    for (int64_t image = 0; image < block_images_; ++image)
      for (int64_t y = row_phase; y < block_rows_; y += rows.step)
        for (int64_t x = column_phase; x < columns.destination; x += columns.step)
          body((image * block_rows_ + y) * columns.destination + x,
               image * image_stride_ + y / rows.step * rows.source_step * row_stride_ +
                   x / columns.step * columns.source_step * channels_);
  }
  int64_t positions(const Part& part, int64_t row_phase, int64_t column_phase) const {
    return part.images * rows.positions(part.rows, row_phase) * columns.positions(columns.destination, column_phase);
  }

  const Axis rows, columns;

private:
  void copy_row(const float* source, float* out) const;

  int64_t images_, channels_;
  int64_t block_images_, block_rows_, image_blocks_, row_blocks_;
  int64_t slab_rows_, slab_columns_, row_stride_, image_stride_, elements_;
  bool copies_;
};

// Asks for a stretch of memory bit by bit, while something else is computed.
class Prefetch {
public:
  Prefetch(const Window::Stretch& stretch, int64_t steps)
      : at_(stretch.data), end_(stretch.data + stretch.bytes),
        step_(round_up(ceil_div(stretch.bytes, std::max<int64_t>(1, steps)), 64)) {}
  void advance() {
    for (const char* stop = std::min(end_, at_ + step_); at_ < stop; at_ += 64) __builtin_prefetch(at_, 0, 2);
  }

private:
  const char *at_, *end_;
  int64_t step_;
};

// What conv2d and conv2d_input_gradient have in common: from `in` channels of each group of the source to `out` of the
// destination.
struct Correlation {
  ConvolutionShape shape;
  bool forward;
  const float *source, *weights;
  int64_t in, out, groups;

  explicit Correlation(const ResolvedStep& step);
  Axis rows() const;
  Axis columns() const;
  bool depthwise() const { return groups > 1 && in == 1 && out == 1; }

  // Weights lie [kernel position][channel of the group][filter]. To the input, filters are `in` and channels `out`.
  const float* weights_at(int64_t kernel, int64_t group) const {
    return weights + kernel * shape.group_channels() * shape.filters + group * shape.group_filters();
  }
  int64_t in_stride() const { return forward ? shape.filters : 1; }
  int64_t out_stride() const { return forward ? 1 : shape.filters; }
};

// Blocks that are computed one after the other by one thread, which can so fetch the next one's source ahead.
inline int64_t blocks_per_job(int64_t blocks) { return std::max<int64_t>(1, blocks / 32); }

// Few output channels: lanes for pixels, or for input channels where there are very many of those.
bool prefers_dots(const Correlation& correlation, const TierKernels& tier);
bool prefers_planes(const Correlation& correlation, const TierKernels& tier);
std::unique_ptr<Kernel> make_planar_convolution(const ResolvedStep& step, const TierKernels& tier);

} // namespace nodevae
