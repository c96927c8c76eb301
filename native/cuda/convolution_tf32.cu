// Convolutions as products with operands rounded to TF32.
#include "convolution_product.cuh"
#include "gemm_tensor.cuh"

namespace nodevae::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
template <int Rows, int Columns> using RoundedProduct = TensorProduct<Method::tf32, Rows, Columns>;
CONVOLUTION_TILES(tf32, RoundedProduct, by_line)
#endif

} // namespace nodevae::cuda
