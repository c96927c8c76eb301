// How a model is wired: which networks lead from observed fields to latents and back.

import {
  type Asked,
  contributionsOf,
  type Distribution,
  distributionOf,
  type FamilyContext,
  families,
  type Likelihood,
  type Role,
  tensorOf,
  wrongResult,
} from "../distributions/index.js";
import { describe, VaeError } from "../errors.js";
import { isRecord, noMore } from "../graph/arguments.js";
import { isTensor, reshapeTensor, type Shape, showShape, sizeOf, type Tensor } from "../graph/index.js";
import { isReadable, letGo, propertiesOf } from "../graph/kinds.js";
import { shapeInstead } from "../graph/tensor.js";
import { type Behaviour, type Branded, type Declared, Fields, Registry, type Scope, type Tagged } from "../nn/index.js";
import type { Trace } from "./trace.js";

/** Tensors of fields by name, `[rows, …shape]` each. */
export type Batch = Readonly<Record<string, Tensor>>;

/** A wiring, as frozen plain data. */
export type Wiring = Branded<"wiring">;

/**
 * What the wirings of one kind do. The built-in one, `flat`, has one latent `z`, an encoder and a decoder; a ladder of latents, a
 * model of sets or of several modalities is another one.
 */
export interface WiringBehaviour<W extends Wiring = Wiring, D extends Declared = Declared> extends Behaviour {
  parse(options: Fields): W;
  /** Networks, parameters and, as parts, what families declare. @param fields shapes of one row's fields, conditions left out */
  declare(wiring: W, fields: Readonly<Record<string, Shape>>): D;
  /**
   * The likelihood of each observed field: it decides which values the field may have, how bytes are scaled, and what is changed
   * before anything sees it.
   */
  observations(wiring: W, fields: Readonly<Record<string, Shape>>): Readonly<Record<string, Likelihood>>;
  /**
   * Infers the latents of a batch and, from draws of them, the distributions of what was observed.
   *
   * @param batch observed fields as rows, `[rows, size]` each, prepared by their likelihoods
   * @param samples draws for each row; with more than one, all tensors have rows · samples rows, those of one row side by side
   *   ({@link repeatRows})
   */
  trace(wiring: W, batch: Batch, scope: Scope<D>, samples: number): Trace;
  /**
   * The distributions of what is observed, by field, given latents `[rows, size]`; those that are left out are drawn from their priors
   * with the scope's noise. `decode` and `sample` give the mean of x's. What it needs of the fields' shapes is in the wiring, or in
   * what its networks give.
   */
  generate(wiring: W, latents: Readonly<Record<string, Tensor>>, rows: number, scope: Scope<D>): Readonly<Record<string, Distribution>>;
}

export const wirings = new Registry<WiringBehaviour>("wiring", ["declare", "observations", "trace", "generate"]);

/**
 * Adds a kind of wiring, for `vae({ wiring: { kind, … }, fields: { x: [784] } })` and for {@link load}. ARCHITECTURE.md has a complete
 * one of two levels of latents. A trace with the latents `z1` and `z2` gives rows of `encode` in which z2 stands behind z1.
 *
 * @throws VaeError `"argument"` for a built-in kind, or a behaviour without one of its functions
 */
export function defineWiring<W extends Wiring, D extends Declared = Declared>(
  kind: string,
  behaviour: WiringBehaviour<W, D>,
  ...surplus: never[]
): void {
  wirings.define(kind, behaviour as WiringBehaviour<W>, surplus);
}

/** A family in its role, to be used by wirings: its results are checked. */
export interface FamilyOf {
  /** The family as complete data. */
  readonly value: Tagged;
  /** What a network must give for a value of shape `event`; undefined where none is needed. */
  headShape(event: Shape): Shape | undefined;
  /** What it declares: for `parts` of a wiring. */
  declare(event: Shape): Declared;
  /** @param head `[rows, …headShape]`, or undefined */
  distribution(head: Tensor | undefined, context: FamilyContext): Distribution;
}

/**
 * A family by its kind's name or as data, for wirings to declare and to make distributions with. Its results are checked.
 *
 * @example
 * ```ts
 * const likelihood = familyOf("likelihood", bernoulli());
 * // in declare: networks: { decoder: { layers, input: [8], output: likelihood.headShape([784])! } },
 * //             parts: { likelihood: likelihood.declare([784]) }
 * // in trace:   likelihood.distribution(scope.network("decoder")(z), { event: [784], rows, scope: scope.part("likelihood") })
 * ```
 *
 * @throws VaeError `"argument"` for an unknown kind or option
 */
export function familyOf<R extends Role>(role: R, given: string | Branded<NoInfer<R>>, ...surplus: never[]): FamilyOf {
  noMore("familyOf", surplus);
  new Fields("familyOf", { role }).choice("role", ["posterior", "prior", "likelihood"]);
  const registry = families[role];
  const value = registry.parsed(given, role);
  const behaviour = registry.of(value);
  return {
    value,
    headShape: (event) => headOf(`${role} ${value.kind}`, behaviour.headShape?.(value, event)),
    declare: (event) => behaviour.declare?.(value, event) ?? {},
    distribution: (head, context) => {
      const { rows, event } = context;
      const flat = head === undefined ? undefined : reshapeTensor(head, [rows, sizeOf(head.shape.slice(1))]);
      return distributionOf(role, value.kind, behaviour.distribution(value, flat, context), rows, sizeOf(event));
    },
  };
}

/** What a part says that it wants from the layers, checked: users define parts. */
function headOf(operation: string, shape: Shape | undefined): Shape | undefined {
  if (shape === undefined) return undefined;
  const expected = shapeInstead(shape) ?? (shape.length === 0 ? "a shape of at least one axis" : undefined);
  if (expected === undefined) return shape;
  letGo(shape);
  throw new VaeError({ code: "shape", operation, expected: `headShape to give ${expected}`, received: describe(shape) });
}

/** The likelihoods of a wiring's observed fields, which may be plain data. */
export function observationsOf(wiring: Wiring, fields: Readonly<Record<string, Shape>>): Readonly<Record<string, Likelihood>> {
  const asked: Asked = { family: "wiring", part: wiring.kind, method: "observations" };
  const result: unknown = wirings.of(wiring).observations(wiring, fields);
  if (!isRecord(result)) throw wrongResult(asked, "argument", "likelihoods by the names of fields", result);
  const unknown = Object.keys(result).find((name) => !Object.hasOwn(fields, name));
  if (unknown !== undefined) throw wrongResult(asked, "argument", `likelihoods of the fields ${Object.keys(fields).join(", ")}`, unknown);
  const operation = `wiring ${wiring.kind} observations`;
  return Object.fromEntries(
    Object.entries(result).map(([name, likelihood]) => [name, families.likelihood.parsed(likelihood, `${operation}.${name}`)]),
  );
}

/** A wiring with its results checked, since users define wirings. */
export function traceOf(wiring: Wiring, batch: Batch, scope: Scope, samples: number): Trace {
  const asked = (method: string): Asked => ({ family: "wiring", part: wiring.kind, method });
  const result: unknown = wirings.of(wiring).trace(wiring, batch, scope, samples);
  const { latents, observations } = propertiesOf(result) as Partial<Trace>;
  const isObject = (value: unknown): value is object => typeof value === "object" && value !== null && isReadable(value);
  if (!isObject(latents) || !isObject(observations) || Object.keys(observations).length === 0) {
    throw wrongResult(asked("trace"), "argument", "an object { latents, observations } with at least one observation", result);
  }
  for (const [name, part] of Object.entries(latents)) {
    const { draw, posterior, prior } = propertiesOf(part) as Partial<Trace["latents"][string]>;
    const { value, logDensity } = propertiesOf(draw) as Partial<Trace["latents"][string]["draw"]>;
    if (!isObject(posterior) || !isObject(prior))
      throw wrongResult(asked("trace"), "argument", `"${name}" as { posterior, prior, draw }`, part);
    const { shape = [] } = (value ?? {}) as Tensor;
    tensorOf(asked(`trace().latents.${name}.draw.value`), value, shape.length === 2 ? shape : [shape[0] ?? 1, 1]);
    contributionsOf(asked(`trace().latents.${name}.draw.logDensity`), logDensity, shape[0]!);
  }
  for (const [name, part] of Object.entries(observations)) {
    const { distribution } = propertiesOf(part) as Partial<Trace["observations"][string]>;
    if (!isObject(distribution)) throw wrongResult(asked("trace"), "argument", `"${name}" as { distribution, value }`, part);
  }
  return result as Trace;
}

/** Latents come from objectives, which users define too. */
function checkLatents(latents: Batch, rows: number): void {
  const wrong = (what: string, received: unknown): VaeError => {
    letGo(received);
    const shown = isTensor(received) ? `a ${received.dtype} tensor ${showShape(received.shape)}` : describe(received);
    return new VaeError({ code: "argument", operation: "generate", expected: `${what}a float32 tensor [${rows}, size]`, received: shown });
  };
  if (!isRecord(latents)) throw wrong("latents by name, each ", latents);
  for (const [name, latent] of Object.entries<unknown>(latents)) {
    const isLatent = isTensor(latent) && latent.dtype === "float32" && latent.shape.length === 2 && latent.shape[0] === rows;
    if (!isLatent && latent !== undefined) throw wrong(`the latent ${describe(name)} as `, latent);
  }
}

/** The same for what is generated. */
export function generated(wiring: Wiring, latents: Batch, rows: number, scope: Scope): Readonly<Record<string, Distribution>> {
  checkLatents(latents, rows);
  const result: unknown = wirings.of(wiring).generate(wiring, latents, rows, scope);
  if (typeof result === "object" && result !== null && isReadable(result)) return result as Readonly<Record<string, Distribution>>;
  throw wrongResult(
    { family: "wiring", part: wiring.kind, method: "generate" },
    "argument",
    "distributions by the names of fields",
    result,
  );
}
