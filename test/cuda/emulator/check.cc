// Runs the kernels of check.cu on the emulator and compares with the same computation on the CPU.
//   emulator_check <libcuda_emulator.so> <PTX of check.cu> <check.ptx> <capability>
#include "check.h"

#include <cmath>
#include <fstream>
#include <random>
#include <sstream>

int failures = 0;
void* library = nullptr;

namespace {
CUmodule module_handle = nullptr;
} // namespace

void* find(const char* name) {
  void* found = dlsym(library, name);
  if (!found) std::printf("no %s\n", name), std::exit(1);
  return found;
}

void must(CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return;
  std::printf("%s: error %d\n", what, result);
  std::exit(1);
}

CUfunction function(const char* name) {
  CUfunction result = nullptr;
  MUST(CALL(cuModuleGetFunction)(&result, module_handle, name));
  return result;
}

void load_text(const std::string& ptx) {
  if (module_handle) CALL(cuModuleUnload)(module_handle);
  MUST(CALL(cuModuleLoadData)(&module_handle, ptx.c_str()));
}

namespace {

std::mt19937 generator(7);
std::vector<float> numbers(size_t n, float scale = 1) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> result(n);
  for (float& value : result) value = normal(generator);
  return result;
}

void check_saxpy_and_graphs() {
  const int n = 1000;
  std::vector<float> x = numbers(n), y = numbers(n);
  Device<float> dx(x), dy(y);
  run("saxpy", {4}, 256, 0, nullptr, 2.5f, dx.address, dy.address, n);
  std::vector<float> got = dy.read();
  for (int i = 0; i < n; ++i) CHECK(got[i] == std::fma(2.5f, x[i], y[i]), "saxpy %d: %g", i, got[i]);

  CUstream stream;
  CUgraph graph;
  CUgraphExec executable;
  MUST(CALL(cuStreamCreate)(&stream, CU_STREAM_NON_BLOCKING));
  MUST(CALL(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  MUST(CALL(cuMemsetD32Async)(dy.address, 0, n, stream));
  run("saxpy", {4}, 256, 0, stream, 2.0f, dx.address, dy.address, n);
  run("saxpy", {4}, 256, 0, stream, 2.0f, dx.address, dy.address, n);
  CUdeviceptr unwanted;
  CHECK(CALL(cuMemAlloc)(&unwanted, 4) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "an allocation in a capture");
  MUST(CALL(cuStreamEndCapture)(stream, &graph));
  size_t nodes = 0;
  MUST(CALL(cuGraphGetNodes)(graph, nullptr, &nodes));
  CHECK(nodes == 3, "%zu nodes", nodes);
  CHECK(dy.read() == got, "captured work was executed");
  MUST(CALL(cuGraphInstantiate)(&executable, graph, 0));
  MUST(CALL(cuGraphDestroy)(graph));
  for (int i = 0; i < 2; ++i) MUST(CALL(cuGraphLaunch)(executable, stream));
  MUST(CALL(cuStreamSynchronize)(stream));
  got = dy.read();
  for (int i = 0; i < n; ++i) CHECK(got[i] == std::fma(2.0f, x[i], 2 * x[i]), "graph %d: %g", i, got[i]);
  MUST(CALL(cuGraphExecDestroy)(executable));
  MUST(CALL(cuStreamDestroy)(stream));
}

void check_sum() {
  const int n = 5000, blocks = 9;
  std::vector<float> x = numbers(n);
  Device<float> dx(x), partial(blocks), result(1);
  std::vector<float> first;
  for (const char* order : {"forward", "reverse", "random:5"}) {
    setenv("EMULATED_BLOCK_ORDER", order, 1);
    run("sum", {blocks}, 256, 0, nullptr, dx.address, partial.address, result.address, n);
    std::vector<float> got = result.read();
    double exact = 0;
    for (float value : x) exact += value;
    CHECK(std::fabs(got[0] - exact) < 1e-3, "sum %g, expected %g", got[0], exact);
    if (first.empty()) first = got;
    CHECK(got == first, "the sum depends on the order of the blocks");
  }
  unsetenv("EMULATED_BLOCK_ORDER");
}

void check_products(int capability) {
  if (capability < 80) return;
  const int m = 128, n = 64, k = 48;
  std::vector<float> a = numbers(m * k), b = numbers(k * n);
  Device<float> da(a), db(b), dc(m * n);
  MUST(CALL(cuFuncSetAttribute)(function("tiled"), CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 16384));
  setenv("EMULATED_RACECHECK", "1", 1);
  run("tiled", {n / 64, m / 64}, 256, 16384, nullptr, da.address, db.address, dc.address, m, n, k);
  unsetenv("EMULATED_RACECHECK");
  std::vector<float> c = dc.read();
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      float sum = 0;
      for (int q = 0; q < k; ++q) sum = std::fma(a[i * k + q], b[q * n + j], sum);
      CHECK(c[i * n + j] == sum, "tiled (%d, %d): %g, expected %g", i, j, c[i * n + j], sum);
    }
  std::vector<float> values = numbers(32);
  Device<float> from(values), copied(64);
  run("early", {}, 32, 0, nullptr, from.address, copied.address);
  std::vector<float> seen = copied.read();
  for (int i = 0; i < 32; ++i)
    CHECK(seen[i] != seen[i] && seen[i + 32] == values[i], "cp.async %d: %g, then %g", i, seen[i], seen[i + 32]);
  std::vector<uint16_t> ha(256), hb(128);
  auto shorten = [](std::vector<uint16_t>& to) {
    std::vector<float> wide = numbers(to.size());
    for (size_t i = 0; i < to.size(); ++i) std::memcpy(&to[i], reinterpret_cast<char*>(&wide[i]) + 2, 2);
  };
  auto widen = [](uint16_t bits) {
    uint32_t wide = uint32_t{bits} << 16;
    float value;
    std::memcpy(&value, &wide, 4);
    return value;
  };
  shorten(ha), shorten(hb);
  Device<uint16_t> dha(ha), dhb(hb);
  Device<float> d16(128), d8(128);
  run("multiply_bf16", {}, 32, 0, nullptr, dha.address, dhb.address, d16.address);
  std::vector<float> got = d16.read();
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      double sum = 0;
      for (int q = 0; q < 16; ++q) sum += double{widen(ha[i * 16 + q])} * widen(hb[q * 8 + j]);
      CHECK(std::fabs(got[i * 8 + j] - sum) < 1e-5, "bf16 (%d, %d): %g, expected %g", i, j, got[i * 8 + j], sum);
    }
  std::vector<float> ta = numbers(128), tb = numbers(64);
  Device<float> dta(ta), dtb(tb);
  run("multiply_tf32", {}, 32, 0, nullptr, dta.address, dtb.address, d8.address);
  got = d8.read();
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      double sum = 0, magnitude = 0;
      for (int q = 0; q < 8; ++q) {
        double term = double{ta[i * 8 + q]} * tb[q * 8 + j];
        sum += term, magnitude += std::fabs(term);
      }
      CHECK(std::fabs(got[i * 8 + j] - sum) < magnitude / 1000, "tf32 (%d, %d): %g, expected %g", i, j, got[i * 8 + j],
            sum);
    }
}

void check_functions() {
  std::vector<float> x = numbers(500, 3);
  for (float special : {1e-30f, 20.0f, -20.0f, 1e5f, 123456.0f, 0.5f}) x.push_back(special);
  Device<float> dx(x), dy(8 * x.size());
  int n = static_cast<int>(x.size());
  run("functions", {static_cast<unsigned>(n + 127) / 128}, 128, 0, nullptr, dx.address, dy.address, n);
  std::vector<float> y = dy.read();
  for (int i = 0; i < n; ++i) {
    double v = x[i], w = std::fabs(v);
    double expected[] = {std::exp(v), std::tanh(v),      std::sin(v), std::log(w),
                         std::erf(v), std::pow(w, 1.7f), 1 / v,       1 / std::sqrt(w)};
    for (int f = 0; f < 8; ++f) {
      float want = static_cast<float>(expected[f]), got = y[8 * i + f];
      bool close = want == got || std::fabs(got - expected[f]) <= 1e-6 * std::fabs(expected[f]) + 1e-37;
      CHECK(close, "function %d of %g: %.9g, expected %.9g", f, v, got, want);
    }
  }
}

struct Integers { // as in check.cu
  int64_t quotient, remainder;
  uint64_t high, product;
  int32_t leading, bits, reversed, rotated;
  uint16_t narrow, half, bfloat, byte;
  double root;
};

void check_integers() {
  const int n = 300;
  std::vector<int64_t> a(n), b(n);
  for (int i = 0; i < n; ++i) {
    a[i] = static_cast<int64_t>((uint64_t{generator()} << 32 | generator()) >> (i % 40)) * (i % 2 ? 1 : -1);
    b[i] = static_cast<int64_t>((uint64_t{generator()} << 32 | generator()) >> (20 + i % 40)) + 1;
  }
  Device<int64_t> da(a), db(b);
  Device<Integers> out(n);
  run("integers", {3}, 128, 0, nullptr, da.address, db.address, out.address, n);
  std::vector<Integers> got = out.read();
  for (int i = 0; i < n; ++i) {
    const Integers& r = got[i];
    uint64_t ua = static_cast<uint64_t>(a[i]), ub = static_cast<uint64_t>(b[i]);
    uint32_t la = static_cast<uint32_t>(ua), lb = static_cast<uint32_t>(ub), reversed = 0, bytes = 0;
    for (int bit = 0; bit < 32; ++bit) reversed |= (lb >> bit & 1) << (31 - bit);
    uint64_t both = uint64_t{lb} << 32 | la;
    for (int at = 0; at < 4; ++at)
      bytes |= static_cast<uint32_t>(both >> (8 * (0x1736 >> (4 * at) & 7)) & 255) << (8 * at);
    CHECK(r.quotient == a[i] / b[i] && r.remainder == a[i] % b[i], "division %d", i);
    CHECK(r.high == static_cast<uint64_t>(static_cast<unsigned __int128>(ua) * ub >> 64) && r.product == ua * ub,
          "product %d", i);
    CHECK(r.leading == (ua ? __builtin_clzll(ua) : 64) && r.bits == __builtin_popcount(la), "counts %d", i);
    CHECK(r.reversed == static_cast<int32_t>(reversed), "reversed %d", i);
    CHECK(r.rotated == static_cast<int32_t>(lb << 7 | la >> 25), "rotated %d", i);
    CHECK(r.narrow == static_cast<uint16_t>(la * lb) && r.byte == static_cast<uint16_t>(bytes), "16 bits %d", i);
    CHECK(r.root == std::sqrt(static_cast<double>(la)) / 3, "root %d", i);
    float f = static_cast<float>(a[i]);
    uint32_t fb;
    std::memcpy(&fb, &f, 4);
    CHECK(r.bfloat == static_cast<uint16_t>((fb + 0x7fff + (fb >> 16 & 1)) >> 16), "bf16 %d", i);
  }
}

void check_divergence() {
  std::vector<int> x(96), y(257, -12345);
  for (int i = 0; i < 96; ++i) x[i] = 1 + i * 37 % 211;
  Device<int> dx(x), dy(y);
  run("divergent", {1}, 96, 0, nullptr, dx.address, dy.address);
  std::vector<int> got = dy.read();
  static const int table[5] = {3, 1, 4, 1, 5};
  int most = -12345;
  for (int i = 0; i < 96; ++i) {
    int value = x[i], steps = 0;
    while (value != 1 && steps < 200) value = value % 2 ? 3 * value + 1 : value / 2, ++steps;
    int kind = x[i] % 7;
    if (kind == 0)
      steps += table[x[i] % 5];
    else if (kind == 1)
      steps ^= 0x55;
    else if (kind == 2)
      steps *= 3;
    else if (kind == 3)
      steps -= x[i] % 8 * x[i];
    else if (kind != 4)
      steps = -steps;
    if (kind != 4 && steps > most) most = steps;
    CHECK(got[i] == (kind == 4 ? -12345 : steps), "divergent %d: %d, expected %d", i, got[i], steps);
  }
  CHECK(got[256] == most, "maximum %d, expected %d", got[256], most);
}

// A kernel that fails leaves its error behind, until the context is a new one.
template <class... Arguments> void check_fault(const char* name, CUresult expected, Arguments... arguments) {
  Device<float> x(64);
  MUST(CALL(cuMemsetD8)(x.address, 0, 256));
  void* pointers[] = {&x.address, &arguments...};
  MUST(CALL(cuLaunchKernel)(function(name), 1, 1, 1, 64, 1, 1, 0, nullptr, pointers, nullptr));
  CUresult found = CALL(cuCtxSynchronize)();
  CHECK(found == expected, "%s: %d, expected %d", name, found, expected);
  size_t free_bytes, total;
  CHECK(CALL(cuMemGetInfo)(&free_bytes, &total) == expected, "%s: the error does not stay", name);
}

void open(const std::string& ptx) {
  CUcontext context;
  MUST(CALL(cuDevicePrimaryCtxRetain)(&context, 0));
  MUST(CALL(cuCtxSetCurrent)(context));
  load_text(ptx);
}
void close() {
  MUST(CALL(cuModuleUnload)(module_handle));
  module_handle = nullptr;
  MUST(CALL(cuDevicePrimaryCtxRelease)(0));
}

} // namespace

int main(int count, char** arguments) {
  if (count != 5) return std::printf("usage: emulator_check <library> <ptx> <check.ptx> <capability>\n"), 2;
  int capability = std::atoi(arguments[4]);
  setenv("EMULATED_CAPABILITY", std::to_string(capability).c_str(), 1);
  library = dlopen(arguments[1], RTLD_NOW);
  if (!library) return std::printf("%s\n", dlerror()), 2;
  auto read = [](const char* path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  };
  const std::string ptx = read(arguments[2]);
  MUST(CALL(cuInit)(0));
  open(ptx);
  check_saxpy_and_graphs();
  check_sum();
  check_products(capability);
  check_functions();
  check_integers();
  check_divergence();
  check_lanes(capability);
  check_refusals();
  close(), open(read(arguments[3]));
  check_text();
  check_instructions(capability);
  close(), open(ptx);
  check_fault("beyond", CUDA_ERROR_ILLEGAL_ADDRESS, 1);
  close(), open(ptx);
  check_fault("misaligned", CUDA_ERROR_MISALIGNED_ADDRESS);
  close(), open(ptx);
  check_fault("half_barrier", CUDA_ERROR_LAUNCH_FAILED);
  close(), open(ptx);
  setenv("EMULATED_RACECHECK", "1", 1);
  check_fault("race", CUDA_ERROR_LAUNCH_FAILED);
  close();
  std::printf(failures ? "%d failures\n" : "all checks passed\n", failures);
  return failures ? 1 : 0;
}
