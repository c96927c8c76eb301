#include "noise.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "../axes.h"
#include "../binding.h"
#include "../space.h"
#include "program_arguments.h"
#include "step.h"

namespace nodevae::cuda {

namespace {

// Beyond this many programs, making the noise again costs more than loading it.
constexpr size_t kMostReaders = 2;
// A draw whose elements do not come in whole blocks of Philox is made by four times the work: only for draws that are
// so small that a launch costs more.
constexpr int64_t kSmallDraw = 1 << 16;
constexpr int64_t kMostFollowed = 1 << 26; // elements: larger draws are not looked into
constexpr int64_t kWord = sizeof(float);

// The stretches [begin, end) of bytes that a view covers, for a buffer whose first byte is number `start`.
template <class Body> void each_run(const Operand& view, const int64_t* space, int64_t start, int64_t size, Body body) {
  std::vector<std::pair<int64_t, int64_t>> dimensions; // stride, extent
  for (int d = 0; d < kDims; ++d) {
    if (view.strides[d] == 0 || space[d] == 1) continue;
    if (space[d] == 0) return;
    dimensions.emplace_back(view.strides[d], space[d]);
  }
  std::sort(dimensions.begin(), dimensions.end());
  int64_t run = 1;
  size_t first = 0; // dimension that steps beyond the run
  for (; first < dimensions.size() && dimensions[first].first <= run; ++first)
    run += dimensions[first].first * (dimensions[first].second - 1);
  std::vector<int64_t> at(dimensions.size(), 0);
  for (int64_t element = view.offset;;) {
    body(start + element * size, start + (element + run) * size);
    size_t d = first;
    for (; d < dimensions.size(); ++d) {
      element += dimensions[d].first;
      if (++at[d] < dimensions[d].second) break;
      element -= dimensions[d].first * dimensions[d].second;
      at[d] = 0;
    }
    if (d == dimensions.size()) return;
  }
}

int64_t elements(const int64_t* space) {
  int64_t total = 1;
  for (int d = 0; d < kDims; ++d) total *= space[d];
  return total;
}

bool is_random(const PlanStep& step) {
  return step.kernel == KernelId::random_normal || step.kernel == KernelId::random_uniform;
}

} // namespace

// Follows the bytes that a random step writes through the plan, until the same step of the next training step.
class NoiseReaders {
public:
  NoiseReaders(const Plan& plan, size_t draw)
      : plan_(plan), draw_(draw), step_(plan.steps[draw]), view_(step_.operands[0]), count_(step_.space[kColumns]),
        begin_(byte(view_)) {}

  // Whether nothing but loads of programs reads the draw, and few of them.
  bool follow(const NoiseFusion& fusion) {
    if (spec(view_).kind != BufferSpec::Kind::arena || count_ > kMostFollowed) return false;
    words_.assign(static_cast<size_t>(count_), Word::noise);
    const size_t steps = plan_.steps.size(), commit = static_cast<size_t>(plan_.commit);
    for (size_t i = draw_ + 1; i <= draw_ + steps; ++i) { // on into the next training step
      const size_t number = i % steps;
      if (i == steps && ((commit == steps && terms_read()) || outputs_read())) return false;
      if (number == commit && terms_read()) return false;
      if (number == draw_) break;
      if (!read(number, i >= steps, fusion)) return false;
      write(plan_.steps[number]);
    }
    return worthwhile();
  }

  void take_over(NoiseFusion& fusion) const {
    fusion.taken_over_[draw_] = true;
    for (const auto& [step, load] : loads_) fusion.loads_[step].push_back(load);
  }

private:
  // What a word of memory holds: a number of the draw, something else, or nobody knows which.
  enum class Word : uint8_t { noise, other, unknown };

  const BufferSpec& spec(const Operand& view) const { return plan_.buffers[static_cast<size_t>(view.buffer)]; }
  int64_t byte(const Operand& view) const {
    return spec(view).offset + view.offset * static_cast<int64_t>(dtype_size(spec(view).dtype));
  }

  // Words that lie in the bytes [from, to), in part or as a whole.
  template <class Body> void each_word(int64_t from, int64_t to, Body body) {
    from = std::max(from - begin_, int64_t{0}), to = std::min(to - begin_, count_ * kWord);
    for (int64_t i = from / kWord; i * kWord < to; ++i)
      body(words_[static_cast<size_t>(i)], i * kWord >= from && (i + 1) * kWord <= to);
  }

  struct Found {
    bool noise = false, other = false, unknown = false;
    void add(Word word) { (word == Word::noise ? noise : word == Word::other ? other : unknown) = true; }
  };
  Found buffer_holds(const BufferSpec& buffer) {
    Found found;
    if (buffer.kind == BufferSpec::Kind::arena)
      each_word(buffer.offset, buffer.offset + static_cast<int64_t>(buffer_bytes(buffer)),
                [&](Word word, bool) { found.add(word); });
    return found;
  }
  Found view_holds(const Operand& view, const int64_t* space) {
    Found found;
    const BufferSpec& buffer = spec(view);
    if (buffer.kind != BufferSpec::Kind::arena || !overlaps(buffer)) return found;
    each_run(view, space, buffer.offset, static_cast<int64_t>(dtype_size(buffer.dtype)), [&](int64_t from, int64_t to) {
      if (from < begin_ || to > begin_ + count_ * kWord) found.other = true;
      each_word(from, to, [&](Word word, bool) { found.add(word); });
    });
    return found;
  }
  // Whether a buffer has bytes in common with the draw.
  bool overlaps(const BufferSpec& buffer) const {
    return buffer.offset < begin_ + count_ * kWord &&
           buffer.offset + static_cast<int64_t>(buffer_bytes(buffer)) > begin_;
  }

  bool terms_read() {
    if (plan_.terms < 0) return false;
    const Found found = buffer_holds(plan_.buffers[static_cast<size_t>(plan_.terms)]);
    return found.noise || found.unknown;
  }
  bool outputs_read() {
    return std::any_of(plan_.outputs.begin(), plan_.outputs.end(), [&](int32_t output) {
      const Found found = buffer_holds(plan_.buffers[static_cast<size_t>(output)]);
      return found.noise || found.unknown;
    });
  }

  // What a step reads. False where it reads of the draw and could not make that itself.
  bool read(size_t number, bool next_training_step, const NoiseFusion& fusion) {
    const PlanStep& step = plan_.steps[number];
    std::vector<bool> loaded(step.operands.size(), false);
    size_t added = fusion.loads_[number].size();
    for (size_t i = 0; i < step.program.size(); ++i) {
      const Instruction& instruction = step.program[i];
      if (instruction.op != Opcode::load) continue;
      const size_t operand = static_cast<size_t>(instruction.a);
      const Operand& view = step.operands[operand];
      loaded[operand] = true;
      const Found found = view_holds(view, step.space);
      if (!found.noise && !found.unknown) continue;
      if (found.other || found.unknown || next_training_step || spec(view).dtype != DType::float32) return false;
      if (step.operands.size() + ++added > kMaxOperands) return false; // resolve() may add one
      const int64_t first = (byte(view) - begin_) / kWord;
      loads_.push_back({number, {i, {step_.kernel == KernelId::random_normal, stream(), first}}});
      add_work(view, step.space, first);
    }
    for (size_t i = 0; i < step.operands.size(); ++i) { // what kernels themselves read, wherever in the buffer
      if (loaded[i] || writes(step, i)) continue;
      const Found found = buffer_holds(spec(step.operands[i]));
      if (found.noise || found.unknown) return false;
    }
    return true;
  }

  // What a step writes: views where a program, gather or a draw says what they are, else who knows what of the buffer.
  void write(const PlanStep& step) {
    for (size_t i = 0; i < step.operands.size(); ++i) {
      const Operand& view = step.operands[i];
      const BufferSpec& buffer = spec(view);
      if (buffer.kind != BufferSpec::Kind::arena || !writes(step, i) || !overlaps(buffer)) continue;
      const bool known = !step.program.empty() || step.kernel == KernelId::gather || is_random(step);
      if (known && elements(step.space) > 0)
        each_run(view, step.space, buffer.offset, static_cast<int64_t>(dtype_size(buffer.dtype)),
                 [&](int64_t from, int64_t to) {
                   each_word(from, to, [](Word& word, bool whole) {
                     word = whole || word == Word::other ? Word::other : Word::unknown;
                   });
                 });
      else
        each_word(buffer.offset, buffer.offset + static_cast<int64_t>(buffer_bytes(buffer)), [](Word& word, bool) {
          if (word == Word::noise) word = Word::unknown;
        });
    }
  }

  uint32_t stream() const { return static_cast<uint32_t>(step_.attributes[0]); }

  void add_work(const Operand& view, const int64_t* space, int64_t first) {
    work_ += elements(space);
    bool blocks = first % 4 == 0 && view.strides[kColumns] == 1 && space[kColumns] % 4 == 0;
    for (int d = 0; d < kColumns; ++d) blocks = blocks && (space[d] == 1 || view.strides[d] % 4 == 0);
    // A map over one contiguous stretch is cut anew.
    const bool all = view.strides[kColumns] == 1 && elements(space) == count_ && count_ % 4 == 0;
    in_blocks_ = in_blocks_ && (blocks || all);
  }

  bool worthwhile() const {
    std::vector<size_t> readers;
    for (const auto& load : loads_)
      if (readers.empty() || readers.back() != load.first) readers.push_back(load.first);
    return readers.size() <= kMostReaders && work_ <= static_cast<int64_t>(kMostReaders) * count_ &&
           (in_blocks_ || count_ <= kSmallDraw);
  }

  const Plan& plan_;
  const size_t draw_;
  const PlanStep& step_;
  const Operand& view_;
  const int64_t count_, begin_; // elements of the draw, and its first byte in the arena
  std::vector<Word> words_;     // what its memory holds
  std::vector<std::pair<size_t, NoiseFusion::Load>> loads_;
  int64_t work_ = 0; // elements that the loads make
  bool in_blocks_ = true;
};

NoiseFusion::NoiseFusion(const Plan& plan) : taken_over_(plan.steps.size(), false), loads_(plan.steps.size()) {
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    if (!is_random(plan.steps[i])) continue;
    NoiseReaders readers(plan, i);
    if (readers.follow(*this)) readers.take_over(*this);
  }
}

ResolvedStep NoiseFusion::resolve(const Plan& plan, size_t step, const std::vector<char*>& buffers) const {
  ResolvedStep resolved = nodevae::resolve(plan, plan.steps[step], buffers);
  for (const Load& load : loads_[step]) {
    Instruction& instruction = resolved.program[load.instruction];
    const size_t operand = static_cast<size_t>(instruction.a);
    if (!writes(plan.steps[step], operand)) {
      resolved.operands[operand].noise = load.source;
      continue;
    }
    resolved.operands.push_back(resolved.operands[operand]); // written by another instruction, in memory
    resolved.operands.back().noise = load.source;
    instruction.a = static_cast<int32_t>(resolved.operands.size() - 1);
  }
  return resolved;
}

std::unique_ptr<LoweredStep> NoiseFusion::lower(size_t step, const ResolvedStep& resolved, const Target& target) const {
  if (taken_over_[step]) return make_step([](const Addresses&) { return std::vector<Launch>{}; });
  return cuda::lower(resolved, target);
}

} // namespace nodevae::cuda
