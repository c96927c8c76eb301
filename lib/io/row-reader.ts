import { VaeError } from "../errors.js";
import { newArray } from "../graph/bytes.js";
import { type Shape, sizeOf } from "../graph/tensor.js";
import { checkRowShape, type Dataset } from "./dataset.js";
import { EpochRows, type RowSource, type Values } from "./epoch-rows.js";
import { ShuffleBuffer } from "./shuffle-buffer.js";
import type { RowStream } from "./stream.js";

/** How a {@link RowReader} reads. */
export interface RowReaderOptions {
  /** Of the order that a shuffle buffer gives; a whole number from 0 to 2^53 - 1, default 0. */
  readonly seed?: number;
  /** An abort of any of them ends the reading with its reason, also while a batch is awaited. */
  readonly stops?: readonly AbortSignal[];
  /**
   * Looks at rows in the order of their source, and throws where they are not to be trained on. `firstRow` is the number of the
   * first one in its epoch. They are a view that is used again. Default: {@link checkFinite}.
   */
  readonly check?: (rows: Dataset, firstRow: number) => void;
}

/** Rows that were read. */
export interface RowsRead {
  /** Row-major. The array is used again by the next call. */
  readonly data: Float32Array | Uint8Array;
  readonly rows: number;
}

/**
 * Reads a stream's rows as many at a time as somebody wants, across the ends of epochs and batches. It holds the batch at hand, the
 * rows of one call, and the stream's shuffle buffer. Calls are made one after the other.
 */
export class RowReader {
  readonly #stream: RowStream;
  readonly #epochs: EpochRows;
  readonly #operation: string;
  readonly #size: number;
  readonly #seed: number;
  readonly #closing = new AbortController();
  #order: RowSource | undefined;
  #bytes: boolean | undefined;
  #buffer: Values | undefined;
  #pending: Promise<unknown> = Promise.resolve();
  #failure: { readonly reason: unknown } | undefined;

  /**
   * @param operation the verb of errors: `"fit"`
   * @throws VaeError `"shape"` where the stream's rows are known to be of another shape
   */
  constructor(stream: RowStream, rowShape: Shape, operation: string, options: RowReaderOptions = {}) {
    const { seed = 0, stops = [], check } = options;
    if (stream.shape !== undefined) checkRowShape(stream.shape, rowShape, operation, stream.name);
    this.#stream = stream;
    this.#operation = operation;
    this.#seed = seed;
    this.#size = sizeOf(rowShape);
    this.#epochs = new EpochRows({ stream, shape: rowShape, operation, stops: [...stops, this.#closing.signal], check });
  }

  /**
   * Reads the first batch, and says how the rows are stored. Nothing is read before this or {@link RowReader.next} is called.
   *
   * @throws as {@link RowReader.next}
   */
  async open(): Promise<"float32" | "uint8"> {
    if (this.#bytes === undefined) await this.#alone(async () => this.#prepare());
    return this.dtype;
  }

  /** How the rows are stored; known once {@link RowReader.open} or a read has resolved. */
  get dtype(): "float32" | "uint8" {
    if (this.#bytes !== undefined) return this.#bytes ? "uint8" : "float32";
    throw new VaeError({ code: "argument", operation: this.#operation, problem: "no rows have been read yet", hint: "await open first" });
  }

  /**
   * The next rows: exactly `rows`, or, where the stream fails or can give no more before, as many whole `unit`s as came; what went
   * wrong is then thrown by the next call. Where not even one came, and with `unit` left out, it is thrown at once.
   *
   * @throws VaeError `"data"` for an epoch without rows, for values that are refused, and for another epoch of what can be read
   *   once; `"dtype"` for bytes among floats; `"shape"` for rows of another size; what the source throws; the reason of an abort
   */
  async next(rows: number, unit = rows): Promise<RowsRead> {
    return this.#alone(async () => {
      const order = await this.#prepare();
      const target = this.#room(rows);
      let filled = 0;
      try {
        // An epoch without rows is an error of the source: this ends.
        while (filled < rows) filled += await order.read(target, filled, rows - filled);
      } catch (reason) {
        this.#fail(reason);
        if (filled < unit) throw reason;
        filled -= filled % unit;
      }
      return { data: target.subarray(0, filled * this.#size), rows: filled };
    });
  }

  /** Ends a read in progress and closes the source. May be called again; resolves when nothing is read any more. */
  async close(): Promise<void> {
    const closed = new VaeError({ code: "disposed", operation: this.#operation, problem: `the reading of ${this.#stream.name} was ended` });
    this.#closing.abort(closed);
    this.#fail(closed);
    await this.#pending.catch(() => undefined);
    // A read that went on meanwhile may have begun another epoch.
    this.#epochs[Symbol.dispose]();
  }

  #fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.#epochs[Symbol.dispose]();
  }

  async #alone<T>(read: () => Promise<T>): Promise<T> {
    if (this.#failure !== undefined) throw this.#failure.reason;
    const pending = read();
    this.#pending = pending;
    try {
      return await pending;
    } catch (reason) {
      this.#fail(reason);
      throw reason;
    }
  }

  async #prepare(): Promise<RowSource> {
    this.#bytes ??= await this.#epochs.bytes();
    this.#order ??= this.#ordered(this.#bytes);
    return this.#order;
  }

  #ordered(bytes: boolean): RowSource {
    const capacity = Math.min(this.#stream.shuffleBuffer, this.#stream.rows ?? Number.POSITIVE_INFINITY);
    if (capacity < 2) return this.#epochs;
    return new ShuffleBuffer(this.#epochs, { capacity, bytes, size: this.#size, seed: this.#seed, operation: this.#operation });
  }

  #room(rows: number): Values {
    const length = rows * this.#size;
    if (this.#buffer === undefined || this.#buffer.length < length) {
      const request = { operation: this.#operation, what: "of rows that are read ahead", hint: "use a smaller batchSize" };
      this.#buffer = this.#bytes === true ? newArray(Uint8Array, length, request) : newArray(Float32Array, length, request);
    }
    return this.#buffer;
  }
}
