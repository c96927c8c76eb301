// Threads that wait for each other: barriers of a block, and meetings of a warp's lanes.
#pragma once

#include "machine.h"

namespace emulator {

bool release_barriers(Block& block); // true when one was complete
bool release_waiting(Warp& warp);    // lanes look again when others have exited; true when there are such lanes
[[noreturn]] void report_deadlock(Block& block);

// Lanes meet at a warp-level instruction. `lanes`: those that execute it now (those of the member mask that have not
// exited), 0 when some are not there yet; the handler returns `flow` in both cases.
struct Meeting {
  uint32_t lanes;
  Flow flow;
};
// members: the mask of each lane, a row of 32-bit values; nullptr: all lanes.
Meeting meet(Warp& warp, const Instruction& instruction, uint32_t mask, const uint32_t* members);

} // namespace emulator
