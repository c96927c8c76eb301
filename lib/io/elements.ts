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
  override readonly name = "ElementRangeError";

  constructor(
    /** Its place in the result. */
    readonly index: number,
    readonly value: number,
    readonly dtype: DType,
  ) {
    super(`element ${index} is ${value}`);
  }
}

/** True where elements of a type lie in memory as a typed array of ours has them. */
function isNative(type: ElementType, dtype: DType, littleEndian: boolean): boolean {
  return type === dtype && (elements[type].bytes === 1 || littleEndian === (endianness() === "LE"));
}

/** How packed elements become an array of ours. */
export interface Decoding<D extends DType> {
  readonly type: ElementType;
  readonly dtype: D;
  readonly littleEndian: boolean;
  /** Elements of the result. */
  readonly length: number;
  /** Where the elements go, one after the other; by default in their own order. */
  readonly places?: { next(): number };
}

/**
 * Turns packed elements into an array of ours as they arrive, cut anywhere.
 *
 * @throws ElementRangeError where a value is no whole number in the range of an int32 or uint8 target, or finite and too large
 *   for float32. Floats round to float32, and so do whole numbers above 2^24.
 */
export class ElementDecoder<D extends DType> {
  readonly #decoding: Decoding<D>;
  readonly #result: DTypeArrays[D];
  /** The first bytes of an element whose others are still to come. */
  readonly #cut: Uint8Array;
  #cutBytes = 0;
  #filled = 0;

  constructor(decoding: Decoding<D>) {
    this.#decoding = decoding;
    this.#result = makeArray(decoding.dtype, decoding.length);
    this.#cut = new Uint8Array(elements[decoding.type].bytes);
  }

  /** Takes the next bytes; more than the result has room for are left out. */
  push(bytes: Uint8Array): void {
    let start = 0;
    if (this.#cutBytes > 0) {
      start = Math.min(this.#cut.length - this.#cutBytes, bytes.length);
      this.#cut.set(bytes.subarray(0, start), this.#cutBytes);
      this.#cutBytes += start;
      if (this.#cutBytes < this.#cut.length) return;
      this.#decode(this.#cut);
    }
    const whole = bytes.length - ((bytes.length - start) % this.#cut.length);
    this.#decode(bytes.subarray(start, whole));
    this.#cut.set(bytes.subarray(whole));
    this.#cutBytes = bytes.length - whole;
  }

  /** The array; zeros where elements are missing. */
  finish(): DTypeArrays[D] {
    return this.#result;
  }

  #decode(bytes: Uint8Array): void {
    const { type, dtype, littleEndian, places } = this.#decoding;
    const element = elements[type];
    const result = this.#result;
    const begin = this.#filled;
    const end = Math.min(result.length, begin + bytes.length / element.bytes);
    this.#filled = end;
    if (places === undefined && isNative(type, dtype, littleEndian)) {
      const target = new Uint8Array(result.buffer, result.byteOffset, result.byteLength);
      target.set(bytes.subarray(0, (end - begin) * element.bytes), begin * element.bytes);
      return;
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let index = begin; index < end; index++) {
      const value = element.read(view, (index - begin) * element.bytes, littleEndian);
      const place = places === undefined ? index : places.next();
      result[place] = value;
      // A narrowing store wraps, or becomes infinite, silently; reading back shows it.
      if (result[place] !== value && !(dtype === "float32" && isRounded(result[place]!, value))) {
        throw new ElementRangeError(place, value, dtype);
      }
    }
  }
}

/** True where a float32 stands for a value as well as it can; a value that was no finite number stays as it is. */
function isRounded(stored: number, value: number): boolean {
  return Number.isFinite(stored) || !Number.isFinite(value);
}

/**
 * Reads packed elements into an array of ours. The result may be a view of `bytes` where type and alignment allow it, so
 * `bytes` must be the reader's own.
 *
 * @throws ElementRangeError as {@link ElementDecoder} does.
 */
export function decodeElements<D extends DType>(bytes: Uint8Array, type: ElementType, dtype: D, littleEndian = true): DTypeArrays[D] {
  const element = elements[type];
  const length = Math.floor(bytes.byteLength / element.bytes);
  if (isNative(type, dtype, littleEndian)) {
    const aligned = bytes.byteOffset % element.bytes === 0 ? bytes : bytes.slice();
    return views[dtype](aligned.buffer, aligned.byteOffset, length);
  }
  const decoder = new ElementDecoder({ type, dtype, littleEndian, length });
  decoder.push(bytes);
  return decoder.finish();
}

const views: { readonly [D in DType]: (buffer: ArrayBufferLike, offset: number, length: number) => DTypeArrays[D] } = {
  float32: (buffer, offset, length) => new Float32Array(buffer, offset, length),
  int32: (buffer, offset, length) => new Int32Array(buffer, offset, length),
  uint8: (buffer, offset, length) => new Uint8Array(buffer, offset, length),
};

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
