// Numbers in cells, and what to say about texts that are none.
import { DELIMITERS } from "./csv-dialect.js";

/** Decimal notation only: `Number` alone would also read "0x10" and "Infinity". Written so that no text makes it look twice. */
const NUMBER = { ".": /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i, ",": /^[+-]?(?:\d+(?:,\d*)?|,\d+)(?:e[+-]?\d+)?$/i };

/** The number that a text is, or undefined. It need not fit a float32. */
export function parseNumber(text: string, decimal: "." | ","): number | undefined {
  if (!NUMBER[decimal].test(text)) return undefined;
  return Number(decimal === "." ? text : text.replace(",", "."));
}

export function fitsFloat32(value: number): boolean {
  return Number.isFinite(Math.fround(value));
}

/** Whether float32 changes a number written as a whole one; so it does with numbers of orders and customers. */
export function losesDigits(text: string, value: number): boolean {
  return Math.abs(value) > 2 ** 24 && Number.isInteger(value) && Math.fround(value) !== value && !/e/i.test(text);
}

/** What a cell was read with. */
export interface CellContext {
  readonly column: string;
  readonly delimiter: string;
  readonly decimal: "." | ",";
}

/** A kind of text that is often taken for a number. */
type Suspicion = readonly [pattern: RegExp, hint: string | ((context: CellContext) => string)];

const GROUPED = /^[+-]?\d{1,3}(?:([ '’_\u00a0\u202f])\d{3})(?:\1\d{3})*(?:[.,]\d*)?$/;
const SEPARATORS = "thousands separators are not read: remove them from the file";

const SUSPICIONS: readonly Suspicion[] = [
  [GROUPED, SEPARATORS],
  [/^[+-]?\d{1,3}(?:,\d{3}){2,}(?:\.\d*)?$|^[+-]?\d{1,3}(?:,\d{3})+\.\d*$/, SEPARATORS],
  [/^[+-]?\d{1,3}(?:\.\d{3}){2,}(?:,\d*)?$|^[+-]?\d{1,3}(?:\.\d{3})+,\d*$/, SEPARATORS],
  [
    /^[+-]?\d{1,3}(?:,\d{3})$/,
    ({ delimiter }) => `decimal commas are read with ${commas(delimiter)}; thousands separators are not read: remove them from the file`,
  ],
  [/^[+-]?(?:\d+,\d*|,\d+)(?:e[+-]?\d+)?$/i, ({ delimiter }) => `decimal commas are read with ${commas(delimiter)}`],
  [
    /^[+-]?(?:\d+\.\d*|\.\d+)(?:e[+-]?\d+)?$/i,
    'numbers with a decimal point are read with { decimal: "." }, the default, and one file has one of the two',
  ],
  [/^[+-]?0[xob][\da-f]+$/i, "write numbers in decimal notation"],
  [
    /^[+-]?inf(?:inity)?$/i,
    'infinite values cannot be learned from: count them as missing, { missingValues: ["", "Infinity"], missing: "drop" }',
  ],
  [/^[+-]?[\d.,]+ ?%$/, "remove the percent sign"],
  [/^[+-]?(?:\p{Sc}|[A-Z]{3}) ?[+-]?[\d.,]+$|^[+-]?[\d.,]+ ?(?:\p{Sc}|[A-Z]{3})$/u, "remove the currency or unit"],
  [/^[\u2212\u2013]/, 'replace the typographic minus sign by "-"'],
  [
    /^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ].*)?$|^\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?$/,
    "dates and times are not read: turn them into numbers, such as seconds or the day of the year, or leave the column out with { columns: [...] }",
  ],
  [
    /^(?:true|false|yes|no)$/i,
    ({ column }) => `write 1 and 0, or read the column with { categorical: [${column}] }, which makes one of 0 and 1 per text`,
  ],
];

function commas(delimiter: string): string {
  return delimiter === "," ? '{ decimal: "," }, with another delimiter such as { delimiter: ";" } or quotes' : '{ decimal: "," }';
}

/** Longer texts are no slips. */
const LONGEST_SUSPECT = 64;

/** What to do about a cell that is no number. */
export function hintFor(text: string, context: CellContext): string {
  const { column, delimiter } = context;
  const number = parseNumber(text, context.decimal);
  if (number !== undefined)
    return "float32 ends at 3.4e38: divide the column by a power of ten, or count the cell as missing with { missingValues: [...] }";
  if (text.length <= LONGEST_SUSPECT) {
    const found = SUSPICIONS.find(([pattern]) => pattern.test(text))?.[1];
    if (found !== undefined) return typeof found === "string" ? found : found(context);
    const other = DELIMITERS.find((candidate) => candidate !== delimiter && text.includes(candidate));
    // "1;2" is a row under another delimiter, "red, dark" a text.
    const isRow =
      other !== undefined && text.split(other).every((part) => part.trim() === "" || /^[+-]?[\d.,]+(?:e[+-]?\d+)?$/i.test(part.trim()));
    if (isRow) return `is the delimiter right? this cell would be read with { delimiter: ${JSON.stringify(other)} }`;
  }
  return `texts can be read with { categorical: [${column}] }, or leave the column out with { columns: [...] }`;
}
