import { setImmediate } from "node:timers/promises";
import { describe, VaeError } from "../errors.js";
import { checkAttached } from "../graph/arguments.js";
import { isArray, isArrayLike, isFloat32Array, isUint8Array } from "../graph/kinds.js";
import { type Shape, showShape, sizeOf } from "../graph/tensor.js";
import { Blocks } from "./blocks.js";
import type { Dataset } from "./dataset.js";
import type { BesideX } from "./field.js";
import { joinBesideX } from "./field-join.js";
import { type FieldRecord, partsOf } from "./field-record.js";
import { addField, bytesToKeep } from "./field-values.js";
import { isFieldRecord } from "./forms.js";

/** Several rows at once: row-major values, or one array-like per row. */
export type Batch = Float32Array | Uint8Array | readonly ArrayLike<number>[];

/** How a {@link RowCollector} reads. */
export interface CollectorOptions {
  /** What one `add` brings, to be named in errors with its index; left out where there is only one. */
  readonly unit?: string;
  /** Whether bytes may end inside a row that the next ones go on with, as chunks of a stream do; default false. */
  readonly cut?: boolean;
  /** More rows are an error; default: as many as fill 512 MiB. */
  readonly maxRows?: number | undefined;
}

/** What is collected unless the caller allows more: a source without an end is noticed before the memory is full. */
const MOST_BYTES = 2 ** 29;

/** The rows that a {@link RowCollector} has gathered, in arrays of exactly their size. */
export type Collected = Omit<Dataset, "name">;

/** Gathers rows and batches into one array. Everything is copied as it is added. */
export class RowCollector {
  private readonly size: number;
  private values: Blocks | undefined;
  private batches = 0;
  /** What batches that were records have beside x. */
  private readonly beside: BesideX[] = [];
  private besideBytes = 0;

  constructor(
    private readonly shape: Shape,
    readonly operation: string,
    private readonly options: CollectorOptions = {},
  ) {
    this.size = sizeOf(shape);
  }

  /** Whole rows so far. */
  get rows(): number {
    return Math.floor(this.filled / this.size);
  }

  private get filled(): number {
    return this.values?.length ?? 0;
  }

  add(batch: unknown): void {
    const index = this.batches++;
    const { unit, cut = false } = this.options;
    const where = unit === undefined ? "" : `${unit} ${index}`;
    const isRecord = isFieldRecord(batch);
    if (index > 0 && isRecord !== this.beside.length > 0) {
      const [record, rows] = ["a record with the fields of those before", "rows without other fields, as those before"];
      throw this.wrong(where, isRecord ? rows : record, describe(batch), "give the same fields with every batch");
    }
    if (isRecord) this.addRecord(batch, where);
    else this.addRows(batch, where, cut);
  }

  private addRecord(record: FieldRecord, where: string): void {
    const { operation } = this;
    const before = this.rows;
    const { x, others } = partsOf(record, operation, where);
    this.addRows(x, where, false);
    const none: BesideX = { rows: this.rows - before, name: where };
    for (const [, values] of others) this.besideBytes += bytesToKeep(values, none.rows);
    if (this.options.maxRows === undefined && this.besideBytes > MOST_BYTES) throw this.endless(before, this.rows);
    const beside = others.reduce((part, [name, values]) => addField(part, name, values, operation, { copied: true }), none);
    this.beside.push(beside);
  }

  private addRows(batch: unknown, where: string, cut: boolean): void {
    if (isFloat32Array(batch) || isUint8Array(batch)) {
      checkAttached(this.operation, batch, where);
      const bytes = isUint8Array(batch);
      if (!(bytes && cut)) countRows(batch.length, this.shape, this.operation, where, bytes ? CUT_BYTES : undefined);
      this.append(batch, bytes, where);
      return;
    }
    if (!isArray(batch)) {
      throw this.wrong(where, "a Float32Array, a Uint8Array or an array of rows", describe(batch), insteadOfBatch[typeof batch]);
    }
    this.checkWhole(where);
    // Not forEach(), which passes over the holes of a sparse array.
    for (const [index, row] of batch.entries()) this.addRow(row, where === "" ? `row ${index}` : `${where}, row ${index}`);
  }

  /** Throws `"shape"` where what has come ends inside a row. */
  end(): void {
    this.checkWhole("the end");
  }

  /** The whole rows so far; nothing may be added any more. */
  finish(): Collected {
    const gathering = this.gather();
    let step = gathering.next();
    while (step.done !== true) step = gathering.next();
    return step.value;
  }

  /** The same with turns of the event loop in between. */
  async finishInTurns(): Promise<Collected> {
    const gathering = this.gather();
    let step = gathering.next();
    while (step.done !== true) {
      await setImmediate();
      step = gathering.next();
    }
    return step.value;
  }

  private *gather(): Generator<void, Collected> {
    const { rows, shape, size, operation } = this;
    const hint = this.options.unit === undefined ? undefined : "generators and streams give each row once: a second use finds none";
    if (this.values === undefined || rows === 0) throw noRows(operation, hint);
    const data = yield* this.values.gather(rows * size);
    // A list of texts that is empty cannot be told from one of numbers.
    const parts = this.beside.filter((part) => part.rows > 0);
    return { data, rows, shape, ...(parts.length === 0 ? {} : yield* joinBesideX(parts, operation)) };
  }

  private checkWhole(where: string): void {
    const rest = this.filled % this.size;
    if (rest === 0) return;
    throw new VaeError({
      code: "shape",
      operation: this.operation,
      problem: `the bytes before ${where} stop inside a row`,
      expected: `a multiple of ${this.size} bytes, for rows of shape ${showShape(this.shape)}`,
      received: `${this.filled} bytes (${this.rows} rows and ${rest} bytes)`,
    });
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
        received: nested ? `${row.length} nested array${row.length === 1 ? "" : "s"}` : `${row.length} values`,
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
    this.values ??= new Blocks(bytes, this.size, this.operation);
    if (bytes !== this.values.bytes) {
      const [before, now] = bytes ? ["floats", "bytes"] : ["bytes", "floats"];
      throw new VaeError({
        code: "dtype",
        operation: this.operation,
        problem: `${where} mixes bytes and floats`,
        expected: `${before}, as in the rows before`,
        received: now,
        hint: "bytes are scaled by 1/255 and floats are not: use one of the two throughout",
      });
    }
    this.checkCount(this.filled + values.length, bytes);
    this.values.append(values);
  }

  private checkCount(values: number, bytes: boolean): void {
    const { maxRows = Math.max(1, Math.floor(MOST_BYTES / (this.size * (bytes ? 1 : 4)))) } = this.options;
    if (values >= (maxRows + 1) * this.size) throw this.endless(maxRows, Math.floor(values / this.size));
  }

  private endless(maxRows: number, received: number): VaeError {
    return new VaeError({
      code: "data",
      operation: this.operation,
      problem: `the source has not ended after ${maxRows} rows`,
      expected: this.options.maxRows === undefined ? "at most 512 MiB of rows" : `at most ${maxRows} rows (maxRows)`,
      received: `${received} rows`,
      hint: "fit and train with steps read steps × batchSize rows of an endless source; their maxRows, and that of datasets.from, allows more",
    });
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

/** The error of a source without rows. */
export function noRows(operation: string, hint?: string): VaeError {
  const parts = { code: "data", operation, problem: "the data set is empty", expected: "at least one row", received: "none" } as const;
  return new VaeError(hint === undefined ? parts : { ...parts, hint });
}
