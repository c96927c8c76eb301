// What the benchmarks of single kernels share: a step with its operands, and how its rate is measured.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../../native/backend.h"
#include "../../native/pool.h"

namespace nodevae {

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
using AlignedMemory = std::unique_ptr<char, Free>;

inline AlignedMemory aligned(size_t bytes) {
  AlignedMemory memory(static_cast<char*>(std::aligned_alloc(64, (bytes + 64) / 64 * 64)));
  for (size_t i = 0; i < bytes / 4; ++i)
    reinterpret_cast<float*>(memory.get())[i] = static_cast<float>((i * 7919 % 1000 + 1)) * 1e-3f;
  return memory;
}

inline double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x[x.size() / 2];
}

// One step on one thread.
struct Bench {
  std::string name;
  ResolvedStep step{};
  double operations; // per run; for elementwise programs the bytes read and written
  std::unique_ptr<Kernel> kernel;
  std::vector<AlignedMemory> memory;
  char *shared = nullptr, *local = nullptr;
  std::vector<double> rates, micros;

  Bench(std::string label, KernelId id, int64_t rows, int64_t columns, double work)
      : name(std::move(label)), operations(work) {
    step.kernel = id;
    std::fill_n(step.space, kDims, 1);
    step.space[kRows] = rows, step.space[kColumns] = columns;
  }
  char* allocate(size_t bytes) { return memory.emplace_back(aligned(bytes)).get(); }
  int operand(int64_t row, int64_t column, int64_t elements) {
    char* data = allocate(static_cast<size_t>(elements) * sizeof(float));
    step.operands.push_back({data, DType::float32, {0, 0, 0, 0, row, column}, elements});
    return static_cast<int>(step.operands.size()) - 1;
  }
  int emit(Opcode op, int a = 0, int b = 0, int c = 0) {
    step.program.push_back({op, a, b, c});
    return static_cast<int>(step.program.size()) - 1;
  }
  int constant(float x) {
    int32_t word;
    std::memcpy(&word, &x, 4);
    return emit(Opcode::constant, word);
  }
  void prepare(const std::string& tier) {
    kernel = make_cpu_kernel(step, 1, tier);
    shared = allocate(kernel->shared_bytes() + 64);
    local = allocate(kernel->local_bytes() + 64);
  }
  // One sample: as many runs as it takes to fill the time.
  void measure(Pool& pool, double seconds) {
    using Clock = std::chrono::steady_clock;
    const RunContext context{&pool, 1, 1, shared, &local};
    const Clock::time_point start = Clock::now();
    double elapsed;
    int runs = 0;
    do {
      kernel->run(context);
      ++runs;
      elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    } while (elapsed < seconds);
    rates.push_back(operations * runs / elapsed / 1e9);
    micros.push_back(elapsed / runs * 1e6);
  }
};

} // namespace nodevae
