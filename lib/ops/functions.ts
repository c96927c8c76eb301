// The rows of the op table, and what is composed of them, as functions of arrays: the graph's own functions, called on
// inputs of the arrays' types. Signatures follow from theirs.
import { VaeError } from "../errors.js";
import * as graph from "../graph/index.js";
import type { Tensor, TensorLike } from "../graph/tensor.js";
import type { HostArray } from "../runtime/native.js";
import { type NdArray, type Operand, toNdArray } from "./ndarray.js";
import type { Draw, Plans } from "./plans.js";

type Graph = typeof graph;

/** Functions whose result is float32. */
const computing = {
  absolute: graph.absolute,
  add: graph.add,
  cast: graph.cast,
  clamp: graph.clamp,
  cos: graph.cos,
  divide: graph.divide,
  equal: graph.equal,
  exp: graph.exp,
  expm1: graph.expm1,
  floor: graph.floor,
  greater: graph.greater,
  greaterEqual: graph.greaterEqual,
  isFinite: graph.isFinite,
  less: graph.less,
  lessEqual: graph.lessEqual,
  log: graph.log,
  log1p: graph.log1p,
  logsumexp: graph.logsumexp,
  matmul: graph.matmul,
  max: graph.max,
  maximum: graph.maximum,
  mean: graph.mean,
  minimum: graph.minimum,
  multiply: graph.multiply,
  negate: graph.negate,
  notEqual: graph.notEqual,
  pad: graph.pad,
  power: graph.power,
  reciprocal: graph.reciprocal,
  relu: graph.relu,
  scatterAdd: graph.scatterAdd,
  sigmoid: graph.sigmoid,
  sign: graph.sign,
  sin: graph.sin,
  softplus: graph.softplus,
  sqrt: graph.sqrt,
  square: graph.square,
  subtract: graph.subtract,
  sum: graph.sum,
  tanh: graph.tanh,
  where: graph.where,
} satisfies Partial<Graph>;

/** Functions that move elements of any type; the result has the type of the first argument. */
const moving = {
  broadcastTo: graph.broadcastTo,
  concatenate: graph.concatenate,
  gather: graph.gather,
  reshape: graph.reshape,
  slice: graph.slice,
  transpose: graph.transpose,
} satisfies Partial<Graph>;

/** An argument of a graph function, with arrays for tensors. */
type OnArrays<Argument, Data extends HostArray = HostArray> = [TensorLike] extends [Argument]
  ? [Argument] extends [TensorLike]
    ? Operand<Data>
    : Argument
  : [Argument] extends [readonly TensorLike[]]
    ? [readonly TensorLike[]] extends [Argument]
      ? readonly Operand<Data>[]
      : Argument
    : Argument;

type Computing<Function> = Function extends (...inputs: infer Arguments extends readonly unknown[]) => Tensor
  ? (...inputs: { [Index in keyof Arguments]: OnArrays<Arguments[Index]> }) => Promise<NdArray>
  : never;

type Moving<Function> = Function extends (...inputs: infer Arguments extends readonly unknown[]) => Tensor
  ? <Data extends HostArray = Float32Array>(
      ...inputs: { [Index in keyof Arguments]: OnArrays<Arguments[Index], Index extends "0" ? Data : HostArray> }
    ) => Promise<NdArray<Data>>
  : never;

type ShuffleOptions = Parameters<Graph["shuffledIndices"]>[0];

/** Draws, which on arrays are told seed and step as well. */
export interface DrawingFunctions {
  /**
   * Uniform noise in [0, 1): the numbers that the graph's `uniform` gives at that seed, step and stream.
   *
   * @example
   * ```ts
   * const u = await uniform([128, 20], { seed: 7, step: 3 });
   * ```
   */
  uniform(shape: graph.Shape, draw?: Draw): Promise<NdArray>;
  /** Standard normal noise, keyed like {@link DrawingFunctions.uniform}. */
  normal(shape: graph.Shape, draw?: Draw): Promise<NdArray>;
  /**
   * The rows of a step's batch, int32 `[batch]`: position p = step · batch + i is row p % rows of epoch ⌊p / rows⌋, in an
   * order of its own in every epoch when shuffled.
   */
  shuffledIndices(
    options: Omit<ShuffleOptions, "stream" | "shuffle"> & { readonly shuffle?: boolean } & Draw,
  ): Promise<NdArray<Int32Array>>;
}

/** The graph's functions, on arrays. */
export type GraphFunctions = { readonly [Name in keyof typeof computing]: Computing<Graph[Name]> } & {
  readonly [Name in keyof typeof moving]: Moving<Graph[Name]>;
} & DrawingFunctions;

type GraphFunction = (...inputs: never[]) => Tensor;
type ArrayFunction = (...inputs: readonly unknown[]) => Promise<NdArray<HostArray>>;

export function graphFunctions(plans: Plans): GraphFunctions {
  const lifted = Object.entries<GraphFunction>({ ...computing, ...moving }).map(([name, build]) => [name, onArrays(plans, name, build)]);
  return { ...Object.fromEntries(lifted), ...drawingFunctions(plans) };
}

/** A graph function as a function of arrays. */
function onArrays(plans: Plans, operation: string, build: GraphFunction): ArrayFunction {
  const indexed = indexedBy[operation];
  const lifted: ArrayFunction = async (...inputs) => {
    const check = indexed && (() => checkIndices(operation, ...indexed(inputs)));
    return plans.run({ operation, caller: lifted, arguments: inputs, build, check });
  };
  return lifted;
}

/** Which argument holds row indices, and how many rows there are. */
const indexedBy: Readonly<Record<string, (inputs: readonly unknown[]) => readonly [indices: unknown, rows: number]>> = {
  gather: ([table, indices]) => [indices, toNdArray("gather", table)?.shape[0] ?? 0],
  scatterAdd: ([indices, , rows]) => [indices, rows as number],
};

function checkIndices(operation: string, indices: unknown, rows: number): void {
  const data: Int32Array | Float32Array | Uint8Array = toNdArray(operation, indices)?.data ?? new Int32Array();
  const wrong = data.findIndex((index) => index < 0 || index >= rows);
  if (wrong < 0) return;
  throw new VaeError({
    code: "argument",
    operation,
    expected: `indices from 0 to ${rows - 1}`,
    received: `${data[wrong]} at position ${wrong}`,
  });
}

function drawingFunctions(plans: Plans): DrawingFunctions {
  const noise = (operation: string, build: Graph["uniform"]) => {
    const drawn = async (shape: graph.Shape, draw: Draw = {}): Promise<NdArray> => {
      const { stream = 0 } = draw;
      return plans.run({ operation, caller: drawn, arguments: [shape, stream], build, draw }) as Promise<NdArray>;
    };
    return drawn;
  };
  const shuffledIndices: DrawingFunctions["shuffledIndices"] = async ({ rows, batch, shuffle = true, stream = 0, ...draw }) => {
    const options = { rows, batch, shuffle, stream };
    const call = { operation: "shuffledIndices", caller: shuffledIndices, arguments: [options], build: graph.shuffledIndices, draw };
    return plans.run(call) as Promise<NdArray<Int32Array>>;
  };
  return { uniform: noise("uniform", graph.uniform), normal: noise("normal", graph.normal), shuffledIndices };
}
