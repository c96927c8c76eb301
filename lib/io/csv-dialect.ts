// What stands between the cells, told from the first lines of a file.
import { describe, VaeError } from "../errors.js";
import type { Source } from "./files.js";
import type { Pace } from "./pace.js";

/** What is looked for, unless the delimiter is given. */
export const DELIMITERS = [",", ";", "\t", "|"] as const;

/** The lines that are looked at, and the most text to find them in. */
const SAMPLED_LINES = 20;
export const SAMPLED_CHARACTERS = 1 << 20;

const [QUOTE, LINE_FEED, RETURN, SPACE] = [0x22, 0x0a, 0x0d, 0x20];

/** Whether it is a digit or one of the letters from A to z. */
function isWordCode(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x7a);
}

const PAUSED_EVERY = 1 << 13;

/** What is known of a file before it is read. */
export interface KnownDialect {
  readonly delimiter: string | undefined;
  readonly decimal: "." | ",";
  readonly comment: string | undefined;
  readonly header: boolean;
}

/** What the first lines say. */
export interface Dialect {
  readonly delimiter: string;
  /** Whether every line of values ends with a delimiter, behind which nothing stands. */
  readonly trailing: boolean;
  /** Characters before the first line: `sep=;` of Excel says what the delimiter is and is no row. */
  readonly skip: number;
}

/** One line of the sample: how often each delimiter occurs outside of quotes. */
interface SampledLine {
  readonly counts: ReadonlyMap<string, number>;
  /** The last character that is no blank (a tab is none). */
  readonly last: string;
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
  const candidates = known.delimiter !== undefined ? [known.delimiter] : announced?.[1] !== undefined ? [announced[1]] : DELIMITERS;
  const lines = await sampleLines(pace, head.slice(skip), whole, known.comment, candidates);
  const delimiter = known.delimiter ?? announced?.[1] ?? likelyDelimiter(source, lines, known.decimal);
  const values = known.header ? lines.slice(1) : lines;
  const trailing = values.length > 0 && values.every(({ last, counts }) => last === delimiter.at(-1) && counts.get(delimiter) !== 0);
  return { delimiter, trailing, skip };
}

function likelyDelimiter(source: Source, lines: readonly SampledLine[], decimal: "." | ","): string {
  const candidates = DELIMITERS.filter((delimiter) => delimiter !== decimal);
  const [first] = lines;
  const inFirst = candidates.filter((delimiter) => (first?.counts.get(delimiter) ?? 0) > 0);
  // A delimiter occurs equally often in every line; decimal commas and commas in texts seldom do.
  const steady = inFirst.filter((delimiter) =>
    lines.every(({ counts }) => lines.length > 1 && counts.get(delimiter) === first?.counts.get(delimiter)),
  );
  const likely = steady.length > 0 ? steady : inFirst;
  if (likely.length <= 1) return likely[0] ?? candidates[0]!;
  const shown = likely.map((delimiter) => describe(delimiter)).join(" or ");
  throw new VaeError({
    code: "argument",
    operation: source.operation,
    problem: `${source.path}: ${shown} may stand between the cells`,
    hint: `pass the one that does, { delimiter: ${describe(likely.at(-1))} }${likely.includes(",") ? '; for commas in numbers also { decimal: "," }' : ""}`,
  });
}

/** The first lines that are neither blank nor comments, complete ones only unless there is no other. */
async function sampleLines(
  pace: Pace,
  head: string,
  whole: boolean,
  comment: string | undefined,
  candidates: readonly string[],
): Promise<SampledLine[]> {
  const lines: SampledLine[] = [];
  const counts = new Int32Array(candidates.length);
  const candidateOf = new Map(candidates.map((candidate, index) => [candidate.charCodeAt(0), index]));
  let [last, inQuotes, begin] = [-1, false, 0];
  const close = (end: number) => {
    const ignored = last < 0 || (comment !== undefined && head.startsWith(comment, begin));
    const shown = last < 0 ? "" : String.fromCharCode(last);
    if (!ignored) lines.push({ counts: new Map(candidates.map((candidate, index) => [candidate, counts[index]!])), last: shown });
    counts.fill(0);
    [last, begin] = [-1, end];
  };
  for (let at = 0; at < head.length && lines.length < SAMPLED_LINES; at++) {
    if (at % PAUSED_EVERY === 0) await pace.rest();
    const code = head.charCodeAt(at);
    // Letters and digits are most of a file, and none of what follows.
    if (isWordCode(code) && !candidateOf.has(code)) {
      last = code;
      continue;
    }
    if (code === QUOTE) inQuotes = !inQuotes;
    if (!inQuotes && (code === LINE_FEED || code === RETURN)) {
      close(at + 1);
      continue;
    }
    if (code !== SPACE) last = code;
    const index = inQuotes ? undefined : candidateOf.get(code);
    if (index !== undefined && head.startsWith(candidates[index]!, at)) counts[index]!++;
  }
  if (lines.length < SAMPLED_LINES && (whole || lines.length === 0)) close(head.length);
  return lines;
}
