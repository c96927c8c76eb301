// Layers that read a condition, and how conditions are joined to what goes into a network.
import { VaeError } from "../errors.js";
import { type Fields, suggestion } from "../graph/arguments.js";
import { add, broadcastTo, concatenate, matmul, multiply, reshapeTensor, type Shape, sizeOf, slice, type Tensor } from "../graph/index.js";
import { isArray } from "../graph/kinds.js";
import { defineLayer, type Layer, type LayerOptions, layers } from "./layer.js";
import type { ConditionShapes, Conditions } from "./scope.js";

interface OfCondition extends Layer {
  readonly condition: string;
}

function parseCondition(options: Fields, kind: string): OfCondition {
  const condition = options.raw("condition");
  if (typeof condition !== "string" || condition === "") throw options.wrong("condition", "the name of a condition");
  return { kind, condition };
}

function shapeOf(layer: OfCondition, conditions: ConditionShapes): Shape {
  if (Object.hasOwn(conditions, layer.condition)) return conditions[layer.condition]!;
  const names = Object.keys(conditions);
  throw new VaeError({
    code: "argument",
    operation: layer.kind,
    problem: `no condition "${layer.condition}" comes here`,
    hint: `${suggestion(layer.condition, names)}conditions: ${names.join(", ") || "none; give the model conditions: { … }"}`,
  });
}

/** The shape of a sample of shape `x` with conditions joined to its last axis: to rows, to the channels of images. */
export function joinedShape(x: Shape, conditions: ConditionShapes): Shape {
  const width = Object.values(conditions).reduce((total, shape) => total + sizeOf(shape), 0);
  return [...x.slice(0, -1), x.at(-1)! + width];
}

/** `[rows, …, channels]` with each condition's values as further channels, the same in every place. */
export function conditionsJoined(x: Tensor, conditions: Conditions): Tensor {
  const places = x.shape.slice(0, -1);
  const parts = Object.values(conditions).map((condition) => {
    const [rows, width] = [condition.shape[0]!, sizeOf(condition.shape.slice(1))];
    const one = reshapeTensor(condition, [rows, ...places.slice(1).map(() => 1), width]);
    return broadcastTo(one, [...places, width]);
  });
  return parts.length === 0 ? x : concatenate([x, ...parts], x.shape.length - 1);
}

/**
 * Joins a condition to what comes in: to the values of a row, `[n]` to `[n + c]`, or as further channels of an image,
 * `[h, w, n]` to `[h, w, n + c]`. A network that holds one joins this condition nowhere else.
 *
 * @param condition its name among the model's `conditions`
 */
export function joinCondition(condition: string, options: LayerOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("joinCondition", { positional: { condition }, options, surplus, usual: "name" });
}

defineLayer<OfCondition>("joinCondition", {
  parse: (options) => parseCondition(options, "joinCondition"),
  outputShape: (layer, input, conditions) => joinedShape(input, { [layer.condition]: shapeOf(layer, conditions) }),
  apply: ({ condition }, x, { conditions }) => conditionsJoined(x, { [condition]: conditions[condition]! }),
});

/**
 * Feature-wise linear modulation (Perez et al. 2018): every channel times 1 + γ plus β, both linear in the condition,
 * with weight `[c, 2 · channels]` and bias `[2 · channels]`. It begins as the identity: both begin at zero.
 *
 * @param condition its name among the model's `conditions`
 */
export function film(condition: string, options: LayerOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("film", { positional: { condition }, options, surplus, usual: "name" });
}

defineLayer<OfCondition>("film", {
  parse: (options) => parseCondition(options, "film"),
  outputShape: (layer, input, conditions) => {
    shapeOf(layer, conditions);
    return input;
  },
  declare: (layer, input, conditions) => {
    const width = sizeOf(shapeOf(layer, conditions));
    const outputs = 2 * input.at(-1)!;
    return {
      parameters: { weight: { shape: [width, outputs], initializer: "zeros" }, bias: { shape: [outputs], initializer: "zeros" } },
    };
  },
  apply: ({ condition }, x, { conditions, parameters: { weight, bias } }) => {
    const [rows, channels] = [x.shape[0]!, x.shape.at(-1)!];
    const given = conditions[condition]!;
    const modulation = add(matmul(reshapeTensor(given, [rows, sizeOf(given.shape.slice(1))]), weight!), bias!);
    const part = (start: number): Tensor =>
      reshapeTensor(slice(modulation, [0, start], [rows, start + channels]), [rows, ...x.shape.slice(1, -1).map(() => 1), channels]);
    return add(multiply(x, add(part(0), 1)), part(channels));
  },
});

/** The conditions that layers of a list read by themselves, also within layers. */
export function readsConditions(list: readonly Layer[]): ReadonlySet<string> {
  const names = new Set<string>();
  const visit = (value: unknown): void => {
    if (isArray(value)) for (const item of value) visit(item);
    else if (typeof value === "object" && value !== null) {
      const { kind, condition } = value as Partial<OfCondition>;
      if ((kind === "joinCondition" || kind === "film") && condition !== undefined) names.add(condition);
      for (const item of Object.values(value)) visit(item);
    }
  };
  visit(list);
  return names;
}
