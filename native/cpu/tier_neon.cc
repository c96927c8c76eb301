// Wants: -ffp-contract=off -O3, aarch64 only, where NEON is the baseline.
#include "tier.h"

#include <arm_neon.h>

#define NODEVAE_NEON
#define NODEVAE_TIER_NAME "neon"
#define NODEVAE_REGISTER(x) "+w"(x)
#define LANES 4
#ifndef MICRO_ROWS
#define MICRO_ROWS 8 // 8 x 12: 24 accumulators of 32 registers
#define MICRO_VECTORS 3
#endif
#include "tier.inc"

const nodevae::TierKernels* nodevae::tier_neon() { return &kernels; }
