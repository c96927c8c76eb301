// Kernels that check.cc runs on the emulator: each uses another part of the instruction set, as nvcc writes it.
#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

extern "C" __global__ void saxpy(float a, const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}

// Block sums by shuffles and shared memory; the last block to arrive adds them in the order of the blocks.
__device__ unsigned arrived;
extern "C" __global__ void __launch_bounds__(256) sum(const float* x, float* partial, float* result, int n) {
  __shared__ float warps[8];
  __shared__ bool last;
  float total = 0;
  for (int i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256) total += x[i];
  for (int d = 16; d; d /= 2) total += __shfl_xor_sync(~0u, total, d);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = total;
  __syncthreads();
  if (threadIdx.x == 0) {
    float block = 0;
    for (int i = 0; i < 8; ++i) block += warps[i];
    partial[blockIdx.x] = block;
    __threadfence();
    last = atomicAdd(&arrived, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && threadIdx.x == 0) {
    float all = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) all += partial[i];
    *result = all;
    arrived = 0;
  }
}

#if __CUDA_ARCH__ >= 800

// C = A B with tiles of 64 x 64 x 16, loaded by cp.async into two stages. All extents are multiples of the tile's.
extern "C" __global__ void __launch_bounds__(256) tiled(const float* a, const float* b, float* c, int m, int n, int k) {
  extern __shared__ __align__(16) float stage[]; // [2][64 * 16 of A, 16 * 64 of B]
  int thread = threadIdx.x, row = blockIdx.y * 64, column = blockIdx.x * 64;
  auto load = [&](int at, int s) {
    float* to_a = stage + s * 2048 + thread / 4 * 16 + thread % 4 * 4;
    float* to_b = stage + s * 2048 + 1024 + thread / 16 * 64 + thread % 16 * 4;
    const float* from_a = a + (row + thread / 4) * k + at + thread % 4 * 4;
    const float* from_b = b + (at + thread / 16) * n + column + thread % 16 * 4;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((unsigned)__cvta_generic_to_shared(to_a)),
                 "l"(from_a));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned)__cvta_generic_to_shared(to_b)),
                 "l"(from_b), "r"(16));
    asm volatile("cp.async.commit_group;");
  };
  float sum[4][4] = {};
  load(0, 0);
  for (int at = 0; at < k; at += 16) {
    int s = at / 16 & 1;
    if (at + 16 < k) {
      load(at + 16, s ^ 1);
      asm volatile("cp.async.wait_group 1;");
    } else {
      asm volatile("cp.async.wait_group 0;");
    }
    __syncthreads();
    const float *ta = stage + s * 2048 + thread / 16 * 64, *tb = stage + s * 2048 + 1024 + thread % 16 * 4;
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      float4 y = *reinterpret_cast<const float4*>(tb + i * 64);
      for (int r = 0; r < 4; ++r) {
        float x = ta[r * 16 + i];
        sum[r][0] = fmaf(x, y.x, sum[r][0]), sum[r][1] = fmaf(x, y.y, sum[r][1]);
        sum[r][2] = fmaf(x, y.z, sum[r][2]), sum[r][3] = fmaf(x, y.w, sum[r][3]);
      }
    }
    __syncthreads();
  }
  for (int r = 0; r < 4; ++r)
    *reinterpret_cast<float4*>(c + (row + thread / 16 * 4 + r) * n + column + thread % 16 * 4) =
        make_float4(sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
}

// One warp: C (16 x 8) = A (16 x 16, rows) B (16 x 8, rows) in bf16, with ldmatrix and its transposition.
extern "C" __global__ void multiply_bf16(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) {
  __shared__ __align__(16) __nv_bfloat16 sa[16][16], sb[16][8];
  int lane = threadIdx.x;
  for (int i = lane; i < 256; i += 32) sa[i / 16][i % 16] = a[i];
  for (int i = lane; i < 128; i += 32) sb[i / 8][i % 8] = b[i];
  __syncwarp();
  unsigned x[4], y[2];
  unsigned from_a = (unsigned)__cvta_generic_to_shared(&sa[lane % 16][lane / 16 * 8]);
  unsigned from_b = (unsigned)__cvta_generic_to_shared(&sb[lane % 16][0]);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(from_a));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];" : "=r"(y[0]), "=r"(y[1]) : "r"(from_b));
  float d[4] = {};
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, "
               "%1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
  for (int i = 0; i < 4; ++i) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}

// One warp: C (16 x 8) = A (16 x 8) B (8 x 8) in tf32.
extern "C" __global__ void multiply_tf32(const float* a, const float* b, float* c) {
  int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  auto round = [](float value) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return bits;
  };
  unsigned x[4] = {round(a[g * 8 + t]), round(a[(g + 8) * 8 + t]), round(a[g * 8 + t + 4]),
                   round(a[(g + 8) * 8 + t + 4])};
  unsigned y[2] = {round(b[t * 8 + g]), round(b[(t + 4) * 8 + g])};
  float d[4] = {};
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, "
               "%1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
  for (int i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = d[i];
}

// What a copy brings is not there before the wait: a NaN, the emulator's fresh shared memory.
extern "C" __global__ void early(const float* x, float* y) {
  __shared__ float s[32];
  unsigned to = (unsigned)__cvta_generic_to_shared(s + threadIdx.x);
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(x + threadIdx.x) : "memory");
  asm volatile("cp.async.commit_group;" ::: "memory");
  y[threadIdx.x] = s[threadIdx.x];
  asm volatile("cp.async.wait_group 0;" ::: "memory");
  y[threadIdx.x + 32] = s[threadIdx.x];
}

#endif

// The CUDA mathematical library: y holds 8 results for each x.
extern "C" __global__ void functions(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float* to = y + 8 * i;
  to[0] = expf(x[i]), to[1] = tanhf(x[i]), to[2] = sinf(x[i]), to[3] = logf(fabsf(x[i]));
  to[4] = erff(x[i]), to[5] = powf(fabsf(x[i]), 1.7f), to[6] = 1 / x[i], to[7] = rsqrtf(fabsf(x[i]));
}

struct Integers {
  int64_t quotient, remainder;
  uint64_t high, product;
  int32_t leading, bits, reversed, rotated;
  uint16_t narrow, half, bfloat, byte;
  double root;
};

__device__ __noinline__ int64_t divide(int64_t a, int64_t b) { return a / b; }

extern "C" __global__ void integers(const int64_t* a, const int64_t* b, Integers* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  Integers r;
  r.quotient = divide(a[i], b[i]);
  r.remainder = a[i] % b[i];
  r.high = __umul64hi(a[i], b[i]);
  r.product = (uint64_t)a[i] * b[i];
  r.leading = __clzll(a[i]);
  r.bits = __popc((uint32_t)a[i]);
  r.reversed = __brev((uint32_t)b[i]);
  r.rotated = __funnelshift_l((uint32_t)a[i], (uint32_t)b[i], 7);
  r.narrow = (uint16_t)((uint16_t)a[i] * (uint16_t)b[i]);
  r.half = __half_as_ushort(__float2half((float)a[i] * 1e-15f));
  r.bfloat = __bfloat16_as_ushort(__float2bfloat16((float)a[i]));
  r.byte = (uint16_t)__byte_perm((uint32_t)a[i], (uint32_t)b[i], 0x1736);
  r.root = sqrt((double)(a[i] & 0xffffffff)) / 3;
  out[i] = r;
}

// Lanes diverge by their data, loop different numbers of times, and meet again.
__constant__ int table[5] = {3, 1, 4, 1, 5};
extern "C" __global__ void divergent(const int* x, int* y) {
  int value = x[threadIdx.x], steps = 0, local[8];
  for (int i = 0; i < 8; ++i) local[i] = i * value;
  while (value != 1 && steps < 200) {
    value = value % 2 ? 3 * value + 1 : value / 2;
    ++steps;
  }
  switch (x[threadIdx.x] % 7) {
  case 0:
    steps += table[x[threadIdx.x] % 5];
    break;
  case 1:
    steps ^= 0x55;
    break;
  case 2:
    steps *= 3;
    break;
  case 3:
    steps -= local[x[threadIdx.x] % 8];
    break;
  case 4:
    return;
  default:
    steps = -steps;
  }
  unsigned odd = __ballot_sync(__activemask(), steps & 1);
  y[threadIdx.x] = steps + 1000 * __popc(odd & 0);
  atomicMax(&y[256], steps);
}

// What the lanes of a warp say to each other: 12 words of each lane. Half of the lanes take another way first.
extern "C" __global__ void lanes(const int* x, int* y, unsigned* counters) {
  int lane = threadIdx.x, value = x[lane], *to = y + 12 * lane;
  if (lane & 1) {
    to[0] = __shfl_up_sync(0xaaaaaaaa, value, 2);
    to[1] = __any_sync(0xaaaaaaaa, value > 90);
  } else {
    to[0] = __shfl_down_sync(0x55555555, value, 4);
    to[1] = __all_sync(0x55555555, value < 90);
  }
  to[2] = __shfl_sync(~0u, value, 3, 8);
  to[3] = __shfl_xor_sync(~0u, value, 5, 16);
  to[4] = __shfl_down_sync(~0u, value, 3, 8);
  to[5] = (int)__ballot_sync(~0u, value & 4);
  to[6] = (int)__match_any_sync(~0u, value & 3);
  int equal;
  to[7] = (int)__match_all_sync(~0u, value >> 7, &equal) + equal;
  to[8] = __syncthreads_count(value & 1);
  to[9] = __syncthreads_and(value < 1000) * 2 + __syncthreads_or(value > 98);
#if __CUDA_ARCH__ >= 800
  to[10] = __reduce_max_sync(~0u, value);
#else
  to[10] = 0;
#endif
  __shared__ unsigned shared[4];
  if (lane < 4) shared[lane] = 50;
  __syncthreads();
  atomicMin(&shared[0], value), atomicXor(&shared[1], value), atomicInc(&shared[2], 60), atomicAdd(&shared[3], value);
  atomicAdd(&counters[0], 1u), atomicCAS(&counters[1], 7u, 9u), atomicExch(&counters[2], 5u);
  unsigned long long* wide = (unsigned long long*)(counters + 4);
  atomicAdd(wide, 1ull << 31);
  __syncthreads();
  to[11] = (int)shared[lane & 3];
}

// Faults, one per kernel.
extern "C" __global__ void beyond(float* x, int n) { x[threadIdx.x + n] = 1; }
extern "C" __global__ void misaligned(float* x) { *reinterpret_cast<float2*>(x + 1) = make_float2(1, 2); }
extern "C" __global__ void half_barrier(float* x) {
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __shfl_sync(~0u, x[0], 0);
}
extern "C" __global__ void race(float* x) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  x[threadIdx.x] = s[threadIdx.x ^ 32]; // no barrier
}
