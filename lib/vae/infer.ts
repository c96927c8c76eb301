// What a trained model is asked: encode, decode, reconstruct, sample, interpolate. Rows go through in batches of a fixed
// size, each one native call; between them the event loop turns.

import { describe, VaeError } from "../errors.js";
import { checkAttached } from "../graph/arguments.js";
import { isArray, isFloat32Array } from "../graph/kinds.js";
import { checkValues } from "../io/check.js";
import type { DataSource, Dataset } from "../io/dataset.js";
import type { DataNames } from "../io/names.js";
import { dtypeOf } from "../runtime/feed.js";
import type { HostArray } from "../runtime/native.js";
import type { SessionGraph } from "../runtime/session.js";
import type { Architecture } from "./architecture.js";
import { decodeGraph, encodeGraph, reconstructGraph, sampleGraph } from "./graph.js";
import { batches, batchFor, checkBytesAsTrained, ownRows, ownTogether, resultRows, type TrainedOn } from "./rows.js";
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

/** q(z|x) of every row, `rows × latent` each, row-major. */
export interface Encoding {
  readonly mean: Float32Array;
  readonly standardDeviation: Float32Array;
}

export async function encode(model: Inference, source: DataSource): Promise<Encoding> {
  return encodeRows(model, await ownRows(model, source, "encode"), "encode");
}

async function encodeRows(model: Inference, dataset: Dataset, operation: string): Promise<Encoding> {
  const { architecture } = model;
  const { latent } = architecture.config;
  const dtype = dtypeOf(dataset.data);
  const { mean, standardDeviation } = await runRows(model, dataset, {
    operation,
    key: `encode ${dtype}`,
    input: "x",
    widths: { mean: latent, standardDeviation: latent },
    graph: (batch) => encodeGraph(architecture, batch, dtype),
  });
  return { mean: mean!, standardDeviation: standardDeviation! };
}

export async function reconstruct(model: Inference, source: DataSource): Promise<Float32Array> {
  const { architecture } = model;
  const dataset = await ownRows(model, source, "reconstruct");
  const dtype = dtypeOf(dataset.data);
  const { mean } = await runRows(model, dataset, {
    operation: "reconstruct",
    key: `reconstruct ${dtype}`,
    input: "x",
    widths: { mean: architecture.size },
    graph: (batch) => reconstructGraph(architecture, batch, dtype),
  });
  return mean!;
}

/** Latents: `n × latent` values, or an array of latents. */
export type Latents = Float32Array | readonly ArrayLike<number>[];

export async function decode(model: Inference, latents: Latents): Promise<Float32Array> {
  return decodeRows(model, latentRows(latents, model.architecture.config.latent), "decode");
}

async function decodeRows(model: Inference, data: Float32Array, operation: string): Promise<Float32Array> {
  const { architecture } = model;
  const { latent } = architecture.config;
  const latents = { data, rows: data.length / latent, shape: [latent], name: "the latents" };
  const { mean } = await runRows(model, latents, {
    operation,
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
  request: { readonly count: number; readonly temperature: number; readonly seed: number; readonly draw: number },
): Promise<Float32Array> {
  const { architecture, weights } = model;
  const { count, temperature, seed, draw } = request;
  const { size } = architecture;
  const batch = batchFor(count);
  const result = resultRows(count, size, "sample");
  for (let start = 0; start < count; start += batch) {
    const firstStep = draw + start / batch;
    const inputs = { temperature: Float32Array.of(temperature) };
    const { outputs } = await weights.run(
      `sample ${batch}`,
      () => sampleGraph(architecture, batch),
      { steps: 1, firstStep, seed, inputs },
      "sample",
    );
    result.set(outputs.mean!.subarray(0, Math.min(batch, count - start) * size), start * size);
  }
  return result;
}

export interface InterpolateOptions {
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
  spherical: boolean,
): Promise<Float32Array> {
  const operation = "interpolate";
  const { architecture } = model;
  // A second row is one too many: there is no need to read on.
  const rows = await ownTogether(
    model,
    ends.map((source) => ({ source, operation, enough: 2 })),
  );
  const [from, to] = await Promise.all(
    rows.map(async (dataset) => {
      if (dataset.rows === 1) return (await encodeRows(model, dataset, operation)).mean;
      throw new VaeError({ code: "shape", operation, expected: "one row at each end", received: `${dataset.rows} rows` });
    }),
  );
  const latent = architecture.config.latent;
  const path = resultRows(steps, latent, operation);
  for (let index = 0; index < steps; index++) {
    const t = steps === 1 ? 0 : index / (steps - 1);
    path.set(spherical ? greatCircle(from!, to!, t) : weighted(from!, 1 - t, to!, t), index * latent);
  }
  return decodeRows(model, path, operation);
}

/** Shoemake's spherical interpolation; a straight line where the ends point the same way. */
function greatCircle(a: Float32Array, b: Float32Array, t: number): Float32Array {
  const dot = (x: Float32Array, y: Float32Array): number => x.reduce((total, value, index) => total + value * y[index]!, 0);
  const angle = Math.acos(Math.min(1, Math.max(-1, dot(a, b) / (Math.sqrt(dot(a, a) * dot(b, b)) || 1))));
  if (Math.sin(angle) < 1e-6) return weighted(a, 1 - t, b, t);
  return weighted(a, Math.sin((1 - t) * angle) / Math.sin(angle), b, Math.sin(t * angle) / Math.sin(angle));
}

function weighted(a: Float32Array, weightA: number, b: Float32Array, weightB: number): Float32Array {
  return a.map((value, index) => weightA * value + weightB * b[index]!);
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
  for (const [index, row] of rows.entries()) {
    if (ArrayBuffer.isView(row)) checkAttached("decode", row, `the latent at index ${index}`);
    if (typeof row !== "object" || row === null || row.length !== latent) {
      const received = Number.isSafeInteger(row?.length) ? `${row.length} values at index ${index}` : `${describe(row)} at index ${index}`;
      throw new VaeError({ code: "shape", operation: "decode", expected: `latents of ${latent} numbers`, received });
    }
    // What is no array of floats may hold anything, which set() would make numbers of: "1", null.
    const other = isFloat32Array(row) ? -1 : Array.from(row).findIndex((value) => typeof value !== "number");
    if (other >= 0) {
      const received = `${describe(row[other])} in the latent at index ${index}`;
      throw new VaeError({ code: "argument", operation: "decode", expected: "latents of numbers", received });
    }
    flat.set(row, index * latent);
  }
  return flat;
}

/** What rows go through. */
interface RowGraph {
  readonly operation: string;
  /** Tells this graph from the model's others. */
  readonly key: string;
  readonly input: string;
  /** The outputs, with their values per row. */
  readonly widths: Readonly<Record<string, number>>;
  /** The graph for a batch of so many rows. */
  graph(batch: number): SessionGraph;
}

/** Runs rows through a graph of a fixed batch size; throws `"data"` at the first value that is not finite. */
async function runRows(
  model: Inference,
  dataset: Dataset,
  { operation, key, input, widths, graph }: RowGraph,
): Promise<Record<string, Float32Array>> {
  const { weights } = model;
  await checkBytesAsTrained(model, dataset, operation);
  await checkValues(dataset, undefined, operation);
  const { data, rows } = dataset;
  const size = data.length / rows;
  const batch = batchFor(rows);
  const names = Object.keys(widths);
  const results = Object.fromEntries(names.map((name) => [name, resultRows(rows, widths[name]!, operation)]));
  for (const { start, count, values } of batches<Float32Array | Uint8Array>(data, { rows, size, batch, operation })) {
    const inputs: Record<string, HostArray> = { [input]: values };
    const { outputs } = await weights.run(`${key} ${batch}`, () => graph(batch), { steps: 1, inputs }, operation);
    for (const name of names) results[name]!.set(outputs[name]!.subarray(0, count * widths[name]!), start * widths[name]!);
  }
  return results;
}
