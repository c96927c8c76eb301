// The part of the addon that knows of CUDA. In a build without it, the same functions say so.
#pragma once

#include <memory>
#include <string>

#include "addon_values.h"
#include "device.h"

namespace nodevae {

// The property `cuda` of info(). Asks the driver when it is read, once per process; makes no context.
Napi::Value cuda_info_property(Napi::Env env, const Napi::CallbackInfo& info);

// "cuda:0", ... Throws Failure.
std::shared_ptr<Device> open_cuda_device(const std::string& name, const std::string& precision);

// lowerCuda(words, capability, precision): what a device of that capability would be given for a plan, as text. Needs
// no driver.
Napi::Value lower_cuda(Napi::Env env, const Napi::CallbackInfo& info);

} // namespace nodevae
