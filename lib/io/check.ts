import { describe, VaeError } from "../errors.js";
import { isFloat32Array, isUint8Array } from "../graph/kinds.js";
import { sizeOf } from "../graph/tensor.js";
import type { Dataset } from "./dataset.js";
import { checkCategories } from "./field.js";
import { slices } from "./pace.js";

/** The interval that values must lie in, ends included. */
export interface ValueRange {
  readonly low: number;
  readonly high: number;
}

const FINITE: ValueRange = { low: -3.4028234663852886e38, high: 3.4028234663852886e38 };

/**
 * Throws `"data"` with row, column and value at the first NaN or infinity. Bytes always pass.
 *
 * @param firstRow what the first row is called, where the rows are a part of others
 */
export function checkFinite(dataset: Dataset, operation: string, firstRow = 0): void {
  if (!isFloat32Array(dataset.data)) return;
  refuse(dataset, firstOutside(dataset.data, 0, dataset.data.length, FINITE), undefined, operation, firstRow);
}

/**
 * Throws `"data"` with row, column and value at the first value that is NaN or outside the range. Bytes stand for
 * value / 255 and are compared as such.
 *
 * @param firstRow what the first row is called, where the rows are a part of others
 */
export function checkRange(dataset: Dataset, range: ValueRange, operation: string, firstRow = 0): void {
  if (alwaysInside(dataset, range)) return;
  refuse(dataset, firstOutside(dataset.data, 0, dataset.data.length, stored(dataset, range)), range, operation, firstRow);
}

/**
 * {@link checkFinite}, or with a range {@link checkRange}, in slices of about a millisecond with the event loop in between.
 */
export async function checkValues(dataset: Dataset, range: ValueRange | undefined, operation: string): Promise<void> {
  const { data } = dataset;
  if (range === undefined ? isUint8Array(data) : alwaysInside(dataset, range)) return;
  const limits = range === undefined ? FINITE : stored(dataset, range);
  for await (const { begin, end } of slices(data.length)) {
    refuse(dataset, firstOutside(data, begin, end, limits), range, operation);
  }
}

/**
 * Throws `"data"` with the row at the first value of a field beside x and the labels that cannot be trained on: a float that is not
 * finite, a category without a name. In slices of about a millisecond, with the event loop in between. What the data set holds is
 * known to be right: see `checkDataset`.
 */
export async function checkFields({ fields = {}, rows, name: owner }: Dataset, operation: string): Promise<void> {
  for (const [name, field] of Object.entries(fields)) {
    const { data, shape } = field;
    for await (const { begin, end } of slices(data.length)) {
      checkCategories(field, begin, end, { name, rows, owner, operation });
      const index = isFloat32Array(data) ? firstOutside(data, begin, end, FINITE) : -1;
      if (index < 0) continue;
      throw new VaeError({
        code: "data",
        operation,
        problem: `the field ${describe(name)} of row ${Math.floor(index / sizeOf(shape))} of ${owner} is ${data[index]}`,
        expected: "finite values",
        received: String(data[index]),
        hint: "remove or fill in missing and infinite values",
      });
    }
  }
}

/** Index of the first NaN or infinity, or -1. */
export function firstNotFinite(values: Float32Array): number {
  return firstOutside(values, 0, values.length, FINITE);
}

/** Index of the first value that is not in [low, high], or -1. NaN is never in it. */
function firstOutside(data: Float32Array | Uint8Array, begin: number, end: number, { low, high }: ValueRange): number {
  for (let index = begin; index < end; index++) {
    const value = data[index]!;
    if (!(value >= low && value <= high)) return index;
  }
  return -1;
}

/** The range in the units that the data are stored in. */
function stored({ data }: Dataset, { low, high }: ValueRange): ValueRange {
  return isUint8Array(data) ? { low: low * 255, high: high * 255 } : { low, high };
}

function alwaysInside({ data }: Dataset, { low, high }: ValueRange): boolean {
  return isUint8Array(data) && low <= 0 && high >= 1;
}

function refuse(dataset: Dataset, index: number, range: ValueRange | undefined, operation: string, firstRow = 0): void {
  if (index < 0) return;
  const size = dataset.data.length / dataset.rows;
  const row = firstRow + Math.floor(index / size);
  const column = index % size;
  const name = dataset.columns?.[column];
  const stored = dataset.data[index]!;
  const value = isUint8Array(dataset.data) ? stored / 255 : stored;
  const expected = range === undefined || !Number.isFinite(value) ? "finite values" : `values in [${range.low}, ${range.high}]`;
  throw new VaeError({
    code: "data",
    operation,
    problem: `row ${row}, column ${column}${name === undefined ? "" : ` ("${name}")`} of ${dataset.name} is ${value}`,
    expected,
    received: String(value),
    hint: !Number.isFinite(value)
      ? "remove or fill in missing and infinite values"
      : 'scale the data (bytes in a Uint8Array are scaled for you), or use likelihood: "gaussian"',
  });
}
