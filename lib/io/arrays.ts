// Arrays as IDX and NPY files store them: a header that says type and shape, then the packed elements.
import type { Fields } from "../graph/arguments.js";
import { type DType, type Shape, showShape, sizeOf } from "../graph/tensor.js";
import type { ByteReader } from "./byte-reader.js";
import { type BytesMeaning, bytesOption, checkBytesInSlices, LOADER_HINT } from "./bytes.js";
import { noRows } from "./collect.js";
import type { Dataset } from "./dataset.js";
import { type DTypeArrays, decodeElements, ElementDecoder, ElementRangeError, type ElementType, elements } from "./elements.js";
import { fileError } from "./files.js";
import { allocated, byteLimit, checkBytesNeeded } from "./limits.js";

import type { Source } from "./source.js";

/** What a header says. */
export interface StoredArray {
  readonly type: ElementType;
  readonly shape: Shape;
  readonly littleEndian: boolean;
  /** The first index runs fastest, instead of the last. */
  readonly fortranOrder: boolean;
}

/** What the loaders of IDX, NPY and NPZ files have in common. */
export interface ArrayOptions {
  /**
   * What `uint8` stands for: `"scaled"`, value / 255, which keeps one byte per value; `"raw"`, the value itself, as float32. To be
   * given where all bytes are 0 and 1; else the default is `"scaled"`. Other element types always stand for themselves.
   */
  readonly bytes?: BytesMeaning;
  /** The most bytes of memory that the rows may take; default 256 MiB, or ten times the file where that is more. */
  readonly maxBytes?: number;
}

/** Reads {@link ArrayOptions}: the meaning of bytes, and the limit of memory by the bytes of the file. */
export function arrayOptions(fields: Fields) {
  return { bytes: bytesOption(fields), limit: byteLimit(fields) };
}

/** What rows are read with. */
export interface RowsRequest {
  readonly bytes: BytesMeaning | undefined;
  /** The most memory, in bytes, that they may take. */
  readonly limit: number;
}

/** The rows of an array whose first axis counts them; a vector gives rows of one value. */
export async function readRows(reader: ByteReader, array: StoredArray, { bytes, limit }: RowsRequest, source: Source): Promise<Dataset> {
  const [rows, ...rest] = array.shape;
  if (rows === undefined) throw fileError(source, "a single number, not rows", { expected: "at least one axis", received: "shape []" });
  if (array.shape.includes(0)) throw noRows(source.operation);
  const shape = rest.length === 0 ? [1] : rest;
  const named = { rows, shape, name: source.path };
  if (array.type !== "uint8") return { ...named, data: await readValues(reader, array, "float32", limit, source) };
  if (bytes === "raw") return { ...named, data: await readValues(reader, array, "float32", limit, source), bytes };
  const data = await readValues(reader, array, "uint8", limit, source);
  await checkBytesInSlices({ ...named, data, bytes }, source.operation, LOADER_HINT);
  return { ...named, data, bytes: "scaled" };
}

/** One whole number per row, which count towards the limit together with the rows. */
export async function readLabels(
  reader: ByteReader,
  array: StoredArray,
  { rows, data }: Dataset,
  limit: number,
  source: Source,
): Promise<Int32Array> {
  if (sizeOf(array.shape) !== rows) {
    const received = showShape(array.shape);
    throw fileError(source, "the number of labels is not that of the rows", { expected: String(rows), received });
  }
  checkBytesNeeded(source, data.byteLength + 4 * rows, limit, "the rows and their labels");
  return readValues(reader, array, "int32", Number.POSITIVE_INFINITY, source);
}

async function readValues<D extends DType>(
  reader: ByteReader,
  array: StoredArray,
  dtype: D,
  limit: number,
  source: Source,
): Promise<DTypeArrays[D]> {
  const { type, shape, littleEndian } = array;
  const length = sizeOf(shape);
  const stored = length * elements[type].bytes;
  const end = reader.position + stored;
  const declared = `${type} ${showShape(shape)}`;
  const needed = length * (dtype === "uint8" ? 1 : 4);
  checkBytesNeeded(source, needed, limit, `${declared} as ${dtype}`);
  const wrongLength = (found: number, more = "") => {
    const problem = found < end ? `truncated in the values at byte ${found}` : `more bytes behind the values at byte ${end}`;
    return fileError(source, problem, { expected: `${end} bytes for ${declared}`, received: `${more}${found} bytes` });
  };
  if (reader.total !== undefined && reader.total !== end) throw wrongLength(reader.total);
  const isTransposed = array.fortranOrder && shape.filter((size) => size > 1).length > 1;
  try {
    if (reader.total !== undefined && !isTransposed) {
      const values = await reader.take(stored);
      return allocated(source, needed, () => decodeElements(values, type, dtype, littleEndian));
    }
    const places = isTransposed ? { places: new FortranPlaces(shape) } : {};
    const decoder = allocated(source, needed, () => new ElementDecoder({ type, dtype, littleEndian, length, ...places }));
    while (reader.position < end) {
      const piece = await reader.some(Math.min(end - reader.position, MOST_AT_ONCE));
      if (piece.length === 0) throw wrongLength(reader.position);
      decoder.push(piece);
    }
    // A packed file is only known to end here once one has looked; what it is packed into is checked by that, too.
    if ((await reader.some(1)).length > 0) throw wrongLength(reader.position, "at least ");
    return decoder.finish();
  } catch (cause) {
    if (cause instanceof ElementRangeError) throw outOfRange(cause, shape, source);
    throw cause;
  } finally {
    await reader.close();
  }
}

/** Elements are decoded in about a hundredth of a second. */
const MOST_AT_ONCE = 1 << 20;

/** The error of a value that does not fit. `firstRow` is the number of the first row, where the elements are a part of others. */
export function outOfRange(cause: ElementRangeError, shape: Shape, source: Source, firstRow = 0) {
  const { index, value } = cause;
  const received = String(value);
  if (cause.dtype === "int32") {
    return fileError(source, `element ${index} is not a label`, { expected: "whole numbers that fit an int32", received, cause });
  }
  const size = sizeOf(shape.slice(1));
  const place = `row ${firstRow + Math.floor(index / size)}, column ${index % size}`;
  const expected = "values that float32 can hold, up to 3.4e38";
  return fileError(source, `${place} is out of range`, { expected, received, hint: "scale the values before they are saved", cause });
}

/** Where the elements of an array in Fortran order, one after the other, stand in row-major order. */
class FortranPlaces {
  /** Axes of one index, which would only be stepped over, are left out. */
  readonly #sizes: readonly number[];
  readonly #strides: readonly number[];
  readonly #indices: number[];
  #place = 0;

  constructor(shape: Shape) {
    const axes = shape.map((size, axis) => ({ size, stride: sizeOf(shape.slice(axis + 1)) })).filter(({ size }) => size > 1);
    this.#sizes = axes.map(({ size }) => size);
    this.#strides = axes.map(({ stride }) => stride);
    this.#indices = axes.map(() => 0);
  }

  next(): number {
    const place = this.#place;
    for (let axis = 0; axis < this.#sizes.length; axis++) {
      this.#place += this.#strides[axis]!;
      if (++this.#indices[axis]! < this.#sizes[axis]!) break;
      this.#place -= this.#strides[axis]! * this.#sizes[axis]!;
      this.#indices[axis] = 0;
    }
    return place;
  }
}
