import { describe, VaeError } from "../errors.js";
import { Fields, isRecord } from "../graph/arguments.js";
import { broadcastTo, constantTensor, multiply, type Shape, subtract, type Tensor } from "../graph/index.js";
import { letGo } from "../graph/kinds.js";
import { checkShape } from "../graph/tensor.js";
import type { NoiseSource } from "./scope.js";

/**
 * How a learned tensor begins. With fan-in n and fan-out m, as variances: `he` 2/n (He et al. 2015, for ReLU), `glorot`
 * 2/(n + m) (Glorot & Bengio 2010, for linear, tanh and sigmoid), `lecun` 1/n (LeCun et al. 1998); `fanInUniform` is
 * U(−1/√n, 1/√n), what PyTorch's linear layers begin with, weights and biases alike.
 */
export type Initializer =
  | "heNormal"
  | "heUniform"
  | "glorotNormal"
  | "glorotUniform"
  | "lecunNormal"
  | "lecunUniform"
  | "fanInUniform"
  | "zeros"
  | "ones";

export const initializers = Object.freeze([
  "heNormal",
  "heUniform",
  "glorotNormal",
  "glorotUniform",
  "lecunNormal",
  "lecunUniform",
  "fanInUniform",
  "zeros",
  "ones",
] as const satisfies readonly Initializer[]);

/** A learned tensor: its shape and how it begins. */
export interface ParameterSpec {
  readonly shape: Shape;
  readonly initializer: Initializer;
  /** Inputs that meet in one output, and outputs that one input reaches; both 1 when left out. */
  readonly fanIn?: number;
  readonly fanOut?: number;
  /**
   * False for what is kept with the model but not learned: no gradient, no optimizer; the layer changes it itself, as batch
   * normalization its running statistics. Default true.
   */
  readonly trainable?: boolean;
}

/** A learned tensor with the name it has in a model: `encoder.0.weight`. */
export interface NamedParameter extends ParameterSpec {
  readonly name: string;
}

/**
 * The parameters of one part of a model, under the names that they have in the whole: `owner.parameter`.
 *
 * @throws VaeError `"shape"` for a shape that is none, `"argument"` for a name that {@link checkOwnName} refuses
 */
export function nameParameters(
  owner: string,
  specs: Readonly<Record<string, ParameterSpec>> = {},
  operation: string,
): Readonly<Record<string, NamedParameter>> {
  if (!isRecord(specs)) {
    letGo(specs);
    const expected = "declare to give parameters as { name: { shape, initializer } }";
    throw new VaeError({ code: "argument", operation, expected, received: describe(specs) });
  }
  const named = Object.entries(specs).map(([parameter, spec]) => {
    if (!isRecord(spec) || !initializers.some((name) => name === spec.initializer)) {
      const expected = `the parameter ${describe(parameter)} as { shape, initializer }, the initializer one of ${initializers.join(", ")}`;
      throw new VaeError({ code: "argument", operation, expected, received: describe(spec) });
    }
    checkShape(`${operation} ${parameter}`, spec.shape);
    checkOwnName(operation, parameter, "parameter");
    checkRest(new Fields(`${operation} ${parameter}`, spec));
    return [parameter, { ...spec, name: owner === "" ? parameter : `${owner}.${parameter}` }] as const;
  });
  return Object.fromEntries(named);
}

/** Checks the optional keys of a parameter and refuses unknown ones: a misspelt `trainable` would train running statistics. */
function checkRest(fields: Fields): void {
  for (const name of ["shape", "initializer"]) fields.raw(name);
  for (const name of ["fanIn", "fanOut"]) fields.number(name, { above: 0 }, 1);
  fields.boolean("trainable", true);
  fields.finish();
}

/**
 * Throws for a name that could not be told from others in a path: `.` stands between the names of a path, `/` between a
 * parameter's name and an optimizer's slot of it, `*` in patterns of names.
 */
export function checkOwnName(operation: string, name: string, what: string): void {
  if (/^[^./*]+$/.test(name)) return;
  throw new VaeError({ code: "argument", operation, expected: `the name of a ${what} without ".", "/" or "*"`, received: describe(name) });
}

/**
 * Initial values are draws like any other, keyed by (seed, step, stream), at a step that no training reaches; the stream
 * follows from the parameter's name. So a seed begins with the same weights on every device, and what else a model has
 * does not change them.
 */
export const INITIALIZATION_STEP = 2 ** 40;

/** What a parameter is before any training, as a graph to be evaluated at {@link INITIALIZATION_STEP}. */
export function initialValue({ shape, initializer, fanIn = 1, fanOut = 1 }: ParameterSpec, noise: NoiseSource): Tensor {
  const gaussian = (variance: number): Tensor => multiply(Math.sqrt(variance), noise.normal(shape));
  // U(−a, a) has variance a²/3.
  const flat = (variance: number): Tensor => multiply(2 * Math.sqrt(3 * variance), subtract(noise.uniform(shape), 0.5));
  switch (initializer) {
    case "heNormal":
      return gaussian(2 / fanIn);
    case "heUniform":
      return flat(2 / fanIn);
    case "glorotNormal":
      return gaussian(2 / (fanIn + fanOut));
    case "glorotUniform":
      return flat(2 / (fanIn + fanOut));
    case "lecunNormal":
      return gaussian(1 / fanIn);
    case "lecunUniform":
      return flat(1 / fanIn);
    case "fanInUniform":
      return flat(1 / (3 * fanIn));
    case "zeros":
      return broadcastTo(constantTensor(0), shape);
    case "ones":
      return broadcastTo(constantTensor(1), shape);
  }
}
