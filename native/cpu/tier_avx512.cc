// Wants: -mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx2 -mfma -mprefer-vector-width=512 -ffp-contract=off -O3
#include "tier.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" // false alarm inside GCC 12's own _mm512_undefined_epi32
#endif
#include <immintrin.h>

#define NODEVAE_AVX512
#define NODEVAE_TIER_NAME "avx512"
#define NODEVAE_REGISTER(x) "+v"(x)
#define LANES 16
#ifndef MICRO_ROWS
#define MICRO_ROWS 8 // 8 x 48: 24 accumulators of 32 registers
#define MICRO_VECTORS 3
#endif
#include "tier.inc"

const nodevae::TierKernels* nodevae::tier_avx512() { return &kernels; }
