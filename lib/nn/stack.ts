// A list of layers, with the shapes and the parameter names it gets in one place of a model.
import { describe, VaeError } from "../errors.js";
import { isTensor, type Shape, sameShape, showShape, sizeOf, type Tensor } from "../graph/index.js";
import { letGo } from "../graph/kinds.js";
import { checkShape } from "../graph/tensor.js";
import type { LayerContext } from "./context.js";
import { conv1d, conv2d } from "./conv.js";
import { dense } from "./dense.js";
import { type Layer, layers, reshapeLayer } from "./layer.js";
import { type NamedParameter, nameParameters } from "./parameters.js";

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
 * Infers the shapes of a list of layers for samples of shape `input`.
 *
 * @param prefix of the layers' names, which are their places in the list: `encoder.`, or nothing
 * @throws VaeError that begins with the layer's name and kind, `encoder.0: conv2d: …`
 */
export function inferStack(prefix: string, list: readonly Layer[], input: Shape): Stack {
  const key = `${prefix} ${input.join()}`;
  const known = inferred.get(list);
  const before = known?.get(key);
  if (before !== undefined) return before;
  const entries: StackEntry[] = [];
  for (const [index, layer] of list.entries()) {
    entries.push(entryOf(`${prefix}${index}`, layer, entries.at(-1)?.output ?? input));
  }
  const stack = { input, output: entries.at(-1)?.output ?? input, entries };
  if (!Object.isFrozen(list)) return stack; // it may become another list
  const kept = known ?? new Map<string, Stack>();
  if (kept.size >= KEPT_STACKS) kept.clear();
  inferred.set(list, kept.set(key, stack));
  return stack;
}

/** Shapes that are kept for one list of layers at most. */
const KEPT_STACKS = 8;

/**
 * What a list of layers within a layer was inferred to be. Its shape, its parameters and its application each ask for the
 * whole of it: inferred anew every time, nested lists would take a time exponential in their depth.
 */
const inferred = new WeakMap<readonly Layer[], Map<string, Stack>>();

function entryOf(name: string, layer: Layer, input: Shape): StackEntry {
  const behaviour = layers.of(layer, name);
  return inLayer(name, () => {
    const output = behaviour.outputShape(layer, input);
    letGo(output);
    checkShape(layer.kind, output);
    const parameters = nameParameters(name, behaviour.parameters?.(layer, input), layer.kind);
    return { name, layer, input, output, parameters };
  });
}

/** Runs `body`; a VaeError from it begins with the layer's name. */
function inLayer<Result>(name: string, body: () => Result): Result {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof VaeError)) throw error;
    // From within a layer made of layers, whose own are called by their places: `0: conv2d` becomes `encoder.3.0: conv2d`.
    const nested = /^(\w+\.)?\d+(\.|: )/.test(error.operation);
    throw error.renamed(`${name}${nested ? "." : ": "}${error.operation}`);
  }
}

/**
 * Infers the shapes of a list of layers for samples of shape `input`. When the list does not end in exactly the shape
 * `output`, or is empty, a head is added:
 *
 * - where only the channels of an image or a sequence differ, a linear convolution with windows of 3: neighbours tell an
 *   output pixel more than its own place alone, and smooth the pattern that strided transposed convolutions leave;
 * - elsewhere a linear dense layer of as many units as `output` has elements, and a reshape where needed.
 */
export function stackLayers(name: string, list: readonly Layer[], input: Shape, output: Shape): Stack {
  const body = inferStack(`${name}.`, list, input);
  if (list.length > 0 && sameShape(body.output, output)) return body;
  const entries = [...body.entries];
  const push = (entry: string, layer: Layer): Shape => {
    entries.push(entryOf(`${name}.${entry}`, layer, entries.at(-1)?.output ?? input));
    return entries.at(-1)!.output;
  };
  const head = push("head", headLayer(body.output, output));
  if (!sameShape(head, output)) push("shape", reshapeLayer(output));
  return { input, output, entries };
}

function headLayer(shape: Shape, output: Shape): Layer {
  const channels = output.at(-1)!;
  const onlyChannels = shape.length === output.length && sameShape(shape.slice(0, -1), output.slice(0, -1));
  if (onlyChannels && output.length === 3) return conv2d(channels, 3);
  if (onlyChannels && output.length === 2) return conv1d(channels, 3);
  return dense(sizeOf(output));
}

/**
 * Runs `[batch, ...input]` through the layers; `parameter` gives the tensor of a parameter's full name.
 *
 * @throws VaeError that begins with the layer's name and kind, also for a result of another shape than the layer said
 */
export function applyStack(stack: Stack, x: Tensor, parameter: (spec: NamedParameter) => Tensor, context: LayerContext): Tensor {
  return stack.entries.reduce((value, { name, layer, output, parameters }) => {
    const tensors = parameters.map((spec) => [spec.name.slice(name.length + 1), parameter(spec)] as const);
    return inLayer(name, () => {
      const own = context.mode === "training" ? context.within(name) : context;
      const result: unknown = layers.of(layer).apply(layer, value, Object.fromEntries(tensors), own);
      const shape = [value.shape[0]!, ...output];
      if (isTensor(result) && sameShape(result.shape, shape)) return result;
      letGo(result);
      const received = isTensor(result) ? showShape(result.shape) : describe(result);
      const expected = `a tensor ${showShape(shape)} from apply, as outputShape says`;
      throw new VaeError({ code: "shape", operation: layer.kind, expected, received });
    });
  }, x);
}
