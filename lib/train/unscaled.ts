// Data in other units than training works in. A Gaussian model of millimetres or of counts in the thousands begins millions of
// nats from anything, and may spend its training on the way; a column a thousand times smaller than the others is as good as
// left out. Neither is an error, and neither shows in a number that one looks at.
import { setImmediate } from "node:timers/promises";
import { isFloat32Array } from "../graph/kinds.js";
import type { Dataset } from "../io/dataset.js";
import type { FieldSpec } from "./trainable.js";

/** A column far from unit scale. */
export interface UnscaledColumn {
  /** Its name, or its place in a row. */
  readonly column: string;
  readonly mean: number;
  readonly standardDeviation: number;
}

/** Something about a training that is no error and yet should be known. */
export interface TrainingWarning {
  /** `"NODE_VAE_UNSCALED"`: columns far from unit scale. Also the code of the warning that the process emits. */
  readonly code: "NODE_VAE_UNSCALED";
  readonly message: string;
  readonly columns: readonly UnscaledColumn[];
}

/** The root mean square from which on a column is called large: standardized columns have 1, iris in centimetres 6. */
const LARGE = 10;
/** Where no column has more, all are called small: a learned scale cannot fall below 0.001. */
const SMALL = 0.01;
/** Means from which on, in standard deviations, an offset drowns what varies. Columns of 0 and 1 never count. */
const OFFSET = 100;
/** Between the largest and the smallest scale of the columns of a table. */
const RATIO = 1e3;

/** Values looked at first, a few milliseconds' worth, and in one go when all are. */
const SAMPLE = 1 << 20;
const FEWEST_ROWS = 16;

/** How many columns a message names. */
const NAMED = 5;

/**
 * What is to be said about the scale of the data; undefined where it is as it should be, for bytes, and for likelihoods that do
 * not ask for unit scale. Evenly spaced rows are looked at, and all of them only where those give reason to.
 */
export async function unscaledWarning({ unitScale }: FieldSpec, dataset: Dataset, operation: string): Promise<TrainingWarning | undefined> {
  const { data, rows } = dataset;
  if (!isFloat32Array(data) || unitScale !== true) return undefined;
  const size = data.length / rows;
  const sampled = Math.min(rows, Math.max(FEWEST_ROWS, Math.floor(SAMPLE / size)));
  const statistics = new Columns(size);
  for (let index = 0; index < sampled; index++) statistics.add(data, Math.floor((index * rows) / sampled) * size);
  let wrong = columnsOutOfScale(statistics, dataset);
  if (wrong.length === 0) return undefined;
  if (sampled < rows) {
    const all = new Columns(size);
    for (let row = 0; row < rows; row++) {
      if (row % sampled === sampled - 1) await setImmediate();
      all.add(data, row * size);
    }
    wrong = columnsOutOfScale(all, dataset);
    if (wrong.length === 0) return undefined;
  }
  return { code: "NODE_VAE_UNSCALED", message: messageOf(wrong, dataset, operation), columns: wrong };
}

/** Mean, spread and range of every column, summed up relative to the first row, which keeps their digits. */
class Columns {
  count = 0;
  readonly first: Float64Array;
  readonly sums: Float64Array;
  readonly squares: Float64Array;
  readonly low: Float64Array;
  readonly high: Float64Array;

  constructor(size: number) {
    [this.first, this.sums, this.squares] = [new Float64Array(size), new Float64Array(size), new Float64Array(size)];
    this.low = new Float64Array(size).fill(Number.POSITIVE_INFINITY);
    this.high = new Float64Array(size).fill(Number.NEGATIVE_INFINITY);
  }

  add(data: Float32Array, start: number): void {
    const { first, sums, squares, low, high } = this;
    if (this.count === 0) first.set(data.subarray(start, start + first.length));
    this.count++;
    for (let column = 0; column < first.length; column++) {
      const value = data[start + column]!;
      const distance = value - first[column]!;
      sums[column]! += distance;
      squares[column]! += distance * distance;
      if (value < low[column]!) low[column] = value;
      if (value > high[column]!) high[column] = value;
    }
  }

  mean(column: number): number {
    return this.first[column]! + this.sums[column]! / this.count;
  }

  deviation(column: number): number {
    const offset = this.sums[column]! / this.count;
    return this.low[column] === this.high[column] ? 0 : Math.sqrt(Math.max(0, this.squares[column]! / this.count - offset * offset));
  }
}

function columnsOutOfScale(statistics: Columns, { shape, columns: names }: Dataset): UnscaledColumn[] {
  const all = Array.from(statistics.first, (_, index) => ({
    column: names?.[index] ?? String(index),
    mean: statistics.mean(index),
    standardDeviation: statistics.deviation(index),
    range: statistics.high[index]! - statistics.low[index]!,
  }));
  const magnitude = ({ mean, standardDeviation }: UnscaledColumn): number => Math.hypot(mean, standardDeviation);
  const largestOf = (value: (column: (typeof all)[number]) => number): number => all.reduce((most, one) => Math.max(most, value(one)), 0);
  const largest = largestOf(magnitude);
  const [deviation, range] = [largestOf((column) => column.standardDeviation), largestOf((column) => column.range)];
  // A pixel at the edge that hardly ever changes is no reason to rescale an image: only the columns of tables are compared.
  const table = shape.length === 1;
  const wrong = all.filter((column) => {
    if (magnitude(column) > LARGE || (largest > 0 && largest < SMALL)) return true;
    if (!table || column.standardDeviation === 0) return false;
    if (Math.abs(column.mean) > Math.max(2, OFFSET * column.standardDeviation)) return true;
    // Both, since a column that is rarely not 0 has a small deviation and still a range like any other.
    return column.standardDeviation * RATIO < deviation && column.range * RATIO < range;
  });
  return wrong.map(({ column, mean, standardDeviation }) => ({ column, mean, standardDeviation }));
}

function messageOf(wrong: readonly UnscaledColumn[], { columns, shape, data, rows, name }: Dataset, operation: string): string {
  const short = (value: number): string => String(Number(value.toPrecision(3)));
  const named = wrong.slice(0, NAMED).map(({ column, mean, standardDeviation }) => {
    const title = columns === undefined ? column : JSON.stringify(column.length > 40 ? `${column.slice(0, 39)}…` : column);
    return `${title} (mean ${short(mean)}, standard deviation ${short(standardDeviation)})`;
  });
  const more = wrong.length > NAMED ? ` and ${wrong.length - NAMED} more` : "";
  const advice =
    shape.length === 1
      ? "standardize them: vae({ …, prepare: standardize() }), or standardizer(rows).apply(rows)"
      : "scale them, for example to [0, 1]; bytes in a Uint8Array are scaled for you";
  const count = `${wrong.length} of ${data.length / rows}`;
  return `${operation}: ${count} columns of ${name} are far from unit scale, so training may stick or miss what they hold: ${named.join(", ")}${more}\n  hint: ${advice}`;
}
