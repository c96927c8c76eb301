// From addresses to host memory, with the checks of a device: bounds of allocations and alignment.
#pragma once

#include "handlers.h"
#include "race.h"

namespace emulator {

// Instruction::flags of what has an address (in row a, plus immediate).
constexpr uint32_t kNarrowAddress = 1u << 31; // the row holds 32-bit values
constexpr uint32_t kSpaceShift = 24;          // 3 bits
inline Space space_of(const Instruction& i) { return static_cast<Space>(i.flags >> kSpaceShift & 7); }
inline uint32_t address_flags(const AddressOperand& address) {
  return static_cast<uint32_t>(address.space) << kSpaceShift | (address.size == 4 ? kNarrowAddress : 0);
}

inline uint64_t address_of(Warp& warp, const Instruction& i, uint32_t row_offset, int64_t offset, int lane) {
  if (i.flags & kNarrowAddress)
    return static_cast<uint32_t>(row<uint32_t>(warp, row_offset)[lane] + static_cast<uint32_t>(offset));
  return row<uint64_t>(warp, row_offset)[lane] + static_cast<uint64_t>(offset);
}

[[noreturn]] void illegal_address(Warp& warp, const Instruction& i, int lane, Space space, uint64_t address,
                                  uint64_t size);
[[noreturn]] void misaligned_address(Warp& warp, const Instruction& i, int lane, uint64_t address, uint64_t size);
const Range& find_range(Warp& warp, const Instruction& i, int lane, uint64_t address, uint64_t size);

inline uint8_t* resolve_shared(Warp& warp, const Instruction& i, int lane, uint64_t offset, uint64_t size,
                               SharedAccess access) {
  std::vector<uint8_t>& shared = warp.block->shared;
  if (offset > shared.size() || size > shared.size() - offset)
    illegal_address(warp, i, lane, Space::shared, offset, size);
  if (warp.block->races) warp.block->races->access(warp, i, lane, offset, size, access);
  return shared.data() + offset;
}

inline uint8_t* resolve_global(Warp& warp, const Instruction& i, int lane, uint64_t address, uint64_t size) {
  const Range& last = warp.block->last_range[i.memory];
  return last.contains(address, size) ? last.host(address) : find_range(warp, i, lane, address, size).host(address);
}

// The other spaces, and generic addresses.
uint8_t* resolve_other(Warp& warp, const Instruction& i, int lane, Space space, uint64_t address, uint64_t size,
                       SharedAccess access);

inline uint8_t* resolve(Warp& warp, const Instruction& i, int lane, Space space, uint64_t address, uint64_t size,
                        SharedAccess access) {
  if (address & (size - 1)) misaligned_address(warp, i, lane, address, size);
  if (space == Space::global) return resolve_global(warp, i, lane, address, size);
  if (space == Space::shared) return resolve_shared(warp, i, lane, address, size, access);
  return resolve_other(warp, i, lane, space, address, size, access);
}

} // namespace emulator
