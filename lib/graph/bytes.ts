// Sizes in words, and the one error for what does not fit into memory. It stands in this room because all that allocate may
// import it.
import { VaeError } from "../errors.js";

const UNITS = ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"] as const;

/** `"812 bytes"`, `"1.5 GB"`, `"24 MB"`: powers of ten, with two digits at least. */
export function showBytes(bytes: number): string {
  if (bytes < 1000) return `${Math.ceil(bytes)} bytes`;
  let value = bytes;
  let unit = 0;
  for (; value >= 999.5 && unit + 1 < UNITS.length; value /= 1000) unit++;
  return `${value < 9.95 ? value.toFixed(1) : value.toPrecision(Math.max(2, Math.ceil(Math.log10(value))))} ${UNITS[unit]}`;
}

/** Bytes that something needs, by what for; in the order in which they are named. */
export type MemoryNeeds = Readonly<Record<string, number>>;

/** All of them together. */
export function totalBytes(needs: MemoryNeeds): number {
  return Object.values(needs).reduce((sum, bytes) => sum + bytes, 0);
}

/** What a {@link memoryError} says. */
export interface MemoryProblem {
  readonly needs: MemoryNeeds;
  /** What there is, and what limits it: `"0.9 GB are available (control group limit of 1.0 GB)"`. */
  readonly available?: string;
  /** What to do about it. */
  readonly hint: string;
  readonly cause?: unknown;
}

/** The error `"memory"`: what is needed, what for, what there is, and what helps. */
export function memoryError(operation: string, { needs, available, hint, cause }: MemoryProblem): VaeError {
  const parts = Object.entries(needs)
    .filter(([, bytes]) => bytes > 0)
    .map(([what, bytes]) => `${showBytes(bytes)} ${what}`);
  const [only] = parts;
  const needed = parts.length === 1 ? `needs ${only}` : `needs ${showBytes(totalBytes(needs))}: ${parts.join(", ")}`;
  const problem = `${needed}; ${available ?? "the process cannot have that much in one piece"}`;
  return new VaeError({ code: "memory", operation, problem, hint, ...(cause === undefined ? {} : { cause }) });
}

/** Made by `new`; Int32Array, … */
type ArrayConstructor<Data> = { new (length: number): Data; readonly BYTES_PER_ELEMENT: number };

/**
 * A new typed array, zero-filled.
 *
 * @param what it is for, for the message: `"of results"`
 * @throws VaeError `"memory"` where the engine cannot make one of that length
 */
export function newArray<Data>(
  arrayType: ArrayConstructor<Data>,
  length: number,
  { operation, what, hint }: { readonly operation: string; readonly what: string; readonly hint: string },
): Data {
  try {
    return new arrayType(length);
  } catch (cause) {
    throw memoryError(operation, { needs: { [what]: length * arrayType.BYTES_PER_ELEMENT }, hint, cause });
  }
}

/**
 * Runs `body`; where the engine cannot make an array or a text of some size in it, that is `"memory"`. For what is not allocated
 * by {@link newArray}, which knows sizes.
 */
export async function withMemoryErrors<T>(operation: string, hint: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    if (!isTooLarge(error)) throw error;
    throw new VaeError({ code: "memory", operation, problem: `more than the engine can hold: ${error.message}`, hint, cause: error });
  }
}

/** What the engine says when it cannot make an array, a buffer or a text of some size. */
const TOO_LARGE = /^(Array buffer allocation failed|Invalid typed array length|Invalid array (buffer )?length|Invalid string length)/;

/** True for the engine's RangeError about something that is too large for it, of whichever realm. */
export function isTooLarge(error: unknown): error is Error {
  return typeof error === "object" && error !== null && "message" in error && TOO_LARGE.test(String(error.message));
}
