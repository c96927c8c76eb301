import { describe, VaeError } from "../errors.js";
import { checkAttached, Fields, isCallback, noMore } from "../graph/arguments.js";
import { isArray, isFloat32Array, isUint8Array } from "../graph/kinds.js";
import { showShape, sizeOf } from "../graph/tensor.js";
import { countRows } from "./batch-parts.js";
import { checkFinite } from "./check.js";
import { checkDataset, type Dataset, isDataset } from "./dataset.js";
import { checkNames, columnOrder, copyColumns } from "./names.js";

/** What was learned from the training rows, one number per column: plain data, to be kept as JSON beside a model. */
export interface Standardization {
  /** Names of the columns; null where the rows had none. */
  readonly columns: readonly string[] | null;
  readonly mean: readonly number[];
  /** 1 for a column that was constant or left out. */
  readonly standardDeviation: readonly number[];
}

/** Prepares rows as the training rows were; made by {@link standardizer}. `JSON.stringify` gives its {@link Standardization}. */
export interface Standardizer extends Standardization {
  /**
   * (value − mean) / standardDeviation of every column, as new float32 rows in the order of the standardizer's columns. The columns
   * of the data set may stand in any order; labels and names are kept. Bytes count as value / 255.
   *
   * @throws VaeError `"data"` for other columns than the training rows had, for missing values (NaN) and infinities, with row and
   *   column, and for rows that are standardized already; `"shape"` for rows without names of another length.
   */
  apply(dataset: Dataset): Dataset;
  /**
   * value × standardDeviation + mean: rows in the units of the training data again. Takes what a model gives (`reconstruct`,
   * `sample`), `rows × columns` values in the order of the columns.
   *
   * @throws VaeError `"shape"` for part of a row
   */
  invert(values: Float32Array): Float32Array;
}

/** What {@link standardizer} leaves alone. */
export interface StandardizerOptions {
  /** Names of columns that stay as they are, such as categories of 0 and 1 (`"colour=red"`); default none. */
  readonly except?: readonly string[];
}

/**
 * Learns mean and standard deviation (over the rows) of every column from **training** rows alone, to prepare these and all later
 * rows alike. Split first: statistics of all rows would tell the training what the held-out rows are like. Or makes a standardizer
 * again from what was saved.
 *
 * A constant column has nothing to divide by: its values become value − mean, zero in the training rows. Missing values are
 * refused; load with `missing: "drop"`, or fill them in.
 *
 * @example
 * ```ts
 * const [training, heldOut] = split(await datasets.csv("sensors.csv"), { fraction: 0.2 });
 * const preparation = standardizer(training);
 * await model.fit(preparation.apply(training), { validation: preparation.apply(heldOut) });
 * const text = JSON.stringify(preparation); // standardizer(JSON.parse(text)) prepares rows in the very same way
 * ```
 * @throws VaeError `"data"` for values that are not finite or no rows, `"argument"` for names in `except` that are no columns, or for
 *   anything that is neither a data set nor a saved standardizer.
 */
export function standardizer(source: Dataset | Standardization, options: StandardizerOptions = {}, ...surplus: never[]): Standardizer {
  const operation = "standardizer";
  noMore(operation, surplus, 'standardizer(rows, { except: ["colour=red"] })');
  const fields = new Fields(operation, options);
  const except = fields.raw("except") ?? [];
  fields.finish();
  checkNames(operation, except, "except");
  if (isDataset(source)) return fromStatistics(learn(source, except as readonly string[], operation));
  if ((except as readonly string[]).length > 0) throw fields.wrong("except", "left out for a standardizer that was saved");
  return fromStatistics(read(source, operation));
}

function learn(dataset: Dataset, except: readonly string[], operation: string): Standardization {
  checkDataset(dataset, operation);
  checkFinite(dataset, operation);
  refusePrepared(dataset, operation);
  const { data, rows, columns, name } = dataset;
  const unknown = except.find((column) => columns?.includes(column) !== true);
  if (unknown !== undefined) {
    const expected = `except to name columns of ${name}`;
    throw new VaeError({ code: "argument", operation, expected, received: describe(unknown) });
  }
  if (rows === 0) throw new VaeError({ code: "data", operation, expected: "at least one row", received: "none" });
  const kept = new Set(except);
  const size = data.length / rows;
  const unit = isUint8Array(data) ? 255 : 1;
  const [mean, standardDeviation]: [number[], number[]] = [[], []];
  for (let column = 0; column < size; column++) {
    const statistics = kept.has(columns?.[column] ?? "") ? undefined : statisticsOf(data, column, size);
    mean.push((statistics?.mean ?? 0) / unit);
    standardDeviation.push(statistics === undefined || statistics.deviation === 0 ? 1 : statistics.deviation / unit);
  }
  return { columns: columns ?? null, mean, standardDeviation };
}

/** Relative to the first value: exact where all are equal, and good to the digits where they differ little. */
function statisticsOf(data: Float32Array | Uint8Array, column: number, size: number): { mean: number; deviation: number } {
  const first = data[column]!;
  const rows = data.length / size;
  let sum = 0;
  for (let index = column; index < data.length; index += size) sum += data[index]! - first;
  const offset = sum / rows;
  let squares = 0;
  for (let index = column; index < data.length; index += size) squares += (data[index]! - first - offset) ** 2;
  return { mean: first + offset, deviation: Math.sqrt(squares / rows) };
}

function read(saved: unknown, operation: string): Standardization {
  const fields = new Fields(operation, saved);
  const [columns, mean, standardDeviation] = [fields.raw("columns") ?? null, fields.raw("mean"), fields.raw("standardDeviation")];
  // A standardizer itself has methods beside its data.
  for (const method of ["apply", "invert"]) fields.raw(method);
  fields.finish();
  const isList = (list: unknown, above: number): list is number[] =>
    isArray(list) && Array.from(list).every((value) => Number.isFinite(value) && (value as number) > above);
  if (!isList(mean, Number.NEGATIVE_INFINITY)) throw fields.wrong("mean", "an array of finite numbers");
  if (!isList(standardDeviation, 0) || standardDeviation.length !== mean.length) {
    throw fields.wrong("standardDeviation", `an array of ${mean.length} numbers above 0`);
  }
  if (columns !== null) checkNames(operation, columns, "names of the columns", mean.length);
  return { columns: columns as readonly string[] | null, mean, standardDeviation };
}

function fromStatistics(statistics: Standardization): Standardizer {
  const frozen = (list: readonly string[] | null) => (list === null ? null : Object.freeze([...list]));
  const columns = frozen(statistics.columns);
  const mean = Object.freeze([...statistics.mean]);
  const standardDeviation = Object.freeze([...statistics.standardDeviation]);
  const size = mean.length;
  const apply = (dataset: Dataset, ...surplus: never[]): Dataset => {
    const operation = "standardizer.apply";
    if (!isCallback(surplus)) noMore(operation, surplus);
    checkDataset(dataset, operation);
    refusePrepared(dataset, operation);
    const ordered = inOrder(dataset, columns, size, operation);
    checkFinite(ordered, operation);
    const unit = isUint8Array(ordered.data) ? 255 : 1;
    const data = Float32Array.from(ordered.data, (value, index) => (value / unit - mean[index % size]!) / standardDeviation[index % size]!);
    const standardization = { mean: Float32Array.from(mean), standardDeviation: Float32Array.from(standardDeviation) };
    return { ...ordered, data, standardization };
  };
  const invert = (values: Float32Array, ...surplus: never[]): Float32Array => {
    const operation = "standardizer.invert";
    if (!isCallback(surplus)) noMore(operation, surplus);
    if (!isFloat32Array(values)) {
      throw new VaeError({ code: "dtype", operation, expected: "rows in a Float32Array", received: describe(values) });
    }
    checkAttached(operation, values, "the values");
    countRows(values.length, [size], operation, "the values");
    return values.map((value, index) => value * standardDeviation[index % size]! + mean[index % size]!);
  };
  return Object.freeze({ columns, mean, standardDeviation, apply, invert });
}

/** The rows with the standardizer's columns in its order. */
function inOrder(dataset: Dataset, columns: readonly string[] | null, size: number, operation: string): Dataset {
  const { data, name = "Dataset", rows } = dataset;
  if (columns !== null && dataset.columns !== undefined) {
    const order = columnOrder(dataset.columns, columns, { operation, name, owner: "the standardizer" });
    if (order === undefined) return dataset;
    const target = isUint8Array(data) ? new Uint8Array(data.length) : new Float32Array(data.length);
    copyColumns(data, target, order, { start: 0, end: rows });
    return { ...dataset, data: target, columns };
  }
  if (sizeOf(dataset.shape) === size) return columns === null ? dataset : { ...dataset, columns };
  throw new VaeError({ code: "shape", operation, expected: `rows of ${size} values`, received: showShape(dataset.shape) });
}

function refusePrepared({ standardization, name }: Dataset, operation: string): void {
  if (standardization === undefined) return;
  throw new VaeError({
    code: "data",
    operation,
    problem: `the rows of ${name} are standardized already`,
    expected: "rows in their own units",
    hint: "load them without { standardize: true }, and prepare them once",
  });
}
