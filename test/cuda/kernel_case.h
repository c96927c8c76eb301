// One step, run by the CPU and by a device, from the same buffers: the same bits are expected, nothing written beside
// the output, nothing left in tickets, and nothing at all written once a run is halted.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "../../native/pool.h"
#include "../native/basics.h"
#include "gpu.h"

namespace nodevae::cuda {

constexpr size_t kMargin = 64; // bytes before and behind every buffer that must stay what they are
constexpr char kMark = 0x5A;
constexpr int32_t kStep = 5; // number of the step, for faults

struct Buffer {
  DType dtype;
  int64_t elements;
  int64_t shift; // elements by which it starts behind a multiple of 64 bytes
  std::vector<char> bytes;
  Buffer(DType type, int64_t count, int64_t misaligned)
      : dtype(type), elements(count), shift(misaligned),
        bytes(2 * kMargin + static_cast<size_t>(count + misaligned) * dtype_size(type), kMark) {
    for (int64_t i = 0; i < count; ++i) {
      if (type == DType::float32)
        floats()[i] = normal();
      else if (type == DType::int32)
        ints()[i] = static_cast<int32_t>(pick(-1000, 1000));
      else
        data()[i] = static_cast<char>(pick(0, 255));
    }
  }
  char* data() { return bytes.data() + kMargin + static_cast<size_t>(shift) * dtype_size(dtype); }
  float* floats() { return reinterpret_cast<float*>(data()); }
  int32_t* ints() { return reinterpret_cast<int32_t*>(data()); }
};

struct Case {
  std::string name;
  ResolvedStep step{};
  std::vector<Buffer> buffers; // one per operand
  uint64_t seed = 7, counter = 3;

  explicit Case(KernelId kernel, std::array<int64_t, 3> space, std::vector<int32_t> attributes, std::string text)
      : name(std::string(kernel_name(kernel)) + " " + text) {
    step.kernel = kernel;
    step.attributes = std::move(attributes);
    for (int64_t& extent : step.space) extent = 1;
    for (size_t i = 0; i < 3; ++i) step.space[kDims - 3 + static_cast<int>(i)] = space[i];
  }
  Buffer& operand(DType dtype, int64_t elements, int64_t row_stride, int64_t column_stride, int64_t shift = 0) {
    ResolvedOperand o{};
    o.dtype = dtype;
    o.strides[kColumns] = column_stride;
    o.strides[kRows] = row_stride;
    o.strides[kRows - 1] = row_stride * step.space[kRows];
    o.elements_left = elements;
    step.operands.push_back(o);
    return buffers.emplace_back(dtype, elements, shift);
  }
  Buffer& dense(DType dtype, int64_t shift = 0) {
    const int64_t columns = step.space[kColumns], rows = step.space[kRows];
    return operand(dtype, step.space[kRows - 1] * rows * columns, columns, 1, shift);
  }
  Buffer& dense() { return dense(DType::float32); }
};

inline std::string fault_text(const char* kernel, int64_t position, int32_t index, int64_t rows) {
  return std::string(kernel) + ": index " + std::to_string(index) + " at position " + std::to_string(position) +
         " is outside of a table of " + std::to_string(rows) + " rows";
}

// Runs a case on the device, from the buffers as they are. Returns what is in them then, and the state.
struct Outcome {
  std::vector<std::vector<char>> buffers;
  RunState state;
};

inline Outcome run_on_device(Gpu& gpu, Case c, bool guarded, RunState state) {
  std::vector<uint64_t> addresses;
  for (size_t i = 0; i < c.buffers.size(); ++i) {
    Buffer& b = c.buffers[i];
    addresses.push_back(gpu.allocate(b.bytes.size()));
    gpu.upload(addresses[i], b.bytes.data(), b.bytes.size());
    c.step.operands[i].data = reinterpret_cast<void*>(addresses[i] + static_cast<uint64_t>(b.data() - b.bytes.data()));
  }
  const auto lowered = lower(c.step, gpu.target());
  const size_t scratch = lowered->scratch_bytes(), tickets = lowered->tickets() * sizeof(uint32_t);
  const std::vector<char> noise(scratch + kMargin, kMark);
  std::vector<char> counters(tickets + kMargin, 0);
  Addresses a;
  a.guarded = guarded;
  a.step = kStep;
  a.state = gpu.allocate(sizeof state);
  a.scratch = gpu.allocate(noise.size());
  a.tickets = gpu.allocate(counters.size());
  gpu.upload(a.state, &state, sizeof state);
  gpu.upload(a.scratch, noise.data(), noise.size());
  gpu.upload(a.tickets, counters.data(), counters.size());
  for (const Launch& launch : lowered->launches(a)) gpu.launch(launch);

  Outcome outcome{{}, state};
  gpu.download(&outcome.state, a.state, sizeof state);
  std::vector<char> after(noise.size());
  gpu.download(after.data(), a.scratch, after.size());
  CHECK(std::equal(noise.begin() + static_cast<std::ptrdiff_t>(scratch), noise.end(),
                   after.begin() + static_cast<std::ptrdiff_t>(scratch)),
        "%s: wrote behind its scratch", c.name.c_str());
  gpu.download(counters.data(), a.tickets, counters.size());
  CHECK(std::all_of(counters.begin(), counters.end(), [](char x) { return x == 0; }), "%s: left tickets behind",
        c.name.c_str());
  for (size_t i = 0; i < c.buffers.size(); ++i) {
    gpu.download(outcome.buffers.emplace_back(c.buffers[i].bytes).data(), addresses[i], c.buffers[i].bytes.size());
    gpu.release(addresses[i]);
  }
  gpu.release(a.state);
  gpu.release(a.scratch);
  gpu.release(a.tickets);
  return outcome;
}

inline RunState state_of(const Case& c) {
  RunState state{};
  state.seed = c.seed;
  state.step = c.counter;
  return state;
}

inline std::string filter;
inline std::string tier; // of the CPU

// The message of a kernel's error, or none. The results are in the case's buffers.
inline std::string run_on_cpu(Case& c) {
  for (size_t i = 0; i < c.buffers.size(); ++i) c.step.operands[i].data = c.buffers[i].data();
  const auto kernel = make_cpu_kernel(c.step, 1, tier);
  Pool pool(1);
  std::vector<char> shared(kernel->shared_bytes() + 64), local(kernel->local_bytes() + 64);
  const auto aligned = [](std::vector<char>& v) {
    return v.data() + (64 - reinterpret_cast<uintptr_t>(v.data()) % 64);
  };
  char* locals[] = {aligned(local)};
  try {
    kernel->run({&pool, c.seed, c.counter, aligned(shared), locals});
  } catch (const KernelError& error) {
    return error.what();
  }
  return {};
}

// `tolerance`: relative to the largest magnitude of the output; 0 for the same bits.
inline void check(Gpu& gpu, const Case& original, double tolerance = 0) {
  if (original.name.find(filter) == std::string::npos) return;
  Case expected = original;
  const std::string error = run_on_cpu(expected);
  const Outcome got = run_on_device(gpu, original, false, state_of(original));
  const char* name = original.name.c_str();

  if (!error.empty()) {
    const RunState& s = got.state;
    const int64_t rows = original.step.attributes[0];
    const std::string text = fault_text(kernel_name(original.step.kernel), s.fault_position, s.fault_index, rows);
    CHECK(s.halted == static_cast<uint32_t>(Halt::fault) && s.fault_step == kStep, "%s: no fault", name);
    CHECK(text == error, "%s: \"%s\", expected \"%s\"", name, text.c_str(), error.c_str());
    const size_t last = original.buffers.size() - 1; // the output's margins, at least
    CHECK(std::equal(expected.buffers[last].bytes.begin(), expected.buffers[last].bytes.begin() + kMargin,
                     got.buffers[last].begin()),
          "%s: wrote before its output", name);
    CHECK(std::equal(expected.buffers[last].bytes.end() - kMargin, expected.buffers[last].bytes.end(),
                     got.buffers[last].end() - kMargin),
          "%s: wrote behind its output", name);
    RunState diverged = state_of(original);
    diverged.halted = static_cast<uint32_t>(Halt::diverged);
    const Outcome kept = run_on_device(gpu, original, false, diverged);
    CHECK(std::memcmp(&kept.state, &diverged, sizeof diverged) == 0, "%s: a later fault was recorded", name);
  } else {
    CHECK(got.state.halted == 0, "%s: halted", name);
    for (size_t i = 0; i < original.buffers.size(); ++i) {
      Buffer& want = expected.buffers[i];
      if (want.bytes == got.buffers[i]) {
        ++checks;
        continue;
      }
      Buffer have = want;
      have.bytes = got.buffers[i];
      double scale = 0, worst = 0;
      int64_t at = 0;
      for (int64_t j = 0; j < want.elements; ++j) {
        if (want.dtype != DType::float32) {
          if (std::memcmp(have.data() + j * static_cast<int64_t>(dtype_size(want.dtype)),
                          want.data() + j * static_cast<int64_t>(dtype_size(want.dtype)), dtype_size(want.dtype)) != 0)
            worst = std::numeric_limits<double>::infinity(), at = j;
          continue;
        }
        if (std::memcmp(&have.floats()[j], &want.floats()[j], 4) == 0) continue;
        scale = std::max(scale, static_cast<double>(std::fabs(want.floats()[j])));
        const double difference =
            std::fabs(static_cast<double>(have.floats()[j]) - static_cast<double>(want.floats()[j]));
        if (!(difference <= worst)) worst = difference, at = j;
        if (difference == 0) worst = std::max(worst, 1e-30); // -0 for 0
      }
      std::memcpy(have.data(), want.data(), static_cast<size_t>(want.elements) * dtype_size(want.dtype));
      CHECK(have.bytes == want.bytes, "%s: wrote outside of operand %zu", name, i);
      CHECK(worst <= tolerance * scale, "%s: operand %zu differs by %g at element %lld", name, i, worst,
            static_cast<long long>(at));
    }
  }

  RunState halted = state_of(original);
  halted.halted = static_cast<uint32_t>(Halt::fault);
  const Outcome untouched = run_on_device(gpu, original, true, halted);
  for (size_t i = 0; i < original.buffers.size(); ++i)
    CHECK(untouched.buffers[i] == original.buffers[i].bytes, "%s: wrote operand %zu though halted", name, i);
}

inline std::string text(const char* format, int64_t a, int64_t b = 0, int64_t c = 0, int64_t d = 0) {
  char line[160];
  std::snprintf(line, sizeof line, format, static_cast<long long>(a), static_cast<long long>(b),
                static_cast<long long>(c), static_cast<long long>(d));
  return line;
}

} // namespace nodevae::cuda
