import { createReadStream } from "node:fs";
import { pipeline } from "node:stream";
import { CsvError, type Info, parse } from "csv-parse";
import { VaeError } from "../errors.js";
import { Fields } from "../graph/arguments.js";
import { noRows } from "./collect.js";
import { CategoryColumn, type Column, isMissing, type Missing, NumberColumn } from "./columns.js";
import type { Dataset } from "./dataset.js";
import { fileError, fileSystemError, type Source, sourceOf } from "./files.js";
import { nameOption, namesOption } from "./options.js";

/** What a CSV file is read with. */
export interface CsvOptions {
  /** Columns to use, in this order; default all but the label. */
  readonly columns?: readonly string[];
  /** Column with the class of each row: whole numbers are taken as they are, texts are numbered in sorted order. */
  readonly label?: string;
  /** Columns of texts, each to become one column of 0 and 1 per text that occurs ("one-hot"), in sorted order. */
  readonly categorical?: readonly string[];
  /** Between the cells; default `","`. */
  readonly delimiter?: string;
  /** Whether the first line holds the names of the columns, default true. Otherwise they are "0", "1", … */
  readonly header?: boolean;
  /**
   * What to do with empty cells, `NA`, `N/A`, `NaN`, `null` and `?`: throw (default), fill in the mean of the column or a number, or
   * drop the row. A missing category that is filled in becomes all zeros; a missing label throws or is dropped.
   */
  readonly missing?: Missing;
  /** Subtract the mean of each numeric column and divide by its standard deviation (over the rows); default false. */
  readonly standardize?: boolean;
}

/** The rows of a CSV file, with what is needed to prepare other rows alike. */
export interface CsvDataset extends Dataset {
  readonly columns: readonly string[];
  /** With `standardize`: what was subtracted from and what divides each column; 0 and 1 for categories. */
  readonly standardization: { readonly mean: Float32Array; readonly standardDeviation: Float32Array } | undefined;
}

/**
 * Loads the numeric and categorical columns of a CSV file as flat float32 rows.
 *
 * @throws VaeError `"file"` naming file, line, column and the text of a cell that is no number, or what is wrong with the file;
 *   `"argument"` for columns that are not in it; `"data"` when no rows are left.
 */
export async function csv(path: string | URL, options: CsvOptions = {}): Promise<CsvDataset> {
  const source = sourceOf("datasets.csv", path);
  const layout = readLayout(source.operation, options);
  const { header, missing, standardize } = layout;
  let table: Table | undefined;
  for await (const { record, info } of readRecords(source, layout)) {
    if (table === undefined) {
      table = new Table(header ? record : record.map((_, index) => String(index)), layout, source);
      if (header) continue;
    }
    table.add(record, info.lines, missing);
  }
  if (table === undefined || table.rows === 0) throw noRows(source.operation);
  return table.finish(missing, standardize, source.path);
}

/** Checked options, with their defaults. */
interface Layout {
  readonly columns: readonly string[] | undefined;
  readonly label: string | undefined;
  readonly categorical: readonly string[];
  readonly delimiter: string;
  readonly header: boolean;
  readonly missing: Missing;
  readonly standardize: boolean;
}

function readLayout(operation: string, options: CsvOptions): Layout {
  const fields = new Fields(operation, options);
  const layout = {
    columns: namesOption(fields, "columns"),
    label: nameOption(fields, "label"),
    categorical: namesOption(fields, "categorical") ?? [],
    delimiter: nameOption(fields, "delimiter") ?? ",",
    header: fields.boolean("header", true),
    missing: missingOption(fields),
    standardize: fields.boolean("standardize", false),
  };
  if (layout.delimiter === "") throw fields.wrong("delimiter", "at least one character");
  fields.finish();
  return layout;
}

function missingOption(fields: Fields): Missing {
  const value = fields.raw("missing") ?? "error";
  if (value === "error" || value === "mean" || value === "drop") return value;
  if (typeof value === "number" && Number.isFinite(Math.fround(value))) return value;
  throw fields.wrong("missing", '"error", "mean", "drop" or a number that fits a float32');
}

interface CsvRecord {
  readonly record: readonly string[];
  readonly info: Info;
}

async function* readRecords(source: Source, { delimiter }: Layout): AsyncGenerator<CsvRecord> {
  const parser = parse({ delimiter, bom: true, info: true, skip_empty_lines: true, trim: true });
  try {
    // pipeline() hands a failed read on to the parser, and closes the file when the loop is left early.
    yield* pipeline(createReadStream(source.path), parser, () => {}) as AsyncIterable<CsvRecord>;
  } catch (cause) {
    if (!(cause instanceof CsvError)) throw fileSystemError(source, cause);
    const ragged = cause.code === "CSV_RECORD_INCONSISTENT_FIELDS_LENGTH";
    const hint = "is the delimiter right? texts with delimiters in them need quotes";
    throw fileError(
      source,
      ragged ? `line ${String(cause.lines)}: wrong number of cells` : `line ${String(cause.lines)}: ${cause.message}`,
      {
        ...(ragged ? { received: cause.message.replace(/^.*: (?=expect)/, "") } : {}),
        hint,
        cause,
      },
    );
  }
}

/** The columns in use, filled record by record. */
class Table {
  rows = 0;
  private readonly columns: readonly Column[];
  private readonly label: CategoryColumn | undefined;

  constructor(
    names: readonly string[],
    { columns, label, categorical }: Layout,
    private readonly source: Source,
  ) {
    const repeated = names.find((name, index) => names.indexOf(name) !== index);
    if (repeated !== undefined) throw fileError(source, `line 1: two columns are called "${repeated}"`);
    const place = (name: string) => {
      const index = names.indexOf(name);
      if (index >= 0) return index;
      throw new VaeError({
        code: "argument",
        operation: source.operation,
        problem: `${source.path}: no column "${name}"`,
        expected: names.map((known) => JSON.stringify(known)).join(", "),
        hint: "a header in one piece means another delimiter; without a header line pass { header: false }",
      });
    };
    const used = columns ?? names.filter((name) => name !== label);
    if (used.length === 0) {
      throw new VaeError({
        code: "argument",
        operation: source.operation,
        expected: "at least one column beside the label",
        received: "none",
      });
    }
    const unused = categorical.find((name) => !used.includes(name));
    if (unused !== undefined) {
      place(unused);
      const received = used.map((name) => JSON.stringify(name)).join(", ");
      throw new VaeError({
        code: "argument",
        operation: source.operation,
        expected: `the categorical column "${unused}" among the columns in use`,
        received,
      });
    }
    this.columns = used.map((name) =>
      categorical.includes(name) ? new CategoryColumn(name, place(name)) : new NumberColumn(name, place(name)),
    );
    this.label = label === undefined ? undefined : new CategoryColumn(label, place(label));
  }

  add(record: readonly string[], line: number, missing: Missing): void {
    const all = this.label === undefined ? this.columns : [...this.columns, this.label];
    const gap = all.find(({ index }) => isMissing(record[index]!));
    if (gap !== undefined && missing === "drop") return;
    if (gap !== undefined && (missing === "error" || (this.label !== undefined && isMissing(record[this.label.index]!)))) {
      const { name, index } = missing === "error" ? gap : this.label!;
      throw fileError(this.source, `line ${line}, column "${name}": missing value`, {
        received: JSON.stringify(record[index]),
        hint: 'pass { missing: "mean" }, { missing: "drop" } or { missing: 0 }',
      });
    }
    for (const column of all) {
      if (column.add(record[column.index]!)) continue;
      throw fileError(this.source, `line ${line}, column "${column.name}": not a number`, {
        expected: "a number that fits a float32",
        received: JSON.stringify(record[column.index]),
        hint: `texts can be read with { categorical: ["${column.name}"] }, or leave the column out with { columns: [...] }`,
      });
    }
    this.rows++;
  }

  finish(missing: Missing, standardize: boolean, name: string): CsvDataset {
    const parts = this.columns.flatMap((column) => column.finish(missing, standardize));
    const data = new Float32Array(this.rows * parts.length);
    parts.forEach(({ value }, column) => {
      for (let row = 0; row < this.rows; row++) data[row * parts.length + column] = value(row);
    });
    return {
      data,
      rows: this.rows,
      shape: [parts.length],
      ...this.label?.asLabels(),
      columns: parts.map((part) => part.name),
      standardization: standardize
        ? {
            mean: Float32Array.from(parts, ({ mean }) => mean),
            standardDeviation: Float32Array.from(parts, ({ standardDeviation }) => standardDeviation),
          }
        : undefined,
      name,
    };
  }
}
