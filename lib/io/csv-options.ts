import { VaeError } from "../errors.js";
import { Fields } from "../graph/arguments.js";
import { MissingTexts } from "./columns.js";
import { type CsvPreparation, readPreparation } from "./csv-preparation.js";
import type { Dataset } from "./dataset.js";
import { nameOption, namesOption } from "./options.js";
import { type Encoding, encodings } from "./text.js";

/**
 * What a CSV file is read with. A gzipped file is unpacked on the way, whatever it is called; a byte order mark says whether it is
 * UTF-8 or UTF-16; line ends may be of any kind and of several kinds.
 */
export interface CsvOptions {
  /** Columns to use, in this order; default all but the label. */
  readonly columns?: readonly string[];
  /**
   * Column with the class of each row, which becomes `labels` and is no part of the data. Where all are whole numbers that fit an
   * int32 they are taken as they are and `labelNames` is undefined; else the texts are numbered in sorted order (by code unit) and
   * `labelNames` has them.
   */
  readonly label?: string;
  /** Columns of texts, each to become one column of 0 and 1 per text that occurs ("one-hot"), in sorted order. */
  readonly categorical?: readonly string[];
  /** Between the cells; default the one of `,` `;` tab and `|` that occurs equally often in each of the first lines. */
  readonly delimiter?: string;
  /** What separates the fraction of a number: `"."` (default) or `","`. There are no thousands separators. */
  readonly decimal?: "." | ",";
  /**
   * Whether the first line holds the names of the columns, default true. Otherwise they are "0", "1", … A first line of numbers
   * only is refused unless this is given.
   */
  readonly header?: boolean;
  /** What a line that is to be passed over begins with, such as `"#"`; default none. */
  readonly comment?: string;
  /** Default what the byte order mark says, else UTF-8. `"latin1"` is windows-1252. */
  readonly encoding?: Encoding;
  /**
   * What to do with missing cells: throw (default), fill in the mean of the column or a number, or drop the row. A missing category
   * that is filled in becomes all zeros; a missing label throws or is dropped. In a file of one column a blank line is a missing
   * cell; in others blank lines are passed over.
   */
  readonly missing?: "error" | "mean" | "drop" | number;
  /**
   * The texts of missing cells, in columns of all kinds, whatever their case; default the empty text, `NA`, `N/A`, `#N/A`, `<NA>`,
   * `NaN`, `null`, `None`, `-` and `?`. A list of one's own replaces them: with `[""]`, `NA` is a category like others.
   */
  readonly missingValues?: readonly string[];
  /** Subtract the mean of each numeric column and divide by its standard deviation (over the rows); default false. */
  readonly standardize?: boolean;
  /**
   * Prepare these rows like those of another file: the same columns by name, wherever they stand, the same categories and classes
   * in the same order, the same means and standard deviations. Others than those are errors. Columns that the other file did not
   * use are passed over, and its label may be absent. Takes the place of `columns`, `categorical` and `standardize`.
   *
   * @example
   * ```ts
   * const training = await datasets.csv("train.csv", { label: "state", standardize: true });
   * const test = await datasets.csv("test.csv", { like: training });
   * ```
   */
  readonly like?: CsvDataset | CsvPreparation;
  /** Most columns of the file; default 100,000. */
  readonly maxColumns?: number;
  /** Most different texts in a categorical column, and most classes that are no whole numbers; default 100,000. */
  readonly maxCategories?: number;
  /** Most characters of a cell; default 131,072. */
  readonly maxCellLength?: number;
  /**
   * Most bytes that a gzipped file may unpack to, and that the rows may take in memory: 8 per cell in use and 4 per value of the
   * result. Default 256 MiB, or 16 times the size of the file where that is more: only one-hot columns and gzipped files get there.
   */
  readonly maxBytes?: number;
}

/** The rows of a CSV file, with what is needed to prepare other rows alike. */
export interface CsvDataset extends Dataset {
  readonly data: Float32Array;
  /** Names of the values of a row; those of categories are `column=text`. */
  readonly columns: readonly string[];
  /**
   * With `standardize`: what was subtracted from and what divides each column of the result; 0 and 1 for categories. A number of
   * the file is value × standardDeviation + mean.
   */
  readonly standardization: { readonly mean: Float32Array; readonly standardDeviation: Float32Array } | undefined;
  /** Columns, categories, classes and statistics of the file, for {@link CsvOptions.like}. */
  readonly preparation: CsvPreparation;
  /** What was read but may not be meant, such as whole numbers that float32 rounds. Each is also a warning of the process. */
  readonly warnings: readonly string[];
}

/** What becomes of missing cells. */
export type Missing = NonNullable<CsvOptions["missing"]>;

/** Checked options, with their defaults. */
export interface Layout {
  readonly columns: readonly string[] | undefined;
  readonly label: string | undefined;
  readonly categorical: readonly string[];
  readonly like: CsvPreparation | undefined;
  readonly delimiter: string | undefined;
  readonly decimal: "." | ",";
  readonly header: boolean | undefined;
  readonly comment: string | undefined;
  readonly encoding: Encoding | undefined;
  readonly missing: Missing;
  readonly missingTexts: MissingTexts;
  readonly standardize: boolean;
  readonly maxColumns: number;
  readonly maxCategories: number;
  readonly maxCellLength: number;
  readonly maxBytes: number | undefined;
}

const MISSING_VALUES = ["", "NA", "N/A", "#N/A", "<NA>", "NaN", "null", "None", "-", "?"];

/** The default of `maxBytes` for a file of a size. */
export function defaultMaxBytes(fileBytes: number): number {
  return Math.max(256 << 20, 16 * fileBytes);
}

export function readLayout(operation: string, options: CsvOptions): Layout {
  const fields = new Fields(operation, options);
  const limit = (name: string, fallback?: number) => fields.number(name, { minimum: 1, integer: true }, fallback);
  const like = fields.raw("like");
  const encoding = fields.raw("encoding") === undefined ? undefined : fields.choice("encoding", encodings);
  const header = fields.raw("header") === undefined ? undefined : fields.boolean("header", true);
  const layout: Layout = {
    columns: namesOption(fields, "columns"),
    label: nameOption(fields, "label"),
    categorical: namesOption(fields, "categorical") ?? [],
    like: like === undefined ? undefined : readPreparation(operation, like),
    delimiter: markOption(fields, "delimiter"),
    decimal: fields.choice("decimal", [".", ","], "."),
    header,
    comment: markOption(fields, "comment"),
    encoding,
    missing: missingOption(fields),
    missingTexts: new MissingTexts(namesOption(fields, "missingValues") ?? MISSING_VALUES),
    standardize: fields.boolean("standardize", false),
    maxColumns: limit("maxColumns", 100_000),
    maxCategories: limit("maxCategories", 100_000),
    maxCellLength: limit("maxCellLength", 1 << 17),
    maxBytes: fields.raw("maxBytes") === undefined ? undefined : limit("maxBytes"),
  };
  fields.finish();
  const given = (["columns", "categorical", "standardize"] as const).find((name) => options[name] !== undefined);
  if (layout.like !== undefined && given !== undefined) {
    throw new VaeError({
      code: "argument",
      operation,
      problem: `like and ${given} exclude each other`,
      hint: `${given} is part of what like says; leave one of the two out`,
    });
  }
  return layout;
}

/** Characters that mean something between cells and lines: neither none nor quotes nor line ends. */
function markOption(fields: Fields, option: string): string | undefined {
  const mark = nameOption(fields, option);
  if (mark !== undefined && !/^[^"\r\n]+$/.test(mark)) throw fields.wrong(option, "at least one character, without quotes and line ends");
  return mark;
}

function missingOption(fields: Fields): Missing {
  const value = fields.raw("missing") ?? "error";
  if (value === "error" || value === "mean" || value === "drop") return value;
  if (typeof value === "number" && Number.isFinite(Math.fround(value))) return value;
  throw fields.wrong("missing", '"error", "mean", "drop" or a number that fits a float32');
}
