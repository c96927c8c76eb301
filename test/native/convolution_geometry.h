// Which products a convolution is the sum of, written down without any cleverness: what all backends are checked
// against.
#pragma once

#include <cstdint>

namespace nodevae {

struct Geometry {
  int64_t n, h, w, c, f, kh, kw, sh, sw, top, bottom, left, right, dh, dw, groups;
  int64_t oh() const { return (h + top + bottom - (kh - 1) * dh - 1) / sh + 1; }
  int64_t ow() const { return (w + left + right - (kw - 1) * dw - 1) / sw + 1; }
  bool possible() const { return h + top + bottom >= (kh - 1) * dh + 1 && w + left + right >= (kw - 1) * dw + 1; }
};

// Calls body(index into x, into w, into y) for every product of the convolution.
template <class Body> void for_each_product(const Geometry& g, const Body& body) {
  const int64_t oh = g.oh(), ow = g.ow(), cg = g.c / g.groups, fg = g.f / g.groups;
  for (int64_t n = 0; n < g.n; ++n)
    for (int64_t oy = 0; oy < oh; ++oy)
      for (int64_t ox = 0; ox < ow; ++ox)
        for (int64_t ky = 0; ky < g.kh; ++ky)
          for (int64_t kx = 0; kx < g.kw; ++kx) {
            const int64_t y = oy * g.sh - g.top + ky * g.dh, x = ox * g.sw - g.left + kx * g.dw;
            if (y < 0 || y >= g.h || x < 0 || x >= g.w) continue;
            for (int64_t c = 0; c < cg; ++c)
              for (int64_t f = 0; f < g.f; ++f)
                body(((n * g.h + y) * g.w + x) * g.c + f / fg * cg + c, ((ky * g.kw + kx) * cg + c) * g.f + f,
                     ((n * oh + oy) * ow + ox) * g.f + f);
          }
}

} // namespace nodevae
