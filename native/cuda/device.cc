#include "device.h"

#include <utility>

#include "context.h"
#include "memory.h"
#include "modules.h"
#include "session.h"

namespace nodevae::cuda {
namespace {

class CudaDevice final : public nodevae::Device {
public:
  CudaDevice(int number, Precision precision)
      : context_(std::make_shared<Context>(number)), modules_(std::make_shared<Modules>()), precision_(precision) {
    if (precision != Precision::float32 && context_->target().capability < kTensorCapability)
      throw Unusable(context_->name() + " computes in float32 alone: tf32 and bfloat16 need compute capability 8.0");
  }

  std::unique_ptr<Memory> allocate(size_t bytes) override {
    return std::make_unique<DeviceMemory>(context_, bytes, "a resident");
  }

  std::unique_ptr<Session> compile(Plan plan, std::vector<std::shared_ptr<Resident>> residents) override {
    return std::make_unique<CudaSession>(context_, modules_, std::move(plan), std::move(residents), precision_);
  }

  size_t scratch_bytes(const Plan&) override { return 0; }

private:
  static constexpr int kTensorCapability = 80;
  const std::shared_ptr<Context> context_;
  const std::shared_ptr<Modules> modules_;
  const Precision precision_;
};

} // namespace

std::vector<std::string> device_names() {
  const Driver& opened = driver();
  int count = 0;
  NODE_VAE_CUDA_CALL(opened, cuDeviceGetCount, &count);
  if (count == 0) throw Unusable("the CUDA driver sees no device");
  std::vector<std::string> names;
  std::string problem;
  for (int number = 0; number < count; ++number) {
    try {
      const auto [name, capability, bytes] = describe(opened, number);
      names.push_back("cuda:" + std::to_string(number) + " " + name + " (compute capability " +
                      std::to_string(capability / 10) + "." + std::to_string(capability % 10) + ", " +
                      gibibytes(bytes) + ")");
    } catch (const Unusable& unusable) {
      problem += (problem.empty() ? "" : "; ") + std::string(unusable.what());
    }
  }
  if (names.empty()) throw Unusable(problem);
  return names;
}

std::shared_ptr<nodevae::Device> open_device(int number, Precision precision) {
  return std::make_shared<CudaDevice>(number, precision);
}

} // namespace nodevae::cuda
