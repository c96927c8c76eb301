// What a trained model is asked: encode, decode, reconstruct, sample, interpolate. Rows go through in batches of a fixed
// size, each one native call; between them the event loop turns.

import { describe, VaeError } from "../errors.js";
import { checkAttached, isRecord, suggestion } from "../graph/arguments.js";
import { isArray, isArrayLike, isFloat32Array, isInt32Array } from "../graph/kinds.js";
import { sizeOf } from "../graph/tensor.js";
import { checkValues } from "../io/check.js";
import type { DataSource, Dataset } from "../io/dataset.js";
import { fieldsOf } from "../io/fields.js";
import { type CallOptions, overRows, type Program, type ProgramCall, runBatch } from "../train/program.js";
import {
  batches,
  batchFor,
  checkBytesAsTrained,
  type FedField,
  type Feed,
  feedOf,
  ownRows,
  ownTogether,
  resultRows,
  stopping,
} from "../train/rows.js";
import type { Trainee } from "../train/state.js";
import type { Architecture } from "./architecture.js";
import type { Given, NamedConditions } from "./conditions.js";
import { decodeProgram, encodeProgram, generatingConditions, latentSize, reconstructProgram, sampleProgram } from "./programs.js";

/** A VAE as inference sees it. */
export interface Inference extends Trainee {
  readonly trainable: Architecture;
}

type Signal = AbortSignal | undefined;

/** q(z|x) of every row, `rows × latent` each, row-major. A model of several latents gives them beside each other. */
export interface Encoding {
  readonly mean: Float32Array;
  /** NaN for posteriors that know none. */
  readonly standardDeviation: Float32Array;
}

/** A caller's rows, ready for a program. */
export async function feedRows(model: Inference, dataset: Dataset, operation: string): Promise<Feed> {
  await checkBytesAsTrained(model, dataset, operation);
  return feedOf(model.trainable.fields, dataset, operation);
}

/**
 * The same for what needs no likelihood of x: a row outside of the values that the likelihood takes has a latent all the same. Its
 * values need only be finite. Fields that the program does not ask for may be missing; where they are there they are checked.
 */
async function feedAnyRows(model: Inference, dataset: Dataset, { inputs }: Program, operation: string): Promise<Feed> {
  await checkBytesAsTrained(model, dataset, operation);
  const given = fieldsOf(dataset);
  const asked = Object.entries(model.trainable.fields).filter(([name]) => Object.hasOwn(inputs, name) || Object.hasOwn(given, name));
  const unbounded = asked.map(([name, { range: _, ...field }]) => [name, field] as const);
  const { rows, fields } = await feedOf(Object.fromEntries(unbounded), dataset, operation);
  return { rows, fields: Object.fromEntries(Object.entries(fields).filter(([name]) => Object.hasOwn(inputs, name))) };
}

export async function encode(model: Inference, source: DataSource, signal?: Signal): Promise<Encoding> {
  signal?.throwIfAborted();
  return encodeRows(model, await ownRows(model, source, "encode", stopping(signal)), "encode", signal);
}

async function encodeRows(model: Inference, dataset: Dataset, operation: string, signal: Signal): Promise<Encoding> {
  const { trainable } = model;
  const program = encodeProgram(trainable);
  const feed = await feedAnyRows(model, dataset, program, operation);
  const latent = latentSize(trainable);
  const widths = { mean: latent, standardDeviation: latent };
  const { mean, standardDeviation } = await programRows(model, program, feed, widths, { operation, signal });
  return { mean: mean!, standardDeviation: standardDeviation! };
}

export async function reconstruct(model: Inference, source: DataSource, signal?: Signal): Promise<Float32Array> {
  signal?.throwIfAborted();
  const operation = "reconstruct";
  const { trainable } = model;
  const dataset = await ownRows(model, source, operation, stopping(signal));
  const program = reconstructProgram(trainable);
  const feed = await feedAnyRows(model, dataset, program, operation);
  return (await programRows(model, program, feed, { mean: trainable.size }, { operation, signal })).mean!;
}

/** Runs rows through a program whose outputs have known widths; one that it does not give is NaN. */
async function programRows(
  model: Inference,
  program: Program,
  feed: Feed,
  widths: Readonly<Record<string, number>>,
  call: ProgramCall,
): Promise<Readonly<Record<string, Float32Array>>> {
  const batch = batchFor(feed.rows);
  const { arrays, release } = resultRows(feed.rows, widths, call.operation);
  try {
    for await (const { start, count, outputs } of overRows(model, program, feed, call, batch)) {
      release();
      for (const [name, width] of Object.entries(widths)) {
        const values = outputs[name];
        if (values === undefined) arrays[name]!.fill(Number.NaN, start * width, (start + count) * width);
        else arrays[name]!.set(values.subarray(0, count * width), start * width);
      }
    }
  } finally {
    release();
  }
  return arrays;
}

/** Latents: `n × latent` values, or an array of latents. */
export type Latents = Float32Array | readonly ArrayLike<number>[];

export async function decode(model: Inference, latents: Latents, given: Given | undefined, signal?: Signal): Promise<Float32Array> {
  signal?.throwIfAborted();
  const operation = "decode";
  const { trainable } = model;
  const latent = latentSize(trainable);
  const data = latentRows(latents, latent);
  const rows = data.length / latent;
  await checkValues({ data, rows, shape: [latent], name: "the latents" }, undefined, operation);
  const z: FedField = { data, dtype: "float32", size: latent };
  const feed = { rows, fields: { z, ...givenFields(trainable, given, rows, operation) } };
  return (await programRows(model, decodeProgram(trainable), feed, { mean: trainable.size }, { operation, signal })).mean!;
}

/**
 * The conditions of rows that are not there: one value for all of them, or one for each.
 *
 * @throws VaeError `"argument"` unless every condition of the model is given, and nothing else
 */
function givenFields(architecture: Architecture, given: Given = {}, rows: number, operation: string): Record<string, FedField> {
  const { fields } = architecture;
  const wrong = (expected: string, received: unknown, hint = ""): VaeError =>
    new VaeError({ code: "argument", operation, expected, received: describe(received), ...(hint === "" ? {} : { hint }) });
  const names = generatingConditions(architecture);
  if (!isRecord(given)) throw wrong("given as values of conditions by name: { label: 3 }", given);
  const unknown = Object.keys(given).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    const known = names.length === 0 ? "no conditions: this model generates without any" : `the model's conditions, ${names.join(", ")}`;
    throw wrong(`given to hold ${known}`, unknown, suggestion(unknown, names).trim());
  }
  return Object.fromEntries(
    names.map((name) => {
      const value = (given as Given)[name];
      const { shape, names: categories } = fields[name]!;
      const size = sizeOf(shape);
      if (value === undefined) throw wrong(`given.${name}: the model asks for it`, undefined, `${operation}(…, { given: { ${name}: … } })`);
      const list: unknown = typeof value === "string" || typeof value === "number" ? [value] : value;
      if (ArrayBuffer.isView(list)) checkAttached(operation, list, `given.${name}`);
      if (!isArrayLike(list) || (list.length !== size && list.length !== rows * size)) {
        const expected = `given.${name} as ${size === 1 ? "one value" : `${size} values`}, or as ${rows * size} for ${rows} rows`;
        const received = isArrayLike(list) ? `${list.length} values` : describe(list);
        throw new VaeError({ code: "argument", operation, expected, received });
      }
      const numberOf = (item: unknown): number => {
        const place = typeof item === "string" ? categories?.indexOf(item) : item;
        const isRight =
          typeof place === "number" &&
          (categories === undefined
            ? Number.isFinite(Math.fround(place))
            : Number.isInteger(place) && place >= 0 && place < categories.length);
        if (isRight) return place;
        const expected = categories === undefined ? "finite numbers" : `${categories.length} categories, by name or number`;
        throw wrong(`given.${name} to hold ${expected}`, item, typeof item === "string" ? suggestion(item, categories ?? []).trim() : "");
      };
      const numbers = Array.from(list, numberOf);
      const data = categories === undefined ? new Float32Array(rows * size) : new Int32Array(rows);
      for (let index = 0; index < data.length; index++) data[index] = numbers[index % numbers.length]!;
      return [name, { data, dtype: isInt32Array(data) ? "int32" : "float32", size }] as const;
    }),
  );
}

/** What `sample` is asked for. */
export interface SampleRequest {
  readonly count: number;
  readonly temperature: number;
  readonly given: Given | undefined;
  readonly seed: number;
  /** Which of the endless batches of draws of a seed is the first. */
  readonly draw: number;
  readonly signal: Signal;
}

export async function sample(model: Inference, request: SampleRequest): Promise<Float32Array> {
  const operation = "sample";
  const { trainable } = model;
  const { count, temperature, seed, draw, signal, given } = request;
  signal?.throwIfAborted();
  const { size } = trainable;
  const batch = batchFor(count);
  const { arrays, release } = resultRows(count, { mean: size }, operation);
  const mean = arrays.mean!;
  try {
    const program = sampleProgram(trainable);
    const conditions = givenFields(trainable, given, count, operation);
    const call = { operation, signal, seed, scalars: { temperature }, advice: FEWER_SAMPLES };
    for (const { index, start, count: rows, inputs } of batches({ rows: count, fields: conditions }, batch, operation)) {
      const outputs = await runBatch(model, program, { rows: batch, inputs, step: draw + index }, call);
      release();
      mean.set(outputs.mean!.subarray(0, rows * size), start * size);
    }
  } finally {
    release();
  }
  return mean;
}

const FEWER_SAMPLES = "a smaller count at a time";

/** What `interpolate` takes. @typeParam C the model's conditions */
export interface InterpolateOptions<C extends NamedConditions = NamedConditions> extends CallOptions {
  /**
   * Along the great circle instead of the straight line (White 2016): Gaussian latents of many dimensions lie near a
   * sphere, and a straight line leaves it. Default false.
   */
  readonly spherical?: boolean;
  /** Conditions of what is decoded, one for all steps or one for each; see {@link SampleOptions}. */
  readonly given?: Given<C>;
}

/** From row `from` to row `to`, both included, through the means of their posteriors. Conditions go along the same way. */
export async function interpolate(
  model: Inference,
  ends: readonly [from: DataSource, to: DataSource],
  steps: number,
  { spherical, given, signal }: { readonly spherical: boolean; readonly given: Given | undefined; readonly signal: Signal },
): Promise<Float32Array> {
  const operation = "interpolate";
  signal?.throwIfAborted();
  const { trainable } = model;
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
  const latent = latentSize(trainable);
  const weightsAt = spherical ? greatCircle(from!, to!) : straightLine;
  const batch = batchFor(steps);
  const conditions = givenFields(trainable, given, steps, operation);
  const program = decodeProgram(trainable);
  const { arrays, release } = resultRows(steps, { mean: trainable.size }, operation);
  try {
    // Made batch by batch as they are decoded: all steps at once could be many.
    for (const { index, start, count, inputs } of batches({ rows: steps, fields: conditions }, batch, operation)) {
      const z = new Float32Array(batch * latent);
      for (let row = 0; row < count; row++) {
        const [a, b] = weightsAt(steps === 1 ? 0 : (start + row) / (steps - 1));
        for (let i = 0; i < latent; i++) z[row * latent + i] = a * from![i]! + b * to![i]!;
      }
      const outputs = await runBatch(model, program, { rows: batch, inputs: { z, ...inputs }, step: index }, { operation, signal });
      release();
      arrays.mean!.set(outputs.mean!.subarray(0, count * trainable.size), start * trainable.size);
    }
  } finally {
    release();
  }
  return arrays.mean!;
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
