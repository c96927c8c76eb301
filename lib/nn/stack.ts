// A list of layers, with the shapes and the parameter names it gets in one place of a model.
import { type Shape, sameShape, sizeOf, type Tensor } from "../graph/index.js";
import { dense } from "./dense.js";
import { type Layer, layers, reshapeLayer } from "./layer.js";
import type { NamedParameter } from "./parameters.js";

/** One layer in its place. */
export interface StackEntry {
  /** `encoder.0`, `encoder.head`, … */
  readonly name: string;
  readonly layer: Layer;
  readonly input: Shape;
  readonly output: Shape;
  readonly parameters: readonly NamedParameter[];
}

export interface Stack {
  readonly input: Shape;
  readonly output: Shape;
  readonly entries: readonly StackEntry[];
}

/**
 * Infers the shapes of a list of layers for samples of shape `input`. When the list does not end in exactly the shape
 * `output`, or is empty, a head is added: a linear dense layer of as many units as `output` has elements, and a reshape
 * where needed.
 */
export function stackLayers(name: string, list: readonly Layer[], input: Shape, output: Shape): Stack {
  const entries: StackEntry[] = [];
  let shape = input;
  const push = (entryName: string, layer: Layer): void => {
    const behaviour = layers.of(layer, name);
    const next = behaviour.outputShape(layer, shape);
    const specs = Object.entries(behaviour.parameters?.(layer, shape) ?? {});
    const parameters = specs.map(([parameter, spec]) => ({ ...spec, name: `${entryName}.${parameter}` }));
    entries.push({ name: entryName, layer, input: shape, output: next, parameters });
    shape = next;
  };
  list.forEach((layer, index) => {
    push(`${name}.${index}`, layer);
  });
  if (list.length === 0 || !sameShape(shape, output)) {
    push(`${name}.head`, dense(sizeOf(output)));
    if (!sameShape(shape, output)) push(`${name}.shape`, reshapeLayer(output));
  }
  return { input, output: shape, entries };
}

/** Runs `[batch, ...input]` through the layers; `parameter` gives the tensor of a parameter's full name. */
export function applyStack(stack: Stack, x: Tensor, parameter: (spec: NamedParameter) => Tensor): Tensor {
  return stack.entries.reduce((value, { name, layer, parameters }) => {
    const tensors = parameters.map((spec) => [spec.name.slice(name.length + 1), parameter(spec)] as const);
    return layers.of(layer).apply(layer, value, Object.fromEntries(tensors));
  }, x);
}
