import { describe, VaeError, withArticle } from "../errors.js";
import { Fields, isRecord, noMore, notOptions, suggestion } from "../graph/arguments.js";
import { isArray, isFunction, isPromise, isReadable, letGo } from "../graph/kinds.js";

/**
 * A frozen piece of plain data that says what something is: a layer, an optimizer, a likelihood. What it does is looked
 * up by `kind` in a {@link Registry}, so a whole model is JSON and holds no functions.
 */
export interface Tagged {
  readonly kind: string;
  readonly [option: string]: unknown;
}

declare const family: unique symbol;

/**
 * A {@link Tagged} value of a family, by its name in messages: `"layer"`, `"optimizer"`. The property is there for the type checker
 * alone, no value has it: what one constructor makes is not taken for a member of another family, while a literal `{ kind: "mine" }`,
 * whose type names none, goes anywhere.
 */
export interface Branded<Family extends string> extends Tagged {
  readonly [family]?: Family;
}

/** What every registered behaviour has: a check of untrusted options that fills in the defaults. */
export interface Behaviour {
  /** Reads options with {@link Fields}, throwing `VaeError` for bad ones; gives the complete value. */
  parse(options: Fields): Tagged;
}

/** Characters of a kind's name: hints list them all. */
const LONGEST_KIND = 64;

/** How deep values may nest: layers in layers, schedules in schedules. */
const DEEPEST = 64;

/** The families whose kinds are all the library's so far. */
const loading = new Set<{ close(): void }>();

/** From here on kinds are those of users, who may define theirs again; called by a room when it has defined all of its own. */
export function closeBuiltIns(): void {
  for (const registry of loading) registry.close();
  loading.clear();
}

/** What stands in the call of a constructor. */
interface ConstructorCall {
  /** Arguments with a place of their own, by the name of their option. */
  readonly positional?: Readonly<Record<string, unknown>>;
  readonly options?: unknown;
  /** What was given behind the last argument. */
  readonly surplus: readonly unknown[];
  /** The option that people give by position where it belongs to the options: for the hint. */
  readonly usual?: string;
  /** Default: the kind. */
  readonly operation?: string;
}

/** The behaviours of one family (layers, optimizers, …) by kind. */
export class Registry<B extends Behaviour> {
  readonly #behaviours = new Map<string, B>();
  #builtIn: ReadonlySet<string> = new Set();
  /** What a value was parsed with: a model keeps its behaviours when a kind is defined again. */
  readonly #bound = new WeakMap<object, B>();
  readonly #methods: readonly (keyof B & string)[];
  readonly #optional: readonly (keyof B & string)[];
  readonly #common: (fields: Fields) => object;
  /** What is being parsed: a value may hold others of its family, but not itself. */
  readonly #open = new Set<object>();

  /**
   * @param family what a member is called in messages: `"layer"`, `"likelihood"`, …
   * @param methods that a behaviour must have, beside `parse`
   * @param optional methods that it may leave out
   * @param common reads the options that all members have
   */
  constructor(
    readonly family: string,
    methods: readonly (keyof B & string)[] = [],
    optional: readonly (keyof B & string)[] = [],
    common: (fields: Fields) => object = () => ({}),
  ) {
    this.#common = common;
    this.#methods = ["parse", ...methods];
    this.#optional = optional;
    loading.add(this);
  }

  /** Makes the kinds that there are built-in ones. */
  close(): void {
    this.#builtIn = new Set(this.#behaviours.keys());
  }

  /**
   * Adds a kind. Defined again, as on a hot reload, a kind of a user's is replaced for what is parsed from here on; models
   * that are there keep the behaviour that they were made with. Kinds of the library stay what they are.
   *
   * @param surplus what stood behind the behaviour in the call: an error
   */
  define(kind: string, behaviour: B, surplus: readonly unknown[] = []): void {
    const operation = `define ${this.family}`;
    noMore(operation, surplus);
    if (typeof kind !== "string" || kind === "" || kind.length > LONGEST_KIND) {
      const length = kind === "" || typeof kind !== "string" ? "" : ` of at most ${LONGEST_KIND} characters`;
      throw new VaeError({ code: "argument", operation, expected: `the kind's name, a string${length}`, received: describe(kind) });
    }
    if (this.#builtIn.has(kind)) {
      throw new VaeError({
        code: "argument",
        operation,
        problem: `${describe(kind)} is a built-in ${this.family} and cannot be redefined`,
        hint: `choose another name, such as "my-${kind}"`,
      });
    }
    const isObject = typeof behaviour === "object" && behaviour !== null && isReadable(behaviour);
    const missing = this.#methods.filter((method) => !(isObject && isFunction(behaviour[method])));
    if (missing.length > 0) {
      const expected = `functions ${this.#methods.join(", ")} for ${describe(kind)}`;
      throw new VaeError({ code: "argument", operation, expected, received: `no ${missing.join(", no ")}` });
    }
    const wrong = this.#optional.find((method) => behaviour[method] !== undefined && !isFunction(behaviour[method]));
    if (wrong !== undefined) {
      const received = describe(behaviour[wrong]);
      throw new VaeError({ code: "argument", operation, expected: `${wrong} of ${describe(kind)} to be a function`, received });
    }
    this.#behaviours.set(kind, behaviour);
  }

  /** The behaviour of a value. */
  of(value: Tagged, operation = this.family): B {
    const behaviour = this.#bound.get(value) ?? this.#behaviours.get(value.kind);
    if (behaviour === undefined) throw this.#unknown(value.kind, operation);
    return behaviour;
  }

  /** What the constructor of a kind makes of its arguments; all that would be ignored is an error. */
  construct(kind: string, call: ConstructorCall): Tagged {
    const { positional = {}, options = {}, surplus, usual, operation = kind } = call;
    const example = (value: unknown): string | undefined => {
      if (usual === undefined) return undefined;
      const isShort = typeof value === "number" || typeof value === "string";
      return `${operation}(${[...Object.values(positional).map(describe), `{ ${usual}: ${isShort ? describe(value) : "…"} }`].join(", ")})`;
    };
    if (!isRecord(options)) throw notOptions(operation, options, example(options));
    noMore(operation, surplus, example(surplus[0]));
    const { kind: given = kind, ...rest } = options;
    if (given !== kind) {
      throw new VaeError({
        code: "argument",
        operation,
        expected: `options of kind ${describe(kind)}`,
        received: `kind ${describe(given)}`,
      });
    }
    const twice = Object.keys(positional).find((name) => Object.hasOwn(rest, name));
    if (twice !== undefined) {
      throw new VaeError({
        code: "argument",
        operation,
        problem: `${twice} is given by position and as an option`,
        expected: "one of them",
      });
    }
    return this.parse({ ...rest, ...positional, kind }, operation);
  }

  /** Checks a kind's name or a tagged value, fills in defaults and freezes the result. */
  parse(value: unknown, operation: string): Tagged {
    const raw = typeof value === "string" ? { kind: value } : value;
    // Read once: getters and proxies may say something else the next time.
    const { kind, ...options } = isRecord(raw) ? raw : { kind: undefined };
    if (!isRecord(raw) || typeof kind !== "string") {
      throw new VaeError({
        code: "argument",
        operation,
        expected: `${withArticle(this.family)}: a kind's name or a value with a "kind"`,
        received: describe(value),
        hint: `kinds: ${this.#listed()}`,
      });
    }
    const behaviour = this.#behaviours.get(kind);
    if (behaviour === undefined) throw this.#unknown(kind, operation);
    if (this.#open.has(raw)) {
      throw new VaeError({ code: "argument", operation, problem: `the ${this.family} of kind ${describe(kind)} contains itself` });
    }
    if (this.#open.size >= DEEPEST) {
      // Every level puts its own name before the error's: the whole path would fill the message with one word.
      throw new VaeError({ code: "argument", operation: this.family, problem: `nested more than ${DEEPEST} deep` });
    }
    // `dense: expected units …` rather than `dense: dense: …` for what dense(…) itself was given.
    const fields = new Fields(operation === kind ? operation : `${operation}: ${kind}`, options);
    this.#open.add(raw);
    try {
      const common = this.#common(fields);
      const parsed: unknown = behaviour.parse(fields);
      fields.finish();
      const complete = this.#checked(parsed, common, kind, fields.operation);
      this.#bound.set(complete, behaviour);
      return complete;
    } finally {
      this.#open.delete(raw);
    }
  }

  /** The value itself where it was parsed; else what {@link Registry.parse} makes of it. */
  parsed(value: unknown, operation: string): Tagged {
    return typeof value === "object" && value !== null && this.#bound.has(value) ? (value as Tagged) : this.parse(value, operation);
  }

  kinds(): readonly string[] {
    return [...this.#behaviours.keys()];
  }

  /** The kinds for a hint, those in quotes that could not be told from the sentence. */
  #listed(): string {
    return this.kinds()
      .map((kind) => (/^[\w.:/-]+$/.test(kind) ? kind : describe(kind)))
      .join(", ");
  }

  /** What a behaviour's `parse` gave, as a frozen value of its kind. */
  #checked(parsed: unknown, common: object, kind: string, operation: string): Tagged {
    letGo(parsed);
    if (isRecord(parsed) && parsed.kind === kind) return freezePlain({ ...parsed, ...common }, operation) as Tagged;
    throw new VaeError({
      code: "argument",
      operation,
      problem: `wrong result of parse, as defined for the ${this.family} ${describe(kind)}`,
      expected: `an object { kind: ${describe(kind)}, … }`,
      received: describe(parsed),
      ...(isPromise(parsed) ? { hint: "parse must not be async" } : {}),
    });
  }

  #unknown(kind: string, operation: string): VaeError {
    return new VaeError({
      code: "argument",
      operation,
      problem: `unknown ${this.family} kind ${describe(kind)}`,
      hint: `${suggestion(kind, this.kinds())}kinds: ${this.#listed()}`,
    });
  }
}

/** What is known to be plain: values that hold others are not looked through again at every level. */
const plain = new WeakSet<object>();

/**
 * Freezes a value with all that it holds.
 *
 * @throws VaeError `"argument"` where it holds what JSON cannot: a model could be made of it, and not be saved
 */
export function freezePlain(value: unknown, operation: string, place = "", depth = 0): unknown {
  if (value === null || typeof value === "string" || typeof value === "boolean" || Number.isFinite(value)) return value;
  const known = (isArray(value) || isRecord(value)) && depth <= DEEPEST;
  if (!known) {
    throw new VaeError({
      code: "argument",
      operation,
      problem: `${place === "" ? "the value" : describe(place)} cannot be saved with a model`,
      expected: "plain data: finite numbers, strings, booleans, null, arrays and plain objects",
      received: depth > DEEPEST ? `nested more than ${DEEPEST} deep` : describe(value),
    });
  }
  if (plain.has(value)) return value;
  for (const name of Object.keys(value)) {
    const part = (value as Readonly<Record<string, unknown>>)[name];
    if (part !== undefined) freezePlain(part, operation, place === "" ? name : `${place}.${name}`, depth + 1);
  }
  plain.add(value);
  return Object.freeze(value);
}
