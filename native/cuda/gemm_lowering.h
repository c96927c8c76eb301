// How a product is cut into blocks, chosen on the host.
#pragma once

#include "gemm.h"
#include "lowering.h"

namespace nodevae::cuda {

struct ProductExtent {
  int64_t rows, columns, depth;
  int64_t outer = 1; // products of this size that one launch computes
};

struct ProductCut {
  TileShape shape;
  int32_t splits;      // of the depth
  int32_t split_depth; // a multiple of 4
};

// The tile follows from the product and the device, but the splits from the product alone: each element's sum over k is
// the same on all devices.
ProductCut cut_product(const ProductExtent& extent, Method method, int multiprocessors);

// Throws KernelError where the target's device cannot do what its precision asks for.
Method product_method(const Target& target);

// Kernels are named <kernel>_<method>_<rows>x<columns>, plus what else tells them apart.
std::string product_entry(const std::string& kernel, Method method, TileShape shape);
const char* method_name(Method method);

// Dynamic shared memory of a block: the pipeline, and after it the slab with what its program needs.
uint32_t product_shared_bytes(Method method, TileShape shape, int capability, size_t program_stage_bytes);

} // namespace nodevae::cuda
