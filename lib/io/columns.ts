// The columns of a table while it is read: each turns a cell into a number, and says in the end what those numbers stand for.
import { fitsFloat32, losesDigits, parseNumber } from "./csv-numbers.js";
import { type Pace, sortTexts } from "./pace.js";

/** The texts that stand for missing cells, whatever their case. */
export class MissingTexts {
  /** Whether some of them are numbers, such as -999. */
  readonly hasNumbers: boolean;
  private readonly texts: ReadonlySet<string>;
  private readonly longest: number;

  constructor(texts: readonly string[]) {
    this.texts = new Set(texts.map((text) => text.trim().toLowerCase()));
    this.longest = texts.reduce((longest, { length }) => Math.max(longest, length), 0);
    this.hasNumbers = texts.some((text) => (parseNumber(text, ".") ?? parseNumber(text, ",")) !== undefined);
  }

  has(text: string): boolean {
    return text.length <= this.longest && this.texts.has(text.toLowerCase());
  }
}

/** What the columns of a file need to know to read its cells. */
export interface CellRules {
  readonly decimal: "." | ",";
  readonly missingTexts: MissingTexts;
  readonly maxCategories: number;
}

/** Why a cell cannot be taken: no number, a text that is not known, one text too many. */
export type CellFault = "number" | "category" | "limit";

/** One column of the file in use. */
export interface ColumnReader {
  readonly kind: "number" | "category" | "label";
  readonly name: string;
  /** How many columns of the result it makes, as far as is known. */
  readonly width: number;
  /** The number that a cell is kept as, NaN for a missing one; or why there is none. */
  read(text: string, line: number): number | CellFault;
}

/** Any column of the file in use. */
export type Column = NumberColumn | CategoryColumn | LabelColumn;

/** A cell whose number float32 rounds. */
export interface RoundedCell {
  readonly line: number;
  readonly text: string;
  readonly value: number;
}

/** Numbers, kept as they are. */
export class NumberColumn implements ColumnReader {
  readonly kind = "number";
  readonly width = 1;
  /** The first whole number that float32 rounds. */
  rounded: RoundedCell | undefined;

  constructor(
    readonly name: string,
    private readonly rules: CellRules,
  ) {}

  read(cell: string, line: number): number | CellFault {
    const { decimal, missingTexts } = this.rules;
    const text = cell.trim();
    const value = parseNumber(text, decimal);
    if (value === undefined) return missingTexts.has(text) ? Number.NaN : "number";
    if (missingTexts.hasNumbers && missingTexts.has(text)) return Number.NaN;
    if (!fitsFloat32(value)) return "number";
    if (this.rounded === undefined && losesDigits(text, value)) this.rounded = { line, text, value };
    return value;
  }
}

/** Texts, each with a number in order of appearance. */
class Codes {
  private readonly codeOf: Map<string, number>;

  constructor(
    private readonly missingTexts: MissingTexts,
    private readonly known: readonly string[] | undefined,
  ) {
    this.codeOf = new Map((known ?? []).map((text, code) => [text, code]));
  }

  get size(): number {
    return this.codeOf.size;
  }

  /** The number of a text, NaN for one that stands for a missing cell, undefined for one that is new. */
  find(text: string): number | undefined {
    // A category of the other file is one, even if it is spelt like a missing cell.
    return this.codeOf.get(text) ?? (this.missingTexts.has(text) ? Number.NaN : undefined);
  }

  add(text: string): number {
    const { size } = this.codeOf;
    this.codeOf.set(text, size);
    return size;
  }

  /** The texts that a row is left of, by number; all that are known from another file. */
  kept(used: (code: number) => boolean): string[] {
    return [...this.codeOf.keys()].filter((_, code) => this.known !== undefined || used(code));
  }
}

/** Texts, each to become a column of the result. */
export class CategoryColumn implements ColumnReader {
  readonly kind = "category";
  private readonly codes: Codes;

  /** @param known the texts that there may be, in the order of the result; default whichever come, in sorted order */
  constructor(
    readonly name: string,
    private readonly rules: CellRules,
    private readonly known?: readonly string[],
  ) {
    this.codes = new Codes(rules.missingTexts, known);
  }

  get width(): number {
    return this.codes.size;
  }

  read(text: string): number | CellFault {
    const code = this.codes.find(text);
    if (code !== undefined) return code;
    if (this.known !== undefined) return "category";
    return this.codes.size < this.rules.maxCategories ? this.codes.add(text) : "limit";
  }

  /** The texts in order, and the place in it per number. */
  async categories(
    used: (code: number) => boolean,
    pace: Pace,
  ): Promise<{ readonly texts: readonly string[]; readonly places: Int32Array }> {
    const kept = this.codes.kept(used);
    const texts = this.known === undefined ? await sortTexts(kept, pace) : kept;
    const places = new Int32Array(this.codes.size).fill(-1);
    for (const [place, text] of texts.entries()) {
      places[this.codes.find(text)!] = place;
      if (place % PLACED_AT_ONCE === 0) await pace.rest();
    }
    return { texts, places };
  }
}

/** Texts that are not whole numbers are kept as their code above all of those. */
export const FIRST_CODE = 2 ** 32;

/** What the cells of a label stand for. */
export interface Classes {
  /** By label; null where labels are whole numbers of the file. */
  readonly names: readonly string[] | null;
  readonly labelOf: (value: number) => number;
}

/** The labels that rows are left of. */
export interface PresentLabels {
  /** 1 per code of a text. */
  readonly codes: Uint8Array;
  readonly wholes: ReadonlySet<number>;
}

const PLACED_AT_ONCE = 1 << 13;

/** The classes of the rows: whole numbers are kept as they are, and need no memory of what there was. */
export class LabelColumn implements ColumnReader {
  readonly kind = "label";
  readonly width = 0;
  private readonly codes: Codes;

  /** @param known names of the classes by label; null where only whole numbers are allowed; default whatever comes */
  constructor(
    readonly name: string,
    private readonly rules: CellRules,
    private readonly known: readonly string[] | null | undefined,
  ) {
    this.codes = new Codes(rules.missingTexts, known ?? undefined);
  }

  /** How many texts there were that are not plain whole numbers. */
  get texts(): number {
    return this.codes.size;
  }

  read(text: string): number | CellFault {
    const whole = this.known ? undefined : this.wholeNumber(text);
    // Another spelling, such as 01, is a text of its own until all turn out to be numbers.
    if (whole !== undefined && String(whole) === text && !this.rules.missingTexts.has(text)) return whole;
    const code = this.codes.find(text);
    if (code !== undefined) return FIRST_CODE + code;
    if (this.known !== undefined && whole === undefined) return "category";
    return this.codes.size < this.rules.maxCategories ? FIRST_CODE + this.codes.add(text) : "limit";
  }

  /** @param present what rows are left of; whole numbers may be left out where there are no texts */
  async classes(present: PresentLabels, pace: Pace): Promise<Classes> {
    if (this.known) return { names: this.known, labelOf: (value) => value - FIRST_CODE };
    const texts = this.codes.kept((code) => present.codes[code] === 1);
    const ofText = new Int32Array(this.codes.size);
    if (texts.every((text) => this.wholeNumber(text) !== undefined)) {
      for (const text of texts) ofText[this.codes.find(text)!] = this.wholeNumber(text)!;
      return { names: null, labelOf: (value) => (value < FIRST_CODE ? value : ofText[value - FIRST_CODE]!) };
    }
    // No whole number is among the texts in its plain spelling.
    const names = await sortTexts([...texts, ...Array.from(present.wholes, String)], pace);
    const ofWhole = new Map<number, number>();
    for (const [label, name] of names.entries()) {
      const code = this.codes.find(name);
      if (code === undefined || Number.isNaN(code)) ofWhole.set(Number(name), label);
      else ofText[code] = label;
      if (label % PLACED_AT_ONCE === 0) await pace.rest();
    }
    return { names, labelOf: (value) => (value < FIRST_CODE ? ofWhole.get(value)! : ofText[value - FIRST_CODE]!) };
  }

  /** The whole number that a text is, where it fits an int32. */
  private wholeNumber(text: string): number | undefined {
    const value = parseNumber(text, this.rules.decimal);
    return value === (Number(value) | 0) ? value | 0 : undefined;
  }
}
