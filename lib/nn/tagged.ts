import { VaeError } from "../errors.js";

/**
 * A frozen piece of plain data that says what something is: a layer, an optimizer, a likelihood. What it does is looked
 * up by `kind` in a {@link Registry}, so a whole model is JSON and holds no functions.
 */
export interface Tagged {
  readonly kind: string;
  readonly [option: string]: unknown;
}

/** What every registered behaviour has: a check of untrusted options that fills in the defaults. */
export interface Behaviour {
  /** Reads options with {@link Fields}, throwing `VaeError` for bad ones; gives the complete value. */
  parse(options: Fields): Tagged;
}

/** The behaviours of one family (layers, optimizers, …) by kind. */
export class Registry<B extends Behaviour> {
  readonly #behaviours = new Map<string, B>();

  /** @param family what a member is called in messages: `"layer"`, `"likelihood"`, … */
  constructor(readonly family: string) {}

  /** Adds a kind; a second definition of a kind is an error, so that nothing changes meaning behind a model's back. */
  define(kind: string, behaviour: B): void {
    if (this.#behaviours.has(kind)) {
      throw new VaeError({ code: "argument", operation: `define ${this.family}`, problem: `"${kind}" is defined already` });
    }
    this.#behaviours.set(kind, behaviour);
  }

  /** The behaviour of a value. */
  of(value: Tagged, operation = this.family): B {
    const behaviour = this.#behaviours.get(value.kind);
    if (behaviour === undefined) throw this.#unknown(value.kind, operation);
    return behaviour;
  }

  /** Checks a kind's name or a tagged value, fills in defaults and freezes the result. */
  parse(value: unknown, operation: string): Tagged {
    const raw = typeof value === "string" ? { kind: value } : value;
    if (!isRecord(raw) || typeof raw.kind !== "string") {
      throw new VaeError({
        code: "argument",
        operation,
        expected: `a ${this.family}: a kind's name or a value with a "kind"`,
        received: describe(value),
        hint: `kinds: ${this.kinds().join(", ")}`,
      });
    }
    const behaviour = this.#behaviours.get(raw.kind);
    if (behaviour === undefined) throw this.#unknown(raw.kind, operation);
    const { kind, ...options } = raw;
    const fields = new Fields(`${operation}: ${String(kind)}`, options);
    const parsed = behaviour.parse(fields);
    fields.finish();
    return deepFreeze(parsed);
  }

  kinds(): readonly string[] {
    return [...this.#behaviours.keys()];
  }

  #unknown(kind: string, operation: string): VaeError {
    return new VaeError({
      code: "argument",
      operation,
      problem: `there is no ${this.family} of kind "${kind}"`,
      hint: `${suggestion(kind, this.kinds())}kinds: ${this.kinds().join(", ")}`,
    });
  }
}

/** Bounds of a number: `minimum` and `maximum` are allowed values, `above` and `below` are not. */
export interface NumberBounds {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly above?: number;
  readonly below?: number;
  readonly integer?: boolean;
}

/** Untrusted options, read one by one; {@link Fields.finish} complains about those that nobody read. */
export class Fields {
  readonly #raw: Readonly<Record<string, unknown>>;
  readonly #known = new Set<string>();

  constructor(
    readonly operation: string,
    raw: unknown,
  ) {
    if (!isRecord(raw)) throw new VaeError({ code: "argument", operation, expected: "an object of options", received: describe(raw) });
    this.#raw = raw;
  }

  /** The value as it is, or undefined. */
  raw(name: string): unknown {
    this.#known.add(name);
    return this.#raw[name];
  }

  /** A finite number within bounds; `fallback` when absent. Without a fallback it must be there. */
  number(name: string, bounds: NumberBounds = {}, fallback?: number): number {
    const value = this.raw(name) ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value) || !within(value, bounds)) throw this.wrong(name, describeBounds(bounds));
    return value;
  }

  /** One of a few strings. */
  choice<const Choice extends string>(name: string, choices: readonly Choice[], fallback?: Choice): Choice {
    const value = this.raw(name) ?? fallback;
    const found = choices.find((choice) => choice === value);
    if (found !== undefined) return found;
    throw this.wrong(name, choices.map((choice) => `"${choice}"`).join(", "), suggestion(String(value), choices));
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.raw(name) ?? fallback;
    if (typeof value !== "boolean") throw this.wrong(name, "true or false");
    return value;
  }

  /** A shape: whole numbers of at least 1. */
  shape(name: string): readonly number[] {
    const value = this.raw(name);
    if (!Array.isArray(value) || !value.every((dimension) => Number.isSafeInteger(dimension) && dimension >= 1)) {
      throw this.wrong(name, "a shape of whole numbers of at least 1", "", "shape");
    }
    return value;
  }

  /** The error for a field, for checks that the methods above do not make. */
  wrong(name: string, expected: string, hint = "", code: "argument" | "shape" = "argument"): VaeError {
    const parts = { code, operation: this.operation, expected: `${name} to be ${expected}`, received: describe(this.#raw[name]) };
    return new VaeError(hint === "" ? parts : { ...parts, hint });
  }

  /** Throws when an option was given that nobody asked for. */
  finish(): void {
    for (const name of Object.keys(this.#raw)) {
      if (this.#known.has(name)) continue;
      const known = [...this.#known];
      throw new VaeError({
        code: "argument",
        operation: this.operation,
        problem: `there is no option "${name}"`,
        hint: `${suggestion(name, known)}options: ${known.join(", ") || "none"}`,
      });
    }
  }
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

function describeBounds({ minimum, maximum, above, below, integer }: NumberBounds): string {
  const bounds = [
    minimum === undefined ? "" : `at least ${minimum}`,
    above === undefined ? "" : `above ${above}`,
    maximum === undefined ? "" : `at most ${maximum}`,
    below === undefined ? "" : `below ${below}`,
  ].filter((bound) => bound !== "");
  return [integer === true ? "a whole number" : "a finite number", bounds.join(" and ")].filter((part) => part !== "").join(" ");
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/** A short picture of a value for messages. */
export function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (ArrayBuffer.isView(value)) return `a ${value.constructor.name}`;
  if (typeof value === "function") return "a function";
  if (typeof value === "number") return String(value);
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

/** `did you mean "dense"? `, or nothing when no name is near. */
export function suggestion(name: string, names: readonly string[]): string {
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

export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
