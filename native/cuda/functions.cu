// Every elementwise instruction of ops.def as a function, whose body program.cc puts into the kernels.
#include "math.cuh"

namespace nodevae::cuda {

#define UNARY(name, expression)                                                                                        \
  extern "C" __device__ float op_##name(float a) { return expression; }
#define BINARY(name, expression)                                                                                       \
  extern "C" __device__ float op_##name(float a, float b) { return expression; }
#define TERNARY(name, expression)                                                                                      \
  extern "C" __device__ float op_##name(float a, float b, float c) { return expression; }
#include "../ops.def"

} // namespace nodevae::cuda
