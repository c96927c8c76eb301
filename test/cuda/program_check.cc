// Checks programs on CUDA: random spaces, views and instructions as maps, some with noise in place of loads, against an
// evaluation element by element with the same functions compiled for the host. What is stored must be the same bits;
// sums must be close.
// Usage: program_check [first case [number of cases [folder for the PTX of every case, then not run]]]
// The driver is the system's, or the one that NODE_VAE_CUDA_DRIVER names. Prints a digest of all results, which must
// not depend on the order in which blocks run.
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>

#include "gpu.h"
#include "program_case.h"

namespace nodevae::cuda {
namespace {

struct Sum {
  double total = 0, scale = 0;
  float maximum = -std::numeric_limits<float>::infinity();
  bool exact = true; // no overflow, no NaN
  void add(float x) {
    total += static_cast<double>(x), scale += std::fabs(static_cast<double>(x));
    if (x > maximum || x != x) maximum = maximum != maximum ? maximum : x;
    exact = exact && scale < 1e37;
  }
};

// What the buffers must hold afterwards; sums come apart, by the element of the operand that takes them.
std::vector<Buffer> expected(Case& test, std::map<std::pair<int, int64_t>, Sum>& sums) {
  std::vector<Buffer> result = test.buffers;
  const auto& program = test.step.program;
  for (const Instruction& i : program) {
    if (i.op != Opcode::reduce_sum && i.op != Opcode::reduce_max) continue;
    int64_t kept[kDims];
    std::copy(test.step.space, test.step.space + kDims, kept);
    if (i.c & 1) kept[kRows] = 1;
    if (i.c & 2) kept[kColumns] = 1;
    test.each(kept, [&](const int64_t(&at)[kDims]) { sums[{i.b, test.element(static_cast<size_t>(i.b), at)}]; });
  }
  std::vector<float> values(program.size());
  test.each(test.step.space, [&](const int64_t(&at)[kDims]) {
    for (size_t i = 0; i < program.size(); ++i) {
      const Instruction& instruction = program[i];
      const size_t a = static_cast<size_t>(instruction.a), b = static_cast<size_t>(instruction.b);
      if (instruction.op == Opcode::load) {
        values[i] = test.buffers[static_cast<size_t>(test.buffer[a])].read(test.element(a, at));
      } else if (instruction.op == Opcode::constant) {
        std::memcpy(&values[i], &instruction.a, sizeof(float));
      } else if (instruction.op == Opcode::store) {
        result[static_cast<size_t>(test.buffer[b])].write(test.element(b, at), values[a]);
      } else if (opcode_arity(instruction.op) == 0) {
        sums[{instruction.b, test.element(b, at)}].add(values[a]);
      } else {
        const int arity = opcode_arity(instruction.op);
        values[i] = evaluate(instruction.op, values[a], arity > 1 ? values[b] : 0,
                             arity > 2 ? values[static_cast<size_t>(instruction.c)] : 0);
      }
    }
  });
  return result;
}

class Checker {
public:
  int failures = 0;
  uint64_t digest = 1469598103934665603u; // FNV-1a
  int64_t launches = 0;

  void lower_only(unsigned seed, const std::string& folder) {
    Case test(seed);
    uint64_t address = 1 << 20;
    for (Buffer& buffer : test.buffers) buffer.device = address, address += (buffer.bytes.size() + 511) / 256 * 256;
    for (const int capability : {75, 80}) {
      Target target;
      target.capability = capability;
      const auto lowered = lower(resolved(test), target);
      for (const Launch& launch : lowered->launches(Addresses{}))
        std::ofstream(folder + "/" + std::to_string(seed) + "_" + std::to_string(capability) + ".ptx")
            << *launch.module;
    }
  }

  void run(Gpu& gpu, unsigned seed) {
    Case test(seed);
    for (Buffer& buffer : test.buffers) buffer.device = gpu.allocate(buffer.bytes.size());
    const ResolvedStep step = resolved(test);
    const auto lowered = lower(step, gpu.target());
    std::map<std::pair<int, int64_t>, Sum> sums;
    std::vector<Buffer> wanted = expected(test, sums);
    Addresses addresses;
    addresses.guarded = true;
    addresses.state = gpu.allocate(sizeof(RunState));
    const std::vector<char> noise(lowered->scratch_bytes() + 256, '\xff'), zero(4 * lowered->tickets() + 256, 0);
    addresses.scratch = gpu.allocate(noise.size());
    addresses.tickets = gpu.allocate(zero.size());
    gpu.upload(addresses.tickets, zero.data(), zero.size());
    std::vector<Buffer> got = test.buffers;
    for (int round = 0; round < 3; ++round) { // halted, then twice
      RunState state{};
      state.halted = round == 0 ? 1 : 0;
      state.seed = test.seed, state.step = test.counter;
      gpu.upload(addresses.state, &state, sizeof state);
      gpu.upload(addresses.scratch, noise.data(), noise.size());
      for (Buffer& buffer : test.buffers) gpu.upload(buffer.device, buffer.bytes.data(), buffer.bytes.size());
      for (const Launch& launch : lowered->launches(addresses))
        gpu.launch(launch), ++launches, kept_.push_back(launch.module);
      const std::vector<Buffer> before = got;
      for (Buffer& buffer : got) gpu.download(buffer.bytes.data(), buffer.device, buffer.bytes.size());
      std::vector<char> tickets(zero.size());
      gpu.download(tickets.data(), addresses.tickets, tickets.size());
      if (tickets != zero) fail(test, seed, "tickets are left behind");
      for (size_t i = 0; i < got.size(); ++i)
        if ((round == 0 || round == 2) && got[i].bytes != before[i].bytes)
          fail(test, seed, round == 0 ? "a halted run wrote" : "the second run differs");
    }
    compare(test, seed, wanted, got, sums);
    for (Buffer& buffer : test.buffers) gpu.release(buffer.device);
    for (const uint64_t address : {addresses.state, addresses.scratch, addresses.tickets}) gpu.release(address);
  }

private:
  static ResolvedStep resolved(Case& test) {
    ResolvedStep step = test.step;
    for (size_t i = 0; i < step.operands.size(); ++i) {
      if (step.operands[i].noise) continue; // has no memory
      const uint64_t bytes = static_cast<uint64_t>(test.offset[i]) * dtype_size(step.operands[i].dtype);
      step.operands[i].data =
          reinterpret_cast<void*>(test.buffers[static_cast<size_t>(test.buffer[i])].device + kMargin + bytes);
    }
    return step;
  }

  void compare(Case& test, unsigned seed, std::vector<Buffer>& wanted, std::vector<Buffer>& got,
               const std::map<std::pair<int, int64_t>, Sum>& sums) {
    for (const auto& [place, sum] : sums) {
      const size_t which = static_cast<size_t>(test.buffer[static_cast<size_t>(place.first)]);
      const float x = got[which].read(place.second);
      const bool maximum = std::any_of(test.step.program.begin(), test.step.program.end(), [&](const Instruction& i) {
        return i.op == Opcode::reduce_max && i.b == place.first;
      });
      const bool same = maximum     ? x == sum.maximum || (x != x && sum.maximum != sum.maximum)
                        : sum.exact ? std::fabs(static_cast<double>(x) - sum.total) <= 2e-6 * sum.scale
                                    : !std::isfinite(x) || sum.scale < std::numeric_limits<double>::infinity();
      if (!same)
        fail(test, seed,
             ("operand " + std::to_string(place.first) + " [" + std::to_string(place.second) +
              "] = " + std::to_string(x) + ", expected " + std::to_string(maximum ? sum.maximum : sum.total))
                 .c_str());
      wanted[which].write(place.second, x); // compared
    }
    for (size_t i = 0; i < got.size(); ++i) {
      for (const char byte : got[i].bytes) digest = (digest ^ static_cast<uint8_t>(byte)) * 1099511628211u;
      if (got[i].bytes == wanted[i].bytes) continue;
      const int64_t elements = static_cast<int64_t>((got[i].bytes.size() - 2 * kMargin) / dtype_size(got[i].dtype));
      bool found = std::memcmp(got[i].bytes.data(), wanted[i].bytes.data(), kMargin) != 0 ||
                   std::memcmp(got[i].data(elements), wanted[i].data(elements), kMargin) != 0;
      if (found) fail(test, seed, "something beside a buffer was written");
      for (int64_t e = 0; e < elements && !found; ++e) {
        const float x = got[i].read(e), y = wanted[i].read(e);
        found = x != y && !(x != x && y != y);
        if (found)
          fail(test, seed,
               ("buffer " + std::to_string(i) + " [" + std::to_string(e) + "] = " + std::to_string(x) + ", expected " +
                std::to_string(y))
                   .c_str());
      }
    }
  }

  void fail(const Case& test, unsigned seed, const char* what) {
    if (++failures > 30) return;
    std::printf("case %u: %s\n  space", seed, what);
    for (const int64_t extent : test.step.space) std::printf(" %lld", static_cast<long long>(extent));
    std::puts("");
    for (size_t i = 0; i < test.step.program.size(); ++i) {
      const Instruction& at = test.step.program[i];
      std::printf("  %zu: %s %d %d %d\n", i, opcode_name(at.op), at.a, at.b, at.c);
    }
    for (size_t i = 0; i < test.step.operands.size(); ++i) {
      std::printf("  operand %zu: buffer %d, type %d, offset %lld, strides", i, test.buffer[i],
                  static_cast<int>(test.step.operands[i].dtype), static_cast<long long>(test.offset[i]));
      for (const int64_t stride : test.step.operands[i].strides) std::printf(" %lld", static_cast<long long>(stride));
      std::puts("");
    }
  }

  std::vector<std::shared_ptr<const std::string>> kept_; // the device knows modules by their address
};

} // namespace
} // namespace nodevae::cuda

int main(int argc, char** argv) {
  using namespace nodevae::cuda;
  const unsigned first = argc > 1 ? static_cast<unsigned>(std::stoul(argv[1])) : 0;
  const unsigned count = argc > 2 ? static_cast<unsigned>(std::stoul(argv[2])) : 300;
  Checker checker;
  if (argc > 3) {
    for (unsigned seed = first; seed < first + count; ++seed) checker.lower_only(seed, argv[3]);
    return 0;
  }
  Gpu gpu;
  for (unsigned seed = first; seed < first + count; ++seed) checker.run(gpu, seed);
  std::printf("%u cases, %lld launches, %d failures, digest %016llx\n", count, static_cast<long long>(checker.launches),
              checker.failures, static_cast<unsigned long long>(checker.digest));
  return checker.failures == 0 ? 0 : 1;
}
