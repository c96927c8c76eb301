// The geometries that convolution_check.cc tries.
#ifndef NODE_VAE_TEST_CONVOLUTION_CASES
#define NODE_VAE_TEST_CONVOLUTION_CASES

#include <vector>

#include "../native/basics.h"
#include "../native/convolution_geometry.h"

namespace nodevae::cuda {

inline std::vector<Geometry> make_geometries(int random) {
  std::vector<Geometry> all = {
      {2, 28, 28, 1, 32, 3, 3, 2, 2, 0, 1, 0, 1, 1, 1, 1},    // one channel
      {2, 14, 14, 32, 64, 3, 3, 2, 2, 0, 1, 0, 1, 1, 1, 1},   // "same" of an even size
      {1, 28, 28, 32, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},    // one filter
      {1, 32, 32, 3, 32, 4, 4, 2, 2, 1, 1, 1, 1, 1, 1, 1},    // three channels
      {4, 8, 8, 64, 64, 4, 4, 2, 2, 1, 1, 1, 1, 1, 1, 1},     // many filters
      {8, 4, 4, 64, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},    // small images
      {3, 13, 11, 48, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 48},  // depthwise
      {2, 15, 17, 20, 20, 5, 5, 2, 2, 2, 2, 2, 2, 1, 1, 20},  // depthwise, ragged, strided
      {2, 9, 8, 96, 96, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 3},     // large groups
      {2, 8, 8, 90, 66, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 3},     // large ragged groups
      {2, 12, 12, 12, 24, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 12},  // two filters per channel
      {2, 10, 10, 48, 16, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 2},   // groups that get narrower
      {5, 1, 40, 7, 5, 1, 5, 1, 2, 0, 0, 2, 2, 1, 1, 1},      // of one dimension
      {2, 7, 7, 3, 4, 7, 7, 3, 3, 3, 3, 3, 3, 1, 1, 1},       // kernel as large as the image
      {3, 6, 6, 5, 7, 2, 2, 3, 3, 0, 0, 0, 0, 1, 1, 1},       // stride beyond the kernel: positions nobody reads
      {2, 9, 9, 16, 16, 3, 3, 1, 1, 4, 4, 4, 4, 4, 4, 1},     // dilation
      {2, 9, 10, 8, 16, 3, 3, 2, 3, 2, 2, 3, 3, 3, 2, 2},     // dilation, stride and groups
      {2, 9, 9, 12, 16, 3, 3, 2, 2, 2, 2, 2, 2, 2, 2, 1},     // dilation and stride with a common divisor
      {1, 300, 3, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},     // many rows
      {1, 3, 300, 8, 12, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},    // long rows
      {2, 5, 5, 4, 8, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},       // pointwise
      {2, 9, 9, 4, 8, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1, 1},       // pointwise, strided
      {1, 2, 2, 3, 5, 2, 2, 1, 1, 6, 5, 7, 6, 1, 1, 1},       // more zeros than image
      {40, 1, 1, 30, 50, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},    // a product of matrices
      {3, 10, 10, 64, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},    // three filters
      {3, 10, 10, 64, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},    // five
      {2, 10, 10, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},     // three to three
      {2, 20, 20, 1, 1, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1, 1},     // one to one
      {1, 6, 6, 300, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},    // many channels
      {1, 12, 12, 128, 136, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1}, // several large tiles
      {3, 16, 16, 132, 140, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1}, // the same, with phases
      {1, 16, 16, 256, 256, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
      {1, 14, 14, 130, 256, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1}, // several large tiles of ragged channels
      {2, 23, 11, 8, 16, 3, 3, 5, 6, 1, 1, 1, 1, 1, 1, 1},    // long strides
      {2, 17, 23, 6, 6, 7, 7, 6, 5, 3, 3, 3, 3, 2, 3, 6},     // the same, depthwise
      {2, 21, 19, 24, 2, 5, 5, 5, 5, 2, 2, 2, 2, 1, 1, 1},    // the same, few filters
  };
  for (int i = 0; i < random; ++i) {
    Geometry g{};
    const int64_t sizes[] = {1, 2, 3, 5, 7, 16, 20, 33, 64};
    g.groups = pick(0, 2) ? 1 : pick(2, 6);
    g.c = g.groups * (g.groups == 1 ? sizes[pick(0, 8)] : pick(0, 1) ? 1 : pick(1, 20));
    g.f = g.groups * (g.groups == 1 ? sizes[pick(0, 8)] : pick(0, 1) ? 1 : pick(1, 20));
    g.n = pick(1, pick(0, 3) ? 3 : 12);
    g.h = pick(1, 12), g.w = pick(1, pick(0, 5) ? 12 : 50);
    g.kh = pick(1, 5), g.kw = pick(1, pick(0, 3) ? 5 : 7), g.sh = pick(1, 3), g.sw = pick(1, 3);
    g.dh = pick(0, 2) ? 1 : pick(1, 3), g.dw = pick(0, 2) ? 1 : pick(1, 3);
    g.top = pick(0, g.kh), g.bottom = pick(0, g.kh), g.left = pick(0, g.kw), g.right = pick(0, g.kw);
    if (g.possible()) all.push_back(g);
  }
  return all;
}

} // namespace nodevae::cuda

#endif
