import { describe, VaeError } from "../errors.js";
import { checkAttached } from "../graph/arguments.js";
import { greatest } from "../graph/extremes.js";
import { type Shape, sameShape, sizeOf } from "../graph/index.js";
import { isArray, isMap, isReadable, letGo, typedArrayName } from "../graph/kinds.js";
import { shapeInstead } from "../graph/tensor.js";
import { type NamedParameter, nameParameters, type Stack, stackLayers } from "../nn/index.js";
import type { VaeConfig } from "./config.js";
import { likelihoods } from "./likelihoods.js";
import { posteriors } from "./posteriors.js";
import { priors } from "./priors.js";

/** A configuration with every shape inferred and every parameter named. */
export interface Architecture {
  readonly config: VaeConfig;
  readonly encoder: Stack;
  readonly decoder: Stack;
  readonly prior: readonly NamedParameter[];
  readonly likelihood: readonly NamedParameter[];
  /** All of them, in the order that decides their initial values. */
  readonly parameters: readonly NamedParameter[];
  /** Those that an optimizer changes; the others belong to their layers. */
  readonly trained: readonly NamedParameter[];
  /** Values in a sample. */
  readonly size: number;
}

/** Infers shapes, derives the heads and names the parameters; throws `VaeError` where layers do not fit. */
export function architectureOf(config: VaeConfig): Architecture {
  const { input, latent, posterior, prior, likelihood } = config;
  const heads = {
    posterior: headOf(`posterior ${posterior.kind}`, posteriors.of(posterior).headShape(posterior, latent)),
    likelihood: headOf(`likelihood ${likelihood.kind}`, likelihoods.of(likelihood).headShape(likelihood, input)),
  };
  const encoder = stackLayers("encoder", config.encoder, input, heads.posterior);
  const decoder = stackLayers("decoder", config.decoder, [latent], heads.likelihood);
  const priorParameters = nameParameters("prior", priors.of(prior).parameters?.(prior, latent), `prior: ${prior.kind}`);
  const likelihoodSpecs = likelihoods.of(likelihood).parameters?.(likelihood, input);
  const likelihoodParameters = nameParameters("likelihood", likelihoodSpecs, `likelihood: ${likelihood.kind}`);
  const stacked = [...encoder.entries, ...decoder.entries].flatMap((entry) => entry.parameters);
  const parameters = [...stacked, ...priorParameters, ...likelihoodParameters];
  return {
    config,
    encoder,
    decoder,
    prior: priorParameters,
    likelihood: likelihoodParameters,
    parameters,
    trained: parameters.filter(({ trained }) => trained !== false),
    size: sizeOf(input),
  };
}

/** What a part says that it wants from the layers, checked: users define parts. */
function headOf(operation: string, shape: Shape): Shape {
  const expected = shapeInstead(shape) ?? (shape.length === 0 ? "a shape of at least one axis" : undefined);
  if (expected === undefined) return shape;
  letGo(shape);
  throw new VaeError({ code: "shape", operation, expected: `headShape to give ${expected}`, received: describe(shape) });
}

/**
 * Throws `"architecture"` unless `received` has exactly the model's parameters, each with its number of elements and, where one is
 * given, its shape; `"argument"` where it is not even a map of arrays.
 */
export function checkParameters(
  architecture: Architecture,
  received: ReadonlyMap<string, { readonly data: { readonly length: number }; readonly shape?: Shape }>,
  operation: string,
): void {
  const wrong = (problem: string, expected: string, found: string): VaeError =>
    new VaeError({
      code: "architecture",
      operation,
      problem,
      expected,
      received: found,
      hint: "weights fit only a model with the same input, latent, layers and likelihood",
    });
  const misshapen = (expected: string, found: unknown): VaeError =>
    new VaeError({
      code: "argument",
      operation,
      expected,
      received: describe(found),
      hint: "parameters() gives a Map of that form: change the values in it",
    });
  if (!isMap(received)) throw misshapen("a Map from names to { data: Float32Array }", received);
  for (const [name, tensor] of received) {
    if (typeof name !== "string") throw misshapen("names of parameters as texts", name);
    if (typeof tensor !== "object" || tensor === null || !isReadable(tensor))
      throw misshapen(`"${name}" as { data: Float32Array }`, tensor);
    const data: unknown = tensor.data;
    const isNumbers = isArray(data) ? Array.from(data).every((value) => typeof value === "number") : typedArrayName(data) !== undefined;
    if (!isNumbers) throw misshapen(`"${name}" as { data: Float32Array }`, tensor);
    if (ArrayBuffer.isView(data)) checkAttached(operation, data, `"${name}"`);
  }
  for (const { name, shape } of architecture.parameters) {
    const tensor = received.get(name);
    const elements = sizeOf(shape);
    if (tensor === undefined) throw wrong(`missing weights "${name}"`, `[${shape.join(", ")}]`, "nothing");
    if (tensor.data.length !== elements) {
      throw wrong(`"${name}" has another size`, `${elements} values, [${shape.join(", ")}]`, `${tensor.data.length} values`);
    }
    if (tensor.shape !== undefined && !(isArray(tensor.shape) && sameShape(tensor.shape, shape))) {
      throw wrong(`"${name}" has another shape`, describe(shape), describe(tensor.shape));
    }
  }
  const names = new Set(architecture.parameters.map(({ name }) => name));
  const extra = [...received.keys()].find((name) => !names.has(name));
  if (extra !== undefined) throw wrong(`unknown weights "${extra}"`, "only the model's parameters", `"${extra}"`);
}

/** The layers with their shapes and parameter counts as a table to print. */
export function summarize({ config, encoder, decoder, prior, likelihood, parameters }: Architecture): string {
  const count = (specs: readonly NamedParameter[]): number => specs.reduce((total, { shape }) => total + sizeOf(shape), 0);
  const shape = (dimensions: readonly number[]): string => dimensions.join(" × ") || "1";
  const group = (number: number): string => number.toLocaleString("en-US");
  const rows = [
    ["name", "layer", "input", "output", "parameters"],
    ...[...encoder.entries, ...decoder.entries].map(({ name, layer, input, output, parameters: own }) => [
      name,
      layer.kind,
      shape(input),
      shape(output),
      group(count(own)),
    ]),
    ...[["prior", config.prior.kind, prior] as const, ["likelihood", config.likelihood.kind, likelihood] as const].map(
      ([name, kind, own]) => [name, kind, "", "", group(count(own))],
    ),
    ["total", "", "", "", group(count(parameters))],
  ];
  const widths = rows[0]!.map((_, column) => greatest(rows.map((row) => row[column]!.length)));
  const last = widths.length - 1;
  return rows
    .map((row) => row.map((cell, column) => (column === last ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!))).join("  "))
    .join("\n");
}
