// fold: every input pixel is the sum of the places where windows showed it; the derivative of cutting windows out.
#include "convolution.h"

namespace nodevae {

namespace {

class FoldKernel final : public Kernel {
public:
  FoldKernel(const ResolvedStep& step, const TierKernels& tier)
      : tier_(tier), s_(step.attributes), in_(static_cast<const float*>(step.operands[0].data)),
        out_(static_cast<float*>(step.operands[1].data)),
        rows_(Axis::input_gradient(s_.height, s_.out_height, s_.kernel_height, s_.stride_height, s_.pad_top,
                                   s_.dilation_height)),
        columns_(Axis::input_gradient(s_.width, s_.out_width, s_.kernel_width, s_.stride_width, s_.pad_left,
                                      s_.dilation_width)) {}

  void run(const RunContext& context) override {
    const int64_t image_rows = s_.images * s_.height;
    const int64_t per_job = std::max<int64_t>(1, 8192 / (s_.width * s_.channels));
    run_jobs(*context.pool, image_rows, per_job, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) fold_row(i / s_.height, i % s_.height);
    });
  }

private:
  // Calls body(kernel position, window) for every window along an axis that shows position p.
  template <class Body> static void for_each_window(const Axis& axis, int64_t p, const Body& body) {
    for (const Axis::Tap& tap : axis.phases[static_cast<size_t>(p % axis.step)]) {
      const int64_t window = p / axis.step + tap.offset;
      if (window >= 0 && window < axis.source) body(tap.kernel, window);
    }
  }

  void fold_row(int64_t image, int64_t y) const {
    float* out = out_ + (image * s_.height + y) * s_.width * s_.channels;
    std::fill_n(out, s_.width * s_.channels, 0.0f);
    for_each_window(rows_, y, [&](int64_t ky, int64_t window_y) {
      for (int64_t x = 0; x < s_.width; ++x)
        for_each_window(columns_, x, [&](int64_t kx, int64_t window_x) {
          const int64_t window = (image * s_.out_height + window_y) * s_.out_width + window_x;
          const int64_t place = (window * s_.kernel_height + ky) * s_.kernel_width + kx;
          tier_.add(out + x * s_.channels, in_ + place * s_.channels, s_.channels);
        });
    });
  }

  const TierKernels& tier_;
  const ConvolutionShape s_;
  const float* in_;
  float* out_;
  const Axis rows_, columns_;
};

} // namespace

std::unique_ptr<Kernel> make_fold(const ResolvedStep& step, const TierKernels& tier) {
  return std::make_unique<FoldKernel>(step, tier);
}

} // namespace nodevae
