import { endianness } from "node:os";
import type { DType } from "../graph/tensor.js";

/** The element types that NPY, IDX and safetensors files may hold. */
export type ElementType =
  | "float16"
  | "bfloat16"
  | "float32"
  | "float64"
  | "int8"
  | "int16"
  | "int32"
  | "int64"
  | "uint8"
  | "uint16"
  | "uint32"
  | "uint64"
  | "bool";

/** The arrays that our own element types live in. */
export interface DTypeArrays {
  readonly float32: Float32Array;
  readonly int32: Int32Array;
  readonly uint8: Uint8Array;
}

interface Element {
  readonly bytes: number;
  /** The type of ours that holds it best. */
  readonly dtype: DType;
  read(view: DataView, offset: number, littleEndian: boolean): number;
}

/** One row per element type. */
export const elements: Readonly<Record<ElementType, Element>> = {
  float16: { bytes: 2, dtype: "float32", read: (view, offset, little) => float16ToNumber(view.getUint16(offset, little)) },
  bfloat16: { bytes: 2, dtype: "float32", read: (view, offset, little) => bfloat16ToNumber(view.getUint16(offset, little)) },
  float32: { bytes: 4, dtype: "float32", read: (view, offset, little) => view.getFloat32(offset, little) },
  float64: { bytes: 8, dtype: "float32", read: (view, offset, little) => view.getFloat64(offset, little) },
  int8: { bytes: 1, dtype: "int32", read: (view, offset) => view.getInt8(offset) },
  int16: { bytes: 2, dtype: "int32", read: (view, offset, little) => view.getInt16(offset, little) },
  int32: { bytes: 4, dtype: "int32", read: (view, offset, little) => view.getInt32(offset, little) },
  int64: { bytes: 8, dtype: "int32", read: (view, offset, little) => Number(view.getBigInt64(offset, little)) },
  uint8: { bytes: 1, dtype: "uint8", read: (view, offset) => view.getUint8(offset) },
  uint16: { bytes: 2, dtype: "int32", read: (view, offset, little) => view.getUint16(offset, little) },
  uint32: { bytes: 4, dtype: "int32", read: (view, offset, little) => view.getUint32(offset, little) },
  uint64: { bytes: 8, dtype: "int32", read: (view, offset, little) => Number(view.getBigUint64(offset, little)) },
  bool: { bytes: 1, dtype: "uint8", read: (view, offset) => (view.getUint8(offset) === 0 ? 0 : 1) },
};

const makers: { readonly [D in DType]: (length: number) => DTypeArrays[D] } = {
  float32: (length) => new Float32Array(length),
  int32: (length) => new Int32Array(length),
  uint8: (length) => new Uint8Array(length),
};

/** A zeroed array for a type of ours. */
export function makeArray<D extends DType>(dtype: D, length: number): DTypeArrays[D] {
  return makers[dtype](length);
}

/** Says which element does not fit the type it is read into. */
export class ElementRangeError extends RangeError {
  constructor(
    readonly index: number,
    readonly value: number,
  ) {
    super(`element ${index} is ${value}`);
  }
}

/**
 * Reads packed elements into an array of ours. The result may be a view of `bytes` where type and alignment allow it, so
 * `bytes` must be the reader's own.
 *
 * @throws ElementRangeError where a value is no whole number in the range of an int32 or uint8 target. Floats round to float32.
 */
export function decodeElements<D extends DType>(bytes: Uint8Array, type: ElementType, dtype: D, littleEndian = true): DTypeArrays[D] {
  const element = elements[type];
  const length = Math.floor(bytes.byteLength / element.bytes);
  const native = littleEndian === (endianness() === "LE") || element.bytes === 1;
  if (native && type === dtype) {
    const aligned = bytes.byteOffset % element.bytes === 0 ? bytes : bytes.slice();
    return viewAs(dtype, aligned.buffer, aligned.byteOffset, length);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const result = makeArray(dtype, length);
  for (let index = 0; index < length; index++) result[index] = element.read(view, index * element.bytes, littleEndian);
  if (dtype !== "float32") {
    // A narrowing store wraps silently; reading back shows it.
    for (let index = 0; index < length; index++) {
      const value = element.read(view, index * element.bytes, littleEndian);
      if (result[index] !== value) throw new ElementRangeError(index, value);
    }
  }
  return result;
}

const views: { readonly [D in DType]: (buffer: ArrayBufferLike, offset: number, length: number) => DTypeArrays[D] } = {
  float32: (buffer, offset, length) => new Float32Array(buffer, offset, length),
  int32: (buffer, offset, length) => new Int32Array(buffer, offset, length),
  uint8: (buffer, offset, length) => new Uint8Array(buffer, offset, length),
};

function viewAs<D extends DType>(dtype: D, buffer: ArrayBufferLike, offset: number, length: number): DTypeArrays[D] {
  return views[dtype](buffer, offset, length);
}

/** IEEE 754 binary16: 1 sign, 5 exponent (bias 15) and 10 fraction bits. */
export function float16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24; // subnormal, and both zeros
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const word = new DataView(new ArrayBuffer(4));

/** bfloat16 is the upper half of a binary32. */
export function bfloat16ToNumber(bits: number): number {
  word.setUint32(0, bits << 16);
  return word.getFloat32(0);
}
