import { describe, VaeError } from "../errors.js";
import { add, exp, greaterEqual, less, multiply, type Shape, sigmoid, softplus, square, subtract, type Tensor } from "../graph/index.js";
import { letGo, propertiesOf } from "../graph/kinds.js";
import {
  type Behaviour,
  type Fields,
  type NoiseSource,
  type ParameterSpec,
  type PartParameters,
  Registry,
  type Tagged,
} from "../nn/index.js";

/** The family of p(x|z), as frozen plain data. */
export type Likelihood = Tagged;

/**
 * What the likelihoods of one kind do. Data and decoder outputs come as rows: `[batch, size]`, with size the number of
 * values in a sample, and `[batch, product(headShape)]`.
 */
export interface LikelihoodBehaviour<L extends Likelihood = Likelihood> extends Behaviour {
  parse(options: Fields): L;
  /** The shape of what the decoder must give for one sample of shape `input`. */
  headShape(likelihood: L, input: Shape): Shape;
  /** What is learned beside the decoder; nothing when left out. */
  parameters?(likelihood: L, input: Shape): Readonly<Record<string, ParameterSpec>>;
  /** The values that data may have; any finite ones when left out. */
  range?(likelihood: L): { readonly low: number; readonly high: number };
  /** True where data should have means near 0 and standard deviations near 1: trainings on others then warn. Default false. */
  readonly unitScale?: boolean;
  /**
   * Changes a batch before anything sees it (binarization, dequantization).
   *
   * @param noise draws anew on every step of a training, and once per row in `evaluate`. Undefined in `encode`, `reconstruct`
   *   and `score`, where what a row gives must not depend on its place or on the call: there stands in for the changed rows
   *   whatever is best known of them without a draw, as their mean
   */
  prepare?(likelihood: L, x: Tensor, noise: NoiseSource | undefined): Tensor;
  /** `[batch, k]`, contributions whose sum over k is log p(x|z) in nats. */
  logDensity(likelihood: L, x: Tensor, head: Tensor, parameters: PartParameters): Tensor;
  /** E[x|z], `[batch, size]`, in data space. */
  mean(likelihood: L, head: Tensor, parameters: PartParameters): Tensor;
}

export const likelihoods = new Registry<LikelihoodBehaviour>(
  "likelihood",
  ["headShape", "logDensity", "mean"],
  ["parameters", "range", "prepare"],
);

/** The values that data may have; undefined for any finite ones. */
export function rangeOf(likelihood: Likelihood): { readonly low: number; readonly high: number } | undefined {
  const range: unknown = likelihoods.of(likelihood).range?.(likelihood);
  if (range === undefined) return undefined;
  const { low, high } = propertiesOf(range) as Partial<Record<string, unknown>>;
  if (typeof low === "number" && typeof high === "number" && low <= high) return { low, high };
  letGo(range);
  throw new VaeError({
    code: "argument",
    operation: `likelihood ${likelihood.kind}`,
    expected: "range to give { low, high }, two numbers",
    received: describe(range),
  });
}

/** Adds a kind of likelihood. */
export function defineLikelihood<L extends Likelihood>(kind: string, behaviour: LikelihoodBehaviour<L>, ...surplus: never[]): void {
  likelihoods.define(kind, behaviour, surplus);
}

interface Bernoulli extends Likelihood {
  readonly kind: "bernoulli";
  readonly binarize: "none" | "threshold" | "stochastic";
}

export interface BernoulliOptions {
  /**
   * `"none"` (default) takes the data as they are: values between 0 and 1 count as probabilities, which gives the usual
   * cross-entropy but not a density; `"threshold"` makes values of at least ½ 1 and others 0; `"stochastic"` draws 0 or 1
   * anew on every step, with the value as probability (Burda et al. 2015), and once per row in `evaluate`. `encode`,
   * `reconstruct` and `score` draw nothing: they see the probabilities, the means of the draws, at which log p(x|z) is its own
   * mean over them.
   */
  readonly binarize?: "none" | "threshold" | "stochastic";
}

/** Independent Bernoulli values in [0, 1]; the decoder gives logits. */
export function bernoulli(options: BernoulliOptions = {}, ...surplus: never[]): Likelihood {
  return likelihoods.construct("bernoulli", { options, surplus, usual: "binarize" });
}

defineLikelihood<Bernoulli>("bernoulli", {
  parse: (options) => ({ kind: "bernoulli", binarize: options.choice("binarize", ["none", "threshold", "stochastic"], "none") }),
  headShape: (_, input) => input,
  range: () => ({ low: 0, high: 1 }),
  prepare: ({ binarize }, x, noise) => {
    if (binarize === "threshold") return greaterEqual(x, 0.5);
    // log p(x|z) is linear in x, so at the probabilities it is the mean over all binarizations.
    return binarize === "none" || noise === undefined ? x : less(noise.uniform(x.shape), x);
  },
  // x log p + (1 − x) log(1 − p) with p = sigmoid(l) is x·l − softplus(l): finite for every finite logit.
  logDensity: (_, x, logits) => subtract(multiply(x, logits), softplus(logits)),
  mean: (_, logits) => sigmoid(logits),
});

interface Gaussian extends Likelihood {
  readonly kind: "gaussian";
  readonly scale: number | "learned" | "perDimension";
  readonly minimumScale: number;
}

export interface GaussianLikelihoodOptions {
  /**
   * The standard deviation σ: a number (default 1), `"learned"` for one learned σ (σ-VAE, Rybkin et al. 2021), or
   * `"perDimension"` for a learned σ of every value.
   */
  readonly scale?: number | "learned" | "perDimension";
  /** What a learned σ cannot fall below; default 0.001. */
  readonly minimumScale?: number;
}

/** Independent Gaussian values; the decoder gives means. */
export function gaussian(options: GaussianLikelihoodOptions = {}, ...surplus: never[]): Likelihood {
  return likelihoods.construct("gaussian", { options, surplus, usual: "scale" });
}

defineLikelihood<Gaussian>("gaussian", {
  parse: (options) => {
    const raw = options.raw("scale");
    const scale =
      typeof raw === "string"
        ? options.choice("scale", ["learned", "perDimension"])
        : options.number("scale", { above: 0, maximum: 1e18 }, 1);
    return { kind: "gaussian", scale, minimumScale: options.number("minimumScale", { minimum: 1e-18, maximum: 1 }, 1e-3) };
  },
  unitScale: true,
  headShape: (_, input) => input,
  parameters: ({ scale }, input): Readonly<Record<string, ParameterSpec>> => {
    if (typeof scale === "number") return {};
    return {
      logScale: { shape: scale === "learned" ? [] : [input.reduce((size, dimension) => size * dimension, 1)], initializer: "zeros" },
    };
  },
  // log N(x; μ, σ²) = −½ ((x − μ)/σ)² − log σ − ½ log 2π
  logDensity: (likelihood, x, mean, { logScale }) => {
    const { scale } = likelihood;
    const constant = -0.5 * Math.log(2 * Math.PI);
    const squares = square(subtract(x, mean));
    if (typeof scale === "number") return add(multiply(-0.5 / scale ** 2, squares), constant - Math.log(scale));
    const bounded = boundedLogScale(likelihood, logScale!);
    return add(subtract(multiply(multiply(-0.5, squares), exp(multiply(-2, bounded))), bounded), constant);
  },
  mean: (_, head) => head,
});

/** Softly bounded from below, so that there is always a way back up (a hard clamp has no gradient there). */
function boundedLogScale({ minimumScale }: Gaussian, logScale: Tensor): Tensor {
  const low = Math.log(minimumScale);
  return add(low, softplus(subtract(logScale, low)));
}
