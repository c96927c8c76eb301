// Rows of a caller's data on their way to the device: owned, checked, taken apart into fields, and cut into batches of a fixed size.

import { describe, VaeError } from "../errors.js";
import { checkAttached, suggestion } from "../graph/arguments.js";
import { newArray } from "../graph/bytes.js";
import type { DType, Shape } from "../graph/index.js";
import { isFloat32Array, isInt32Array, isPromise, isUint8Array } from "../graph/kinds.js";
import { showShape, sizeOf } from "../graph/tensor.js";
import type { ReadLimits } from "../io/arrival.js";
import { checkBytesInSlices } from "../io/bytes.js";
import { checkFields, checkValues } from "../io/check.js";
import { checkDataset, type DataSource, type Dataset, isDataset, takeRows, toDataset } from "../io/dataset.js";
import type { Field } from "../io/field.js";
import { fieldsOf } from "../io/fields.js";
import { alignColumns, type DataNames, MODEL_COLUMNS, withColumns } from "../io/names.js";
import { freezePlain } from "../nn/index.js";
import { dtypeOf } from "../runtime/feed.js";
import { reserveMemory } from "../runtime/memory.js";
import type { HostArray } from "../runtime/native.js";
import type { Trainee } from "./state.js";
import type { FieldSpec } from "./trainable.js";

/** How far a caller's data are read, and what their columns are to be. */
export interface OwnRowsOptions extends ReadLimits {
  /** The model's columns, where they are not known to the model yet. */
  readonly columns?: readonly string[] | undefined;
  /** Its columns of texts, likewise. */
  readonly categories?: DataNames["categories"];
}

/**
 * Rows of a caller's data. Typed arrays up to 8 MiB and rows in arrays are copied before this returns: what the caller does
 * with theirs after the call does not matter. Larger ones and a `Dataset` are used as they are; when their buffer is
 * transferred while it is needed, that is `"detached"`.
 *
 * The columns of a `Dataset` are brought into the order of the model's, by name; rows without names are taken as they are.
 *
 * Iterables are read while the event loop turns, until the limits say stop or the model is disposed of.
 *
 * @throws VaeError `"data"` for other columns than the model's, `"disposed"`; the reason of an abort; what a source throws
 */
export function ownRows(
  { trainable, names, weights }: Trainee,
  source: DataSource,
  operation: string,
  { columns = names.columns, categories = names.categories, stops = [], ...limits }: OwnRowsOptions = {},
): Dataset | Promise<Dataset> {
  weights.check(operation);
  const input = trainable.fields.x!.shape;
  const shaped = (rows: Dataset): Dataset | Promise<Dataset> => {
    const dataset = toDataset(rows, input, operation);
    return withColumns(dataset, columns, input);
  };
  if (!isDataset(source)) {
    const rows = takeRows(source, input, operation, { ...limits, stops: [...stops, weights.disposal] });
    if (!isPromise(rows)) return shaped(rows);
    return rows.then(shaped, (error: unknown) => {
      weights.check(operation);
      throw error;
    });
  }
  // Before the shape is looked at: what a column too few or too many is called says more than a number.
  checkDataset(source, operation);
  const aligned = alignColumns(source, columns, operation, MODEL_COLUMNS, categories);
  return isPromise(aligned) ? aligned.then(shaped) : shaped(aligned);
}

/** A source among several, and what its rows are for. */
export interface RowRequest extends OwnRowsOptions {
  readonly source: DataSource;
  readonly operation: string;
}

/**
 * Rows of several sources at once, as {@link ownRows} takes them. Where one fails the others are closed: nobody will need their
 * rows, which may never come.
 */
export async function ownTogether(model: Trainee, requests: readonly RowRequest[]): Promise<Dataset[]> {
  const failed = new AbortController();
  const own = async ({ source, operation, ...options }: RowRequest): Promise<Dataset> => {
    try {
      return await ownRows(model, source, operation, { ...options, stops: [...(options.stops ?? []), failed.signal] });
    } catch (error) {
      failed.abort(error);
      throw error;
    }
  };
  return Promise.all(requests.map(own));
}

/** The names that a model has after it has learned from a data set: columns stay, classes that are new come behind those before. */
export function namesAfter({ columns, labelNames, categories }: DataNames, dataset: Dataset): DataNames {
  const classes = dataset.labelNames === undefined ? labelNames : [...new Set([...(labelNames ?? []), ...dataset.labelNames])];
  const owned = (list: readonly string[] | undefined) => (list === undefined ? undefined : Object.freeze([...list]));
  const texts = categories ?? (columns === undefined ? dataset.categories : undefined);
  return {
    columns: columns ?? owned(dataset.columns),
    labelNames: owned(classes),
    ...(texts === undefined ? {} : { categories: freezePlain(structuredClone(texts), "categories") as typeof texts }),
  };
}

/** One field of some rows, as it goes to the device. */
export interface FedField {
  readonly data: HostArray;
  readonly dtype: DType;
  /** Values per row. */
  readonly size: number;
}

/** Rows as they go to the device, field by field. */
export interface Feed {
  readonly rows: number;
  readonly fields: Readonly<Record<string, FedField>>;
}

/**
 * The fields that a model asks for, out of a data set: checked for their shapes and values, categories brought to the model's numbers
 * by name.
 *
 * @throws VaeError `"data"` for a field that is missing, for the first value that is not finite or that the model does not take, and
 *   for an unknown category; `"shape"` or `"dtype"` for a field of another form
 */
export async function feedOf(fields: Readonly<Record<string, FieldSpec>>, dataset: Dataset, operation: string): Promise<Feed> {
  const given = fieldsOf(dataset);
  if (dataset.fields !== undefined) await checkFields(dataset, operation);
  const fed: Record<string, FedField> = {};
  for (const [name, spec] of Object.entries(fields)) {
    if (!Object.hasOwn(given, name)) throw missingField(name, spec, Object.keys(given), operation);
    if (name === "x") await checkValues(dataset, spec.range?.(), operation);
    const field = name === "x" ? { ...given.x!, shape: spec.shape } : given[name]!;
    fed[name] = await fedField(name, spec, field, dataset.rows, operation);
  }
  return { rows: dataset.rows, fields: fed };
}

function missingField(name: string, { names }: FieldSpec, given: readonly string[], operation: string): VaeError {
  const example = names === undefined ? "[…]" : `["${names[0]}", …]`;
  return new VaeError({
    code: "data",
    operation,
    problem: `the rows have no field "${name}", which the model asks for`,
    expected: `one value of ${name} for every row`,
    received: `the fields ${given.join(", ")}`,
    hint: `${suggestion(name, given)}${operation}({ x, ${name}: ${example} }), or withField(dataset, "${name}", …)`,
  });
}

async function fedField(name: string, spec: FieldSpec, field: Field, rows: number, operation: string): Promise<FedField> {
  const { shape, names, dtypes } = spec;
  const size = sizeOf(shape);
  const what = `the field ${name}`;
  checkAttached(operation, field.data, what);
  const isVector = (of: Shape): boolean => of.every((dimension) => dimension === 1);
  if (sizeOf(field.shape) !== size || !(field.shape.join() === shape.join() || isVector(shape) || name === "x")) {
    throw new VaeError({ code: "shape", operation, expected: `${what} of shape ${showShape(shape)}`, received: showShape(field.shape) });
  }
  if (names !== undefined) return { data: categories(name, names, field, size, operation), dtype: "int32", size };
  const data = dtypes.includes(dtypeOf(field.data)) || !dtypes.includes("float32") ? field.data : Float32Array.from(field.data);
  if (!dtypes.includes(dtypeOf(data))) {
    throw new VaeError({ code: "dtype", operation, expected: `${what} as ${dtypes.join(" or ")}`, received: describe(field.data) });
  }
  if (name !== "x" && isFloat32Array(data)) await checkValues({ data, rows, shape, name: what }, spec.range?.(), operation);
  return { data, dtype: dtypeOf(data), size };
}

/** Numbers of categories as the model counts them: by name where both sides have names, else as they are. */
function categories(name: string, names: readonly string[], field: Field, size: number, operation: string): Int32Array {
  const wrong = (value: unknown, index: number): VaeError =>
    new VaeError({
      code: "data",
      operation,
      problem: `unknown category ${describe(value)} of ${name} in row ${Math.floor(index / size)}`,
      expected: names.length > 12 ? `one of ${names.length} categories` : `one of ${names.map((known) => describe(known)).join(", ")}`,
      hint: suggestion(String(value), names).trim() || "categories are matched by name; numbers count from 0",
    });
  const places = new Map(names.map((known, index) => [known, index]));
  const numbers = new Int32Array(field.data.length);
  for (let index = 0; index < numbers.length; index++) {
    const value = field.data[index]!;
    const text = field.names?.[value];
    const place = field.names === undefined ? value : text === undefined ? undefined : places.get(text);
    if (place === undefined || !(Number.isInteger(place) && place >= 0 && place < names.length)) throw wrong(text ?? value, index);
    numbers[index] = place;
  }
  return isInt32Array(field.data) && field.names === undefined ? field.data : numbers;
}

/** What ends the reading of a source, beside its end. */
export function stopping(signal: AbortSignal | undefined): ReadLimits {
  return { stops: signal === undefined ? [] : [signal] };
}

/** What a model knows of the rows that it was last trained on. */
export interface TrainedOn {
  /** `"scaled"` where they were bytes, which stood for value / 255; undefined where they were floats, or there were none yet. */
  readonly bytes?: "scaled" | undefined;
}

/**
 * Throws `"data"` for bytes that are all 0 and 1, unless it is said what they stand for. A model that was trained on bytes has been
 * told: to such a model they are the rows of dark images.
 */
export async function checkBytesAsTrained({ state }: { readonly state: TrainedOn }, dataset: Dataset, operation: string): Promise<void> {
  if (state.bytes !== "scaled") await checkBytesInSlices(dataset, operation);
}

/** What helps where results do not fit. */
const FEWER_ROWS = "ask for fewer rows at a time";

/** Arrays for the results of a call, by name. */
export interface Results {
  readonly arrays: Readonly<Record<string, Float32Array>>;
  /** To be called once their memory is being used. */
  readonly release: () => void;
}

/**
 * Room for `rows` results of so many values each.
 *
 * @param widths values per row, by the results' names
 * @throws VaeError `"memory"` where it is more than there is
 */
export function resultRows(rows: number, widths: Readonly<Record<string, number>>, operation: string): Results {
  const bytes = Object.entries(widths).map(([name, width]) => [name, rows * width * 4] as const);
  const needs = Object.fromEntries(bytes.map(([name, size]) => [`of results (${name}, ${rows} rows)`, size]));
  const release = reserveMemory(operation, needs, FEWER_ROWS);
  try {
    const make = (length: number) => newArray(Float32Array, length, { operation, what: `of results for ${rows} rows`, hint: FEWER_ROWS });
    return { arrays: Object.fromEntries(bytes.map(([name, size]) => [name, make(size / 4)])), release };
  } catch (error) {
    release();
    throw error;
  }
}

/** The batch size for `rows` rows: a power of two, so that calls of any length share few compiled graphs. */
export function batchFor(rows: number, limit = 512): number {
  return Math.min(limit, 2 ** Math.ceil(Math.log2(rows)));
}

/** One batch of rows: of full size, the last one padded with zeros. */
export interface RowBatch {
  readonly index: number;
  /** The first row, and how many of the batch's rows are real. */
  readonly start: number;
  readonly count: number;
  readonly inputs: Readonly<Record<string, HostArray>>;
}

/** Cuts rows into batches of exactly `batch` rows; throws `"detached"` when a field's buffer is gone. */
export function* batches({ rows, fields }: Feed, batch: number, operation: string): Generator<RowBatch> {
  for (let start = 0, index = 0; start < rows; start += batch, index++) {
    const count = Math.min(batch, rows - start);
    const inputs = Object.entries(fields).map(([name, { data, size }]) => {
      checkAttached(operation, data);
      const view = data.subarray(start * size, (start + count) * size);
      return [name, count === batch ? view : padded(view, batch * size, operation)] as const;
    });
    yield { index, start, count, inputs: Object.fromEntries(inputs) };
  }
}

function padded(view: HostArray, length: number, operation: string): HostArray {
  const room = { operation, what: "of rows, padded to a batch", hint: FEWER_ROWS };
  if (isUint8Array(view)) {
    const bytes = newArray(Uint8Array, length, room);
    bytes.set(view);
    return bytes;
  }
  const values = isInt32Array(view) ? newArray(Int32Array, length, room) : newArray(Float32Array, length, room);
  values.set(view);
  return values;
}
