import { describe, VaeError } from "../errors.js";
import { listOf } from "./arguments.js";
import { isArray } from "./kinds.js";
import { toTensor } from "./leaves.js";
import { sum } from "./reduce.js";
import { broadcastShapes, flatten, forEachIndex, normalizeAxis, stridesOf } from "./shape.js";
import { calledBy, checkFloat, checkWhole, type Many, makeNode, type One, type Plain, type Rows, real } from "./table.js";
import { checkShape, type Shape, sameShape, showShape, sizeOf, type Tensor, type TensorLike } from "./tensor.js";

interface MovementSignatures {
  broadcast_to: { inputs: One; attributes: Plain };
  reshape: { inputs: One; attributes: Plain };
  transpose: { inputs: One; attributes: { readonly permutation: readonly number[] } };
  slice: { inputs: One; attributes: { readonly start: readonly number[]; readonly end: readonly number[] } };
  concatenate: { inputs: Many; attributes: { readonly axis: number } };
  pad: { inputs: One; attributes: { readonly before: readonly number[]; readonly after: readonly number[]; readonly value: number } };
}

function wholeNumbers(operation: string, name: string, list: readonly number[]): readonly number[] {
  return listOf(operation, list, `${name} to be an array of whole numbers, one for every axis`, Number.isSafeInteger);
}

/** A row-major array whose element at each index is the one of `source` at `place(index)`. */
function moved(shape: Shape, source: Float64Array, place: (index: readonly number[]) => number): Float64Array {
  const result = new Float64Array(sizeOf(shape));
  forEachIndex(shape, (index, flat) => {
    result[flat] = source[place(index)]!;
  });
  return result;
}

export const movementRows: Rows<MovementSignatures> = {
  broadcast_to: {
    name: "broadcast_to",
    family: "movement",
    type([x], _attributes, requested = x) {
      checkShape("broadcastTo", requested.shape);
      if (!sameShape(broadcastShapes("broadcastTo", [x.shape, requested.shape]), requested.shape)) {
        throw new VaeError({
          code: "shape",
          operation: "broadcastTo",
          problem: `shape ${showShape(x.shape)} does not broadcast to ${showShape(requested.shape)}`,
          hint: "only axes of 1 grow, and new axes come first",
        });
      }
      return { shape: requested.shape, dtype: x.dtype };
    },
    derivative({ inputs: [x], output, gradient }) {
      const added = output.shape.length - x.shape.length;
      const axes = output.shape.flatMap((dimension, axis) => (axis < added || x.shape[axis - added] !== dimension ? [axis] : []));
      return [reshapeTensor(sum(gradient, { axes }), x.shape)];
    },
    evaluate([x], _attributes, type) {
      const added = type.shape.length - x.shape.length;
      const own = stridesOf(x.shape);
      const strides = type.shape.map((_, axis) => (axis < added || x.shape[axis - added] === 1 ? 0 : own[axis - added]!));
      return moved(type.shape, x.data, (index) => flatten(index, strides));
    },
    cases: [
      { name: "scalar", inputs: [real([])], build: (x) => broadcastTo(x, [2, 3]) },
      { name: "row vector", inputs: [real([4])], build: (x) => broadcastTo(x, [2, 3, 4]) },
      { name: "inner axis", inputs: [real([2, 1, 3])], build: (x) => broadcastTo(x, [2, 4, 3]) },
      { name: "axes of one", inputs: [real([1, 3, 1])], build: (x) => broadcastTo(x, [1, 1, 3, 5]) },
      { name: "large", inputs: [real([401])], build: (x) => broadcastTo(x, [128, 401]), large: true },
    ],
  },
  reshape: {
    name: "reshape",
    family: "movement",
    type([x], _attributes, requested = x) {
      checkShape("reshape", requested.shape);
      if (sizeOf(requested.shape) !== sizeOf(x.shape)) {
        throw new VaeError({
          code: "shape",
          operation: "reshape",
          problem: `${showShape(x.shape)} has ${sizeOf(x.shape)} elements and ${showShape(requested.shape)} has ${sizeOf(requested.shape)}`,
          hint: "one dimension may be -1: it becomes what is left",
        });
      }
      return { shape: requested.shape, dtype: x.dtype };
    },
    derivative: ({ inputs: [x], gradient }) => [reshapeTensor(gradient, x.shape)],
    evaluate: ([x]) => x.data.slice(),
    cases: [
      { name: "flatten", inputs: [real([2, 3, 4])], build: (x) => reshapeTensor(x, [2, -1]) },
      { name: "to scalar", inputs: [real([1, 1])], build: (x) => reshapeTensor(x, []) },
      { name: "after transpose", inputs: [real([2, 3, 4])], build: (x) => reshapeTensor(transpose(x, [2, 0, 1]), [8, 3]) },
    ],
  },
  transpose: {
    name: "transpose",
    family: "movement",
    type([x], { permutation }) {
      const sorted = [...permutation].sort((a, b) => a - b);
      if (permutation.length !== x.shape.length || sorted.some((axis, i) => axis !== i)) {
        throw new VaeError({
          code: "argument",
          operation: "transpose",
          expected: `each of the ${x.shape.length} axes of ${showShape(x.shape)} once, from 0`,
          received: showShape(permutation),
        });
      }
      return { shape: permutation.map((axis) => x.shape[axis]!), dtype: x.dtype };
    },
    derivative: ({ gradient, attributes: { permutation } }) => [
      transpose(
        gradient,
        permutation.map((_, axis) => permutation.indexOf(axis)),
      ),
    ],
    evaluate([x], { permutation }, type) {
      const own = stridesOf(x.shape);
      const strides = permutation.map((axis) => own[axis]!);
      return moved(type.shape, x.data, (index) => flatten(index, strides));
    },
    cases: [
      { name: "matrix", inputs: [real([3, 4])], build: (x) => transpose(x) },
      { name: "rotation", inputs: [real([2, 3, 4])], build: (x) => transpose(x, [1, 2, 0]) },
      { name: "inner swap", inputs: [real([2, 3, 4])], build: (x) => transpose(x, [0, 2, 1]) },
      { name: "large", inputs: [real([257, 130])], build: (x) => transpose(x), large: true },
    ],
  },
  slice: {
    name: "slice",
    family: "movement",
    type([x], { start, end }) {
      const rank = x.shape.length;
      const inside = x.shape.every((dimension, axis) => {
        const [from = -1, to = -1] = [start[axis], end[axis]];
        return Number.isSafeInteger(from) && Number.isSafeInteger(to) && 0 <= from && from < to && to <= dimension;
      });
      if (start.length !== rank || end.length !== rank || !inside) {
        throw new VaeError({
          code: "argument",
          operation: "slice",
          expected: `0 <= start < end <= dimension on each of the ${rank} axes of ${showShape(x.shape)}`,
          received: `start ${showShape(start)}, end ${showShape(end)}`,
        });
      }
      return { shape: x.shape.map((_, axis) => end[axis]! - start[axis]!), dtype: x.dtype };
    },
    derivative: ({ inputs: [x], gradient, attributes: { start, end } }) => [
      pad(
        gradient,
        x.shape.map((dimension, axis) => [start[axis]!, dimension - end[axis]!] as const),
      ),
    ],
    evaluate([x], { start }, type) {
      const strides = stridesOf(x.shape);
      const offset = flatten(start, strides);
      return moved(type.shape, x.data, (index) => offset + flatten(index, strides));
    },
    cases: [
      { name: "columns", inputs: [real([3, 6])], build: (x) => slice(x, [0, 2], [3, 5]) },
      { name: "block", inputs: [real([2, 4, 5])], build: (x) => slice(x, [1, 0, 2], [2, 3, 5]) },
      { name: "vector", inputs: [real([7])], build: (x) => slice(x, [3], [7]) },
      { name: "large", inputs: [real([128, 401])], build: (x) => slice(x, [3, 20], [128, 40]), large: true },
    ],
  },
  concatenate: {
    name: "concatenate",
    family: "movement",
    type(inputs, { axis }) {
      const [first, ...others] = inputs;
      const wrong = others.find(
        ({ shape, dtype }) =>
          dtype !== first!.dtype ||
          shape.length !== first!.shape.length ||
          shape.some((dimension, i) => i !== axis && dimension !== first!.shape[i]),
      );
      if (wrong !== undefined) {
        const shown = inputs.map(({ shape, dtype }) => (dtype === first!.dtype ? showShape(shape) : `${dtype} ${showShape(shape)}`));
        throw new VaeError({
          code: wrong.dtype === first!.dtype ? "shape" : "dtype",
          operation: "concatenate",
          expected: `one element type, and shapes that differ only on axis ${axis}`,
          received: shown.join(" and "),
        });
      }
      const length = inputs.reduce((total, tensor) => total + tensor.shape[axis]!, 0);
      return { shape: first!.shape.map((dimension, i) => (i === axis ? length : dimension)), dtype: first!.dtype };
    },
    derivative({ inputs, gradient, attributes: { axis } }) {
      let position = 0;
      return inputs.map((tensor) => {
        const start = tensor.shape.map((_, i) => (i === axis ? position : 0));
        position += tensor.shape[axis]!;
        return slice(
          gradient,
          start,
          start.map((from, i) => from + tensor.shape[i]!),
        );
      });
    },
    evaluate(inputs, { axis }, type) {
      const result = new Float64Array(sizeOf(type.shape));
      const strides = stridesOf(type.shape);
      let position = 0;
      for (const { data, shape } of inputs) {
        const offset = position * strides[axis]!;
        forEachIndex(shape, (index, flat) => {
          result[offset + flatten(index, strides)] = data[flat]!;
        });
        position += shape[axis]!;
      }
      return result;
    },
    cases: [
      { name: "columns", inputs: [real([3, 2]), real([3, 4])], build: (a, b) => concatenate([a, b], 1) },
      { name: "three rows", inputs: [real([1, 3]), real([2, 3]), real([1, 3])], build: (...all) => concatenate(all, 0) },
      { name: "twice the same", inputs: [real([2, 3])], build: (x) => concatenate([x, x], -1) },
      { name: "large", inputs: [real([128, 301]), real([128, 20])], build: (a, b) => concatenate([a, b], 1), large: true },
    ],
  },
  pad: {
    name: "pad",
    family: "movement",
    type([x], { before, after }) {
      checkFloat("pad", [x]);
      if (before.length !== x.shape.length || after.length !== x.shape.length) {
        throw new VaeError({
          code: "argument",
          operation: "pad",
          expected: `[before, after] for each of the ${x.shape.length} axes of ${showShape(x.shape)}`,
          received: `${before.length} pairs`,
        });
      }
      for (const amount of [...before, ...after]) checkWhole("pad", "padding", amount, 0);
      const shape = x.shape.map((dimension, axis) => before[axis]! + dimension + after[axis]!);
      checkShape("pad", shape);
      return { shape, dtype: x.dtype };
    },
    derivative: ({ inputs: [x], gradient, attributes: { before } }) => [
      slice(
        gradient,
        before,
        x.shape.map((dimension, axis) => before[axis]! + dimension),
      ),
    ],
    evaluate([x], { before, value }, type) {
      const result = new Float64Array(sizeOf(type.shape)).fill(value);
      const strides = stridesOf(type.shape);
      const offset = flatten(before, strides);
      forEachIndex(x.shape, (index, flat) => {
        result[offset + flatten(index, strides)] = x.data[flat]!;
      });
      return result;
    },
    cases: [
      {
        name: "border",
        inputs: [real([2, 3])],
        build: (x) =>
          pad(x, [
            [1, 2],
            [0, 1],
          ]),
      },
      { name: "value", inputs: [real([4])], build: (x) => pad(x, [[2, 0]], 1.5) },
      {
        name: "block",
        inputs: [real([2, 1, 3])],
        build: (x) =>
          pad(x, [
            [0, 1],
            [2, 0],
            [1, 1],
          ]),
      },
    ],
  },
};

/**
 * The tensor repeated to a larger shape by numpy's rule: aligned at the last axis, new axes come first and axes of 1 grow.
 *
 * @example
 * ```ts
 * broadcastTo(bias, [128, 400]); // bias is [400]
 * ```
 */
export function broadcastTo(x: TensorLike, shape: Shape): Tensor;
export function broadcastTo(x: TensorLike, shape: Shape, ...surplus: unknown[]): Tensor {
  return calledBy(broadcastTo, surplus, () => {
    const tensor = toTensor("broadcastTo", x);
    checkShape("broadcastTo", shape);
    return sameShape(tensor.shape, shape) ? tensor : makeNode(movementRows.broadcast_to, [tensor], {}, { shape, dtype: tensor.dtype });
  });
}

/** The same elements in row-major order under another shape. One dimension may be -1: it becomes what is left. */
export function reshapeTensor(x: TensorLike, shape: Shape): Tensor;
export function reshapeTensor(x: TensorLike, shape: Shape, ...surplus: unknown[]): Tensor {
  return calledBy(reshapeTensor, surplus, () => {
    const tensor = toTensor("reshape", x);
    if (!isArray(shape)) checkShape("reshape", shape);
    const known = shape.filter((dimension) => dimension !== -1);
    const rest = sizeOf(tensor.shape) / sizeOf(known);
    const full = known.length === shape.length - 1 && Number.isInteger(rest) ? shape.map((d) => (d === -1 ? rest : d)) : shape;
    return sameShape(tensor.shape, full) ? tensor : makeNode(movementRows.reshape, [tensor], {}, { shape: full, dtype: tensor.dtype });
  });
}

/** Axis i of the result is axis permutation[i] of x; left out, all axes are reversed. */
export function transpose(x: TensorLike, permutation?: readonly number[]): Tensor;
export function transpose(x: TensorLike, permutation?: readonly number[], ...surplus: unknown[]): Tensor {
  return calledBy(transpose, surplus, () => {
    const tensor = toTensor("transpose", x);
    const reversed = tensor.shape.map((_, axis) => tensor.shape.length - 1 - axis);
    const axes = permutation === undefined ? reversed : wholeNumbers("transpose", "permutation", permutation);
    return makeNode(movementRows.transpose, [tensor], { permutation: Object.freeze([...axes]) });
  });
}

/**
 * The block from `start` up to, not including, `end` on each axis.
 *
 * @example
 * ```ts
 * const mean = slice(heads, [0, 0], [128, 20]);
 * ```
 */
export function slice(x: TensorLike, start: readonly number[], end: readonly number[]): Tensor;
export function slice(x: TensorLike, start: readonly number[], end: readonly number[], ...surplus: unknown[]): Tensor {
  return calledBy(slice, surplus, () => {
    const attributes = {
      start: Object.freeze([...wholeNumbers("slice", "start", start)]),
      end: Object.freeze([...wholeNumbers("slice", "end", end)]),
    };
    return makeNode(movementRows.slice, [toTensor("slice", x)], attributes);
  });
}

/** The tensors one behind the other along an axis; shapes agree on all other axes. */
export function concatenate(tensors: readonly TensorLike[], axis: number): Tensor;
export function concatenate(tensors: readonly TensorLike[], axis: number, ...surplus: unknown[]): Tensor {
  return calledBy(concatenate, surplus, () => {
    listOf("concatenate", tensors, "an array of tensors", () => true);
    const inputs = Array.from(tensors, (tensor) => toTensor("concatenate", tensor));
    const [first] = inputs;
    if (first === undefined) {
      throw new VaeError({ code: "argument", operation: "concatenate", expected: "at least one tensor", received: "none" });
    }
    const attributes = { axis: normalizeAxis("concatenate", axis, first.shape) };
    return inputs.length === 1 ? first : makeNode(movementRows.concatenate, inputs, attributes);
  });
}

/** x with `[before, after]` elements of a value added on each axis; float32. */
export function pad(x: TensorLike, amounts: readonly (readonly [before: number, after: number])[], value?: number): Tensor;
export function pad(
  x: TensorLike,
  amounts: readonly (readonly [before: number, after: number])[],
  value = 0,
  ...surplus: unknown[]
): Tensor {
  return calledBy(pad, surplus, () => {
    const isPair = (pair: unknown): boolean => isArray(pair) && pair.length === 2;
    listOf("pad", amounts, "a pair [before, after] for every axis", isPair);
    if (typeof value !== "number") {
      throw new VaeError({ code: "argument", operation: "pad", expected: "a number to pad with", received: describe(value) });
    }
    const before = Object.freeze(amounts.map(([amount]) => amount));
    const after = Object.freeze(amounts.map(([, amount]) => amount));
    return makeNode(movementRows.pad, [toTensor("pad", x)], { before, after, value });
  });
}
