// ld and st.
#include "access.h"

namespace emulator {
namespace {

std::string hexadecimal(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

const char* space_name(Space space) {
  static const char* const names[] = {"generic", "global", "shared", "local", "param", "const"};
  return names[static_cast<int>(space)];
}

} // namespace

void illegal_address(Warp& warp, const Instruction& i, int lane, Space space, uint64_t address, uint64_t size) {
  std::string text = std::string("access of ") + std::to_string(size) + " bytes at " + space_name(space) + " address " +
                     hexadecimal(address);
  if (space == Space::shared) {
    text += ", the block has " + std::to_string(warp.block->shared.size()) + " bytes of shared memory";
  } else if (space == Space::global) {
    const Range* range = DeviceMemory::instance().find(address);
    const Range* before = range ? range : DeviceMemory::instance().nearest(address);
    text += ", which is not in a live allocation";
    if (before)
      text += "; the one before has " + std::to_string(before->end - before->begin) + " bytes and the address is " +
              std::to_string(address - before->begin) + " bytes behind its begin";
  }
  fail(warp, i, lane, CUDA_ERROR_ILLEGAL_ADDRESS, text);
}

void misaligned_address(Warp& warp, const Instruction& i, int lane, uint64_t address, uint64_t size) {
  fail(warp, i, lane, CUDA_ERROR_MISALIGNED_ADDRESS,
       "address " + hexadecimal(address) + " is not aligned to the " + std::to_string(size) + " bytes of the access");
}

const Range& find_range(Warp& warp, const Instruction& i, int lane, uint64_t address, uint64_t size) {
  const Range* range = DeviceMemory::instance().find(address);
  if (!range || !range->contains(address, size)) illegal_address(warp, i, lane, Space::global, address, size);
  return warp.block->last_range[i.memory] = *range;
}

uint8_t* resolve_other(Warp& warp, const Instruction& i, int lane, Space space, uint64_t address, uint64_t size,
                       SharedAccess access) {
  if (space == Space::generic) {
    if (address < kSharedWindow || address >= kWindowsEnd) return resolve_global(warp, i, lane, address, size);
    uint64_t offset = address & 0xffffffffu;
    if (address < kLocalWindow) return resolve_shared(warp, i, lane, offset, size, access);
    return resolve_other(warp, i, lane, address < kParameterWindow ? Space::local : Space::parameter, offset, size,
                         access);
  }
  if (space == Space::local) {
    uint64_t bytes = warp.block->program->local_bytes;
    if (address > bytes || size > bytes - address) illegal_address(warp, i, lane, space, address, size);
    return warp.local + bytes * static_cast<uint64_t>(lane) + address;
  }
  if (space == Space::parameter) {
    const std::vector<uint8_t>& parameters = warp.block->launch->parameters;
    if (address > parameters.size() || size > parameters.size() - address || access != SharedAccess::read)
      illegal_address(warp, i, lane, space, address, size);
    return const_cast<uint8_t*>(parameters.data()) + address;
  }
  return resolve_global(warp, i, lane, address, size); // .const
}

Flow copy_local(Warp& warp, const Instruction& i, uint32_t mask) { // between the parameters of a call
  size_t bytes = warp.block->program->local_bytes;
  for_lanes(mask, [&](int lane) {
    uint8_t* frame = warp.local + bytes * static_cast<size_t>(lane);
    std::memcpy(frame + i.d, frame + i.a, i.b);
  });
  return Flow::next;
}

namespace {

// One value per lane, or `count` of them with rows in the extras.
template <class T, Space space> Flow load(Warp& warp, const Instruction& i, uint32_t mask) {
  T* d = row<T>(warp, i.d);
  for_lanes(mask, [&](int lane) {
    uint64_t address = address_of(warp, i, i.a, i.immediate, lane);
    std::memcpy(
        d + lane,
        resolve(warp, i, lane, space == Space::generic ? space_of(i) : space, address, sizeof(T), SharedAccess::read),
        sizeof(T));
  });
  return Flow::next;
}
template <class T, Space space> Flow store(Warp& warp, const Instruction& i, uint32_t mask) {
  T* d = row<T>(warp, i.d);
  for_lanes(mask, [&](int lane) {
    uint64_t address = address_of(warp, i, i.a, i.immediate, lane);
    std::memcpy(
        resolve(warp, i, lane, space == Space::generic ? space_of(i) : space, address, sizeof(T), SharedAccess::write),
        d + lane, sizeof(T));
  });
  return Flow::next;
}
template <class T, int count> Flow load_vector(Warp& warp, const Instruction& i, uint32_t mask) {
  const uint32_t* rows = warp.block->program->extras.data() + i.extra;
  Space space = space_of(i);
  for_lanes(mask, [&](int lane) {
    uint64_t address = address_of(warp, i, i.a, i.immediate, lane);
    const uint8_t* from = resolve(warp, i, lane, space, address, sizeof(T) * count, SharedAccess::read);
    for (int part = 0; part < count; ++part)
      std::memcpy(row<T>(warp, rows[part]) + lane, from + static_cast<size_t>(part) * sizeof(T), sizeof(T));
  });
  return Flow::next;
}
template <class T, int count> Flow store_vector(Warp& warp, const Instruction& i, uint32_t mask) {
  const uint32_t* rows = warp.block->program->extras.data() + i.extra;
  Space space = space_of(i);
  for_lanes(mask, [&](int lane) {
    uint64_t address = address_of(warp, i, i.a, i.immediate, lane);
    uint8_t* to = resolve(warp, i, lane, space, address, sizeof(T) * count, SharedAccess::write);
    for (int part = 0; part < count; ++part)
      std::memcpy(to + static_cast<size_t>(part) * sizeof(T), row<T>(warp, rows[part]) + lane, sizeof(T));
  });
  return Flow::next;
}

template <class T> Handler single(bool is_load, Space space) {
  if (space == Space::global) return is_load ? load<T, Space::global> : store<T, Space::global>;
  if (space == Space::shared) return is_load ? load<T, Space::shared> : store<T, Space::shared>;
  return is_load ? load<T, Space::generic> : store<T, Space::generic>;
}
template <class T> Handler several(bool is_load, size_t count) {
  if (count == 2) return is_load ? load_vector<T, 2> : store_vector<T, 2>;
  return is_load ? load_vector<T, 4> : store_vector<T, 4>;
}

void decode_transfer(Decoder& decoder, bool is_load) {
  Space space = Space::generic;
  if (decoder.take("global"))
    space = Space::global;
  else if (decoder.take("shared") || decoder.take("shared::cta"))
    space = Space::shared;
  else if (decoder.take("local"))
    space = Space::local;
  else if (decoder.take("param") || decoder.take("param::entry") || decoder.take("param::func"))
    space = Space::parameter;
  else if (is_load && decoder.take("const"))
    space = Space::constant;
  // Orders and caches: instructions are executed one after the other on one memory.
  std::string_view order = is_load ? decoder.first_of({"weak", "volatile", "relaxed", "acquire"})
                                   : decoder.first_of({"weak", "volatile", "relaxed", "release"});
  bool scoped = order == "relaxed" || order == "acquire" || order == "release";
  if (scoped && decoder.first_of({"cta", "gpu", "sys"}).empty()) decoder.error("expected a scope: .cta, .gpu or .sys");
  if (is_load) {
    decoder.first_of({"ca", "cg", "cs", "lu", "cv"});
    if (decoder.take("nc") && space != Space::global) decoder.error(".nc is for .global");
  } else {
    decoder.first_of({"wb", "cg", "cs", "wt"});
  }
  decoder.first_of({"L1::evict_normal", "L1::evict_unchanged", "L1::evict_first", "L1::evict_last", "L1::no_allocate"});
  if (is_load) decoder.first_of({"L2::64B", "L2::128B", "L2::256B"});
  size_t count = decoder.take("v2") ? 2 : decoder.take("v4") ? 4 : 1;
  Type type = decoder.take_type();
  uint32_t size = size_of(type);
  if (size == 0 || size * count > 16) decoder.error("this type is not supported");
  decoder.expect_operands(2, 2);
  const Operand& values = decoder.operand(is_load ? 0 : 1);
  AddressOperand address = decoder.address(decoder.operand(is_load ? 1 : 0), space);
  if (!is_load && address.space == Space::parameter) decoder.error("an entry's parameters cannot be written");
  std::vector<uint32_t> rows;
  auto value_row = [&](const Operand& value) {
    rows.push_back(is_load ? decoder.destination_widened(value, type) : decoder.source_narrowed(value, type));
  };
  if (count == 1) {
    if (values.kind == Operand::Kind::vector && values.elements.size() == 1)
      value_row(values.elements[0]);
    else
      value_row(values);
  } else {
    if (values.kind != Operand::Kind::vector || values.elements.size() != count)
      decoder.error("expected a vector of " + std::to_string(count));
    for (const Operand& element : values.elements) value_row(element);
  }
  Handler handler = nullptr;
  switch (size) {
  case 1:
    handler = count == 1 ? single<uint8_t>(is_load, address.space) : several<uint8_t>(is_load, count);
    break;
  case 2:
    handler = count == 1 ? single<uint16_t>(is_load, address.space) : several<uint16_t>(is_load, count);
    break;
  case 4:
    handler = count == 1 ? single<uint32_t>(is_load, address.space) : several<uint32_t>(is_load, count);
    break;
  default:
    handler = count == 1 ? single<uint64_t>(is_load, address.space) : several<uint64_t>(is_load, count);
    break;
  }
  uint32_t extra = count == 1 ? 0 : decoder.extras(rows), memory = decoder.memory_number();
  Instruction& instruction = decoder.emit(handler);
  instruction.d = rows[0], instruction.a = address.row, instruction.extra = extra, instruction.memory = memory;
  instruction.immediate = address.offset, instruction.flags = address_flags(address);
  decoder.finish_widened();
}

} // namespace

void register_memory(Registry& registry) {
  registry["ld"] = [](Decoder& decoder) { decode_transfer(decoder, true); };
  registry["ldu"] = [](Decoder& decoder) { decode_transfer(decoder, true); };
  registry["st"] = [](Decoder& decoder) { decode_transfer(decoder, false); };
  registry["prefetch"] = [](Decoder& decoder) {
    Space space = decoder.take("global") ? Space::global : Space::generic;
    if (decoder.first_of({"L1", "L2"}).empty()) decoder.error("expected .L1 or .L2");
    decoder.expect_operands(1, 1);
    decoder.address(decoder.operand(0), space);
  };
}

} // namespace emulator
