// What callers hand over, checked: options by name, and arrays whose memory may be gone. It stands in this room because all
// that check may import it.
import { describe, VaeError } from "../errors.js";
import { isAbortSignal, isArray } from "./kinds.js";
import { type Shape, shapeInstead } from "./tensor.js";

/**
 * True for a plain object: what `{}` or JSON makes, in whichever realm, or one without a prototype. Arrays, typed arrays, Maps,
 * Dates and instances of classes are none: their contents are not options, and reading them as such would pass over all of them.
 */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  try {
    if (isArray(value)) return false;
    const prototype: unknown = Object.getPrototypeOf(value);
    return prototype === null || Object.getPrototypeOf(prototype) === null;
  } catch {
    return false; // a proxy that was revoked
  }
}

/**
 * The argument itself where it is an array of which every element passes, holes being undefined.
 *
 * @param expected in words, with the argument's name: `start to be an array of whole numbers`
 */
export function listOf<T>(operation: string, value: readonly T[], expected: string, passes: (element: unknown) => boolean): readonly T[] {
  if (isArray(value) && Array.from<unknown>(value).every(passes)) return value;
  throw new VaeError({ code: "argument", operation, expected, received: describe(value) });
}

/**
 * The error for what was given in the place of options: most often a value by position. `example` is a call that is right.
 */
export function notOptions(operation: string, received: unknown, example?: string): VaeError {
  const parts = { code: "argument", operation, expected: "an object of options", received: describe(received) } as const;
  return new VaeError(example === undefined ? parts : { ...parts, hint: `options are given by name: ${example}` });
}

/**
 * Throws when a function was called with more arguments than it takes: they would be ignored, and nobody would hear of it.
 *
 * @param surplus the arguments behind the last one
 */
export function noMore(operation: string, surplus: readonly unknown[], example?: string): void {
  if (surplus.length === 0) return;
  throw new VaeError({
    code: "argument",
    operation,
    problem: "too many arguments",
    received: surplus.map(describe).join(", "),
    ...(example === undefined ? {} : { hint: `options are given by name: ${example}` }),
  });
}

/**
 * Whether the surplus arguments are what `map` and `reduce` hand to a function beside its operands, as in `tensors.map(exp)`,
 * `tensors.reduce(add)` and `sets.map(preparation.apply)`: an index and the array.
 */
export function isCallback(surplus: readonly unknown[]): boolean {
  return surplus.length === 2 && typeof surplus[0] === "number" && isArray(surplus[1]);
}

/**
 * The options, read once, so that a getter cannot give what was not checked; throws where they are no object, or have a name that is not known: a misspelt option would change
 * nothing, and nobody would hear of it.
 *
 * @param flags those that are true or false
 */
export function checkOptions<Options>(
  operation: string,
  options: Options,
  known: readonly (keyof Options & string)[],
  flags: readonly (keyof Options & string)[] = [],
): Options {
  if (!isRecord(options)) throw notOptions(operation, options);
  const read = { ...options };
  const names: readonly string[] = known;
  const unknown = Object.keys(read).find((name) => !names.includes(name));
  if (unknown === undefined) {
    for (const name of flags) {
      const flag: unknown = read[name];
      if (flag === undefined || typeof flag === "boolean") continue;
      throw new VaeError({ code: "argument", operation, expected: `${name} to be true or false`, received: describe(flag) });
    }
    return read;
  }
  throw new VaeError({
    code: "argument",
    operation,
    problem: `unknown option ${describe(unknown)}`,
    hint: `${suggestion(unknown, names)}options: ${names.join(", ") || "none"}`,
  });
}

/** Longer names are no slips of the keyboard. */
const LONGEST_NAME = 64;

/** `did you mean "dense"? `, or nothing when no name is near. */
export function suggestion(name: string, names: readonly string[]): string {
  if (name.length > LONGEST_NAME) return "";
  let nearest = "";
  let least = Math.max(1, Math.floor(name.length / 2)) + 1;
  for (const candidate of names) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < least) [nearest, least] = [candidate, distance];
  }
  return nearest === "" ? "" : `did you mean "${nearest}"? `;
}

/** Levenshtein's distance: insertions, deletions and replacements. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

/** Bounds of a number: `minimum` and `maximum` are allowed values, `above` and `below` are not. */
export interface NumberBounds {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly above?: number;
  readonly below?: number;
  readonly integer?: boolean;
}

/** Names of options that cannot be told from the words of a sentence: `expected "to" to be a finite number`. */
const WORDS: ReadonlySet<string> = new Set(["to", "from"]);

/** `1 number`, `3 numbers`. */
export function numbers(count: number): string {
  return `${count} number${count === 1 ? "" : "s"}`;
}

/** `a`, `a or b`, `a, b or c`. */
export function eitherOf(texts: readonly string[]): string {
  return texts.length < 2 ? texts.join() : `${texts.slice(0, -1).join(", ")} or ${texts.at(-1)}`;
}

/** Untrusted options, read one by one; {@link Fields.finish} complains about those that nobody read. */
export class Fields {
  readonly #raw: Readonly<Record<string, unknown>>;
  readonly #known = new Set<string>();

  constructor(
    readonly operation: string,
    raw: unknown,
  ) {
    if (!isRecord(raw)) throw notOptions(operation, raw);
    this.#raw = raw;
  }

  /** The value as it is, or undefined. */
  raw(name: string): unknown {
    this.#known.add(name);
    return this.#raw[name];
  }

  /** The value as it is, or `fallback` where it was left out; null was not. */
  given(name: string, fallback: unknown): unknown {
    const value = this.raw(name);
    return value === undefined ? fallback : value;
  }

  /** A finite number within bounds; `fallback` when absent. Without a fallback it must be there. */
  number(name: string, bounds: NumberBounds = {}, fallback?: number): number {
    const value = this.given(name, fallback);
    if (typeof value !== "number" || !Number.isFinite(value) || !within(value, bounds)) throw this.wrong(name, describeBounds(bounds));
    return value;
  }

  /** One of a few strings. */
  choice<const Choice extends string>(name: string, choices: readonly Choice[], fallback?: Choice): Choice {
    const value = this.given(name, fallback);
    const found = choices.find((choice) => choice === value);
    if (found !== undefined) return found;
    const near = typeof value === "string" ? suggestion(value, choices) : "";
    throw this.wrong(name, eitherOf(choices.map((choice) => `"${choice}"`)), near.trim());
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.given(name, fallback);
    if (typeof value !== "boolean") throw this.wrong(name, "true or false");
    return value;
  }

  /** A shape: whole numbers of at least 1. */
  shape(name: string): Shape {
    const value = this.raw(name);
    const expected = shapeInstead(value);
    if (expected !== undefined) throw this.wrong(name, expected, "", "shape");
    return value as Shape;
  }

  /** The error for a field, for checks that the methods above do not make. */
  wrong(name: string, expected: string, hint = "", code: "argument" | "shape" = "argument"): VaeError {
    const shown = WORDS.has(name) ? `"${name}"` : name;
    const parts = { code, operation: this.operation, expected: `${shown} to be ${expected}`, received: describe(this.#raw[name]) };
    return new VaeError(hint === "" ? parts : { ...parts, hint });
  }

  /** Throws when an option was given that nobody asked for. */
  finish(): void {
    checkOptions(this.operation, this.#raw, [...this.#known]);
  }
}

/** The option `signal`; undefined when left out. */
export function signalOption(fields: Fields): AbortSignal | undefined {
  const signal = fields.raw("signal");
  if (signal === undefined || isAbortSignal(signal)) return signal;
  throw fields.wrong("signal", "an AbortSignal");
}

function within(value: number, { minimum, maximum, above, below, integer }: NumberBounds): boolean {
  return (
    value >= (minimum ?? Number.NEGATIVE_INFINITY) &&
    value <= (maximum ?? Number.POSITIVE_INFINITY) &&
    value > (above ?? Number.NEGATIVE_INFINITY) &&
    value < (below ?? Number.POSITIVE_INFINITY) &&
    (integer !== true || Number.isSafeInteger(value))
  );
}

/** `a whole number of at least 1 and at most 1024`, `a finite number above 0`, … */
function describeBounds({ minimum, maximum, above, below, integer }: NumberBounds): string {
  const bounds = [
    minimum === undefined ? "" : `of at least ${minimum}`,
    above === undefined ? "" : `above ${above}`,
    maximum === undefined || maximum === Number.MAX_SAFE_INTEGER
      ? ""
      : `${minimum === undefined && above === undefined ? "of " : ""}at most ${maximum}`,
    below === undefined ? "" : `below ${below}`,
  ].filter((bound) => bound !== "");
  return [integer === true ? "a whole number" : "a finite number", bounds.join(" and ")].filter((part) => part !== "").join(" ");
}

/**
 * Throws `"detached"` when the array's buffer was transferred (to a worker, by `structuredClone`) or resized below it. An array
 * that is merely empty passes.
 *
 * @param array a typed array of any kind
 */
export function checkAttached(operation: string, array: ArrayBufferView, what = "the data"): void {
  if (array.byteLength > 0) return;
  try {
    // Like every method of typed arrays, at() refuses a buffer that is gone or too short, and tells it from an empty one.
    Uint8Array.prototype.at.call(array, 0);
  } catch (cause) {
    throw new VaeError({
      code: "detached",
      operation,
      problem: `the buffer of ${what} was transferred or resized`,
      hint: "hand over a copy, array.slice(), or transfer the buffer once the promise has resolved",
      cause,
    });
  }
}
