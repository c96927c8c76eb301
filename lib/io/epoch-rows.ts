// The rows of a stream in the order of its source, epoch by epoch.
import { VaeError } from "../errors.js";
import { checkAttached } from "../graph/arguments.js";
import { isPromise } from "../graph/kinds.js";
import { type Shape, sizeOf } from "../graph/tensor.js";
import { Arrival, isIterable } from "./arrival.js";
import { type BatchPart, batchParts, checkAlike, checkWhole } from "./batch-parts.js";
import { checkFinite } from "./check.js";
import { noRows } from "./collect.js";
import type { Dataset } from "./dataset.js";
import { Pace } from "./pace.js";
import type { RowStream } from "./stream.js";

/** Row-major values. */
export type Values = Float32Array | Uint8Array;

/** How rows of a stream are taken. */
export interface StreamReading {
  readonly stream: RowStream;
  readonly shape: Shape;
  readonly operation: string;
  readonly stops: readonly AbortSignal[];
  /** Looks at rows as they come, and throws; default: values must be finite. `firstRow` counts from the start of the epoch. */
  readonly check?: ((rows: Dataset, firstRow: number) => void) | undefined;
}

/** Where rows come from that somebody copies into an array. */
export interface RowSource {
  /**
   * Copies the next rows of the epoch to the place of row `from`, at most `count`.
   *
   * @returns how many they are; 0 once at the end of the epoch, after which the next one begins
   */
  read(target: Values, from: number, count: number): Promise<number>;
}

/** Reads a stream's epochs one after the other. */
export class EpochRows implements RowSource, Disposable {
  readonly #reading: StreamReading;
  readonly #size: number;
  readonly #pace = new Pace();
  #arrival: Arrival | undefined;
  /** Whether bytes may be cut inside a row. */
  #cut = false;
  #batches = 0;
  #parts: Iterator<BatchPart> | undefined;
  #part: BatchPart | undefined;
  /** Values of the part that were copied, and all it had when it came: its buffer may be taken away meanwhile. */
  #copied = 0;
  #length = 0;
  /** Values of the epoch that came, and rows of it that were handed on. */
  #values = 0;
  #rows = 0;
  #epoch = 0;
  /** Whether the source of this epoch has given all it has. */
  #ended = false;
  #bytes: boolean | undefined;
  #failure: { readonly reason: unknown } | undefined;

  constructor(reading: StreamReading) {
    this.#reading = reading;
    this.#size = sizeOf(reading.shape);
  }

  /** Whether the rows are bytes; reads the first of them. */
  async bytes(): Promise<boolean> {
    if (this.#bytes === undefined) await this.#advance(); // which throws where there are no rows
    return this.#bytes === true;
  }

  async read(target: Values, from: number, count: number): Promise<number> {
    await this.#pace.rest();
    const [begin, end] = [from * this.#size, (from + count) * this.#size];
    let at = begin;
    try {
      if (this.#failure !== undefined) throw this.#failure.reason;
      while (at < end) {
        if (this.#part === undefined && !(await this.#advance())) break;
        at += this.#copy(target, at, end);
      }
    } catch (reason) {
      // Rows that came before are not lost: what went wrong is thrown when they are gone.
      this.#failure = { reason };
      if (at - begin < this.#size) throw reason;
    }
    const rows = Math.floor((at - begin) / this.#size);
    if (rows > 0) this.#look(target.subarray(begin, begin + rows * this.#size), rows);
    else this.#begin();
    return rows;
  }

  [Symbol.dispose](): void {
    this.#arrival?.[Symbol.dispose]();
    this.#arrival = undefined;
    this.#parts = undefined;
    this.#part = undefined;
  }

  /** Copies as much of the part as there is and as there is room for. */
  #copy(target: Values, at: number, end: number): number {
    const { values, where } = this.#part!;
    if (values.length !== this.#length && ArrayBuffer.isView(values)) checkAttached(this.#reading.operation, values, where);
    const count = Math.min(end - at, this.#length - this.#copied);
    // What is no typed array is one row, for which there is always room.
    const rest = count === values.length ? values : (values as Values).subarray(this.#copied, this.#copied + count);
    target.set(rest, at);
    this.#copied += count;
    if (this.#copied === this.#length) this.#part = undefined;
    return count;
  }

  /** Takes the next part with values in it; false at the end of the epoch. */
  async #advance(): Promise<boolean> {
    const { stream, operation, shape, stops } = this.#reading;
    while (!this.#ended) {
      const next = this.#parts?.next();
      if (next?.done === false) {
        this.#take(next.value);
        if (this.#part !== undefined) return true;
        continue;
      }
      this.#parts = undefined;
      if (this.#arrival === undefined) {
        const source = stream.open();
        this.#arrival = new Arrival(source, operation, stops);
        this.#cut = !isIterable(source);
      }
      const promised = this.#arrival.next();
      const { done, value } = isPromise(promised) ? await promised : promised;
      if (done === true) {
        this.#end();
        break;
      }
      const where = `batch ${this.#batches++}`;
      this.#parts = batchParts(value, { shape, operation, where, cut: this.#cut, filled: this.#values });
      await this.#pace.rest();
    }
    return false;
  }

  #take(part: BatchPart): void {
    const { stream, operation } = this.#reading;
    if (part.values.length === 0) return;
    this.#bytes ??= part.bytes;
    checkAlike(this.#bytes, part.bytes, operation, `${part.where} of ${stream.name}`);
    this.#part = part;
    this.#length = part.values.length;
    this.#copied = 0;
    this.#values += this.#length;
    if (this.#values > (stream.rows ?? Number.POSITIVE_INFINITY) * this.#size) this.#otherRows("more");
  }

  #end(): void {
    const { stream, operation, shape } = this.#reading;
    this.#ended = true;
    this.#arrival![Symbol.dispose]();
    this.#arrival = undefined;
    checkWhole(this.#values, { shape, operation, where: "the end" });
    const rows = this.#values / this.#size;
    if (rows === 0) {
      throw this.#epoch === 0
        ? noRows(operation)
        : new VaeError({
            code: "data",
            operation,
            problem: `${stream.name} has no rows in its epoch ${this.#epoch}, counted from 0`,
            expected: "the rows of the epochs before",
            received: "none",
            hint: "generators and streams give each row once: make a new one for each epoch, streamed(makeSource)",
          });
    }
    if (stream.rows !== undefined && rows !== stream.rows) this.#otherRows(String(rows));
  }

  /** The next epoch is read from its start. */
  #begin(): void {
    this.#ended = false;
    this.#epoch++;
    this.#batches = 0;
    this.#values = 0;
    this.#rows = 0;
  }

  #otherRows(received: string): never {
    const { stream, operation } = this.#reading;
    throw new VaeError({
      code: "data",
      operation,
      problem: `${stream.name} has another number of rows than it says`,
      expected: `${stream.rows} rows in an epoch`,
      received,
      hint: "give the option rows the right number, or leave it out",
    });
  }

  #look(data: Values, rows: number): void {
    const { stream, operation, shape, check } = this.#reading;
    const firstRow = this.#rows;
    this.#rows += rows;
    const dataset = { data, rows, shape, name: stream.name };
    if (check === undefined) checkFinite(dataset, operation, firstRow);
    else check(dataset, firstRow);
  }
}
