// The pool's one delicate question is how long a worker may look at a job that lives on its caller's stack.
// Answer: while it is inside the gate. `gate` is one atomic word,
//
//     generation (32 bits) | open (1 bit) | workers inside (31 bits)
//
// A worker enters by adding one to a gate that is open, in one compare-and-swap, so it cannot enter a closed one.
// The caller opens a new generation, takes chunks itself until there are none, closes the gate, and leaves only
// when nobody is inside. The job's fields are therefore written only while the gate is shut and empty, and read
// only by those inside: no worker, however late it wakes, can see a job that has ended.
#include "pool.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace nodevae {
namespace {

constexpr uint64_t kOpen = uint64_t{1} << 31;
constexpr uint64_t kInside = kOpen - 1;
constexpr int kGenerationShift = 32;

// Long enough to bridge the gap between two steps of a plan, short enough not to burn a shared core.
constexpr std::chrono::microseconds kSpin{40};

void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until `ready` or the time is over; says whether it was ready.
template <class Ready> bool spin_until(const Ready& ready) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

} // namespace

#if defined(__x86_64__) || defined(_M_X64)
// Bits 15 (flush results) and 6 (denormals are zero) of MXCSR.
FlushDenormals::FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(static_cast<uint32_t>(saved_) | 0x8040u); }
FlushDenormals::~FlushDenormals() { _mm_setcsr(static_cast<uint32_t>(saved_)); }
#elif defined(__aarch64__)
FlushDenormals::FlushDenormals() {
  asm volatile("mrs %0, fpcr" : "=r"(saved_));
  asm volatile("msr fpcr, %0" ::"r"(saved_ | (uint64_t{1} << 24))); // FZ
}
FlushDenormals::~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(saved_)); }
#else
FlushDenormals::FlushDenormals() : saved_(0) {}
FlushDenormals::~FlushDenormals() = default;
#endif

struct Pool::State {
  explicit State(int thread_count) : threads(thread_count) {}

  const int threads;
  const std::atomic<bool>* abandon = nullptr;
  std::vector<std::thread> workers;

  alignas(64) std::atomic<uint64_t> gate{0};
  alignas(64) std::atomic<int64_t> next{0};

  // The job. Written while the gate is shut and empty.
  int64_t chunks = 0;
  Call call = nullptr;
  const void* body = nullptr;
  std::exception_ptr error; // guarded by mutex while the gate is open

  // Sleeping. `sleepers` lets the caller skip the system call when every worker still spins.
  std::mutex mutex;
  std::condition_variable opened, emptied;
  std::atomic<int> sleepers{0};
  std::atomic<bool> quit{false};

  bool abandoned() const { return abandon != nullptr && abandon->load(std::memory_order_relaxed); }

  void take_chunks(int thread) {
    for (;;) {
      const int64_t chunk = next.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= chunks || abandoned()) return;
      try {
        call(body, chunk, thread);
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex);
        if (!error) error = std::current_exception();
        next.store(chunks, std::memory_order_relaxed);
      }
    }
  }

  // True when this worker got inside a generation that it has not seen yet.
  bool enter(uint64_t& seen) {
    uint64_t value = gate.load(std::memory_order_seq_cst);
    while ((value & kOpen) != 0 && (value >> kGenerationShift) != seen) {
      if (gate.compare_exchange_weak(value, value + 1, std::memory_order_seq_cst)) {
        seen = value >> kGenerationShift;
        return true;
      }
    }
    return false;
  }

  void leave() {
    const uint64_t before = gate.fetch_sub(1, std::memory_order_seq_cst);
    if ((before & kOpen) == 0 && (before & kInside) == 1) { // the last one out of a shut gate: the caller may sleep
      std::lock_guard<std::mutex> lock(mutex);
      emptied.notify_one();
    }
  }

  void work(int thread) {
    const FlushDenormals flush;
    uint64_t seen = 0;
    bool inside = false;
    const auto ready = [&] { return quit.load(std::memory_order_seq_cst) || (inside = enter(seen)); };
    for (;;) {
      if (!spin_until(ready)) {
        std::unique_lock<std::mutex> lock(mutex);
        // Announced before the last look at the gate, as the caller opens it before it looks for sleepers:
        // one of the two always sees the other.
        sleepers.fetch_add(1, std::memory_order_seq_cst);
        opened.wait(lock, ready);
        sleepers.fetch_sub(1, std::memory_order_seq_cst);
      }
      if (!inside) return;
      take_chunks(thread);
      leave();
      inside = false;
    }
  }

  void wake_sleepers() {
    if (sleepers.load(std::memory_order_seq_cst) == 0) return;
    { std::lock_guard<std::mutex> lock(mutex); } // whoever announced itself is now really waiting
    opened.notify_all();
  }

  void start_workers() {
    for (int thread = 1; thread < threads; ++thread) {
      try {
        workers.emplace_back([this, thread] { work(thread); });
      } catch (const std::system_error&) {
        return; // no more threads to be had: those that run, and the caller, do all the chunks
      }
    }
  }
};

Pool::Pool(int threads) : state_(new State(threads < 1 ? 1 : threads)) {}

Pool::~Pool() {
  state_->quit.store(true, std::memory_order_seq_cst);
  state_->wake_sleepers();
  for (std::thread& worker : state_->workers) worker.join();
}

int Pool::threads() const { return state_->threads; }

void Pool::abandon_when(const std::atomic<bool>* flag) { state_->abandon = flag; }

void Pool::run(int64_t chunks, Call call, const void* body) {
  State& state = *state_;
  if (state.threads == 1 || chunks <= 1) {
    for (int64_t chunk = 0; chunk < chunks && !state.abandoned(); ++chunk) call(body, chunk, 0);
    return;
  }
  if (state.workers.empty()) state.start_workers();

  state.chunks = chunks;
  state.call = call;
  state.body = body;
  state.error = nullptr;
  state.next.store(0, std::memory_order_relaxed);
  const uint64_t generation = (state.gate.load(std::memory_order_relaxed) >> kGenerationShift) + 1;
  state.gate.store((generation << kGenerationShift) | kOpen, std::memory_order_seq_cst);
  state.wake_sleepers();

  state.take_chunks(0);

  state.gate.fetch_and(~kOpen, std::memory_order_seq_cst);
  const auto empty = [&] { return (state.gate.load(std::memory_order_seq_cst) & kInside) == 0; };
  if (!spin_until(empty)) {
    std::unique_lock<std::mutex> lock(state.mutex);
    state.emptied.wait(lock, empty);
  }
  if (state.error) std::rethrow_exception(std::exchange(state.error, nullptr));
}

} // namespace nodevae
