// Parts of a model in their places: shapes inferred, parameters named.
import { describe, VaeError } from "../errors.js";
import { Fields, isRecord } from "../graph/arguments.js";
import { type Shape, sameShape, sizeOf } from "../graph/index.js";
import { isArray, letGo } from "../graph/kinds.js";
import { checkShape } from "../graph/tensor.js";
import { conv1d, conv2d } from "./conv.js";
import { dense } from "./dense.js";
import { type Layer, layers, reshapeLayer } from "./layer.js";
import { checkOwnName, type NamedParameter, nameParameters } from "./parameters.js";
import type { ConditionShapes, Declared, NetworkSpec } from "./scope.js";

/** A part of a model in its place: what it declared, under the names that this has in the whole model. */
export interface Place {
  /** `encoder.3`, `objective`; empty for the whole. */
  readonly name: string;
  /** By the names that the part gave them. */
  readonly parameters: Readonly<Record<string, NamedParameter>>;
  readonly networks: Readonly<Record<string, Stack>>;
  readonly parts: Readonly<Record<string, Place>>;
}

/** One layer in its place. */
export interface StackEntry {
  /** `encoder.0`, `encoder.head`, … */
  readonly name: string;
  readonly layer: Layer;
  readonly input: Shape;
  readonly output: Shape;
  readonly place: Place;
}

/** A list of layers, with the shapes and the names that it gets in one place of a model. */
export interface Stack {
  readonly input: Shape;
  readonly output: Shape;
  readonly entries: readonly StackEntry[];
}

/** All parameters of a place or a stack, those of its networks and parts too. */
export function parametersIn(owner: Place | Stack): readonly NamedParameter[] {
  if ("entries" in owner) return owner.entries.flatMap(({ place }) => parametersIn(place));
  const inner = [...Object.values(owner.networks), ...Object.values(owner.parts)];
  return [...inner.flatMap(parametersIn), ...Object.values(owner.parameters)];
}

/**
 * Names what a part declared and infers its networks.
 *
 * @param operation the part in messages: `"prior: mixture"`
 * @throws VaeError `"argument"` for what is no declaration, `"shape"` where layers do not fit
 */
export function placeOf(name: string, declared: Declared | undefined, operation: string, conditions: ConditionShapes = {}): Place {
  const { parameters, networks = {}, parts = {} } = checkedDeclaration(declared ?? {}, operation);
  const path = (own: string): string => (name === "" ? own : `${name}.${own}`);
  return {
    name,
    parameters: nameParameters(name, parameters, operation),
    networks: mapEntries(networks, (own, { layers: list, input, output }) =>
      output === undefined ? inferStack(`${path(own)}.`, list, input, conditions) : stackLayers(path(own), list, input, output, conditions),
    ),
    parts: mapEntries(parts, (own, part) => placeOf(path(own), part, `${operation} ${own}`, conditions)),
  };
}

function mapEntries<From, To>(record: Readonly<Record<string, From>>, to: (name: string, value: From) => To): Record<string, To> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, to(name, value)]));
}

function checkedDeclaration(declared: Declared, operation: string): Declared {
  const wrong = (expected: string, received: unknown): VaeError => {
    letGo(received);
    return new VaeError({ code: "argument", operation, expected: `declare to give ${expected}`, received: describe(received) });
  };
  if (!isRecord(declared)) throw wrong("an object { parameters?, networks?, parts? }", declared);
  const { parameters, networks = {}, parts = {}, ...others } = declared as Declared;
  const other = Object.keys(others)[0];
  if (other !== undefined) throw wrong("parameters, networks and parts, and nothing else", other);
  for (const [what, record] of Object.entries({ networks, parts })) {
    if (!isRecord(record)) throw wrong(`${what} by name`, record);
  }
  const names = [...Object.keys(networks), ...Object.keys(parts), ...(isRecord(parameters) ? Object.keys(parameters) : [])];
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw wrong("different names to parameters, networks and parts", twice);
  for (const [name, spec] of Object.entries(networks)) {
    if (isRecord(spec) && isArray(spec.layers)) continue;
    throw wrong(`the network ${describe(name)} as { layers, input, output? }`, spec);
  }
  for (const name of [...Object.keys(networks), ...Object.keys(parts)]) checkOwnName(operation, name, "network or part");
  const checked = mapEntries(networks, (name, spec) => checkedNetwork(new Fields(`${operation} ${name}`, spec)));
  return { ...(parameters === undefined ? {} : { parameters }), networks: checked, parts };
}

/** A network as a part declared it, whose layers may be plain data. */
function checkedNetwork(fields: Fields): NetworkSpec {
  const list = fields.raw("layers") as readonly unknown[];
  const parsed = Array.from(list, (layer, index) => layers.parsed(layer, `${fields.operation} layers[${index}]`) as Layer);
  const input = fields.shape("input");
  const output = fields.raw("output") === undefined ? undefined : fields.shape("output");
  fields.finish();
  // The list itself where it is complete: what is known of it is kept by it.
  const isComplete = parsed.every((layer, index) => layer === list[index]);
  return { layers: isComplete ? (list as readonly Layer[]) : parsed, input, ...(output === undefined ? {} : { output }) };
}

/** The shape after a list of layers. It is asked for by every list that this one stands in: what is known is not inferred again. */
export function shapeAfter(prefix: string, list: readonly Layer[], input: Shape, conditions: ConditionShapes = {}): Shape {
  const key = `${input.join()} ${JSON.stringify(conditions)}`;
  const known = shapes.get(list);
  const before = known?.get(key);
  if (before !== undefined) return before;
  const places = placesOf(prefix, list);
  const output = list.reduce<Shape>((shape, layer, index) => outputOf(places[index]!, layer, shape, conditions), input);
  if (!Object.isFrozen(list)) return output; // it may become another list
  const kept = known ?? new Map<string, Shape>();
  if (kept.size >= KEPT_SHAPES) kept.clear();
  shapes.set(list, kept.set(key, output));
  return output;
}

/** Inputs that are kept for one list of layers at most. */
const KEPT_SHAPES = 8;
const shapes = new WeakMap<readonly Layer[], Map<string, Shape>>();

/**
 * Infers the shapes of a list of layers for samples of shape `input`.
 *
 * @param prefix of the layers' names, which are their own or else their places in the list: `encoder.`, or nothing
 * @throws VaeError that begins with the layer's name and kind, `encoder.0: conv2d: …`
 */
export function inferStack(prefix: string, list: readonly Layer[], input: Shape, conditions: ConditionShapes = {}): Stack {
  const entries: StackEntry[] = [];
  const places = placesOf(prefix, list);
  for (const [index, layer] of list.entries()) entries.push(entryOf(places[index]!, layer, entries.at(-1)?.output ?? input, conditions));
  return { input, output: entries.at(-1)?.output ?? input, entries };
}

/** The names of the layers of a list, which must differ. */
function placesOf(prefix: string, list: readonly Layer[]): readonly string[] {
  const names = list.map((layer, index) => `${prefix}${layer.name ?? index}`);
  const twice = list.find((layer, index) => layer.name !== undefined && names.indexOf(names[index]!) !== index)?.name;
  if (twice === undefined) return names;
  const operation = prefix.replace(/\.$/, "") || "layers";
  throw new VaeError({ code: "argument", operation, problem: `two layers are called ${describe(twice)}`, expected: "different names" });
}

function outputOf(name: string, layer: Layer, input: Shape, conditions: ConditionShapes): Shape {
  const behaviour = layers.of(layer, name);
  return inLayer(name, () => {
    const output = behaviour.outputShape(layer, input, conditions);
    letGo(output);
    checkShape(layer.kind, output);
    return output;
  });
}

function entryOf(name: string, layer: Layer, input: Shape, conditions: ConditionShapes): StackEntry {
  const output = outputOf(name, layer, input, conditions);
  const place = inLayer(name, () => placeOf(name, layers.of(layer).declare?.(layer, input, conditions), layer.kind, conditions));
  return { name, layer, input, output, place };
}

/** Runs `body`; a VaeError from it begins with the layer's name. */
export function inLayer<Result>(name: string, body: () => Result): Result {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof VaeError)) throw error;
    // What the layer's scope says, or a layer within this one: by its full name already.
    if (error.operation === name || error.operation.startsWith(`${name}.`)) throw error;
    // From within a layer made of layers, whose own are called by their places: `layers.0: conv2d` becomes `encoder.3.layers.0: conv2d`.
    const nested = /^[\w-]+\.[\w-]+(\.|: )/.test(error.operation);
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
export function stackLayers(name: string, list: readonly Layer[], input: Shape, output: Shape, conditions: ConditionShapes = {}): Stack {
  const body = inferStack(`${name}.`, list, input, conditions);
  if (list.length > 0 && sameShape(body.output, output)) return body;
  const entries = [...body.entries];
  const push = (entry: string, layer: Layer): Shape => {
    entries.push(entryOf(`${name}.${entry}`, layer, entries.at(-1)?.output ?? input, conditions));
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
