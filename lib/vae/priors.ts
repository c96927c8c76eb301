import { add, expm1, multiply, square, subtract, type Tensor } from "../graph/index.js";
import {
  type Behaviour,
  type Fields,
  type NoiseSource,
  type ParameterSpec,
  type PartParameters,
  Registry,
  type Tagged,
} from "../nn/index.js";
import { isGaussian, type LatentDistribution } from "./posteriors.js";

/** p(z), as frozen plain data. */
export type Prior = Tagged;

/** What the priors of one kind do. */
export interface PriorBehaviour<P extends Prior = Prior> extends Behaviour {
  parse(options: Fields): P;
  /** What is learned; nothing when left out. */
  parameters?(prior: P, latent: number): Readonly<Record<string, ParameterSpec>>;
  /** `[batch, k]`, contributions whose sum over k is log p(z) in nats. */
  logDensity(prior: P, z: Tensor, parameters: PartParameters): Tensor;
  /** `[rows, latent]` draws. */
  sample(prior: P, rows: number, latent: number, noise: NoiseSource, parameters: PartParameters): Tensor;
  /** KL(q ‖ p) in closed form as contributions `[batch, k]`; undefined for posteriors without one: then it is estimated. */
  kl?(prior: P, posterior: LatentDistribution, parameters: PartParameters): Tensor | undefined;
}

export const priors = new Registry<PriorBehaviour>("prior", ["logDensity", "sample"], ["parameters", "kl"]);

/** Adds a kind of prior. */
export function definePrior<P extends Prior>(kind: string, behaviour: PriorBehaviour<P>, ...surplus: never[]): void {
  priors.define(kind, behaviour, surplus);
}

/** Independent standard normal latents. */
export function standardNormal(...surplus: never[]): Prior {
  return priors.construct("standardNormal", { surplus });
}

definePrior<Prior>("standardNormal", {
  parse: () => ({ kind: "standardNormal" }),
  logDensity: (_, z) => multiply(-0.5, add(square(z), Math.log(2 * Math.PI))),
  sample: (_, rows, latent, noise) => noise.normal([rows, latent]),
  // ½ (μ² + σ² − 1 − log σ²) (Kingma & Welling 2014, appendix B); σ² − 1 as expm1 keeps its digits near the prior.
  kl: (_, posterior) => {
    if (!isGaussian(posterior)) return undefined;
    const { mean, logVariance } = posterior;
    return multiply(0.5, add(square(mean), subtract(expm1(logVariance), logVariance)));
  },
});
