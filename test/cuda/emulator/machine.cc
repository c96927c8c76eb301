#include "machine.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>

#include "barrier.h"
#include "race.h"

namespace emulator {

std::string Program::line_text(uint32_t line) const {
  size_t begin = 0;
  for (uint32_t i = 1; i < line && begin != std::string::npos; ++i) {
    begin = text->find('\n', begin);
    if (begin != std::string::npos) ++begin;
  }
  if (begin == std::string::npos) return "";
  size_t end = text->find('\n', begin);
  std::string result = text->substr(begin, end == std::string::npos ? end : end - begin);
  size_t first = result.find_first_not_of(" \t");
  return first == std::string::npos ? "" : result.substr(first);
}

uint32_t Block::live_threads() const {
  uint32_t count = 0;
  for (const Warp& warp : warps) count += static_cast<uint32_t>(__builtin_popcount(warp.lanes()));
  return count;
}

void fail(Warp& warp, const Instruction& instruction, int lane, CUresult code, const std::string& text) {
  const Block& block = *warp.block;
  const uint32_t* threads = block.launch->threads;
  uint32_t thread = warp.number * kLanes + static_cast<uint32_t>(lane);
  char where[256];
  std::snprintf(where, sizeof where, "block (%u, %u, %u), thread (%u, %u, %u), line %u: ", block.index[0],
                block.index[1], block.index[2], thread % threads[0], thread / threads[0] % threads[1],
                thread / threads[0] / threads[1], instruction.line);
  throw Failure(code, "kernel " + block.program->name + ", " + where + text + "\n    " +
                          block.program->line_text(instruction.line));
}

namespace {

constexpr uint32_t kSlice = 200000; // instructions of a warp before the others get their turn, as for spinning loops

// Runs a warp until all of its lanes wait or have exited, or the slice is used up. `rotation`: which group of lanes
// goes first when a slice has been used up, so that a group that spins does not keep out the one it waits for.
void run_warp(Warp& warp, uint32_t& rotation) {
  const Instruction* code = warp.block->program->code.data();
  const uint32_t* predicates = warp.predicates;
  uint32_t slice = 0;
  for (;;) {
    uint32_t runnable = warp.lanes() & ~warp.waiting & ~warp.at_barrier;
    if (!runnable) return;
    uint32_t pc = UINT32_MAX;
    if (rotation) {
      uint32_t rest = runnable & ~((1u << (rotation % kLanes)) - 1);
      pc = warp.lane_pc[__builtin_ctz(rest ? rest : runnable)];
    } else {
      for (uint32_t m = runnable; m; m &= m - 1) pc = std::min(pc, warp.lane_pc[__builtin_ctz(m)]);
    }
    uint32_t mask = 0, limit = UINT32_MAX; // limit: where other lanes are met
    for (uint32_t m = runnable; m; m &= m - 1) {
      int lane = __builtin_ctz(m);
      if (warp.lane_pc[lane] == pc)
        mask |= 1u << lane;
      else if (warp.lane_pc[lane] > pc)
        limit = std::min(limit, warp.lane_pc[lane]);
    }
    warp.mask = mask;
    warp.pc = pc;
    bool moved = false;
    while (warp.pc < limit) {
      const Instruction& instruction = code[warp.pc];
      uint32_t active = mask & (predicates[instruction.guard] ^ instruction.invert);
      ++slice;
      if (active) {
        Flow flow = instruction.run(warp, instruction, active);
        if (flow == Flow::moved) {
          moved = true;
          break;
        }
        if (flow == Flow::jumped) {
          if (slice > kSlice) break;
          continue;
        }
      }
      ++warp.pc;
    }
    if (!moved)
      for (uint32_t m = mask; m; m &= m - 1) warp.lane_pc[__builtin_ctz(m)] = warp.pc;
    if (slice > kSlice) {
      warp.block->executed += slice;
      if (warp.block->executed > warp.block->limit)
        fail(warp, code[warp.pc], __builtin_ctz(mask), CUDA_ERROR_LAUNCH_TIMEOUT,
             "the block has executed " + std::to_string(warp.block->executed) +
                 " instructions of warps; it spins, or EMULATED_INSTRUCTION_LIMIT is too small");
      rotation = rotation ? 0 : 1 + slice % kLanes;
      return;
    }
  }
}

void fill_row(std::vector<uint8_t>& registers, uint32_t offset, uint32_t size, uint64_t bits) {
  for (uint32_t lane = 0; lane < kLanes; ++lane) std::memcpy(registers.data() + offset + lane * size, &bits, size);
}

uint64_t special_value(const Warp& warp, Special special, uint32_t lane) {
  const Block& block = *warp.block;
  const Launch& launch = *block.launch;
  uint32_t thread = warp.number * kLanes + lane, bit = 1u << lane;
  const uint32_t* t = launch.threads;
  switch (special) {
  case Special::tid_x:
    return thread % t[0];
  case Special::tid_y:
    return thread / t[0] % t[1];
  case Special::tid_z:
    return thread / t[0] / t[1];
  case Special::ntid_x:
    return t[0];
  case Special::ntid_y:
    return t[1];
  case Special::ntid_z:
    return t[2];
  case Special::ctaid_x:
    return block.index[0];
  case Special::ctaid_y:
    return block.index[1];
  case Special::ctaid_z:
    return block.index[2];
  case Special::nctaid_x:
    return launch.grid[0];
  case Special::nctaid_y:
    return launch.grid[1];
  case Special::nctaid_z:
    return launch.grid[2];
  case Special::laneid:
    return lane;
  case Special::warpid:
    return warp.number;
  case Special::nwarpid:
    return block.warps.size();
  case Special::smid:
    return 0;
  case Special::nsmid:
    return 4;
  case Special::gridid:
    return 1;
  case Special::lanemask_eq:
    return bit;
  case Special::lanemask_lt:
    return bit - 1;
  case Special::lanemask_le:
    return bit | (bit - 1);
  case Special::lanemask_gt:
    return ~(bit | (bit - 1));
  case Special::lanemask_ge:
    return ~(bit - 1);
  case Special::dynamic_smem_size:
    return launch.dynamic_shared;
  case Special::total_smem_size:
    return block.shared.size();
  }
  return 0;
}

void begin_block(Block& block, const std::vector<uint8_t>& initial) {
  const Program& program = *block.program;
  std::fill(block.shared.begin(), block.shared.end(), 0xff);
  for (Barrier& barrier : block.barriers) barrier = Barrier{};
  block.executed = 0;
  block.epoch = 0;
  for (Warp& warp : block.warps) {
    std::memcpy(warp.registers, initial.data(), initial.size());
    std::memset(warp.predicates, 0xff, program.predicates * sizeof(uint32_t));
    std::memset(warp.local, 0xff, size_t{program.local_bytes} * kLanes);
    for (const auto& special : program.specials)
      for (uint32_t lane = 0; lane < kLanes; ++lane) {
        uint64_t value = special_value(warp, special.special, lane);
        std::memcpy(warp.registers + special.row + lane * special.size, &value, special.size);
      }
    uint32_t first = warp.number * kLanes, left = block.thread_count - first;
    warp.exited = left >= kLanes ? 0 : ~((1u << left) - 1);
    warp.waiting = warp.at_barrier = 0;
    warp.warp_epoch = 0;
    warp.copies.clear();
    std::fill(warp.lane_pc, warp.lane_pc + kLanes, 0u);
    std::fill(warp.committed, warp.committed + kLanes, uint64_t{0});
  }
  if (block.races) block.races->begin(block.shared.size());
}

void run_block(Block& block) {
  std::vector<uint32_t> rotations(block.warps.size(), 0);
  for (;;) {
    bool ran = false, live = false;
    for (size_t i = 0; i < block.warps.size(); ++i) {
      Warp& warp = block.warps[i];
      if (!warp.lanes()) continue;
      live = true;
      if (warp.lanes() & ~warp.waiting & ~warp.at_barrier) {
        run_warp(warp, rotations[i]);
        ran = true;
      }
    }
    if (!live) return;
    if (release_barriers(block)) continue;
    // Lanes that wait for others of their warp look again whether those have exited meanwhile.
    for (Warp& warp : block.warps)
      if (release_waiting(warp)) ran = true;
    if (!ran) report_deadlock(block);
  }
}

uint64_t environment(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 0) : fallback;
}

std::vector<uint64_t> block_order(uint64_t count) {
  const char* text = std::getenv("EMULATED_BLOCK_ORDER");
  std::string order = text && *text ? text : "forward";
  std::vector<uint64_t> result(count);
  std::iota(result.begin(), result.end(), uint64_t{0});
  if (order == "reverse") {
    std::reverse(result.begin(), result.end());
  } else if (order.rfind("random:", 0) == 0) {
    std::mt19937_64 random(std::strtoull(order.c_str() + 7, nullptr, 0));
    for (uint64_t i = count; i > 1; --i) std::swap(result[i - 1], result[random() % i]);
  } else if (order != "forward") {
    throw Failure(CUDA_ERROR_INVALID_VALUE,
                  "EMULATED_BLOCK_ORDER: expected forward, reverse or random:<seed>, found " + order);
  }
  return result;
}

} // namespace

void run_launch(const Launch& launch) {
  const Program& program = *launch.program;
  Block block;
  RaceCheck races;
  block.launch = &launch;
  block.program = &program;
  block.thread_count = launch.threads[0] * launch.threads[1] * launch.threads[2];
  block.shared.resize(program.dynamic_offset + launch.dynamic_shared);
  block.last_range.resize(program.memory_accesses);
  block.limit = environment("EMULATED_INSTRUCTION_LIMIT", 2000000000);
  if (environment("EMULATED_RACECHECK", 0)) block.races = &races;
  size_t warps = (block.thread_count + kLanes - 1) / kLanes;
  // Padded, so that the rows of two warps do not fall on the same sets of a cache.
  size_t register_bytes = (program.register_bytes + 63) / 64 * 64 + 192, local_bytes = program.local_bytes * kLanes;
  std::unique_ptr<uint8_t, decltype(&std::free)> registers(
      static_cast<uint8_t*>(std::aligned_alloc(64, register_bytes * warps)), &std::free);
  std::vector<uint8_t> local(local_bytes * warps + 16);
  std::vector<uint32_t> predicates(program.predicates * warps);
  if (!registers) throw Failure(CUDA_ERROR_OUT_OF_MEMORY, "no memory for the registers of " + program.name);
  block.warps.resize(warps);
  for (size_t i = 0; i < warps; ++i) {
    Warp& warp = block.warps[i];
    warp.block = &block;
    warp.number = static_cast<uint32_t>(i);
    warp.registers = registers.get() + register_bytes * i;
    warp.local = local.data() + local_bytes * i;
    warp.predicates = predicates.data() + program.predicates * i;
  }
  // What a register that was never written holds is not defined: NaN.
  std::vector<uint8_t> initial(program.register_bytes, 0xff);
  for (const auto& constant : program.constants) fill_row(initial, constant.row, constant.size, constant.bits);
  for (const auto& [offset, address] : launch.symbols) fill_row(initial, offset, 8, address);
  uint64_t blocks = uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2];
  for (uint64_t number : block_order(blocks)) {
    block.index[0] = static_cast<uint32_t>(number % launch.grid[0]);
    block.index[1] = static_cast<uint32_t>(number / launch.grid[0] % launch.grid[1]);
    block.index[2] = static_cast<uint32_t>(number / launch.grid[0] / launch.grid[1]);
    begin_block(block, initial);
    run_block(block);
  }
}

} // namespace emulator
