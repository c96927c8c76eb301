import { VaeError } from "../errors.js";
import { type Fields, noMore } from "../graph/arguments.js";
import { reshapeTensor, type Shape, showShape, sizeOf, type Tensor } from "../graph/index.js";
import type { ConditionShapes, Declared, Scope } from "./scope.js";
import { type Behaviour, type Branded, Registry } from "./tagged.js";

/** A layer as frozen plain data: `{ kind: "dense", units: 400, … }`. */
export interface Layer extends Branded<"layer"> {
  /** Stands for the layer's place in the names of its parameters: `encoder.features.weight` instead of `encoder.0.weight`. */
  readonly name?: string;
}

/** What every layer takes. */
export interface LayerOptions {
  /**
   * Stands for the layer's place in the names of its parameters, so that these, their initial values and the layer's noise stay
   * as they are when layers are put before it. A letter, then letters, digits, `_` and `-`; `head` and `shape` are taken.
   */
  readonly name?: string;
}

/** The layer under another name; see {@link LayerOptions}. */
export function named<L extends Layer>(name: string, layer: L, ...surplus: never[]): L {
  noMore("named", surplus);
  return layers.parse({ ...layers.parsed(layer, "named"), name }, "named") as L;
}

/** The option that all layers have. */
function readName(options: Fields): { readonly name?: string } {
  const name = options.raw("name");
  if (name === undefined) return {};
  if (typeof name === "string" && /^[A-Za-z][\w-]*$/.test(name) && name !== "head" && name !== "shape") return { name };
  throw options.wrong("name", 'a letter, then letters, digits, "_" and "-", and not "head" or "shape"');
}

/**
 * What the layers of one kind do. Shapes are those of one sample; tensors have the batch as an extra first axis. Where `declare`
 * stands before `apply`, the type checker knows the names of the parameters and networks in it.
 *
 * @example A layer that multiplies every feature by a learned number:
 * ```ts
 * defineLayer("scale", {
 *   parse: () => ({ kind: "scale" }),
 *   outputShape: (_, input) => input,
 *   declare: (_, input) => ({ parameters: { gain: { shape: input, initializer: "ones" } } }),
 *   apply: (_, x, { parameters: { gain } }) => multiply(x, gain),
 * });
 * vae({ …, encoder: [{ kind: "scale" }, dense(400)] });
 * ```
 */
export interface LayerBehaviour<L extends Layer = Layer, D extends Declared = Declared> extends Behaviour {
  /** Checks the options of a layer and fills in defaults. */
  parse(options: Fields): L;
  /** The shape of one output sample; throws `VaeError` for an input shape that the layer does not take. */
  outputShape(layer: L, input: Shape, conditions: ConditionShapes): Shape;
  /** Its parameters and networks; none when left out. */
  declare?(layer: L, input: Shape, conditions: ConditionShapes): D;
  /** `[rows, ...input]` to `[rows, ...outputShape]`, which is checked. */
  apply(layer: L, x: Tensor, scope: Scope<D>): Tensor;
}

export const layers = new Registry<LayerBehaviour>("layer", ["outputShape", "apply"], ["declare"], readName);

/**
 * Adds a kind of layer, for every model from here on (also for models that {@link load} reads). A kind of your own may be
 * defined again, as on a hot reload: models that are there keep the behaviour that they were made with.
 *
 * @throws VaeError `"argument"` for a built-in kind, or a behaviour without one of its functions
 */
export function defineLayer<L extends Layer, D extends Declared = Declared>(
  kind: string,
  behaviour: LayerBehaviour<L, D>,
  ...surplus: never[]
): void {
  layers.define(kind, behaviour as LayerBehaviour<L>, surplus);
}

interface Flatten extends Layer {
  readonly kind: "flatten";
}

/** Makes a sample of any shape a row: `[28, 28, 1]` → `[784]`. */
export function flatten(options: LayerOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("flatten", { options, surplus, usual: "name" });
}

defineLayer<Flatten>("flatten", {
  parse: () => ({ kind: "flatten" }),
  outputShape: (_, input) => [sizeOf(input)],
  apply: (_, x) => reshapeTensor(x, [x.shape[0]!, sizeOf(x.shape.slice(1))]),
});

interface Reshape extends Layer {
  readonly kind: "reshape";
  readonly shape: Shape;
}

/** Gives a sample another shape with as many elements: `reshape([7, 7, 64])` after `dense(3136)`. */
export function reshapeLayer(shape: Shape, options: LayerOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("reshape", { positional: { shape }, options, surplus, usual: "name" });
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
  apply: ({ shape }, x) => reshapeTensor(x, [x.shape[0]!, ...shape]),
});
