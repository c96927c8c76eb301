import type { Shape } from "../graph/index.js";
import { Fields, freezePlain, type Layer, readInput, readLayers } from "../nn/index.js";
import { type Loss, losses } from "./losses.js";

/** What a network is made of. Every part is plain data. */
export interface NetworkOptions<L extends Loss = Loss> {
  /** The shape of one row: `[784]`, or an image as `[height, width, channels]`. */
  readonly input: Shape;
  /** Layers from a row towards what the loss asks for; a linear head is added where they end in another shape. */
  readonly layers: readonly Layer[];
  /** What it is trained for: {@link crossEntropy}, {@link meanSquaredError}, or one of your own, see {@link defineLoss}. */
  readonly loss: L;
  /** Decides the initial weights, the order of rows and all noise; default 1. A whole number of at least 0. */
  readonly seed?: number;
}

/** Checked options with all defaults filled in: frozen, and JSON. */
export interface NetworkConfig<L extends Loss = Loss> {
  readonly input: Shape;
  readonly layers: readonly Layer[];
  readonly loss: L;
  readonly seed: number;
}

/** The names of {@link NetworkOptions}. */
export const networkOptions = ["input", "layers", "loss", "seed"] as const satisfies readonly (keyof NetworkOptions)[];

/**
 * Checks options, from a caller or from a file, and fills in defaults.
 *
 * @throws VaeError `"argument"` or `"shape"`, with the name of the option
 */
export function parseNetwork(options: unknown, operation: string): NetworkConfig {
  const fields = new Fields(operation, options);
  const config = {
    input: readInput(fields),
    layers: readLayers(fields, "layers"),
    loss: losses.parse(fields.raw("loss"), `${operation} loss`),
    seed: fields.number("seed", { minimum: 0, maximum: Number.MAX_SAFE_INTEGER, integer: true }, 1),
  };
  fields.finish();
  return freezePlain(config, operation) as NetworkConfig;
}
