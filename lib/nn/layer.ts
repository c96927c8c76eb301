import { VaeError } from "../errors.js";
import type { Fields } from "../graph/arguments.js";
import { reshape, type Shape, showShape, sizeOf, type Tensor } from "../graph/index.js";
import type { LayerContext } from "./context.js";
import type { ParameterSpec } from "./parameters.js";
import { type Behaviour, Registry, type Tagged } from "./tagged.js";

/** A layer as frozen plain data: `{ kind: "dense", units: 400, … }`. */
export type Layer = Tagged;

/**
 * What the layers of one kind do. Shapes are those of one sample; tensors have the batch as an extra first axis.
 *
 * @example A layer that multiplies every feature by a learned number:
 * ```ts
 * defineLayer("scale", {
 *   parse: () => ({ kind: "scale" }),
 *   outputShape: (_, input) => input,
 *   parameters: (_, input) => ({ gain: { shape: input, initializer: "ones" } }),
 *   apply: (_, x, { gain }) => multiply(x, gain),
 * });
 * vae({ …, encoder: [{ kind: "scale" }, dense(400)] });
 * ```
 */
export interface LayerBehaviour<L extends Layer = Layer> extends Behaviour {
  /** Checks the options of a layer and fills in defaults. */
  parse(options: Fields): L;
  /** The shape of one output sample; throws `VaeError` for an input shape that the layer does not take. */
  outputShape(layer: L, input: Shape): Shape;
  /** What is learned or, with `trained: false`, kept beside it, by name; none when left out. */
  parameters?(layer: L, input: Shape): Readonly<Record<string, ParameterSpec>>;
  /** `[batch, ...input]` to `[batch, ...outputShape]`, which is checked; the context says whether in a training step. */
  apply(layer: L, x: Tensor, parameters: Readonly<Record<string, Tensor>>, context: LayerContext): Tensor;
}

export const layers = new Registry<LayerBehaviour>("layer", ["outputShape", "apply"], ["parameters"]);

/**
 * Adds a kind of layer, for every model from here on (also for models that {@link load} reads). A kind of your own may be
 * defined again, as on a hot reload: models that are there keep the behaviour that they were made with.
 *
 * @throws VaeError `"argument"` for a built-in kind, or a behaviour without one of its functions
 */
export function defineLayer<L extends Layer>(kind: string, behaviour: LayerBehaviour<L>, ...surplus: never[]): void {
  layers.define(kind, behaviour, surplus);
}

interface Flatten extends Layer {
  readonly kind: "flatten";
}

/** Makes a sample of any shape a row: `[28, 28, 1]` → `[784]`. */
export function flatten(...surplus: never[]): Layer {
  return layers.construct("flatten", { surplus });
}

defineLayer<Flatten>("flatten", {
  parse: () => ({ kind: "flatten" }),
  outputShape: (_, input) => [sizeOf(input)],
  apply: (_, x) => reshape(x, [x.shape[0]!, sizeOf(x.shape.slice(1))]),
});

interface Reshape extends Layer {
  readonly kind: "reshape";
  readonly shape: Shape;
}

/** Gives a sample another shape with as many elements: `reshape([7, 7, 64])` after `dense(3136)`. */
export function reshapeLayer(shape: Shape, ...surplus: never[]): Layer {
  return layers.construct("reshape", { positional: { shape }, surplus });
}

defineLayer<Reshape>("reshape", {
  parse: (options) => ({ kind: "reshape", shape: [...options.shape("shape")] }),
  outputShape: ({ shape }, input) => {
    if (sizeOf(shape) === sizeOf(input)) return shape;
    throw new VaeError({
      code: "shape",
      operation: "reshape",
      expected: `a sample of ${sizeOf(shape)} elements for ${showShape(shape)}`,
      received: `${showShape(input)}, ${sizeOf(input)} elements`,
    });
  },
  apply: ({ shape }, x) => reshape(x, [x.shape[0]!, ...shape]),
});
