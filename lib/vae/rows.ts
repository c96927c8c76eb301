// Rows of a caller's data on their way to the device: owned, checked, and cut into batches of a fixed size.

import { checkAttached } from "../graph/arguments.js";
import { newArray } from "../graph/bytes.js";
import { isPromise, isUint8Array } from "../graph/kinds.js";
import type { ReadLimits } from "../io/arrival.js";
import { checkBytesInSlices } from "../io/bytes.js";
import { checkValues } from "../io/check.js";
import { checkDataset, type DataSource, type Dataset, isDataset, takeRows, toDataset } from "../io/dataset.js";
import { alignColumns, type DataNames, MODEL_COLUMNS, withColumns } from "../io/names.js";
import { reserveMemory } from "../runtime/memory.js";
import type { Architecture } from "./architecture.js";
import type { Inference } from "./infer.js";
import { rangeOf } from "./likelihoods.js";

/** How far a caller's data are read, and what their columns are to be. */
export interface OwnRowsOptions extends ReadLimits {
  /** The model's columns, where they are not known to the model yet. */
  readonly columns?: readonly string[] | undefined;
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
  { architecture, names, weights }: Inference,
  source: DataSource,
  operation: string,
  { columns = names.columns, stops = [], ...limits }: OwnRowsOptions = {},
): Dataset | Promise<Dataset> {
  weights.check(operation);
  const { input } = architecture.config;
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
  const aligned = alignColumns(source, columns, operation, MODEL_COLUMNS);
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
export async function ownTogether(model: Inference, requests: readonly RowRequest[]): Promise<Dataset[]> {
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
export function namesAfter({ columns, labelNames }: DataNames, dataset: Dataset): DataNames {
  const classes = dataset.labelNames === undefined ? labelNames : [...new Set([...(labelNames ?? []), ...dataset.labelNames])];
  const owned = (list: readonly string[] | undefined) => (list === undefined ? undefined : Object.freeze([...list]));
  return { columns: columns ?? owned(dataset.columns), labelNames: owned(classes) };
}

/** Throws `"data"` at the first value that is not finite or that the likelihood does not take. */
export async function checkRows({ config }: Architecture, dataset: Dataset, operation: string): Promise<void> {
  await checkValues(dataset, rangeOf(config.likelihood), operation);
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
export interface RowBatch<T extends Float32Array | Uint8Array> {
  readonly index: number;
  /** The first row, and how many of the batch's rows are real. */
  readonly start: number;
  readonly count: number;
  readonly values: T;
}

/** Cuts rows of `size` values into batches of exactly `batch` rows; throws `"detached"` when their buffer is gone. */
export function* batches<T extends Float32Array | Uint8Array>(
  data: T,
  { rows, size, batch, operation }: { readonly rows: number; readonly size: number; readonly batch: number; readonly operation: string },
): Generator<RowBatch<T>> {
  for (let start = 0, index = 0; start < rows; start += batch, index++) {
    checkAttached(operation, data);
    const count = Math.min(batch, rows - start);
    const view = data.subarray(start * size, (start + count) * size) as T;
    if (count === batch) {
      yield { index, start, count, values: view };
      continue;
    }
    const room = { operation, what: `of rows, padded to a batch of ${batch}`, hint: FEWER_ROWS };
    const padded = (isUint8Array(data) ? newArray(Uint8Array, batch * size, room) : newArray(Float32Array, batch * size, room)) as T;
    padded.set(view);
    yield { index, start, count, values: padded };
  }
}
