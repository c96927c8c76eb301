// Pooling and upsampling of images [N, H, W, C].
import { VaeError } from "../errors.js";
import { checkOptions } from "./arguments.js";
import { add, multiply } from "./binary.js";
import { convolutionAxes, type PaddingOption, type Pair, pairOf, type WindowAxis, windowAxes } from "./convolution-geometry.js";
import { constantTensor, toTensor } from "./leaves.js";
import { broadcastTo, concatenate, pad, reshapeTensor, slice, transpose } from "./movement.js";
import { max, sum } from "./reduce.js";
import { calledBy, checkWhole, distinct, type OpCase, real } from "./table.js";
import { type Shape, showShape, type Tensor, type TensorLike, tableOf } from "./tensor.js";
import { unfold } from "./windows.js";

/** How pooling windows lie. */
export interface PoolOptions {
  /** Step from window to window. Default: the window's size, so that they lie side by side. */
  readonly stride?: number | Pair | undefined;
  /** As in {@link PaddingOption}; what is added takes no part in the maximum or the average. Default `"valid"`. */
  readonly padding?: PaddingOption | undefined;
}

function imageOf(operation: string, x: TensorLike): Tensor {
  const images = toTensor(operation, x);
  if (images.shape.length === 4) return images;
  const { shape } = images;
  const hint = shape.length === 3 ? `reshape to ${showShape([...shape, 1])} or ${showShape([1, ...shape])}` : "reshape first";
  throw new VaeError({ code: "shape", operation, expected: "images [N, H, W, C]", received: showShape(shape), hint });
}

/**
 * The windows of a pool over images [height, width, channels].
 *
 * @param shown the images as the caller knows them, for messages
 */
export function poolAxes(
  operation: string,
  [height, width, channels]: readonly [number, number, number],
  size: number | Pair,
  { stride = size, padding = "valid" }: PoolOptions,
  shown: string,
): readonly WindowAxis[] {
  const kernel = pairOf(operation, "the window", size);
  const steps = pairOf(operation, "stride", stride);
  const windows = steps.every((step, i) => step === kernel[i]) ? windowAxes : convolutionAxes;
  const axes = windows(operation, [height, width], kernel, { stride: steps, padding }, channels, shown);
  for (const { name, kernel, before, after } of axes) {
    if (before < kernel && after < kernel) continue;
    throw new VaeError({
      code: "shape",
      operation,
      problem: `padding of ${before} and ${after} along the ${name} makes windows of ${kernel} that see no pixel; received ${shown}`,
      hint: `the nearest valid choice is padding of at most ${kernel - 1} on a side`,
    });
  }
  return axes;
}

function windowsOver(operation: string, images: Tensor, size: number | Pair, options: PoolOptions): readonly [WindowAxis, WindowAxis] {
  checkOptions(operation, options, ["stride", "padding"]);
  const [, ...image] = images.shape as readonly [number, number, number, number];
  return poolAxes(operation, image, size, options, `images ${showShape(images.shape)}`) as readonly [WindowAxis, WindowAxis];
}

/** The windows of images framed by a value, [N, OH, OW, kh, kw, C]. */
function windowsOf(images: Tensor, [height, width]: readonly [WindowAxis, WindowAxis], fill: number): Tensor {
  const margins = [height, width].map(({ before, after }) => [before, after] as const);
  const framed = margins.flat().some((amount) => amount > 0) ? pad(images, [[0, 0], ...margins, [0, 0]], fill) : images;
  if (height.stride !== height.kernel || width.stride !== width.kernel) {
    return unfold(framed, { kernelSize: [height.kernel, width.kernel], stride: [height.stride, width.stride] });
  }
  // Side by side, every pixel is in one window at most: the derivative has nothing to sum.
  const [batch, , , channels] = images.shape as readonly [number, number, number, number];
  const covered = [batch, height.output * height.kernel, width.output * width.kernel, channels];
  const whole = covered.every((size, axis) => size === framed.shape[axis]) ? framed : slice(framed, [0, 0, 0, 0], covered);
  const split = reshapeTensor(whole, [batch, height.output, height.kernel, width.output, width.kernel, channels]);
  return transpose(split, [0, 1, 3, 2, 4, 5]);
}

/**
 * The largest pixel of each window, channel by channel: [N, H, W, C] to [N, OH, OW, C]. Pixels that tie share the gradient.
 *
 * @param size the window's, one number or [height, width]
 * @example
 * ```ts
 * poolMax2d(x, 2);                                   // [64, 28, 28, 8] to [64, 14, 14, 8]
 * poolMax2d(x, 3, { stride: 2, padding: "same" });
 * ```
 */
export function poolMax2d(x: TensorLike, size: number | Pair, options?: PoolOptions): Tensor;
export function poolMax2d(x: TensorLike, size: number | Pair, options: PoolOptions = {}, ...surplus: unknown[]): Tensor {
  return calledBy(poolMax2d, surplus, () => {
    const images = imageOf("maxPool2d", x);
    const axes = windowsOver("maxPool2d", images, size, options);
    return max(windowsOf(images, axes, -Infinity), { axes: [3, 4] });
  });
}

/** The number of pixels, padding left out, in each window along an axis. */
function pixelCounts({ size, kernel, stride, before, output }: WindowAxis): number[] {
  return tableOf("averagePool2d", "the sizes of its windows along an axis", output, (o) => {
    const first = o * stride - before;
    return Math.min(first + kernel, size) - Math.max(first, 0);
  });
}

/**
 * The average of each window's pixels, channel by channel, as {@link poolMax2d}. Padding does not count: at the border it is the
 * average of the pixels that are there.
 */
export function poolAverage2d(x: TensorLike, size: number | Pair, options?: PoolOptions): Tensor;
export function poolAverage2d(x: TensorLike, size: number | Pair, options: PoolOptions = {}, ...surplus: unknown[]): Tensor {
  return calledBy(poolAverage2d, surplus, () => {
    const images = imageOf("averagePool2d", x);
    const [height, width] = windowsOver("averagePool2d", images, size, options);
    const total = sum(windowsOf(images, [height, width], 0), { axes: [3, 4] });
    const [rows, columns] = [pixelCounts(height), pixelCounts(width)];
    const shares = rows.flatMap((row) => columns.map((column) => 1 / (row * column)));
    const uniform = shares.every((share) => share === shares[0]);
    return multiply(total, uniform ? shares[0]! : constantTensor({ data: shares, shape: [height.output, width.output, 1] }));
  });
}

function factorsOf(operation: string, factor: number | Pair): Pair {
  const factors = pairOf(operation, "the factor", factor);
  for (const value of factors) checkWhole(operation, "the factor", value, 1);
  return factors;
}

/**
 * Every pixel repeated: [N, H, W, C] to [N, H · factor, W · factor, C].
 *
 * @param factor one whole number or [vertical, horizontal]
 */
export function upsampleNearest2d(x: TensorLike, factor: number | Pair): Tensor;
export function upsampleNearest2d(x: TensorLike, factor: number | Pair, ...surplus: unknown[]): Tensor {
  return calledBy(upsampleNearest2d, surplus, () => {
    const images = imageOf("upsampleNearest2d", x);
    const [down, across] = factorsOf("upsampleNearest2d", factor);
    const [batch, height, width, channels] = images.shape as readonly [number, number, number, number];
    const spaced = reshapeTensor(images, [batch, height, 1, width, 1, channels]);
    return reshapeTensor(broadcastTo(spaced, [batch, height, down, width, across, channels]), [
      batch,
      height * down,
      width * across,
      channels,
    ]);
  });
}

/** x moved by one place along an axis, the border repeated: element i is x[i + offset]. */
function neighbours(x: Tensor, axis: number, offset: 1 | -1): Tensor {
  const size = x.shape[axis]!;
  if (size === 1) return x;
  const part = (from: number, to: number) =>
    slice(
      x,
      x.shape.map((_, i) => (i === axis ? from : 0)),
      x.shape.map((dimension, i) => (i === axis ? to : dimension)),
    );
  return concatenate(offset === 1 ? [part(1, size), part(size - 1, size)] : [part(0, 1), part(0, size - 1)], axis);
}

/**
 * Linear interpolation along an axis. Place i·factor + p of the result lies at i + t of x, t = (p + ½) / factor − ½: between x[i]
 * and x[i + 1] for t > 0, between x[i − 1] and x[i] for t < 0.
 */
function interpolated(x: Tensor, axis: number, factor: number): Tensor {
  if (factor === 1) return x;
  const offsets = tableOf("upsampleBilinear2d", "a table of weights", factor, (p) => (p + 0.5) / factor - 0.5);
  const inner = x.shape.slice(axis + 1);
  const part = (source: Tensor, weight: (t: number) => number) => {
    const weights = constantTensor({ data: offsets.map(weight), shape: [factor, ...inner.map(() => 1)] });
    return multiply(reshapeTensor(source, [...x.shape.slice(0, axis + 1), 1, ...inner]), weights);
  };
  const own = part(x, (t) => 1 - Math.abs(t));
  const previous = part(neighbours(x, axis, -1), (t) => Math.max(-t, 0));
  const next = part(neighbours(x, axis, 1), (t) => Math.max(t, 0));
  const shape: Shape = x.shape.map((dimension, i) => (i === axis ? dimension * factor : dimension));
  return reshapeTensor(add(own, add(previous, next)), shape);
}

/**
 * Bilinear interpolation by whole factors: [N, H, W, C] to [N, H · factor, W · factor, C]. Pixels are areas, not points
 * (half-pixel centres, `align_corners` false), and the border is repeated outwards.
 *
 * @param factor one whole number or [vertical, horizontal]
 */
export function upsampleBilinear2d(x: TensorLike, factor: number | Pair): Tensor;
export function upsampleBilinear2d(x: TensorLike, factor: number | Pair, ...surplus: unknown[]): Tensor {
  return calledBy(upsampleBilinear2d, surplus, () => {
    const images = imageOf("upsampleBilinear2d", x);
    const [down, across] = factorsOf("upsampleBilinear2d", factor);
    return interpolated(interpolated(images, 1, down), 2, across);
  });
}

function poolCases(pool: typeof poolMax2d, samples: (shape: Shape) => ReturnType<typeof real>): OpCase[] {
  const sample = (name: string, shape: Shape, size: number | Pair, options: PoolOptions = {}, large = false): OpCase => ({
    name,
    inputs: [samples(shape)],
    build: (x) => pool(x!, size, options),
    large,
    // Many values come too close to each other for finite differences of a maximum.
    gradient: !(large && pool === poolMax2d),
  });
  return [
    sample("side by side", [2, 4, 6, 2], 2),
    sample("side by side, ragged", [1, 5, 7, 3], [2, 3]),
    sample("side by side, same", [1, 5, 5, 2], 2, { padding: "same" }),
    sample("overlapping", [1, 5, 6, 2], 3, { stride: 1 }),
    sample("overlapping, same", [1, 6, 7, 2], 3, { stride: 2, padding: "same" }),
    sample("overlapping, padding 1", [2, 5, 5, 1], 3, { stride: [2, 1], padding: 1 }),
    sample("gaps", [1, 7, 7, 1], 2, { stride: 3 }),
    sample("whole image", [2, 3, 4, 3], [3, 4]),
    sample("one pixel", [1, 3, 3, 2], 1, { stride: 2 }),
    sample("large", [2, 28, 28, 20], 2, {}, true),
    sample("large overlapping", [2, 27, 27, 7], 3, { stride: 2, padding: "same" }, true),
  ];
}

function upsampleCases(upsample: typeof upsampleNearest2d): OpCase[] {
  const sample = (name: string, shape: Shape, factor: number | Pair, large = false): OpCase => ({
    name,
    inputs: [real(shape)],
    build: (x) => upsample(x!, factor),
    large,
  });
  return [
    sample("twice", [2, 2, 3, 2], 2),
    sample("three times", [1, 3, 2, 1], 3),
    sample("by axis", [1, 2, 3, 3], [4, 1]),
    sample("one pixel", [2, 1, 1, 3], [2, 3]),
    sample("large", [2, 14, 15, 20], 2, true),
  ];
}

export const poolingCases: Readonly<Record<string, readonly OpCase[]>> = {
  max_pool2d: poolCases(poolMax2d, (shape) => distinct(shape)),
  average_pool2d: poolCases(poolAverage2d, (shape) => real(shape)),
  upsample_nearest2d: upsampleCases(upsampleNearest2d),
  upsample_bilinear2d: upsampleCases(upsampleBilinear2d),
};
