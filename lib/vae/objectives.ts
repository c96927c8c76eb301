import { mean, multiply, negate, subtract, sum, type Tensor } from "../graph/index.js";
import {
  type Behaviour,
  type Fields,
  type NoiseSource,
  parseScheduled,
  Registry,
  type Schedule,
  scheduledValue,
  type Tagged,
} from "../nn/index.js";
import type { LatentDistribution } from "./posteriors.js";

/** What training maximises, as frozen plain data. */
export type Objective = Tagged;

/** How KL(q(z|x) ‖ p(z)) is computed: in closed form, or as log q(z|x) − log p(z) at the sampled z. */
export type KlEstimate = "closed" | "monteCarlo";

/** One batch in the model, for objectives to make terms of. */
export interface ObjectiveContext {
  /** The batch as the encoder sees it, `[batch, size]`. */
  readonly x: Tensor;
  readonly posterior: LatentDistribution;
  /** The step counter, a float32 scalar from 0. */
  readonly step: Tensor;
  /** Noise of the objective's own, new on every step and independent of what all other parts draw. */
  readonly noise: NoiseSource;
  /** A new draw from the posterior, `[batch, latent]`. */
  sample(): Tensor;
  /** log p(x|z), `[batch]`. */
  logLikelihood(z: Tensor): Tensor;
  /** KL contributions `[batch, k]`; where prior and posterior have no closed form, the estimate at z. */
  kl(z: Tensor, estimate: KlEstimate): Tensor;
  /** log p(x|z) + log p(z) − log q(z|x) at `samples` draws for each row, `[batch, samples]`. */
  importanceLogWeights(samples: number): Tensor;
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
 *   terms: ({ samples }, { importanceLogWeights }) => {
 *     const bound = mean(subtract(logsumexp(importanceLogWeights(samples), { axes: [1] }), Math.log(samples)));
 *     return { loss: negate(bound), bound };
 *   },
 * });
 * ```
 */
export interface ObjectiveBehaviour<O extends Objective = Objective> extends Behaviour {
  parse(options: Fields): O;
  /** Scalars in nats per sample: the batch mean, never a mean over dimensions. */
  terms(objective: O, context: ObjectiveContext): ObjectiveTerms;
}

export const objectives = new Registry<ObjectiveBehaviour>("objective", ["terms"]);

/** Adds a kind of objective. */
export function defineObjective<O extends Objective>(kind: string, behaviour: ObjectiveBehaviour<O>, ...surplus: never[]): void {
  objectives.define(kind, behaviour, surplus);
}

interface Elbo extends Objective {
  readonly kind: "elbo";
  readonly beta: number | Schedule;
  readonly kl: KlEstimate;
}

export interface ElboOptions {
  /**
   * Weight of the KL term: a number or a schedule of the model's steps; default 1. Above 1 it is the β-VAE (Higgins et al.
   * 2017), rising from 0 it is KL warm-up (Bowman et al. 2016). The recorded `elbo` is always that of β = 1.
   */
  readonly beta?: number | Schedule;
  /** Default `"closed"`. */
  readonly kl?: KlEstimate;
}

/** The evidence lower bound E[log p(x|z)] − β KL(q(z|x) ‖ p(z)) with one draw of z per row (Kingma & Welling 2014). */
export function elbo(options: ElboOptions = {}, ...surplus: never[]): Objective {
  return objectives.construct("elbo", { options, surplus, usual: "beta" });
}

defineObjective<Elbo>("elbo", {
  parse: (options) => ({
    kind: "elbo",
    beta: parseScheduled(options, "beta", 1),
    kl: options.choice("kl", ["closed", "monteCarlo"], "closed"),
  }),
  terms: ({ beta, kl: estimate }, context) => {
    const z = context.sample();
    const reconstruction = mean(context.logLikelihood(z));
    const kl = mean(sum(context.kl(z, estimate), { axes: [1] }));
    const bound = subtract(reconstruction, kl);
    const loss = beta === 1 ? negate(bound) : subtract(multiply(scheduledValue(beta, context.step), kl), reconstruction);
    return { loss, elbo: bound, reconstruction, kl };
  },
});
