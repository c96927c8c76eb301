// Convolutions as products in float32, on every GPU.
#include "convolution_product.cuh"
#include "gemm_float32.cuh"

namespace nodevae::cuda {

CONVOLUTION_TILES(float32, Float32Product, by_depth)

} // namespace nodevae::cuda
