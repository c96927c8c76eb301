// Distributions, and the families that they come from in three roles: posterior, prior, likelihood.
import { describe, VaeError } from "../errors.js";
import type { Shape, Tensor } from "../graph/index.js";
import { isArray, letGo, propertiesOf } from "../graph/kinds.js";
import {
  type Behaviour,
  type Branded,
  type Declared,
  type Fields,
  type NoiseSource,
  Registry,
  type Scope,
  type Tagged,
} from "../nn/index.js";

/** A value drawn from a distribution. */
export interface Draw {
  /** `[rows, size]`; gradients flow back through it to the distribution. */
  readonly value: Tensor;
  /** `[rows, k]`, contributions whose sum over k is the logarithm of the density at the value, in nats. */
  readonly logDensity: Tensor;
}

/** A distribution over values `[rows, size]`, one for every row of a batch, as tensors. */
export interface Distribution {
  /** What it is, for {@link defineDivergence}: `"gaussian"`, … */
  readonly family: string;
  /** `[rows, size]`; a family that knows none leaves it out. */
  readonly mean?: Tensor;
  /** `[rows, size]`; a family that knows none leaves it out. */
  readonly standardDeviation?: Tensor;
  /** A new draw, with its log-density: a flow knows that of its own draws only. */
  draw(noise: NoiseSource): Draw;
  /** `[rows, k]`, contributions whose sum over k is the log-density in nats; k is `size` where values are independent. */
  logDensity(value: Tensor): Tensor;
}

/** What a family makes its distribution in. @typeParam D what the family declared, as for {@link Scope} */
export interface FamilyContext<D extends Declared = Declared> {
  /** The shape of one value: `[latent]`, or that of an observation such as `[28, 28, 1]`. */
  readonly event: Shape;
  readonly rows: number;
  /** The family's own parameters, networks and noise, and the conditions. */
  readonly scope: Scope<D>;
}

/**
 * What the families of one kind do, in whatever role: q(z|x), p(z) or p(x|z).
 *
 * @example A Laplace likelihood with scale 1, log p = −|x − μ| − log 2:
 * ```ts
 * defineLikelihood("laplace", {
 *   parse: () => ({ kind: "laplace" }),
 *   headShape: (_, event) => event,
 *   distribution: (_, head) => ({
 *     family: "laplace",
 *     mean: head!,
 *     draw: () => { throw new Error("not needed here"); },
 *     logDensity: (x) => subtract(negate(absolute(subtract(x, head!))), Math.log(2)),
 *   }),
 * });
 * ```
 */
export interface FamilyBehaviour<F extends Tagged = Tagged, D extends Declared = Declared> extends Behaviour {
  parse(options: Fields): F;
  /** The shape of what a network must give for one value of shape `event`; undefined where no network is needed. */
  headShape?(family: F, event: Shape): Shape | undefined;
  /** Parameters and networks of its own. */
  declare?(family: F, event: Shape): D;
  /** The distribution that the network's output stands for: `head` is `[rows, product(headShape)]`. */
  distribution(family: F, head: Tensor | undefined, context: FamilyContext<D>): Distribution;
  /** As a likelihood: the values that data may have; any finite ones when left out. */
  range?(family: F): { readonly low: number; readonly high: number };
  /**
   * As a likelihood of whole numbers that stand for something, classes or tokens: the names of the categories. The field is then
   * int32, holds numbers of these alone, and names that it has of its own are matched with them.
   */
  categories?(family: F): readonly string[];
  /** As a likelihood, true where data should have means near 0 and standard deviations near 1: trainings on others then warn. */
  readonly unitScale?: boolean;
  /**
   * As a likelihood: changes a batch `[rows, size]` before anything sees it (binarization, dequantization).
   *
   * @param noise draws anew on every step of a training, and once per row in `evaluate`. Undefined in `encode`, `reconstruct`
   *   and `score`, where what a row gives must not depend on its place or on the call: there stands in for the changed rows
   *   whatever is best known of them without a draw, as their mean
   */
  prepare?(family: F, x: Tensor, noise: NoiseSource | undefined): Tensor;
}

/** The part that a family plays. */
export type Role = "posterior" | "prior" | "likelihood";

/** A family in the role of q(z|x), as frozen plain data. */
export type Posterior = Branded<"posterior">;
/** A family in the role of p(z), as frozen plain data. */
export type Prior = Branded<"prior">;
/** A family in the role of p(x|z), as frozen plain data. */
export type Likelihood = Branded<"likelihood">;

const methods = ["distribution"] as const;
const optional = ["headShape", "declare", "range", "categories", "prepare"] as const;
export const posteriors = new Registry<FamilyBehaviour>("posterior", methods, optional);
export const priors = new Registry<FamilyBehaviour>("prior", methods, optional);
export const likelihoods = new Registry<FamilyBehaviour>("likelihood", methods, optional);

/** The families of each role, by kind: the same kind may read other options in another role. */
export const families: Readonly<Record<Role, Registry<FamilyBehaviour>>> = {
  posterior: posteriors,
  prior: priors,
  likelihood: likelihoods,
};

/** Adds a kind of posterior, q(z|x). */
export function definePosterior<P extends Posterior, D extends Declared = Declared>(
  kind: string,
  behaviour: FamilyBehaviour<P, D>,
  ...surplus: never[]
): void {
  posteriors.define(kind, behaviour as FamilyBehaviour<P>, surplus);
}

/** Adds a kind of prior, p(z). */
export function definePrior<P extends Prior, D extends Declared = Declared>(
  kind: string,
  behaviour: FamilyBehaviour<P, D>,
  ...surplus: never[]
): void {
  priors.define(kind, behaviour as FamilyBehaviour<P>, surplus);
}

/** Adds a kind of likelihood, p(x|z). */
export function defineLikelihood<L extends Likelihood, D extends Declared = Declared>(
  kind: string,
  behaviour: FamilyBehaviour<L, D>,
  ...surplus: never[]
): void {
  likelihoods.define(kind, behaviour as FamilyBehaviour<L>, surplus);
}

/** The values that data may have under a likelihood; undefined for any finite ones. */
export function rangeOf(likelihood: Likelihood): { readonly low: number; readonly high: number } | undefined {
  const range: unknown = likelihoods.of(likelihood).range?.(likelihood);
  if (range === undefined) return undefined;
  const { low, high } = propertiesOf(range) as Partial<Record<string, unknown>>;
  if (typeof low === "number" && typeof high === "number" && low <= high) return { low, high };
  throw wrongAnswer(likelihood, "range to give { low, high }, two numbers", range);
}

/** The names of the categories that data may have under a likelihood; undefined where they are numbers. */
export function categoriesOf(likelihood: Likelihood): readonly string[] | undefined {
  const names: unknown = likelihoods.of(likelihood).categories?.(likelihood);
  if (names === undefined) return undefined;
  letGo(names);
  const isRight = isArray(names) && names.length > 0 && Array.from(names).every((name) => typeof name === "string" && name !== "");
  if (isRight && new Set(names).size === names.length) return [...(names as readonly string[])];
  throw wrongAnswer(likelihood, "categories to give their names, all different", names);
}

function wrongAnswer({ kind }: Likelihood, expected: string, value: unknown): VaeError {
  letGo(value);
  return new VaeError({ code: "argument", operation: `likelihood ${kind}`, expected, received: describe(value) });
}
