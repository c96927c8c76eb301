import { greaterEqual, multiply } from "../graph/index.js";
import { defineLayer, type Layer, type LayerOptions, layers } from "./layer.js";

interface Dropout extends Layer {
  readonly kind: "dropout";
  readonly rate: number;
}

/**
 * In training, sets each value to zero with probability `rate` and multiplies the others by 1 / (1 − rate), so that the mean
 * stays (Srivastava et al. 2014, scaled in training); at inference it does nothing. Its noise has streams of its own: with or
 * without it, the posterior's draws are the same.
 *
 * @param rate at least 0, below 1
 */
export function dropout(rate: number, options: LayerOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("dropout", { positional: { rate }, options, surplus, usual: "name" });
}

defineLayer<Dropout>("dropout", {
  parse: (options) => ({ kind: "dropout", rate: options.number("rate", { minimum: 0, below: 1 }) }),
  outputShape: (_, input) => input,
  apply: ({ rate }, x, { mode, noise }) => {
    if (mode === "inference" || rate === 0) return x;
    const kept = greaterEqual(noise.uniform(x.shape), rate);
    return multiply(multiply(x, 1 / (1 - rate)), kept);
  },
});
