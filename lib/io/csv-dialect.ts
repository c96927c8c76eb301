// What stands between the cells, told from the first lines of a file.
import { describe, VaeError } from "../errors.js";
import type { Source } from "./files.js";
import type { Pace } from "./pace.js";

/** What is looked for, unless the delimiter is given. */
export const DELIMITERS = [",", ";", "\t", "|"] as const;

/** The lines that are looked at, and the most text to find them in. */
const SAMPLED_LINES = 20;
export const SAMPLED_CHARACTERS = 1 << 20;

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
  const candidates = [...new Set([...DELIMITERS, ...(known.delimiter === undefined ? [] : [known.delimiter])])];
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
  let counts = new Map<string, number>();
  let [last, inQuotes, begin] = ["", false, 0];
  const close = (end: number) => {
    const ignored = last === "" || (comment !== undefined && head.startsWith(comment, begin));
    if (!ignored) lines.push({ counts: new Map(candidates.map((candidate) => [candidate, counts.get(candidate) ?? 0])), last });
    [counts, last, begin] = [new Map(), "", end];
  };
  for (let at = 0; at < head.length && lines.length < SAMPLED_LINES; at++) {
    if (at % PAUSED_EVERY === 0) await pace.rest();
    const character = head[at]!;
    if (character === '"') inQuotes = !inQuotes;
    if (!inQuotes && (character === "\n" || character === "\r")) {
      close(at + 1);
      continue;
    }
    if (character !== " ") last = character;
    if (inQuotes) continue;
    for (const candidate of candidates) {
      if (candidate[0] === character && head.startsWith(candidate, at)) counts.set(candidate, (counts.get(candidate) ?? 0) + 1);
    }
  }
  if (lines.length < SAMPLED_LINES && (whole || lines.length === 0)) close(head.length);
  return lines;
}
