// gather and scatter_add: rows of a table by index. Indices are data, so they are checked while running.
#include <cstring>

#include "kernels.h"

namespace nodevae {

namespace {

[[noreturn]] void bad_index(const char* kernel, int64_t position, int32_t index, int64_t rows) {
  throw KernelError(std::string(kernel) + ": index " + std::to_string(index) + " at position " +
                    std::to_string(position) + " is outside of a table of " + std::to_string(rows) + " rows");
}

class GatherKernel final : public Kernel {
public:
  explicit GatherKernel(const ResolvedStep& step)
      : table_(step.operands[0]), indices_(step.operands[1]), out_(step.operands[2]), count_(step.space[kRows]),
        columns_(step.space[kColumns]), table_rows_(step.attributes[0]), table_stride_(step.attributes[1]),
        rows_per_job_(std::max<int64_t>(1, 16384 / std::max<int64_t>(1, columns_))) {}

  void run(const RunContext& context) override {
    run_jobs(*context.pool, count_, rows_per_job_, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const int32_t index = static_cast<const int32_t*>(indices_.data)[i * indices_.strides[kRows]];
        if (index < 0 || index >= table_rows_) bad_index("gather", i, index, table_rows_);
        if (dtype_size(out_.dtype) == 1)
          copy<uint8_t>(i, index);
        else
          copy<uint32_t>(i, index);
      }
    });
  }

private:
  template <class Element> void copy(int64_t row, int64_t index) const {
    const Element* in = static_cast<const Element*>(table_.data) + index * table_stride_;
    Element* out = static_cast<Element*>(out_.data) + row * out_.strides[kRows];
    const int64_t in_step = table_.strides[kColumns], out_step = out_.strides[kColumns];
    if (in_step == 1 && out_step == 1)
      std::memcpy(out, in, static_cast<size_t>(columns_) * sizeof(Element));
    else
      for (int64_t i = 0; i < columns_; ++i) out[i * out_step] = in[i * in_step];
  }

  ResolvedOperand table_, indices_, out_;
  int64_t count_, columns_, table_rows_, table_stride_, rows_per_job_;
};

// Updates of one element are added in the order of their positions, whatever the number of threads: a job owns
// a range of columns of all rows, or, where rows are short, a range of output rows.
class ScatterAddKernel final : public Kernel {
public:
  ScatterAddKernel(const ResolvedStep& step, const TierKernels& tier)
      : tier_(tier), updates_(step.operands[0]), indices_(step.operands[1]), out_(step.operands[2]),
        count_(step.space[kRows]), columns_(step.space[kColumns]), out_rows_(step.attributes[0]) {
    by_columns_ = columns_ >= 256;
    const int64_t most = by_columns_ ? columns_ / 128 : std::min<int64_t>(8, count_ * columns_ / 32768);
    const int64_t share = ceil_div(extent(), std::max<int64_t>(1, most));
    per_job_ = by_columns_ ? round_up(share, 16) : share;
  }

  void run(const RunContext& context) override {
    run_jobs(*context.pool, extent(), per_job_, [&](int64_t begin, int64_t end, int) {
      if (by_columns_)
        scatter(0, out_rows_, begin, end);
      else
        scatter(begin, end, 0, columns_);
    });
  }

private:
  int64_t extent() const { return by_columns_ ? columns_ : out_rows_; } // what is divided; 256 or 1 at least

  void scatter(int64_t first_row, int64_t last_row, int64_t first, int64_t last) const {
    float* out = static_cast<float*>(out_.data);
    const float* updates = static_cast<const float*>(updates_.data);
    const int64_t step = updates_.strides[kColumns], out_step = columns_ == 1 ? 1 : out_.strides[kColumns];
    const bool contiguous = out_step == 1 && (step == 1 || last - first == 1);
    for (int64_t row = first_row; row < last_row; ++row)
      for (int64_t i = first; i < last; ++i) out[row * out_.strides[kRows] + i * out_step] = 0.0f;
    for (int64_t i = 0; i < count_; ++i) {
      const int32_t index = static_cast<const int32_t*>(indices_.data)[i * indices_.strides[kRows]];
      if (index < 0 || index >= out_rows_) bad_index("scatter_add", i, index, out_rows_);
      if (index < first_row || index >= last_row) continue;
      float* to = out + index * out_.strides[kRows];
      const float* from = updates + i * updates_.strides[kRows];
      if (contiguous && last > first)
        tier_.add(to + first, from + first * step, last - first);
      else
        for (int64_t j = first; j < last; ++j) to[j * out_step] += from[j * step];
    }
  }

  const TierKernels& tier_;
  ResolvedOperand updates_, indices_, out_;
  int64_t count_, columns_, out_rows_;
  bool by_columns_;
  int64_t per_job_;
};

} // namespace

std::unique_ptr<Kernel> make_gather(const ResolvedStep& step) { return std::make_unique<GatherKernel>(step); }
std::unique_ptr<Kernel> make_scatter_add(const ResolvedStep& step, const TierKernels& tier) {
  return std::make_unique<ScatterAddKernel>(step, tier);
}

} // namespace nodevae
