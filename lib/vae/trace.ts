// What a model says of a batch: its latents and its observations, with their distributions and values. Objectives read nothing
// else, so they hold for every wiring.

import { type Distribution, type Draw, divergenceOf, type KlEstimate } from "../distributions/index.js";
import { describe, VaeError } from "../errors.js";
import { Fields, isRecord, noMore } from "../graph/arguments.js";
import { add, broadcastTo, concatenate, isTensor, reshapeTensor, type Shape, subtract, sum, type Tensor } from "../graph/index.js";
import { isFunction, isReadable, propertiesOf } from "../graph/kinds.js";

/** One latent of every row: the distribution it is drawn from, its prior, and a draw `[rows, size]`. */
export interface LatentTrace {
  /** q(z|x), and in a ladder given the latents above. */
  readonly posterior: Distribution;
  /** p(z), or p(z | latents above). */
  readonly prior: Distribution;
  /** From the posterior. */
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
export function sumContributions(contributions: Tensor, ...surplus: never[]): Tensor {
  noMore("sumContributions", surplus);
  return sum(contributions, { axes: [1] });
}

function total(parts: readonly Tensor[]): Tensor {
  return parts.reduce((all, part) => add(all, part));
}

/** Throws for what is no trace: users make them. */
function checkedTrace(operation: string, trace: Trace): Trace {
  const wrong = (expected: string, received: unknown): VaeError =>
    new VaeError({
      code: "argument",
      operation,
      expected,
      received: describe(received),
      hint: "pass what the trace of an objective's context gave",
    });
  const isObject = (value: unknown): value is object => typeof value === "object" && value !== null && isReadable(value);
  const { latents, observations } = propertiesOf(trace) as Partial<Trace>;
  for (const [what, parts] of Object.entries({ latents, observations })) {
    if (!isRecord(parts) || Object.keys(parts).length === 0) throw wrong(`a trace with ${what} by name`, trace);
  }
  const isDistribution = (value: unknown): boolean =>
    isObject(value) && isFunction((value as Distribution).logDensity) && isFunction((value as Distribution).draw);
  const isMatrix = (value: unknown): boolean => isTensor(value) && value.shape.length === 2;
  for (const [name, part] of Object.entries(latents!)) {
    const { posterior, prior, draw } = propertiesOf(part) as Partial<LatentTrace>;
    const { value, logDensity } = propertiesOf(draw) as Partial<Draw>;
    const isRight = isDistribution(posterior) && isDistribution(prior) && isMatrix(value) && isMatrix(logDensity);
    if (!isRight) throw wrong(`the latent ${describe(name)} as { posterior, prior, draw: { value, logDensity } }`, part);
  }
  for (const [name, part] of Object.entries(observations!)) {
    const { distribution, value } = propertiesOf(part) as Partial<Observation>;
    if (!isDistribution(distribution) || !isTensor(value))
      throw wrong(`the observation ${describe(name)} as { distribution, value }`, part);
  }
  return trace;
}

/** log p(x|z), Σ over the observations, `[rows]` in nats. */
export function logLikelihood(trace: Trace, ...surplus: never[]): Tensor {
  noMore("logLikelihood", surplus);
  const { observations } = checkedTrace("logLikelihood", trace);
  return total(Object.values(observations).map(({ distribution, value }) => sumContributions(distribution.logDensity(value))));
}

/**
 * KL(q ‖ p) as contributions `[rows, k]` in nats, those of one latent behind those of the other.
 *
 * @param estimate `"closed"` (default) where prior and posterior have a closed form, else the estimate at the draw
 */
export function klContributions(trace: Trace, estimate: KlEstimate = "closed", ...surplus: never[]): Tensor {
  const operation = "klContributions";
  noMore(operation, surplus);
  const { latents } = checkedTrace(operation, trace);
  new Fields(operation, { estimate }).choice("estimate", ["closed", "monteCarlo"]);
  const parts = Object.values(latents).map(({ posterior, prior, draw }) => divergenceOf(posterior, prior, draw, estimate));
  return parts.length === 1 ? parts[0]! : concatenate(parts, 1);
}

/**
 * log p(x|z) + log p(z) − log q(z|x) at each of `samples` draws, `[rows, samples]` in nats.
 *
 * @param trace of so many draws per row, `trace(samples)`
 */
export function importanceLogWeights(trace: Trace, samples: number, ...surplus: never[]): Tensor {
  const operation = "importanceLogWeights";
  noMore(operation, surplus);
  checkedTrace(operation, trace);
  new Fields(operation, { samples }).number("samples", { minimum: 1, integer: true });
  const ratios = Object.values(trace.latents).map(({ prior, draw }) =>
    subtract(sumContributions(prior.logDensity(draw.value)), sumContributions(draw.logDensity)),
  );
  const weights = add(logLikelihood(trace), total(ratios));
  if (weights.shape[0]! % samples !== 0) {
    const received = `${weights.shape[0]} rows`;
    throw new VaeError({ code: "shape", operation, expected: `a trace of ${samples} draws for each row`, received });
  }
  return reshapeTensor(weights, [weights.shape[0]! / samples, samples]);
}

/** Every row `times` times in a row: `[rows, …]` to `[rows · times, …]`. */
export function repeatRows(x: Tensor, times: number, ...surplus: never[]): Tensor {
  const operation = "repeatRows";
  noMore(operation, surplus);
  if (!isTensor(x) || x.shape.length === 0) {
    throw new VaeError({ code: "argument", operation, expected: "a tensor of rows", received: describe(x) });
  }
  new Fields(operation, { times }).number("times", { minimum: 1, integer: true });
  if (times === 1) return x;
  const [rows, ...rest] = x.shape as [number, ...Shape];
  return reshapeTensor(broadcastTo(reshapeTensor(x, [rows, 1, ...rest]), [rows, times, ...rest]), [rows * times, ...rest]);
}
