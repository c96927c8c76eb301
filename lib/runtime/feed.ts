// What callers hand over: typed arrays, checked before native code copies them.
import { VaeError } from "../errors.js";
import type { DType } from "../graph/tensor.js";
import type { HostArray } from "./native.js";

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array } as const;

/** A typed array of this element type: filled with zeros, or with the values. */
export function hostArray(dtype: DType, content: number | readonly number[]): HostArray {
  return typeof content === "number" ? new ARRAYS[dtype](content) : ARRAYS[dtype].from(content);
}

/**
 * Throws unless `array` is the typed array of the element type, its memory is still there, and it has as many elements
 * (any number when left out).
 *
 * @throws `VaeError` `"dtype"`, `"detached"` or `"shape"`
 */
export function checkArray(operation: string, what: string, array: HostArray, dtype: DType, elements?: number): void {
  const type = ARRAYS[dtype];
  if (!(array instanceof type)) {
    const received = ArrayBuffer.isView(array) ? array.constructor.name : typeof array;
    throw new VaeError({ code: "dtype", operation, expected: `${what} as a ${type.name}`, received });
  }
  if (isGone(array)) {
    throw new VaeError({
      code: "detached",
      operation,
      problem: `the buffer of ${what} was transferred away or resized`,
      hint: "hand over a copy, or wait for the promise before the buffer is transferred",
    });
  }
  if (elements !== undefined && array.length !== elements) {
    throw new VaeError({ code: "shape", operation, expected: `${what} of ${elements} elements`, received: String(array.length) });
  }
}

/** True for an array whose buffer was detached, or shrunk so far that the array lies outside. */
function isGone(array: HostArray): boolean {
  if (array.length > 0) return false;
  try {
    new Uint8Array(array.buffer);
  } catch {
    return true; // a view of a detached buffer cannot be made
  }
  return "resizable" in array.buffer && array.buffer.resizable === true;
}
