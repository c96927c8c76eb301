// Wants: -mavx2 -mfma -ffp-contract=off -O3
#include "tier.h"

#include <immintrin.h>

#define NODEVAE_AVX2
#define NODEVAE_TIER_NAME "avx2"
#define NODEVAE_REGISTER(x) "+x"(x)
#define LANES 8
#ifndef MICRO_ROWS
#define MICRO_ROWS 4 // 4 x 24: 12 accumulators of 16 registers
#define MICRO_VECTORS 3
#endif
#include "tier.inc"

const nodevae::TierKernels* nodevae::tier_avx2() { return &kernels; }
