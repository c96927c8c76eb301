// GFLOP/s of the matrix products of a dense variational autoencoder 784-400-20, and of three elementwise programs,
// on one thread, each alternated with the two probes of the machine: fused multiply-adds in registers, and the
// micro-kernel on panels in the first-level cache.
// Build: cmake -B build/checks -DNODE_VAE_CHECKS=ON && cmake --build build/checks
//        g++ -std=c++17 -O2 bench/kernels/gemm_bench.cc $(find build/checks/CMakeFiles/node_vae_core.dir -name '*.o')
//        -pthread -ldl -o build/gemm_bench
// Run:   gemm_bench [tier] [rounds]
#include "bench.h"

using namespace nodevae;

namespace {

// Row-major matrices; `a_transposed`: A is stored k x m, `b_transposed`: B is stored n x k.
Bench product(const char* form, int64_t m, int64_t n, int64_t k, bool bias_and_relu = false) {
  char label[64];
  std::snprintf(label, sizeof label, "%s %dx%d (k=%d)%s", form, int(m), int(n), int(k),
                bias_and_relu ? " bias relu" : "");
  Bench b(label, KernelId::matmul, m, n, 2.0 * static_cast<double>(m * n * k));
  const bool a_transposed = form[0] == 'T', b_transposed = form[1] == 'T';
  b.operand(a_transposed ? 1 : k, 0, m * k);
  b.operand(0, b_transposed ? k : 1, k * n);
  b.step.attributes = {static_cast<int32_t>(k), static_cast<int32_t>(a_transposed ? m : 1),
                       static_cast<int32_t>(b_transposed ? 1 : n)};
  int value = b.emit(Opcode::accumulator);
  if (bias_and_relu) value = b.emit(Opcode::relu, b.emit(Opcode::add, value, b.emit(Opcode::load, b.operand(0, 1, n))));
  b.emit(Opcode::store, value, b.operand(n, 1, m * n));
  return b;
}

// p, m, v and g of n elements; appended to a step whose `gradient` is a value.
void emit_adam(Bench& b, int gradient, int64_t rows_stride, int64_t n) {
  const int p = b.operand(rows_stride, 1, n), m = b.operand(rows_stride, 1, n), v = b.operand(rows_stride, 1, n);
  const int m1 = b.emit(Opcode::multiply_add, b.emit(Opcode::subtract, gradient, b.emit(Opcode::load, m)),
                        b.constant(0.1f), b.emit(Opcode::load, m));
  const int v1 =
      b.emit(Opcode::multiply_add, b.emit(Opcode::subtract, b.emit(Opcode::square, gradient), b.emit(Opcode::load, v)),
             b.constant(0.001f), b.emit(Opcode::load, v));
  const int scaled = b.emit(Opcode::multiply, m1, b.constant(-1e-3f));
  const int update = b.emit(Opcode::divide, scaled, b.emit(Opcode::add, b.emit(Opcode::sqrt, v1), b.constant(1e-8f)));
  const int p1 = b.emit(Opcode::add, b.emit(Opcode::load, p), update);
  b.emit(Opcode::store, m1, m);
  b.emit(Opcode::store, v1, v);
  b.emit(Opcode::store, p1, p);
}

Bench adam(int64_t n) {
  Bench b("Adam " + std::to_string(n) + " (GB/s)", KernelId::map, 1, n, 28.0 * static_cast<double>(n));
  emit_adam(b, b.emit(Opcode::load, b.operand(0, 1, n)), 0, n);
  return b;
}

Bench weight_gradient_with_adam(int64_t m, int64_t n, int64_t k) {
  Bench b = product("TN", m, n, k);
  b.name += " Adam";
  b.step.operands.pop_back();
  b.step.program.clear();
  emit_adam(b, b.emit(Opcode::accumulator), n, m * n);
  return b;
}

// max(x, 0) - x t + log(1 + e^-|x|), summed; the gradient (sigmoid(x) - t) / rows and its column sums.
void emit_loss(Bench& b, int logits, int64_t rows, int64_t columns) {
  const int t = b.emit(Opcode::load, b.operand(columns, 1, rows * columns));
  const int loss = b.emit(Opcode::subtract, b.emit(Opcode::softplus, logits), b.emit(Opcode::multiply, logits, t));
  b.emit(Opcode::reduce_sum, loss, b.operand(0, 0, 1), 3);
  const int gradient =
      b.emit(Opcode::multiply, b.emit(Opcode::subtract, b.emit(Opcode::sigmoid, logits), t), b.constant(0.01f));
  b.emit(Opcode::store, gradient, b.operand(columns, 1, rows * columns));
  b.emit(Opcode::reduce_sum, gradient, b.operand(0, 1, columns), 1);
}
Bench loss(int64_t rows, int64_t columns) {
  Bench b("loss + gradient " + std::to_string(rows) + "x" + std::to_string(columns) + " (GB/s)", KernelId::map, rows,
          columns, 12.0 * static_cast<double>(rows * columns));
  const int x = b.emit(Opcode::load, b.operand(columns, 1, rows * columns));
  emit_loss(b, x, rows, columns);
  return b;
}
Bench product_with_loss(int64_t m, int64_t n, int64_t k) {
  Bench b = product("NN", m, n, k);
  b.name += " loss";
  b.step.operands.pop_back();
  b.step.program.clear();
  const int logits = b.emit(Opcode::add, b.emit(Opcode::accumulator), b.emit(Opcode::load, b.operand(0, 1, n)));
  emit_loss(b, logits, m, n);
  return b;
}

} // namespace

int main(int count, char** arguments) {
  const std::string tier = count > 1 ? arguments[1] : cpu_tier();
  const int rounds = count > 2 ? std::atoi(arguments[2]) : 15;
  const FlushDenormals flush;
  std::vector<Bench> benches;
  benches.push_back(product("NN", 128, 400, 784));
  benches.push_back(product("NN", 128, 400, 784, true));
  benches.push_back(product("NN", 128, 784, 400));
  benches.push_back(product_with_loss(128, 784, 400));
  benches.push_back(product("NT", 128, 400, 784));
  benches.push_back(product("TN", 784, 400, 128));
  benches.push_back(product("TN", 400, 784, 128));
  benches.push_back(weight_gradient_with_adam(784, 400, 128));
  benches.push_back(product("NN", 128, 40, 400));
  benches.push_back(product("NN", 128, 400, 20));
  benches.push_back(product("NN", 1024, 400, 784));
  benches.push_back(product("NT", 1024, 400, 784));
  benches.push_back(product("TN", 784, 400, 1024));
  benches.push_back(product("NN", 1, 400, 784));
  benches.push_back(product("NN", 1024, 1024, 1024));
  benches.push_back(adam(313600));
  benches.push_back(loss(128, 784));
  for (Bench& b : benches) b.prepare(tier);
  Pool pool(1);
  std::vector<double> fma, l1;
  for (int round = 0; round < rounds; ++round)
    for (Bench& b : benches) {
      fma.push_back(cpu_probe_fma(tier, 0.001));
      l1.push_back(cpu_probe_l1(tier, 0.001));
      b.measure(pool, 0.01);
    }
  const double peak = median(fma);
  std::printf("%s: fma %.1f GFLOP/s, micro-kernel in L1 %.1f (%.0f %%)\n", tier.c_str(), peak, median(l1),
              100 * median(l1) / peak);
  for (const Bench& b : benches)
    std::printf("%-34s %7.1f  %5.1f %% of peak (best %5.1f %%)  %8.1f us\n", b.name.c_str(), median(b.rates),
                100 * median(b.rates) / peak, 100 * *std::max_element(b.rates.begin(), b.rates.end()) / peak,
                median(b.micros));
}
