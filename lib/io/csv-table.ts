// The rows of a CSV file while they are read: cells go into the columns in use, faults are told with line and column.
import { describe } from "../errors.js";
import type { CellFault, Column, LabelColumn } from "./columns.js";
import type { UsedColumns } from "./csv-columns.js";
import { hintFor } from "./csv-numbers.js";
import type { Layout } from "./csv-options.js";
import type { RecordSink } from "./csv-records.js";
import { fileError, type Source } from "./files.js";
import { NumberList } from "./number-list.js";

/** What a table knows of its file. */
export interface TableFile {
  readonly source: Source;
  readonly names: readonly string[];
  readonly delimiter: string;
  /** Whether a line may have one empty cell more than there are names. */
  readonly trailing: boolean;
  readonly maxBytes: number;
}

/** A cell that cannot be taken, and why. */
interface Refusal {
  readonly index: number;
  readonly text: string;
  readonly fault: CellFault | "missing" | "trailing";
}

const BYTES_PER_CELL = 8;
const BYTES_PER_VALUE = 4;

/** Collects the cells in use. Those of a row lie one behind the other, in the order of the file. */
export class Table implements RecordSink {
  /** The columns in use in the order of the file, the label among them. */
  readonly columns: readonly Column[];
  /** Place among {@link columns} by place in a record, or -1. */
  readonly slotAt: Int32Array;
  readonly cells = new NumberList();
  rows = 0;
  dropped = 0;
  /** Where the cells of {@link columns} stand in a record. */
  private readonly indexes: readonly number[];
  private readonly categorical: readonly Column[];
  private readonly label: LabelColumn | undefined;
  private rowBegin = 0;
  private fault: Refusal | undefined;
  private gap: Refusal | undefined;
  private labelIsMissing = false;

  constructor(
    readonly file: TableFile,
    readonly used: UsedColumns,
    private readonly layout: Layout,
  ) {
    const { features, label } = used;
    const all = [...features, ...(label === undefined ? [] : [label])].sort((a, b) => a.index - b.index);
    this.indexes = all.map(({ index }) => index);
    this.slotAt = new Int32Array(file.names.length).fill(-1);
    for (const [slot, index] of this.indexes.entries()) this.slotAt[index] = slot;
    this.columns = all.map(({ column }) => column);
    this.label = label?.column;
    this.categorical = this.columns.filter(({ kind }) => kind === "category");
  }

  record(cells: readonly string[], line: number): void {
    const { names, trailing } = this.file;
    const { missing } = this.layout;
    const count = cells.length;
    if (count !== names.length && !(trailing && count === names.length + 1)) throw this.ragged(line, count);
    for (let slot = 0; slot < this.columns.length; slot++) this.take(this.columns[slot]!, this.indexes[slot]!, cells, line);
    const behind = cells[names.length];
    if (behind !== undefined && behind !== "") this.fault ??= { index: names.length, text: behind, fault: "trailing" };
    if (this.gap !== undefined && missing === "drop") {
      this.dropped++;
      this.cells.truncate(this.rowBegin);
    } else if (this.fault !== undefined) throw this.refused(line, this.fault);
    else if (this.gap !== undefined && (missing === "error" || this.labelIsMissing)) throw this.refused(line, this.missingCell(this.gap));
    else {
      this.rows++;
      this.rowBegin = this.cells.length;
      this.checkMemory(line);
    }
    this.fault = undefined;
    this.gap = undefined;
    this.labelIsMissing = false;
  }

  blanks(count: number, line: number): void {
    if (this.file.names.length > 1) return;
    for (let blank = 0; blank < count; blank++) this.record([""], line + blank);
  }

  /** Columns of the result, as far as is known. */
  get width(): number {
    return this.used.features.length - this.categorical.length + this.categorical.reduce((sum, { width }) => sum + width, 0);
  }

  private take(column: Column, index: number, cells: readonly string[], line: number): void {
    const text = cells[index]!;
    const value = column.read(text, line);
    if (typeof value !== "number") {
      this.fault ??= { index, text, fault: value };
      return;
    }
    if (Number.isNaN(value)) {
      this.gap ??= { index, text, fault: "missing" };
      if (column === this.label) this.labelIsMissing = true;
    }
    this.cells.push(value);
  }

  /** A missing label is the fault where others would be filled in. */
  private missingCell(gap: Refusal): Refusal {
    const { label } = this.used;
    return this.layout.missing === "error" || label === undefined ? gap : { ...gap, index: label.index };
  }

  private checkMemory(line: number): void {
    const { source, maxBytes } = this.file;
    const { width } = this;
    const bytes = BYTES_PER_CELL * this.cells.length + BYTES_PER_VALUE * this.rows * width;
    if (bytes <= maxBytes) return;
    const widest = this.categorical.reduce<Column | undefined>(
      (most, column) => (column.width > (most?.width ?? 0) ? column : most),
      undefined,
    );
    const advice =
      widest !== undefined && widest.width > width / 2
        ? `column ${describe(widest.name)} has ${widest.width} different texts so far: leave it out, or pass a larger { maxBytes }`
        : "use fewer { columns }, or pass a larger { maxBytes }";
    throw fileError(source, `line ${line}: the rows become too large`, {
      expected: `at most maxBytes, ${maxBytes} bytes in memory`,
      received: `${this.rows} rows of ${width} values so far, ${bytes} bytes`,
      hint: advice,
    });
  }

  private ragged(line: number, received: number): Error {
    return fileError(this.file.source, `line ${line}: wrong number of cells`, {
      expected: `${this.file.names.length} for columns ${describe(this.file.names[0])} to ${describe(this.file.names.at(-1))}`,
      received: String(received),
      hint:
        'is the delimiter right? texts with delimiters in them need quotes; commas in numbers are read with { decimal: "," }; ' +
        'lines that are no rows are passed over with { comment: "#" }',
    });
  }

  private refused(line: number, { index, text, fault }: Refusal): Error {
    const { source, names, delimiter } = this.file;
    const column = describe(names[index]);
    const where = `line ${line}, column ${column}`;
    const received = describe(text);
    switch (fault) {
      case "missing":
        return fileError(source, `${where}: missing value`, {
          received,
          hint: `pass { missing: "mean" }, { missing: "drop" } or { missing: 0 }; ${text === "" ? "" : `or { missingValues: [""] } where ${received} is a value`}`,
        });
      case "number":
        return fileError(source, `${where}: not a number`, {
          expected: "a number that fits a float32",
          received,
          hint: hintFor(text.trim(), { column, delimiter, decimal: this.layout.decimal }),
        });
      case "category":
        return fileError(source, `${where}: not a category of the other file`, {
          expected: "one of those that like has",
          received,
          hint: "prepare both alike from a file that has all of them, or drop the row from the file",
        });
      case "limit":
        return fileError(source, `${where}: too many different texts`, {
          expected: `at most maxCategories, ${this.layout.maxCategories}`,
          received,
          hint: "names and numbers of single rows are no categories: leave the column out, or pass a larger { maxCategories }",
        });
      case "trailing":
        return fileError(source, `line ${line}: a value behind the last column`, {
          expected: `nothing behind the last ${describe(delimiter)}, as in the first lines`,
          received,
        });
    }
  }
}
