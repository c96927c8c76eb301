// GFLOP/s of the convolutions of two convolutional autoencoders (28x28x1 in batches of 128, 64x64x3 in batches of 64)
// and of a few shapes that are hard to be fast at, in three directions on one thread, beside the machine's rate of
// fused multiply-adds in registers. Products with padding count, as is usual.
// Build: cmake -B build/checks -DNODE_VAE_CHECKS=ON && cmake --build build/checks
//        g++ -std=c++17 -O2 bench/kernels/conv_bench.cc $(find build/checks/CMakeFiles/node_vae_core.dir -name '*.o')
//        -pthread -ldl -o build/conv_bench
// Run:   conv_bench [tier] [rounds] [part of a layer's name] [direction 0, 1 or 2]
#include "bench.h"

using namespace nodevae;

namespace {

// As a convolution of x [n, size, size, c] to y [n, out, out, f], whichever way the layer goes.
struct Layer {
  const char* name;
  int n, size, c, f, kernel, stride, pad, groups;
  int out() const { return (size + 2 * pad - kernel) / stride + 1; }
  // "same" in one direction: one more zero at the bottom and right for even sizes.
  int out_same() const { return (size + stride - 1) / stride; }
};

const Layer layers[] = {
    {"W2 1->32 3x3 s2", 128, 28, 1, 32, 3, 2, 0, 1},
    {"W2 32->64 3x3 s2", 128, 14, 32, 64, 3, 2, 0, 1},
    {"W2 T64->64 3x3 s2", 128, 14, 64, 64, 3, 2, 0, 1},
    {"W2 T64->32 3x3 s2", 128, 28, 32, 64, 3, 2, 0, 1},
    {"W2 32->1 3x3 s1", 128, 28, 32, 1, 3, 1, 1, 1},
    {"W3 3->32 4x4 s2", 64, 64, 3, 32, 4, 2, 1, 1},
    {"W3 32->32 4x4 s2", 64, 32, 32, 32, 4, 2, 1, 1},
    {"W3 32->64 4x4 s2", 64, 16, 32, 64, 4, 2, 1, 1},
    {"W3 64->64 4x4 s2", 64, 8, 64, 64, 4, 2, 1, 1},
    {"32->32 3x3 s1", 16, 28, 32, 32, 3, 1, 1, 1},
    {"64->64 3x3 s1", 16, 28, 64, 64, 3, 1, 1, 1},
    {"16->16 3x3 s1", 16, 28, 16, 16, 3, 1, 1, 1},
    {"20->20 3x3 s1", 16, 28, 20, 20, 3, 1, 1, 1},
    {"5->7 3x3 s1", 16, 28, 5, 7, 3, 1, 1, 1},
    {"7->32 3x3 s1", 16, 28, 7, 32, 3, 1, 1, 1},
    {"32->5 3x3 s1", 16, 28, 32, 5, 3, 1, 1, 1},
    {"3->3 3x3 s1", 16, 64, 3, 3, 3, 1, 1, 1},
    {"1->1 3x3 s1", 16, 64, 1, 1, 3, 1, 1, 1},
    {"32->3 3x3 s1", 16, 64, 32, 3, 3, 1, 1, 1},
    {"512->512 3x3 s1 7x7", 4, 7, 512, 512, 3, 1, 1, 1},
    {"8 groups of 16->16", 16, 28, 128, 128, 3, 1, 1, 8},
    {"8 groups of 32->32", 16, 28, 256, 256, 3, 1, 1, 8},
    {"depthwise 64 3x3", 16, 28, 64, 64, 3, 1, 1, 64},
};

Bench convolution(const Layer& l, KernelId id) {
  const int out = l.pad == 0 && l.stride > 1 ? l.out_same() : l.out();
  const int64_t x = int64_t{l.n} * l.size * l.size * l.c, y = int64_t{l.n} * out * out * l.f;
  const int64_t w = int64_t{l.kernel} * l.kernel * l.c / l.groups * l.f;
  const int64_t sizes[] = {x, w, y};
  const int roles[3][3] = {{0, 1, 2}, {2, 1, 0}, {0, 2, 1}}; // inputs and output of the three directions
  const int* role = roles[static_cast<int>(id) - static_cast<int>(KernelId::conv2d)];
  const int64_t columns = role[2] == 0 ? l.c : l.f;
  Bench b(l.name, id, sizes[role[2]] / columns, columns,
          2.0 * static_cast<double>(y) * l.kernel * l.kernel * l.c / l.groups);
  b.operand(0, 0, sizes[role[0]]);
  b.operand(0, 0, sizes[role[1]]);
  const int result = b.operand(columns, 1, sizes[role[2]]);
  // Forward passes end in a bias and ReLU.
  int value = b.emit(Opcode::accumulator);
  if (id == KernelId::conv2d)
    value = b.emit(Opcode::relu, b.emit(Opcode::add, value, b.emit(Opcode::load, b.operand(0, 1, columns))));
  b.emit(Opcode::store, value, result);
  b.step.attributes = {l.n,      l.size,   l.size,   l.c,   out,   out, l.f, l.kernel,
                       l.kernel, l.stride, l.stride, l.pad, l.pad, 1,   1,   l.groups};
  return b;
}

} // namespace

int main(int count, char** arguments) {
  const std::string tier = count > 1 ? arguments[1] : cpu_tier();
  const int rounds = count > 2 ? std::atoi(arguments[2]) : 15;
  const char* part = count > 3 ? arguments[3] : "";
  const int only = count > 4 ? std::atoi(arguments[4]) : -1;
  const FlushDenormals flush;
  Pool pool(1);
  std::printf("%-22s %9s %22s %22s %22s   (GFLOP/s, %% of the FMA rate, best %%)\n", tier.c_str(), "fma", "forward",
              "input gradient", "weight gradient");
  for (const Layer& layer : layers) {
    if (std::strstr(layer.name, part) == nullptr) continue;
    std::vector<Bench> directions;
    for (const KernelId id : {KernelId::conv2d, KernelId::conv2d_input_gradient, KernelId::conv2d_weight_gradient})
      directions.emplace_back(convolution(layer, id)).prepare(tier);
    std::vector<double> fma;
    for (int round = 0; round < rounds; ++round)
      for (Bench& bench : directions) {
        if (only >= 0 && &bench != &directions[static_cast<size_t>(only)]) continue;
        fma.push_back(cpu_probe_fma(tier, 0.001));
        bench.measure(pool, 0.004);
      }
    const double peak = median(fma);
    std::printf("%-22s %9.1f", layer.name, peak);
    for (const Bench& bench : directions) {
      if (bench.rates.empty()) continue;
      std::printf("   %7.1f %4.0f %% (%3.0f)", median(bench.rates), 100 * median(bench.rates) / peak,
                  100 * *std::max_element(bench.rates.begin(), bench.rates.end()) / peak);
    }
    std::puts("");
  }
}
