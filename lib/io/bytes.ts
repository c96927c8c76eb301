// What a byte stands for. 255 levels of grey are value / 255; masks and binarized images hold the values 0 and 1 themselves.
// Nothing in an array of zeros and ones says which, so the caller does.
import { VaeError } from "../errors.js";
import type { Fields } from "../graph/arguments.js";
import { isUint8Array } from "../graph/kinds.js";
import type { Dataset } from "./dataset.js";
import { slices } from "./pace.js";

/** What bytes stand for: `"scaled"`, value / 255; `"raw"`, the value itself. */
export type BytesMeaning = "scaled" | "raw";

/** The option `bytes` of a loader; undefined when left out. */
export function bytesOption(fields: Fields): BytesMeaning | undefined {
  return fields.raw("bytes") === undefined ? undefined : fields.choice("bytes", ["scaled", "raw"]);
}

/** The largest of some bytes, or 2 as soon as it is above 1. */
function largestUpTo2(data: Uint8Array, begin: number, end: number): 0 | 1 | 2 {
  let ones = 0;
  for (let index = begin; index < end; index++) {
    const value = data[index]!;
    if (value > 1) return 2;
    ones |= value;
  }
  return ones === 0 ? 0 : 1;
}

/**
 * Throws `"data"` for bytes that are all 0 and 1, of which nobody has said what they stand for. Nothing but zeros passes: they
 * mean the same both ways.
 *
 * @param hint what to write instead; by default what a caller of a verb or of `datasets.from` can do
 */
export function checkBytes({ data, bytes, name }: Dataset, operation: string, hint?: string): void {
  if (!isUint8Array(data) || bytes !== undefined) return;
  if (largestUpTo2(data, 0, data.length) === 1) throw ambiguous(name, operation, hint);
}

/** {@link checkBytes} in slices of about a millisecond, with the event loop in between. */
export async function checkBytesInSlices({ data, bytes, name }: Dataset, operation: string, hint?: string): Promise<void> {
  if (!isUint8Array(data) || bytes !== undefined) return;
  let largest = 0;
  for await (const { begin, end } of slices(data.length)) {
    largest = Math.max(largest, largestUpTo2(data, begin, end));
    if (largest > 1) return;
  }
  if (largest === 1) throw ambiguous(name, operation, hint);
}

/** What to do about bytes that a loader finds to be 0 and 1. */
export const LOADER_HINT = 'pass { bytes: "raw" } where 1 means 1 (masks, binarized images), { bytes: "scaled" } where it means 1 / 255';

const SOURCE_HINT =
  'datasets.from(rows, shape, { bytes: "raw" }) where 1 means 1 (masks, binarized images), { bytes: "scaled" } where it means 1 / 255';

function ambiguous(name: string, operation: string, hint = SOURCE_HINT): VaeError {
  return new VaeError({
    code: "data",
    operation,
    problem: `the bytes of ${name} are all 0 and 1`,
    expected: "to be told whether they stand for themselves or for value / 255",
    received: "no `bytes`",
    hint,
  });
}

/** The same rows with every byte as the float it is; others as they are. */
export function withRawAsFloats(dataset: Dataset): Dataset {
  return dataset.bytes === "raw" && isUint8Array(dataset.data) ? { ...dataset, data: new Float32Array(dataset.data) } : dataset;
}
