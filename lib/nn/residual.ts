// Layers made of layers.
import { VaeError } from "../errors.js";
import type { Fields } from "../graph/arguments.js";
import { add, type Shape, sameShape, showShape } from "../graph/index.js";
import { isArray } from "../graph/kinds.js";
import { type Activation, activate, activations } from "./activations.js";
import { defineLayer, type Layer, type LayerOptions, layers } from "./layer.js";
import { shapeAfter } from "./stack.js";

function parseList(options: Fields, name: string): readonly Layer[] {
  const list = options.raw(name);
  if (!isArray(list)) throw options.wrong(name, "an array of layers", "put the layers into an array: [dense(64), dense(32)]");
  // Not map(), which passes over the holes of a sparse array.
  return Array.from(list, (layer, index) => layers.parse(layer, `${options.operation} ${name}[${index}]`));
}

interface Sequential extends Layer {
  readonly kind: "sequential";
  readonly layers: readonly Layer[];
}

/** Layers one after the other as one layer: a part of a model with a name of its own in your code. */
export function sequential(list: readonly Layer[], options: LayerOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("sequential", { positional: { layers: list }, options, surplus, usual: "name" });
}

defineLayer<Sequential>("sequential", {
  parse: (options) => ({ kind: "sequential", layers: parseList(options, "layers") }),
  outputShape: ({ layers: list }, input, conditions) => shapeAfter("layers.", list, input, conditions),
  declare: ({ layers: list }, input) => ({ networks: { layers: { layers: list, input } } }),
  apply: (_, x, { network }) => network("layers")(x),
});

interface Residual extends Layer {
  readonly kind: "residual";
  readonly layers: readonly Layer[];
  readonly shortcut: readonly Layer[];
  readonly activation: Activation;
}

/** Options of {@link residual}. */
export interface ResidualOptions extends LayerOptions {
  /** Layers on the way around, where the shape changes: `[conv2d(64, 1, { stride: 2 })]`. Default: none, x itself. */
  readonly shortcut?: readonly Layer[];
  /** Follows the sum; default `"linear"`. */
  readonly activation?: Activation;
}

/**
 * activation(shortcut(x) + layers(x)) (He et al. 2016).
 *
 * @example
 * ```ts
 * residual([conv2d(64, 3, { activation: "relu" }), conv2d(64, 3)], { activation: "relu" })
 * ```
 */
export function residual(list: readonly Layer[], options: ResidualOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("residual", { positional: { layers: list }, options, surplus });
}

defineLayer<Residual>("residual", {
  parse: (options) => ({
    kind: "residual",
    layers: parseList(options, "layers"),
    shortcut: options.raw("shortcut") === undefined ? [] : parseList(options, "shortcut"),
    activation: options.choice("activation", activations, "linear"),
  }),
  outputShape: ({ layers: list, shortcut }, input, conditions) => {
    const output = shapeAfter("layers.", list, input, conditions);
    const around = shapeAfter("shortcut.", shortcut, input, conditions);
    if (sameShape(output, around)) return output;
    throw new VaeError({
      code: "shape",
      operation: "residual",
      problem: `the layers take ${showShape(input)} to ${showShape(output)}, the shortcut to ${showShape(around)}: they cannot be added`,
      hint: `the nearest valid choice is ${nearestShortcut(input, output)}`,
    });
  },
  declare: ({ layers: list, shortcut }, input) => ({
    networks: { layers: { layers: list, input }, shortcut: { layers: shortcut, input } },
  }),
  apply: ({ activation }, x, { network }) => activate(activation, add(network("shortcut")(x), network("layers")(x))),
});

/** The simplest layer from one shape to another, in words. */
function nearestShortcut(input: Shape, output: Shape): string {
  const [height, width] = input as readonly [number, number];
  const stride = Math.max(1, Math.round(height / output[0]!));
  const strided = output.length === 3 && output[0] === Math.ceil(height / stride) && output[1] === Math.ceil(width / stride);
  if (input.length === 3 && strided) return `shortcut: [conv2d(${output[2]}, 1${stride === 1 ? "" : `, { stride: ${stride} }`})]`;
  if (output.length === 1) return `shortcut: [dense(${output[0]})]`;
  return `layers that end in ${showShape(input)}, as they begin`;
}
