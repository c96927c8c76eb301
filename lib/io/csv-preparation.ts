// How the columns of a table became numbers, as plain data: with it other rows are prepared alike.
import { describe, VaeError } from "../errors.js";
import { isRecord } from "../graph/arguments.js";
import { isArray } from "../graph/kinds.js";

/** A column of numbers: a value of the result is (number − mean) / standardDeviation. */
export interface CsvNumberColumn {
  readonly name: string;
  /** What is subtracted: the mean of the column with `standardize`, else 0. */
  readonly mean: number;
  /** What divides: the standard deviation (over the rows) with `standardize`, else 1; 1 as well for a constant column. */
  readonly standardDeviation: number;
  /** The mean of the numbers that are there, which `missing: "mean"` fills in. */
  readonly average: number;
}

/** A column of texts: the result has one column of 0 and 1 per category, in this order. */
export interface CsvCategoryColumn {
  readonly name: string;
  readonly categories: readonly string[];
}

/**
 * How a CSV file was prepared. It is plain data and survives `JSON.stringify`: keep it beside the model, and read later rows with
 * `datasets.csv(path, { like: preparation })`.
 */
export interface CsvPreparation {
  /** The columns of the file in use, in the order of the result. */
  readonly columns: readonly (CsvNumberColumn | CsvCategoryColumn)[];
  /** The column with the classes; its names by label, or null where the labels are whole numbers of the file. */
  readonly label: { readonly name: string; readonly names: readonly string[] | null } | null;
  /** Whether `standardize` was set. */
  readonly standardize: boolean;
}

/** Whatever `like` may be, checked: it may come from a file. */
export function readPreparation(operation: string, value: unknown): CsvPreparation {
  const preparation = isRecord(value) && "preparation" in value ? value.preparation : value;
  const wrong = (what: string, received: unknown) =>
    new VaeError({
      code: "argument",
      operation,
      problem: "like is not usable",
      expected: what,
      received: describe(received),
      hint: "pass what datasets.csv returned, or its preparation",
    });
  if (!isRecord(preparation)) throw wrong("a CsvDataset or a CsvPreparation", value);
  const { columns, label, standardize } = preparation;
  if (!isArray(columns) || columns.length === 0) throw wrong("an array of columns", columns);
  const bad = columns.findIndex((column) => !(isNumberColumn(column) || isCategoryColumn(column)));
  if (bad >= 0) throw wrong("columns with a name and either categories or mean, standardDeviation and average", columns[bad]);
  if (new Set((columns as { name: unknown }[]).map(({ name }) => name)).size < columns.length)
    throw wrong("columns of different names", columns);
  const labelled = isRecord(label) && typeof label.name === "string" && (label.names === null || isTexts(label.names));
  if (label !== null && !labelled) throw wrong("label to be null, or a name with names", label);
  if (typeof standardize !== "boolean") throw wrong("standardize to be true or false", standardize);
  return preparation as unknown as CsvPreparation;
}

function isNumberColumn(column: unknown): column is CsvNumberColumn {
  if (!isRecord(column) || typeof column.name !== "string") return false;
  const { mean, standardDeviation, average } = column;
  return [mean, standardDeviation, average].every((value) => Number.isFinite(value)) && (standardDeviation as number) > 0;
}

export function isCategoryColumn(column: unknown): column is CsvCategoryColumn {
  return isRecord(column) && typeof column.name === "string" && isTexts(column.categories);
}

function isTexts(value: unknown): value is readonly string[] {
  return isArray(value) && Array.from(value).every((text) => typeof text === "string") && new Set(value).size === value.length;
}
