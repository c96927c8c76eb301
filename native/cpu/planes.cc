// From rows of an image, pixel after pixel, to planes with a zero halo.
#include "planes.h"

namespace nodevae {

Planes::Planes(const Window& window, int64_t channels, const TierKernels& tier)
    : window_(window), tier_(tier), channels_(channels) {
  const Axis &rows = window.rows, &columns = window.columns;
  const Window::Part first = window.part(0);
  image_ = ceil_div(columns.span(columns.destination), column_step());
  row_ = round_up(first.images * image_, tier.lanes);
  // The image itself begins at the start of a vector, behind the halo.
  const int64_t halo = ceil_div(std::max<int64_t>(0, -columns.low), column_step());
  lead_ = round_up(halo, tier.lanes) - halo;
  // A window's last vector may reach beyond the last row. An odd number of cache lines spreads planes over the cache.
  const int64_t floats = lead_ + ceil_div(rows.span(first.rows), row_step()) * row_ + image_ + 2 * tier.lanes;
  plane_ = round_up(floats, 16) | 16;
  planes_ = channels_ * row_step() * column_step();
}

void Planes::fill(const float* source, const Window::Part& part, float* planes) const {
  const Axis& rows = window_.rows;
  const int64_t first = part.row / rows.step * rows.source_step + rows.low, end = first + rows.span(part.rows);
  const int64_t inside = std::min(std::max<int64_t>(0, first), end),
                outside = std::max(inside, std::min(rows.source, end));
  const int64_t source_row = window_.columns.source * channels_;
  clear_rows(0, inside - first, planes);
  for (int64_t i = 0; i < row_step() && inside + i < outside; ++i)
    for (int64_t image = 0; image < part.images; ++image)
      fill_rows(source + ((part.image + image) * rows.source + inside + i) * source_row, row_step() * source_row,
                ceil_div(outside - inside - i, row_step()), planes + at(inside + i - first, 0) + image * image_);
  clear_rows(outside - first, end - first, planes);
}

void Planes::clear_rows(int64_t row, int64_t end, float* planes) const {
  for (; row < end; ++row)
    for (int64_t plane = 0; plane < column_step() * channels_; ++plane)
      std::fill_n(planes + at(row, 0) + plane * plane_, row_, 0.0f);
}

// Position j of plane [remainder][channel] shows source column low + remainder + j * step.
void Planes::fill_rows(const float* source, int64_t source_row, int64_t rows, float* planes) const {
  const Axis& columns = window_.columns;
  const int64_t step = column_step();
  int64_t begin = columns.low < 0 ? -columns.low / step : 0; // the first position that shows something
  int64_t column = columns.low + begin * step;
  if (column < 0 && begin < image_) { // only from one of its remainders on
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t i = 0; i < std::min(column + step, columns.source) * channels_; ++i)
        planes[row * row_ + (i - column * channels_) * plane_ + begin] = source[row * source_row + i];
    ++begin;
    column += step;
  }
  const int64_t positions = std::min((image_ - begin) * step, columns.source - column);
  if (positions <= 0) return;
  const InterleaveCall call{step * channels_,
                            rows,
                            positions * channels_,
                            planes + begin,
                            plane_,
                            row_,
                            const_cast<float*>(source) + column * channels_,
                            source_row};
  tier_.deinterleave(&call);
}

} // namespace nodevae
