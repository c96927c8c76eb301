// ldmatrix and mma.sync. Fragments are laid out as in "Matrix Fragments for mma" of the PTX manual. A sum is computed
// in double precision, in the order of k, and rounded to float once; devices round (or cut off) more often, in an
// order that is not documented.
#include "access.h"
#include "barrier.h"
#include "numbers.h"

namespace emulator {
namespace {

Meeting whole_warp(Warp& warp, const Instruction& i, uint32_t mask) {
  if (warp.exited)
    fail(warp, i, __builtin_ctz(mask), CUDA_ERROR_LAUNCH_FAILED, "all 32 lanes have to execute this; some have exited");
  return meet(warp, i, mask, nullptr);
}

// 1, 2 or 4 matrices of 8 x 8 16-bit values; lane 8 m + r holds the address of row r of matrix m.
template <bool transposed> Flow load_matrix(Warp& warp, const Instruction& i, uint32_t mask) {
  Meeting meeting = whole_warp(warp, i, mask);
  if (!meeting.lanes) return meeting.flow;
  uint32_t count = i.flags & 7;
  const uint32_t* rows = warp.block->program->extras.data() + i.extra;
  for (uint32_t matrix = 0; matrix < count; ++matrix) {
    uint16_t values[8][8];
    for (uint32_t r = 0; r < 8; ++r) {
      int lane = static_cast<int>(8 * matrix + r);
      uint64_t address = address_of(warp, i, i.a, i.immediate, lane);
      std::memcpy(values[r], resolve(warp, i, lane, Space::shared, address, 16, SharedAccess::read), 16);
    }
    uint32_t* d = row<uint32_t>(warp, rows[matrix]);
    for (int lane = 0; lane < kLanes; ++lane) {
      int r = lane / 4, c = lane % 4 * 2;
      uint16_t low = transposed ? values[c][r] : values[r][c], high = transposed ? values[c + 1][r] : values[r][c + 1];
      d[lane] = uint32_t{high} << 16 | low;
    }
  }
  return meeting.flow;
}

enum class Format : uint32_t { tf32, bf16, f16 };

template <Format format> float element(uint32_t bits, int half) {
  if constexpr (format == Format::tf32) return bits_as<float>(bits & 0xffffe000u); // the lower 13 bits are ignored
  uint16_t part = static_cast<uint16_t>(bits >> (16 * half));
  return format == Format::bf16 ? bfloat_to_float(part) : half_to_float(part);
}

// D (16 x 8) = A (16 x K) B (K x 8) + C. extras: rows of d[4], a[], b[], c[4].
template <Format format, int K> Flow multiply(Warp& warp, const Instruction& i, uint32_t mask) {
  Meeting meeting = whole_warp(warp, i, mask);
  if (!meeting.lanes) return meeting.flow;
  constexpr int per = format == Format::tf32 ? 1 : 2; // elements in a register
  constexpr int a_registers = 16 * K / kLanes / per, b_registers = 8 * K / kLanes / per;
  const uint32_t* rows = warp.block->program->extras.data() + i.extra;
  float a[16][K], b[8][K];
  for (int lane = 0; lane < kLanes; ++lane) {
    int group = lane / 4, column = lane % 4 * per;
    for (int r = 0; r < a_registers; ++r)
      for (int half = 0; half < per; ++half)
        a[group + 8 * (r & 1)][column + half + 4 * per * (r >> 1)] =
            element<format>(row<uint32_t>(warp, rows[4 + r])[lane], half);
    for (int r = 0; r < b_registers; ++r)
      for (int half = 0; half < per; ++half)
        b[group][column + half + 4 * per * r] =
            element<format>(row<uint32_t>(warp, rows[4 + a_registers + r])[lane], half);
  }
  float result[4][kLanes];
  for (int lane = 0; lane < kLanes; ++lane)
    for (int r = 0; r < 4; ++r) {
      const float *x = a[lane / 4 + 8 * (r >> 1)], *y = b[lane % 4 * 2 + (r & 1)];
      double sum = row<float>(warp, rows[4 + a_registers + b_registers + r])[lane];
      for (int k = 0; k < K; ++k) sum += static_cast<double>(x[k]) * y[k];
      result[r][lane] = canonical(static_cast<float>(sum));
    }
  for (int r = 0; r < 4; ++r) std::memcpy(row<float>(warp, rows[r]), result[r], sizeof result[r]);
  return meeting.flow;
}

void decode_load_matrix(Decoder& decoder) {
  decoder.need(75, "ldmatrix");
  if (!decoder.take("sync")) decoder.error("expected .sync");
  if (!decoder.take("aligned")) decoder.error("expected .aligned");
  if (!decoder.take("m8n8")) decoder.error("expected .m8n8");
  uint32_t count = decoder.take("x1") ? 1 : decoder.take("x2") ? 2 : decoder.take("x4") ? 4 : 0;
  if (!count) decoder.error("expected .x1, .x2 or .x4");
  bool transposed = decoder.take("trans");
  if (!decoder.take("shared") && !decoder.take("shared::cta")) decoder.error("expected .shared");
  if (decoder.take_type() != Type::b16) decoder.error("expected .b16");
  decoder.expect_operands(2, 2);
  const Operand& target = decoder.operand(0);
  std::vector<uint32_t> rows;
  if (target.kind != Operand::Kind::vector) rows.push_back(decoder.destination(target, Type::b32));
  for (const Operand& part : target.elements) rows.push_back(decoder.destination(part, Type::b32));
  if (rows.size() != count) decoder.error("expected " + std::to_string(count) + " destinations");
  AddressOperand address = decoder.address(decoder.operand(1), Space::shared);
  uint32_t extra = decoder.extras(rows);
  Instruction& instruction = decoder.emit(transposed ? load_matrix<true> : load_matrix<false>);
  instruction.a = address.row, instruction.immediate = address.offset, instruction.extra = extra;
  instruction.flags = count | address_flags(address);
}

void decode_multiply(Decoder& decoder) {
  if (!decoder.take("sync")) decoder.error("expected .sync");
  if (!decoder.take("aligned")) decoder.error("expected .aligned");
  int k = decoder.take("m16n8k4") ? 4 : decoder.take("m16n8k8") ? 8 : decoder.take("m16n8k16") ? 16 : 0;
  if (!k) decoder.error("expected .m16n8k4, .m16n8k8 or .m16n8k16");
  if (!decoder.take("row") || !decoder.take("col")) decoder.error("expected .row.col");
  Type d_type = decoder.take_type(), a_type = decoder.take_type(), b_type = decoder.take_type(),
       c_type = decoder.take_type();
  if (d_type != Type::f32 || c_type != Type::f32 || a_type != b_type)
    decoder.error("expected .f32 sums and factors of one type");
  Handler handler = nullptr;
  if (a_type == Type::tf32) handler = k == 4 ? multiply<Format::tf32, 4> : k == 8 ? multiply<Format::tf32, 8> : nullptr;
  if (a_type == Type::bf16)
    handler = k == 8 ? multiply<Format::bf16, 8> : k == 16 ? multiply<Format::bf16, 16> : nullptr;
  if (a_type == Type::f16) handler = k == 8 ? multiply<Format::f16, 8> : k == 16 ? multiply<Format::f16, 16> : nullptr;
  decoder.need(a_type == Type::f16 && k == 8 ? 75 : 80, "mma of this shape and type");
  decoder.expect_operands(4, 4);
  int per = a_type == Type::tf32 ? 1 : 2;
  size_t expected[4] = {4, static_cast<size_t>(16 * k / kLanes / per), static_cast<size_t>(8 * k / kLanes / per), 4};
  std::vector<uint32_t> rows;
  for (size_t part = 0; part < 4; ++part) {
    Operand operand = decoder.operand(part);
    if (operand.kind != Operand::Kind::vector) { // a fragment of one register may be without braces
      Operand vector;
      vector.elements.push_back(operand);
      operand = vector;
    }
    if (operand.elements.size() != expected[part])
      decoder.error("operand " + std::to_string(part + 1) + ": expected " + std::to_string(expected[part]) +
                    " registers, found " + std::to_string(operand.elements.size()));
    for (const Operand& element : operand.elements) {
      Type type = part == 0 || part == 3 ? Type::f32 : Type::b32;
      rows.push_back(part == 0 ? decoder.destination(element, type) : decoder.source(element, type));
    }
  }
  uint32_t extra = decoder.extras(rows);
  decoder.emit(handler).extra = extra;
}

} // namespace

void register_matrix(Registry& registry) {
  registry["ldmatrix"] = decode_load_matrix;
  registry["mma"] = decode_multiply;
}

} // namespace emulator
