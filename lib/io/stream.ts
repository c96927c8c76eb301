// Rows that are never all in memory: where they come from. row-reader.ts reads them.
import { describe, VaeError } from "../errors.js";
import { Fields, noMore } from "../graph/arguments.js";
import { isFunction, isPromise, isReadable, letGo } from "../graph/kinds.js";
import type { Shape } from "../graph/tensor.js";
import { isArriving } from "./arrival.js";
import type { Batch } from "./batch-parts.js";

/** Rows that are read while a training runs, again from the start in every epoch; never all in memory. */
export interface RowStream {
  readonly kind: "stream";
  /** Rows of an epoch, where that is known. */
  readonly rows?: number | undefined;
  /** The shape of one row, where that is known. */
  readonly shape?: Shape | undefined;
  /** Rows that are held to be mixed; 0: they come in the order of their source. */
  readonly shuffleBuffer: number;
  /** Where the rows come from, for messages. */
  readonly name: string;
  /** The batches of the next epoch, from its first row on. */
  readonly open: () => Iterable<Batch> | AsyncIterable<Batch>;
}

/** What can be said about a stream of rows. */
export interface StreamOptions {
  /** Rows of an epoch, where that is known; an epoch of more or fewer is an error. */
  readonly rows?: number;
  /**
   * Rows that are held to be mixed: each row that is read takes the place of a random one of them, which is trained on. Every row
   * comes once per epoch; as many as there are rows mix as well as `shuffle` does. Same seed, same order. Default 0: no mixing.
   */
  readonly shuffleBuffer?: number;
}

/** A source of batches. */
export type Batches = Iterable<Batch> | AsyncIterable<Batch>;

/**
 * Rows that are read while a training runs, from a function that gives a fresh (async) iterable of batches for each epoch.
 *
 * A batch has any number of rows: a `Float32Array` or `Uint8Array`, or an array of rows. Bytes of an async iterable may be cut
 * anywhere, as chunks of a file are. A batch is left alone until the next one is asked for; then its memory may be used again.
 * Whatever ends the training, the source is closed: its iterator returns, a stream is destroyed or cancelled.
 *
 * What can be read once only, such as a generator or a stream of Node, does as well where one epoch suffices.
 *
 * @example
 * ```ts
 * const readings = streamed(async function* () {
 *   for await (const line of (await open("readings.jsonl")).readLines()) yield [JSON.parse(line)];
 * });
 * ```
 * @throws VaeError `"argument"` for what is neither a function nor an iterable. Reading throws `"data"` for an epoch without rows,
 *   for another number of rows than said, and for a second epoch of a source that can be read once
 */
export function streamed(open: () => Batches, options?: StreamOptions, ...surplus: never[]): RowStream;
export function streamed(source: Batches, options?: StreamOptions, ...surplus: never[]): RowStream;
export function streamed(source: Batches | (() => Batches), options: StreamOptions = {}, ...surplus: never[]): RowStream {
  const operation = "streamed";
  noMore(operation, surplus, "streamed(makeSource, { rows: 60000 })");
  const { rows, shuffleBuffer } = streamOptions(operation, options);
  const parts = { kind: "stream", rows, shuffleBuffer } as const;
  if (isFunction(source)) return Object.freeze({ ...parts, name: "the stream", open: opener(source, operation) });
  if (!isArriving(source)) throw notBatches(operation, source, "a function that gives an (async) iterable of batches");
  return Object.freeze({ ...parts, name: "the stream", open: canBeReadOnce(source) ? once(source, operation) : () => source });
}

/** Reads {@link StreamOptions}. */
function streamOptions(operation: string, options: unknown): { readonly rows: number | undefined; readonly shuffleBuffer: number } {
  const fields = new Fields(operation, options);
  const rows = fields.raw("rows") === undefined ? undefined : fields.number("rows", { minimum: 1, integer: true });
  const shuffleBuffer = shuffleBufferOption(fields);
  fields.finish();
  return { rows, shuffleBuffer };
}

/** The option `shuffleBuffer`; 0 when left out. */
export function shuffleBufferOption(fields: Fields): number {
  return fields.number("shuffleBuffer", { minimum: 0, maximum: 2 ** 31, integer: true }, 0);
}

/** True for a {@link RowStream}. */
export function isRowStream(value: unknown): value is RowStream {
  if (typeof value !== "object" || value === null || !isReadable(value)) return false;
  const { kind, open, name, shuffleBuffer } = value as Partial<RowStream>;
  return kind === "stream" && isFunction(open) && typeof name === "string" && Number.isSafeInteger(shuffleBuffer);
}

function opener(open: () => Batches, operation: string): () => Batches {
  return () => {
    const batches: unknown = open();
    if (isArriving(batches)) return batches as Batches;
    letGo(batches);
    throw notBatches(operation, batches, "the function to give an (async) iterable of batches");
  };
}

/** Iterators and streams, which give each row once; other iterables make a new iterator whenever they are asked. */
function canBeReadOnce(source: object): boolean {
  return ["next", "getReader", "pipe"].some((method) => isFunction((source as Readonly<Record<string, unknown>>)[method]));
}

function once(source: Batches, operation: string): () => Batches {
  let opened = false;
  return () => {
    if (opened) {
      throw new VaeError({
        code: "data",
        operation,
        problem: "the source has been read already, and can be read only once",
        expected: "rows for another epoch",
        received: "none",
        hint: "pass a function that makes a new source for each epoch, streamed(makeSource), or train for fewer steps",
      });
    }
    opened = true;
    return source;
  };
}

function notBatches(operation: string, received: unknown, expected: string): VaeError {
  const hint = isPromise(received)
    ? "write async function* instead of async function, or await the source first"
    : "for an array of batches pass () => batches.values()";
  return new VaeError({ code: "argument", operation, expected, received: describe(received), hint });
}
