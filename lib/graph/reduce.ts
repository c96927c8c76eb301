import { checkOptions } from "./arguments.js";
import { divide, equal, multiply } from "./binary.js";
import { toTensor } from "./leaves.js";
import { broadcastTo, reshapeTensor } from "./movement.js";
import { flatten, forEachIndex, keepingAxes, normalizeAxes, stridesOf, withoutAxes } from "./shape.js";
import { calledBy, checkFloat, distinct, integers, makeNode, type One, type OpCase, type Rows, real, type SampleInput } from "./table.js";
import { type Shape, sizeOf, type Tensor, type TensorLike, type TensorType } from "./tensor.js";

type AxesAttributes = { readonly axes: readonly number[] };

interface ReduceSignatures {
  sum: { inputs: One; attributes: AxesAttributes };
  max: { inputs: One; attributes: AxesAttributes };
}

/** Over what to reduce. */
export interface ReduceOptions {
  /** The axes that go; negative ones count from the last. All by default. */
  readonly axes?: number | readonly number[] | undefined;
  /** Leave the reduced axes in place, with dimension 1. Default false. */
  readonly keepDimensions?: boolean | undefined;
}

function reduceType(name: string, x: Tensor, axes: readonly number[]): TensorType {
  checkFloat(name, [x]);
  return { shape: withoutAxes(x.shape, axes), dtype: "float32" };
}

/** Folds every element into the one of the result that it belongs to. */
function fold(
  x: { readonly data: Float64Array; readonly shape: Shape },
  axes: readonly number[],
  start: number,
  step: (total: number, element: number) => number,
): Float64Array {
  const result = new Float64Array(sizeOf(withoutAxes(x.shape, axes))).fill(start);
  const kept = stridesOf(keepingAxes(x.shape, axes));
  const strides = x.shape.map((_, axis) => (axes.includes(axis) ? 0 : kept[axis]!));
  forEachIndex(x.shape, (index, flat) => {
    const place = flatten(index, strides);
    result[place] = step(result[place]!, x.data[flat]!);
  });
  return result;
}

/** A reduced tensor spread over the shape that it was reduced from. */
function spread(reduced: Tensor, shape: Shape, axes: readonly number[]): Tensor {
  // Leading axes come back by themselves.
  const leading = axes.every((axis, i) => axis === i);
  return broadcastTo(leading ? reduced : reshapeTensor(reduced, keepingAxes(shape, axes)), shape);
}

/** The uses that every reduction is tried on. */
export function reduceCases(reduction: (x: Tensor, options?: ReduceOptions) => Tensor, samples: (shape: Shape) => SampleInput): OpCase[] {
  return [
    { name: "all", inputs: [samples([3, 4])], build: (x) => reduction(x) },
    { name: "rows", inputs: [samples([3, 4])], build: (x) => reduction(x, { axes: 0 }) },
    { name: "columns", inputs: [samples([3, 4])], build: (x) => reduction(x, { axes: -1 }) },
    { name: "kept", inputs: [samples([3, 4])], build: (x) => reduction(x, { axes: 1, keepDimensions: true }) },
    { name: "inner axis", inputs: [samples([2, 3, 4])], build: (x) => reduction(x, { axes: [1] }) },
    { name: "outer axes", inputs: [samples([2, 3, 4])], build: (x) => reduction(x, { axes: [0, 2] }) },
    { name: "vector", inputs: [samples([5])], build: (x) => reduction(x) },
    { name: "large rows", inputs: [samples([129, 401])], build: (x) => reduction(x, { axes: 0 }), large: true },
    { name: "large columns", inputs: [samples([129, 401])], build: (x) => reduction(x, { axes: 1 }), large: true },
    { name: "large all", inputs: [samples([129, 401])], build: (x) => reduction(x), large: true },
  ];
}

export const reduceRows: Rows<ReduceSignatures> = {
  sum: {
    name: "sum",
    family: "reduce",
    type: ([x], { axes }) => reduceType("sum", x, axes),
    derivative: ({ inputs: [x], gradient, attributes: { axes } }) => [spread(gradient, x.shape, axes)],
    evaluate: ([x], { axes }) => fold(x, axes, 0, (total, element) => total + element),
    cases: reduceCases(sum, (shape) => real(shape)),
  },
  max: {
    name: "max",
    family: "reduce",
    type: ([x], { axes }) => reduceType("max", x, axes),
    derivative({ inputs: [x], output, gradient, attributes: { axes } }) {
      // Elements that tie for the maximum share its gradient.
      const mask = equal(x, spread(output, x.shape, axes));
      const share = divide(gradient, sum(mask, { axes }));
      return [multiply(spread(share, x.shape, axes), mask)];
    },
    evaluate: ([x], { axes }) => fold(x, axes, -Infinity, Math.max),
    cases: [
      ...reduceCases(max, (shape) => distinct(shape)),
      { name: "ties", inputs: [integers([6, 5], 0, 3, "float32")], build: (x) => max(x, { axes: 1 }), gradient: false },
    ],
  },
};

/** The axes that a reduction's options name, counted from 0. */
export function reducedAxes(name: string, x: Tensor, options: ReduceOptions): readonly number[] {
  const { axes } = checkOptions(name, options, ["axes", "keepDimensions"], ["keepDimensions"]);
  return normalizeAxes(name, axes, x.shape);
}

function reduce(name: "sum" | "max", x: TensorLike, options: ReduceOptions): Tensor {
  const tensor = toTensor(name, x);
  const axes = reducedAxes(name, tensor, options);
  checkFloat(name, [tensor]);
  if (axes.length === 0) return tensor;
  const reduced = makeNode(reduceRows[name], [tensor], { axes: Object.freeze(axes) });
  return options.keepDimensions ? reshapeTensor(reduced, keepingAxes(tensor.shape, axes)) : reduced;
}

/**
 * The sum over axes (all by default), which then are gone unless kept.
 *
 * @example
 * ```ts
 * sum(x);                                      // [128, 784] -> []
 * sum(x, { axes: -1 });                        // [128, 784] -> [128]
 * sum(x, { axes: 1, keepDimensions: true });   // [128, 784] -> [128, 1]
 * ```
 */
export function sum(x: TensorLike, options?: ReduceOptions): Tensor;
export function sum(x: TensorLike, options: ReduceOptions = {}, ...surplus: unknown[]): Tensor {
  return calledBy(sum, surplus, () => reduce("sum", x, options));
}

/** The maximum over axes, as in {@link sum}. Elements that tie for it share its gradient evenly. */
export function max(x: TensorLike, options?: ReduceOptions): Tensor;
export function max(x: TensorLike, options: ReduceOptions = {}, ...surplus: unknown[]): Tensor {
  return calledBy(max, surplus, () => reduce("max", x, options));
}
