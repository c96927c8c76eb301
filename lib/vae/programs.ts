// What a trained model is asked, as programs over rows.
import type { Distribution } from "../distributions/index.js";
import { VaeError } from "../errors.js";
import { concatenate, input, reshapeTensor, type Shape, sizeOf, slice, type Tensor, topological } from "../graph/index.js";
import { type NoiseSource, NoNoise, Pass, RowNoise, ScaledNoise, type Scope } from "../nn/index.js";
import type { Program } from "../train/program.js";
import type { FieldSpec } from "../train/trainable.js";
import type { Architecture } from "./architecture.js";
import { prepared, restored } from "./prepare.js";
import { importanceLogWeights, klContributions, logLikelihood, type Trace } from "./trace.js";
import { type Batch, generated, traceOf } from "./wiring.js";

/** Of what `evaluate` draws: programs that draw under one name here draw the same, and see the same rows. */
const EVALUATION = "evaluation";

/** The shapes of all fields that come with rows. */
function rowInputs({ fields }: Architecture): Readonly<Record<string, Shape>> {
  return Object.fromEntries(Object.entries(fields).map(([name, { shape }]) => [name, shape]));
}

/** The conditions that what is generated depends on: all but those of the encoder alone. */
export function generatingConditions({ conditions }: Architecture): readonly string[] {
  return Object.keys(conditions).filter((name) => conditions[name]!.at !== "encoder");
}

/** Their shapes. */
function conditionInputs(architecture: Architecture): Readonly<Record<string, Shape>> {
  return Object.fromEntries(generatingConditions(architecture).map((name) => [name, architecture.fields[name]!.shape]));
}

/** The trace of rows as they are stored. @param data the noise of likelihoods that change rows at random */
function traced(architecture: Architecture, inputs: Batch, root: Scope, data?: NoiseSource): Trace {
  const { batch, scope } = prepared(architecture, inputs, root, data);
  return traceOf(architecture.wiring, batch, scope, 1);
}

/** Latents are drawn at their middle. */
const withoutNoise = (): NoiseSource => new NoNoise();

/** The latents of a trace beside each other, `[rows, Σ sizes]`. */
function joined(trace: Trace, of: (latent: Trace["latents"][string]) => Tensor): Tensor {
  const parts = Object.values(trace.latents).map(of);
  return parts.length === 1 ? parts[0]! : concatenate(parts, 1);
}

const middle = ({ posterior, draw }: Trace["latents"][string]): Tensor => posterior.mean ?? draw.value;

/** A latent of a model. */
export interface LatentOutline {
  readonly name: string;
  readonly size: number;
}

/** The latents of a model with their sizes, in the order in which `encode` gives them. */
export function latentsOf(architecture: Architecture): readonly LatentOutline[] {
  const { config } = architecture;
  if ("latent" in config) return [{ name: "z", size: config.latent }];
  const known = outlines.get(architecture);
  if (known !== undefined) return known;
  const { latents } = outlined(architecture, new Pass("inference", new NoNoise()).scope(architecture.place));
  const outline = Object.entries(latents).map(([name, { draw }]) => ({ name, size: draw.value.shape[1]! }));
  outlines.set(architecture, outline);
  return outline;
}

const outlines = new WeakMap<Architecture, readonly LatentOutline[]>();

/** Values of all latents of a row. */
export function latentSize(architecture: Architecture): number {
  return latentsOf(architecture).reduce((total, { size }) => total + size, 0);
}

/** E[x|z], in the units of the rows. */
function meanOf(architecture: Architecture, distribution: Distribution | undefined, scope: Scope): Tensor {
  if (distribution?.mean !== undefined) return restored(architecture, distribution.mean, scope);
  const problem = distribution === undefined ? "the model generates no x" : `the family ${distribution.family} has no mean`;
  throw new VaeError({ code: "architecture", operation: "decode", problem, expected: "a likelihood of x whose distribution has a mean" });
}

/** What is made of the trace of some rows, at the middle of their latents. */
type OfTrace = (trace: Trace, scope: Scope) => Readonly<Record<string, Tensor>>;

/** A program over rows that asks for the fields alone that its outputs depend on: an encoder may see no classes. */
function middleProgram(architecture: Architecture, name: string, of: OfTrace): Program {
  const fields = Object.entries(architecture.fields);
  const asked = fieldsBehind(architecture, name, of);
  return {
    name,
    draws: withoutNoise,
    inputs: Object.fromEntries(fields.filter(([field]) => asked.has(field)).map(([field, { shape }]) => [field, shape])),
    build: (inputs, scope, rows) => {
      // A wiring finds every field there; nothing that is asked for comes from these.
      const others = fields.filter(([field]) => !asked.has(field)).map(([field, spec]) => [field, leafOf(field, spec, rows)] as const);
      return of(traced(architecture, { ...inputs, ...Object.fromEntries(others) }, scope), scope);
    },
  };
}

function leafOf(name: string, { shape, dtypes }: FieldSpec, rows: number): Tensor {
  return input(name, [rows, ...shape], dtypes[0]);
}

/** The trace of one row, whose fields are inputs by their names. */
function outlined(architecture: Architecture, scope: Scope): Trace {
  const leaves = Object.entries(architecture.fields).map(([name, spec]) => [name, leafOf(name, spec, 1)] as const);
  return traced(architecture, Object.fromEntries(leaves), scope);
}

/** The fields that what is made of a trace depends on, x among them: that says how many rows there are. */
function fieldsBehind(architecture: Architecture, program: string, of: OfTrace): ReadonlySet<string> {
  const known = behind.get(architecture) ?? new Map<string, ReadonlySet<string>>();
  behind.set(architecture, known);
  const before = known.get(program);
  if (before !== undefined) return before;
  const scope = new Pass("inference", new NoNoise()).scope(architecture.place);
  const outputs = Object.values(of(outlined(architecture, scope), scope));
  const leaves = topological(outputs).filter(({ op }) => op === "input");
  const names = new Set(["x", ...leaves.map(({ attributes }) => String(attributes.name))]);
  known.set(program, names);
  return names;
}

const behind = new WeakMap<Architecture, Map<string, ReadonlySet<string>>>();

/** Rows → mean and standard deviation of q(z|x), all latents beside each other. */
export function encodeProgram(architecture: Architecture): Program {
  return middleProgram(architecture, "encode", (trace) => {
    const deviation = Object.values(trace.latents).every(({ posterior }) => posterior.standardDeviation !== undefined);
    return {
      mean: joined(trace, middle),
      ...(deviation ? { standardDeviation: joined(trace, ({ posterior }) => posterior.standardDeviation!) } : {}),
    };
  });
}

/** Rows → E[x|z] at the posterior's mean. */
export function reconstructProgram(architecture: Architecture): Program {
  return middleProgram(architecture, "reconstruct", ({ observations }, scope) => ({
    mean: meanOf(architecture, observations.x?.distribution, scope),
  }));
}

/** Latents `[rows, Σ sizes]` → E[x|z]. */
export function decodeProgram(architecture: Architecture): Program {
  return {
    name: "decode",
    draws: withoutNoise,
    inputs: { z: [latentSize(architecture)], ...conditionInputs(architecture) },
    build: (inputs, root, rows) => {
      const { z, ...conditions } = inputs;
      const { scope } = prepared(architecture, conditions, root);
      let start = 0;
      const latents = latentsOf(architecture).map(({ name, size }) => {
        const whole = size === z!.shape[1];
        const part = whole ? z! : slice(z!, [0, start], [rows, start + size]);
        start += size;
        return [name, part] as const;
      });
      return { mean: meanOf(architecture, generated(architecture.wiring, Object.fromEntries(latents), rows, scope).x, scope) };
    },
  };
}

/** Draws of the latents from their priors, with noise times the scalar `temperature` → E[x|z]. */
export function sampleProgram(architecture: Architecture): Program {
  return {
    name: "sample",
    inputs: conditionInputs(architecture),
    scalars: ["temperature"],
    draws: (noise, { temperature }) => new ScaledNoise(noise, temperature!),
    build: (inputs, root, rows) => {
      const { scope } = prepared(architecture, inputs, root);
      return { mean: meanOf(architecture, generated(architecture.wiring, {}, rows, scope).x, scope) };
    },
  };
}

/** Rows → the parts of the ELBO (β = 1) for every row, at one draw of the latents. */
export function elboProgram(architecture: Architecture): Program {
  return {
    name: "elbo",
    noise: EVALUATION,
    inputs: rowInputs(architecture),
    build: (inputs, root) => {
      const trace = traced(architecture, inputs, root, root.noise.within("data"));
      return { reconstruction: logLikelihood(trace), kl: klContributions(trace), mean: joined(trace, middle) };
    },
  };
}

/**
 * Rows → the parts of the ELBO (β = 1) for every row as functions of the row alone: at the middle of its posterior, or at a draw
 * that is the same multiple of the standard deviation for all rows.
 */
export function scoreProgram(architecture: Architecture, at: "mean" | "draw"): Program {
  return {
    name: `score ${at}`,
    draws: at === "mean" ? withoutNoise : (noise) => new RowNoise(noise),
    inputs: rowInputs(architecture),
    build: (inputs, root) => {
      const trace = traced(architecture, inputs, root);
      return { reconstruction: logLikelihood(trace), kl: klContributions(trace) };
    },
  };
}

/** Rows → the observed fields as the model sees them, with the noise of the step where a likelihood changes rows at random. */
export function prepareProgram(architecture: Architecture): Program {
  return {
    name: "prepare",
    noise: EVALUATION,
    inputs: rowInputs(architecture),
    build: (inputs, root) => {
      const { batch } = prepared(architecture, inputs, root, root.noise.within("data"));
      // What stays as it is, tokens and categories, need not be computed.
      return Object.fromEntries(Object.entries(batch).filter(([, tensor]) => tensor.dtype === "float32"));
    },
  };
}

/** Rows that are prepared already → log importance weights of `samples` draws for every row. */
export function importanceProgram(architecture: Architecture, samples: number): Program {
  return {
    name: `importance ${samples}`,
    noise: `${EVALUATION}/importance`,
    inputs: rowInputs(architecture),
    build: (inputs, root) => {
      const names = Object.keys(inputs);
      const pick = (condition: boolean): Batch =>
        Object.fromEntries(
          names.filter((name) => Object.hasOwn(architecture.conditions, name) === condition).map((name) => [name, inputs[name]!]),
        );
      const { scope } = prepared(architecture, pick(true), root);
      const batch = Object.fromEntries(Object.entries(pick(false)).map(([name, tensor]) => [name, rowsOf(tensor)]));
      return { logWeights: importanceLogWeights(traceOf(architecture.wiring, batch, scope, samples), samples) };
    },
  };
}

function rowsOf(x: Tensor): Tensor {
  return reshapeTensor(x, [x.shape[0]!, sizeOf(x.shape.slice(1))]);
}
