// Rows that arrive: sources of any kind are read without holding up the event loop, and left at once when somebody says stop.
import { setImmediate } from "node:timers/promises";
import { types } from "node:util";
import { describe, VaeError } from "../errors.js";
import { isArray, isFunction, isPromise, isReadable, letGo } from "../graph/kinds.js";
import type { RowCollector } from "./collect.js";

/** What ends a reading. */
export interface ReadLimits {
  /** Reading ends when so many rows are there, and the source is closed; default: at the source's end. */
  readonly enough?: number | undefined;
  /** More rows are an error; default: as many as fill 512 MiB. */
  readonly maxRows?: number | undefined;
  /** An abort of any of them ends the reading with its reason. */
  readonly stops?: readonly AbortSignal[];
}

/** Timers and promises of others are at most so late. */
const MILLISECONDS_PER_TURN = 10;

/** An iterator of either kind. */
interface Arriving {
  next(): unknown;
  /** Ends the source, also where `next` is pending. */
  close(): void;
}

/**
 * Reads batches into a collector until the source ends or enough rows are there, and closes the source however that ends. An
 * error of the source is passed on as it is.
 *
 * The first turn of the event loop is used at once: what a short iterator brings is taken before this returns its promise.
 *
 * @throws the reason of an abort, while a batch is awaited too; what the source throws; VaeError `"argument"` for a source that
 *   another call is reading
 */
export async function readBatches(
  source: Iterable<unknown> | AsyncIterable<unknown>,
  collector: RowCollector,
  limits: ReadLimits,
): Promise<void> {
  const { enough = Number.POSITIVE_INFINITY, stops = [] } = limits;
  using arrival = new Arrival(source, collector.operation, stops);
  let turn = performance.now();
  while (collector.rows < enough) {
    const promised = arrival.next();
    const { done, value } = isPromise(promised) ? await promised : promised;
    if (done === true) {
      collector.end();
      return;
    }
    collector.add(value);
    if (performance.now() - turn < MILLISECONDS_PER_TURN) continue;
    // Promises that resolve at once leave no turn to timers either.
    await setImmediate();
    turn = performance.now();
  }
}

/** A source that is being read, batch by batch. To be disposed of, whatever ended the reading: that closes the source. */
export class Arrival implements Disposable {
  readonly #operation: string;
  readonly #arriving: Arriving;
  readonly #lock: Lock;
  readonly #stop: Stop;
  #ended = false;

  /**
   * @param stops an abort of any of them rejects the batch that is awaited, and all later ones, with its reason
   * @throws VaeError `"argument"` for what is no iterable, and for a source that is being read already
   */
  constructor(source: Iterable<unknown> | AsyncIterable<unknown>, operation: string, stops: readonly AbortSignal[] = []) {
    this.#operation = operation;
    const { owner, ...arriving } = open(source, operation);
    this.#lock = new Lock(owner, operation);
    this.#arriving = arriving;
    this.#stop = new Stop(stops);
  }

  /** The next batch, as a promise only where the source gives one. What the source throws is passed on as it is. */
  next(): IteratorResult<unknown> | Promise<IteratorResult<unknown>> {
    this.#stop.throwIfStopped();
    const promised = this.#arriving.next();
    return isPromise(promised) ? this.#stop.during(promised).then((result) => this.#noted(result)) : this.#noted(promised);
  }

  [Symbol.dispose](): void {
    if (!this.#ended) this.#arriving.close();
    this.#ended = true;
    this.#stop[Symbol.dispose]();
    this.#lock[Symbol.dispose]();
  }

  #noted(result: unknown): IteratorResult<unknown> {
    const { done, value } = resultOf(result, this.#operation);
    this.#ended ||= done === true;
    return { done: done === true, value };
  }
}

/** The same for what is there at once, in one turn. */
export function readBatchesAtOnce(source: Iterable<unknown>, collector: RowCollector): void {
  const { operation } = collector;
  const iterator = iteratorOf(source, operation);
  using _ = new Lock(iterator, operation);
  let ended = false;
  try {
    for (;;) {
      const { done, value } = resultOf(iterator.next(), operation);
      ended = done === true;
      if (ended) {
        collector.end();
        return;
      }
      collector.add(value);
    }
  } finally {
    if (!ended) quietly(() => iterator.return?.());
  }
}

/** True for an iterable or async iterable of batches: rows that are not all there yet. */
export function isArriving(source: unknown): source is Iterable<unknown> | AsyncIterable<unknown> {
  if (typeof source !== "object" || source === null || !isReadable(source)) return false;
  return !isArray(source) && !ArrayBuffer.isView(source) && (isIterable(source) || isAsyncIterable(source));
}

/** True for what has an iterator, texts left out. */
export function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === "object" && typeof (value as { [Symbol.iterator]?: unknown } | null)?.[Symbol.iterator] === "function";
}

/** True for what has an async iterator. */
export function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === "object" && typeof (value as { [Symbol.asyncIterator]?: unknown } | null)?.[Symbol.asyncIterator] === "function";
}

function open(source: Iterable<unknown> | AsyncIterable<unknown>, operation: string): Arriving & { readonly owner: object } {
  // A web stream's own iterator would wait for the chunk in progress before it lets go; its reader does not.
  const { getReader } = source as { getReader?: unknown };
  if (typeof getReader === "function") {
    const reader = lockStream(source as ReadableStream, operation);
    return { owner: reader, next: () => reader.read(), close: () => quietly(() => reader.cancel()) };
  }
  const iterator = iteratorOf(source, operation);
  // Node's streams let go at once when they are destroyed, and not before the chunk in progress when their iterator returns.
  const { destroy, pipe } = source as { destroy?: unknown; pipe?: unknown };
  const isStream = typeof destroy === "function" && typeof pipe === "function";
  return {
    owner: isStream ? source : iterator,
    next: () => iterator.next(),
    close: () => {
      if (isStream) quietly(() => destroy.call(source));
      quietly(() => iterator.return?.());
    },
  };
}

/** What an iterator of either kind can do. */
interface Stepping {
  next(): unknown;
  return?(): unknown;
}

/** The iterator that the source makes. What its method throws is passed on, but for what a proxy cannot do. */
function iteratorOf(source: Iterable<unknown> | AsyncIterable<unknown>, operation: string): Stepping {
  const iterator = madeBy(source, operation) as Stepping | null | undefined;
  const isObject = typeof iterator === "object" && iterator !== null && isReadable(iterator);
  if (isObject && isFunction(iterator.next)) return iterator;
  letGo(iterator);
  throw new VaeError({
    code: "argument",
    operation,
    expected: "an iterator with a method next",
    received: describe(iterator),
    ...(isPromise(iterator) ? { hint: "[Symbol.asyncIterator] must not be async itself: write async *[Symbol.asyncIterator]()" } : {}),
  });
}

function madeBy(source: Iterable<unknown> | AsyncIterable<unknown>, operation: string): unknown {
  try {
    return isIterable(source) ? source[Symbol.iterator]() : source[Symbol.asyncIterator]();
  } catch (cause) {
    // A typed array behind a proxy, and an object that inherits from one, cannot be iterated.
    if (!types.isProxy(source) && !("BYTES_PER_ELEMENT" in source)) throw cause;
    throw new VaeError({
      code: "argument",
      operation,
      expected: "an iterable",
      received: "an object that cannot be iterated",
      hint: "hand over the array itself, not a proxy of it or an object made from it",
      cause,
    });
  }
}

function lockStream(stream: ReadableStream, operation: string): ReadableStreamDefaultReader {
  const reader = locked(stream, operation);
  if (typeof reader === "object" && reader !== null && isReadable(reader) && isFunction(reader.read)) return reader;
  throw new VaeError({ code: "argument", operation, expected: "a stream whose reader has a method read", received: describe(reader) });
}

function locked(stream: ReadableStream, operation: string): ReadableStreamDefaultReader {
  try {
    return stream.getReader();
  } catch (cause) {
    throw beingRead(operation, cause);
  }
}

/** Calls what cleans up, without waiting for it: why the reading ended is not to be hidden by what comes after. */
function quietly(cleanUp: () => unknown): void {
  try {
    letGo(cleanUp());
  } catch {
    // As above.
  }
}

function resultOf(result: unknown, operation: string): IteratorResult<unknown> {
  if (typeof result === "object" && result !== null && isReadable(result)) return result as IteratorResult<unknown>;
  const expected = "next() of the source to give an object { value, done }";
  throw new VaeError({ code: "argument", operation, expected, received: describe(result) });
}

function beingRead(operation: string, cause?: unknown): VaeError {
  return new VaeError({
    code: "argument",
    operation,
    problem: "the source is being read already",
    expected: "an iterator or stream of its own for every use",
    hint: "generators and streams give each row once: make another one, or load the rows with await datasets.from(source, shape)",
    cause,
  });
}

/** What is being read: two readers of one iterator would each get some of its rows. */
const owners = new WeakSet<object>();

class Lock implements Disposable {
  constructor(
    private readonly owner: object,
    operation: string,
  ) {
    if (owners.has(owner)) throw beingRead(operation);
    owners.add(owner);
  }

  [Symbol.dispose](): void {
    owners.delete(this.owner);
  }
}

/** Ends what is awaited when one of the signals aborts. */
class Stop implements Disposable {
  #stopped: { readonly reason: unknown } | undefined;
  #reject: ((reason: unknown) => void) | undefined;

  constructor(private readonly signals: readonly AbortSignal[]) {
    for (const signal of signals) signal.addEventListener("abort", this.#hear);
    this.#hear();
  }

  throwIfStopped(): void {
    if (this.#stopped !== undefined) throw this.#stopped.reason;
  }

  /** What the promise gives, or the reason of an abort before. */
  during<T>(promise: PromiseLike<T>): Promise<T> {
    // Not Promise.race with one promise of the abort: that would gather a reaction for every batch.
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      promise.then(resolve, reject);
    });
  }

  [Symbol.dispose](): void {
    for (const signal of this.signals) signal.removeEventListener("abort", this.#hear);
  }

  readonly #hear = (): void => {
    const aborted = this.signals.find((signal) => signal.aborted);
    if (aborted === undefined) return;
    this.#stopped ??= { reason: aborted.reason };
    this.#reject?.(this.#stopped.reason);
  };
}
