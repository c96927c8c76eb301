// Typed arrays of the three element types that values of rows are kept in: told apart, made, cut, and taken over from callers.
import { types } from "node:util";
import { newArray } from "../graph/bytes.js";
import { isFloat32Array, isInt32Array, isUint8Array } from "../graph/kinds.js";
import { dtypeOf } from "../runtime/feed.js";
import type { FieldArray } from "./field.js";

/** About what is copied in 10 ms, most of which goes into fresh memory. */
const COPIED_BYTES = 8 << 20;

/** True for the arrays that values of rows are kept in. */
export function isFieldArray(value: unknown): value is FieldArray {
  return isFloat32Array(value) || isUint8Array(value) || isInt32Array(value);
}

const makers = { float32: Float32Array, uint8: Uint8Array, int32: Int32Array } as const;

/**
 * Zeros of the element type of `data`.
 *
 * @throws VaeError `"memory"` where there is no room
 */
export function zerosLike<Data extends FieldArray>(data: Data, length: number, operation: string): Data {
  return newArray<FieldArray>(makers[dtypeOf(data)], length, { operation, what: "of rows", hint: "take fewer rows at a time" }) as Data;
}

/** A copy of the rows of `size` values from `start` (included) to `end` (excluded). */
export function rowsBetween<Data extends FieldArray>(data: Data, size: number, start: number, end: number, operation: string): Data {
  // Not slice(): on a Buffer that gives a view, not a copy.
  const copy = zerosLike(data, (end - start) * size, operation);
  copy.set(data.subarray(start * size, end * size));
  return copy;
}

/** A copy of the rows of `size` values at the indices, in their order. */
export function rowsAt<Data extends FieldArray>(data: Data, size: number, indices: ArrayLike<number>, operation: string): Data {
  const copy = zerosLike(data, indices.length * size, operation);
  for (let place = 0; place < indices.length; place++) {
    const row = indices[place]!;
    if (size === 1) copy[place] = data[row]!;
    else copy.set(data.subarray(row * size, (row + 1) * size), place * size);
  }
  return copy;
}

/** A caller's values, copied unless that would hold up the event loop: larger arrays are used in place, and so is shared memory. */
export function ownedValues<Data extends FieldArray>(values: Data, operation: string): Data {
  const inPlace = values.byteLength > COPIED_BYTES || types.isSharedArrayBuffer(values.buffer);
  return inPlace ? values : rowsBetween(values, 1, 0, values.length, operation);
}
