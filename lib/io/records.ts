import { describe, VaeError } from "../errors.js";
import { Fields, isRecord, noMore } from "../graph/arguments.js";
import { isArray } from "../graph/kinds.js";
import { noRows } from "./collect.js";
import type { Dataset } from "./dataset.js";
import { checkNames, columnOrder } from "./names.js";
import { namesOption } from "./options.js";

/** Which fields of the records become columns. */
export interface RecordsOptions {
  /** Fields to use, in this order; others are passed over. Default: all fields of the first record, which all others must have too. */
  readonly columns?: readonly string[];
}

/**
 * Flat float32 rows from objects, one per row, whose fields are the columns: readings of sensors, rows of a database. Fields go by
 * name, in any order.
 *
 * @example
 * ```ts
 * const rows = datasets.records([{ temperature: 61.2, pressure: 2.04 }, { pressure: 1.98, temperature: 59.7 }]);
 * const sites = withField(datasets.records(readings, { columns: ["pressure"] }), "site", readings.map(({ site }) => site));
 * ```
 * @throws VaeError `"data"` for a value that is missing, NaN or beyond float32, with record and field, for other fields than those of
 *   the first record and for no records; `"argument"` for a value that is no number or a record that is no plain object.
 */
export function records(rows: readonly Readonly<Record<string, unknown>>[], options: RecordsOptions = {}, ...surplus: never[]): Dataset {
  const operation = "datasets.records";
  noMore(operation, surplus, 'datasets.records(rows, { columns: ["width", "height"] })');
  const fields = new Fields(operation, options);
  const chosen = namesOption(fields, "columns");
  fields.finish();
  if (!isArray(rows)) throw new VaeError({ code: "argument", operation, expected: "an array of objects", received: describe(rows) });
  if (rows.length === 0) throw noRows(operation);
  for (const [index, row] of rows.entries()) {
    if (isRecord(row)) continue;
    throw new VaeError({ code: "argument", operation, expected: `record ${index} to be a plain object`, received: describe(row) });
  }
  const columns = chosen ?? Object.keys(rows[0] as object);
  if (columns.length === 0) throw new VaeError({ code: "argument", operation, expected: "at least one column", received: "none" });
  checkNames(operation, columns, "columns");
  const data = new Float32Array(rows.length * columns.length);
  for (const [index, row] of (rows as Readonly<Record<string, unknown>>[]).entries()) {
    if (chosen === undefined) columnOrder(Object.keys(row), columns, { operation, name: `record ${index}`, owner: "record 0" });
    for (const [place, column] of columns.entries()) data[index * columns.length + place] = fieldOf(row, column, index, operation);
  }
  return { data, rows: rows.length, shape: [columns.length], columns, name: "records" };
}

function fieldOf(row: Readonly<Record<string, unknown>>, column: string, index: number, operation: string): number {
  const value = Object.hasOwn(row, column) ? row[column] : undefined;
  if (typeof value === "number" && Number.isFinite(Math.fround(value))) return value;
  const missing = value === undefined || value === null || typeof value === "number";
  throw new VaeError({
    code: missing ? "data" : "argument",
    operation,
    problem: `the field ${describe(column)} of record ${index}`,
    expected: "a finite number that fits a float32",
    received: value === undefined ? "nothing" : describe(value),
    hint: missing ? "leave the record out, or fill in the value" : "convert it to a number, or choose the fields with { columns: [...] }",
  });
}
