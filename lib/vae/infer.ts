// What a trained model is asked: encode, decode, reconstruct, sample, interpolate. Rows go through in batches of a fixed
// size, each one native call; between them the event loop turns.

import { describe, VaeError } from "../errors.js";
import { checkAttached } from "../graph/arguments.js";
import { isArray, isArrayLike, isFloat32Array } from "../graph/kinds.js";
import { checkValues } from "../io/check.js";
import type { DataSource, Dataset } from "../io/dataset.js";
import type { DataNames } from "../io/names.js";
import { dtypeOf } from "../runtime/feed.js";
import type { HostArray } from "../runtime/native.js";
import type { SessionGraph } from "../runtime/session.js";
import type { Architecture } from "./architecture.js";
import { decodeGraph, encodeGraph, reconstructGraph, sampleGraph } from "./graph.js";
import {
  batches,
  batchFor,
  checkBytesAsTrained,
  ownRows,
  ownTogether,
  type RowBatch,
  resultRows,
  stopping,
  type TrainedOn,
} from "./rows.js";
import type { Weights } from "./weights.js";

/** A model as inference sees it. */
export interface Inference {
  readonly architecture: Architecture;
  readonly weights: Weights;
  /** What its training data were called. */
  readonly names: DataNames;
  /** What it was trained on. */
  readonly state: Readonly<TrainedOn>;
}

/** What every verb takes. */
export interface CallOptions {
  /** Ends the call between two native calls, each over some hundred rows; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

type Signal = AbortSignal | undefined;

/** q(z|x) of every row, `rows × latent` each, row-major. */
export interface Encoding {
  readonly mean: Float32Array;
  readonly standardDeviation: Float32Array;
}

export async function encode(model: Inference, source: DataSource, signal?: Signal): Promise<Encoding> {
  signal?.throwIfAborted();
  return encodeRows(model, await ownRows(model, source, "encode", stopping(signal)), "encode", signal);
}

async function encodeRows(model: Inference, dataset: Dataset, operation: string, signal: Signal): Promise<Encoding> {
  const { architecture } = model;
  const { latent } = architecture.config;
  const dtype = dtypeOf(dataset.data);
  const { mean, standardDeviation } = await runRows(model, dataset, {
    operation,
    signal,
    key: `encode ${dtype}`,
    input: "x",
    widths: { mean: latent, standardDeviation: latent },
    graph: (batch) => encodeGraph(architecture, batch, dtype),
  });
  return { mean: mean!, standardDeviation: standardDeviation! };
}

export async function reconstruct(model: Inference, source: DataSource, signal?: Signal): Promise<Float32Array> {
  signal?.throwIfAborted();
  const { architecture } = model;
  const dataset = await ownRows(model, source, "reconstruct");
  const dtype = dtypeOf(dataset.data);
  const { mean } = await runRows(model, dataset, {
    operation: "reconstruct",
    signal,
    key: `reconstruct ${dtype}`,
    input: "x",
    widths: { mean: architecture.size },
    graph: (batch) => reconstructGraph(architecture, batch, dtype),
  });
  return mean!;
}

/** Latents: `n × latent` values, or an array of latents. */
export type Latents = Float32Array | readonly ArrayLike<number>[];

export async function decode(model: Inference, latents: Latents, signal?: Signal): Promise<Float32Array> {
  signal?.throwIfAborted();
  const { latent } = model.architecture.config;
  const data = latentRows(latents, latent);
  const rows = data.length / latent;
  await checkValues({ data, rows, shape: [latent], name: "the latents" }, undefined, "decode");
  const latentBatches = (batch: number) => batches(data, { rows, size: latent, batch, operation: "decode" });
  return decodeBatches(model, { rows, latentBatches, operation: "decode", signal });
}

/** Latents that are decoded as they come: so many rows, in batches of a size. */
interface LatentRows {
  readonly rows: number;
  readonly latentBatches: (batch: number) => Iterable<RowBatch<Float32Array>>;
  readonly operation: string;
  readonly signal: Signal;
}

async function decodeBatches(model: Inference, { rows, latentBatches, operation, signal }: LatentRows): Promise<Float32Array> {
  const { architecture } = model;
  const { mean } = await runBatches(model, rows, latentBatches, {
    operation,
    signal,
    key: "decode",
    input: "z",
    widths: { mean: architecture.size },
    graph: (batch) => decodeGraph(architecture, batch),
  });
  return mean!;
}

/** @param draw which of the endless batches of draws of a seed is the first */
export async function sample(
  model: Inference,
  request: { readonly count: number; readonly temperature: number; readonly seed: number; readonly draw: number; readonly signal: Signal },
): Promise<Float32Array> {
  const { architecture, weights } = model;
  const { count, temperature, seed, draw, signal } = request;
  signal?.throwIfAborted();
  const { size } = architecture;
  const batch = batchFor(count);
  const { arrays, release } = resultRows(count, { mean: size }, "sample");
  const mean = arrays.mean!;
  try {
    for (let start = 0; start < count; start += batch) {
      signal?.throwIfAborted();
      const firstStep = draw + start / batch;
      const inputs = { temperature: Float32Array.of(temperature) };
      const { outputs } = await weights.run(
        `sample ${batch}`,
        () => sampleGraph(architecture, batch),
        { steps: 1, firstStep, seed, inputs },
        "sample",
        FEWER_SAMPLES,
      );
      release();
      mean.set(outputs.mean!.subarray(0, Math.min(batch, count - start) * size), start * size);
    }
  } finally {
    release();
  }
  return mean;
}

const FEWER_SAMPLES = "a smaller count at a time";

export interface InterpolateOptions extends CallOptions {
  /**
   * Along the great circle instead of the straight line (White 2016): Gaussian latents of many dimensions lie near a
   * sphere, and a straight line leaves it. Default false.
   */
  readonly spherical?: boolean;
}

/** From row `from` to row `to`, both included, through the means of their posteriors. */
export async function interpolate(
  model: Inference,
  ends: readonly [from: DataSource, to: DataSource],
  steps: number,
  { spherical, signal }: { readonly spherical: boolean; readonly signal: Signal },
): Promise<Float32Array> {
  const operation = "interpolate";
  signal?.throwIfAborted();
  const { architecture } = model;
  // A second row is one too many: there is no need to read on.
  const rows = await ownTogether(
    model,
    ends.map((source) => ({ source, operation, enough: 2 })),
  );
  const [from, to] = await Promise.all(
    rows.map(async (dataset) => {
      if (dataset.rows === 1) return (await encodeRows(model, dataset, operation, signal)).mean;
      throw new VaeError({ code: "shape", operation, expected: "one row at each end", received: `${dataset.rows} rows` });
    }),
  );
  const { latent } = architecture.config;
  const weightsAt = spherical ? greatCircle(from!, to!) : straightLine;
  // Made batch by batch as they are decoded: all steps at once could be many.
  function* latentBatches(batch: number): Generator<RowBatch<Float32Array>> {
    for (let start = 0, index = 0; start < steps; start += batch, index++) {
      const count = Math.min(batch, steps - start);
      const values = new Float32Array(batch * latent);
      for (let row = 0; row < count; row++) {
        const [a, b] = weightsAt(steps === 1 ? 0 : (start + row) / (steps - 1));
        for (let i = 0; i < latent; i++) values[row * latent + i] = a * from![i]! + b * to![i]!;
      }
      yield { index, start, count, values };
    }
  }
  return decodeBatches(model, { rows: steps, latentBatches, operation, signal });
}

/** The weights of both ends at a place from 0 to 1 between them. */
type Path = (t: number) => readonly [from: number, to: number];

const straightLine: Path = (t) => [1 - t, t];

/** Shoemake's spherical interpolation; a straight line where the ends point the same way. */
function greatCircle(a: Float32Array, b: Float32Array): Path {
  let [dot, squaresA, squaresB] = [0, 0, 0];
  a.forEach((value, index) => {
    dot += value * b[index]!;
    squaresA += value * value;
    squaresB += b[index]! ** 2;
  });
  const angle = Math.acos(Math.min(1, Math.max(-1, dot / (Math.sqrt(squaresA) * Math.sqrt(squaresB) || 1))));
  const sine = Math.sin(angle);
  return sine < 1e-6 ? straightLine : (t) => [Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine];
}

function latentRows(latents: Latents, latent: number): Float32Array {
  if (isFloat32Array(latents)) checkAttached("decode", latents, "the latents");
  const flat = isFloat32Array(latents) ? latents.slice() : isArray(latents) ? rowsToArray(latents, latent) : undefined;
  if (flat !== undefined && flat.length > 0 && flat.length % latent === 0) return flat;
  throw new VaeError({
    code: "shape",
    operation: "decode",
    expected: `n × ${latent} latent values in a Float32Array, or an array of latents of ${latent} numbers`,
    received: flat === undefined ? describe(latents) : `${flat.length} values`,
  });
}

function rowsToArray(rows: readonly ArrayLike<number>[], latent: number): Float32Array {
  const flat = new Float32Array(rows.length * latent);
  // Not forEach(), which passes over the holes of a sparse array.
  for (const [index, row] of rows.entries() as Iterable<[number, unknown]>) {
    if (ArrayBuffer.isView(row)) checkAttached("decode", row, `the latent at index ${index}`);
    if (!isArrayLike(row) || row.length !== latent) {
      const received = isArrayLike(row) ? `${row.length} values at index ${index}` : `${describe(row)} at index ${index}`;
      throw new VaeError({ code: "shape", operation: "decode", expected: `latents of ${latent} numbers`, received });
    }
    // What is no array of floats may hold anything, which set() would make numbers of: "1", null.
    const other = isFloat32Array(row) ? -1 : Array.from(row).findIndex((value) => typeof value !== "number");
    if (other >= 0) {
      const received = `${describe(row[other])} in the latent at index ${index}`;
      throw new VaeError({ code: "argument", operation: "decode", expected: "latents of numbers", received });
    }
    flat.set(row as ArrayLike<number>, index * latent);
  }
  return flat;
}

/** What rows go through. */
interface RowGraph {
  readonly operation: string;
  readonly signal: Signal;
  /** Tells this graph from the model's others. */
  readonly key: string;
  readonly input: string;
  /** The outputs, with their values per row. */
  readonly widths: Readonly<Record<string, number>>;
  /** The graph for a batch of so many rows. */
  graph(batch: number): SessionGraph;
}

/** Runs rows through a graph of a fixed batch size; throws `"data"` at the first value that is not finite. */
async function runRows(model: Inference, dataset: Dataset, graph: RowGraph): Promise<Record<string, Float32Array>> {
  const { operation } = graph;
  await checkBytesAsTrained(model, dataset, operation);
  await checkValues(dataset, undefined, operation);
  const { data, rows } = dataset;
  return runBatches(model, rows, (batch) => batches<Rows>(data, { rows, size: data.length / rows, batch, operation }), graph);
}

type Rows = Float32Array | Uint8Array;

/** Runs batches through a graph, each in one native call; between them the event loop turns, and a signal is heard. */
async function runBatches(
  { weights }: Inference,
  rows: number,
  rowBatches: (batch: number) => Iterable<RowBatch<Rows>>,
  { operation, signal, key, input, widths, graph }: RowGraph,
): Promise<Record<string, Float32Array>> {
  const batch = batchFor(rows);
  const { arrays, release } = resultRows(rows, widths, operation);
  try {
    for (const { start, count, values } of rowBatches(batch)) {
      signal?.throwIfAborted();
      const inputs: Record<string, HostArray> = { [input]: values };
      const { outputs } = await weights.run(`${key} ${batch}`, () => graph(batch), { steps: 1, inputs }, operation);
      release();
      for (const [name, width] of Object.entries(widths)) {
        arrays[name]!.set(outputs[name]!.subarray(0, count * width), start * width);
      }
    }
  } finally {
    release();
  }
  return arrays;
}
