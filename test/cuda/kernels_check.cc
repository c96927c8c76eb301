// Checks the CUDA kernels that run no program against the CPU's (see kernel_case.h).
// Usage: kernels_check [part of a name]; the driver is the system's, or the one that NODE_VAE_CUDA_DRIVER names.
#include "kernel_case.h"

using namespace nodevae;
using namespace nodevae::cuda;

namespace {

void check_gather(Gpu& gpu) {
  const auto run = [&](DType dtype, int64_t rows, int64_t count, int64_t columns, int64_t pad, int64_t column_stride,
                       int64_t shift, int bad) {
    Case c(KernelId::gather, {1, count, columns},
           {static_cast<int32_t>(rows), static_cast<int32_t>(columns * column_stride + pad)},
           text("%lld of %lld rows, %lld columns", count, rows, columns) +
               text(", dtype %lld, stride %lld, shift %lld, %lld bad", static_cast<int64_t>(dtype), column_stride,
                    shift, bad));
    c.operand(dtype, rows * (columns * column_stride + pad), 0, column_stride, shift);
    Buffer& indices = c.operand(DType::int32, count, 1, 0);
    for (int64_t i = 0; i < count; ++i) indices.ints()[i] = static_cast<int32_t>(pick(0, rows - 1));
    for (int i = 0; i < bad; ++i)
      indices.ints()[pick(0, count - 1)] = static_cast<int32_t>(pick(0, 1) ? rows + pick(0, 9) : -1 - pick(0, 9));
    c.operand(dtype, count * columns, columns, 1, shift);
    check(gpu, c);
  };
  for (DType dtype : {DType::uint8, DType::float32, DType::int32}) {
    run(dtype, 50, 64, 784, 0, 1, 0, 0);
    run(dtype, 9, 3, 3072, 0, 1, 0, 0);
    run(dtype, 5, 2, 5003, 5, 1, 0, 0);
    run(dtype, 40, 33, 10, 2, 1, 0, 0);
    run(dtype, 40, 300, 1, 0, 1, 0, 0);
    run(dtype, 40, 12, 8, 0, 1, 0, 0);
    run(dtype, 40, 12, 24, 0, 1, 1, 0);
    run(dtype, 40, 12, 7, 3, 2, 0, 0);
    run(dtype, 1, 1, 1, 0, 1, 0, 0);
    run(dtype, 40, 500, 16, 0, 1, 0, 1);
    run(dtype, 40, 500, 16, 0, 1, 0, 20);
    run(dtype, 4, 7, 4000, 0, 1, 0, 3);
  }
}

void check_scatter_add(Gpu& gpu) {
  const auto run = [&](int64_t rows, int64_t count, int64_t columns, int64_t pad, int64_t update_stride, int bad) {
    Case c(KernelId::scatter_add, {1, count, columns}, {static_cast<int32_t>(rows)},
           text("%lld updates of %lld rows, %lld columns, %lld bad", count, rows, columns, bad) +
               text(", pad %lld, stride %lld", pad, update_stride));
    c.operand(DType::float32, count * columns * update_stride, columns * update_stride, update_stride);
    Buffer& indices = c.operand(DType::int32, count, 1, 0);
    for (int64_t i = 0; i < count; ++i) indices.ints()[i] = static_cast<int32_t>(pick(0, rows - 1));
    for (int i = 0; i < bad; ++i)
      indices.ints()[pick(0, count - 1)] = static_cast<int32_t>(pick(0, 1) ? rows + pick(0, 9) : -1 - pick(0, 9));
    c.operand(DType::float32, rows * (columns + pad), columns + pad, 1);
    check(gpu, c);
  };
  run(10, 100, 1, 0, 1, 0);
  run(30, 1500, 7, 0, 1, 0);
  run(1, 9, 5, 0, 1, 0);
  run(17, 40, 33, 3, 2, 0);
  run(30, 1500, 2, 0, 1, 1);
  run(30, 1500, 2, 0, 1, 9);
  // Sorted: more than 8192 updates.
  run(100, 8200, 3, 0, 1, 0);
  run(3000, 9000, 1, 2, 1, 0);
  run(7, 8193, 40, 0, 1, 0);
  run(200, 8200, 5, 1, 2, 3);
}

void check_random(Gpu& gpu) {
  for (KernelId kernel : {KernelId::random_uniform, KernelId::random_normal})
    for (int64_t count : {1, 2, 3, 4, 1023, 4096, 5001}) {
      for (int64_t shift : {0, 1}) {
        Case c(kernel, {1, 1, count}, {static_cast<int32_t>(pick(0, 1 << 30))}, text("%lld, shift %lld", count, shift));
        c.dense(DType::float32, shift);
        c.seed = generator() | static_cast<uint64_t>(generator()) << 32;
        c.counter = count % 2 ? generator() : generator() | static_cast<uint64_t>(generator()) << 32;
        check(gpu, c);
      }
    }
}

void check_shuffled_indices(Gpu& gpu) {
  for (int64_t rows : {1, 2, 3, 10, 1000, 70000})
    for (int64_t batch : {1, 7, 300})
      for (int shuffle : {0, 1}) {
        Case c(KernelId::shuffled_indices, {1, 1, batch}, {static_cast<int32_t>(rows), shuffle, 11},
               text("%lld of %lld, shuffle %lld", batch, rows, shuffle));
        c.dense(DType::int32);
        c.counter = static_cast<uint64_t>(pick(0, 1 << 20));
        check(gpu, c);
      }
}

void check_step_index(Gpu& gpu) {
  for (uint64_t counter : {uint64_t{0}, uint64_t{16777217}, (uint64_t{1} << 53) + 1}) {
    Case c(KernelId::step_index, {1, 1, 1}, {}, text("%lld", static_cast<int64_t>(counter)));
    c.dense();
    c.counter = counter;
    check(gpu, c);
  }
}

void check_fold(Gpu& gpu) {
  struct Shape {
    int32_t images, height, width, channels, kernel_height, kernel_width, stride_height, stride_width, pad_top,
        pad_left, dilation_height, dilation_width;
  };
  for (const Shape& s : {Shape{2, 6, 7, 3, 3, 2, 1, 2, 1, 0, 1, 1}, Shape{1, 9, 9, 4, 3, 3, 2, 2, 1, 1, 2, 1},
                         Shape{3, 5, 5, 1, 5, 5, 3, 1, 2, 4, 1, 2}, Shape{1, 4, 4, 2, 1, 1, 5, 3, 0, 0, 1, 1},
                         Shape{2, 12, 11, 6, 2, 4, 2, 3, 0, 2, 3, 2}, Shape{40, 8, 8, 8, 4, 4, 2, 2, 1, 1, 1, 1}}) {
    const auto windows = [](int32_t in, int32_t kernel, int32_t stride, int32_t pad, int32_t dilation) {
      return std::max(1, (in + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1);
    };
    const int32_t out_height = windows(s.height, s.kernel_height, s.stride_height, s.pad_top, s.dilation_height);
    const int32_t out_width = windows(s.width, s.kernel_width, s.stride_width, s.pad_left, s.dilation_width);
    Case c(KernelId::fold, {s.images, s.height * s.width, s.channels},
           {s.images, s.height, s.width, s.channels, out_height, out_width, s.channels, s.kernel_height, s.kernel_width,
            s.stride_height, s.stride_width, s.pad_top, s.pad_left, s.dilation_height, s.dilation_width, 1},
           text("%lld images %lld x %lld x %lld", s.images, s.height, s.width, s.channels));
    c.operand(DType::float32,
              int64_t{s.images} * out_height * out_width * s.kernel_height * s.kernel_width * s.channels, 0, 1);
    c.dense();
    check(gpu, c);
  }
}

void check_cumulative_sum(Gpu& gpu) {
  const auto run = [&](int64_t outer, int64_t length, int64_t inner) {
    for (int32_t reverse : {0, 1})
      for (int32_t exclusive : {0, 1}) {
        Case c(KernelId::cumulative_sum, {outer, length, inner}, {reverse, exclusive},
               text("%lld x %lld x %lld", outer, length, inner) +
                   text(", reverse %lld, exclusive %lld", reverse, exclusive));
        c.dense();
        c.dense();
        check(gpu, c, 1e-7);
      }
  };
  run(3, 10, 5);
  run(1, 1, 1);
  run(2, 33, 1);
  run(3, 100, 4);
  run(2, 300, 45);
  run(1, 5000, 1);
  run(1, 40000, 1); // segments
  run(2, 3000, 20);
}

void check_sort(Gpu& gpu) {
  for (int64_t columns : {1, 2, 3, 10, 64, 700, 4096, 4097, 9000})
    for (int32_t descending : {0, 1})
      for (int32_t positions : {0, 1}) {
        const int64_t rows = columns < 20 ? 90 : 3;
        Case c(KernelId::sort, {1, rows, columns}, {descending, positions},
               text("%lld x %lld, descending %lld, positions %lld", rows, columns, descending, positions));
        Buffer& in = c.dense();
        const float odd[] = {0.0f, -0.0f, NAN, -NAN, INFINITY, -INFINITY, 1.0f, 1e-42f, -1e-42f};
        for (int64_t i = 0; i < in.elements; ++i)
          if (pick(0, 2) == 0) in.floats()[i] = odd[pick(0, 8)];
        c.dense(positions ? DType::int32 : DType::float32);
        check(gpu, c);
      }
}

void check_linear_algebra(Gpu& gpu) {
  for (int64_t n : {1, 2, 5, 40, 154, 155, 156, 270}) {
    const int64_t batch = n > 100 ? 2 : 4;
    Case c(KernelId::cholesky, {batch, n, n}, {}, text("%lld of %lld x %lld", batch, n, n));
    Buffer& in = c.dense();
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t i = 0; i < n; ++i) in.floats()[(b * n + i) * n + i] += static_cast<float>(n) + 3;
    in.floats()[((batch - 1) * n + n - 1) * n + n - 1] = batch == 4 ? -1.0f : NAN; // the last one has no factor
    c.dense();
    check(gpu, c);
  }
  const auto run = [&](int64_t batch, int64_t n, int64_t m) {
    for (int32_t transpose : {0, 1}) {
      Case c(KernelId::triangular_solve, {batch, n, m}, {transpose},
             text("%lld of %lld x %lld, transpose %lld", batch, n, m, transpose));
      Buffer& l = c.operand(DType::float32, batch * n * n, n, 1);
      for (int64_t i = 0; i < batch * n * n; ++i) l.floats()[i] *= 0.3f;
      for (int64_t i = 0; i < batch * n; ++i) l.floats()[i * n + i % n] += 4.0f;
      c.dense();
      c.dense();
      check(gpu, c);
    }
  };
  run(3, 1, 1);
  run(5, 4, 3);
  run(2, 40, 70);
  run(1, 300, 1);
  run(1, 190, 35);
  run(1, 6200, 1); // sums in scratch
}

} // namespace

int main(int count, char** arguments) try {
  if (count > 1) filter = arguments[1];
  tier = cpu_tier();
  if (tier == "portable") std::puts("note: the portable tier rounds products, so that normals differ from a GPU's");
  Gpu gpu;
  check_gather(gpu);
  check_scatter_add(gpu);
  check_random(gpu);
  check_shuffled_indices(gpu);
  check_step_index(gpu);
  check_fold(gpu);
  check_cumulative_sum(gpu);
  check_sort(gpu);
  check_linear_algebra(gpu);
  std::printf("%d checks against tier %s, %d failures\n", checks, tier.c_str(), failures);
  return failures == 0 && checks > 0 ? 0 : 1;
} catch (const std::exception& error) {
  std::printf("%s\n", error.what());
  return 1;
}
