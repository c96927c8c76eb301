// gather and scatter_add: which kernels, and how the work is cut.
#include "indexing.h"

#include <algorithm>

#include "sort_keys.h"
#include "step.h"

namespace nodevae::cuda {

namespace {

IndexParameters index_parameters(const ResolvedStep& step, int64_t rows) {
  IndexParameters p{};
  p.indices = address_of(step.operands[1]);
  p.stride = step.operands[1].strides[kRows];
  p.count = step.space[kRows];
  p.rows = rows;
  if (p.count > kMaxPositions)
    throw KernelError(std::string(kernel_name(step.kernel)) + ": expected at most 2^32 - 2 indices, received " +
                      std::to_string(p.count) + "; split the array of indices");
  return p;
}

void place(IndexParameters& p, const Addresses& addresses) {
  p.state = addresses.state;
  p.halted = guard_of(addresses);
  p.tickets = addresses.tickets;
  p.step = addresses.step;
}

constexpr size_t kIndexTickets = 2;

// The widest unit that divides addresses, row strides and rows; one element where columns are not neighbours.
int64_t gather_unit(const ResolvedOperand& table, const ResolvedOperand& out, int64_t table_row, int64_t columns) {
  const int64_t element = static_cast<int64_t>(dtype_size(out.dtype));
  if (columns > 1 && (table.strides[kColumns] != 1 || out.strides[kColumns] != 1)) return element;
  for (int64_t unit : {16, 8, 4}) {
    if (unit < element) break;
    const uint64_t bits = address_of(table) | address_of(out) |
                          static_cast<uint64_t>(element * (table_row | out.strides[kRows] | columns));
    if (bits % static_cast<uint64_t>(unit) == 0) return unit;
  }
  return element;
}

} // namespace

std::unique_ptr<LoweredStep> lower_gather(const ResolvedStep& step, const Target& target) {
  const ResolvedOperand &table = step.operands[0], &out = step.operands[2];
  const int64_t columns = step.space[kColumns], table_row = step.attributes[1];
  GatherParameters p{};
  p.index = index_parameters(step, step.attributes[0]);
  p.table = address_of(table);
  p.out = address_of(out);

  const int64_t unit = gather_unit(table, out, table_row, columns);
  const int64_t element = static_cast<int64_t>(dtype_size(out.dtype));
  p.units = columns * element / unit;
  p.table_row = table_row * element / unit;
  p.out_row = out.strides[kRows] * element / unit;
  p.table_unit = unit > element || columns == 1 ? 1 : table.strides[kColumns];
  p.out_unit = unit > element || columns == 1 ? 1 : out.strides[kColumns];

  // Four units per thread, or one where there would not be a block for every multiprocessor.
  const bool plenty = p.index.count * p.units >= 4 * kThreads * target.multiprocessors;
  const int64_t block_units = plenty ? 4 * kThreads : kThreads;
  p.block_rows = static_cast<int32_t>(std::clamp<int64_t>(block_units / p.units, 1, block_units));
  p.part_units = std::min(p.units, block_units);
  p.parts = static_cast<int32_t>(grid_of(divide_up(p.units, p.part_units), "gather"));
  const uint32_t blocks = grid_of(divide_up(p.index.count, p.block_rows) * p.parts, "gather");

  const char* entry = unit == 16 ? "gather_16" : unit == 8 ? "gather_8" : unit == 4 ? "gather_4" : "gather_1";
  return make_step(
      [=, module = embedded_module("indexing", target.capability)](const Addresses& addresses) {
        GatherParameters q = p;
        place(q.index, addresses);
        return std::vector<Launch>{launch_of(module, entry, blocks, q)};
      },
      0, kIndexTickets);
}

std::unique_ptr<LoweredStep> lower_scatter_add(const ResolvedStep& step, const Target& target) {
  const ResolvedOperand &updates = step.operands[0], &out = step.operands[2];
  ScatterParameters p{};
  p.index = index_parameters(step, step.attributes[0]);
  p.updates = address_of(updates);
  p.update_row = updates.strides[kRows];
  p.update_column = updates.strides[kColumns];
  p.out = address_of(out);
  p.columns = step.space[kColumns];
  p.out_row = p.index.rows == 1 ? p.columns : out.strides[kRows];
  const auto module = embedded_module("indexing", target.capability);

  // Every element of the output looks at every index, where that takes some 10 microseconds at most.
  constexpr int64_t kMaxComparisons = int64_t{1} << 26, kMaxSearched = 8192;
  const int64_t count = p.index.count, elements = p.index.rows * p.columns;
  if (count <= kMaxSearched && elements <= kMaxComparisons / count) {
    const uint32_t blocks = grid_of(divide_up(elements, kThreads), "scatter_add");
    return make_step([=](const Addresses& addresses) {
      ScatterParameters q = p;
      place(q.index, addresses);
      return std::vector<Launch>{
          launch_of(module, "scatter_add_search", blocks, q, 1024 * sizeof(int32_t) + sizeof(uint32_t))};
    });
  }

  p.lanes = 1;
  while (p.lanes < 32 && p.lanes < p.columns) p.lanes *= 2;
  p.parts = static_cast<int32_t>(grid_of(divide_up(p.columns, p.lanes), "scatter_add"));
  const int64_t prepare = divide_up(std::max(count, elements), kThreads);
  const uint32_t prepare_blocks = static_cast<uint32_t>(std::min<int64_t>(prepare, 8 * target.multiprocessors));
  const uint32_t blocks = grid_of(divide_up(count, kThreads / p.lanes) * p.parts, "scatter_add");
  const size_t key_bytes = static_cast<size_t>(divide_up(count, 32) * 32) * sizeof(uint64_t);
  return make_step(
      [=, capability = target.capability](const Addresses& addresses) {
        ScatterParameters q = p;
        place(q.index, addresses);
        q.keys = addresses.scratch;
        std::vector<Launch> launches{launch_of(module, "scatter_add_prepare", prepare_blocks, q)};
        q.keys = append_key_sort(launches, capability, q.index.halted, addresses.scratch, addresses.scratch + key_bytes,
                                 1, count);
        launches.push_back(launch_of(module, "scatter_add_sorted", blocks, q));
        return launches;
      },
      2 * key_bytes, kIndexTickets);
}

} // namespace nodevae::cuda
