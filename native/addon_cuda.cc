#include "addon_cuda.h"

#include <algorithm>

#include "binding.h"

#ifdef NODE_VAE_CUDA
#include "cuda/device.h"
#include "cuda/lowering.h"
#include "cuda/noise.h"
#endif

namespace nodevae {
namespace {

#ifdef NODE_VAE_CUDA
constexpr bool kCompiled = true;

cuda::Precision to_precision(const std::string& name) {
  if (name == "float32") return cuda::Precision::float32;
  if (name == "tf32") return cuda::Precision::tf32;
  if (name == "bfloat16") return cuda::Precision::bfloat16;
  throw Failure{"argument", "unknown precision \"" + name + "\": there are \"float32\", \"tf32\" and \"bfloat16\""};
}

Napi::Object to_launch(Napi::Env env, const cuda::Launch& launch) {
  Napi::Object object = Napi::Object::New(env);
  Napi::Array grid = Napi::Array::New(env, 3);
  for (uint32_t i = 0; i < 3; ++i) grid[i] = Napi::Number::New(env, launch.grid[i]);
  object["entry"] = Napi::String::New(env, launch.entry);
  object["grid"] = grid;
  object["threads"] = Napi::Number::New(env, launch.threads);
  object["sharedBytes"] = Napi::Number::New(env, launch.shared_bytes);
  object["ptx"] = Napi::String::New(env, *launch.module);
  return object;
}
#else
constexpr bool kCompiled = false;
constexpr const char* kAbsent = "this build has no CUDA backend: it was made without nvcc";
#endif

} // namespace

Napi::Value cuda_info_property(Napi::Env env, const Napi::CallbackInfo&) {
  Napi::Object result = Napi::Object::New(env);
  Napi::Array devices = Napi::Array::New(env);
  std::string problem;
#ifdef NODE_VAE_CUDA
  try {
    for (const std::string& device : cuda::device_names()) devices[devices.Length()] = Napi::String::New(env, device);
  } catch (const std::exception& error) {
    problem = error.what();
  }
#else
  problem = kAbsent;
#endif
  result["compiled"] = Napi::Boolean::New(env, kCompiled);
  result["devices"] = devices;
  result["problem"] = Napi::String::New(env, problem);
  return result;
}

#ifdef NODE_VAE_CUDA
std::shared_ptr<Device> open_cuda_device(const std::string& name, const std::string& precision) {
  const std::string prefix = "cuda:", number = name.substr(std::min(name.size(), prefix.size()));
  if (name.rfind(prefix, 0) != 0 || number.empty() || number.size() > 4 ||
      number.find_first_not_of("0123456789") != std::string::npos)
    throw Failure{"device", "no device \"" + name + "\": there are \"cpu\" and \"cuda:0\", ..."};
  const cuda::Precision chosen = to_precision(precision);
  try {
    return cuda::open_device(std::stoi(number), chosen);
  } catch (const std::exception& error) {
    throw Failure{"device", "\"" + name + "\" is not usable: " + error.what()};
  }
}

Napi::Value lower_cuda(Napi::Env env, const Napi::CallbackInfo& info) {
  const ArrayView words = to_array(info[0], DType::int32, "words");
  const Plan plan = parse_plan(reinterpret_cast<const int32_t*>(words.data), words.elements);
  cuda::Target target;
  target.capability = static_cast<int>(to_integer(info[1], "capability", 10, 999));
  target.precision = to_precision(to_string(info[2], "precision"));
  const cuda::NoiseFusion noise(plan);
  ImaginedMemory memory(plan);
  cuda::Addresses addresses;
  addresses.state = reinterpret_cast<uint64_t>(memory.take(sizeof(cuda::RunState)));
  Napi::Array steps = Napi::Array::New(env, plan.steps.size());
  for (uint32_t i = 0; i < plan.steps.size(); ++i) {
    Napi::Array launches = Napi::Array::New(env);
    try {
      const auto step = noise.lower(i, noise.resolve(plan, i, memory.buffers), target);
      addresses.scratch = reinterpret_cast<uint64_t>(memory.take(step->scratch_bytes()));
      addresses.tickets = reinterpret_cast<uint64_t>(memory.take(step->tickets() * sizeof(uint32_t)));
      addresses.guarded = writes_residents(plan, plan.steps[i]);
      addresses.step = static_cast<int32_t>(i);
      for (const cuda::Launch& launch : step->launches(addresses)) launches[launches.Length()] = to_launch(env, launch);
    } catch (const std::exception& error) {
      throw at_step(plan, i, error.what());
    }
    steps[i] = launches;
  }
  return steps;
}
#else
std::shared_ptr<Device> open_cuda_device(const std::string& name, const std::string&) {
  throw Failure{"device", "no device \"" + name + "\": " + kAbsent};
}

Napi::Value lower_cuda(Napi::Env, const Napi::CallbackInfo&) { throw Failure{"device", kAbsent}; }
#endif

} // namespace nodevae
