import type { Likelihood, Posterior, Prior } from "../distributions/index.js";
import { isRecord } from "../graph/arguments.js";
import type { Shape } from "../graph/index.js";
import { Fields, freezePlain, type Layer } from "../nn/index.js";
import { type Condition, readConditions } from "./conditions.js";
import { readFlat } from "./flat.js";
import { type Objective, objectives } from "./objectives.js";
import { type Preparation, preparations } from "./preparations.js";
import { type Wiring, wirings } from "./wiring.js";

/** A kind's name, with the built-in ones suggested by editors. */
export type KindName<BuiltIn extends string> = BuiltIn | (string & Record<never, never>);

/** What every model is told beside its wiring. */
export interface ModelOptions {
  /** Default `"elbo"`. */
  readonly objective?: KindName<"elbo"> | Objective;
  /** Decides the initial weights and all noise; default 1. A whole number of at least 0. */
  readonly seed?: number;
  /**
   * What rows come with beside x, by the names of their fields: `{ label: category(10), age: real() }`. They enter the encoder and the
   * decoder, or one of them (`at`): joined to what goes in, unless a layer {@link joinCondition} or {@link film} reads them.
   * Every verb that takes rows takes these fields with them; `decode` and `sample` take them as `given`.
   */
  readonly conditions?: Readonly<Record<string, Condition>>;
  /**
   * How rows of x are brought into the units that the model works in: {@link standardize}. Default: not at all. What it learns of the
   * training rows is saved with the model, applied in every method that takes rows, and inverted in those that give some.
   */
  readonly prepare?: KindName<"standardize"> | Preparation;
}

/** What a model with one latent, an encoder and a decoder is made of. Every part is plain data; a part without options may be given by its kind's name. */
export interface VaeOptions extends ModelOptions {
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
}

/** What a model of another wiring is made of; see {@link defineWiring}. */
export interface WiredOptions extends ModelOptions {
  readonly wiring: Wiring;
  /** The observed fields by name, with the shape of one row's value: `{ x: [784] }`. There must be one called x. */
  readonly fields: Readonly<Record<string, Shape>>;
}

/** Checked options of a flat model with all defaults filled in: frozen, and JSON. */
export interface VaeConfig {
  readonly input: Shape;
  readonly latent: number;
  readonly encoder: readonly Layer[];
  readonly decoder: readonly Layer[];
  readonly posterior: Posterior;
  readonly prior: Prior;
  readonly likelihood: Likelihood;
  readonly conditions?: Readonly<Record<string, Condition>>;
  readonly prepare?: Preparation;
  readonly objective: Objective;
  readonly seed: number;
}

/** Checked options of a model of another wiring: frozen, and JSON. */
export interface WiredConfig {
  readonly wiring: Wiring;
  readonly fields: Readonly<Record<string, Shape>>;
  readonly conditions?: Readonly<Record<string, Condition>>;
  readonly prepare?: Preparation;
  readonly objective: Objective;
  readonly seed: number;
}

/** The names of {@link VaeOptions} and {@link WiredOptions}. */
export const configOptions = [
  "input",
  "latent",
  "encoder",
  "decoder",
  "posterior",
  "prior",
  "likelihood",
  "conditions",
  "prepare",
  "objective",
  "seed",
  "wiring",
  "fields",
] as const satisfies readonly (keyof VaeConfig | keyof WiredConfig)[];

/**
 * Checks options, from a caller or from a file, and fills in defaults.
 *
 * @throws VaeError `"argument"` or `"shape"`, with the name of the option.
 */
export function parseConfig(options: unknown, operation: string): VaeConfig | WiredConfig {
  const fields = new Fields(operation, options);
  const wired = fields.raw("wiring") !== undefined;
  const config = {
    ...(wired ? readWired(fields) : readFlat(fields)),
    ...readPreparation(fields),
    objective: objectives.parse(fields.given("objective", "elbo"), `${operation} objective`),
    seed: fields.number("seed", { minimum: 0, maximum: Number.MAX_SAFE_INTEGER, integer: true }, 1),
  };
  fields.finish();
  return freezePlain(config, operation) as VaeConfig | WiredConfig;
}

function readPreparation(fields: Fields): { readonly prepare?: Preparation } {
  const given = fields.raw("prepare");
  return given === undefined ? {} : { prepare: preparations.parse(given, `${fields.operation} prepare`) };
}

function readWired(fields: Fields): Omit<WiredConfig, "objective" | "seed"> {
  const shapes = fields.raw("fields");
  if (!isRecord(shapes) || !("x" in shapes)) throw fields.wrong("fields", "shapes of the observed fields by name: { x: [784] }");
  const own = new Fields(`${fields.operation} fields`, shapes);
  const conditions = readConditions(fields);
  return {
    wiring: wirings.parse(fields.raw("wiring"), `${fields.operation} wiring`),
    fields: Object.fromEntries(Object.keys(shapes).map((name) => [name, [...own.shape(name)]])),
    ...(conditions === undefined ? {} : { conditions }),
  };
}

/** The wiring of a configuration. */
export function wiringOf(config: VaeConfig | WiredConfig): Wiring {
  return "wiring" in config ? config.wiring : ({ ...config, kind: "flat" } as Wiring);
}
