import { types } from "node:util";
import { describe, VaeError } from "../errors.js";
import { checkAttached, isRecord } from "../graph/arguments.js";
import { isArray, isFloat32Array, isInt32Array, isReadable, isUint8Array, typedArrayName } from "../graph/kinds.js";
import { checkShape, type Shape, sameShape, shapeInstead, showShape, sizeOf } from "../graph/tensor.js";
import { isArriving, isAsyncIterable, isIterable, type ReadLimits, readBatches, readBatchesAtOnce } from "./arrival.js";
import { type Batch, countRows } from "./batch-parts.js";
import { type BytesMeaning, withRawAsFloats } from "./bytes.js";
import { noRows, RowCollector } from "./collect.js";
import { checkFieldTable, type Field, readFieldTable } from "./field.js";
import { ownedValues } from "./field-array.js";
import { type FieldRecord, partsOf } from "./field-record.js";
import { addField } from "./field-values.js";
import { isDataset, isFieldRecord } from "./forms.js";
import { checkNames } from "./names.js";

export type { Batch } from "./batch-parts.js";
export { isDataset } from "./forms.js";

/** Rows in memory: what every loader of `datasets` returns and every verb of a model takes. */
export interface Dataset {
  /** rows × product(shape) values, row-major. Bytes stand for value / 255 and are scaled natively, unless `bytes` says otherwise. */
  readonly data: Float32Array | Uint8Array;
  /**
   * What bytes stand for: `"scaled"`, value / 255; `"raw"`, the value itself, which loaders and verbs turn into float32. Left out
   * it is `"scaled"`, except that training refuses bytes that are all 0 and 1. Floats always stand for themselves.
   */
  readonly bytes?: BytesMeaning | undefined;
  /** How many rows there are. */
  readonly rows: number;
  /** The shape of one row, images as `[height, width, channels]`. */
  readonly shape: Shape;
  /** One class per row. */
  readonly labels?: Int32Array | undefined;
  /** Names of the classes, by label, all different. */
  readonly labelNames?: readonly string[] | undefined;
  /** Further fields beside x and the labels, by name: one value per row each. See `withField` and `fieldsOf`. */
  readonly fields?: Readonly<Record<string, Field>> | undefined;
  /** Names of the values of a row, all different, in the order of the values. */
  readonly columns?: readonly string[] | undefined;
  /**
   * Columns of texts with their categories, each of which is a column `"name=category"` of 0 and 1 among {@link Dataset.columns}. A
   * model remembers them: later rows may lack categories, and others than these are refused.
   */
  readonly categories?: Readonly<Record<string, readonly string[]>> | undefined;
  /** What was subtracted from each column, and what divided it; for rows that were standardized. */
  readonly standardization?: { readonly mean: Float32Array; readonly standardDeviation: Float32Array } | undefined;
  /** Where the rows came from, for messages. */
  readonly name: string;
}

/**
 * Whatever holds rows. An array is an array of rows; for batches pass an iterator, such as `batches.values()`. A record of arrays
 * by name, `{ x: images, label: labels }`, brings further fields beside the rows, which are its `x`; batches may be such records, too.
 * Async iterables are generators, streams of Node and web streams; their chunks of bytes may be cut anywhere, all other batches hold
 * whole rows.
 *
 * Iterables are held in memory, up to a limit, and read no further than is needed. Whatever ends the reading, they are closed. An
 * abort and a disposal of the model end it at once, also while a batch is awaited. What a source throws is passed on as it is.
 *
 * Leave typed arrays and data sets alone until the promise of the call resolves: typed arrays above 8 MiB, those on a
 * `SharedArrayBuffer` and data sets are used in place, since copying them would hold up the event loop. Smaller typed arrays, and
 * rows in arrays, are copied at once.
 */
export type DataSource = Batch | FieldRecord | Dataset | Iterable<Batch | FieldRecord> | AsyncIterable<Batch | FieldRecord>;

/** The sources whose rows are there at once. */
export type ImmediateSource = Batch | FieldRecord | Dataset | Iterable<Batch | FieldRecord>;

/**
 * Rows of any source as a {@link Dataset} with rows of `rowShape`.
 *
 * - A typed array of up to 8 MiB is copied, so that the caller may change or transfer it at once. A larger one is used in
 *   place, because copying it would hold up the event loop (for a third of a second in the case of MNIST as floats): leave it
 *   alone while it is needed; when its buffer is transferred meanwhile, that is `"detached"`. One on a `SharedArrayBuffer` is
 *   always used in place.
 * - A `Dataset` is used as it is. Its rows may be shaped otherwise as long as the values stand in the same order: `[784]`,
 *   `[28, 28]` and `[28, 28, 1]` are alike, `[3, 32, 32]` and `[32, 32, 3]` are not.
 *   One of `bytes: "raw"` is copied into float32.
 * - In a record of arrays by name, `x` is taken like rows alone; the others become fields as `withField` makes them. Batches are
 *   records with the same fields, or none is one. Their categories are put together by name.
 * - Iterables are read to their end. Async ones give a promise. A batch is
 *   copied as it comes: the source may use its buffer again. More than 512 MiB of rows, or `maxRows`, are `"data"`.
 * - Bytes of an async iterable are one stream: a row may begin in one chunk and end in another, as in what `createReadStream` gives.
 *   All other batches hold whole rows.
 * - What a source throws is passed on as it is. Whatever ends the reading, the source is closed: its iterator returns, a stream is
 *   destroyed or cancelled.
 * - Rows are bytes where all of them are `Uint8Array`s, else float32. The two may not be mixed: bytes are scaled by 1/255.
 *
 * Values are not looked at: see {@link checkFinite} and {@link checkRange}.
 *
 * @throws VaeError `"shape"` for a wrong length, `"data"` when there are no rows, `"detached"` for a transferred or resized
 *   buffer, `"dtype"` for another kind of array, `"argument"` for anything else.
 */
export function toDataset(source: ImmediateSource, rowShape: Shape, operation: string, limits?: ReadLimits): Dataset;
export function toDataset(source: DataSource, rowShape: Shape, operation: string, limits?: ReadLimits): Dataset | Promise<Dataset>;
export function toDataset(source: DataSource, rowShape: Shape, operation: string, limits: ReadLimits = {}): Dataset | Promise<Dataset> {
  checkShape(operation, rowShape);
  if (typeof source === "object" && source !== null && !isReadable(source)) throw notASource(source, operation);
  if (isFloat32Array(source) || isUint8Array(source)) return fromValues(source, rowShape, operation);
  if (isFieldRecord(source)) return fromRecord(source, rowShape, operation);
  if (isArray(source)) {
    const collector = new RowCollector(rowShape, operation, { maxRows: Number.POSITIVE_INFINITY });
    collector.add(source as Batch);
    return { ...collector.finish(), name: "array" };
  }
  if (isDataset(source)) return fromDataset(source, rowShape, operation);
  if (ArrayBuffer.isView(source)) throw notASource(source, operation);
  if (isIterable(source)) {
    const collector = new RowCollector(rowShape, operation, { unit: "batch", maxRows: limits.maxRows });
    readBatchesAtOnce(source, collector);
    return { ...collector.finish(), name: "iterable" };
  }
  if (isAsyncIterable(source)) return arrivingRows(source, rowShape, operation, limits);
  throw notASource(source, operation);
}

/**
 * Like {@link toDataset}, but iterables of both kinds are read while the event loop turns, and for no longer than the limits say.
 */
export function takeRows(source: DataSource, rowShape: Shape, operation: string, limits: ReadLimits): Dataset | Promise<Dataset> {
  if (isDataset(source) || !isArriving(source)) return toDataset(source, rowShape, operation);
  checkShape(operation, rowShape);
  return arrivingRows(source, rowShape, operation, limits);
}

async function arrivingRows(
  source: Iterable<unknown> | AsyncIterable<unknown>,
  rowShape: Shape,
  operation: string,
  limits: ReadLimits,
): Promise<Dataset> {
  const isAsync = !isIterable(source);
  const collector = new RowCollector(rowShape, operation, { unit: "batch", cut: isAsync, maxRows: limits.maxRows });
  await readBatches(source, collector, limits);
  return { ...(await collector.finishInTurns()), name: isAsync ? "async iterable" : "iterable" };
}

/**
 * Throws unless the parts of a data set are there and fit together.
 *
 * @throws VaeError `"argument"`, `"dtype"`, `"shape"`, `"data"` or `"detached"`
 */
export function checkDataset(dataset: Dataset, operation: string): void {
  if (typeof dataset !== "object" || dataset === null || !isReadable(dataset) || !isDataset(dataset)) {
    throw new VaeError({
      code: "argument",
      operation,
      expected: "a Dataset, such as datasets.csv or datasets.from gives",
      received: describe(dataset),
    });
  }
  const { data, rows, shape, labels, bytes, name = UNNAMED } = dataset;
  if (typeof name !== "string") {
    throw new VaeError({ code: "argument", operation, expected: "the name of a Dataset to be a string", received: describe(name) });
  }
  if (!(isFloat32Array(data) || isUint8Array(data))) throw notValues(data, `the data of ${name}`, operation);
  checkAttached(operation, data, name);
  if (shapeInstead(shape) !== undefined) {
    throw new VaeError({
      code: "shape",
      operation,
      expected: `the shape of rows in ${name} to be ${shapeInstead(shape)}`,
      received: describe(shape),
    });
  }
  if (labels !== undefined && !isInt32Array(labels)) {
    throw new VaeError({ code: "argument", operation, expected: `the labels of ${name} as an Int32Array`, received: describe(labels) });
  }
  if (!Number.isSafeInteger(rows) || rows < 0) {
    throw new VaeError({
      code: "argument",
      operation,
      expected: `rows of ${name} to be a whole number of at least 0`,
      received: describe(rows),
    });
  }
  checkNames(operation, dataset.columns, `names of the values of a row of ${name}`, sizeOf(shape));
  checkCategories(operation, dataset.categories, name);
  checkNames(operation, dataset.labelNames, `names of the classes of ${name}`);
  if (bytes !== undefined && bytes !== "scaled" && bytes !== "raw") {
    throw new VaeError({ code: "argument", operation, expected: `bytes of ${name} to be "scaled" or "raw"`, received: describe(bytes) });
  }
  checkStandardization(dataset, name, operation);
  const values = rows * sizeOf(shape);
  checkFieldTable(dataset.fields, { rows, owner: name, operation });
  if (data.length === values && (labels === undefined || labels.length === rows)) return;
  const withLabels = (count: number | undefined): string => (labels === undefined ? "" : ` and ${count} labels`);
  throw new VaeError({
    code: "shape",
    operation,
    problem: `${name} does not hold as much as it says`,
    expected: `${values} values${withLabels(rows)} for ${rows} rows of ${showShape(shape)}`,
    received: `${data.length} values${withLabels(labels?.length)}`,
  });
}

const PROPERTIES = [
  "data",
  "bytes",
  "rows",
  "shape",
  "labels",
  "labelNames",
  "fields",
  "columns",
  "categories",
  "standardization",
  "name",
] as const;

/**
 * The data set as {@link checkDataset} accepts it, with every property read once: a getter cannot give what was not checked. What
 * loaders add to theirs is kept.
 *
 * @throws VaeError as checkDataset
 */
export function readDataset(given: Dataset, operation: string): Dataset {
  if (!isDataset(given)) checkDataset(given, operation);
  const dataset: { -readonly [Key in keyof Dataset]: Dataset[Key] } = { ...given };
  const inherited = PROPERTIES.filter((key) => !Object.hasOwn(dataset, key) && key in given);
  Object.assign(dataset, Object.fromEntries(inherited.map((key) => [key, given[key]])));
  if (dataset.fields !== undefined) dataset.fields = readFieldTable(dataset.fields);
  checkDataset(dataset, operation);
  return dataset;
}

function checkCategories(operation: string, categories: unknown, name: string): void {
  if (categories === undefined) return;
  const expected = `the categories of ${name} as names by column: { colour: ["red", "blue"] }`;
  if (!isRecord(categories)) throw new VaeError({ code: "argument", operation, expected, received: describe(categories) });
  for (const [column, texts] of Object.entries(categories))
    checkNames(operation, texts, `the categories of ${describe(column)} of ${name}`);
}

function checkStandardization({ standardization, shape }: Dataset, name: string, operation: string): void {
  if (standardization === undefined) return;
  const size = sizeOf(shape);
  const { mean, standardDeviation } = (standardization ?? {}) as Partial<Record<string, unknown>>;
  if ([mean, standardDeviation].every((list) => isFloat32Array(list) && list.length === size)) return;
  const expected = `the standardization of ${name} as { mean, standardDeviation }, Float32Arrays of ${size} values`;
  throw new VaeError({ code: "argument", operation, expected, received: describe(standardization) });
}

/** What a data set is called that has no name. */
const UNNAMED = "Dataset";

function fromValues(source: Float32Array | Uint8Array, shape: Shape, operation: string): Dataset {
  checkAttached(operation, source);
  const rows = countRows(source.length, shape, operation, "the data");
  if (rows === 0) throw noRows(operation);
  return { data: ownedValues(source, operation), rows, shape, name: isUint8Array(source) ? "Uint8Array" : "Float32Array" };
}

function fromRecord(source: FieldRecord, shape: Shape, operation: string): Dataset {
  const { x, others } = partsOf(source, operation);
  const rows: Dataset = { ...toDataset(x, shape, operation), name: "record of fields" };
  return others.reduce((dataset, [name, values]) => addField(dataset, name, values, operation), rows);
}

function fromDataset(source: Dataset, shape: Shape, operation: string): Dataset {
  checkDataset(source, operation);
  const { rows, name = UNNAMED } = source;
  checkRowShape(source.shape, shape, operation, name);
  if (rows === 0) throw noRows(operation);
  return withRawAsFloats(source.name === name && sameShape(source.shape, shape) ? source : { ...source, name, shape });
}

/** Throws `"shape"` unless rows of a shape hold the same values in the same order as rows of another. */
export function checkRowShape(given: Shape, wanted: Shape, operation: string, name: string): void {
  const compact = (dimensions: Shape) => dimensions.filter((dimension) => dimension !== 1).join();
  const flat = given.length === 1 || wanted.length === 1;
  if (sizeOf(given) === sizeOf(wanted) && (flat || compact(given) === compact(wanted))) return;
  throw new VaeError({
    code: "shape",
    operation,
    problem: `the rows of ${name} have another shape`,
    expected: `rows of shape ${showShape(wanted)}`,
    received: showShape(given),
    hint: "make the model's input the shape of the rows; images are [height, width, channels]",
  });
}

function notASource(source: unknown, operation: string): VaeError {
  const expected = "a Float32Array, a Uint8Array, an array of rows, a record of arrays { x }, an (async) iterable of batches, or a Dataset";
  if (ArrayBuffer.isView(source)) return wrongElements(source, expected, operation);
  const hints: Readonly<Record<string, string>> = {
    string: "load a file first, for example with await datasets.csv(path)",
    Promise: "await it first",
  };
  const stream = isRecord(source) && source.kind === "stream";
  const hint = types.isPromise(source)
    ? hints.Promise
    : stream
      ? "fit and train read streams; other methods take rows that are there"
      : hints[typeof source];
  const received = stream ? "a stream of rows" : describe(source);
  return new VaeError({ code: "argument", operation, expected, received, ...(hint === undefined ? {} : { hint }) });
}

function notValues(data: unknown, what: string, operation: string): VaeError {
  const expected = `${what} as a Float32Array or a Uint8Array`;
  if (ArrayBuffer.isView(data)) return wrongElements(data, expected, operation);
  return new VaeError({ code: "argument", operation, expected, received: describe(data) });
}

function wrongElements(array: ArrayBufferView, expected: string, operation: string): VaeError {
  const hint = typedArrayName(array) === "Uint8ClampedArray" ? "new Uint8Array(data)" : "Float32Array.from(data)";
  return new VaeError({ code: "dtype", operation, expected, received: describe(array), hint: `convert it: ${hint}` });
}
