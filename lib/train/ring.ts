// A ring of rows on the device that is filled from a stream while steps run. A plan that gathers its batches in order from
// `rows` resident rows reads row (step · batchSize + i) mod rows: with as many rows as the ring has, step s reads the ring's
// place s mod places, whatever the stream has to give. The device does what is queued in order, so that a place may be written
// again as soon as the step that reads it is queued.
import { setImmediate } from "node:timers/promises";
import { VaeError } from "../errors.js";
import type { RowsRead } from "../io/row-reader.js";
import { type Resident, WRITE_BYTES } from "../runtime/device.js";

/**
 * Memory of a ring, where its batches are smaller. As much as takes some tenths of a second to train on; a ring of twice that was
 * no faster on a processor, since less of it stays in the cache.
 */
const RING_BYTES = 32 * 2 ** 20;

/** More steps than that are not read ahead, however small their rows: nobody may need them. */
const MOST_PLACES = 4096;

/** The next rows are written in pieces that took about so long to read: the first ones of a slow stream are not held back. */
const SECONDS_PER_PIECE = 0.02;

/** Where rows are written: a resident of rows × rowSize values. */
export type RingTarget = Pick<Resident, "write">;

/** Where rows come from: a `RowReader`. */
export interface RingSource {
  /** The next rows, exactly as many, or fewer whole `unit`s before a failure that the next call throws. */
  next(rows: number, unit: number): Promise<RowsRead>;
  /** Ends a read in progress. */
  close(): Promise<void>;
}

/** What a ring is made with. */
export interface RingOptions {
  /** Rows of the resident, a multiple of `batchSize` and at least two batches; see {@link ringRows}. */
  readonly ringRows: number;
  readonly batchSize: number;
  /** Values of a row. */
  readonly rowSize: number;
  /** The step at which the training ends: no rows are read for it and those behind it. Default: never. */
  readonly endStep?: number;
  /** The verb of errors; default `"fit"`. */
  readonly operation?: string;
}

/**
 * Rows that a ring should have: about 32 MiB of them, at least two batches and at most 4096.
 *
 * @param rowBytes bytes of a row as it is stored
 */
export function ringRows({ batchSize, rowBytes }: { readonly batchSize: number; readonly rowBytes: number }): number {
  return batchSize * Math.min(MOST_PLACES, Math.max(2, Math.floor(RING_BYTES / (batchSize * rowBytes))));
}

/**
 * Keeps a resident filled with the rows of the steps to come.
 *
 * @example
 * ```ts
 * const ring = new Ring(resident, reader, { ringRows, batchSize, rowSize, endStep });
 * try {
 *   for (let step = firstStep; step < endStep; ) {
 *     const steps = await ring.ready(step, endStep - step);
 *     const { completed } = await session.run({ steps, firstStep: step });
 *     step += completed;
 *   }
 * } finally {
 *   await ring.close();
 * }
 * ```
 */
export class Ring {
  readonly #target: RingTarget;
  readonly #source: RingSource;
  readonly #options: Required<RingOptions>;
  /** Batches that the ring holds. */
  readonly #places: number;
  /** Rows are there for the steps before `#filled`. Those from `#first` on are not queued yet: theirs are not overwritten. */
  #first: number | undefined;
  #filled = 0;
  /** Of the last read. */
  #secondsPerStep = 0;
  #lastSteps = 0;
  #filling: Promise<void> | undefined;
  /** The stream gives no more. What was read before is trained on first. */
  #ended: { readonly reason: unknown } | undefined;
  /** Rows could not be written, or the ring was closed: no step is to run any more. */
  #broken: { readonly reason: unknown } | undefined;
  #waiting: (() => void)[] = [];

  /** @throws VaeError `"argument"` for rows that are not at least two whole batches */
  constructor(target: RingTarget, source: RingSource, options: RingOptions) {
    const { ringRows, batchSize, endStep = Number.POSITIVE_INFINITY, operation = "fit" } = options;
    this.#target = target;
    this.#source = source;
    this.#options = { ...options, endStep, operation };
    this.#places = ringRows / batchSize;
    if (Number.isSafeInteger(this.#places) && this.#places >= 2) return;
    const expected = `ringRows to be a multiple of the batch size, ${batchSize}, and at least ${2 * batchSize}`;
    throw new VaeError({ code: "argument", operation, expected, received: String(ringRows) });
  }

  /**
   * Waits until rows are written for at least one step, or queued to be written ahead of whatever is queued next. Rows of later
   * steps are read and queued while those steps run, as far as the ring has room.
   *
   * The stream's first rows are those of the first step that is ever asked for. All steps before `firstStep` must be queued already.
   *
   * @param steps how many are wanted
   * @returns for how many of them the rows are there: at least one, at most half of the ring, so that the other half can be filled
   *   meanwhile
   * @throws what the stream fails with, once all rows before are used; what writing fails with; VaeError `"disposed"` once the ring
   *   is closed, `"argument"` for a step that lies behind the last ones, beyond the rows that are there, or not before `endStep`
   */
  async ready(firstStep: number, steps: number): Promise<number> {
    this.#checkStep(firstStep);
    if (this.#first === undefined) this.#filled = firstStep;
    this.#first = firstStep;
    this.#notify();
    this.#filling ??= this.#fill();
    for (;;) {
      if (this.#broken !== undefined) throw this.#broken.reason;
      if (this.#filled > firstStep) break;
      if (this.#ended !== undefined) throw this.#ended.reason;
      await this.#change();
    }
    return Math.min(Math.max(1, steps), this.#filled - firstStep, Math.floor(this.#places / 2));
  }

  /** Ends the reading and closes the source. What is queued stays queued. May be called again. */
  async close(): Promise<void> {
    const { operation } = this.#options;
    this.#break(new VaeError({ code: "disposed", operation, problem: "the ring of rows was closed" }));
    await this.#source.close();
    await this.#filling;
  }

  /** Reads and queues rows as long as there are steps to come. */
  async #fill(): Promise<void> {
    const { batchSize, endStep } = this.#options;
    try {
      while (this.#broken === undefined && this.#filled < endStep) {
        const steps = this.#room();
        if (steps === 0) {
          await this.#change();
          continue;
        }
        const begin = performance.now();
        const { data, rows } = await this.#source.next(steps * batchSize, batchSize);
        this.#lastSteps = rows / batchSize;
        this.#secondsPerStep = (performance.now() - begin) / 1000 / this.#lastSteps;
        await this.#write(data, this.#filled % this.#places);
        this.#filled += this.#lastSteps;
        this.#notify();
      }
    } catch (reason) {
      this.#ended = { reason };
      this.#notify();
    }
  }

  /** For how many steps rows can be read at once now: they stand one behind the other, and take no long time. */
  #room(): number {
    const { batchSize, rowSize, endStep } = this.#options;
    const place = this.#filled % this.#places;
    const free = Math.min(this.#first! + this.#places, endStep) - this.#filled;
    const quick = this.#lastSteps === 0 ? 1 : Math.min(Math.round(SECONDS_PER_PIECE / this.#secondsPerStep), 8 * this.#lastSteps);
    const most = Math.floor(WRITE_BYTES / (batchSize * rowSize * Float32Array.BYTES_PER_ELEMENT));
    return Math.min(free, this.#places - place, Math.max(1, quick), Math.max(1, most));
  }

  /** Queues what is written: each piece is copied at once, so that the reader may use its memory again. */
  async #write(data: RowsRead["data"], place: number): Promise<void> {
    const { batchSize, rowSize } = this.#options;
    const offset = place * batchSize * rowSize;
    const piece = WRITE_BYTES / data.BYTES_PER_ELEMENT;
    for (let at = 0; at < data.length; at += piece) {
      if (at > 0) await setImmediate();
      this.#target.write(data.subarray(at, at + piece), { offset: offset + at }).catch((reason: unknown) => this.#break(reason));
    }
  }

  #break(reason: unknown): void {
    this.#broken ??= { reason };
    this.#notify();
  }

  /** Resolves when anything has changed. */
  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #notify(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #checkStep(step: number): void {
    const { endStep, operation } = this.#options;
    const least = this.#first ?? 0;
    const most = Math.min(this.#first === undefined ? Number.MAX_SAFE_INTEGER : this.#filled, endStep - 1);
    if (Number.isSafeInteger(step) && step >= least && step <= most) return;
    const expected = `firstStep to be a whole number from ${least} to ${most}`;
    throw new VaeError({ code: "argument", operation, expected, received: String(step) });
  }
}
