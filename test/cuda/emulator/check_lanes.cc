// Shuffles, votes, matches and atomics of a warp: the kernel `lanes` of check.cu.
#include "check.h"

#include <random>

void check_lanes(int capability) {
  std::mt19937 random(3);
  std::vector<int> x(32), y(12 * 32);
  for (int& value : x) value = static_cast<int>(random() % 100);
  Device<int> dx(x), dy(y);
  Device<unsigned> counters(std::vector<unsigned>{0, 7, 0, 0, 0, 0});
  run("lanes", {}, 32, 0, nullptr, dx.address, dy.address, counters.address);
  y = dy.read();
  unsigned ballot = 0, same[4] = {}, smallest = 50, mixed = 50, counted = 50, added = 50;
  int odd = 0, above = 0, most = 0, all = 1, any = 0;
  for (int i = 0; i < 32; ++i) {
    ballot |= (x[i] & 4 ? 1u : 0u) << i, same[x[i] & 3] |= 1u << i, odd += x[i] & 1, above |= x[i] > 98;
    most = std::max(most, x[i]), smallest = std::min<unsigned>(smallest, x[i]), mixed ^= x[i], added += x[i];
    counted = counted >= 60 ? 0 : counted + 1;
    if (i & 1)
      any |= x[i] > 90;
    else
      all &= x[i] < 90;
  }
  unsigned shared[4] = {smallest, mixed, counted, added};
  for (int i = 0; i < 32; ++i) {
    auto at = [&](int lane) { return x[static_cast<size_t>(lane)]; };
    int expected[12] = {i & 1 ? at(i >= 2 ? i - 2 : i) : at(i < 28 ? i + 4 : i),
                        i & 1 ? any : all,
                        at(i / 8 * 8 + 3),
                        at(i ^ 5),
                        at(i % 8 < 5 ? i + 3 : i),
                        static_cast<int>(ballot),
                        static_cast<int>(same[x[i] & 3]),
                        0, // all lanes (-1), and 1
                        odd,
                        2 + above,
                        capability < 80 ? 0 : most,
                        static_cast<int>(shared[i & 3])};
    for (int k = 0; k < 12; ++k)
      CHECK(y[12 * i + k] == expected[k], "lane %d, %d: %d, expected %d", i, k, y[12 * i + k], expected[k]);
  }
  CHECK(counters.read() == (std::vector<unsigned>{32, 9, 5, 0, 0, 16}), "atomics on global memory");
}
