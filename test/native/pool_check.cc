// A stress test of the pool: chunks are run once each, exceptions come through, workers sleep and wake, pools come and
// go. Build it with NODE_VAE_SANITIZE=thread to have every access checked for races:
//   cmake -B build/checks -DNODE_VAE_CHECKS=ON -DNODE_VAE_SANITIZE=thread && cmake --build build/checks --target
//   pool_check
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <vector>

#include "pool.h"

namespace {

// Not atomic on purpose: two threads that ran the same chunk, or one that came late, would be a race.
bool check_rounds(int threads, int rounds) {
  nodevae::Pool pool(threads);
  uint32_t random = 1;
  for (int round = 0; round < rounds; ++round) {
    random = random * 1664525u + 1013904223u;
    const int chunks = static_cast<int>((random >> 24) % 12);
    const int failing = (random >> 8) % 50 == 0 ? chunks / 2 : -1;
    std::vector<int> runs(static_cast<size_t>(chunks), 0);
    bool failed = false;
    try {
      pool.parallel_for(chunks, [&](int64_t chunk, int thread) {
        if (thread < 0 || thread >= threads) std::abort();
        ++runs[static_cast<size_t>(chunk)];
        if (chunk == failing) throw std::runtime_error("as asked");
      });
    } catch (const std::runtime_error&) {
      failed = true;
    }
    if (failed != (failing >= 0 && chunks > 0)) return false;
    for (int count : runs)
      if (count > 1 || (count == 0 && !failed)) return false;
    if (round % 2000 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200)); // workers fall asleep
  }
  return true;
}

bool check_lifetimes(int pools) {
  for (int i = 0; i < pools; ++i) {
    nodevae::Pool pool(4);
    int runs[4] = {};
    pool.parallel_for(4, [&](int64_t chunk, int) { ++runs[chunk]; });
    for (int count : runs)
      if (count != 1) return false;
  }
  return true;
}

// After the flag is set no chunk is begun.
bool check_abandon() {
  std::atomic<bool> abandon{false};
  std::atomic<int> runs{0};
  nodevae::Pool pool(3);
  pool.abandon_when(&abandon);
  pool.parallel_for(1000, [&](int64_t, int) {
    if (++runs == 10) abandon.store(true);
  });
  return runs.load() >= 10 && runs.load() <= 12;
}

} // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 20000;
  for (int threads : {1, 2, 4, 7}) {
    if (check_rounds(threads, rounds)) continue;
    std::printf("pool of %d threads: wrong chunks\n", threads);
    return 1;
  }
  if (!check_lifetimes(300) || !check_abandon()) {
    std::printf("pool: lifetimes or abandon\n");
    return 1;
  }
  std::printf("pool: ok\n");
  return 0;
}
