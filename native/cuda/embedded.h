// The PTX of the kernels, embedded when the addon was built (cmake/EmbedPtx.cmake).
#pragma once

#include <string>

namespace nodevae::cuda {

// The PTX of native/cuda/<file>.cu for the newest family of GPUs (75: Turing, 80: Ampere and later) that
// `capability` includes. Throws std::runtime_error for a file that is not there or a device that is too old.
const std::string& ptx_source(const std::string& file, int capability);

} // namespace nodevae::cuda
