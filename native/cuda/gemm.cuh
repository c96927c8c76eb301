// The main loop of products: a block of 256 threads computes one tile of C(m, n) = sum over k of A(m, k) B(k, n), for k
// in [k_begin, k_end), in ascending groups of k whatever the tile.
//
// Where the elements come from is a loader's business, so that strided matrices and the implicit matrices of
// convolutions share all of this. A loader is small, copied by value, and has
//
//   struct Line;                     what is prepared once for each line (row of A, column of B) that a thread copies
//   struct Depth;                    what is prepared for each k that a thread copies, for all of its lines
//   Line line(int index) const;      `index` may lie beyond the last line: all of its addresses are null then
//   Depth depth(int k) const;        k_begin <= k < k_end
//   const float* address(const Line&, const Depth&) const;   null: the element is zero
//   Copy copy() const;               the same for the whole grid; see gemm.h. Copy::vector needs k_begin and k_end
//                                    to be multiples of 4 where the layout is by_line
#pragma once

#include "gemm.h"
#include "program_arguments.h"

namespace nodevae::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
constexpr bool kAsynchronous = true;
#else
constexpr bool kAsynchronous = false;
#endif

// Copies 4 or 16 bytes to shared memory behind the thread's back; zeros where `from` is null.
template <int Bytes> __device__ __forceinline__ void copy_async(float* to, const float* from) {
  const uint32_t shared = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  const int present = from != nullptr ? Bytes : 0;
  if constexpr (Bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from), "r"(present) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared), "l"(from), "r"(present) : "memory");
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Pending> __device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// A tile of Lines x Depth elements of one operand in shared memory, and the thread's share of filling it.
//
// by_depth tiles of tensor kernels are permuted: the line's bits 3 and 4 are exclusive-ored with bits 2 and 3 of k. The
// threads of a warp that read 8 lines at ks 0, 4, 8 and 12 (see gemm_tensor.cuh) then find them in 32 different banks,
// and groups of 4 lines stay together. by_line tiles are [k / 16][line][16].
template <int Lines, int Depth, Layout L, bool Tensor, class Loader> class OperandTile {
public:
  static constexpr Layout kLayout = L;
  static constexpr int kStride = Lines + tile_pad(Tensor); // by_depth
  static constexpr int kFloats = L == Layout::by_depth ? Depth * kStride : Depth * Lines;

  __device__ static int offset(int line, int k) {
    if constexpr (L == Layout::by_line) return (k / 16 * Lines + line) * 16 + k % 16;
    if constexpr (Tensor) line ^= (k >> 2 & 3) << 3;
    return k * kStride + line;
  }

  // offset() of line first_line + 8 group + lane / 4 and k first_k + 4 (lane % 4), in two steps: what the thread keeps,
  // and what costs an instruction at most. first_line is a multiple of 16, or of 32 where groups go beyond 1.
  __device__ static int fragment_base(int first_line) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    return offset(first_line + lane / 4, lane % 4 * 4);
  }
  __device__ static constexpr int fragment_offset(int base, int group, int first_k) {
    if (L == Layout::by_line) return base + (first_k * Lines + group * 8 * 16);
    return (base ^ group % 4 * 8) + (group / 4 * 32 + first_k * kStride);
  }

  __device__ OperandTile(const Loader& loader, int first_line) : loader_(loader), copy_(loader.copy()) {
    const int thread = static_cast<int>(threadIdx.x);
    if (copy_ == Copy::vector)
      prepare<Vector>(first_line, thread);
    else if (L == Layout::by_line || copy_ == Copy::along_depth)
      prepare<AlongDepth>(first_line, thread);
    else if constexpr (L == Layout::by_depth)
      prepare<AlongLines>(first_line, thread);
  }

  // The thread's number, which the compiler must not see through: it would keep every address of every kind of copy in
  // registers during the main loop, which needs these more.
  __device__ static int opaque_thread() {
    int thread = static_cast<int>(threadIdx.x);
    asm volatile("" : "+r"(thread));
    __builtin_assume(thread >= 0 && thread < kBlockThreads);
    return thread;
  }

  // Starts copying the ks from `k` on. The tile has them after put() and, if asynchronous, the copies' completion.
  __device__ void fetch(int k, int k_end, float* tile) {
    const int thread = opaque_thread();
    if (copy_ == Copy::vector)
      fetch_as<Vector>(k, k_end, tile, thread);
    else if (L == Layout::by_line || copy_ == Copy::along_depth)
      fetch_as<AlongDepth>(k, k_end, tile, thread);
    else if constexpr (L == Layout::by_depth)
      fetch_as<AlongLines>(k, k_end, tile, thread);
  }

  __device__ void put(float* tile) const {
    if constexpr (kAsynchronous) return;
    const int thread = opaque_thread();
    if (copy_ == Copy::vector)
      put_as<Vector>(tile, thread);
    else if (L == Layout::by_line || copy_ == Copy::along_depth)
      put_as<AlongDepth>(tile, thread);
    else if constexpr (L == Layout::by_depth)
      put_as<AlongLines>(tile, thread);
  }

private:
  // Which elements a thread copies: kLines x kDepths of them (or groups of 4), at line(thread, i), k(thread, j).
  // kActive threads take part.
  struct Vector {
    static constexpr int kPerRound = L == Layout::by_line ? Depth / 4 : Lines / 4; // groups along the vector dimension
    static constexpr int kOther = kBlockThreads / kPerRound;                       // of the other one, in one round
    static constexpr int kOthers = L == Layout::by_line ? Lines : Depth;
    static constexpr int kRounds = kOthers > kOther ? kOthers / kOther : 1;
    static constexpr int kActive = kOthers > kOther ? kBlockThreads : kOthers* kPerRound;
    static constexpr int kLines = L == Layout::by_line ? kRounds : 1;
    static constexpr int kDepths = L == Layout::by_line ? 1 : kRounds;
    static constexpr int kWidth = 4;
    __device__ static int line(int thread, int i) {
      return L == Layout::by_line ? thread / kPerRound + i * kOther : thread % kPerRound * 4;
    }
    __device__ static int k(int thread, int j) {
      return L == Layout::by_line ? thread % kPerRound * 4 : thread / kPerRound + j * kOther;
    }
  };
  struct AlongDepth {
    // 8 ks x 4 lines per warp: whole sectors of memory, and no bank conflicts where lines are neighbours padded by 4.
    static constexpr int kPerRound = 8;
    static constexpr int kOther = kBlockThreads / kPerRound;
    static constexpr int kActive = kBlockThreads;
    static constexpr int kLines = Lines / kOther;
    static constexpr int kDepths = Depth / kPerRound;
    static constexpr int kWidth = 1;
    __device__ static int line(int thread, int i) { return thread / kPerRound + i * kOther; }
    __device__ static int k(int thread, int j) { return thread % kPerRound + j * kPerRound; }
  };
  struct AlongLines {
    static constexpr int kOther = kBlockThreads / Lines;
    static constexpr int kActive = kBlockThreads;
    static constexpr int kLines = 1;
    static constexpr int kDepths = Depth / kOther;
    static constexpr int kWidth = 1;
    __device__ static int line(int thread, int) { return thread % Lines; }
    __device__ static int k(int thread, int j) { return thread / Lines + j * kOther; }
  };
  static constexpr int kMaxLines = Vector::kLines > AlongDepth::kLines ? Vector::kLines : AlongDepth::kLines;
  static constexpr int kHeld = kAsynchronous                       ? 1
                               : Lines * Depth / kBlockThreads < 4 ? 4
                                                                   : Lines * Depth / kBlockThreads;
  static_assert(Lines % 32 == 0 && Lines <= kBlockThreads && Depth % 8 == 0 &&
                (L == Layout::by_depth || Depth % 16 == 0));

  template <class Share> __device__ void prepare(int first_line, int thread) {
#pragma unroll
    for (int i = 0; i < Share::kLines; ++i) lines_[i] = loader_.line(first_line + Share::line(thread, i));
  }

  template <class Share> __device__ void fetch_as(int k, int k_end, float* tile, int thread) {
    if (Share::kActive < kBlockThreads && thread >= Share::kActive) return;
    // Where values wait in registers, their places must be known. Elsewhere, addresses of one k at a time take fewer.
    constexpr int kUnroll = kAsynchronous && Share::kWidth == 1 ? 1 : Share::kDepths;
#pragma unroll kUnroll
    for (int j = 0; j < Share::kDepths; ++j) {
      const int at = k + Share::k(thread, j);
      const bool present = at < k_end;
      typename Loader::Depth depth;
      if (present) depth = loader_.depth(at);
#pragma unroll
      for (int i = 0; i < Share::kLines; ++i) {
        const float* from = present ? loader_.address(lines_[i], depth) : nullptr;
        if constexpr (kAsynchronous) {
          copy_async<4 * Share::kWidth>(tile + offset(Share::line(thread, i), Share::k(thread, j)), from);
        } else {
          float* held = held_ + (j * Share::kLines + i) * Share::kWidth;
          if constexpr (Share::kWidth == 4) {
            const float4 v = from != nullptr ? *reinterpret_cast<const float4*>(from) : make_float4(0, 0, 0, 0);
            held[0] = v.x, held[1] = v.y, held[2] = v.z, held[3] = v.w;
          } else {
            held[0] = from != nullptr ? *from : 0;
          }
        }
      }
    }
  }

  template <class Share> __device__ void put_as(float* tile, int thread) const {
    if (Share::kActive < kBlockThreads && thread >= Share::kActive) return;
#pragma unroll
    for (int j = 0; j < Share::kDepths; ++j)
#pragma unroll
      for (int i = 0; i < Share::kLines; ++i) {
        const float* held = held_ + (j * Share::kLines + i) * Share::kWidth;
        float* to = tile + offset(Share::line(thread, i), Share::k(thread, j));
        if constexpr (Share::kWidth == 4)
          *reinterpret_cast<float4*>(to) = make_float4(held[0], held[1], held[2], held[3]);
        else
          *to = held[0];
      }
  }

  Loader loader_;
  Copy copy_;
  typename Loader::Line lines_[kMaxLines];
  float held_[kHeld]; // the next stage, where copies are not asynchronous
};

// Runs `multiply(tile of A, tile of B)` over all stages of k. Ends with the shared memory free for other uses.
template <int Stages, int Depth, class TileA, class TileB, class Multiply>
__device__ void run_pipeline(TileA& a, TileB& b, int k_begin, int k_end, float* shared, const Multiply& multiply) {
  constexpr int kStage = TileA::kFloats + TileB::kFloats;
  const auto fetch = [&](int k, int stage) {
    float* tile = shared + stage * kStage;
    a.fetch(k, k_end, tile);
    b.fetch(k, k_end, tile + TileA::kFloats);
  };
  if constexpr (kAsynchronous) {
    constexpr int kAhead = (Stages - 1) * Depth;
#pragma unroll 1
    for (int stage = 0; stage < Stages - 1; ++stage) {
      if (k_begin + stage * Depth < k_end) fetch(k_begin + stage * Depth, stage);
      commit_copies();
    }
    int stage = 0, free_stage = Stages - 1;
    for (int k = k_begin; k < k_end; k += Depth) {
      wait_for_copies<Stages - 2>();
      __syncthreads(); // the stage has arrived for all threads, and all have read the one that is filled next
      if (k + kAhead < k_end) fetch(k + kAhead, free_stage);
      commit_copies();
      multiply(shared + stage * kStage, shared + stage * kStage + TileA::kFloats);
      free_stage = stage;
      stage = stage + 1 == Stages ? 0 : stage + 1;
    }
    wait_for_copies<0>();
  } else {
    const auto put = [&](int stage) {
      a.put(shared + stage * kStage);
      b.put(shared + stage * kStage + TileA::kFloats);
    };
    if (k_begin < k_end) fetch(k_begin, 0), put(0);
    __syncthreads();
    int stage = 0;
    for (int k = k_begin; k < k_end; k += Depth) {
      const bool more = k + Depth < k_end;
      if (more) fetch(k + Depth, 0);
      multiply(shared + stage * kStage, shared + stage * kStage + TileA::kFloats);
      stage ^= 1;
      if (more) put(stage);
      __syncthreads();
    }
  }
  __syncthreads();
}

} // namespace nodevae::cuda
