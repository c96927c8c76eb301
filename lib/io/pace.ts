// Long work in pieces, so that the event loop has its turns in between.
import { setImmediate } from "node:timers/promises";

/** Milliseconds of work at one go: timers and sockets beside a loader are hardly late. */
const SLICE = 8;

/** Lets long work give way to the event loop. */
export class Pace {
  private due = performance.now() + SLICE;

  /** Resolves at once, or after the event loop has had its turn where a slice of work is over. */
  async rest(): Promise<void> {
    if (performance.now() < this.due) return;
    await setImmediate();
    this.due = performance.now() + SLICE;
  }
}

/**
 * The pace of everything that awaits native calls one after the other. Node hands over up to a thousand results in one go: where
 * the next call is made and done before the handing over ends, timers and sockets wait for all of them.
 */
export const callPace = new Pace();

/** Values that are looked at or moved in one to five milliseconds. */
export const SLICE_LENGTH = 1 << 20;

/** The ranges of at most `most` items that `length` items are cut into, with a turn of the event loop between two of them. */
export async function* slices(length: number, most = SLICE_LENGTH): AsyncGenerator<{ readonly begin: number; readonly end: number }> {
  for (let begin = 0; begin < length; begin += most) {
    if (begin > 0) await setImmediate();
    yield { begin, end: Math.min(begin + most, length) };
  }
}

const SORTED_AT_ONCE = 4096;
const MERGED_AT_ONCE = 16_384;

/** The texts in order of their code units, so that the order does not depend on the machine's language. */
export async function sortTexts(texts: readonly string[], pace: Pace): Promise<string[]> {
  let runs: string[][] = [];
  for (let begin = 0; begin < texts.length; begin += SORTED_AT_ONCE) {
    runs.push(texts.slice(begin, begin + SORTED_AT_ONCE).sort());
    await pace.rest();
  }
  while (runs.length > 1) {
    const merged: string[][] = [];
    for (let index = 0; index < runs.length; index += 2) merged.push(await mergeRuns(runs[index]!, runs[index + 1] ?? [], pace));
    runs = merged;
  }
  return runs[0] ?? [];
}

async function mergeRuns(left: readonly string[], right: readonly string[], pace: Pace): Promise<string[]> {
  const merged: string[] = [];
  let [fromLeft, fromRight] = [0, 0];
  while (merged.length < left.length + right.length) {
    const isLeft = fromRight >= right.length || (fromLeft < left.length && left[fromLeft]! <= right[fromRight]!);
    merged.push(isLeft ? left[fromLeft++]! : right[fromRight++]!);
    if (merged.length % MERGED_AT_ONCE === 0) await pace.rest();
  }
  return merged;
}
