import { describe, VaeError } from "../errors.js";
import { noMore } from "../graph/arguments.js";
import { firstRepeated, useColumns } from "./csv-columns.js";
import { type Dialect, detectDialect, SAMPLED_CHARACTERS } from "./csv-dialect.js";
import { finishTable } from "./csv-finish.js";
import { parseNumber } from "./csv-numbers.js";
import { type CsvDataset, type CsvOptions, defaultMaxBytes, type Layout, readLayout } from "./csv-options.js";
import { CsvRecords, type RecordSink } from "./csv-records.js";
import { Table, type TableFile } from "./csv-table.js";
import { fileError, type Source, sourceOf } from "./files.js";
import { Pace } from "./pace.js";
import { readText, textFile } from "./text.js";

export type { CsvDataset, CsvOptions } from "./csv-options.js";
export type { CsvCategoryColumn, CsvNumberColumn, CsvPreparation } from "./csv-preparation.js";

/** Names that are looked up, and blank lines that are filled in, before the event loop may have its turn. */
const AT_ONCE = 1 << 12;

/**
 * Loads the numeric and categorical columns of a CSV file, also gzipped, as flat float32 rows.
 *
 * @throws VaeError `"file"` naming file, line, column and the text of a cell that is no number, or what is wrong with the file or
 *   larger than a limit; `"argument"` for columns that are not in it; `"data"` when no rows are left.
 */
export async function csv(path: string | URL, options: CsvOptions = {}, ...surplus: never[]): Promise<CsvDataset> {
  noMore("datasets.csv", surplus, 'datasets.csv("sensors.csv", { label: "state" })');
  const source = sourceOf("datasets.csv", path);
  const layout = readLayout(source.operation, options);
  const file = await textFile(source);
  const maxBytes = layout.maxBytes ?? defaultMaxBytes(file.bytes);
  const pace = new Pace();
  const open = async (head: string, whole: boolean): Promise<Reader> => {
    const dialect = await detectDialect(source, head, whole, layout, pace);
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
class Reader implements RecordSink {
  private readonly records: CsvRecords;
  private readonly file: Omit<TableFile, "names">;
  private skip: number;
  private names: string[] = [];
  private first: { readonly cells: readonly string[]; readonly line: number } | undefined;
  private table: Table | undefined;
  /** What came behind the first record before its table was made: the rest of a piece of text. */
  private early: ((table: Table) => void)[] = [];
  /** Blank lines before the first record: missing cells where there is one column and no header. */
  private readonly leading = { line: 0, count: 0 };

  constructor(
    private readonly source: Source,
    private readonly layout: Layout,
    maxBytes: number,
    dialect: Dialect,
  ) {
    this.file = { source, delimiter: dialect.delimiter, trailing: dialect.trailing, maxBytes };
    this.skip = dialect.skip;
    const { comment, maxCellLength, maxColumns } = layout;
    const { delimiter, skip } = dialect;
    this.records = new CsvRecords(source, { delimiter, comment, maxCellLength, maxColumns }, this, skip === 0 ? 1 : 2);
  }

  async push(text: string, pace: Pace): Promise<void> {
    const between = async () => {
      await this.begin(pace);
      return true;
    };
    await this.inOrder(pace, () => this.records.push(text.slice(this.skip), pace, between));
    this.skip = 0;
  }

  async finish(pace: Pace): Promise<Table> {
    await this.inOrder(pace, () => this.records.finish());
    await this.begin(pace);
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

  /** What is wrong with the lines that wait for the table comes before what is wrong with a later one. */
  private async inOrder(pace: Pace, parse: () => Promise<void>): Promise<void> {
    try {
      await parse();
    } catch (cause) {
      await this.begin(pace);
      throw cause;
    }
  }

  record(cells: readonly string[], line: number): void {
    if (this.table !== undefined) this.table.record(cells, line);
    else if (this.first !== undefined) this.early.push((table) => table.record(cells, line));
    else this.first = { cells, line };
  }

  blanks(count: number, line: number): void {
    if (this.table !== undefined) this.table.blanks(count, line);
    else if (this.first !== undefined) this.early.push((table) => table.blanks(count, line));
    else {
      if (this.leading.count === 0) this.leading.line = line;
      this.leading.count += count;
    }
  }

  /** Makes the table of the first record, once. That is work for many columns, so that others wait meanwhile. */
  private async begin(pace: Pace): Promise<void> {
    if (this.first === undefined || this.table !== undefined) return;
    const {
      layout,
      file,
      first: { cells: first, line },
    } = this;
    if (first.length > layout.maxColumns) {
      throw fileError(this.source, `line ${line}: too many columns`, {
        expected: `at most maxColumns, ${layout.maxColumns}`,
        hint: "is the delimiter right? wider tables need a larger { maxColumns }",
      });
    }
    const isHeader = layout.header ?? true;
    // A delimiter at the end of every line has nothing behind it, not even a name.
    const count = file.trailing && first.at(-1) === "" ? first.length - 1 : first.length;
    this.names = isHeader ? first.slice(0, count) : Array.from({ length: count }, (_, index) => String(index));
    const indexOf = new Map<string, number>();
    for (const [index, name] of this.names.entries()) {
      indexOf.set(name, index);
      if (index % AT_ONCE === 0) await pace.rest();
    }
    if (isHeader) this.checkHeader(line, indexOf.size);
    await pace.rest();
    const used = useColumns(this.source, this.names, indexOf, layout);
    await pace.rest();
    const table = new Table({ ...file, names: this.names }, used, layout);
    if (!isHeader) {
      const { leading } = this;
      for (let blank = 0; blank < leading.count && count === 1; blank++) {
        table.blanks(1, leading.line + blank);
        if (blank % AT_ONCE === 0) await pace.rest();
      }
      table.record(first, line);
    }
    for (const take of this.early) take(table);
    this.early = [];
    this.table = table;
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
