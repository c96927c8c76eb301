#include "race.h"

#include <string>

#include "machine.h"

namespace emulator {

void RaceCheck::begin(size_t bytes) { bytes_.assign(bytes, Byte{}); }

void RaceCheck::access(Warp& warp, const Instruction& instruction, int lane, uint64_t offset, uint64_t size,
                       SharedAccess kind) {
  uint32_t thread = warp.number * kLanes + static_cast<uint32_t>(lane), epoch = warp.block->epoch;
  bool atomic = kind == SharedAccess::atomic;
  // What `event` did is not ordered before this access.
  auto conflicts = [&](const Event& event) {
    if (event.thread == UINT32_MAX || event.epoch != epoch || (event.atomic && atomic)) return false;
    if (event.several) return true;
    if (event.thread == thread) return false;
    return event.thread / kLanes != warp.number || event.warp_epoch == warp.warp_epoch;
  };
  auto report = [&](const Event& event, const char* what) {
    fail(warp, instruction, lane, CUDA_ERROR_LAUNCH_FAILED,
         "race on shared memory at offset " + std::to_string(offset) + ": thread " + std::to_string(event.thread) +
             " " + what + " it at line " + std::to_string(event.line) + ", without a barrier in between");
  };
  for (uint64_t at = offset; at < offset + size; ++at) {
    Byte& byte = bytes_[at];
    if (conflicts(byte.write)) report(byte.write, "wrote");
    if (kind != SharedAccess::read && conflicts(byte.read)) report(byte.read, "read");
    Event& event = kind == SharedAccess::read ? byte.read : byte.write;
    bool before = event.thread != UINT32_MAX && event.epoch == epoch && event.thread != thread;
    // Reads of several warps in an epoch stay unordered with a write until the next barrier.
    bool several =
        kind == SharedAccess::read && event.epoch == epoch && event.thread != UINT32_MAX &&
        (event.several || (before && (event.thread / kLanes != warp.number || event.warp_epoch == warp.warp_epoch)));
    event = Event{thread, epoch, warp.warp_epoch, instruction.line, atomic, several};
  }
}

} // namespace emulator
