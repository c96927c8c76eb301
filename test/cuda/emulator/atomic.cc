// atom and red, in the order of the lanes.
#include "access.h"
#include "numbers.h"

namespace emulator {
namespace {

enum class Update : uint32_t { add, min, max, increment, decrement, exchange, compare_exchange, and_, or_, xor_ };

template <class T> T updated(Update update, T old, T b, T c) {
  switch (update) {
  case Update::min:
    return std::min(old, b);
  case Update::max:
    return std::max(old, b);
  case Update::increment:
    return old >= b ? T{0} : static_cast<T>(old + 1);
  case Update::decrement:
    return old == T{0} || old > b ? b : static_cast<T>(old - 1);
  case Update::exchange:
    return b;
  case Update::compare_exchange:
    return old == b ? c : old;
  default:
    break;
  }
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    switch (update) {
    case Update::add:
      return static_cast<T>(static_cast<U>(old) + static_cast<U>(b));
    case Update::and_:
      return static_cast<T>(old & b);
    case Update::or_:
      return static_cast<T>(old | b);
    case Update::xor_:
      return static_cast<T>(old ^ b);
    default:
      return old;
    }
  } else {
    return canonical(old + b);
  }
}

// flags: the update, 16: without a result
template <class T> Flow atomic(Warp& warp, const Instruction& i, uint32_t mask) {
  T *d = row<T>(warp, i.d), *b = row<T>(warp, i.b), *c = row<T>(warp, i.c);
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    int lane = __builtin_ctz(rest);
    uint64_t address = address_of(warp, i, i.a, i.immediate, lane);
    uint8_t* at = resolve(warp, i, lane, space_of(i), address, sizeof(T), SharedAccess::atomic);
    T old, value;
    std::memcpy(&old, at, sizeof(T));
    value = updated(static_cast<Update>(i.flags & 15), old, b[lane], c[lane]);
    std::memcpy(at, &value, sizeof(T));
    if (!(i.flags & 16)) d[lane] = old;
  }
  return Flow::next;
}

void decode_atomic(Decoder& decoder, bool with_result) {
  Space space = Space::generic;
  if (decoder.take("global"))
    space = Space::global;
  else if (decoder.take("shared") || decoder.take("shared::cta"))
    space = Space::shared;
  decoder.first_of({"relaxed", "acquire", "release", "acq_rel"});
  decoder.first_of({"cta", "gpu", "sys"});
  static constexpr const char* names[] = {"add", "min", "max", "inc", "dec", "exch", "cas", "and", "or", "xor"};
  uint32_t update = 0;
  while (update < 10 && !decoder.take(names[update])) ++update;
  if (update == 10) decoder.error("unknown operation");
  bool compares = names[update] == std::string_view("cas");
  Type type = decoder.take_type();
  bool extremum = update == 1 || update == 2, counts = update == 3 || update == 4;
  bool bits = update >= 5, is_bits = type == Type::b32 || type == Type::b64;
  if (bits != is_bits || (counts && type != Type::u32) || (extremum && is_float(type)))
    decoder.error("this type is not supported for this operation");
  Handler handler = type == Type::u32 || type == Type::b32   ? atomic<uint32_t>
                    : type == Type::u64 || type == Type::b64 ? atomic<uint64_t>
                    : type == Type::s32                      ? atomic<int32_t>
                    : type == Type::s64                      ? atomic<int64_t>
                    : type == Type::f32                      ? atomic<float>
                    : type == Type::f64                      ? atomic<double>
                                                             : nullptr;
  size_t operands = (with_result ? 2 : 1) + (compares ? 2 : 1), first = with_result ? 1 : 0;
  decoder.expect_operands(operands, operands);
  AddressOperand address = decoder.address(decoder.operand(first), space);
  uint32_t b = decoder.source(first + 1, type), c = compares ? decoder.source(first + 2, type) : b;
  uint32_t d = with_result ? decoder.destination(0, type) : b, memory = decoder.memory_number();
  Instruction& instruction = decoder.emit(handler);
  instruction.d = d, instruction.a = address.row, instruction.b = b, instruction.c = c;
  instruction.immediate = address.offset, instruction.memory = memory;
  instruction.flags = update | (with_result ? 0u : 16u) | address_flags(address);
}

} // namespace

void register_atomic(Registry& registry) {
  registry["atom"] = [](Decoder& decoder) { decode_atomic(decoder, true); };
  registry["red"] = [](Decoder& decoder) { decode_atomic(decoder, false); };
}

} // namespace emulator
