// What columns and classes are called: rows of two data sets belong together by name, never by position alone.
import { describe, VaeError } from "../errors.js";
import { suggestion } from "../graph/arguments.js";
import { isArray, isUint8Array } from "../graph/kinds.js";
import { type Shape, sizeOf } from "../graph/tensor.js";
import type { Dataset } from "./dataset.js";
import { SLICE_LENGTH, slices } from "./pace.js";

/** Names of the data that a model was trained on. */
export interface DataNames {
  /** One per value of a row, in the order of the values. */
  readonly columns?: readonly string[] | undefined;
  /** Names of the classes, by label. */
  readonly labelNames?: readonly string[] | undefined;
  /** Columns of texts with their categories, each of which is a column `"name=category"` of 0 and 1. */
  readonly categories?: Readonly<Record<string, readonly string[]>> | undefined;
}

/** Whose columns are compared, for messages. */
export interface ColumnsInUse {
  readonly operation: string;
  /** The data set that is looked at. */
  readonly name: string;
  /** Whom the columns asked for belong to: `"the model"`, another data set's name. */
  readonly owner: string;
}

/** Whose columns those of a model are, in messages. */
export const MODEL_COLUMNS = "the model's training data";

/** Names that a message lists. */
const LISTED = 4;

/** Candidates that a name is compared with: each comparison costs the product of two lengths. */
const COMPARED = 200;

/** True for texts; Array.from shows the holes that every() passes over. */
export function isNames(names: readonly unknown[]): names is readonly string[] {
  return Array.from(names).every((name) => typeof name === "string");
}

/**
 * Throws unless `names` is absent or a list of different texts, `count` of them where it is given.
 *
 * @throws VaeError `"argument"`, or `"shape"` for another number of names
 */
export function checkNames(operation: string, names: unknown, what: string, count?: number): void {
  if (names === undefined) return;
  if (!isArray(names) || !isNames(names)) {
    throw new VaeError({ code: "argument", operation, expected: `${what} as an array of texts`, received: describe(names) });
  }
  if (count !== undefined && names.length !== count) {
    throw new VaeError({ code: "shape", operation, expected: `${what}, one for each of ${count}`, received: `${names.length} names` });
  }
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name))
      throw new VaeError({ code: "argument", operation, expected: `${what} that differ`, received: `${describe(name)} twice` });
    seen.add(name);
  }
}

/**
 * Where each of the columns asked for stands in the rows that are given; undefined where all are in their place.
 *
 * @param optional columns that may be missing, which then have the place -1
 * @throws VaeError `"data"` with the missing and the unknown names, unless both are the same set
 */
export function columnOrder(
  given: readonly string[],
  wanted: readonly string[],
  use: ColumnsInUse,
  optional: ReadonlySet<string> = new Set(),
): Int32Array | undefined {
  if (given === wanted || (given.length === wanted.length && given.every((name, place) => name === wanted[place]))) return undefined;
  const places = new Map(given.map((name, place) => [name, place]));
  const known = new Set(wanted);
  const missing = wanted.filter((name) => !places.has(name) && !optional.has(name));
  const unknown = given.filter((name) => !known.has(name));
  if (missing.length > 0 || unknown.length > 0) throw otherColumns(missing, unknown, use);
  return Int32Array.from(wanted, (name) => places.get(name) ?? -1);
}

/** Which rows are copied. */
interface CopiedRows {
  readonly start: number;
  readonly end: number;
  /** Where the target's begin; default 0. */
  readonly offset?: number;
  /** Values in a row of the source; default: as many as there are places. */
  readonly width?: number;
}

/** Copies rows `start` to `end` with their values in the order of the places; one at −1 is 0. */
export function copyColumns(
  source: Float32Array | Uint8Array,
  target: Float32Array | Uint8Array,
  order: Int32Array,
  { start, end, offset = 0, width = order.length }: CopiedRows,
): void {
  const size = order.length;
  for (let row = start; row < end; row++) {
    const [from, to] = [row * width, offset + row * size];
    for (let place = 0; place < size; place++) target[to + place] = order[place]! < 0 ? 0 : source[from + order[place]!]!;
  }
}

/**
 * The same rows with their columns in the order asked for, copied where that is another one. A data set without names is taken
 * as it is.
 *
 * @param categories columns of texts: rows that have the column may lack some of its categories
 * @throws VaeError `"data"` unless the columns are the same set
 */
export function alignColumns(
  dataset: Dataset,
  wanted: readonly string[] | undefined,
  operation: string,
  owner: string,
  categories: DataNames["categories"] = {},
): Dataset | Promise<Dataset> {
  const { columns, name = "Dataset" } = dataset;
  if (wanted === undefined || columns === undefined) return dataset;
  const present = Object.keys(categories).filter((column) => columns.some((full) => full.startsWith(`${column}=`)));
  const stranger = present
    .flatMap((column) =>
      columns.filter((full) => full.startsWith(`${column}=`)).map((full) => [column, full.slice(column.length + 1)] as const),
    )
    .find(([column, text]) => !categories[column]!.includes(text));
  if (stranger !== undefined && !wanted.includes(stranger.join("="))) {
    const [column, text] = stranger;
    throw new VaeError({
      code: "data",
      operation,
      problem: `${name}: ${owner} has no category ${describe(text)} of ${describe(column)}`,
      hint: `it knows ${listed(categories[column]!)}; leave rows of other categories out`,
    });
  }
  const optional = new Set(present.flatMap((column) => categories[column]!.map((text) => `${column}=${text}`)));
  const order = columnOrder(columns, wanted, { operation, name, owner }, optional);
  return order === undefined ? dataset : reordered(dataset, order, wanted);
}

async function reordered(dataset: Dataset, order: Int32Array, columns: readonly string[]): Promise<Dataset> {
  const { data, rows } = dataset;
  const length = rows * order.length;
  const target = isUint8Array(data) ? new Uint8Array(length) : new Float32Array(length);
  const width = data.length / rows;
  const rowsPerTurn = Math.max(1, Math.floor(SLICE_LENGTH / order.length));
  for await (const { begin, end } of slices(rows, rowsPerTurn)) {
    copyColumns(data, target, order, { start: begin, end, width });
  }
  const shape = order.length === width ? dataset.shape : [order.length];
  return { ...dataset, data: target, shape, columns, standardization: reorderedStatistics(dataset, order) };
}

/** What was done to each column, in the new order of the columns. */
export function reorderedStatistics({ standardization }: Dataset, order: Int32Array): Dataset["standardization"] {
  if (standardization === undefined) return undefined;
  const { mean, standardDeviation } = standardization;
  return {
    mean: Float32Array.from(order, (place) => mean[place] ?? 0),
    standardDeviation: Float32Array.from(order, (place) => standardDeviation[place] ?? 1),
  };
}

/** Rows without names get those that stand for their values, for messages: `row 3, column 2 ("temperature")`. */
export function withColumns(dataset: Dataset, columns: readonly string[] | undefined, shape: Shape): Dataset {
  return dataset.columns !== undefined || columns?.length !== sizeOf(shape) ? dataset : { ...dataset, columns };
}

function otherColumns(missing: readonly string[], unknown: readonly string[], { operation, name, owner }: ColumnsInUse): VaeError {
  const difference = (lack: readonly string[], excess: readonly string[]): string =>
    [lack.length === 0 ? "" : `missing ${listed(lack)}`, excess.length === 0 ? "" : `unknown ${listed(excess)}`]
      .filter((part) => part !== "")
      .join("; ");
  const column = categoricalColumn(missing, unknown);
  if (column !== undefined) {
    const categories = (names: readonly string[]) => names.map((full) => full.slice(column.length + 1));
    return new VaeError({
      code: "data",
      operation,
      problem: `the column ${describe(column)} of ${name} has other categories than in ${owner}: ${difference(categories(missing), categories(unknown))}`,
      hint: `there is a column for every category: read the file with datasets.csv(path, { like: training }), or leave rows of unknown categories out`,
    });
  }
  return new VaeError({
    code: "data",
    operation,
    problem: `the columns of ${name} are not those of ${owner}: ${difference(missing, unknown)}`,
    hint: `${columnHint(missing, unknown)}; the order of columns does not matter`,
  });
}

function columnHint(missing: readonly string[], unknown: readonly string[]): string {
  if (missing.length === 0)
    return "choose the columns when loading: { columns: [...] }, or --columns; name the classes as { label }, or --label";
  const near = suggestion(unknown[0] ?? "", missing.slice(0, COMPARED));
  if (near !== "") return `for ${describe(unknown[0])}: ${near}rename the column`;
  return "every column must be there under its name; rows without names, dataset.data, are taken as they are";
}

/** The column of texts whose categories are all that differs, as in `"colour=red"`; undefined where anything else does. */
function categoricalColumn(missing: readonly string[], unknown: readonly string[]): string | undefined {
  const columns = new Set([...missing, ...unknown].map((name) => (name.includes("=") ? name.slice(0, name.indexOf("=")) : undefined)));
  const [column] = columns;
  return columns.size === 1 ? column : undefined;
}

/** `"a", "b" and 7 more` */
function listed(names: readonly string[]): string {
  const first = names.slice(0, LISTED).map(describe).join(", ");
  return names.length > LISTED ? `${first} and ${names.length - LISTED} more` : first;
}
