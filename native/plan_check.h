// The checks of a single decoded step; parse_plan (plan.cc) calls them for every step.
#pragma once

#include "plan.h"

namespace nodevae {

// Limits beyond which a plan is surely corrupt. They also keep all arithmetic on extents far from overflow.
constexpr int64_t kMaxArenaBytes = int64_t{1} << 40;
constexpr int64_t kMaxElements = int64_t{1} << 40;
constexpr int64_t kMaxIterations = int64_t{1} << 42;    // of a step: product of the space (times k for matmul)
constexpr int64_t kMaxMatmulColumns = int64_t{1} << 26; // kernels keep a record for every few dozen
constexpr int32_t kMaxInstructions = 2048;
constexpr int32_t kMaxOperands = 1024;
constexpr int32_t kMaxTerms = 1 << 16;

// Throws PlanError when steps[index] could touch memory outside its buffers, write what it must not, or does not
// have the operands, attributes and program that its kernel asks for.
void check_step(const Plan& plan, size_t index);

} // namespace nodevae
