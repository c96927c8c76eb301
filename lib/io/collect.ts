import { describe, VaeError } from "../errors.js";
import { checkAttached } from "../graph/arguments.js";
import { isFloat32Array, isUint8Array } from "../graph/kinds.js";
import { type Shape, showShape, sizeOf } from "../graph/tensor.js";

/** Several rows at once: row-major values, or one array-like per row. */
export type Batch = Float32Array | Uint8Array | readonly ArrayLike<number>[];

/** Gathers rows and batches into one array that grows by half whenever it is full. */
export class RowCollector {
  private readonly size: number;
  private data: Float32Array | Uint8Array | undefined;
  private filled = 0;
  private batches = 0;

  /** `unit` is what one `add` brings, to be named in errors with its index; left out where there is only one. */
  constructor(
    private readonly shape: Shape,
    private readonly operation: string,
    private readonly unit: string | undefined,
  ) {
    this.size = sizeOf(shape);
  }

  add(batch: Batch): void {
    const index = this.batches++;
    const where = this.unit === undefined ? "" : `${this.unit} ${index}`;
    if (isFloat32Array(batch) || isUint8Array(batch)) {
      checkAttached(this.operation, batch, where);
      countRows(batch.length, this.shape, this.operation, where);
      this.append(batch, isUint8Array(batch), where);
      return;
    }
    if (!Array.isArray(batch)) throw this.wrong(where, "a Float32Array, a Uint8Array or an array of rows", describe(batch));
    // Not forEach(), which passes over the holes of a sparse array.
    for (const [index, row] of batch.entries()) this.addRow(row, where === "" ? `row ${index}` : `${where}, row ${index}`);
  }

  /** The rows so far, in an array of exactly their size. */
  finish(): { readonly data: Float32Array | Uint8Array; readonly rows: number; readonly shape: Shape } {
    if (this.data === undefined || this.filled === 0) throw noRows(this.operation);
    const data = this.filled === this.data.length ? this.data : this.data.slice(0, this.filled);
    return { data, rows: this.filled / this.size, shape: this.shape };
  }

  private addRow(row: unknown, where: string): void {
    if (!isArrayLike(row)) {
      throw this.wrong(
        where,
        `an array of ${this.size} numbers`,
        describe(row),
        "for one flat list of numbers pass Float32Array.from(list)",
      );
    }
    if (ArrayBuffer.isView(row)) checkAttached(this.operation, row, where);
    const nested = row.length > 0 && isArrayLike(row[0]);
    if (row.length !== this.size || nested) {
      const batched = !nested && row.length > 0 && row.length % this.size === 0;
      throw new VaeError({
        code: "shape",
        operation: this.operation,
        problem: `${where} has the wrong length`,
        expected: `${this.size} values, for rows of shape ${showShape(this.shape)}`,
        received: nested ? `${row.length} nested arrays` : `${row.length} values`,
        ...(nested ? { hint: "flatten each row: row.flat(Infinity)" } : {}),
        ...(batched ? { hint: "an array holds rows; for batches pass an iterator: batches.values()" } : {}),
      });
    }
    const place = firstNotNumber(row);
    if (place >= 0) {
      const received = `an array with ${describe(row[place])} at index ${place}`;
      throw this.wrong(where, `an array of ${this.size} numbers`, received, "convert texts with Number, and fill in missing values");
    }
    this.append(row as ArrayLike<number>, isUint8Array(row), where);
  }

  private append(values: ArrayLike<number>, bytes: boolean, where: string): void {
    const needed = this.filled + values.length;
    // 64 rows to begin with; growing by half keeps the copying linear and the slack below a third.
    const capacity = Math.max(needed, this.data === undefined ? 64 * this.size : Math.ceil((this.data.length * 3) / 2));
    if (this.data === undefined) {
      this.data = bytes ? new Uint8Array(capacity) : new Float32Array(capacity);
    } else if (bytes !== isUint8Array(this.data)) {
      const [before, now] = bytes ? ["floats", "bytes"] : ["bytes", "floats"];
      throw new VaeError({
        code: "dtype",
        operation: this.operation,
        problem: `${where} mixes bytes and floats`,
        expected: `${before}, as in the rows before`,
        received: now,
        hint: "bytes are scaled by 1/255 and floats are not: use one of the two throughout",
      });
    } else if (needed > this.data.length) {
      const grown = bytes ? new Uint8Array(capacity) : new Float32Array(capacity);
      grown.set(this.data.subarray(0, this.filled));
      this.data = grown;
    }
    this.data.set(values, this.filled);
    this.filled = needed;
  }

  private wrong(where: string, expected: string, received: string, hint?: string): VaeError {
    const problem = `${where} is not usable`;
    return new VaeError({
      code: "argument",
      operation: this.operation,
      problem,
      expected,
      received,
      ...(hint === undefined ? {} : { hint }),
    });
  }
}

function isArrayLike(value: unknown): value is ArrayLike<unknown> {
  return typeof value === "object" && value !== null && "length" in value && typeof value.length === "number";
}

/** Index of the first element that is no number, or -1. Those of a typed array are all alike. */
function firstNotNumber(row: ArrayLike<unknown>): number {
  const end = ArrayBuffer.isView(row) ? Math.min(1, row.length) : row.length;
  for (let index = 0; index < end; index++) if (typeof row[index] !== "number") return index;
  return -1;
}

/** How many rows a number of values makes; throws where it is no whole number. */
export function countRows(length: number, shape: Shape, operation: string, what: string): number {
  const size = sizeOf(shape);
  if (length % size === 0) return length / size;
  throw new VaeError({
    code: "shape",
    operation,
    problem: `${what} cannot be divided into rows`,
    expected: `a multiple of ${size} values, for rows of shape ${showShape(shape)}`,
    received: `${length} values (${Math.floor(length / size)} rows and ${length % size} values)`,
  });
}

/** The error of a source without rows. */
export function noRows(operation: string): VaeError {
  return new VaeError({ code: "data", operation, problem: "the data set is empty", expected: "at least one row", received: "none" });
}
