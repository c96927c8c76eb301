// What all checks of kernels and plans share, on the CPU and on CUDA: counting, random numbers, writing programs.
#pragma once

#include <cstdint>
#include <cstdio>
#include <random>

#include "../../native/backend.h"

namespace nodevae {

inline int failures = 0, checks = 0;
inline std::mt19937 generator(1);

#define CHECK(condition, ...)                                                                                          \
  do {                                                                                                                 \
    ++checks;                                                                                                          \
    if (!(condition) && ++failures < 40) std::printf("line %d: ", __LINE__), std::printf(__VA_ARGS__), std::puts("");  \
  } while (0)

// The exit status of a check.
inline int report() {
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures != 0 || checks == 0;
}

inline int64_t pick(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(generator); }
inline float normal() { return std::normal_distribution<float>()(generator); }

inline int emit(ResolvedStep& step, Opcode op, int a = 0, int b = 0, int c = 0) {
  step.program.push_back({op, a, b, c});
  return static_cast<int>(step.program.size()) - 1;
}

} // namespace nodevae
