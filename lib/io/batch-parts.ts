// What a batch holds, looked at before any of it is copied: the values of a typed array, or rows one after the other.
import { describe, VaeError } from "../errors.js";
import { checkAttached } from "../graph/arguments.js";
import { isArray, isArrayLike, isFloat32Array, isUint8Array } from "../graph/kinds.js";
import { type Shape, showShape, sizeOf } from "../graph/tensor.js";

/** Several rows at once: row-major values, or one array-like per row. */
export type Batch = Float32Array | Uint8Array | readonly ArrayLike<number>[];

/** A part of a batch that is of one kind: a whole typed array, or one row. */
export interface BatchPart {
  /** What is no typed array is one row. */
  readonly values: ArrayLike<number>;
  /** Whether they are bytes; else they are floats. */
  readonly bytes: boolean;
  /** Where they stand, for messages. */
  readonly where: string;
}

/** What is known of a place among rows. */
interface Place {
  readonly shape: Shape;
  readonly operation: string;
  /** In words: `"batch 3"`; empty where there is only one. */
  readonly where: string;
}

/** How a batch is read. */
export interface BatchPlace extends Place {
  /** Whether bytes may end inside a row that the next ones go on with, as chunks of a stream do. */
  readonly cut: boolean;
  /** How many values came before it. */
  readonly filled: number;
}

/**
 * The parts of a batch, each checked when it is asked for.
 *
 * @throws VaeError `"shape"` for rows of another size, `"argument"` for what is no batch, `"detached"`
 */
export function* batchParts(batch: unknown, place: BatchPlace): Generator<BatchPart> {
  const { shape, operation, where, cut } = place;
  if (isFloat32Array(batch) || isUint8Array(batch)) {
    checkAttached(operation, batch, where === "" ? undefined : where);
    const bytes = isUint8Array(batch);
    if (!(bytes && cut)) countRows(batch.length, shape, operation, where, bytes ? CUT_BYTES : undefined);
    yield { values: batch, bytes, where };
    return;
  }
  if (!isArray(batch)) {
    throw wrong(place, "a Float32Array, a Uint8Array or an array of rows", describe(batch), insteadOfBatch[typeof batch]);
  }
  checkWhole(place.filled, place);
  // Not forEach(), which passes over the holes of a sparse array.
  for (const [index, row] of batch.entries()) {
    yield rowPart(row, { ...place, where: where === "" ? `row ${index}` : `${where}, row ${index}` });
  }
}

/** Throws `"shape"` where so many values before a place end inside a row. */
export function checkWhole(filled: number, { shape, operation, where }: Place): void {
  const size = sizeOf(shape);
  const rest = filled % size;
  if (rest === 0) return;
  throw new VaeError({
    code: "shape",
    operation,
    problem: `the bytes before ${where} stop inside a row`,
    expected: `a multiple of ${size} bytes, for rows of shape ${showShape(shape)}`,
    received: `${filled} bytes (${Math.floor(filled / size)} rows and ${rest} bytes)`,
  });
}

/** Throws `"dtype"` where bytes follow floats, or floats bytes. */
export function checkAlike(before: boolean, now: boolean, operation: string, where: string): void {
  if (before === now) return;
  const name = (bytes: boolean): string => (bytes ? "bytes" : "floats");
  throw new VaeError({
    code: "dtype",
    operation,
    problem: `${where} mixes bytes and floats`,
    expected: `${name(before)}, as in the rows before`,
    received: name(now),
    hint: "bytes are scaled by 1/255 and floats are not: use one of the two throughout",
  });
}

function rowPart(row: unknown, place: BatchPlace): BatchPart {
  const { shape, operation, where } = place;
  const size = sizeOf(shape);
  if (!isArrayLike(row)) {
    throw wrong(place, `an array of ${size} numbers`, describe(row), "for one flat list of numbers pass Float32Array.from(list)");
  }
  if (ArrayBuffer.isView(row)) checkAttached(operation, row, where);
  const nested = row.length > 0 && isArrayLike(row[0]);
  if (row.length !== size || nested) {
    const batched = !nested && row.length > 0 && row.length % size === 0;
    throw new VaeError({
      code: "shape",
      operation,
      problem: `${where} has the wrong length`,
      expected: `${size} values, for rows of shape ${showShape(shape)}`,
      received: nested ? `${row.length} nested array${row.length === 1 ? "" : "s"}` : `${row.length} values`,
      ...(nested ? { hint: "flatten each row: row.flat(Infinity)" } : {}),
      ...(batched ? { hint: "an array holds rows; for batches pass an iterator: batches.values()" } : {}),
    });
  }
  const index = firstNotNumber(row);
  if (index >= 0) {
    const received = `an array with ${describe(row[index])} at index ${index}`;
    throw wrong(place, `an array of ${size} numbers`, received, "convert texts with Number, and fill in missing values");
  }
  return { values: row as ArrayLike<number>, bytes: isUint8Array(row), where };
}

function wrong({ operation, where }: Place, expected: string, received: string, hint?: string): VaeError {
  const problem = `${where} is not usable`;
  return new VaeError({ code: "argument", operation, problem, expected, received, ...(hint === undefined ? {} : { hint }) });
}

const CUT_BYTES = "batches hold whole rows; a stream of bytes that is cut anywhere is an async iterable: Readable.from(chunks)";

/** What to do about what is no batch, by its type. */
const insteadOfBatch: Readonly<Record<string, string>> = {
  string: "read the stream without an encoding: its chunks are bytes then",
  number: "for one flat list of numbers pass Float32Array.from(list)",
};

/** Index of the first element that is no number, or -1. Those of a typed array are all alike. */
function firstNotNumber(row: ArrayLike<unknown>): number {
  const end = ArrayBuffer.isView(row) ? Math.min(1, row.length) : row.length;
  for (let index = 0; index < end; index++) if (typeof row[index] !== "number") return index;
  return -1;
}

/** How many rows a number of values makes; throws where it is no whole number. */
export function countRows(length: number, shape: Shape, operation: string, what: string, hint?: string): number {
  const size = sizeOf(shape);
  if (length % size === 0) return length / size;
  throw new VaeError({
    code: "shape",
    operation,
    problem: `${what} cannot be divided into rows`,
    expected: `a multiple of ${size} values, for rows of shape ${showShape(shape)}`,
    received: `${length} values (${Math.floor(length / size)} rows and ${length % size} values)`,
    ...(hint === undefined ? {} : { hint }),
  });
}
