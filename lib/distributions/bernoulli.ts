import { greaterEqual, less, multiply, sigmoid, softplus, sqrt, subtract, type Tensor } from "../graph/index.js";
import { defineLikelihood, type Likelihood, likelihoods } from "./family.js";

interface Bernoulli extends Likelihood {
  readonly kind: "bernoulli";
  readonly binarize: "none" | "threshold" | "stochastic";
}

/** Options of {@link bernoulli}. */
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
  headShape: (_, event) => event,
  range: () => ({ low: 0, high: 1 }),
  prepare: ({ binarize }, x, noise) => {
    if (binarize === "threshold") return greaterEqual(x, 0.5);
    // log p(x|z) is linear in x, so at the probabilities it is the mean over all binarizations.
    return binarize === "none" || noise === undefined ? x : less(noise.uniform(x.shape), x);
  },
  distribution: (_, head) => {
    const logits = head!;
    // x log p + (1 − x) log(1 − p) with p = sigmoid(l) is x·l − softplus(l): finite for every finite logit.
    const logDensity = (x: Tensor): Tensor => subtract(multiply(x, logits), softplus(logits));
    const mean = sigmoid(logits);
    return {
      family: "bernoulli",
      mean,
      standardDeviation: sqrt(multiply(mean, subtract(1, mean))),
      draw: (noise) => {
        const value = less(noise.uniform(logits.shape), mean);
        return { value, logDensity: logDensity(value) };
      },
      logDensity,
    };
  },
});
