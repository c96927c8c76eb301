/** What went wrong, for programs. The message says it for people. */
export type VaeErrorCode =
  | "shape" // shapes that do not fit together, or data of another length than the shape asks for
  | "dtype" // an element type that the operation does not take
  | "argument" // an option or argument outside its range, or of the wrong type
  | "data" // values that cannot be trained on: NaN, infinity, outside [0, 1] for a Bernoulli likelihood, no rows
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

  constructor(parts: VaeErrorParts) {
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

  /** The same error under a longer name of what was being done: `"conv2d"` becomes `"encoder.0: conv2d"`. */
  renamed(operation: string): VaeError {
    return new VaeError({ ...this.#parts, operation, cause: this.#parts.cause ?? this });
  }
}

/** A short picture of a value for messages: whatever it is, it neither throws nor takes more than a line. */
export function describe(value: unknown): string {
  return shortened(picture(value, 0));
}

const LONGEST_PICTURE = 80;
const MOST_PARTS = 16;

function shortened(text: string): string {
  return text.length > LONGEST_PICTURE ? `${text.slice(0, LONGEST_PICTURE - 1)}…` : text;
}

function picture(value: unknown, depth: number): string {
  if (typeof value === "string") return JSON.stringify(shortened(value));
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  const isList = Array.isArray(value);
  if (!isList && !isPlain(value)) return withArticle(String(value.constructor?.name ?? "object"));
  if (depth === 2) return isList ? "[…]" : "{…}"; // deep enough, and an end for what contains itself
  const parts = isList
    ? value.slice(0, MOST_PARTS).map((part) => picture(part, depth + 1))
    : Object.entries(value)
        .slice(0, MOST_PARTS)
        .map(([key, part]) => `${JSON.stringify(shortened(key))}:${picture(part, depth + 1)}`);
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
