// Finds threads of a block that access the same byte of shared memory, at least one of them writing, without a
// barrier in between (or, within a warp, a bar.warp.sync). Switched on by EMULATED_RACECHECK=1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace emulator {

struct Warp;
struct Instruction;

enum class SharedAccess : uint8_t { read, write, atomic };

class RaceCheck {
public:
  void begin(size_t bytes);
  void access(Warp& warp, const Instruction& instruction, int lane, uint64_t offset, uint64_t size, SharedAccess kind);

private:
  struct Event {
    uint32_t thread = UINT32_MAX; // the last one; UINT32_MAX: none
    uint32_t epoch = 0, warp_epoch = 0;
    uint32_t line = 0;
    bool atomic = false;
    bool several = false; // other threads of the same epoch as well, in more than one warp
  };
  struct Byte {
    Event write, read;
  };
  std::vector<Byte> bytes_;
};

} // namespace emulator
