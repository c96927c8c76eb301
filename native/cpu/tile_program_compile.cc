// From a program's instructions to tile steps: which values are uniform, which live directly in an operand's memory,
// which share scratch slots.
#include <algorithm>
#include <climits>

#include "tile_program.h"

namespace nodevae {

namespace {

constexpr int kNever = -1;
constexpr int kAtTheEnd = INT_MAX; // stores that are not elided run after all other instructions

bool is_structural(Opcode op) { return op < Opcode::negate; }

struct Range {
  const char *begin, *end;
  bool overlaps(const Range& other) const { return begin < other.end && other.begin < end; }
};
Range memory_range(const ResolvedOperand& operand, const int64_t* extent) {
  int64_t low = 0, high = 1;
  for (int d = 0; d < kDims; ++d) {
    const int64_t reach = operand.strides[d] * (extent[d] - 1);
    (reach < 0 ? low : high) += reach;
  }
  const int64_t size = static_cast<int64_t>(dtype_size(operand.dtype));
  const char* data = static_cast<const char*>(operand.data);
  return {data + low * size, data + high * size};
}
bool same_view(const ResolvedOperand& a, const ResolvedOperand& b) {
  return a.data == b.data && a.dtype == b.dtype && std::equal(a.strides, a.strides + kDims, b.strides);
}

} // namespace

static_assert(static_cast<int>(Opcode::count) == static_cast<int>(opcode::count), "one list of instructions");

class TileProgram::Compiler {
public:
  explicit Compiler(TileProgram& target)
      : target_(target), space_(target.space_), program_(target.space_.program), rows_(target.space_.extent[kRows]),
        columns_(target.space_.extent[kColumns]) {}

  void compile() {
    find_extents();
    find_uses();
    find_homes();
    const int count = static_cast<int>(program_.size());
    for (int i = 0; i < count; ++i) emit(i);
    for (const int i : late_stores_) emit_store(program_[i]);
    find_streams();
    const int64_t streams = target_.slots_ + streamed_operands() + 1;
    // All slots and streams of a tile stay within the first-level cache, but a tile is never too short to pay for
    // the dispatch of its steps.
    const int64_t fitting = kTileBytes / static_cast<int64_t>(sizeof(float)) / streams;
    target_.tile_elements_ = std::min<int64_t>(4096, std::max<int64_t>(1024, fitting / 64 * 64));
  }

private:
  static constexpr int64_t kTileBytes = 28 * 1024;

  // Whether rows of this operand can be read or written in place of a scratch slot.
  bool contiguous(const ResolvedOperand& operand) const {
    return operand.dtype == DType::float32 && (operand.strides[kColumns] == 1 || columns_ == 1);
  }
  Range range(const ResolvedOperand& operand) const { return memory_range(operand, space_.extent); }

  void find_extents() {
    for (const Instruction& i : program_) {
      Extent extent = Extent::uniform;
      if (i.op == Opcode::accumulator) extent = Extent::full;
      if (i.op == Opcode::load) {
        const ResolvedOperand& operand = space_.operands[static_cast<size_t>(i.a)];
        if (operand.strides[kRows] != 0)
          extent = Extent::full;
        else if (operand.strides[kColumns] != 0)
          extent = rows_ == 1 ? Extent::full : Extent::row;
      }
      const int32_t arguments[3] = {i.a, i.b, i.c};
      for (int j = 0; j < opcode_arity(i.op); ++j)
        extent = std::max(extent, extents_[static_cast<size_t>(arguments[j])]);
      extents_.push_back(extent);
    }
  }

  void find_uses() {
    last_use_.assign(program_.size(), kNever);
    stored_.assign(program_.size(), false);
    for (size_t i = 0; i < program_.size(); ++i) {
      const Instruction& instruction = program_[i];
      const int32_t arguments[3] = {instruction.a, instruction.b, instruction.c};
      for (int j = 0; j < opcode_arity(instruction.op); ++j)
        last_use_[static_cast<size_t>(arguments[j])] = static_cast<int>(i);
      if (instruction.op == Opcode::reduce_sum || instruction.op == Opcode::reduce_max)
        last_use_[static_cast<size_t>(instruction.a)] = static_cast<int>(i);
    }
    for (const Instruction& i : program_) // a store may come before the last use and still run at the end
      if (i.op == Opcode::store) stored_[static_cast<size_t>(i.a)] = true;
  }

  int operand_count_of_overlapping_stores(const ResolvedOperand& operand) const {
    int found = 0;
    for (const Instruction& i : program_)
      if (i.op == Opcode::store && range(space_.operands[static_cast<size_t>(i.b)]).overlaps(range(operand))) ++found;
    return found;
  }

  // Chooses which loads read their operand in place, and which results are computed straight into a store's operand.
  void find_homes() {
    homes_.resize(program_.size());
    elided_store_.assign(program_.size(), false);
    for (size_t i = 0; i < program_.size(); ++i) {
      homes_[i].extent = extents_[i];
      if (program_[i].op == Opcode::accumulator) homes_[i].home = Home::accumulator;
      if (program_[i].op != Opcode::load || extents_[i] == Extent::uniform) continue;
      const ResolvedOperand& operand = space_.operands[static_cast<size_t>(program_[i].a)];
      // A value that is stored late must not change under an earlier late store.
      if (contiguous(operand) && !(stored_[i] && operand_count_of_overlapping_stores(operand) > 0)) {
        homes_[i].home = Home::operand;
        homes_[i].index = program_[i].a;
      }
    }
    for (size_t i = 0; i < program_.size(); ++i) {
      if (program_[i].op != Opcode::store) continue;
      const size_t value = static_cast<size_t>(program_[i].a);
      const ResolvedOperand& operand = space_.operands[static_cast<size_t>(program_[i].b)];
      if (is_structural(program_[value].op) || extents_[value] != Extent::full || homes_[value].home != Home::none ||
          !contiguous(operand) || operand_count_of_overlapping_stores(operand) != 1 ||
          read_after(operand, static_cast<int>(value)))
        continue;
      homes_[value].home = Home::operand;
      homes_[value].index = program_[i].b;
      elided_store_[i] = true;
    }
  }

  // Whether writing `stored` at instruction `at` would destroy something that is still to be read. Reading the very
  // same view in the same instruction is fine: element by element, reads come before the write.
  bool read_after(const ResolvedOperand& stored, int at) const {
    for (size_t i = 0; i < program_.size(); ++i) {
      if (program_[i].op != Opcode::load || extents_[i] == Extent::uniform) continue;
      const ResolvedOperand& loaded = space_.operands[static_cast<size_t>(program_[i].a)];
      if (!range(loaded).overlaps(range(stored))) continue;
      if (!same_view(loaded, stored)) return true;
      const int last = homes_[i].home != Home::operand ? static_cast<int>(i) : stored_[i] ? kAtTheEnd : last_use_[i];
      if (last > at) return true;
    }
    return false;
  }

  // Operands of which a tile has its own part, in place: they share the first-level cache with the slots.
  int64_t streamed_operands() const {
    std::vector<int> found;
    for (const Place& home : homes_)
      if (home.home == Home::operand && home.extent == Extent::full) found.push_back(home.index);
    const auto same = [&](int a, int b) {
      return same_view(space_.operands[static_cast<size_t>(a)], space_.operands[static_cast<size_t>(b)]);
    };
    int64_t different = 0;
    for (size_t i = 0; i < found.size(); ++i)
      different += std::none_of(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(i),
                                [&](int earlier) { return same(earlier, found[i]); });
    return different;
  }

  void find_streams() {
    for (const Instruction& i : program_) {
      if (i.op != Opcode::load && i.op != Opcode::store) continue;
      const int number = i.op == Opcode::load ? i.a : i.b;
      const ResolvedOperand& operand = space_.operands[static_cast<size_t>(number)];
      const bool known = std::any_of(target_.streams_.begin(), target_.streams_.end(), [&](int other) {
        return same_view(space_.operands[static_cast<size_t>(other)], operand);
      });
      if (!known && operand.dtype == DType::float32 && operand.strides[kRows] != 0 && operand.strides[kColumns] == 1)
        target_.streams_.push_back(number);
    }
  }

  int take_slot() {
    if (free_slots_.empty()) return target_.slots_++;
    const int slot = free_slots_.back();
    free_slots_.pop_back();
    return slot;
  }
  // Gives back the slots of values that instruction `at` used last, those of the given extent or all others.
  void release(const Instruction& instruction, int at, bool of_extent, Extent extent) {
    const int32_t arguments[3] = {instruction.a, instruction.b, instruction.c};
    const int used = is_structural(instruction.op) ? 1 : opcode_arity(instruction.op);
    for (int j = 0; j < used; ++j) {
      const size_t value = static_cast<size_t>(arguments[j]);
      Place& home = homes_[value];
      if (home.home != Home::slot || stored_late(value) || last_use_[value] != at) continue;
      if ((home.extent == extent) != of_extent) continue;
      free_slots_.push_back(home.index);
      last_use_[value] = kNever; // once only, though it may be an argument twice
    }
  }
  bool stored_late(size_t value) const {
    for (size_t i = 0; i < program_.size(); ++i)
      if (program_[i].op == Opcode::store && !elided_store_[i] && static_cast<size_t>(program_[i].a) == value)
        return true;
    return false;
  }

  void emit(int at) {
    const Instruction& i = program_[static_cast<size_t>(at)];
    Place& home = homes_[static_cast<size_t>(at)];
    switch (i.op) {
    case Opcode::accumulator:
      return;
    case Opcode::constant: {
      float value;
      static_assert(sizeof value == sizeof i.a, "float32 bits");
      std::copy_n(reinterpret_cast<const char*>(&i.a), sizeof value, reinterpret_cast<char*>(&value));
      home = {Home::uniform, target_.uniforms_, Extent::uniform};
      target_.constants_.push_back({target_.uniforms_++, value});
      return;
    }
    case Opcode::load: {
      if (home.home == Home::operand) return;
      const bool uniform = home.extent == Extent::uniform;
      home.home = uniform ? Home::uniform : Home::slot;
      home.index = uniform ? target_.uniforms_++ : take_slot();
      (uniform ? target_.prelude_ : target_.steps_).push_back({Action::load, home.extent, nullptr, 0, home, {}, i.a});
      return;
    }
    case Opcode::store:
      if (!elided_store_[static_cast<size_t>(at)]) late_stores_.push_back(at);
      return;
    case Opcode::reduce_sum:
    case Opcode::reduce_max:
      return emit_reduction(i, at);
    default:
      return emit_elementwise(i, at);
    }
  }

  void emit_elementwise(const Instruction& i, int at) {
    Place& home = homes_[static_cast<size_t>(at)];
    const int count = opcode_arity(i.op);
    const int32_t arguments[3] = {i.a, i.b, i.c};
    TileStep step{Action::elementwise, home.extent, nullptr, count, {}, {}, 0};
    int uniform = 0;
    for (int j = 0; j < count; ++j) {
      step.in[j] = homes_[static_cast<size_t>(arguments[j])];
      if (home.extent != Extent::uniform && step.in[j].extent == Extent::uniform) uniform |= 1 << j;
    }
    step.function = target_.tier_.elementwise[static_cast<int>(i.op)][uniform];
    // A result may take the slot of an argument of its own extent: every element is read before it is written.
    release(i, at, true, home.extent);
    if (home.extent == Extent::uniform) {
      home.home = Home::uniform;
      home.index = target_.uniforms_++;
    } else if (home.home == Home::none) {
      home.home = Home::slot;
      home.index = take_slot();
    }
    release(i, at, false, home.extent);
    step.out = home;
    (home.extent == Extent::uniform ? target_.prelude_ : target_.steps_).push_back(step);
    // A value that nobody uses would keep its slot for good.
    if (last_use_[static_cast<size_t>(at)] == kNever && home.home == Home::slot &&
        !stored_late(static_cast<size_t>(at)))
      free_slots_.push_back(home.index);
  }

  // Stores and reductions want rows: a uniform value is spread over one row that serves for all.
  Place as_rows(const Place& place) {
    if (place.extent != Extent::uniform) return place;
    const Place row{Home::slot, take_slot(), Extent::row};
    target_.steps_.push_back({Action::broadcast, Extent::row, nullptr, 0, row, {place}, 0});
    return row;
  }
  void emit_store(const Instruction& i) {
    const Place& home = homes_[static_cast<size_t>(i.a)];
    const Place value = as_rows(home);
    target_.steps_.push_back({Action::store, Extent::full, nullptr, 0, {}, {value}, i.b});
    if (home.extent == Extent::uniform) free_slots_.push_back(value.index);
  }
  void emit_reduction(const Instruction& i, int at) {
    const bool maximum = i.op == Opcode::reduce_max;
    const TierKernels& tier = target_.tier_;
    Reduction reduction{(maximum ? tier.reduce_max : tier.reduce_sum)[i.c], maximum, i.c, i.b, target_.shared_bytes_};
    target_.shared_bytes_ += float_bytes(target_.partial_elements(reduction));
    const Place home = homes_[static_cast<size_t>(i.a)];
    const Place value = as_rows(home);
    target_.steps_.push_back(
        {Action::reduce, Extent::full, nullptr, 0, {}, {value}, static_cast<int>(target_.reductions_.size())});
    target_.reductions_.push_back(reduction);
    if (home.extent == Extent::uniform) free_slots_.push_back(value.index);
    release(i, at, true, home.extent);
  }

  TileProgram& target_;
  const ProgramSpace& space_;
  const std::vector<Instruction>& program_;
  const int64_t rows_, columns_;
  std::vector<Extent> extents_;
  std::vector<int> last_use_;
  std::vector<bool> stored_, elided_store_;
  std::vector<Place> homes_;
  std::vector<int> free_slots_, late_stores_;
};

TileProgram::TileProgram(ProgramSpace space, const TierKernels& tier, int64_t row_blocks, int64_t column_blocks)
    : space_(std::move(space)), tier_(tier), row_blocks_(row_blocks), column_blocks_(column_blocks) {
  Compiler(*this).compile();
  local_bytes_ = float_bytes(uniforms_) +
                 sizeof(char*) * static_cast<size_t>(round_up(static_cast<int64_t>(space_.operands.size()), 8)) +
                 static_cast<size_t>(slots_) * float_bytes(tile_elements_);
}

int64_t TileProgram::partial_elements(const Reduction& reduction) const {
  const int64_t rows = reduction.axes & over_rows ? row_blocks_ : space_.extent[kRows];
  const int64_t columns = reduction.axes & over_columns ? column_blocks_ : space_.extent[kColumns];
  return space_.outer() * rows * columns;
}

const ResolvedOperand* TileProgram::plain_store() const {
  if (steps_.size() != 1 || !prelude_.empty() || steps_[0].action != Action::store ||
      steps_[0].in[0].home != Home::accumulator)
    return nullptr;
  const ResolvedOperand& operand = space_.operands[static_cast<size_t>(steps_[0].index)];
  const bool contiguous = operand.strides[kColumns] == 1 || space_.extent[kColumns] == 1;
  return operand.dtype == DType::float32 && contiguous ? &operand : nullptr;
}

} // namespace nodevae
