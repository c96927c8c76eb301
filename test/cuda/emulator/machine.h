// Running a program: blocks one after the other; within a block, each warp until it waits. Lanes of a warp that have
// diverged run group by group, the group with the smallest program counter first, which rejoins them where the code
// of a structured program does.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "isa.h"
#include "memory.h"

namespace emulator {

struct Block;

// A cp.async that has been issued and is not waited for: source and destination are accessed at the wait.
struct PendingCopy {
  uint32_t lane, destination, size, source_size;
  uint64_t group; // number of the lane's commit group
  const uint8_t* source;
};

struct Warp {
  Block* block = nullptr;
  uint8_t* registers = nullptr;
  uint32_t* predicates = nullptr;
  uint8_t* local = nullptr; // local_bytes per lane
  uint32_t number = 0;
  uint32_t exited = 0;         // lanes that have exited, or that the block does not have
  uint32_t waiting = 0;        // lanes that wait at a warp-level instruction for other lanes of the warp
  uint32_t exited_at_wait = 0; // `exited` when the last of them began to wait
  uint32_t at_barrier = 0;     // lanes that wait at a barrier
  uint32_t pc = 0, mask = 0;   // of the group that runs
  uint32_t lane_pc[kLanes];    // of the other lanes
  uint8_t barrier_of[kLanes];  // number of the barrier that a lane waits at
  uint32_t warp_epoch = 0;     // counts synchronizations of the warp, for the race check
  std::vector<PendingCopy> copies;
  uint64_t committed[kLanes]; // groups committed by each lane
  uint32_t lanes() const { return ~exited; }
};

struct Barrier {
  uint32_t arrived = 0;  // threads that do not wait (bar.arrive)
  uint32_t expected = 0; // 0: all threads of the block that have not exited
  bool used = false;     // by a thread since it was released last
};

struct Launch {
  std::shared_ptr<const Program> program;
  std::vector<uint8_t> parameters;
  std::vector<std::pair<uint32_t, uint64_t>> symbols; // constant rows of the module's variables
  uint32_t grid[3] = {1, 1, 1}, threads[3] = {1, 1, 1};
  uint32_t dynamic_shared = 0;
};

class RaceCheck;

struct Block {
  const Launch* launch = nullptr;
  const Program* program = nullptr;
  uint32_t index[3] = {0, 0, 0};
  uint32_t thread_count = 0;
  std::vector<Warp> warps;
  std::vector<uint8_t> shared;
  std::vector<Range> last_range; // by Instruction::memory: where its last access was
  Barrier barriers[16];
  uint64_t executed = 0, limit = 0; // instructions of warps in this block
  uint32_t epoch = 0;               // counts barriers of all threads, for the race check
  RaceCheck* races = nullptr;

  uint32_t live_threads() const;
};

template <class T> inline T* row(Warp& warp, uint32_t offset) { return reinterpret_cast<T*>(warp.registers + offset); }

// A failure of the kernel at an instruction of one lane.
[[noreturn]] void fail(Warp& warp, const Instruction& instruction, int lane, CUresult code, const std::string& text);

// Throws Failure.
void run_launch(const Launch& launch);

} // namespace emulator
