import { describe, VaeError } from "../errors.js";
import { checkAttached, listOf, numbers } from "../graph/arguments.js";
import { isArray, isArrayLike, isFloat32Array, isInt32Array, isReadable, isUint8Array } from "../graph/kinds.js";
import { checkShape, isTensor, type Shape, showShape, sizeOf } from "../graph/tensor.js";
import type { HostArray } from "../runtime/native.js";

/** Numbers with a shape, row-major: what the functions of `node-vae/ops` take and give. Any object of this form will do. */
export interface NdArray<Data extends HostArray = Float32Array> {
  readonly data: Data;
  /** Dimensions, outermost first; `[]` is a scalar. */
  readonly shape: Shape;
}

/** What stands for an array in a call: an {@link NdArray}, a bare TypedArray as a vector, or a number as a scalar. */
export type Operand<Data extends HostArray = HostArray> = NdArray<Data> | Data | number;

/**
 * An array over `data`, which is not copied; a list of numbers becomes a new Float32Array.
 *
 * @param shape default: a vector of all the data
 * @throws VaeError `"shape"` for a length that the shape does not have or a shape that is none, `"dtype"` for other data,
 *   `"detached"` for data whose buffer is gone
 *
 * @example
 * ```ts
 * const x = ndarray(pixels, [128, 784]);          // a Float32Array of 128 · 784
 * const identity = ndarray([1, 0, 0, 1], [2, 2]);
 * ```
 */
export function ndarray(data: readonly number[], shape?: Shape): NdArray;
export function ndarray<Data extends HostArray>(data: Data, shape?: Shape): NdArray<Data>;
export function ndarray(data: HostArray | readonly number[], shape?: Shape): NdArray<HostArray> {
  const array = isArray(data) ? Float32Array.from(listOf("ndarray", data, "an array of numbers", isNumber)) : (data as HostArray);
  checkArray("ndarray", array, shape ?? [Math.max(1, isArrayLike(array) ? array.length : 0)]);
  return Object.freeze({ data: array, shape: Object.freeze([...(shape ?? [array.length])]) });
}

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}

/** The operand as data and shape, checked; undefined for what is not an array: a number, an option. */
export function toNdArray(operation: string, value: unknown): NdArray<HostArray> | undefined {
  if (ArrayBuffer.isView(value)) {
    const vector = value as HostArray;
    checkArray(operation, vector, [Math.max(1, vector.length ?? 0)]);
    return { data: vector, shape: [vector.length] };
  }
  if (typeof value !== "object" || value === null) return undefined;
  if (!isReadable(value)) {
    throw new VaeError({ code: "argument", operation, expected: "arrays, numbers and plain options", received: describe(value) });
  }
  if (isTensor(value)) {
    throw new VaeError({
      code: "argument",
      operation,
      expected: "arrays of numbers",
      received: `a symbolic tensor, ${value.op} ${showShape(value.shape)}`,
      hint: "functions of tensors are in node-vae/graph",
    });
  }
  if (isArray(value) || !("data" in value && "shape" in value)) return undefined;
  const array = value as NdArray<HostArray>;
  checkArray(operation, array.data, array.shape);
  return array;
}

function checkArray(operation: string, data: unknown, shape: Shape): void {
  if (!(isFloat32Array(data) || isInt32Array(data) || isUint8Array(data))) {
    throw new VaeError({
      code: "dtype",
      operation,
      expected: "a Float32Array, Int32Array or Uint8Array",
      received: describe(data),
      hint: "Float32Array.from(values) makes float32 of any list of numbers",
    });
  }
  checkShape(operation, shape);
  if (data.length === sizeOf(shape)) return;
  checkAttached(operation, data, "an array");
  throw new VaeError({
    code: "shape",
    operation,
    expected: `${numbers(sizeOf(shape))} for shape ${showShape(shape)}`,
    received: numbers(data.length),
  });
}
