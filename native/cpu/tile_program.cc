// Running a compiled program over the tiles of a block, and combining what reductions leave behind.
#include "tile_program.h"

#include <limits>

namespace nodevae {

struct TileProgram::Frame {
  float* uniforms;
  float* slots;
  char** bases; // of each operand, at the block's outer index
  const Block* block;
  char* shared;
  int64_t row, column, rows, columns; // of the tile; row and column count from the start of the space
};

int64_t TileProgram::outer_offset(const ResolvedOperand& operand, int64_t outer) const {
  int64_t offset = 0;
  for (int d = kOuter - 1; d >= 0; --d) {
    offset += outer % space_.extent[d] * operand.strides[d];
    outer /= space_.extent[d];
  }
  return offset;
}

// Partial results lie in the order [outer][row or row block][column or column block], but for reductions over
// columns alone [outer][column block][row], so that a block's results are contiguous.
float* TileProgram::partial(const Reduction& reduction, const Block& block, char* shared) const {
  const int64_t rows = space_.extent[kRows], columns = space_.extent[kColumns];
  int64_t at = 0;
  switch (reduction.axes) {
  case over_rows:
    at = (block.outer * row_blocks_ + block.row_block) * columns + block.column;
    break;
  case over_columns:
    at = (block.outer * column_blocks_ + block.column_block) * rows + block.row;
    break;
  default:
    at = (block.outer * row_blocks_ + block.row_block) * column_blocks_ + block.column_block;
    break;
  }
  return reinterpret_cast<float*>(shared + reduction.offset) + at;
}

TileView TileProgram::view(const Place& place, const Frame& frame) const {
  const Block& block = *frame.block;
  switch (place.home) {
  case Home::uniform:
    return {frame.uniforms + place.index, 0};
  case Home::slot:
    return {frame.slots + place.index * round_up(tile_elements_, 16), place.extent == Extent::full ? frame.columns : 0};
  case Home::operand: {
    const ResolvedOperand& operand = space_.operands[static_cast<size_t>(place.index)];
    float* base = reinterpret_cast<float*>(frame.bases[place.index]);
    return {base + frame.row * operand.strides[kRows] + frame.column * operand.strides[kColumns],
            operand.strides[kRows]};
  }
  case Home::accumulator:
    return {const_cast<float*>(block.accumulator) + (frame.row - block.row) * block.accumulator_stride +
                (frame.column - block.column),
            block.accumulator_stride};
  case Home::none:
    break;
  }
  return {nullptr, 0};
}

void TileProgram::execute(const TileStep& step, const Frame& frame) const {
  const int64_t rows = step.extent == Extent::full ? frame.rows : 1;
  const int64_t columns = step.extent == Extent::uniform ? 1 : frame.columns;
  switch (step.action) {
  case Action::elementwise: {
    ElementwiseCall call{rows, columns, view(step.out, frame), {}};
    for (int i = 0; i < step.arity; ++i) call.argument[i] = view(step.in[i], frame);
    // A single row has whatever stride: this one lets the loops run flat.
    if (rows == 1) {
      call.out.stride = columns;
      for (TileView& argument : call.argument) argument.stride = columns;
    }
    return columns < tier_.lanes ? execute_narrow(step, call) : step.function(&call);
  }
  case Action::load:
  case Action::store: {
    const ResolvedOperand& operand = space_.operands[static_cast<size_t>(step.index)];
    const int64_t at = frame.row * operand.strides[kRows] + frame.column * operand.strides[kColumns];
    char* memory = frame.bases[step.index] + at * static_cast<int64_t>(dtype_size(operand.dtype));
    const bool load = step.action == Action::load;
    TransferCall call{rows,
                      columns,
                      memory,
                      static_cast<ElementType>(operand.dtype),
                      operand.strides[kRows],
                      operand.strides[kColumns],
                      view(load ? step.out : step.in[0], frame)};
    if (columns == 1 && call.tile.stride == 1) { // a single column is a row
      std::swap(call.rows, call.columns);
      std::swap(call.row_stride, call.column_stride);
    }
    return load ? tier_.load(&call) : tier_.store(&call);
  }
  case Action::broadcast: {
    const TransferCall call{1, columns, view(step.in[0], frame).data, ElementType::float32,
                            0, 0,       view(step.out, frame)};
    return tier_.load(&call);
  }
  case Action::reduce: {
    const Reduction& reduction = reductions_[static_cast<size_t>(step.index)];
    float* result = partial(reduction, *frame.block, frame.shared);
    if (reduction.axes == over_rows) result += frame.column - frame.block->column;
    if (reduction.axes == over_columns) result += frame.row - frame.block->row;
    const ReduceCall call{rows, columns, view(step.in[0], frame), result};
    return reduction.function(&call);
  }
  }
}

// Few columns would leave most lanes empty: where rows follow each other in memory, as many as a vector has lanes run
// as one long row, against a row that repeats what serves for all of them.
void TileProgram::execute_narrow(const TileStep& step, ElementwiseCall call) const {
  constexpr int64_t kMostLanes = 16;
  const int64_t columns = call.columns, together = tier_.lanes, long_rows = call.rows / together;
  float repeated[3][kMostLanes * kMostLanes];
  bool follow = call.out.stride == columns, repeats[3] = {};
  for (int i = 0; i < step.arity; ++i) {
    if (step.in[i].extent == Extent::uniform) continue;
    repeats[i] = call.argument[i].stride == 0;
    follow = follow && (repeats[i] || call.argument[i].stride == columns);
  }
  if (long_rows == 0 || !follow || !(repeats[0] || repeats[1] || repeats[2])) return step.function(&call);
  for (int i = 0; i < 3; ++i) {
    TileView& argument = call.argument[i];
    if (repeats[i]) {
      for (int64_t row = 0; row < together; ++row) std::copy_n(argument.data, columns, repeated[i] + row * columns);
      argument.data = repeated[i];
    } else {
      argument.stride = columns * together;
    }
  }
  const int64_t rest = (call.rows - long_rows * together) * columns;
  call.rows = long_rows;
  call.columns = call.out.stride = columns * together;
  step.function(&call);
  if (rest == 0) return;
  const int64_t done = long_rows * call.columns;
  call.rows = 1;
  call.columns = call.out.stride = rest;
  call.out.data += done;
  for (int i = 0; i < step.arity; ++i) {
    if (step.in[i].extent != Extent::uniform && !repeats[i]) call.argument[i].data += done;
    call.argument[i].stride = rest;
  }
  step.function(&call);
}

void TileProgram::prefetch(const Block& block, int64_t row, int64_t rows) const {
  constexpr int64_t line = 16; // floats
  for (const int stream : streams_) {
    const ResolvedOperand& operand = space_.operands[static_cast<size_t>(stream)];
    const int64_t stride = operand.strides[kRows];
    const float* p = static_cast<const float*>(operand.data) + outer_offset(operand, block.outer) +
                     (block.row + row) * stride + block.column;
    // Rows that do not begin with a cache line may end in one more.
    const bool whole = (reinterpret_cast<uintptr_t>(p) % 64 | static_cast<uintptr_t>(stride) % line) == 0;
    for (int64_t i = 0; i < rows; ++i, p += stride) {
      for (int64_t j = 0; j < block.columns; j += line) __builtin_prefetch(p + j, 1, 2);
      if (!whole) __builtin_prefetch(p + block.columns - 1, 1, 2);
    }
  }
}

void TileProgram::run(const Block& block, char* shared, char* local) const {
  Frame frame{};
  frame.uniforms = reinterpret_cast<float*>(local);
  local += float_bytes(uniforms_);
  frame.bases = reinterpret_cast<char**>(local);
  local += sizeof(char*) * static_cast<size_t>(round_up(static_cast<int64_t>(space_.operands.size()), 8));
  frame.slots = reinterpret_cast<float*>(local);
  frame.block = &block;
  frame.shared = shared;
  for (size_t i = 0; i < space_.operands.size(); ++i) {
    const ResolvedOperand& operand = space_.operands[i];
    frame.bases[i] = static_cast<char*>(operand.data) +
                     outer_offset(operand, block.outer) * static_cast<int64_t>(dtype_size(operand.dtype));
  }

  for (const auto& [number, value] : constants_) frame.uniforms[number] = value;
  frame.rows = frame.columns = 1;
  for (const TileStep& step : prelude_) execute(step, frame);
  for (const Reduction& reduction : reductions_) {
    const int64_t count =
        (reduction.axes & over_rows ? 1 : block.rows) * (reduction.axes & over_columns ? 1 : block.columns);
    const int64_t results = reduction.axes == over_rows      ? block.columns
                            : reduction.axes == over_columns ? block.rows
                                                             : count;
    std::fill_n(partial(reduction, block, shared), results,
                reduction.maximum ? -std::numeric_limits<float>::infinity() : 0.0f);
  }

  const int64_t pieces = ceil_div(block.columns, tile_elements_);
  const int64_t tile_columns = pieces == 1 ? block.columns : round_up(ceil_div(block.columns, pieces), 64);
  const int64_t tile_rows = std::max<int64_t>(1, tile_elements_ / tile_columns);
  for (int64_t row = 0; row < block.rows; row += tile_rows) {
    frame.row = block.row + row;
    frame.rows = std::min(tile_rows, block.rows - row);
    for (int64_t column = 0; column < block.columns; column += tile_columns) {
      frame.column = block.column + column;
      frame.columns = std::min(tile_columns, block.columns - column);
      for (const TileStep& step : steps_) execute(step, frame);
    }
  }
}

// Results [begin, end) of a reduction, counted over [outer][kept dimension].
void TileProgram::combine(const Reduction& reduction, const char* shared, int64_t begin, int64_t end) const {
  const ResolvedOperand& operand = space_.operands[static_cast<size_t>(reduction.operand)];
  const float* partials = reinterpret_cast<const float*>(shared + reduction.offset);
  int64_t kept = 1, stride = 0, parts = row_blocks_ * column_blocks_;
  if (reduction.axes == over_rows)
    kept = space_.extent[kColumns], stride = operand.strides[kColumns], parts = row_blocks_;
  if (reduction.axes == over_columns)
    kept = space_.extent[kRows], stride = operand.strides[kRows], parts = column_blocks_;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t outer = i / kept, index = i % kept;
    const float* part = partials + outer * parts * kept + index;
    float result = part[0];
    if (reduction.maximum) {
      for (int64_t j = 1; j < parts; ++j) {
        const float x = part[j * kept];
        if (x > result || x != x) result = x;
        if (result != result) break;
      }
    } else if (parts > 1) {
      double sum = 0;
      for (int64_t j = 0; j < parts; ++j) sum += static_cast<double>(part[j * kept]);
      result = static_cast<float>(sum);
    }
    static_cast<float*>(operand.data)[outer_offset(operand, outer) + index * stride] = result;
  }
}

void TileProgram::finish(char* shared, Pool& pool) const {
  constexpr int64_t kPartials = 1 << 15; // per chunk of parallel work
  for (const Reduction& reduction : reductions_) {
    const int64_t partials = partial_elements(reduction);
    const int64_t parts =
        (reduction.axes & over_rows ? row_blocks_ : 1) * (reduction.axes & over_columns ? column_blocks_ : 1);
    const int64_t results = partials / parts;
    const int64_t chunk = std::max<int64_t>(1, kPartials / parts);
    run_jobs(pool, results, chunk, [&](int64_t begin, int64_t end, int) { combine(reduction, shared, begin, end); });
  }
}

} // namespace nodevae
