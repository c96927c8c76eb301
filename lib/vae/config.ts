import { describe, VaeError } from "../errors.js";
import type { Shape } from "../graph/index.js";
import { isArray } from "../graph/kinds.js";
import { Fields, freezePlain, type Layer, layers, type Tagged } from "../nn/index.js";
import { type Likelihood, likelihoods } from "./likelihoods.js";
import { type Objective, objectives } from "./objectives.js";
import { type Posterior, posteriors } from "./posteriors.js";
import { type Prior, priors } from "./priors.js";

/** A kind's name, with the built-in ones suggested by editors. */
export type KindName<BuiltIn extends string> = BuiltIn | (string & Record<never, never>);

/** What a model is made of. Every part is plain data; a part without options may be given by its kind's name. */
export interface VaeOptions {
  /** The shape of one sample: `[784]`, or an image as `[height, width, channels]`. */
  readonly input: Shape;
  /** The number of latent dimensions. */
  readonly latent: number;
  /** Layers from a sample towards the posterior; a linear head is added where they end in another shape. */
  readonly encoder: readonly Layer[];
  /** Layers from a latent towards the sample; a linear head is added where they end in another shape. */
  readonly decoder: readonly Layer[];
  /** Default `"gaussian"`. */
  readonly posterior?: KindName<"gaussian"> | Posterior;
  /** Default `"standardNormal"`. */
  readonly prior?: KindName<"standardNormal"> | Prior;
  readonly likelihood: KindName<"bernoulli" | "gaussian"> | Likelihood;
  /** Default `"elbo"`. */
  readonly objective?: KindName<"elbo"> | Objective;
  /** Decides the initial weights and all noise; default 1. A whole number of at least 0. */
  readonly seed?: number;
}

/** Checked options with all defaults filled in: frozen, and JSON. */
export interface VaeConfig {
  readonly input: Shape;
  readonly latent: number;
  readonly encoder: readonly Layer[];
  readonly decoder: readonly Layer[];
  readonly posterior: Posterior;
  readonly prior: Prior;
  readonly likelihood: Likelihood;
  readonly objective: Objective;
  readonly seed: number;
}

/** The names of {@link VaeOptions}. */
export const configOptions = [
  "input",
  "latent",
  "encoder",
  "decoder",
  "posterior",
  "prior",
  "likelihood",
  "objective",
  "seed",
] as const satisfies readonly (keyof VaeConfig)[];

/**
 * Checks options, from a caller or from a file, and fills in defaults.
 *
 * @throws VaeError `"argument"` or `"shape"`, with the name of the option.
 */
export function parseConfig(options: unknown, operation: string): VaeConfig {
  const fields = new Fields(operation, options);
  const part = (name: "posterior" | "prior" | "likelihood" | "objective", family: Family, fallback?: string): Tagged => {
    const value = fields.given(name, fallback);
    if (value === undefined) throw fields.wrong(name, `one of ${family.kinds().join(", ")}`);
    return family.parse(value, `${operation} ${name}`);
  };
  const config: VaeConfig = {
    input: parseInput(fields),
    latent: fields.number("latent", { minimum: 1, integer: true }),
    encoder: parseLayers(fields, "encoder"),
    decoder: parseLayers(fields, "decoder"),
    posterior: part("posterior", posteriors, "gaussian"),
    prior: part("prior", priors, "standardNormal"),
    likelihood: part("likelihood", likelihoods),
    objective: part("objective", objectives, "elbo"),
    seed: fields.number("seed", { minimum: 0, maximum: Number.MAX_SAFE_INTEGER, integer: true }, 1),
  };
  fields.finish();
  return freezePlain(config, operation) as VaeConfig;
}

interface Family {
  kinds(): readonly string[];
  parse(value: unknown, operation: string): Tagged;
}

function parseInput(fields: Fields): Shape {
  const shape = fields.shape("input");
  if (shape.length === 0)
    throw fields.wrong("input", "the shape of a sample, with at least one axis", "for plain numbers use [1]", "shape");
  return [...shape];
}

function parseLayers(fields: Fields, name: "encoder" | "decoder"): readonly Layer[] {
  const list = fields.raw(name);
  if (!isArray(list)) {
    throw new VaeError({
      code: "argument",
      operation: fields.operation,
      expected: `${name} to be an array of layers`,
      received: describe(list),
      hint: `${name}: [dense(400, { activation: "relu" })]; an empty array is a linear model`,
    });
  }
  // Not map(), which passes over the holes of a sparse array.
  return Array.from(list, (layer, index) => layers.parse(layer, `${fields.operation} ${name}[${index}]`));
}
