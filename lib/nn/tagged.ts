import { describe, VaeError, withArticle } from "../errors.js";
import { Fields, isRecord, suggestion } from "../graph/arguments.js";

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
  readonly #methods: readonly (keyof B & string)[];
  /** What is being parsed: a value may hold others of its family, but not itself. */
  readonly #open = new Set<object>();

  /**
   * @param family what a member is called in messages: `"layer"`, `"likelihood"`, …
   * @param methods that a behaviour must have, beside `parse`
   */
  constructor(
    readonly family: string,
    methods: readonly (keyof B & string)[] = [],
  ) {
    this.#methods = ["parse", ...methods];
  }

  /** Adds a kind; a second definition of a kind is an error, so that nothing changes meaning behind a model's back. */
  define(kind: string, behaviour: B): void {
    const operation = `define ${this.family}`;
    if (typeof kind !== "string" || kind === "") {
      throw new VaeError({ code: "argument", operation, expected: "the kind's name", received: describe(kind) });
    }
    if (this.#behaviours.has(kind)) {
      throw new VaeError({ code: "argument", operation, problem: `${describe(kind)} is defined already` });
    }
    const missing = this.#methods.filter((method) => typeof behaviour?.[method] !== "function");
    if (missing.length > 0) {
      const expected = `functions ${this.#methods.join(", ")} for ${describe(kind)}`;
      throw new VaeError({ code: "argument", operation, expected, received: `no ${missing.join(", no ")}` });
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
        expected: `${withArticle(this.family)}: a kind's name or a value with a "kind"`,
        received: describe(value),
        hint: `kinds: ${this.kinds().join(", ")}`,
      });
    }
    const behaviour = this.of(raw as Tagged, operation);
    if (this.#open.has(raw)) {
      throw new VaeError({ code: "argument", operation, problem: `the ${this.family} of kind ${describe(raw.kind)} contains itself` });
    }
    const { kind, ...options } = raw;
    // `dense: expected units …` rather than `dense: dense: …` for what dense(…) itself was given.
    const fields = new Fields(operation === kind ? operation : `${operation}: ${String(kind)}`, options);
    this.#open.add(raw);
    try {
      const parsed = behaviour.parse(fields);
      fields.finish();
      return deepFreeze(parsed);
    } finally {
      this.#open.delete(raw);
    }
  }

  kinds(): readonly string[] {
    return [...this.#behaviours.keys()];
  }

  #unknown(kind: string, operation: string): VaeError {
    return new VaeError({
      code: "argument",
      operation,
      problem: `there is no ${this.family} of kind ${describe(kind)}`,
      hint: `${suggestion(kind, this.kinds())}kinds: ${this.kinds().join(", ")}`,
    });
  }
}

export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  for (const part of Object.values(value)) deepFreeze(part);
  return Object.freeze(value);
}
