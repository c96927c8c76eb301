import { describe, VaeError } from "../errors.js";
import { firstRepeated, useColumns } from "./csv-columns.js";
import { type Dialect, detectDialect, SAMPLED_CHARACTERS } from "./csv-dialect.js";
import { finishTable } from "./csv-finish.js";
import { parseNumber } from "./csv-numbers.js";
import { type CsvDataset, type CsvOptions, defaultMaxBytes, type Layout, readLayout } from "./csv-options.js";
import { Table, type TableFile } from "./csv-table.js";
import { type CellSink, Tokenizer } from "./csv-tokens.js";
import { fileError, type Source, sourceOf } from "./files.js";
import { Pace } from "./pace.js";
import { readText, textFile } from "./text.js";

export type { CsvDataset, CsvOptions } from "./csv-options.js";
export type { CsvCategoryColumn, CsvNumberColumn, CsvPreparation } from "./csv-preparation.js";

/** Characters that are cut into cells before the event loop may have its turn. */
const PIECE = 1 << 13;

const NAMED_AT_ONCE = 1 << 12;

/**
 * Loads the numeric and categorical columns of a CSV file, also gzipped, as flat float32 rows.
 *
 * @throws VaeError `"file"` naming file, line, column and the text of a cell that is no number, or what is wrong with the file or
 *   larger than a limit; `"argument"` for columns that are not in it; `"data"` when no rows are left.
 */
export async function csv(path: string | URL, options: CsvOptions = {}): Promise<CsvDataset> {
  const source = sourceOf("datasets.csv", path);
  const layout = readLayout(source.operation, options);
  const file = await textFile(source);
  const maxBytes = layout.maxBytes ?? defaultMaxBytes(file.bytes);
  const pace = new Pace();
  const open = async (head: string, whole: boolean): Promise<Reader> => {
    const { delimiter, decimal, comment, header } = layout;
    const dialect = await detectDialect(source, head, whole, { delimiter, decimal, comment, header: header ?? true }, pace);
    return new Reader(source, layout, maxBytes, dialect);
  };
  let reader: Reader | undefined;
  let head = "";
  for await (const text of readText(file, layout.encoding, maxBytes)) {
    if (reader === undefined) {
      head += text;
      if (head.length < SAMPLED_CHARACTERS) continue;
      reader = await open(head, false);
      await reader.push(head, pace);
    } else await reader.push(text, pace);
  }
  if (reader === undefined) {
    reader = await open(head, true);
    await reader.push(head, pace);
  }
  const table = await reader.finish(pace);
  const dataset = await finishTable(table, layout, pace);
  for (const warning of dataset.warnings) process.emitWarning(warning, "VaeWarning");
  return dataset;
}

/** Reads the names, then hands on to the table that they make. */
class Reader implements CellSink {
  /** Set between the first record and the table that is made of it. */
  paused = false;
  private firstLine = 1;
  private readonly tokenizer: Tokenizer;
  private readonly file: Omit<TableFile, "names">;
  private skip: number;
  private names: string[] = [];
  private table: Table | undefined;
  /** Blank lines before the first cell: missing cells where there is one column and no header. */
  private readonly blanks = { line: 0, count: 0 };

  constructor(
    private readonly source: Source,
    private readonly layout: Layout,
    maxBytes: number,
    dialect: Dialect,
  ) {
    this.file = { source, delimiter: dialect.delimiter, trailing: dialect.trailing, maxBytes };
    this.skip = dialect.skip;
    this.tokenizer = new Tokenizer(
      source,
      { delimiter: dialect.delimiter, comment: layout.comment, maxCellLength: layout.maxCellLength },
      this,
    );
  }

  async push(text: string, pace: Pace): Promise<void> {
    for (let begin = this.skip; begin < text.length; begin += PIECE) {
      this.tokenizer.push(text.slice(begin, begin + PIECE));
      if (this.paused) await this.begin(pace);
      await pace.rest();
    }
    this.skip = 0;
  }

  async finish(pace: Pace): Promise<Table> {
    this.tokenizer.finish();
    if (this.paused) {
      await this.begin(pace);
      this.tokenizer.finish();
    }
    const { table } = this;
    if (table !== undefined && table.rows > 0) return table;
    const all = table === undefined ? "" : `: all ${table.dropped} rows have missing values and were dropped`;
    throw new VaeError({
      code: "data",
      operation: this.source.operation,
      problem: `${this.source.path}: no rows${table === undefined || table.dropped === 0 ? (this.names.length > 0 ? " below the header" : ", the file is empty") : all}`,
      expected: "at least one row",
      received: "none",
      ...(this.names.length > 0 && table?.dropped === 0 ? { hint: "without a header line pass { header: false }" } : {}),
    });
  }

  cell(text: string, index: number, line: number): void {
    if (this.table !== undefined) {
      this.table.cell(text, index, line);
      return;
    }
    const { maxColumns } = this.layout;
    if (index >= maxColumns) {
      throw fileError(this.source, `line ${line}: too many columns`, {
        expected: `at most maxColumns, ${maxColumns}`,
        hint: "is the delimiter right? wider tables need a larger { maxColumns }",
      });
    }
    this.names.push(text);
  }

  end(line: number, count: number, blank: boolean): void {
    if (this.table !== undefined) {
      this.table.end(line, count, blank);
      return;
    }
    if (blank) {
      this.names = [];
      if (this.blanks.count++ === 0) this.blanks.line = line;
      return;
    }
    this.firstLine = line;
    this.paused = true;
  }

  /** Makes the table of the first record. That is work for many columns, so that cells wait meanwhile. */
  private async begin(pace: Pace): Promise<void> {
    const { layout, file, firstLine: line } = this;
    this.paused = false;
    const first = this.names;
    const isHeader = layout.header ?? true;
    // A delimiter at the end of every line has nothing behind it, not even a name.
    const count = file.trailing && first.at(-1) === "" ? first.length - 1 : first.length;
    this.names = isHeader ? first.slice(0, count) : Array.from({ length: count }, (_, index) => String(index));
    const indexOf = new Map<string, number>();
    for (const [index, name] of this.names.entries()) {
      indexOf.set(name, index);
      if (index % NAMED_AT_ONCE === 0) await pace.rest();
    }
    if (isHeader) this.checkHeader(line, indexOf.size);
    await pace.rest();
    const used = useColumns(this.source, this.names, indexOf, layout);
    await pace.rest();
    this.table = new Table({ ...file, names: this.names }, used, layout);
    if (isHeader) return;
    if (count === 1) for (let blank = 0; blank < this.blanks.count; blank++) this.replay([""], this.blanks.line + blank, true);
    this.replay(first, line, false);
  }

  private replay(cells: readonly string[], line: number, blank: boolean): void {
    for (const [index, text] of cells.entries()) this.table?.cell(text, index, line);
    this.table?.end(line, cells.length, blank);
  }

  private checkHeader(line: number, different: number): void {
    const { names, source, layout } = this;
    const isNumbers = names.every((name) => parseNumber(name, layout.decimal) !== undefined);
    if (layout.header === undefined && isNumbers) {
      throw fileError(source, `line ${line}: the header holds only numbers`, {
        received: names.slice(0, 4).map(describe).join(", "),
        hint: "pass { header: false } where the first line holds values, { header: true } where these are names",
      });
    }
    if (different === names.length) return;
    const repeated = firstRepeated(names);
    const problem = repeated === "" ? "several columns have no name" : `two columns are called ${describe(repeated)}`;
    throw fileError(source, `line ${line}: ${problem}`, {
      hint: "give every column a name of its own; without a header line pass { header: false }",
    });
  }
}
