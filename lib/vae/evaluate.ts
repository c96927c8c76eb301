// What a model makes of data it is shown, without learning. Native calls give values per row; means are taken in float64.
import { setImmediate } from "node:timers/promises";
import type { Dataset } from "../io/dataset.js";
import { collectRows, overRows, runBatch } from "../train/program.js";
import { batches, batchFor, type FedField, type Feed, resultRows } from "../train/rows.js";
import { feedRows, type Inference } from "./infer.js";
import { elboProgram, importanceProgram, prepareProgram, scoreProgram } from "./programs.js";

/** Means per sample in nats. */
export interface Evaluation {
  /** reconstruction − kl, whatever β the model is trained with. */
  readonly elbo: number;
  /**
   * E[log p(x|z)], at one draw of z per row. What is drawn for a row depends on its place among the rows: means over rows hardly
   * do, but values of single rows are for {@link ScoreOptions | score} to give.
   */
  readonly reconstruction: number;
  /** KL(q(z|x) ‖ p(z)), Σ over all latents. */
  readonly kl: number;
  /** The contributions that `kl` is the sum of, one per latent dimension where dimensions are independent, latent behind latent. */
  readonly klPerDimension: Float64Array;
  /** Latent dimensions whose posterior mean has a variance above 0.01 over the data (Burda, Grosse & Salakhutdinov 2015). */
  readonly activeUnits: number;
  /**
   * −log p(x) by importance sampling, an upper bound that falls towards the truth with more samples; when asked for. A
   * likelihood that changes rows at random (`binarize: "stochastic"`) does so once per row, for all draws and for `elbo`.
   */
  readonly negativeLogLikelihood?: number;
  /** How many rows the means are over. */
  readonly rows: number;
}

/** What `evaluate` takes. */
export interface EvaluateOptions {
  /** Draws per row for `negativeLogLikelihood`; default 0, which leaves it out. 5000 is usual for published numbers. */
  readonly importanceSamples?: number;
  /** Of the draws; default: the model's. */
  readonly seed?: number;
  /** Looked at between native calls; the promise rejects with its reason. */
  readonly signal?: AbortSignal;
}

/** What `score` takes. */
export interface ScoreOptions {
  /**
   * Draws of z whose bounds are averaged, at most a million; default 0: the bound at the posterior's mean, in one pass and without
   * any noise. The draws are the same for all rows, ε times a row's own standard deviation away from its mean, so that the rows
   * are compared at equals.
   */
  readonly samples?: number;
  /** Of the draws; default: the model's. */
  readonly seed?: number;
  /** Looked at between native calls; the promise rejects with its reason. */
  readonly signal?: AbortSignal;
}

/** More draws than anybody needs: their mean has three digits more than one draw. */
export const MOST_SAMPLES = 1e6;

/** Checked options. */
export interface EvaluateRequest {
  readonly importanceSamples: number;
  readonly seed: number;
  readonly signal: AbortSignal | undefined;
  readonly operation: string;
}

const ACTIVE_VARIANCE = 0.01;

/**
 * Rows per native call of `score` on CUDA, also where there are fewer: how a product is cut into partial sums follows from its
 * sizes there, and a row's score must not depend on how many others came with it. The CPU's kernels add up a row's products in
 * one order whatever the batch.
 */
const SCORED_ROWS = 512;

const FEWER_DRAWS = "fewer importanceSamples or fewer rows at a time";

/** Decoder rows per native call of importance sampling: enough to keep all cores busy, little enough to stay in cache. */
const IMPORTANCE_ROWS = 4096;

export async function evaluateRows(model: Inference, dataset: Dataset, request: EvaluateRequest): Promise<Evaluation> {
  const { operation, signal, seed } = request;
  const feed = await feedRows(model, dataset, operation);
  const { rows } = feed;
  const parts = await collectRows(model, elboProgram(model.trainable), feed, { operation, signal, seed });
  const klPerDimension = await columnMeans(parts.kl!, rows, signal);
  const total = klPerDimension.reduce((sum, value) => sum + value, 0);
  const expected = (await columnMeans(parts.reconstruction!, rows, signal))[0]!;
  const activeUnits = (await columnVariances(parts.mean!, rows, signal)).reduce(
    (count, variance) => count + (variance > ACTIVE_VARIANCE ? 1 : 0),
    0,
  );
  const evaluation = { elbo: expected - total, reconstruction: expected, kl: total, klPerDimension, activeUnits, rows };
  if (request.importanceSamples === 0) return evaluation;
  return { ...evaluation, negativeLogLikelihood: -(await meanLogLikelihood(model, feed, request)) };
}

/** Checked options. */
export interface ScoreRequest {
  readonly samples: number;
  readonly seed: number;
  readonly signal: AbortSignal | undefined;
}

/** The negative ELBO of every row as a function of the row: at the posterior's mean, or the mean over `samples` draws. */
export async function scoreRows(model: Inference, dataset: Dataset, request: ScoreRequest): Promise<Float32Array> {
  const operation = "score";
  const { trainable, weights } = model;
  const { samples, seed, signal } = request;
  const feed = await feedRows(model, dataset, operation);
  const batch = weights.device.name === "cpu" ? batchFor(feed.rows) : SCORED_ROWS;
  const { arrays, release } = resultRows(feed.rows, { scores: 1 }, operation);
  release(); // a number per row
  const scores = arrays.scores!;
  const program = scoreProgram(trainable, samples === 0 ? "mean" : "draw");
  for (const { start, count, inputs } of batches(feed, batch, operation)) {
    const totals = new Float64Array(count);
    for (let draw = 0; draw < Math.max(1, samples); draw++) {
      const { reconstruction, kl } = await runBatch(model, program, { rows: batch, inputs, step: draw }, { operation, signal, seed });
      addNegativeBounds(reconstruction!, kl!, totals);
    }
    for (let row = 0; row < count; row++) scores[start + row] = totals[row]! / Math.max(1, samples);
  }
  return scores;
}

/** Adds KL − reconstruction of every row. */
function addNegativeBounds(reconstruction: Float32Array, kl: Float32Array, totals: Float64Array): void {
  const width = kl.length / reconstruction.length;
  for (let row = 0; row < totals.length; row++) {
    let total = -reconstruction[row]!;
    for (let dimension = 0; dimension < width; dimension++) total += kl[row * width + dimension]!;
    totals[row]! += total;
  }
}

/** Mean over rows of log (1/K Σ wₖ), by a running log-sum-exp over as many native calls as the draws need. */
async function meanLogLikelihood(model: Inference, feed: Feed, request: EvaluateRequest): Promise<number> {
  const { importanceSamples: draws, operation, seed, signal } = request;
  const batch = batchFor(feed.rows, 128);
  const samples = Math.min(draws, Math.max(1, Math.floor(IMPORTANCE_ROWS / batch)));
  const program = importanceProgram(model.trainable, samples);
  let step = 0;
  let total = 0;
  for await (const part of preparedRows(model, feed, request)) {
    for (const { count, inputs } of batches(part, batch, operation)) {
      const sums = Array.from({ length: count }, () => new LogSumExp());
      for (let done = 0; done < draws; done += samples) {
        const call = { operation, signal, seed, advice: FEWER_DRAWS };
        const { logWeights } = await runBatch(model, program, { rows: batch, inputs, step: step++ }, call);
        // The last call may draw more than was asked for.
        const used = Math.min(samples, draws - done);
        sums.forEach((sum, row) => {
          for (let sample = 0; sample < used; sample++) sum.add(logWeights![row * samples + sample]!);
        });
      }
      for (const sum of sums) total += sum.value - Math.log(draws);
    }
  }
  return total / feed.rows;
}

/**
 * Rows as the model sees them. Likelihoods may change rows at random (binarization, dequantization): all draws for a row must weigh
 * the same x, and it is the one that {@link elboProgram} sees, with the same noise.
 */
async function* preparedRows(model: Inference, feed: Feed, { seed, operation, signal }: EvaluateRequest): AsyncGenerator<Feed> {
  const batch = batchFor(feed.rows);
  for await (const { start, count, outputs } of overRows(
    model,
    prepareProgram(model.trainable),
    feed,
    { operation, signal, seed },
    batch,
  )) {
    const fields = Object.entries(feed.fields).map(([name, field]): [string, FedField] => {
      const { size } = field;
      const observed = outputs[name];
      const data = observed === undefined ? field.data.subarray(start * size, (start + count) * size) : observed.subarray(0, count * size);
      return [name, { ...field, data, ...(observed === undefined ? {} : { dtype: "float32" as const }) }];
    });
    yield { rows: count, fields: Object.fromEntries(fields) };
  }
}

/** log Σ exp(xᵢ) of numbers that come one by one, relative to the largest so far. */
class LogSumExp {
  #largest = Number.NEGATIVE_INFINITY;
  #sum = 0;

  add(x: number): void {
    if (x === Number.NEGATIVE_INFINITY) return;
    if (x > this.#largest) {
      this.#sum = this.#sum * Math.exp(this.#largest - x) + 1;
      this.#largest = x;
    } else {
      this.#sum += Math.exp(x - this.#largest);
    }
  }

  get value(): number {
    return this.#largest + Math.log(this.#sum);
  }
}

/** Values handled between two turns of the event loop: about a millisecond. */
const VALUES_PER_TURN = 1 << 18;

/** Calls `visit` for every value and its column, letting the event loop turn now and then. */
async function eachInTurns(
  values: Float32Array,
  columns: number,
  signal: AbortSignal | undefined,
  visit: (value: number, column: number) => void,
): Promise<void> {
  for (let begin = 0; begin < values.length; begin += VALUES_PER_TURN) {
    if (begin > 0) await setImmediate();
    signal?.throwIfAborted();
    const end = Math.min(begin + VALUES_PER_TURN, values.length);
    for (let index = begin; index < end; index++) visit(values[index]!, index % columns);
  }
}

async function columnMeans(values: Float32Array, rows: number, signal: AbortSignal | undefined): Promise<Float64Array> {
  const means = new Float64Array(values.length / rows);
  await eachInTurns(values, means.length, signal, (value, column) => {
    means[column]! += value / rows;
  });
  return means;
}

async function columnVariances(values: Float32Array, rows: number, signal: AbortSignal | undefined): Promise<Float64Array> {
  const means = await columnMeans(values, rows, signal);
  const variances = new Float64Array(means.length);
  await eachInTurns(values, means.length, signal, (value, column) => {
    variances[column]! += (value - means[column]!) ** 2 / rows;
  });
  return variances;
}
