// fold: every pixel is the sum of the places where windows showed it, in the order of the windows.
#include "global.cuh"
#include "small.h"

namespace nodevae::cuda {
namespace {

// The windows along one axis that show a position: those from `first` to `last` whose distance to it is a multiple of
// the dilation. Window o shows o * stride - pad + k * dilation for k in [0, kernel).
struct Windows {
  int32_t first, last;
};
__device__ inline Windows windows_of(int64_t padded_position, int32_t windows, int32_t kernel, int32_t stride,
                                     int32_t dilation) {
  const int64_t earliest = padded_position - static_cast<int64_t>(kernel - 1) * dilation;
  const int64_t first = earliest <= 0 ? 0 : (earliest + stride - 1) / stride, last = padded_position / stride;
  return {static_cast<int32_t>(first < windows ? first : windows),
          static_cast<int32_t>(last < windows ? last : windows - 1)};
}

} // namespace

extern "C" __global__ void __launch_bounds__(256) fold(const __grid_constant__ FoldParameters p) {
  if (stopped(p.halted)) return;
  const uint32_t group = blockIdx.x / p.group_blocks;
  const uint32_t at = (blockIdx.x - group * p.group_blocks) * kBlock + threadIdx.x;
  const uint32_t pixel = at / static_cast<uint32_t>(p.channels), channel = at - pixel * p.channels;
  const uint32_t line = pixel / static_cast<uint32_t>(p.width), x = pixel - line * p.width;
  const uint32_t image_in_group = line / static_cast<uint32_t>(p.height), y = line - image_in_group * p.height;
  const int64_t image = static_cast<int64_t>(group) * p.group_images + image_in_group;
  if (image_in_group >= static_cast<uint32_t>(p.group_images) || image >= p.images) return;

  const int64_t padded_y = static_cast<int64_t>(y) + p.pad_top, padded_x = static_cast<int64_t>(x) + p.pad_left;
  const Windows rows = windows_of(padded_y, p.out_height, p.kernel_height, p.stride_height, p.dilation_height);
  const Windows columns = windows_of(padded_x, p.out_width, p.kernel_width, p.stride_width, p.dilation_width);
  const float* windows = global<const float>(p.windows) + channel;
  float sum = 0.0f;
  for (int32_t window_y = rows.first; window_y <= rows.last; ++window_y) {
    const int64_t distance_y = padded_y - static_cast<int64_t>(window_y) * p.stride_height;
    if (p.dilation_height != 1 && distance_y % p.dilation_height != 0) continue;
    const int64_t kernel_y = distance_y / p.dilation_height;
    for (int32_t window_x = columns.first; window_x <= columns.last; ++window_x) {
      const int64_t distance_x = padded_x - static_cast<int64_t>(window_x) * p.stride_width;
      if (p.dilation_width != 1 && distance_x % p.dilation_width != 0) continue;
      const int64_t kernel_x = distance_x / p.dilation_width;
      const int64_t window = (image * p.out_height + window_y) * p.out_width + window_x;
      sum += windows[((window * p.kernel_height + kernel_y) * p.kernel_width + kernel_x) * p.channels];
    }
  }
  global<float>(p.out)[((image * p.height + y) * p.width + x) * p.channels + channel] = sum;
}

} // namespace nodevae::cuda
