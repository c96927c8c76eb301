import { types } from "node:util";
import { VaeError } from "../errors.js";
import { checkShape, type Shape, showShape, sizeOf } from "../graph/tensor.js";
import { type Batch, checkAttached, countRows, noRows, RowCollector } from "./collect.js";

export { type Batch, checkAttached } from "./collect.js";

/** Rows in memory: what every loader of `datasets` returns and every verb of a model takes. */
export interface Dataset {
  /** rows × product(shape) values, row-major. Bytes stand for value / 255 and are scaled natively. */
  readonly data: Float32Array | Uint8Array;
  readonly rows: number;
  /** The shape of one row, images as `[height, width, channels]`. */
  readonly shape: Shape;
  /** One class per row. */
  readonly labels?: Int32Array | undefined;
  /** Names of the classes, by label. */
  readonly labelNames?: readonly string[] | undefined;
  /** Names of the values of a flat row. */
  readonly columns?: readonly string[] | undefined;
  /** Where the rows came from, for messages. */
  readonly name: string;
}

/** Whatever holds rows. An array is an array of rows; for batches pass an iterator, such as `batches.values()`. */
export type DataSource = Batch | Dataset | Iterable<Batch> | AsyncIterable<Batch>;

/** The sources whose rows are there at once. */
export type ImmediateSource = Batch | Dataset | Iterable<Batch>;

/** About what is copied in 5 ms. */
const COPIED_BYTES = 8 << 20;

/**
 * Rows of any source as a {@link Dataset} with rows of `rowShape`.
 *
 * - A typed array of up to 8 MiB is copied, so that the caller may change or transfer it at once. A larger one is used in
 *   place, because copying it would hold up the event loop: leave it alone while it is needed; when its buffer is
 *   transferred meanwhile, that is `"detached"`. One on a `SharedArrayBuffer` is always used in place.
 * - A `Dataset` is used as it is. Its rows may be shaped otherwise as long as the values stand in the same order: `[784]`,
 *   `[28, 28]` and `[28, 28, 1]` are alike, `[3, 32, 32]` and `[32, 32, 3]` are not.
 * - Iterables are read to their end into memory that grows by half as needed, then trimmed. Async ones give a promise.
 * - Rows are bytes where all of them are `Uint8Array`s, else float32. The two may not be mixed: bytes are scaled by 1/255.
 *
 * Values are not looked at: see {@link checkFinite} and {@link checkRange}.
 *
 * @throws VaeError `"shape"` for a wrong length, `"data"` when there are no rows, `"detached"` for a transferred or resized
 *   buffer, `"dtype"` for another kind of array, `"argument"` for anything else.
 */
export function toDataset(source: ImmediateSource, rowShape: Shape, operation: string): Dataset;
export function toDataset(source: DataSource, rowShape: Shape, operation: string): Dataset | Promise<Dataset>;
export function toDataset(source: DataSource, rowShape: Shape, operation: string): Dataset | Promise<Dataset> {
  checkShape(operation, rowShape);
  if (source instanceof Float32Array || source instanceof Uint8Array) return fromValues(source, rowShape, operation);
  if (Array.isArray(source)) return fromBatches([source], rowShape, operation, "array");
  if (isDataset(source)) return fromDataset(source, rowShape, operation);
  if (isIterable(source) && typeof source !== "string" && !ArrayBuffer.isView(source)) {
    return fromBatches(source, rowShape, operation, "iterable");
  }
  if (isAsyncIterable(source)) return fromAsyncBatches(source, rowShape, operation);
  throw notASource(source, operation);
}

/** True for anything with the parts of a {@link Dataset}. */
export function isDataset(value: unknown): value is Dataset {
  return typeof value === "object" && value !== null && "data" in value && "rows" in value && "shape" in value;
}

function fromValues(source: Float32Array | Uint8Array, shape: Shape, operation: string): Dataset {
  checkAttached(operation, source);
  const rows = countRows(source.length, shape, operation, "the data");
  if (rows === 0) throw noRows(operation);
  const inPlace = source.byteLength > COPIED_BYTES || types.isSharedArrayBuffer(source.buffer);
  const bytes = source instanceof Uint8Array;
  // Not slice(): on a Buffer that gives a view, not a copy.
  const data = inPlace ? source : bytes ? new Uint8Array(source) : new Float32Array(source);
  return { data, rows, shape, name: bytes ? "Uint8Array" : "Float32Array" };
}

function fromDataset(source: Dataset, shape: Shape, operation: string): Dataset {
  const { data, rows, name, labels } = source;
  if (!(data instanceof Float32Array || data instanceof Uint8Array)) throw notASource(data, operation);
  checkAttached(operation, data, name);
  const compact = (dimensions: Shape) => dimensions.filter((dimension) => dimension !== 1).join();
  const flat = source.shape.length === 1 || shape.length === 1;
  if (sizeOf(source.shape) !== sizeOf(shape) || !(flat || compact(source.shape) === compact(shape))) {
    throw new VaeError({
      code: "shape",
      operation,
      problem: `the rows of ${name} have another shape`,
      expected: `rows of shape ${showShape(shape)}`,
      received: showShape(source.shape),
      hint: "make the model's input the shape of the rows; images are [height, width, channels]",
    });
  }
  if (rows === 0) throw noRows(operation);
  if (data.length !== rows * sizeOf(shape) || (labels !== undefined && labels.length !== rows)) {
    throw new VaeError({
      code: "shape",
      operation,
      problem: `${name} does not hold as much as it says`,
      expected: `${rows * sizeOf(shape)} values${labels === undefined ? "" : ` and ${rows} labels`} for ${rows} rows of ${showShape(shape)}`,
      received: `${data.length} values${labels === undefined ? "" : ` and ${labels.length} labels`}`,
    });
  }
  return source.shape.join() === shape.join() ? source : { ...source, shape };
}

function fromBatches(batches: Iterable<Batch>, shape: Shape, operation: string, name: string): Dataset {
  const collector = new RowCollector(shape, operation, name === "array" ? undefined : "batch");
  for (const batch of batches) collector.add(batch);
  return { ...collector.finish(), name };
}

async function fromAsyncBatches(batches: AsyncIterable<Batch>, shape: Shape, operation: string): Promise<Dataset> {
  const collector = new RowCollector(shape, operation, "batch");
  for await (const batch of batches) collector.add(batch);
  return { ...collector.finish(), name: "async iterable" };
}

function notASource(source: unknown, operation: string): VaeError {
  const expected = "a Float32Array, a Uint8Array, an array of rows, an (async) iterable of batches, or a Dataset";
  if (ArrayBuffer.isView(source)) {
    const hint = source instanceof Uint8ClampedArray ? "new Uint8Array(data)" : "Float32Array.from(data)";
    return new VaeError({ code: "dtype", operation, expected, received: `a ${source.constructor.name}`, hint: `convert it: ${hint}` });
  }
  const received = source === null || typeof source !== "object" ? `${typeof source} ${String(source)}` : `a ${source.constructor?.name}`;
  const hints: Readonly<Record<string, string>> = {
    string: "load a file first, for example with await datasets.csv(path)",
    Promise: "await it first",
  };
  const hint = types.isPromise(source) ? hints.Promise : hints[typeof source];
  return new VaeError({ code: "argument", operation, expected, received, ...(hint === undefined ? {} : { hint }) });
}

function isIterable(value: unknown): value is Iterable<Batch> {
  return value !== null && value !== undefined && typeof (value as { [Symbol.iterator]?: unknown })[Symbol.iterator] === "function";
}

function isAsyncIterable(value: unknown): value is AsyncIterable<Batch> {
  return (
    value !== null && value !== undefined && typeof (value as { [Symbol.asyncIterator]?: unknown })[Symbol.asyncIterator] === "function"
  );
}
