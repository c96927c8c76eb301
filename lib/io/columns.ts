/** What becomes of missing cells. */
export type Missing = "error" | "mean" | "drop" | number;

/** One column of the result. */
export interface ColumnPart {
  readonly name: string;
  readonly mean: number;
  readonly standardDeviation: number;
  value(row: number): number;
}

/** One column of the file, filled cell by cell. */
export interface Column {
  readonly name: string;
  /** Its place in a record. */
  readonly index: number;
  /** Takes a cell, missing or not; false where it cannot be read. */
  add(text: string): boolean;
  finish(missing: Missing, standardize: boolean): ColumnPart[];
}

const MISSING = new Set(["", "na", "n/a", "nan", "null", "?"]);

export function isMissing(text: string): boolean {
  return text.length <= 4 && MISSING.has(text.toLowerCase());
}

/** Decimal notation only: `Number` alone would also read "0x10" and "Infinity". */
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** Numbers; NaN stands for a missing cell. */
export class NumberColumn implements Column {
  private readonly values: number[] = [];

  constructor(
    readonly name: string,
    readonly index: number,
  ) {}

  add(text: string): boolean {
    const value = isMissing(text) ? Number.NaN : Number(text);
    if (!isMissing(text) && !(DECIMAL.test(text) && Number.isFinite(Math.fround(value)))) return false;
    this.values.push(value);
    return true;
  }

  finish(missing: Missing, standardize: boolean): ColumnPart[] {
    const { values, name } = this;
    const fill = typeof missing === "number" ? missing : average(values.filter((value) => !Number.isNaN(value)));
    for (let row = 0; row < values.length; row++) if (Number.isNaN(values[row])) values[row] = fill;
    if (!standardize) return [{ name, mean: 0, standardDeviation: 1, value: (row) => values[row]! }];
    const mean = average(values);
    const deviation = Math.sqrt(average(values.map((value) => (value - mean) ** 2)));
    // A constant column has nothing to divide by, since its average is the constant itself: it becomes zeros.
    const standardDeviation = deviation > 0 ? deviation : 1;
    return [{ name, mean, standardDeviation, value: (row) => (values[row]! - mean) / standardDeviation }];
  }
}

/** Texts, each with a number in order of appearance; -1 stands for a missing cell. */
export class CategoryColumn implements Column {
  private readonly codes: number[] = [];
  private readonly codeOf = new Map<string, number>();

  constructor(
    readonly name: string,
    readonly index: number,
  ) {}

  add(text: string): boolean {
    if (isMissing(text)) {
      this.codes.push(-1);
      return true;
    }
    let code = this.codeOf.get(text);
    if (code === undefined) {
      code = this.codeOf.size;
      this.codeOf.set(text, code);
    }
    this.codes.push(code);
    return true;
  }

  /** One-hot: a column per text. */
  finish(): ColumnPart[] {
    return [...this.codeOf].sort(byText).map(([text, code]) => ({
      name: `${this.name}=${text}`,
      mean: 0,
      standardDeviation: 1,
      value: (row) => (this.codes[row] === code ? 1 : 0),
    }));
  }

  /** The column as classes: whole numbers as they are, texts by their place in sorted order. */
  asLabels(): { readonly labels: Int32Array; readonly labelNames: readonly string[] | undefined } {
    const texts = [...this.codeOf.keys()];
    const whole = texts.every((text) => DECIMAL.test(text) && Number(text) === (Number(text) | 0));
    const names = whole ? undefined : [...this.codeOf].sort(byText).map(([text]) => text);
    const labelOf = texts.map((text) => (names === undefined ? Number(text) : names.indexOf(text)));
    return { labels: Int32Array.from(this.codes, (code) => labelOf[code]!), labelNames: names };
  }
}

/** By code unit, so that the order does not depend on the machine's language. */
function byText([a]: readonly [string, number], [b]: readonly [string, number]): number {
  return a < b ? -1 : 1;
}

/** Summed up relative to the first value: exact where all are equal, and good to the digits where they differ little. */
function average(values: readonly number[]): number {
  const [first = 0] = values;
  return first + values.reduce((sum, value) => sum + (value - first), 0) / Math.max(1, values.length);
}
