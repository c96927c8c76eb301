// Which optimizer, rate and loss each parameter has: groups by patterns of names.
import { describe, VaeError } from "../errors.js";
import { Fields, isRecord, suggestion } from "../graph/arguments.js";
import { isArray } from "../graph/kinds.js";
import { type NamedParameter, type Optimizer, parseOptimizer } from "../nn/index.js";

/** Parameters that are trained alike. */
export interface ParameterGroup {
  /**
   * Patterns of names. A name is a path, `encoder.0.weight`; `*` stands for any part of it, `**` for any number of parts, and
   * what begins a path stands for all below it: `encoder`, `encoder.0`, `*.head`, `**.bias`.
   */
  readonly select: readonly string[];
  /**
   * Default: the training's. `"frozen"` parameters stay as they are, running statistics among them. Its schedules begin with the
   * training that it is given to.
   */
  readonly optimizer?: Optimizer | "frozen";
  /** A factor on the optimizer's own learning rate; default 1. */
  readonly rate?: number;
  /** The term that these parameters minimise; default `"loss"`. */
  readonly loss?: string;
}

/** The options of a training that say how each parameter is trained. */
export interface GroupOptions {
  /**
   * A parameter belongs to the first group that selects it. What no group selects is trained by the training's own `optimizer`, and
   * minimises `loss`.
   */
  readonly groups?: readonly ParameterGroup[];
  /** Patterns of names of parameters that stay as they are, to the bit: short for a first group of `optimizer: "frozen"`. */
  readonly freeze?: readonly string[];
  /**
   * Factors on learning rates, by patterns of names: `{ encoder: 0.1, "**.bias": 2 }`. The first that fits a name holds, multiplied by
   * the `rate` of its group; 0 freezes.
   */
  readonly rates?: Readonly<Record<string, number>>;
}

/** Checked {@link GroupOptions}. */
export interface Grouping {
  readonly groups: readonly ParameterGroup[];
  readonly rates: readonly (readonly [pattern: string, factor: number])[];
}

/** Reads the options of a training that say how each parameter is trained. */
export function readGrouping(fields: Fields): Grouping {
  const patterns = (owner: Fields, name: string): readonly string[] => {
    const given = owner.raw(name);
    const isPatterns = isArray(given) && Array.from(given).every((pattern) => typeof pattern === "string" && pattern !== "");
    if (!isPatterns || given.length === 0) throw owner.wrong(name, 'patterns of names, such as ["encoder", "**.bias"]');
    return [...(given as readonly string[])];
  };
  const frozen = fields.raw("freeze") === undefined || (isArray(fields.raw("freeze")) && (fields.raw("freeze") as unknown[]).length === 0);
  const freeze = frozen ? [] : [{ select: patterns(fields, "freeze"), optimizer: "frozen" as const }];
  const rates = fields.given("rates", {});
  if (!isRecord(rates)) throw fields.wrong("rates", "factors by patterns of names: { encoder: 0.1 }");
  const factors = new Fields(`${fields.operation} rates`, rates);
  const list = fields.given("groups", []);
  if (!isArray(list)) throw fields.wrong("groups", 'an array of groups: [{ select: ["encoder"], rate: 0.1 }]');
  const groups = Array.from(list, (value, index): ParameterGroup => {
    const group = new Fields(`${fields.operation} groups[${index}]`, value);
    const optimizer = group.raw("optimizer");
    const loss = group.given("loss", "loss");
    if (typeof loss !== "string") throw group.wrong("loss", "the name of a term");
    const parsed = {
      select: patterns(group, "select"),
      ...(optimizer === undefined
        ? {}
        : { optimizer: optimizer === "frozen" ? ("frozen" as const) : parseOptimizer(optimizer, `${group.operation} optimizer`) }),
      rate: group.number("rate", { minimum: 0 }, 1),
      loss,
    };
    group.finish();
    return parsed;
  });
  return {
    groups: [...freeze, ...groups],
    rates: Object.keys(rates).map((pattern) => [pattern, factors.number(pattern, { minimum: 0 })]),
  };
}

/** How one parameter is trained. */
export interface Assignment {
  readonly parameter: NamedParameter;
  /** Undefined: the training's own. */
  readonly optimizer: Optimizer | undefined;
  readonly rate: number;
  readonly loss: string;
}

/** What {@link assign} gives. */
export interface Assignments {
  readonly trained: readonly Assignment[];
  /** Names of all that stays as it is, running statistics among them. */
  readonly frozen: ReadonlySet<string>;
}

/**
 * Assigns parameters to groups.
 *
 * @throws VaeError `"argument"` for a pattern that fits no name, or where nothing is left to train
 */
export function assign(parameters: readonly NamedParameter[], { groups, rates }: Grouping, operation: string): Assignments {
  const names = parameters.map(({ name }) => name);
  for (const pattern of [...groups.flatMap(({ select }) => select), ...rates.map(([pattern]) => pattern)]) {
    if (names.some((name) => matches(pattern, name))) continue;
    const known = [...new Set(names.flatMap((name) => name.split(".").map((_, index, parts) => parts.slice(0, index + 1).join("."))))];
    throw new VaeError({
      code: "argument",
      operation,
      problem: `no parameter fits the pattern ${describe(pattern)}`,
      hint: `${suggestion(pattern, known)}parameters(): ${names.slice(0, 4).join(", ")}${names.length > 4 ? ", …" : ""}`,
    });
  }
  const trained: Assignment[] = [];
  const frozen = new Set<string>();
  for (const parameter of parameters) {
    const { name } = parameter;
    const group = groups.find(({ select }) => select.some((pattern) => matches(pattern, name)));
    const factor = rates.find(([pattern]) => matches(pattern, name))?.[1] ?? 1;
    const rate = factor * (group?.rate ?? 1);
    const optimizer = group?.optimizer;
    if (optimizer === "frozen" || rate === 0) frozen.add(name);
    else if (parameter.trainable !== false) trained.push({ parameter, optimizer, rate, loss: group?.loss ?? "loss" });
  }
  if (trained.length > 0) return { trained, frozen };
  throw new VaeError({ code: "argument", operation, problem: "every parameter is frozen", expected: "at least one that is trained" });
}

/** Whether a pattern fits a name, or stands above it. */
export function matches(pattern: string, name: string): boolean {
  const from = (parts: readonly string[], names: readonly string[]): boolean => {
    const [part, ...rest] = parts;
    if (part === undefined) return true; // the pattern stands above the name
    if (part === "**") return rest.length === 0 || names.some((_, index) => from(rest, names.slice(index)));
    const [first, ...others] = names;
    return first !== undefined && fits(part, first) && from(rest, others);
  };
  return from(pattern.split("."), name.split("."));
}

function fits(part: string, name: string): boolean {
  if (!part.includes("*")) return part === name;
  const expression = part.split("*").map((text) => text.replace(/[^\w]/g, "\\$&"));
  return new RegExp(`^${expression.join(".*")}$`).test(name);
}
