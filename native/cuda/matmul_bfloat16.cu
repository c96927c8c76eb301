// matmul with operands rounded to bfloat16.
#include "matmul_tensor.cuh"

namespace nodevae::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
MATMUL_TILES(bfloat16)
#endif

} // namespace nodevae::cuda
