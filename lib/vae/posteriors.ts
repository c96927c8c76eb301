import { describe, VaeError } from "../errors.js";
import { noMore } from "../graph/arguments.js";
import {
  absolute,
  add,
  clamp,
  exp,
  isTensor,
  multiply,
  reciprocal,
  type Shape,
  sign,
  slice,
  square,
  subtract,
  type Tensor,
} from "../graph/index.js";
import { isArray } from "../graph/kinds.js";
import { type Behaviour, type Fields, type NoiseSource, Registry, type Tagged } from "../nn/index.js";

/** The family of q(z|x), as frozen plain data. */
export type Posterior = Tagged;

/** A distribution over latents for every row of a batch, as tensors. */
export interface LatentDistribution {
  /** What it is, for priors that know a closed form of the divergence from it: `"gaussian"`. */
  readonly family: string;
  /** `[batch, latent]`. */
  readonly mean: Tensor;
  /** `[batch, latent]`. */
  readonly standardDeviation: Tensor;
  /** A draw `[batch, latent]` through which gradients flow back to the distribution. */
  sample(noise: NoiseSource): Tensor;
  /** `[batch, k]`, contributions whose sum over k is log q(z|x) in nats; k is `latent` where dimensions are independent. */
  logDensity(z: Tensor): Tensor;
}

/** A Gaussian with independent dimensions. */
export interface GaussianDistribution extends LatentDistribution {
  readonly family: "gaussian";
  readonly logVariance: Tensor;
}

/** What the posteriors of one kind do. */
export interface PosteriorBehaviour<P extends Posterior = Posterior> extends Behaviour {
  parse(options: Fields): P;
  /** The shape of what the encoder must give for one sample. */
  headShape(posterior: P, latent: number): Shape;
  /** The distribution that the encoder's output `[batch, ...headShape]` stands for. */
  distribution(posterior: P, head: Tensor, latent: number): LatentDistribution;
}

export const posteriors = new Registry<PosteriorBehaviour>("posterior", ["headShape", "distribution"]);

/** Adds a kind of posterior. */
export function definePosterior<P extends Posterior>(kind: string, behaviour: PosteriorBehaviour<P>, ...surplus: never[]): void {
  posteriors.define(kind, behaviour, surplus);
}

interface Gaussian extends Posterior {
  readonly kind: "gaussian";
  readonly logVarianceRange: readonly [low: number, high: number];
}

/** What {@link gaussianPosterior} takes. */
export interface GaussianPosteriorOptions {
  /**
   * What log σ² stays within, default [−30, 20]. In the middle three fifths of the range it is what the encoder gives, towards the
   * ends it approaches them ever more slowly, with a gradient everywhere.
   */
  readonly logVarianceRange?: readonly [low: number, high: number];
}

/** A posterior with independent Gaussian dimensions (Kingma & Welling 2014). */
export function gaussianPosterior(options: GaussianPosteriorOptions = {}, ...surplus: never[]): Posterior {
  return posteriors.construct("gaussian", { options, surplus, usual: "logVarianceRange", operation: "gaussianPosterior" });
}

definePosterior<Gaussian>("gaussian", {
  parse: (options) => {
    const range = options.given("logVarianceRange", [-30, 20]);
    const [low, high, ...rest] = (isArray(range) ? range : []) as readonly unknown[];
    if (typeof low !== "number" || typeof high !== "number" || rest.length > 0 || !(low < high) || !Number.isFinite(high - low)) {
      throw options.wrong("logVarianceRange", "two finite numbers [low, high] with low < high");
    }
    return { kind: "gaussian", logVarianceRange: [low, high] };
  },
  headShape: (_, latent) => [2 * latent],
  distribution: ({ logVarianceRange: [low, high] }, head, latent): GaussianDistribution => {
    const batch = head.shape[0]!;
    const mean = slice(head, [0, 0], [batch, latent]);
    // Outside of the range exp overflows or the density becomes a spike that float32 cannot hold.
    const logVariance = softlyBounded(slice(head, [0, latent], [batch, 2 * latent]), low, high);
    return gaussianDistribution(mean, logVariance);
  },
});

/**
 * `x` within (low, high), with a gradient everywhere. A clamp has none outside: where data of a large scale had pushed a
 * log-variance beyond the bound, nothing brought it back. Softplus at both ends has one that falls like e^−|x|, which in float32
 * is 0 from a distance of 104 on, and an encoder of unscaled data gives thousands.
 *
 * With w a fifth of the range, c = x clamped to [low + w, high − w], and e = x − c what lies outside of that:
 *
 *     c + w · sign(e) · (1 − 1 / (1 + |e| / w))
 *
 * Inside e is 0 and this is x to the bit. Outside its slope is 1 / (1 + |e| / w)², 1 at the knee and 10⁻⁶ at x = 10⁴ for the
 * default range, which Adam takes like any other; it leaves float32 at |x| = 10¹⁹. Written as w · |e| / (w + |e|) the slope
 * would be a difference of two nearly equal numbers.
 */
function softlyBounded(x: Tensor, low: number, high: number): Tensor {
  const width = (high - low) / 5;
  const inside = clamp(x, low + width, high - width);
  const outside = multiply(1 / width, subtract(x, inside));
  const part = subtract(1, reciprocal(add(1, absolute(outside))));
  return add(inside, multiply(multiply(width, sign(outside)), part));
}

/** The Gaussian with these means and log-variances. */
export function gaussianDistribution(mean: Tensor, logVariance: Tensor, ...surplus: never[]): GaussianDistribution {
  const operation = "gaussianDistribution";
  noMore(operation, surplus);
  for (const [name, tensor] of Object.entries({ mean, logVariance })) {
    if (isTensor(tensor)) continue;
    throw new VaeError({ code: "argument", operation, expected: `${name} to be a tensor`, received: describe(tensor) });
  }
  const standardDeviation = exp(multiply(0.5, logVariance));
  return {
    family: "gaussian",
    mean,
    standardDeviation,
    logVariance,
    sample: (noise) => add(mean, multiply(standardDeviation, noise.normal(mean.shape))),
    // log N(z; μ, σ²) = −½ (log 2π + log σ² + (z − μ)²/σ²)
    logDensity: (z) => {
      const distance = multiply(square(subtract(z, mean)), exp(multiply(-1, logVariance)));
      return multiply(-0.5, add(add(logVariance, Math.log(2 * Math.PI)), distance));
    },
  };
}

/** Whether a distribution is the Gaussian above. */
export function isGaussian(distribution: LatentDistribution): distribution is GaussianDistribution {
  return distribution.family === "gaussian" && "logVariance" in distribution;
}
