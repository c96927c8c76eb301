// What a model says of a batch: its latents and its observations, with their distributions and values. Objectives read nothing
// else, so they hold for every wiring.

import { type Distribution, type Draw, divergenceOf, type KlEstimate } from "../distributions/index.js";
import { add, broadcastTo, concatenate, reshape, type Shape, subtract, sum, type Tensor } from "../graph/index.js";

/** One latent of every row: the distribution it is drawn from, its prior, and a draw `[rows, size]`. */
export interface LatentTrace {
  readonly posterior: Distribution;
  readonly prior: Distribution;
  readonly draw: Draw;
}

/** One observed field of every row: its distribution given the latents, and its value `[rows, size]`. */
export interface Observation {
  readonly distribution: Distribution;
  readonly value: Tensor;
}

/** Latents and observations by name. */
export interface Trace {
  readonly latents: Readonly<Record<string, LatentTrace>>;
  readonly observations: Readonly<Record<string, Observation>>;
}

/** Σ over k of contributions `[rows, k]`. */
export function sumContributions(contributions: Tensor): Tensor {
  return sum(contributions, { axes: [1] });
}

function total(parts: readonly Tensor[]): Tensor {
  return parts.reduce((all, part) => add(all, part));
}

/** log p(x|z), Σ over the observations, `[rows]` in nats. */
export function logLikelihood({ observations }: Trace): Tensor {
  return total(Object.values(observations).map(({ distribution, value }) => sumContributions(distribution.logDensity(value))));
}

/**
 * KL(q ‖ p) as contributions `[rows, k]` in nats, those of one latent behind those of the other.
 *
 * @param estimate `"closed"` (default) where prior and posterior have a closed form, else the estimate at the draw
 */
export function klContributions({ latents }: Trace, estimate: KlEstimate = "closed"): Tensor {
  const parts = Object.values(latents).map(({ posterior, prior, draw }) => divergenceOf(posterior, prior, draw, estimate));
  return parts.length === 1 ? parts[0]! : concatenate(parts, 1);
}

/**
 * log p(x|z) + log p(z) − log q(z|x) at each of `samples` draws, `[rows, samples]` in nats.
 *
 * @param trace of so many draws per row, `trace(samples)`
 */
export function importanceLogWeights(trace: Trace, samples: number): Tensor {
  const ratios = Object.values(trace.latents).map(({ prior, draw }) =>
    subtract(sumContributions(prior.logDensity(draw.value)), sumContributions(draw.logDensity)),
  );
  const weights = add(logLikelihood(trace), total(ratios));
  return reshape(weights, [weights.shape[0]! / samples, samples]);
}

/** Every row `times` times in a row: `[rows, …]` to `[rows · times, …]`. */
export function repeatRows(x: Tensor, times: number): Tensor {
  if (times === 1) return x;
  const [rows, ...rest] = x.shape as [number, ...Shape];
  return reshape(broadcastTo(reshape(x, [rows, 1, ...rest]), [rows, times, ...rest]), [rows * times, ...rest]);
}
