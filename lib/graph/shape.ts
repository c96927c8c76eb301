import { describe, VaeError } from "../errors.js";
import { isArray } from "./kinds.js";
import { type Shape, showShape, type TensorType } from "./tensor.js";

/**
 * The common shape of operands under numpy's rule: aligned at the last axis, dimensions are equal or 1.
 * Throws a VaeError that names the operation, the shapes and the axis that does not fit.
 */
export function broadcastShapes(operation: string, shapes: readonly Shape[]): Shape {
  return shapes.reduce((a, b) => {
    const rank = Math.max(a.length, b.length);
    return Array.from({ length: rank }, (_, axis) => {
      const left = a[axis - rank + a.length] ?? 1;
      const right = b[axis - rank + b.length] ?? 1;
      if (left !== right && left !== 1 && right !== 1) {
        throw new VaeError({
          code: "shape",
          operation,
          problem: `shapes ${shapes.map(showShape).join(" and ")} do not broadcast: axis ${axis} is ${left} and ${right}`,
          hint: "aligned at the last axis, dimensions must be equal or 1; reshape adds axes of 1, slice or matmul may be what you mean",
        });
      }
      return left === 1 ? right : left;
    });
  });
}

/** Axes as sorted whole numbers of 0 and more; all axes when left out. Negative ones count from the last. */
export function normalizeAxes(operation: string, axes: number | readonly number[] | undefined, shape: Shape): readonly number[] {
  if (axes === undefined) return shape.map((_, axis) => axis);
  const given: readonly number[] = isArray(axes) ? axes : [axes];
  // Array.from() shows the holes of a sparse array, which map() passes over.
  const normalized = Array.from(given)
    .map((axis) => normalizeAxis(operation, axis, shape))
    .sort((a, b) => a - b);
  if (new Set(normalized).size !== normalized.length) {
    throw new VaeError({ code: "argument", operation, expected: "each axis once", received: showShape(given) });
  }
  return normalized;
}

/** One axis, counted from 0. */
export function normalizeAxis(operation: string, axis: number, shape: Shape): number {
  if (!Number.isSafeInteger(axis) || axis < -shape.length || axis >= shape.length) {
    throw new VaeError({
      code: "argument",
      operation,
      expected:
        shape.length === 0
          ? "no axis, for a scalar has none"
          : `an axis from ${-shape.length} to ${shape.length - 1} of ${showShape(shape)}`,
      received: describe(axis),
    });
  }
  return axis < 0 ? axis + shape.length : axis;
}

export function withoutAxes(shape: Shape, axes: readonly number[]): Shape {
  return shape.filter((_, axis) => !axes.includes(axis));
}

/** The shape with the dimensions of the given axes set to 1. */
export function keepingAxes(shape: Shape, axes: readonly number[]): Shape {
  return shape.map((dimension, axis) => (axes.includes(axis) ? 1 : dimension));
}

/** Row-major strides, in elements. */
export function stridesOf(shape: Shape): readonly number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

/** Calls `visit` for every place of a shape in row-major order. The index array is reused. */
export function forEachIndex(shape: Shape, visit: (index: readonly number[], flat: number) => void): void {
  const index = shape.map(() => 0);
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  for (let flat = 0; flat < size; flat++) {
    visit(index, flat);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (++index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
}

/** The sum of index times stride. */
export function flatten(index: readonly number[], strides: readonly number[]): number {
  return index.reduce((flat, position, axis) => flat + position * strides[axis]!, 0);
}

/** The type of an input, with another shape. */
export function reshaped(type: TensorType, shape: Shape): TensorType {
  return { shape, dtype: type.dtype };
}
