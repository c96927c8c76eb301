import { setImmediate } from "node:timers/promises";
import { describe, VaeError } from "../errors.js";
import { type Shape, sizeOf } from "../graph/tensor.js";
import { type BatchPart, batchParts, checkAlike, checkWhole } from "./batch-parts.js";
import { Blocks } from "./blocks.js";
import type { Dataset } from "./dataset.js";
import type { BesideX } from "./field.js";
import { joinBesideX } from "./field-join.js";
import { type FieldRecord, partsOf } from "./field-record.js";
import { addField, bytesToKeep } from "./field-values.js";
import { isFieldRecord } from "./forms.js";

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
    const { operation } = this;
    const { unit, cut = false } = this.options;
    const where = unit === undefined ? "" : `${unit} ${index}`;
    const isRecord = isFieldRecord(batch);
    if (index > 0 && isRecord !== this.beside.length > 0) {
      const expected = isRecord ? "rows without other fields, as those before" : "a record with the fields of those before";
      const problem = `${where} is not usable`;
      const hint = "give the same fields with every batch";
      throw new VaeError({ code: "argument", operation, problem, expected, received: describe(batch), hint });
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
    const { shape, operation } = this;
    for (const part of batchParts(batch, { shape, operation, where, cut, filled: this.filled })) this.append(part);
  }

  /** Throws `"shape"` where what has come ends inside a row. */
  end(): void {
    const { shape, operation, filled } = this;
    checkWhole(filled, { shape, operation, where: "the end" });
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

  private append({ values, bytes, where }: BatchPart): void {
    this.values ??= new Blocks(bytes, this.size, this.operation);
    checkAlike(this.values.bytes, bytes, this.operation, where);
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
}

/** The error of a source without rows. */
export function noRows(operation: string, hint?: string): VaeError {
  const parts = { code: "data", operation, problem: "the data set is empty", expected: "at least one row", received: "none" } as const;
  return new VaeError(hint === undefined ? parts : { ...parts, hint });
}
