import type { Likelihood, Posterior, Prior, Role } from "../distributions/index.js";
import { isRecord } from "../graph/arguments.js";
import type { Shape } from "../graph/index.js";
import { Fields, freezePlain, type Layer } from "../nn/index.js";
import { type NamedConditions, readConditions } from "./conditions.js";
import { readFlat } from "./flat.js";
import { type Elbo, type Objective, objectives } from "./objectives.js";
import { type Preparation, preparations } from "./preparations.js";
import { type Wiring, wirings } from "./wiring.js";

/**
 * The kinds that a program defines itself, where it gives them by name alone: a misspelt name does not compile, so they must be
 * declared. Data, `likelihood: { kind: "laplace" }`, need no declaration.
 *
 * @example
 * ```ts
 * declare module "node-vae" {
 *   interface UserKinds {
 *     likelihood: "laplace" | "student";
 *     objective: "iwae";
 *   }
 * }
 * vae({ …, likelihood: "laplace" });
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: programs add to it
export interface UserKinds {}

/** A kind of a family by its name: a built-in one, or one that {@link UserKinds} declares. */
export type KindName<Family extends Role | "objective", BuiltIn extends string> =
  | BuiltIn
  | (Family extends keyof UserKinds ? UserKinds[Family] & string : never);

/** An objective as an option. */
export type ObjectiveOption = KindName<"objective", "elbo"> | Objective;

/** The objective that an option stands for, as far as its type says. */
export type ObjectiveOf<O extends ObjectiveOption> = [O] extends ["elbo" | Elbo] ? Elbo : Objective;

/** What every model is told beside its wiring. @typeParam C its conditions, @typeParam O its objective */
export interface ModelOptions<C extends NamedConditions = NamedConditions, O extends ObjectiveOption = ObjectiveOption> {
  /** Default `"elbo"`. */
  readonly objective?: O;
  /** Decides the initial weights and all noise; default 1. A whole number of at least 0. */
  readonly seed?: number;
  /**
   * What rows come with beside x, by the names of their fields: `{ label: category(10), age: real() }`. They enter the encoder and the
   * decoder, or one of them (`at`): joined to what goes in, unless a layer {@link joinCondition} or {@link film} reads them.
   * Every verb that takes rows takes these fields with them; `decode`, `sample` and `interpolate` take those of the decoder as `given`.
   */
  readonly conditions?: C;
  /**
   * How rows of x are brought into the units that the model works in: {@link standardize}. Default: not at all. What it learns of the
   * rows of the first training is saved with the model, applied in every method that takes rows, and inverted in those that give some.
   */
  readonly prepare?: "standardize" | Preparation;
}

/** What a model with one latent, an encoder and a decoder is made of. Every part is plain data; a part without options may be given by its kind's name. */
export interface VaeOptions<C extends NamedConditions = NamedConditions, O extends ObjectiveOption = ObjectiveOption>
  extends ModelOptions<C, O> {
  /** The shape of one sample: `[784]`, or an image as `[height, width, channels]`. */
  readonly input: Shape;
  /** The number of latent dimensions. */
  readonly latent: number;
  /** Layers from a sample towards the posterior; a linear head is added where they end in another shape. */
  readonly encoder: readonly Layer[];
  /** Layers from a latent towards the sample; a linear head is added where they end in another shape. */
  readonly decoder: readonly Layer[];
  /** Default `"gaussian"`. */
  readonly posterior?: KindName<"posterior", "gaussian"> | Posterior;
  /** Default `"standardNormal"`. */
  readonly prior?: KindName<"prior", "standardNormal"> | Prior;
  /** p(x|z): `"bernoulli"` for values in [0, 1] such as pixels, `"gaussian"` for any others, or {@link gaussian} with options. */
  readonly likelihood: KindName<"likelihood", "bernoulli" | "gaussian"> | Likelihood;
}

/** What a model of another wiring is made of; see {@link defineWiring}. */
export interface WiredOptions<C extends NamedConditions = NamedConditions, O extends ObjectiveOption = ObjectiveOption>
  extends ModelOptions<C, O> {
  /** A wiring of a kind that was defined, as data: `{ kind: "twoLevels", units: 64 }`. */
  readonly wiring: Wiring;
  /** The observed fields by name, with the shape of one row's value: `{ x: [784] }`. There must be one called x. */
  readonly fields: Readonly<Record<string, Shape>>;
}

/** Checked options of a flat model with all defaults filled in: frozen, and JSON. */
export interface VaeConfig<C extends NamedConditions = NamedConditions, O extends Objective = Objective> {
  readonly input: Shape;
  readonly latent: number;
  readonly encoder: readonly Layer[];
  readonly decoder: readonly Layer[];
  readonly posterior: Posterior;
  readonly prior: Prior;
  readonly likelihood: Likelihood;
  readonly conditions?: C;
  readonly prepare?: Preparation;
  readonly objective: O;
  readonly seed: number;
}

/** Checked options of a model of another wiring: frozen, and JSON. */
export interface WiredConfig<C extends NamedConditions = NamedConditions, O extends Objective = Objective> {
  readonly wiring: Wiring;
  readonly fields: Readonly<Record<string, Shape>>;
  readonly conditions?: C;
  readonly prepare?: Preparation;
  readonly objective: O;
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
