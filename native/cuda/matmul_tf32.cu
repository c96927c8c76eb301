// matmul with operands rounded to TF32.
#include "matmul_tensor.cuh"

namespace nodevae::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
MATMUL_TILES(tf32)
#endif

} // namespace nodevae::cuda
