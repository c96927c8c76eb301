// Hand-written PTX: check.ptx, and texts that have to be refused.
#include "check.h"

// check.ptx
void check_text() {
  Device<uint32_t> out(64);
  run("scopes", {}, 32, 0, nullptr, out.address);
  std::vector<uint32_t> got = out.read();
  const uint32_t scopes[] = {50, 60, 1, 101, 4, 4, 0x20, 0x40000000};
  for (int i = 0; i < 8; ++i) CHECK(got[i] == scopes[i], "scopes %d: %u, expected %u", i, got[i], scopes[i]);

  struct Words {
    uint32_t a, b, c;
  } words = {0xfffffff0u, 0x00abcd20u, 0xff543300u};
  run("words", {}, 1, 0, nullptr, out.address, words);
  got = out.read();
  uint64_t low = uint64_t{words.a} + words.b, high = uint64_t{words.c} + words.b + (low >> 32);
  uint32_t swapped = words.b << 16 | words.b >> 16;
  const uint32_t expected[] = {static_cast<uint32_t>(low),
                               static_cast<uint32_t>(high),
                               static_cast<uint32_t>(high >> 32),
                               words.a ^ swapped ^ words.c,
                               0xfffffbcdu,
                               0xbcdu,
                               0xfffffcd0u,
                               swapped,
                               0x3f800000u,
                               0x3f800000u,
                               0x3f800001u,
                               0x80000000u,
                               0x7fffffffu,
                               0u,
                               0xffffffffu,
                               0xffffffffu,
                               2u,
                               255u,
                               0x20u,
                               0x7bffu};
  for (int i = 0; i < 20; ++i) CHECK(got[i] == expected[i], "words %d: %08x, expected %08x", i, got[i], expected[i]);

  run("barriers", {}, 64, 256, nullptr, out.address);
  got = out.read();
  for (uint32_t i = 0; i < 64; ++i) {
    uint32_t want = (i < 32 ? i : (i - 32) * 10) + 23;
    CHECK(got[i] == want, "barriers %u: %u, expected %u", i, got[i], want);
  }
}

void check_refusals() {
  const char* head = ".version 8.0\n.target sm_75\n.address_size 64\n";
  const struct {
    const char *body, *expected;
  } cases[] = {
      {".visible .entry f() { frobnicate.b32 %r1; }", "frobnicate"},
      {".visible .entry f() { .reg .b32 %r<3>; add.wide.s32 %r1, %r2, 1; ret; }", "wide"},
      {".visible .entry f() { .reg .b32 %r<3>; add.s32 %r1, %r3, 1; ret; }", "%r3"},
      {".visible .entry f() { .reg .f32 %f<3>; add.s32 %f1, %f2, 1; ret; }", "%f2"},
      {".visible .entry f() { bra nowhere; }", "nowhere"},
      {".visible .entry f() .nonsense 3 { ret; }", ".nonsense"},
      {".visible .entry f() { .reg .b32 %r<3>; cp.async.wait_all; ret; }", "cp.async needs"},
  };
  for (const auto& refused : cases) {
    char log[512] = "";
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void* values[] = {log, reinterpret_cast<void*>(sizeof log)};
    CUmodule unwanted;
    CUresult result =
        CALL(cuModuleLoadDataEx)(&unwanted, (std::string(head) + refused.body).c_str(), 2, options, values);
    CHECK(result == CUDA_ERROR_INVALID_PTX && std::strstr(log, refused.expected), "%s: %d, %s", refused.body, result,
          log);
  }
  CUdeviceptr unwanted;
  CHECK(CALL(cuMemAlloc)(&unwanted, size_t{1} << 50) == CUDA_ERROR_OUT_OF_MEMORY, "an allocation of 2^50 bytes");
}
