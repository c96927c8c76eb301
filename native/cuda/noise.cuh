// Noise from blocks of Philox (philox.h), operation by operation that of native/cpu/noise.inc: the same bits wherever
// it is drawn, by random.cu into memory or by a program where it is used.
#pragma once

#include "../philox.h"
#include "math.cuh"

namespace nodevae::cuda {

constexpr float kUnit = 1.0f / 16777216.0f;
NODEVAE_INLINE float top_bits(uint32_t word) { return static_cast<float>(static_cast<int32_t>(word >> 8)); }

// Selected one by one: an index into the block would put it into local memory.
NODEVAE_INLINE uint32_t word_of(const PhiloxBlock& block, uint32_t i) {
  const uint32_t low = i & 1 ? block.word[1] : block.word[0], high = i & 1 ? block.word[3] : block.word[2];
  return i & 2 ? high : low;
}

struct Uniform {
  NODEVAE_INLINE static void apply(const PhiloxBlock& block, float (&x)[4]) {
    for (int i = 0; i < 4; ++i) x[i] = top_bits(block.word[i]) * kUnit;
  }
  NODEVAE_INLINE static float apply(const PhiloxBlock& block, uint32_t lane) {
    return top_bits(word_of(block, lane)) * kUnit;
  }
};

// Box-Muller: lanes (0, 1) and (2, 3) are the cosine and the sine of a pair of words.
struct Normal {
  struct Polar {
    float radius, angle; // within a quadrant
    int32_t quadrant;
  };
  NODEVAE_INLINE static Polar polar(uint32_t w0, uint32_t w1) {
    const float u = (top_bits(w0) + 1.0f) * kUnit;
    const float radius = v_sqrt(log_positive(u) * -2.0f);
    const float quarters = top_bits(w1) * (4.0f * kUnit);
    const float nearest = v_floor(quarters + 0.5f);
    return {radius, (quarters - nearest) * 1.57079632679f, static_cast<int32_t>(nearest)};
  }
  NODEVAE_INLINE static void apply(const PhiloxBlock& block, float (&x)[4]) {
    for (int i = 0; i < 4; i += 2) {
      const Polar p = polar(block.word[i], block.word[i + 1]);
      x[i] = p.radius * sine_in_quadrant(p.angle, p.quadrant + 1);
      x[i + 1] = p.radius * sine_in_quadrant(p.angle, p.quadrant);
    }
  }
  NODEVAE_INLINE static float apply(const PhiloxBlock& block, uint32_t lane) {
    const Polar p = polar(word_of(block, lane & 2), word_of(block, lane | 1));
    return p.radius * sine_in_quadrant(p.angle, p.quadrant + (lane & 1 ? 0 : 1));
  }
};

} // namespace nodevae::cuda
