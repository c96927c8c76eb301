// Noise, batch order and the step counter: pure functions of (seed, step, stream).
#include "../philox.h"
#include "kernels.h"

namespace nodevae {

namespace {

class RandomKernel final : public Kernel {
public:
  RandomKernel(const ResolvedStep& step, NoiseFunction fill)
      : fill_(fill), out_(static_cast<float*>(step.operands[0].data)), count_(step.space[kColumns]),
        stream_(static_cast<uint32_t>(step.attributes[0])) {}

  void run(const RunContext& context) override {
    constexpr int64_t chunk = 8192; // a multiple of the four lanes of a block
    run_jobs(*context.pool, count_, chunk, [&](int64_t first, int64_t end, int) {
      const NoiseCall call{out_ + first, end - first,  static_cast<uint32_t>(first / 4),
                           stream_,      context.step, context.seed};
      fill_(&call);
    });
  }

private:
  NoiseFunction fill_;
  float* out_;
  int64_t count_;
  uint32_t stream_;
};

// batch_index of philox.h for a whole batch: one call per epoch that the batch touches.
class ShuffledIndicesKernel final : public Kernel {
public:
  ShuffledIndicesKernel(const ResolvedStep& step, const TierKernels& tier)
      : permute_(tier.permute), out_(static_cast<int32_t*>(step.operands[0].data)), batch_(step.space[kColumns]),
        stride_(step.operands[0].strides[kColumns]), rows_(static_cast<uint32_t>(step.attributes[0])),
        shuffle_(step.attributes[1] != 0), stream_(static_cast<uint32_t>(step.attributes[2])) {}

  void run(const RunContext& context) override {
    if (!shuffle_ || rows_ <= 1 || (stride_ != 1 && batch_ > 1)) {
      for (int64_t i = 0; i < batch_; ++i)
        out_[i * stride_] =
            static_cast<int32_t>(batch_index(context.step, static_cast<uint32_t>(batch_), static_cast<uint32_t>(i),
                                             rows_, shuffle_, stream_, context.seed));
      return;
    }
    uint64_t position = context.step * static_cast<uint64_t>(batch_);
    for (int64_t done = 0; done < batch_;) {
      const uint32_t first = static_cast<uint32_t>(position % rows_);
      const int64_t count = std::min<int64_t>(batch_ - done, rows_ - first);
      const PermutationCall call{out_ + done, count, first, rows_, stream_, position / rows_, context.seed};
      permute_(&call);
      done += count;
      position += static_cast<uint64_t>(count);
    }
  }

private:
  void (*permute_)(const PermutationCall*);
  int32_t* out_;
  int64_t batch_, stride_;
  uint32_t rows_;
  bool shuffle_;
  uint32_t stream_;
};

class StepIndexKernel final : public Kernel {
public:
  explicit StepIndexKernel(const ResolvedStep& step) : out_(static_cast<float*>(step.operands[0].data)) {}
  void run(const RunContext& context) override { *out_ = static_cast<float>(context.step); }

private:
  float* out_;
};

} // namespace

std::unique_ptr<Kernel> make_random(const ResolvedStep& step, NoiseFunction fill) {
  return std::make_unique<RandomKernel>(step, fill);
}
std::unique_ptr<Kernel> make_shuffled_indices(const ResolvedStep& step, const TierKernels& tier) {
  return std::make_unique<ShuffledIndicesKernel>(step, tier);
}
std::unique_ptr<Kernel> make_step_index(const ResolvedStep& step) { return std::make_unique<StepIndexKernel>(step); }

} // namespace nodevae
