import { VaeError } from "../errors.js";
import { add, equal, less, lessEqual, multiply, subtract, where } from "./binary.js";
import { stopGradient } from "./identity.js";
import { toTensor } from "./leaves.js";
import { reshapeTensor } from "./movement.js";
import { max, type ReduceOptions, reduceCases, reducedAxes, sum } from "./reduce.js";
import { keepingAxes } from "./shape.js";
import { calledBy, composed, distinct, integers, type OpCase, real } from "./table.js";
import { sizeOf, type Tensor, type TensorLike } from "./tensor.js";
import { exp, finiteMask, log, reciprocal, square } from "./unary.js";

/** a > b as float32 1 or 0, and so on. */
export function greater(a: TensorLike, b: TensorLike): Tensor;
export function greater(a: TensorLike, b: TensorLike, ...surplus: unknown[]): Tensor {
  return composed(greater, surplus, () => less(b, a));
}

/** 1 where a ≥ b, else 0. */
export function greaterEqual(a: TensorLike, b: TensorLike): Tensor;
export function greaterEqual(a: TensorLike, b: TensorLike, ...surplus: unknown[]): Tensor {
  return composed(greaterEqual, surplus, () => lessEqual(b, a));
}

/** 1 where a ≠ b, else 0. */
export function notEqual(a: TensorLike, b: TensorLike): Tensor;
export function notEqual(a: TensorLike, b: TensorLike, ...surplus: unknown[]): Tensor {
  return composed(notEqual, surplus, () => subtract(1, equal(a, b)));
}

/**
 * x, but at least `low` and at most `high`. The derivative is 1 from low to high, both included, and 0 outside. NaN
 * stays NaN.
 */
export function clamp(x: TensorLike, low: TensorLike, high: TensorLike): Tensor;
export function clamp(x: TensorLike, low: TensorLike, high: TensorLike, ...surplus: unknown[]): Tensor {
  return composed(clamp, surplus, () => {
    if (typeof low === "number" && typeof high === "number" && !(low <= high)) {
      throw new VaeError({ code: "argument", operation: "clamp", expected: "low <= high", received: `${low} and ${high}` });
    }
    const tensor = toTensor("clamp", x);
    return where(less(tensor, low), low, where(less(high, tensor), high, tensor));
  });
}

const LARGEST_REPEATED_POWER = 64;

/**
 * x to the power y. A whole number y with |y| ≤ 64 is repeated multiplication, right for every x; otherwise it is
 * exp(y · log x), for x > 0 only.
 *
 * @example
 * ```ts
 * power(x, 3);
 * const correction = subtract(1, power(0.999, add(step(), 1))); // Adam
 * ```
 */
export function power(x: TensorLike, y: TensorLike): Tensor;
export function power(x: TensorLike, y: TensorLike, ...surplus: unknown[]): Tensor {
  return composed(power, surplus, () => {
    if (typeof y === "number" && Number.isInteger(y) && Math.abs(y) <= LARGEST_REPEATED_POWER) {
      return repeatedProduct(toTensor("power", x), y);
    }
    // The logarithm of a number is taken here, in full precision.
    return exp(multiply(y, typeof x === "number" ? Math.log(x) : log(x)));
  });
}

/** x to a whole power by squaring. */
function repeatedProduct(x: Tensor, exponent: number): Tensor {
  if (exponent < 0) return reciprocal(repeatedProduct(x, -exponent));
  if (exponent === 0) return add(multiply(x, 0), 1);
  if (exponent === 1) return x;
  const root = square(repeatedProduct(x, Math.floor(exponent / 2)));
  return exponent % 2 === 0 ? root : multiply(root, x);
}

/** The mean over axes (all by default), as in {@link sum}. */
export function mean(x: TensorLike, options?: ReduceOptions): Tensor;
export function mean(x: TensorLike, options: ReduceOptions = {}, ...surplus: unknown[]): Tensor {
  return calledBy(mean, surplus, () => {
    const tensor = toTensor("mean", x);
    const axes = reducedAxes("mean", tensor, options);
    const count = sizeOf(axes.map((axis) => tensor.shape[axis]!));
    return multiply(sum(tensor, options), 1 / count);
  });
}

/**
 * log Σ exp(x) over axes (all by default), shifted by the maximum so that nothing overflows. Where every x is -infinity the
 * result is -infinity, with a gradient of 0.
 */
export function logsumexp(x: TensorLike, options?: ReduceOptions): Tensor;
export function logsumexp(x: TensorLike, options: ReduceOptions = {}, ...surplus: unknown[]): Tensor {
  return calledBy(logsumexp, surplus, () => {
    const tensor = toTensor("logsumexp", x);
    const axes = reducedAxes("logsumexp", tensor, options);
    // The shift cancels, so it needs no derivative. An infinite one would make NaN of infinity - infinity.
    const peak = stopGradient(max(tensor, { axes, keepDimensions: true }));
    const finite = finiteMask(peak);
    const total = sum(exp(subtract(tensor, where(finite, peak, 0))), { axes, keepDimensions: true });
    const result = where(finite, add(log(where(finite, total, 1)), peak), peak);
    if (options.keepDimensions) return result;
    const kept = keepingAxes(tensor.shape, axes);
    return reshapeTensor(
      result,
      kept.filter((_, axis) => !axes.includes(axis)),
    );
  });
}

const pair = (left: number[], right: number[]) => [distinct(left), distinct(right, 0.37)];

/** The sample cases of what is made of several rows. */
export const compositionCases: Readonly<Record<string, readonly OpCase[]>> = {
  greater: [{ name: "broadcast", inputs: pair([3, 4], [4]), build: (a, b) => greater(a, b) }],
  greater_equal: [{ name: "broadcast", inputs: pair([3, 4], [4]), build: (a, b) => greaterEqual(a, b) }],
  not_equal: [
    {
      name: "ties",
      inputs: [integers([4, 5], 0, 3, "float32"), integers([4, 5], 0, 3, "float32")],
      build: (a, b) => notEqual(a, b),
      gradient: false,
    },
  ],
  clamp: [
    { name: "numbers", inputs: [real([4, 5], -3, 3, [-1, 2])], build: (x) => clamp(x, -1, 2) },
    {
      name: "tensors",
      inputs: [real([4, 5], -3, 3, [-1, 1]), real([5], -1, -1), real([], 1, 1)],
      build: (...all) => clamp(all[0]!, all[1]!, all[2]!),
    },
    { name: "bounds", inputs: [integers([4, 5], -2, 4, "float32")], build: (x) => clamp(x, -1, 2), gradient: false },
    { name: "large", inputs: [real([129, 401], -3, 3)], build: (x) => clamp(x, -1, 2), large: true, gradient: false },
  ],
  power: [
    { name: "cube", inputs: [real([3, 4])], build: (x) => power(x, 3) },
    { name: "zero", inputs: [real([3])], build: (x) => power(x, 0) },
    { name: "negative", inputs: [real([3, 4], 0.5, 2)], build: (x) => power(x, -2) },
    { name: "root", inputs: [real([3, 4], 0.5, 2)], build: (x) => power(x, 1.5) },
    { name: "tensors", inputs: [real([3, 4], 0.5, 2), real([4])], build: (x, y) => power(x, y) },
    { name: "of a number", inputs: [real([4])], build: (y) => power(0.9, y) },
  ],
  mean: reduceCases(mean, (shape) => real(shape)),
  logsumexp: [
    ...reduceCases(logsumexp, (shape) => real(shape)),
    { name: "far", inputs: [real([3, 4], 500, 510)], build: (x) => logsumexp(x, { axes: 1 }) },
    {
      name: "minus infinity",
      inputs: [{ shape: [2, 2], dtype: "float32", values: { kind: "list", values: [-Infinity, -Infinity, -Infinity, 1] } }],
      build: (x) => logsumexp(x, { axes: 1 }),
      gradient: false,
    },
  ],
};
