// conv2d_weight_gradient in the forms that its sums can be made in; which form is best depends on the numbers of
// channels and filters (see make_weight_gradient_form).
#pragma once

#include "convolution.h"

namespace nodevae {

// Makes the sums over one block of pixels after the other. The sums lie in an order of the form's own, filled up to
// whole vectors.
class WeightGradientForm {
public:
  virtual ~WeightGradientForm() = default;

  virtual int64_t blocks() const = 0;
  virtual int64_t tiles() const = 0; // of the sums: threads may share the tiles of a block
  virtual int64_t sums() const = 0;  // floats
  virtual size_t local_bytes() const = 0;
  // Adds tiles [begin, end) of one block to `sums`; the first block overwrites what is there.
  virtual void add_block(int64_t block, bool first, int64_t begin, int64_t end, float* sums, char* local) const = 0;

  // The sum for a row (kernel position, channel of the group) and a column (group, filter of the group) of the result
  // lies at row_places[row] + column_places[column].
  std::vector<int64_t> row_places, column_places;
};

struct WeightGradientOperands {
  ConvolutionShape shape;
  const float *image, *gradient;
};

std::unique_ptr<WeightGradientForm> make_weight_gradient_form(const WeightGradientOperands& of,
                                                              const TierKernels& tier);

} // namespace nodevae
