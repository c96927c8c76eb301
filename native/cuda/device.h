// A CUDA device: its context, one stream on which everything happens in order, memory, and the modules that its driver
// has compiled.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../device.h"
#include "lowering.h"

namespace nodevae::cuda {

// "cuda:0 NVIDIA A100-SXM4-40GB (compute capability 8.0, 39.6 GiB)" for every device that can be used. Makes no
// context. Throws Unusable (driver.h) when there is none, saying what is missing.
std::vector<std::string> device_names();

// Throws Unusable, which says what is missing.
std::shared_ptr<nodevae::Device> open_device(int number, Precision precision);

} // namespace nodevae::cuda
