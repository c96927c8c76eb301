// What a model makes of data it is shown, without learning. Native calls give values per row; means are taken in float64.
import { setImmediate } from "node:timers/promises";
import type { Dataset } from "../io/dataset.js";
import { dtypeOf } from "../runtime/feed.js";
import { elboGraph, importanceGraph, prepareGraph, scoreGraph } from "../vae/graph.js";
import type { Inference } from "../vae/infer.js";
import { batches, batchFor, checkBytesAsTrained, checkRows, type Results, type RowBatch, resultRows } from "../vae/rows.js";

/** Means per sample in nats. */
export interface Evaluation {
  /** reconstruction − kl, whatever β the model is trained with. */
  readonly elbo: number;
  /**
   * E[log p(x|z)], at one draw of z per row. What is drawn for a row depends on its place among the rows: means over rows hardly
   * do, but values of single rows are for {@link ScoreOptions | score} to give.
   */
  readonly reconstruction: number;
  readonly kl: number;
  /** The contributions that `kl` is the sum of, one per latent dimension where dimensions are independent. */
  readonly klPerDimension: Float64Array;
  /** Latent dimensions whose posterior mean has a variance above 0.01 over the data (Burda, Grosse & Salakhutdinov 2015). */
  readonly activeUnits: number;
  /**
   * −log p(x) by importance sampling, an upper bound that falls towards the truth with more samples; when asked for. A
   * likelihood that changes rows at random (`binarize: "stochastic"`) does so once per row, for all draws and for `elbo`.
   */
  readonly negativeLogLikelihood?: number;
  readonly rows: number;
}

export interface EvaluateOptions {
  /** Draws per row for `negativeLogLikelihood`; default 0, which leaves it out. 5000 is usual for published numbers. */
  readonly importanceSamples?: number;
  /** Of the draws; default: the model's. */
  readonly seed?: number;
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
  await checkBytesAsTrained(model, dataset, request.operation);
  await checkRows(model.architecture, dataset, request.operation);
  const { rows } = dataset;
  const { reconstruction, kl, mean } = await elboParts(model, dataset, request);
  const klPerDimension = await columnMeans(kl, rows, request.signal);
  const total = klPerDimension.reduce((sum, value) => sum + value, 0);
  const expected = (await columnMeans(reconstruction, rows, request.signal))[0]!;
  const activeUnits = (await columnVariances(mean, rows, request.signal)).reduce(
    (count, variance) => count + (variance > ACTIVE_VARIANCE ? 1 : 0),
    0,
  );
  const parts = { elbo: expected - total, reconstruction: expected, kl: total, klPerDimension, activeUnits, rows };
  if (request.importanceSamples === 0) return parts;
  return { ...parts, negativeLogLikelihood: -(await meanLogLikelihood(model, dataset, request)) };
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
  const { architecture, weights } = model;
  const { samples, seed, signal } = request;
  await checkBytesAsTrained(model, dataset, operation);
  await checkRows(architecture, dataset, operation);
  const { data, rows } = dataset;
  const dtype = dtypeOf(data);
  const at = samples === 0 ? "mean" : "draw";
  const batch = weights.device.name === "cpu" ? batchFor(rows) : SCORED_ROWS;
  const { arrays, release } = resultRows(rows, { scores: 1 }, operation);
  release(); // a number per row
  const scores = arrays.scores!;
  for (const { start, count, values } of batches<Rows>(data, { rows, size: architecture.size, batch, operation })) {
    const totals = new Float64Array(count);
    for (let draw = 0; draw < Math.max(1, samples); draw++) {
      signal?.throwIfAborted();
      const { outputs } = await weights.run(
        `score ${at} ${dtype} ${batch}`,
        () => scoreGraph(architecture, batch, dtype, at),
        { steps: 1, firstStep: draw, seed, inputs: { x: values } },
        operation,
      );
      addNegativeBounds(outputs.reconstruction!, outputs.kl!, totals);
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

type Rows = Float32Array | Uint8Array;

/** Reconstruction `[rows]`, KL `[rows, k]` and posterior mean `[rows, latent]`. */
async function elboParts({ architecture, weights }: Inference, { data, rows }: Dataset, request: EvaluateRequest) {
  const dtype = dtypeOf(data);
  const batch = batchFor(rows);
  let parts: Results | undefined;
  for (const { index, start, count, values } of batches<Rows>(data, {
    rows,
    size: architecture.size,
    batch,
    operation: request.operation,
  })) {
    request.signal?.throwIfAborted();
    const { outputs } = await weights.run(
      `elbo ${dtype} ${batch}`,
      () => elboGraph(architecture, batch, dtype),
      { steps: 1, firstStep: index, seed: request.seed, inputs: { x: values } },
      request.operation,
    );
    const widths = Object.entries(outputs).map(([name, output]) => [name, output.length / batch] as const);
    parts ??= resultRows(rows, Object.fromEntries(widths), request.operation);
    for (const [name, width] of widths) parts.arrays[name]!.set(outputs[name]!.subarray(0, count * width), start * width);
    parts.release();
  }
  return parts!.arrays as Record<"reconstruction" | "kl" | "mean", Float32Array>;
}

/** Mean over rows of log (1/K Σ wₖ), by a running log-sum-exp over as many native calls as the draws need. */
async function meanLogLikelihood(model: Inference, dataset: Dataset, request: EvaluateRequest): Promise<number> {
  const { architecture, weights } = model;
  const { rows } = dataset;
  const { importanceSamples: draws, operation, seed } = request;
  const batch = batchFor(rows, 128);
  const samples = Math.min(draws, Math.max(1, Math.floor(IMPORTANCE_ROWS / batch)));
  let step = 0;
  let total = 0;
  for await (const { count, values } of preparedBatches(model, dataset, batch, request)) {
    const sums = Array.from({ length: count }, () => new LogSumExp());
    for (let done = 0; done < draws; done += samples) {
      request.signal?.throwIfAborted();
      const { outputs } = await weights.run(
        `importance ${batch} ${samples}`,
        () => importanceGraph(architecture, batch, samples),
        { steps: 1, firstStep: step++, seed, inputs: { x: values } },
        operation,
        FEWER_DRAWS,
      );
      // The last call may draw more than was asked for.
      const used = Math.min(samples, draws - done);
      sums.forEach((sum, row) => {
        for (let sample = 0; sample < used; sample++) sum.add(outputs.logWeights![row * samples + sample]!);
      });
    }
    for (const sum of sums) total += sum.value - Math.log(draws);
  }
  return total / rows;
}

/**
 * Batches of rows as the model sees them. Likelihoods may change rows at random (binarization, dequantization): all draws for
 * a row must weigh the same x, and it is the one that {@link elboParts} sees, with the same noise.
 */
async function* preparedBatches(
  { architecture, weights }: Inference,
  { data, rows }: Dataset,
  batch: number,
  { seed, operation, signal }: EvaluateRequest,
): AsyncGenerator<RowBatch<Float32Array>> {
  const { size } = architecture;
  const dtype = dtypeOf(data);
  const prepared = batchFor(rows);
  for (const { index, count, values } of batches<Rows>(data, { rows, size, batch: prepared, operation })) {
    signal?.throwIfAborted();
    const { outputs } = await weights.run(
      `prepare ${dtype} ${prepared}`,
      () => prepareGraph(architecture, prepared, dtype),
      { steps: 1, firstStep: index, seed, inputs: { x: values } },
      operation,
    );
    yield* batches(outputs.x!, { rows: count, size, batch, operation });
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
