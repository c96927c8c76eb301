import { describe, VaeError } from "../errors.js";
import { Fields, isRecord, noMore, notOptions } from "../graph/arguments.js";
import { isArrayLike, isReadable } from "../graph/kinds.js";
import { sizeOf } from "../graph/tensor.js";
import { type Dataset, readDataset } from "./dataset.js";
import type { Field, FieldArray } from "./field.js";
import { rowsAt, rowsBetween } from "./field-array.js";

/** Rows `start` (included, default 0) to `end` (excluded, default the last). */
export interface RowRange {
  readonly start?: number;
  readonly end?: number;
}

/** How much {@link split} sets aside, and how it chooses. */
export interface SplitOptions {
  /** Part of the rows to set aside, between 0 and 1. */
  readonly fraction?: number;
  /** Number of rows to set aside; instead of `fraction`. */
  readonly count?: number;
  /** Rows are drawn at random with this seed, a whole number; default 0. */
  readonly seed?: number;
}

/**
 * A data set of some of the rows, in the order of the indices, copied. Labels and fields go with their rows.
 *
 * @throws VaeError `"argument"` for an index that is no row.
 */
export function subset(dataset: Dataset, rows: ArrayLike<number> | RowRange, ...surplus: never[]): Dataset {
  const operation = "subset";
  noMore(operation, surplus, "subset(rows, { start: 0, end: 100 })");
  const own = readDataset(dataset, operation);
  if (isRecord(rows) && isReadable(rows) && !("length" in rows)) {
    const fields = new Fields(operation, rows);
    const bounds = { minimum: 0, maximum: own.rows, integer: true };
    const [start, end] = [fields.number("start", bounds, 0), fields.number("end", bounds, own.rows)];
    if (end < start) throw fields.wrong("end", `at least start, ${start}`);
    fields.finish();
    return withRows(own, end - start, (data, size) => rowsBetween(data, size, start, end, operation));
  }
  if (!isArrayLike(rows)) {
    const expected = "an array of indices of rows, or { start, end }";
    throw new VaeError({ code: "argument", operation, expected, received: describe(rows) });
  }
  checkIndices(rows, own.rows, operation);
  return withRows(own, rows.length, (data, size) => rowsAt(data, size, rows, operation));
}

/** The data set with other rows: `choose` takes the same ones of every array of values, of which a row has `size`. */
function withRows(dataset: Dataset, rows: number, choose: <Data extends FieldArray>(data: Data, size: number) => Data): Dataset {
  const { data, shape, labels, fields } = dataset;
  const chosen = ([name, field]: [string, Field]) => [name, { ...field, data: choose(field.data, sizeOf(field.shape)) }];
  return {
    ...dataset,
    data: choose(data, sizeOf(shape)),
    rows,
    labels: labels === undefined ? undefined : choose(labels, 1),
    ...(fields === undefined ? {} : { fields: Object.fromEntries(Object.entries(fields).map(chosen)) }),
  };
}

function checkIndices(rows: ArrayLike<number>, count: number, operation: string): void {
  for (let place = 0; place < rows.length; place++) {
    const row: unknown = rows[place];
    if (Number.isInteger(row) && (row as number) >= 0 && (row as number) < count) continue;
    const expected = count === 0 ? "no index, since there are no rows" : `a whole number from 0 to ${count - 1}`;
    throw new VaeError({ code: "argument", operation, problem: `index ${place}`, expected, received: describe(row) });
  }
}

/**
 * Splits at random into the rest and a part, each in the order of the original.
 *
 * @example
 * ```ts
 * const [training, validation] = split(dataset, { fraction: 0.1, seed: 1 });
 * ```
 * @throws VaeError `"argument"` unless one of fraction and count is given and both parts get at least one row.
 */
export function split(dataset: Dataset, options: SplitOptions, ...surplus: never[]): [rest: Dataset, part: Dataset] {
  const operation = "split";
  const example = "split(rows, { fraction: 0.1, seed: 1 })";
  const own = readDataset(dataset, operation);
  if (!isRecord(options)) throw notOptions(operation, options, example);
  noMore(operation, surplus, example);
  const fields = new Fields(operation, options);
  const [fraction, count] = [fields.raw("fraction"), fields.raw("count")];
  const seed = fields.number("seed", { integer: true }, 0);
  fields.finish();
  const wanted = count === undefined ? Math.round((typeof fraction === "number" ? fraction : Number.NaN) * own.rows) : count;
  if ((fraction === undefined) === (count === undefined) || !isCount(wanted, own.rows - 1)) {
    throw new VaeError({
      code: "argument",
      operation,
      problem: `cannot split ${own.rows} rows`,
      expected: "either a fraction between 0 and 1 or a count, so that both parts get at least one row",
      received: describe({ fraction, count }),
    });
  }
  const order = permutation(own.rows, seed);
  return [subset(own, order.subarray(wanted).sort()), subset(own, order.subarray(0, wanted).sort())];
}

/** Fisher–Yates with the xorshift32 generator (Marsaglia 2003), seeded through the finalizer of MurmurHash3. */
function permutation(length: number, seed: number): Uint32Array {
  let state = seed ^ 0x9e3779b9;
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  state = state ^ (state >>> 16) || 1; // xorshift stays at zero for ever
  const order = Uint32Array.from({ length }, (_, index) => index);
  for (let last = length - 1; last > 0; last--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const other = Math.floor(((state >>> 0) / 2 ** 32) * (last + 1));
    const kept = order[last]!;
    order[last] = order[other]!;
    order[other] = kept;
  }
  return order;
}

function isCount(value: unknown, most: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= most;
}
