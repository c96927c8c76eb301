// From the cells of a table to rows of float32: missing values, statistics, standardisation, one column per category.
import { describe, VaeError } from "../errors.js";
import { FIRST_CODE, type LabelColumn, type NumberColumn, type PresentLabels } from "./columns.js";
import { firstRepeated } from "./csv-columns.js";
import type { CsvDataset, Layout } from "./csv-options.js";
import { type CsvCategoryColumn, type CsvNumberColumn, type CsvPreparation, isCategoryColumn } from "./csv-preparation.js";
import type { Table } from "./csv-table.js";
import { fileError } from "./files.js";
import type { Pace } from "./pace.js";

/** Takes the cells of a table in their order; `slot` is the place of the cell's column in the row. */
type Visit = (slot: number, value: number, row: number) => void;

/** Where the cells of a column go. */
interface Target {
  /** The first of its columns in the result. */
  readonly base: number;
  /** Per code of a category: which of its columns is 1. */
  readonly places: Int32Array;
}

/** The rows of a table that has been read to its end. */
export async function finishTable(table: Table, layout: Layout, pace: Pace): Promise<CsvDataset> {
  const { columns, rows, file, used } = table;
  const statistics = await new Measurement(table, layout, pace).run();
  const present = await findPresent(table, pace);
  const targets: Target[] = new Array<Target>(columns.length);
  const names: string[] = [];
  const prepared: (CsvNumberColumn | CsvCategoryColumn)[] = [];
  const [means, deviations]: [number[], number[]] = [[], []];
  for (const { column, index } of used.features) {
    const slot = table.slotAt[index]!;
    if (column.kind === "number") {
      const { name } = column;
      targets[slot] = { base: names.length, places: new Int32Array(0) };
      const [average, mean, standardDeviation] = [statistics.average[slot]!, statistics.mean[slot]!, statistics.deviation[slot]!];
      names.push(name);
      means.push(mean);
      deviations.push(standardDeviation);
      prepared.push({ name, mean, standardDeviation, average });
    } else {
      const { texts, places } = await column.categories((code) => present.categories[slot]?.[code] === 1, pace);
      targets[slot] = { base: names.length, places };
      for (const text of texts) {
        names.push(`${column.name}=${text}`);
        means.push(0);
        deviations.push(1);
      }
      prepared.push({ name: column.name, categories: texts });
    }
    await pace.rest();
  }
  checkNames(table, names);
  const label = used.label?.column;
  const labelSlot = used.label === undefined ? -1 : table.slotAt[used.label.index]!;
  const classes = await label?.classes(present.labels, pace);
  const width = names.length;
  const data = allocate(table, width);
  const labels = label === undefined ? undefined : new Int32Array(rows);
  const { fill, mean, deviation } = statistics;
  const isNumber = columns.map(({ kind }) => kind === "number");
  const write: Visit = (slot, value, row) => {
    if (slot === labelSlot) labels![row] = classes!.labelOf(value);
    else if (isNumber[slot]) {
      const known = Number.isNaN(value) ? fill[slot]! : value;
      data[row * width + targets[slot]!.base] = (known - mean[slot]!) / deviation[slot]!;
    } else if (!Number.isNaN(value)) data[row * width + targets[slot]!.base + targets[slot]!.places[value]!] = 1;
  };
  await eachCell(table, pace, write);
  const standardize = layout.like?.standardize ?? layout.standardize;
  return {
    data,
    rows,
    shape: [width],
    ...(labels === undefined ? {} : { labels, labelNames: classes?.names ?? undefined }),
    columns: names,
    ...categoriesOf(prepared),
    standardization: standardize ? { mean: Float32Array.from(means), standardDeviation: Float32Array.from(deviations) } : undefined,
    preparation: { columns: prepared, label: preparedLabel(layout, label, classes?.names ?? null), standardize },
    warnings: roundedNumbers(table, standardize),
    name: file.source.path,
  };
}

/** The columns of texts, for a model to remember. */
function categoriesOf(columns: CsvPreparation["columns"]): Pick<CsvDataset, "categories"> {
  const texts = columns.filter(isCategoryColumn);
  return texts.length === 0 ? {} : { categories: Object.fromEntries(texts.map(({ name, categories }) => [name, categories])) };
}

/** A label that this file did not have stays known to those that are prepared like it. */
function preparedLabel({ like }: Layout, label: LabelColumn | undefined, names: readonly string[] | null): CsvPreparation["label"] {
  return label === undefined ? (like?.label ?? null) : { name: label.name, names };
}

async function eachCell({ cells, columns }: Table, pace: Pace, visit: Visit): Promise<void> {
  let [slot, row] = [0, 0];
  for (const block of cells) {
    for (let at = 0; at < block.length; at++) {
      visit(slot, block[at]!, row);
      if (++slot < columns.length) continue;
      slot = 0;
      row++;
    }
    await pace.rest();
  }
}

/** What rows are left of, since a dropped row may have had the only one of a text. */
interface Present {
  /** 1 per code of a category, by place in a row of cells. */
  readonly categories: readonly (Uint8Array | undefined)[];
  readonly labels: PresentLabels;
}

async function findPresent(table: Table, pace: Pace): Promise<Present> {
  const { columns, used } = table;
  const categories = columns.map(({ kind, width }) => (kind === "category" ? new Uint8Array(width) : undefined));
  const codes = new Uint8Array(used.label?.column.texts ?? 0);
  const wholes = new Set<number>();
  const labelSlot = codes.length === 0 ? -1 : table.slotAt[used.label!.index]!;
  if (labelSlot < 0 && !columns.some(({ kind }) => kind === "category")) return { categories, labels: { codes, wholes } };
  await eachCell(table, pace, (slot, value) => {
    if (slot !== labelSlot) {
      const codes = categories[slot];
      if (codes !== undefined) codes[value] = 1;
    } else if (value < FIRST_CODE) wholes.add(value);
    else codes[value - FIRST_CODE] = 1;
  });
  return { categories, labels: { codes, wholes } };
}

/**
 * The arithmetic of the numeric columns, by place in a row of cells. Sums are relative to the first value of a column: exact where
 * all are equal, and good to the digits where they differ little.
 */
class Measurement {
  /** What missing cells become. */
  readonly fill: Float64Array;
  readonly average: Float64Array;
  readonly mean: Float64Array;
  readonly deviation: Float64Array;

  constructor(
    private readonly table: Table,
    private readonly layout: Layout,
    private readonly pace: Pace,
  ) {
    const slots = table.columns.length;
    this.fill = new Float64Array(slots);
    this.average = new Float64Array(slots);
    this.mean = new Float64Array(slots);
    this.deviation = new Float64Array(slots).fill(1);
  }

  async run(): Promise<this> {
    const { like, missing, standardize } = this.layout;
    if (like === undefined) await this.findAverages();
    else this.takeOver(like);
    this.fill.set(typeof missing === "number" ? new Float64Array(this.fill.length).fill(missing) : this.average);
    if (like === undefined && standardize) await this.findSpread();
    return this;
  }

  private takeOver({ columns }: CsvPreparation): void {
    const byName = new Map(columns.map((column) => [column.name, column]));
    for (const [slot, { kind, name }] of this.table.columns.entries()) {
      const column = byName.get(name);
      if (kind !== "number" || column === undefined || isCategoryColumn(column)) continue;
      this.average[slot] = column.average;
      this.mean[slot] = column.mean;
      this.deviation[slot] = column.standardDeviation;
    }
  }

  private async findAverages(): Promise<void> {
    const slots = this.average.length;
    const [first, sum, count] = [new Float64Array(slots), new Float64Array(slots), new Float64Array(slots)];
    await eachCell(this.table, this.pace, (slot, value) => {
      if (Number.isNaN(value)) return;
      if (count[slot]!++ === 0) first[slot] = value;
      sum[slot]! += value - first[slot]!;
    });
    const { missing } = this.layout;
    for (const [slot, { kind, name }] of this.table.columns.entries()) {
      if (kind === "number" && count[slot] === 0 && missing === "mean") {
        throw fileError(this.table.file.source, `column ${describe(name)}: every value is missing, so there is no mean`, {
          hint: "leave the column out with { columns: [...] }, or pass { missing: 0 }",
        });
      }
      this.average[slot] = count[slot] === 0 ? Number(missing) : first[slot]! + sum[slot]! / count[slot]!;
    }
  }

  private async findSpread(): Promise<void> {
    const { fill, mean, deviation, table, pace } = this;
    const [first, sum, squares] = [new Float64Array(fill.length), new Float64Array(fill.length), new Float64Array(fill.length)];
    await eachCell(table, pace, (slot, value, row) => {
      const known = Number.isNaN(value) ? fill[slot]! : value;
      if (row === 0) first[slot] = known;
      sum[slot]! += known - first[slot]!;
    });
    for (let slot = 0; slot < mean.length; slot++) mean[slot] = first[slot]! + sum[slot]! / table.rows;
    await eachCell(table, pace, (slot, value) => {
      squares[slot]! += ((Number.isNaN(value) ? fill[slot]! : value) - mean[slot]!) ** 2;
    });
    for (let slot = 0; slot < mean.length; slot++) {
      const spread = Math.sqrt(squares[slot]! / table.rows);
      // A constant column has nothing to divide by, since its mean is the constant itself: it becomes zeros.
      deviation[slot] = spread > 0 ? spread : 1;
    }
  }
}

/** Two columns of one name could not be told apart: `a=b` may be a column of numbers and the category `b` of `a`. */
function checkNames({ file, columns }: Table, names: readonly string[]): void {
  if (!columns.some(({ kind }) => kind === "category")) return;
  const repeated = firstRepeated(names);
  if (repeated === undefined) return;
  throw fileError(file.source, `two columns of the result are called ${describe(repeated)}`, {
    hint: "rename a column of the file: categories are called column=text",
  });
}

function allocate({ rows, file }: Table, width: number): Float32Array<ArrayBuffer> {
  try {
    return new Float32Array(rows * width);
  } catch (cause) {
    throw new VaeError({
      code: "data",
      operation: file.source.operation,
      problem: `${file.source.path}: no memory for ${rows} rows of ${width} values, ${4 * rows * width} bytes`,
      hint: "use fewer { columns }, or fewer rows",
      cause,
    });
  }
}

const LISTED_COLUMNS = 3;

/** What is said of whole numbers that are not kept: those of single rows are no measurements. */
function roundedNumbers({ columns, file }: Table, standardize: boolean): readonly string[] {
  const rounded = columns.filter((column): column is NumberColumn => {
    if (column.kind !== "number" || column.rounded === undefined) return false;
    // What a mean is subtracted from first keeps the digits of a double.
    return !standardize || !Number.isSafeInteger(column.rounded.value);
  });
  if (rounded.length === 0) return [];
  const shown = rounded.slice(0, LISTED_COLUMNS).map(({ name, rounded }) => {
    const { line, text, value } = rounded!;
    return `line ${line}, column ${describe(name)}: ${describe(text)} becomes ${standardize ? value : Math.fround(value)}`;
  });
  const more = rounded.length > LISTED_COLUMNS ? `, and ${rounded.length - LISTED_COLUMNS} more columns` : "";
  return [
    `${file.source.path}: whole numbers are rounded, float32 has 24 bits: ${shown.join("; ")}${more}. ` +
      "Numbers of orders or customers are no measurements: leave the column out; times are kept with standardize or relative to a start.",
  ];
}
