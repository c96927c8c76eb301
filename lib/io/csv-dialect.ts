// What stands between the cells, told from the first lines of a file.
import { describe, VaeError } from "../errors.js";
import { CsvRecords, type CsvSyntax } from "./csv-records.js";
import type { Source } from "./files.js";
import type { Pace } from "./pace.js";

/** What is looked for, unless the delimiter is given. */
export const DELIMITERS = [",", ";", "\t", "|"] as const;

/** The lines that are looked at, and the most text to find them in. */
const SAMPLED_LINES = 20;
export const SAMPLED_CHARACTERS = 1 << 20;

/** What is known of a file before it is read. */
export interface KnownDialect extends Omit<CsvSyntax, "delimiter"> {
  readonly delimiter: string | undefined;
  readonly decimal: "." | ",";
  readonly header: boolean | undefined;
}

/** What the first lines say. */
export interface Dialect {
  readonly delimiter: string;
  /** Whether every line of values ends with a delimiter, behind which nothing stands. */
  readonly trailing: boolean;
  /** Characters before the first line: `sep=;` of Excel says what the delimiter is and is no row. */
  readonly skip: number;
}

/** The first records of a file, as they are with one delimiter. */
interface Sample {
  readonly delimiter: string;
  /** Delimiters in each record. */
  readonly counts: readonly number[];
  /** Whether an empty cell is the last of each record. */
  readonly ends: readonly boolean[];
  /** Whether the quotes stand where they may. */
  readonly parses: boolean;
}

/**
 * The dialect of a file that begins with `head`.
 *
 * @param whole whether that is the whole file; otherwise its last line may go on
 * @throws VaeError `"argument"` where several delimiters are possible
 */
export async function detectDialect(source: Source, head: string, whole: boolean, known: KnownDialect, pace: Pace): Promise<Dialect> {
  const announced = /^sep=(.)(\r\n|\r|\n)/i.exec(head);
  const skip = announced === null ? 0 : announced[0].length;
  const candidates =
    known.delimiter !== undefined
      ? [known.delimiter]
      : announced?.[1] !== undefined
        ? [announced[1]]
        : DELIMITERS.filter((candidate) => candidate !== known.decimal);
  const possible = candidates.filter((candidate, index) => index === 0 || head.includes(candidate));
  const samples: Sample[] = [];
  for (const delimiter of possible) samples.push(await takeSample(source, head.slice(skip), whole, { ...known, delimiter }, pace));
  const { delimiter, counts, ends } = samples.length === 1 ? samples[0]! : likelySample(source, samples);
  const begin = (known.header ?? true) ? 1 : 0;
  const trailing = counts.length > begin && ends.every((isEmpty, index) => index < begin || (isEmpty && counts[index]! > 0));
  return { delimiter, trailing, skip };
}

function likelySample(source: Source, samples: readonly Sample[]): Sample {
  // With a wrong delimiter quotes stand inside of cells. Where they do with each of them, the file is to blame.
  const parsed = samples.filter(({ parses }) => parses);
  const inFirst = (parsed.length > 0 ? parsed : samples).filter(({ counts }) => (counts[0] ?? 0) > 0);
  // A delimiter occurs equally often in every line; decimal commas and commas in texts seldom do.
  const steady = inFirst.filter(({ counts }) => counts.length > 1 && counts.every((count) => count === counts[0]));
  const likely = steady.length > 0 ? steady : inFirst;
  if (likely.length <= 1) return likely[0] ?? samples[0]!;
  const delimiters = likely.map(({ delimiter }) => delimiter);
  const shown = delimiters.map(describe).join(" or ");
  throw new VaeError({
    code: "argument",
    operation: source.operation,
    problem: `${source.path}: ${shown} may stand between the cells`,
    hint: `pass the one that does, { delimiter: ${describe(delimiters.at(-1))} }${delimiters.includes(",") ? '; for commas in numbers also { decimal: "," }' : ""}`,
  });
}

/** The first records, complete ones only unless there is no other. */
async function takeSample(source: Source, head: string, whole: boolean, syntax: CsvSyntax, pace: Pace): Promise<Sample> {
  const counts: number[] = [];
  const ends: boolean[] = [];
  const record = (cells: readonly string[]) => {
    if (counts.push(cells.length - 1) <= SAMPLED_LINES) ends.push(cells.at(-1) === "");
    else counts.pop();
  };
  const records = new CsvRecords(source, syntax, { record, blanks() {} });
  let parses = true;
  try {
    await records.push(head, pace, () => counts.length < SAMPLED_LINES);
    if (counts.length < SAMPLED_LINES && (whole || counts.length === 0)) await records.finish();
  } catch {
    // What is wrong with the file is said when it is read, with the delimiter that it turns out to have.
    parses = counts.length >= SAMPLED_LINES;
  }
  if (counts.length > 0 || whole || parses) return { delimiter: syntax.delimiter, counts, ends, parses };
  return takeSample(source, `${head}"`, true, syntax, pace); // the head may have been cut inside of quotes
}
