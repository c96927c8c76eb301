// cumulative_sum: out[o][i][j] = sum of in[o][0..i][j], in double precision, reversed from the end, exclusive without
// element i itself. The order of additions follows from the shape alone.
#include "global.cuh"
#include "small.h"

namespace nodevae::cuda {
namespace {

constexpr int kPerThread = 8;                              // elements of a sequence in a row
constexpr int kChunkElements = kBlock * kPerThread;        // staged at once: [time][sequence]
__device__ inline int staged(int i) { return i + i / 32; } // one place in 33 is skipped: fewer conflicts of banks

// What a block works at: 2^log_columns neighbouring sequences, one segment of their length.
struct Strip {
  int64_t outer, first_column, segment, begin, end;
  __device__ explicit Strip(const CumulativeSumParameters& p) {
    const int64_t strip = blockIdx.x / p.segments;
    segment = blockIdx.x - strip * p.segments;
    outer = strip / p.column_blocks;
    first_column = (strip - outer * p.column_blocks) << p.log_columns;
    begin = segment * p.segment_length;
    end = begin + p.segment_length < p.length ? begin + p.segment_length : p.length;
  }
  __device__ int64_t element(const CumulativeSumParameters& p, int64_t time, int64_t column) const {
    return (outer * p.length + (p.reverse != 0 ? p.length - 1 - time : time)) * p.inner + column;
  }
};

// The sum over the earlier threads of the same sequence, by the scan of Hillis and Steele (1986). `sums` has a place
// for every thread; afterwards it holds the sums up to and with each.
__device__ inline double scan_slots(double* sums, double own, int log_columns) {
  const int thread = static_cast<int>(threadIdx.x);
  sums[thread] = own;
  __syncthreads();
  for (int distance = 1 << log_columns; distance < kBlock; distance *= 2) {
    const double before = thread >= distance ? sums[thread - distance] : 0.0;
    __syncthreads();
    own = before + own;
    sums[thread] = own;
    __syncthreads();
  }
  return thread >= 1 << log_columns ? sums[thread - (1 << log_columns)] : 0.0;
}

// Goes through a segment in chunks, from the sum `carry` of what is before it. Returns the sum for the thread's
// sequence with the segment; without Write that is all.
template <bool Write>
__device__ inline double scan_segment(const CumulativeSumParameters& p, const Strip& strip, double carry) {
  double* sums = reinterpret_cast<double*>(shared_memory);
  float* stage = reinterpret_cast<float*>(sums + kBlock);
  const float* in = global<const float>(p.in);
  const int thread = static_cast<int>(threadIdx.x), columns = 1 << p.log_columns;
  const int column = thread & (columns - 1), slot = thread >> p.log_columns;
  const int chunk = kChunkElements >> p.log_columns; // times
  for (int64_t first = strip.begin; first < strip.end; first += chunk) {
    for (int i = thread; i < kChunkElements; i += kBlock) {
      const int64_t time = first + (i >> p.log_columns), at = strip.first_column + (i & (columns - 1));
      stage[staged(i)] = time < strip.end && at < p.inner ? in[strip.element(p, time, at)] : 0.0f;
    }
    __syncthreads();
    double own = 0.0;
    for (int k = 0; k < kPerThread; ++k)
      own += static_cast<double>(stage[staged(((slot * kPerThread + k) << p.log_columns) + column)]);
    double sum = carry + scan_slots(sums, own, p.log_columns);
    carry += sums[kBlock - columns + column];
    if constexpr (Write) {
      for (int k = 0; k < kPerThread; ++k) {
        float& place = stage[staged(((slot * kPerThread + k) << p.log_columns) + column)];
        const double before = sum;
        sum += static_cast<double>(place);
        place = static_cast<float>(p.exclusive != 0 ? before : sum);
      }
      __syncthreads();
      float* out = global<float>(p.out);
      for (int i = thread; i < kChunkElements; i += kBlock) {
        const int64_t time = first + (i >> p.log_columns), at = strip.first_column + (i & (columns - 1));
        if (time < strip.end && at < p.inner) out[strip.element(p, time, at)] = stage[staged(i)];
      }
    }
    __syncthreads();
  }
  return carry;
}

} // namespace

// Short sequences, or very many: one thread each.
extern "C" __global__ void __launch_bounds__(256)
    cumulative_sum_serial(const __grid_constant__ CumulativeSumParameters p) {
  if (stopped(p.halted)) return;
  const int64_t sequence = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  const int64_t outer = sequence / p.inner, first = outer * p.length * p.inner + (sequence - outer * p.inner);
  if (outer >= p.outer) return;
  const float* in = global<const float>(p.in);
  float* out = global<float>(p.out);
  double sum = 0.0;
  for (int64_t i = 0; i < p.length; ++i) {
    const int64_t at = first + (p.reverse != 0 ? p.length - 1 - i : i) * p.inner;
    const double before = sum;
    sum += static_cast<double>(in[at]);
    out[at] = static_cast<float>(p.exclusive != 0 ? before : sum);
  }
}

// The sum of every segment, for segments to start from those before them.
extern "C" __global__ void __launch_bounds__(256)
    cumulative_sum_totals(const __grid_constant__ CumulativeSumParameters p) {
  if (stopped(p.halted)) return;
  const Strip strip(p);
  const double total = scan_segment<false>(p, strip, 0.0);
  const int64_t column = strip.first_column + threadIdx.x;
  if (threadIdx.x < 1u << p.log_columns && column < p.inner)
    global<double>(p.totals)[(strip.outer * p.segments + strip.segment) * p.inner + column] = total;
}

extern "C" __global__ void __launch_bounds__(256) cumulative_sum(const __grid_constant__ CumulativeSumParameters p) {
  if (stopped(p.halted)) return;
  const Strip strip(p);
  const int64_t column = strip.first_column + (threadIdx.x & ((1u << p.log_columns) - 1));
  double carry = 0.0;
  if (column < p.inner)
    for (int64_t segment = 0; segment < strip.segment; ++segment)
      carry += global<const double>(p.totals)[(strip.outer * p.segments + segment) * p.inner + column];
  scan_segment<true>(p, strip, carry);
}

} // namespace nodevae::cuda
