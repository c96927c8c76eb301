// What callers hand over: typed arrays, checked before native code copies them.

import { describe, VaeError, withArticle } from "../errors.js";
import { checkAttached } from "../graph/arguments.js";
import { isFloat32Array, isInt32Array, typedArrayName } from "../graph/kinds.js";
import type { DType } from "../graph/tensor.js";
import type { HostArray } from "./native.js";

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array } as const;

/** The element type of a typed array. */
export function dtypeOf<Data extends HostArray>(data: Data): DTypeOf<Data> {
  const dtype: DType = isFloat32Array(data) ? "float32" : isInt32Array(data) ? "int32" : "uint8";
  return dtype as DTypeOf<Data>;
}

type DTypeOf<Data extends HostArray> = Data extends Float32Array ? "float32" : Data extends Int32Array ? "int32" : "uint8";

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
  if (typedArrayName(array) !== type.name) {
    throw new VaeError({ code: "dtype", operation, expected: `${what} as ${withArticle(type.name)}`, received: describe(array) });
  }
  checkAttached(operation, array, what);
  if (elements !== undefined && array.length !== elements) {
    throw new VaeError({ code: "shape", operation, expected: `${what} of ${elements} elements`, received: String(array.length) });
  }
}
