// Random programs over random spaces and views, for program_check.cc, and the plain evaluation of an instruction.
#ifndef NODE_VAE_TEST_PROGRAM_CASE
#define NODE_VAE_TEST_PROGRAM_CASE

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#define NODEVAE_INLINE [[maybe_unused]] inline
#include "../../native/cuda/lowering.h"
#include "../../native/cuda/noise.cuh"

namespace nodevae::cuda {

#define UNARY(name, expression)                                                                                        \
  case Opcode::name:                                                                                                   \
    return expression;
#define BINARY(name, expression) UNARY(name, expression)
#define TERNARY(name, expression) UNARY(name, expression)
inline float evaluate(Opcode op, float a, [[maybe_unused]] float b, [[maybe_unused]] float c) {
  switch (op) {
#include "../../native/ops.def"
  default:
    return 0;
  }
}

constexpr size_t kMargin = 64;
constexpr char kMark = 0x5A;

struct Buffer {
  DType dtype;
  std::vector<char> bytes;
  uint64_t device = 0;
  char* data(int64_t element) { return bytes.data() + kMargin + static_cast<size_t>(element) * dtype_size(dtype); }
  float read(int64_t element) {
    if (dtype == DType::uint8) return static_cast<float>(static_cast<uint8_t>(*data(element)));
    if (dtype == DType::float32) return *reinterpret_cast<float*>(data(element));
    return static_cast<float>(*reinterpret_cast<int32_t*>(data(element)));
  }
  void write(int64_t element, float x) {
    const auto limited = [&](double low, double high) {
      return x != x ? 0.0 : std::min(std::max(std::trunc(static_cast<double>(x)), low), high);
    };
    if (dtype == DType::float32)
      *reinterpret_cast<float*>(data(element)) = x;
    else if (dtype == DType::uint8)
      *data(element) = static_cast<char>(static_cast<uint8_t>(limited(0, 255)));
    else
      *reinterpret_cast<int32_t*>(data(element)) = static_cast<int32_t>(limited(-2147483648.0, 2147483520.0));
  }
};

struct Case {
  ResolvedStep step{};
  std::vector<int> buffer;     // of each operand
  std::vector<int64_t> offset; // of its first element
  std::vector<Buffer> buffers;
  uint64_t seed = 0, counter = 0; // of the noise
  std::mt19937 random;
  bool large; // enough for many blocks and parts
  bool noisy; // with operands that are noise

  explicit Case(unsigned number) : random(number), large(number % 50 == 49), noisy(number % 4 == 3) { make(); }

  int64_t pick(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random); }
  bool chance(int percent) { return pick(1, 100) <= percent; }
  int64_t one_of(std::initializer_list<int64_t> list) {
    return *(list.begin() + pick(0, static_cast<int64_t>(list.size()) - 1));
  }

  void make_space() {
    std::fill(step.space, step.space + kDims, 1);
    int64_t& rows = step.space[kRows];
    int64_t& columns = step.space[kColumns];
    if (large) {
      rows = one_of({1, 40, 5000, 150000});
      columns = rows == 1      ? pick(200000, 800000)
                : rows == 40   ? pick(5000, 20000)
                : rows == 5000 ? pick(20, 100)
                               : pick(1, 5);
      return;
    }
    switch (pick(0, 9)) {
    case 0:
      columns = one_of({1, 4, 31, 1000, 4096, 40001});
      break;
    case 1:
      rows = one_of({1, 7, 1000, 20000}), columns = one_of({1, 2, 3, 4});
      break;
    case 2:
      rows = pick(1, 6), columns = pick(1000, 6000);
      break;
    case 3:
      rows = one_of({100, 333, 1500}), columns = one_of({10, 12, 33, 64});
      break;
    case 4:
      for (int d = 0; d < kDims; ++d) step.space[d] = pick(1, 4);
      break;
    case 5:
      step.space[2] = pick(1, 3), step.space[3] = pick(2, 30), rows = pick(1, 20), columns = pick(1, 20);
      break;
    case 6:
      step.space[3] = pick(2, 4), rows = pick(20, 90), columns = 4 * pick(1, 40);
      break;
    case 7:
      rows = pick(60, 300), columns = pick(60, 300);
      break;
    case 8:
      rows = 4 * pick(10, 50), columns = 4 * pick(10, 50);
      break;
    default:
      rows = pick(0, 3), columns = pick(0, 3), step.space[3] = pick(0, 2);
      break;
    }
  }

  // A new buffer seen with the dimensions of `order` from slowest to fastest; `dropped` ones are broadcast.
  int view(DType dtype, std::vector<int> order, int dropped, bool plain) {
    ResolvedOperand operand{nullptr, dtype, {}, 0};
    int64_t stride = plain ? 1 : one_of({1, 1, 1, 1, 2, 3});
    for (size_t i = order.size(); i-- > 0;) {
      const int d = order[i];
      if (dropped >> d & 1) continue;
      operand.strides[d] = stride;
      stride *= std::max<int64_t>(1, step.space[d]);
      if (!plain && chance(10)) stride += pick(1, 5);
    }
    offset.push_back(plain || chance(70) ? 0 : pick(1, 5));
    Buffer made{dtype, std::vector<char>(2 * kMargin + static_cast<size_t>(stride + 8) * dtype_size(dtype), kMark), 0};
    for (int64_t i = 0; i < stride + 8; ++i)
      made.write(i, dtype == DType::float32 ? std::normal_distribution<float>()(random) * (chance(3) ? 1e3f : 1.5f)
                                            : static_cast<float>(pick(dtype == DType::uint8 ? 0 : -300, 255)));
    buffer.push_back(static_cast<int>(buffers.size()));
    buffers.push_back(std::move(made));
    step.operands.push_back(operand);
    return static_cast<int>(step.operands.size()) - 1;
  }
  std::vector<int> order() {
    std::vector<int> dims = {0, 1, 2, 3, 4, 5};
    if (chance(15)) std::swap(dims[4], dims[5]);
    if (chance(10)) std::shuffle(dims.begin(), dims.end(), random);
    return dims;
  }
  // Makes an operand noise: its buffer, on the host, holds the part of the draw that it may see, as a random step would
  // have left it.
  void make_noise(int operand) {
    ResolvedOperand& view = step.operands[static_cast<size_t>(operand)];
    const bool far = chance(20); // blocks beyond 2^31
    const int64_t first =
        (far ? (int64_t{1} << 33) + 4 * pick(0, 1000) : 4 * pick(0, 3)) + (chance(70) ? 0 : pick(1, 3));
    view.noise = NoiseSource{chance(60), static_cast<uint32_t>(chance(50) ? pick(0, 5) : pick(0, UINT32_MAX)), first};
    Buffer& held = buffers[static_cast<size_t>(buffer[static_cast<size_t>(operand)])];
    const int64_t elements = static_cast<int64_t>((held.bytes.size() - 2 * kMargin) / sizeof(float));
    for (int64_t i = 0; i < elements; ++i) {
      const int64_t number = first + i - offset[static_cast<size_t>(operand)];
      if (number < 0) continue;
      const PhiloxBlock block = philox(static_cast<uint32_t>(number / 4), view.noise->stream, counter, seed);
      float x[4];
      if (view.noise->normal)
        Normal::apply(block, x);
      else
        Uniform::apply(block, x);
      held.write(i, x[number % 4]);
    }
  }
  DType dtype(int others) { return chance(others) ? (chance(50) ? DType::int32 : DType::uint8) : DType::float32; }
  int add(Opcode op, int a, int b = 0, int c = 0) {
    step.program.push_back({op, a, b, c});
    return static_cast<int>(step.program.size()) - 1;
  }

  void make() {
    step.kernel = KernelId::map;
    make_space();
    std::vector<int> values, loads;
    for (int64_t i = pick(1, 4); i > 0; --i) {
      const int masks[] = {0, 0, 0, 0x1f, 0x2f, 0x3f, 0x0f, static_cast<int>(pick(0, 63))};
      loads.push_back(view(dtype(20), order(), masks[pick(0, 7)], chance(60)));
      values.push_back(add(Opcode::load, loads.back()));
    }
    if (noisy) {
      seed = static_cast<uint64_t>(random()) << 32 | random(), counter = chance(50) ? pick(0, 9) : pick(0, INT64_MAX);
      for (int64_t i = pick(1, 2); i > 0; --i) {
        const int masks[] = {0, 0, 0, 0, 0x1f, 0x2f, 0x3f, static_cast<int>(pick(0, 63))};
        const int operand = view(DType::float32, order(), masks[pick(0, 7)], chance(60));
        make_noise(operand);
        values.push_back(add(Opcode::load, operand));
      }
    }
    for (int64_t i = pick(0, 2); i > 0; --i) {
      const float x = std::normal_distribution<float>()(random);
      int32_t word;
      std::memcpy(&word, &x, sizeof word);
      values.push_back(add(Opcode::constant, word));
    }
    const int first = static_cast<int>(Opcode::negate), count = static_cast<int>(Opcode::count);
    for (int64_t i = pick(1, 10); i > 0; --i) {
      const auto argument = [&] {
        return values[static_cast<size_t>(pick(0, static_cast<int64_t>(values.size()) - 1))];
      };
      const Opcode op = static_cast<Opcode>(pick(first, count - 1));
      const int a = argument(), b = argument(), c = argument(), arity = opcode_arity(op);
      values.push_back(add(op, a, arity > 1 ? b : 0, arity > 2 ? c : 0));
    }
    const auto value = [&] {
      return values[values.size() - 1 -
                    static_cast<size_t>(pick(0, std::min<int64_t>(2, static_cast<int64_t>(values.size()) - 1)))];
    };
    const int reductions = chance(55) ? static_cast<int>(pick(1, 3)) : 0;
    const int same_axes = static_cast<int>(pick(1, 3));
    for (int i = 0; i < reductions; ++i) {
      const int axes = chance(60) ? same_axes : static_cast<int>(pick(1, 3));
      const int out = view(DType::float32, {0, 1, 2, 3, 4, 5}, (axes & 1) << kRows | (axes >> 1) << kColumns, true);
      add(chance(70) ? Opcode::reduce_sum : Opcode::reduce_max, value(), out, axes);
    }
    for (int64_t i = reductions > 0 ? pick(0, 1) : pick(1, 3); i > 0; --i) {
      int target = loads[static_cast<size_t>(pick(0, static_cast<int64_t>(loads.size()) - 1))];
      bool whole = chance(30); // in place
      for (int d = 0; d < kDims; ++d)
        whole = whole && (step.space[d] <= 1 || step.operands[static_cast<size_t>(target)].strides[d] != 0);
      if (!whole || i > 1) target = view(dtype(20), order(), 0, chance(70));
      add(Opcode::store, value(), target);
    }
  }

  int64_t element(size_t which, const int64_t (&at)[kDims]) const {
    int64_t result = offset[which];
    for (int d = 0; d < kDims; ++d) result += at[d] * step.operands[which].strides[d];
    return result;
  }
  template <class Body> void each(const int64_t (&extent)[kDims], Body body) const {
    int64_t at[kDims] = {}, total = 1;
    for (const int64_t size : extent) total *= size;
    for (int64_t i = 0; i < total; ++i) {
      body(at);
      for (int d = kDims - 1; d >= 0 && ++at[d] == extent[d]; --d) at[d] = 0;
    }
  }
};

} // namespace nodevae::cuda

#endif
