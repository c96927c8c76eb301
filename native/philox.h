// Counter-based noise, the same on every backend and in lib/graph/philox.ts: Philox4x32-10
// (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3").
// Element i of a draw is lane i % 4 of the block with
//   counter = (i / 4, stream, step low, step high), key = (seed low, seed high).
// uniform: (word >> 8) * 2^-24, in [0, 1).
// normal (Box-Muller on lane pairs (0,1) and (2,3)): u = ((w0 >> 8) + 1) * 2^-24 in (0, 1], v = (w1 >> 8) * 2^-24,
//   r = sqrt(-2 ln u); first = r cos(2 pi v), second = r sin(2 pi v).
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define NODEVAE_HOST_DEVICE __host__ __device__
#else
#define NODEVAE_HOST_DEVICE
#endif

namespace nodevae {

struct PhiloxBlock {
  uint32_t word[4];
};

NODEVAE_HOST_DEVICE inline PhiloxBlock philox(uint32_t block, uint32_t stream, uint64_t step, uint64_t seed) {
  uint32_t c0 = block, c1 = stream, c2 = static_cast<uint32_t>(step), c3 = static_cast<uint32_t>(step >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0, p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0, n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// A pseudo-random permutation of [0, rows), a pure function of (seed, stream, epoch): nothing to store, nothing to
// upload, the same on every device, and resumable anywhere. A balanced Feistel network over 2 * half_bits bits
// with Philox rounds (Luby & Rackoff 1988), walked along its cycles until it lands inside [0, rows)
// (Black & Rogaway 2002). half_bits is the least b >= 1 with 4^b >= rows, so a walk takes < 4 steps on average.
NODEVAE_HOST_DEVICE inline uint32_t permuted_index(uint32_t index, uint32_t rows, uint32_t stream, uint64_t epoch,
                                                   uint64_t seed) {
  if (rows <= 1) return 0;
  int half_bits = 1;
  while ((static_cast<uint64_t>(1) << (2 * half_bits)) < rows) ++half_bits;
  const uint32_t mask = (half_bits >= 32) ? 0xFFFFFFFFu : ((1u << half_bits) - 1u);
  do {
    uint32_t left = index >> half_bits, right = index & mask;
    for (uint32_t round = 0; round < 4; ++round) {
      const uint32_t mixed = philox(right | (round << 16 << 12), stream, epoch, seed).word[0];
      const uint32_t next = left ^ (mixed & mask);
      left = right;
      right = next;
    }
    index = (left << half_bits) | right;
  } while (index >= rows);
  return index;
}

// shuffled_indices, position i of step s of a batch of size b: p = s * b + i, epoch = p / rows, index = p % rows,
// permuted within the epoch when shuffling. Batches run across the end of an epoch, so every row is seen exactly
// once per epoch and every batch has the same size.
NODEVAE_HOST_DEVICE inline uint32_t batch_index(uint64_t step, uint32_t batch, uint32_t i, uint32_t rows, bool shuffle,
                                                uint32_t stream, uint64_t seed) {
  const uint64_t position = step * batch + i;
  const uint32_t within = static_cast<uint32_t>(position % rows);
  return shuffle ? permuted_index(within, rows, stream, position / rows, seed) : within;
}

} // namespace nodevae
