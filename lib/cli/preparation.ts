// Tables are standardized by default. What was subtracted and divided stands in the model's file, and later rows are prepared by
// the names of their columns; what the model gives for a table is brought back to the table's own units.
import { VaeError } from "../errors.js";
import { isFloat32Array } from "../graph/kinds.js";
import type { Dataset, Preparation } from "../index.js";
import { categoryColumns } from "../io/preparation.js";

/** Rows that are named or numbered columns, not pixels: flat, and not bytes. */
export function isTable({ data, shape }: Dataset): boolean {
  return shape.length === 1 && isFloat32Array(data);
}

/** How a table is prepared from here on. Categories stay 0 and 1; a constant column becomes 0. */
export function preparationOf(
  table: Dataset,
  { standardize, categorical }: { standardize: boolean; categorical: readonly string[] },
): Preparation {
  const { columns = [], rows, data } = table;
  const [size] = table.shape as [number];
  const categories = Object.fromEntries(
    categorical.map((name) => [
      name,
      columns.filter((column) => column.startsWith(`${name}=`)).map((column) => column.slice(name.length + 1)),
    ]),
  );
  const kept: ReadonlySet<string> = new Set(categoryColumns(categories));
  const mean = new Array<number>(size).fill(0);
  const standardDeviation = new Array<number>(size).fill(1);
  for (let column = 0; standardize && column < size; column++) {
    if (kept.has(columns[column] ?? "")) continue;
    // Relative to the first value, which keeps the digits of what varies little around something large.
    const first = data[column]!;
    let sum = 0;
    for (let row = 0; row < rows; row++) sum += data[row * size + column]! - first;
    mean[column] = first + sum / rows;
    let squares = 0;
    for (let row = 0; row < rows; row++) squares += (data[row * size + column]! - mean[column]!) ** 2;
    standardDeviation[column] = Math.sqrt(squares / rows) || 1;
  }
  return { columns, mean, standardDeviation, categories };
}

/** The columns of a file that a model wants, in its order. */
export function sourceColumns({ columns, categories }: Preparation): readonly string[] {
  const sourceOf = new Map<string, string>(
    Object.entries(categories).flatMap(([name, texts]) => texts.map((text) => [`${name}=${text}`, name] as const)),
  );
  return [...new Set(columns.map((column) => sourceOf.get(column) ?? column))];
}

/**
 * A table as the model was trained on it, its columns found by name; by place where one side has no names.
 *
 * @throws VaeError `"data"` for a column that is missing and for a category that the model does not know, `"shape"` for another
 *   number of columns without names
 */
export function prepared(table: Dataset, preparation: Preparation): Dataset {
  const { columns, mean, standardDeviation, categories } = preparation;
  const { columns: names, rows, data, name } = table;
  const width = data.length / rows;
  const wrong = (problem: string, hint: string): VaeError =>
    new VaeError({ code: "data", operation: "--data", problem: `${name}: ${problem}`, hint });
  const byName = columns.length > 0 && names !== undefined;
  if (!byName && width !== mean.length) {
    throw new VaeError({
      code: "shape",
      operation: "--data",
      expected: `${mean.length} columns, as the model was trained on`,
      received: String(width),
    });
  }
  const known = new Set(columns);
  const optional: ReadonlySet<string> = new Set(categoryColumns(categories));
  for (const category of Object.keys(categories)) {
    const stranger = byName ? names.find((column) => column.startsWith(`${category}=`) && !known.has(column)) : undefined;
    if (stranger === undefined) continue;
    const text = JSON.stringify(stranger.slice(category.length + 1));
    throw wrong(
      `the model knows no category ${text} of "${category}"`,
      `it knows ${categories[category]!.map((one) => JSON.stringify(one)).join(", ")}`,
    );
  }
  const placeOf = new Map(names?.map((column, index) => [column, index]));
  const places = mean.map((_, index) => (byName ? (placeOf.get(columns[index]!) ?? -1) : index));
  const missing = places.findIndex((place, index) => place < 0 && !optional.has(columns[index]!));
  if (missing >= 0)
    throw wrong(
      `no column "${columns[missing]}", which the model was trained on`,
      `it has ${names!.map((one) => JSON.stringify(one)).join(", ")}`,
    );
  const values = new Float32Array(rows * places.length);
  for (let row = 0; row < rows; row++) {
    places.forEach((place, index) => {
      if (place >= 0) values[row * places.length + index] = (data[row * width + place]! - mean[index]!) / standardDeviation[index]!;
    });
  }
  return { ...table, data: values, shape: [places.length], ...(byName ? { columns } : {}) };
}

/** Rows of the model in the table's own units. */
export function restored(rows: Float32Array, preparation: Preparation | undefined): Float32Array {
  if (preparation === undefined) return rows;
  const { mean, standardDeviation } = preparation;
  return rows.map((value, index) => value * standardDeviation[index % mean.length]! + mean[index % mean.length]!);
}

/** Whether anything but the order of columns changes. */
export function isStandardized({ mean, standardDeviation }: Preparation): boolean {
  return mean.some((value) => value !== 0) || standardDeviation.some((value) => value !== 1);
}
