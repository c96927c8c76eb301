// Distributions over classes: softmax, cross-entropy, and the vectors that stand for classes.
import { VaeError } from "../errors.js";
import { checkOptions } from "./arguments.js";
import { divide, equal, maximum, multiply, subtract, where } from "./binary.js";
import { notEqual } from "./compositions.js";
import { cast, stopGradient } from "./identity.js";
import { gather, INT32 } from "./indexing.js";
import { constantTensor, toTensor } from "./leaves.js";
import { reshapeTensor } from "./movement.js";
import { max, sum } from "./reduce.js";
import { normalizeAxis } from "./shape.js";
import { calledBy, checkFloat, checkWhole, integers, list, type OpCase, real, showType } from "./table.js";
import { type Shape, sameShape, showShape, type Tensor, type TensorLike, tableOf } from "./tensor.js";
import { exp, finiteMask, log, negate } from "./unary.js";

/** Along which axis classes lie. */
export interface ClassAxis {
  /** Negative counts from the last. Default -1. */
  readonly axis?: number | undefined;
}

/** x less its maximum along the axis, its exponential, and the sum of that, at least 1 wherever any x is finite. */
function shifted(operation: string, x: TensorLike, options: ClassAxis) {
  const { axis = -1 } = checkOptions(operation, options, ["axis"]);
  const tensor = toTensor(operation, x);
  checkFloat(operation, [tensor]);
  const axes = [normalizeAxis(operation, axis, tensor.shape)];
  // The shift cancels, so it needs no derivative. An infinite one would make NaN of infinity - infinity.
  const peak = stopGradient(max(tensor, { axes, keepDimensions: true }));
  const difference = subtract(tensor, where(finiteMask(peak), peak, 0));
  const exponential = exp(difference);
  const total = sum(exponential, { axes, keepDimensions: true });
  // Where every x is -infinity the sum is 0, which neither a quotient nor a logarithm can take.
  return { difference, exponential, total: where(total, total, 1) };
}

/**
 * exp(x) / Σ exp(x) along an axis, shifted by the maximum so that nothing overflows. An x of -infinity gets probability 0;
 * where every x is -infinity, all get 0, with a gradient of 0.
 */
export function softmax(x: TensorLike, options?: ClassAxis): Tensor;
export function softmax(x: TensorLike, options: ClassAxis = {}, ...surplus: unknown[]): Tensor {
  return calledBy(softmax, surplus, () => {
    const { exponential, total } = shifted("softmax", x, options);
    return divide(exponential, total);
  });
}

/** The logarithm of {@link softmax}, exact where the probability is too small for a float32. */
export function logSoftmax(x: TensorLike, options?: ClassAxis): Tensor;
export function logSoftmax(x: TensorLike, options: ClassAxis = {}, ...surplus: unknown[]): Tensor {
  return calledBy(logSoftmax, surplus, () => {
    const { difference, total } = shifted("logSoftmax", x, options);
    return subtract(difference, log(total));
  });
}

/**
 * A vector per index: 1 at the index, else 0; indices.shape + [depth], float32. An index outside 0 … depth − 1 gives zeros.
 *
 * @param indices int32
 */
export function oneHot(indices: TensorLike, depth: number): Tensor;
export function oneHot(indices: TensorLike, depth: number, ...surplus: unknown[]): Tensor {
  return calledBy(oneHot, surplus, () => {
    const tensor = toTensor("oneHot", indices);
    checkIndices("oneHot", tensor);
    checkWhole("oneHot", "depth", depth, 1, 2 ** 22); // the table of classes is part of the graph
    const classes = constantTensor({ data: tableOf("oneHot", "a table of classes", depth, (i) => i), shape: [depth] });
    return equal(reshapeTensor(cast(tensor), [...tensor.shape, 1]), classes);
  });
}

function checkIndices(operation: string, indices: Tensor): void {
  if (indices.dtype === "int32") return;
  throw new VaeError({ code: "dtype", operation, expected: "int32 indices", received: showType(indices), hint: INT32 });
}

/**
 * A learned vector per index: rows of the table [count, width] by int32 indices, indices.shape + [width].
 *
 * @example
 * ```ts
 * embedding(state("embedding", [10, 32]), labels); // labels [128]: [128, 32]
 * ```
 */
export function embedding(table: TensorLike, indices: TensorLike): Tensor;
export function embedding(table: TensorLike, indices: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(embedding, surplus, () => {
    const [rows, places] = [toTensor("embedding", table), toTensor("embedding", indices)];
    checkIndices("embedding", places);
    if (rows.shape.length !== 2) {
      const received = showShape(rows.shape);
      throw new VaeError({
        code: "shape",
        operation: "embedding",
        expected: "a table [count, width]",
        received,
        hint: "gather(table, indices) takes tables of any rank",
      });
    }
    return gather(rows, places);
  });
}

/**
 * −Σ target · log softmax(logits) over the last axis, in nats, one per row: [..., K] to [...].
 *
 * The target is either the class, int32 [...], where a class outside 0 … K − 1 (say -1, for "unknown") costs nothing; or a
 * probability for each class, float32 [..., K], where a probability of 0 costs nothing whatever the logit.
 *
 * @example
 * ```ts
 * const loss = mean(softmaxCrossEntropy(logits, labels)); // logits [128, 10], labels int32 [128]
 * ```
 */
export function softmaxCrossEntropy(logits: TensorLike, target: TensorLike): Tensor;
export function softmaxCrossEntropy(logits: TensorLike, target: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(softmaxCrossEntropy, surplus, () => {
    const [scores, wanted] = [toTensor("crossEntropy", logits), toTensor("crossEntropy", target)];
    checkTarget(scores, wanted);
    const classes = scores.shape.at(-1)!;
    const logarithms = logSoftmax(scores);
    if (wanted.dtype === "int32") return negate(sum(where(oneHot(wanted, classes), logarithms, 0), { axes: -1 }));
    const counted = maximum(finiteMask(logarithms), notEqual(wanted, 0));
    return negate(sum(multiply(wanted, where(counted, logarithms, 0)), { axes: -1 }));
  });
}

function checkTarget(logits: Tensor, target: Tensor): void {
  const operation = "crossEntropy";
  checkFloat(operation, [logits]);
  const rows = logits.shape.slice(0, -1);
  if (logits.shape.length === 0 || !sameShape(target.shape, target.dtype === "int32" ? rows : logits.shape)) {
    throw new VaeError({
      code: "shape",
      operation,
      expected: `logits [..., K] with classes, int32 ${showShape(rows)}, or probabilities, float32 ${showShape(logits.shape)}`,
      received: `logits ${showShape(logits.shape)} and target ${showType(target)}`,
    });
  }
  if (target.dtype !== "int32") checkFloat(operation, [target]);
}

function softmaxCases(operation: typeof softmax): OpCase[] {
  const sample = (name: string, shape: Shape, axis = -1, large = false): OpCase => ({
    name,
    inputs: [real(shape, -3, 3)],
    build: (x) => operation(x!, { axis }),
    large,
  });
  return [
    sample("rows", [3, 5]),
    sample("vector", [4]),
    sample("inner axis", [2, 3, 2], 1),
    sample("one class", [3, 1]),
    sample("large", [129, 401], -1, true),
    { name: "far", inputs: [real([3, 4], 500, 510)], build: (x) => operation(x!) },
    { name: "far below", inputs: [list(-200, 0, 100, -1000)], build: (x) => operation(x!) },
    { name: "minus infinity", inputs: [list(-Infinity, 1, 2, -Infinity)], build: (x) => operation(x!), gradient: false },
    { name: "all minus infinity", inputs: [list(-Infinity, -Infinity)], build: (x) => operation(x!), gradient: false },
  ];
}

export const classCases: Readonly<Record<string, readonly OpCase[]>> = {
  softmax: softmaxCases(softmax),
  log_softmax: softmaxCases(logSoftmax),
  cross_entropy: [
    { name: "classes", inputs: [real([4, 5]), integers([4], 0, 5)], build: (x, y) => softmaxCrossEntropy(x!, y!) },
    { name: "unknown classes", inputs: [real([6, 3]), integers([6], -1, 3)], build: (x, y) => softmaxCrossEntropy(x!, y!) },
    { name: "one row", inputs: [real([3], 100, 130), integers([], 0, 3)], build: (x, y) => softmaxCrossEntropy(x!, y!) },
    { name: "pixels", inputs: [real([2, 2, 2, 3]), integers([2, 2, 2], 0, 3)], build: (x, y) => softmaxCrossEntropy(x!, y!) },
    { name: "probabilities", inputs: [real([3, 4]), real([3, 4], 0.1, 1)], build: (x, y) => softmaxCrossEntropy(x!, y!) },
    {
      name: "impossible class of no probability",
      inputs: [list(-Infinity, 1, 2), list(0, 0.25, 0.75)],
      build: (x, y) => softmaxCrossEntropy(x!, y!),
      gradient: false,
    },
    { name: "large", inputs: [real([128, 101]), integers([128], 0, 101)], build: (x, y) => softmaxCrossEntropy(x!, y!), large: true },
  ],
  one_hot: [
    { name: "vector", inputs: [integers([6], 0, 4)], build: (i) => oneHot(i!, 4) },
    { name: "matrix, some outside", inputs: [integers([3, 4], -1, 4)], build: (i) => oneHot(i!, 3) },
    { name: "scalar", inputs: [integers([], 0, 3)], build: (i) => oneHot(i!, 3) },
  ],
  embedding: [
    { name: "vector", inputs: [real([5, 3]), integers([4], 0, 5)], build: (table, i) => embedding(table!, i!) },
    { name: "sequences", inputs: [real([4, 2]), integers([2, 3], 0, 4)], build: (table, i) => embedding(table!, i!) },
  ],
};
