// How much memory a file may ask for. What it declares is compared with a limit before anything of that size is made.
import type { Fields } from "../graph/arguments.js";
import { fileError } from "./files.js";
import type { Source } from "./source.js";

/** Room that every file has. */
const LEAST_BYTES = 256 * 2 ** 20;

/** Data that people pack, pictures and tables, rarely become more than ten times as large. */
const USUAL_RATIO = 10;

/**
 * The option `maxBytes`: how many bytes of memory the loaded rows may take, given how many the file or files have; the default
 * grows with them.
 */
export function byteLimit(fields: Fields): (stored: number) => number {
  if (fields.raw("maxBytes") === undefined) return (stored) => Math.max(LEAST_BYTES, USUAL_RATIO * stored);
  const limit = fields.number("maxBytes", { minimum: 1, maximum: Number.MAX_SAFE_INTEGER, integer: true });
  return () => limit;
}

/** Throws where `bytes` of memory are more than the limit. */
export function checkBytesNeeded(source: Source, bytes: number, limit: number, what: string): void {
  if (bytes <= limit) return;
  throw fileError(source, `too large: ${what}`, {
    expected: `at most ${limit} bytes of memory (the option maxBytes)`,
    received: `${bytes} bytes`,
    hint: Number.isSafeInteger(bytes) ? `where that is right, pass { maxBytes: ${bytes} }` : "the file is corrupt, or means harm",
  });
}

/** Calls `make`; says how large the array would have been where there is no memory for it. */
export function allocated<T>(source: Source, bytes: number, make: () => T): T {
  try {
    return make();
  } catch (cause) {
    if ((cause as { name?: unknown } | null)?.name !== "RangeError") throw cause;
    throw fileError(source, "the rows do not fit into memory", { received: `${bytes} bytes`, cause });
  }
}
