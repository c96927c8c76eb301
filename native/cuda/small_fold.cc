#include <algorithm>

#include "small.h"
#include "step.h"

namespace nodevae::cuda {

std::unique_ptr<LoweredStep> lower_fold(const ResolvedStep& step, const Target& target) {
  const std::vector<int32_t>& a = step.attributes;
  FoldParameters p{};
  p.windows = address_of(step.operands[0]);
  p.out = address_of(step.operands[1]);
  p.images = a[0];
  p.height = a[1];
  p.width = a[2];
  p.channels = a[3];
  p.out_height = a[4];
  p.out_width = a[5];
  p.kernel_height = a[7];
  p.kernel_width = a[8];
  p.stride_height = a[9];
  p.stride_width = a[10];
  p.pad_top = a[11];
  p.pad_left = a[12];
  p.dilation_height = a[13];
  p.dilation_width = a[14];

  constexpr int64_t kGroupElements = (int64_t{1} << 31) - kThreads;
  const int64_t image_elements = step.space[kRows] * step.space[kColumns];
  if (image_elements > kGroupElements)
    throw KernelError("fold: expected images of fewer than 2^31 elements, received " + std::to_string(image_elements) +
                      "; split the image");
  p.group_images = static_cast<int32_t>(std::min<int64_t>(p.images, kGroupElements / image_elements));
  p.group_blocks = grid_of(divide_up(p.group_images * image_elements, kThreads), "fold");
  const uint32_t blocks = grid_of(divide_up(p.images, p.group_images) * p.group_blocks, "fold");
  return make_step([=, module = embedded_module("small_fold", target.capability)](const Addresses& addresses) {
    FoldParameters q = p;
    q.halted = guard_of(addresses);
    return std::vector<Launch>{launch_of(module, "fold", blocks, q)};
  });
}

} // namespace nodevae::cuda
