// cumulative_sum and sort: along one dimension, independently for everything else.
#include "kernels.h"

namespace nodevae {

namespace {

constexpr int64_t kLanes = 64; // neighbouring sums that advance together

// out[o][i][j] = sum of in[o][0..i][j], in double precision; reversed from the end, exclusive without element i itself.
class CumulativeSumKernel final : public Kernel {
public:
  explicit CumulativeSumKernel(const ResolvedStep& step)
      : in_(static_cast<const float*>(step.operands[0].data)), out_(static_cast<float*>(step.operands[1].data)),
        outer_(step.space[kOuter - 1]), length_(step.space[kRows]), inner_(step.space[kColumns]),
        reverse_(step.attributes[0] != 0), exclusive_(step.attributes[1] != 0) {}

  void run(const RunContext& context) override {
    const int64_t strips = ceil_div(inner_, kLanes), scans = outer_ * strips;
    const int64_t per_job = std::max<int64_t>(1, 16384 / (length_ * std::min(inner_, kLanes)));
    run_jobs(*context.pool, scans, per_job, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i)
        scan(i / strips * length_ * inner_ + i % strips * kLanes, std::min(kLanes, inner_ - i % strips * kLanes));
    });
  }

private:
  void scan(int64_t first, int64_t count) const {
    double sum[kLanes] = {};
    for (int64_t i = 0; i < length_; ++i) {
      const int64_t at = first + (reverse_ ? length_ - 1 - i : i) * inner_;
      for (int64_t j = 0; j < count; ++j) {
        const double before = sum[j];
        sum[j] += static_cast<double>(in_[at + j]);
        out_[at + j] = static_cast<float>(exclusive_ ? before : sum[j]);
      }
    }
  }

  const float* in_;
  float* out_;
  int64_t outer_, length_, inner_;
  bool reverse_, exclusive_;
};

// Merge sort of (value, position): stable, and without allocation. NaN counts as larger than any number.
class SortKernel final : public Kernel {
public:
  explicit SortKernel(const ResolvedStep& step)
      : in_(static_cast<const float*>(step.operands[0].data)), out_(step.operands[1].data), rows_(step.space[kRows]),
        columns_(step.space[kColumns]), descending_(step.attributes[0] != 0), indices_(step.attributes[1] != 0) {}

  size_t local_bytes() const override { return 2 * static_cast<size_t>(columns_) * sizeof(Entry); }

  void run(const RunContext& context) override {
    const int64_t per_job = std::max<int64_t>(1, 2048 / columns_);
    run_jobs(*context.pool, rows_, per_job, [&](int64_t begin, int64_t end, int thread) {
      Entry* scratch = reinterpret_cast<Entry*>(context.local[thread]);
      for (int64_t row = begin; row < end; ++row) sort_row(row, scratch);
    });
  }

private:
  struct Entry {
    float value;
    int32_t position;
  };

  // A comes before b, not merely ties with it.
  bool before(const Entry& a, const Entry& b) const {
    return descending_ ? less(b.value, a.value) : less(a.value, b.value);
  }
  static bool less(float a, float b) { return b != b ? a == a : a < b; }

  void sort_row(int64_t row, Entry* scratch) const {
    Entry *from = scratch, *to = scratch + columns_;
    for (int64_t i = 0; i < columns_; ++i) from[i] = {in_[row * columns_ + i], static_cast<int32_t>(i)};
    for (int64_t width = 1; width < columns_; width *= 2) {
      for (int64_t begin = 0; begin < columns_; begin += 2 * width) {
        const int64_t middle = std::min(columns_, begin + width), end = std::min(columns_, middle + width);
        for (int64_t at = begin, left = begin, right = middle; at < end; ++at) {
          const bool take_right = left == middle || (right < end && before(from[right], from[left]));
          to[at] = take_right ? from[right++] : from[left++];
        }
      }
      std::swap(from, to);
    }
    for (int64_t i = 0; i < columns_; ++i) {
      if (indices_)
        static_cast<int32_t*>(out_)[row * columns_ + i] = from[i].position;
      else
        static_cast<float*>(out_)[row * columns_ + i] = from[i].value;
    }
  }

  const float* in_;
  void* out_;
  int64_t rows_, columns_;
  bool descending_, indices_;
};

} // namespace

std::unique_ptr<Kernel> make_cumulative_sum(const ResolvedStep& step) {
  return std::make_unique<CumulativeSumKernel>(step);
}
std::unique_ptr<Kernel> make_sort(const ResolvedStep& step) { return std::make_unique<SortKernel>(step); }

} // namespace nodevae
