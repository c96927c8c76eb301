// Wants: -ffp-contract=off -O3 and no instruction set beyond the platform's baseline.
#include "tier.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define NODEVAE_TIER_NAME "portable"
#if defined(__SSE2__)
#define NODEVAE_REGISTER(x) "+x"(x)
#else
#define NODEVAE_REGISTER(x) "+m"(x)
#endif
#define LANES 4
#ifndef MICRO_ROWS
#define MICRO_ROWS 4 // 4 x 12: 12 accumulators of 16 registers
#define MICRO_VECTORS 3
#endif
#include "tier.inc"

const nodevae::TierKernels* nodevae::tier_portable() { return &kernels; }
