/** What went wrong, for programs. The message says it for people. */
export type VaeErrorCode =
  | "shape" // shapes that do not fit together, or data of another length than the shape asks for
  | "dtype" // an element type that the operation does not take
  | "argument" // an option or argument outside its range, or of the wrong type
  | "data" // values that cannot be trained on: NaN, infinity, outside [0, 1] for a Bernoulli likelihood, no rows
  | "memory" // more memory than there is; the message says how much, what for, and what is available
  | "detached" // a buffer that was transferred or resized while it was needed
  | "file" // a file that is missing, truncated or not what it should be
  | "architecture" // a checkpoint or weights of another model
  | "device" // an unknown or unusable device
  | "native" // the native addon could not be loaded, or reported a fault
  | "plan" // a plan that native validation refused (a defect of ours or corrupt data)
  | "diverged" // training met NaN or infinity; the last good weights are kept
  | "disposed"; // use after dispose

/** The parts of a {@link VaeError}, all but `code` and `operation` optional. */
export interface VaeErrorParts {
  readonly code: VaeErrorCode;
  /** What was being done: `"matmul"`, `"fit"`, `"load"`, … */
  readonly operation: string;
  /** What happened, in one clause; when left out the message is made of expected and received. */
  readonly problem?: string;
  readonly expected?: string;
  readonly received?: string;
  /** What to do about it. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/**
 * The one error class of node-vae.
 *
 * @example
 * ```ts
 * try { await model.fit(rows); } catch (error) {
 *   if (error instanceof VaeError && error.code === "data") …
 * }
 * ```
 */
export class VaeError extends Error {
  override readonly name = "VaeError";
  readonly code: VaeErrorCode;
  readonly operation: string;
  readonly expected: string | undefined;
  readonly received: string | undefined;
  readonly hint: string | undefined;
  readonly #parts: VaeErrorParts;

  constructor(given: VaeErrorParts) {
    const parts = cut(given);
    const clauses = [
      parts.problem,
      parts.expected === undefined ? undefined : `expected ${parts.expected}`,
      parts.received === undefined ? undefined : `received ${parts.received}`,
    ].filter((clause) => clause !== undefined);
    const hint = parts.hint === undefined ? "" : `\n  hint: ${parts.hint}`;
    super(`${parts.operation}: ${clauses.join("; ")}${hint}`, parts.cause === undefined ? undefined : { cause: parts.cause });
    this.code = parts.code;
    this.operation = parts.operation;
    this.expected = parts.expected;
    this.received = parts.received;
    this.hint = parts.hint;
    this.#parts = parts;
  }

  /** The same error of the function that the user called, which is made of the one that found it. */
  named(operation: string): VaeError {
    return this.operation === operation ? this : new VaeError({ ...this.#parts, operation });
  }

  /** The same error under a longer name of what was being done: `"conv2d"` becomes `"encoder.0: conv2d"`. */
  renamed(operation: string): VaeError {
    return new VaeError({ ...this.#parts, operation, cause: this.#parts.cause ?? this });
  }
}

/** Bytes of each part at most, as UTF-8: names and paths out of files may be of any length, a message is at most 2 KB. */
const LONGEST_PART = { operation: 240, problem: 600, expected: 320, received: 240, hint: 560 } as const;

function cut(parts: VaeErrorParts): VaeErrorParts {
  const names = Object.keys(LONGEST_PART) as (keyof typeof LONGEST_PART)[];
  const short = names.flatMap((name) => (parts[name] === undefined ? [] : [[name, withoutMiddle(parts[name], LONGEST_PART[name])]]));
  return { ...parts, ...(Object.fromEntries(short) as Partial<VaeErrorParts>) };
}

/** The text, or its beginning and its end where it is longer than so many bytes: a path says most at its end. */
function withoutMiddle(text: string, most: number): string {
  if (text.length * 3 <= most) return text;
  const head = unitsWithin(text, most, (index) => index);
  if (head === text.length) return text;
  const first = unitsWithin(text, (most * 2) / 3, (index) => index);
  const last = unitsWithin(text, most / 3 - 3, (index) => text.length - 1 - index);
  return `${text.slice(0, first)}…${text.slice(text.length - last)}`;
}

/** How many code units of the text, from its one end or the other, take at most so many bytes. */
function unitsWithin(text: string, bytes: number, at: (index: number) => number): number {
  let taken = 0;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(at(index));
    taken += unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3;
    if (taken > bytes) return index;
  }
  return text.length;
}

/** A short picture of a value for messages: whatever it is, it neither throws nor takes more than a line. */
export function describe(value: unknown): string {
  try {
    return shortened(picture(value, 0));
  } catch {
    return "an object that cannot be read"; // its getters throw, or it is a proxy that was revoked
  }
}

const LONGEST_PICTURE = 80;
const MOST_PARTS = 16;

function shortened(text: string): string {
  return text.length > LONGEST_PICTURE ? `${text.slice(0, LONGEST_PICTURE - 1)}…` : text;
}

function picture(value: unknown, depth: number): string {
  if (typeof value === "string") return JSON.stringify(shortened(value));
  if (typeof value === "bigint") return `${value}n`;
  if (Object.is(value, -0)) return "-0";
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  const isList = Array.isArray(value);
  if (!isList && !isPlain(value)) return withArticle(String(value.constructor?.name || "object"));
  if (depth === 2) return isList ? "[…]" : "{…}"; // deep enough, and an end for what contains itself
  const parts = isList
    ? Array.from({ length: Math.min(value.length, MOST_PARTS) }, (_, index) => picture(value[index], depth + 1))
    : Object.keys(value)
        .slice(0, MOST_PARTS)
        .map((key) => `${JSON.stringify(shortened(key))}:${picture((value as Record<string, unknown>)[key], depth + 1)}`);
  const text = `${parts.join(",")}${isList && value.length > MOST_PARTS ? ",…" : ""}`;
  return isList ? `[${text}]` : `{${text}}`;
}

/** True for what `{}` or JSON makes, in whichever realm. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** `a layer`, `an optimizer`. */
export function withArticle(noun: string): string {
  return `${/^[aeio]/i.test(noun) ? "an" : "a"} ${noun}`;
}
