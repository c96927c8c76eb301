import { type Asked, type KlEstimate, wrongResult } from "../distributions/index.js";
import { isTensor, mean, multiply, negate, type Shape, subtract, type Tensor } from "../graph/index.js";
import { isPromise, isReadable } from "../graph/kinds.js";
import {
  type Behaviour,
  type Branded,
  type Declared,
  type Fields,
  parseScheduled,
  Registry,
  type Schedule,
  type Scope,
  scheduledValue,
} from "../nn/index.js";
import type { Metrics } from "../train/fit.js";
import { klContributions, logLikelihood, type Observation, sumContributions, type Trace } from "./trace.js";
import type { Batch } from "./wiring.js";

/** What training maximises, as frozen plain data. */
export type Objective = Branded<"objective">;

/** One batch in the model, for objectives to make terms of. @typeParam D what the objective declared, as for {@link Scope} */
export interface ObjectiveContext<D extends Declared = Declared> {
  /** In the batch. */
  readonly rows: number;
  /** The step counter, a float32 scalar from 0. */
  readonly step: Tensor;
  /** The fields as the model sees them: observed ones as rows `[rows, size]`. */
  readonly batch: Batch;
  /** The objective's own parameters and networks, its noise, and the conditions. */
  readonly scope: Scope<D>;
  /**
   * New draws of the latents, with what follows from them. All traces of a batch share one encoding. Draws of a prior are
   * `trace().latents.z.prior.draw(scope.noise)`.
   *
   * @param samples draws for each row; default 1. With more, tensors have rows · samples rows
   */
  trace(samples?: number): Trace;
  /** The distributions of what is observed given latents `[rows, size]`, those left out drawn from their priors. */
  generate(latents: Readonly<Record<string, Tensor>>, rows?: number): Readonly<Record<string, Observation["distribution"]>>;
}

/** Scalars recorded on every step; `loss` is what is minimised. */
export type ObjectiveTerms = { readonly loss: Tensor } & Readonly<Record<string, Tensor>>;

/**
 * What the objectives of one kind do.
 *
 * @example The importance-weighted bound (Burda et al. 2015):
 * ```ts
 * defineObjective("iwae", {
 *   parse: (options) => ({ kind: "iwae", samples: options.number("samples", { minimum: 1, integer: true }, 5) }),
 *   terms: ({ samples }, { trace }) => {
 *     const weights = importanceLogWeights(trace(samples), samples);
 *     const bound = mean(subtract(logsumexp(weights, { axes: [1] }), Math.log(samples)));
 *     return { loss: negate(bound), bound };
 *   },
 * });
 * ```
 */
export interface ObjectiveBehaviour<O extends Objective = Objective, D extends Declared = Declared> extends Behaviour {
  parse(options: Fields): O;
  /** Parameters and networks of its own, such as a discriminator. @param fields shapes of one sample's observed fields */
  declare?(objective: O, fields: Readonly<Record<string, Shape>>): D;
  /**
   * Scalars in nats per sample: the batch mean, never a mean over dimensions. Beside `loss` there may be the losses of groups of
   * parameters, `groups: [{ select: ["objective.**"], optimizer: adam(), loss: "discriminatorLoss" }]`.
   */
  terms(objective: O, context: ObjectiveContext<D>): ObjectiveTerms;
}

export const objectives = new Registry<ObjectiveBehaviour>("objective", ["terms"], ["declare"]);

/** Adds a kind of objective. */
export function defineObjective<O extends Objective, D extends Declared = Declared>(
  kind: string,
  behaviour: ObjectiveBehaviour<O, D>,
  ...surplus: never[]
): void {
  objectives.define(kind, behaviour as ObjectiveBehaviour<O>, surplus);
}

/** The evidence lower bound, see {@link elbo}. */
export interface Elbo extends Objective {
  readonly kind: "elbo";
  readonly beta: number | Schedule;
  readonly kl: KlEstimate;
}

/** Options of {@link elbo}. */
export interface ElboOptions {
  /**
   * Weight of the KL term: a number or a schedule of the model's steps; default 1. Above 1 it is the β-VAE (Higgins et al.
   * 2017), rising from 0 it is KL warm-up (Bowman et al. 2016). The recorded `elbo` is always that of β = 1.
   */
  readonly beta?: number | Schedule;
  /** Default `"closed"`. */
  readonly kl?: KlEstimate;
}

/**
 * The evidence lower bound E[log p(x|z)] − β KL(q(z|x) ‖ p(z)) with one draw of z per row (Kingma & Welling 2014): whatever the
 * wiring, Σ over observations less Σ over latents.
 */
export function elbo(options: ElboOptions = {}, ...surplus: never[]): Elbo {
  return objectives.construct("elbo", { options, surplus, usual: "beta" }) as Elbo;
}

defineObjective<Elbo>("elbo", {
  parse: (options) => ({
    kind: "elbo",
    beta: parseScheduled(options, "beta", 1),
    kl: options.choice("kl", ["closed", "monteCarlo"], "closed"),
  }),
  terms: ({ beta, kl: estimate }, context) => {
    const trace = context.trace();
    const reconstruction = mean(logLikelihood(trace));
    const kl = mean(sumContributions(klContributions(trace, estimate)));
    const bound = subtract(reconstruction, kl);
    const loss = beta === 1 ? negate(bound) : subtract(multiply(scheduledValue(beta, context.step), kl), reconstruction);
    return { loss, elbo: bound, reconstruction, kl };
  },
});

/** What trainings record: the terms of the objective `O`, of which one is always the loss. All in nats per sample. */
export type MetricsOf<O extends Objective> = Metrics & { readonly loss: number } & (O extends Elbo
    ? { readonly elbo: number; readonly reconstruction: number; readonly kl: number }
    : unknown);

/** An objective's terms: scalars by name, of which one is the loss. */
export function termsOf(part: string, value: unknown): { readonly loss: Tensor } & Readonly<Record<string, Tensor>> {
  const asked: Asked = { family: "objective", part, method: "terms" };
  if (typeof value !== "object" || value === null || !isReadable(value) || isPromise(value) || isTensor(value)) {
    throw wrongResult(asked, "argument", "an object of scalar tensors, { loss, … }", value);
  }
  // Read once: getters may give something else the next time.
  const terms: Readonly<Record<string, unknown>> = { ...value };
  if (!("loss" in terms)) throw wrongResult(asked, "argument", "a scalar tensor `loss`", value);
  for (const [name, term] of Object.entries(terms)) {
    const expected = `a scalar float32 tensor as "${name}"`;
    if (!isTensor(term))
      throw wrongResult(asked, "argument", expected, term, typeof term === "number" ? `constantTensor(${term}) makes one` : undefined);
    if (term.dtype !== "float32") throw wrongResult(asked, "dtype", expected, term, "cast(x) makes float32");
    if (term.shape.length > 0) throw wrongResult(asked, "shape", expected, term, "take the mean over the batch: mean(x)");
  }
  return terms as { readonly loss: Tensor };
}
