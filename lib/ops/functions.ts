// The rows of the op table, and what is composed of them, as functions of arrays: the graph's own functions, called on
// inputs of the arrays' types. Signatures follow from theirs.

import { VaeError } from "../errors.js";
import { checkOptions } from "../graph/arguments.js";
import * as graph from "../graph/index.js";
import { isInt32Array } from "../graph/kinds.js";
import { calledBy } from "../graph/table.js";
import type { Tensor, TensorLike } from "../graph/tensor.js";
import type { HostArray } from "../runtime/native.js";
import { type NdArray, type Operand, toNdArray } from "./ndarray.js";
import { type Draw, drawOptions, type Plans } from "./plans.js";

/** The functions of `node-vae/graph`. */
export type Graph = typeof graph;

/** Functions whose result is float32. */
const computing = {
  absolute: graph.absolute,
  add: graph.add,
  averagePool2d: graph.poolAverage2d,
  cast: graph.cast,
  cholesky: graph.cholesky,
  clamp: graph.clamp,
  conv1d: graph.convolve1d,
  conv2d: graph.convolve2d,
  conv2dInputGradient: graph.conv2dInputGradient,
  conv2dWeightGradient: graph.conv2dWeightGradient,
  convTranspose1d: graph.convolveTransposed1d,
  convTranspose2d: graph.convolveTransposed2d,
  cos: graph.cos,
  crossEntropy: graph.softmaxCrossEntropy,
  cumulativeSum: graph.cumulativeSum,
  divide: graph.divide,
  equal: graph.equal,
  exp: graph.exp,
  expm1: graph.expm1,
  floor: graph.floor,
  fold: graph.fold,
  greater: graph.greater,
  greaterEqual: graph.greaterEqual,
  isFinite: graph.isFinite,
  less: graph.less,
  lessEqual: graph.lessEqual,
  log: graph.log,
  log1p: graph.log1p,
  logDeterminant: graph.logDeterminant,
  logSoftmax: graph.logSoftmax,
  logsumexp: graph.logsumexp,
  matmul: graph.matmul,
  max: graph.max,
  maxPool2d: graph.poolMax2d,
  maximum: graph.maximum,
  mean: graph.mean,
  minimum: graph.minimum,
  multiply: graph.multiply,
  negate: graph.negate,
  notEqual: graph.notEqual,
  oneHot: graph.oneHot,
  pad: graph.pad,
  power: graph.power,
  reciprocal: graph.reciprocal,
  relu: graph.relu,
  scatterAdd: graph.scatterAdd,
  sigmoid: graph.sigmoid,
  sign: graph.sign,
  sin: graph.sin,
  softmax: graph.softmax,
  softplus: graph.softplus,
  sqrt: graph.sqrt,
  square: graph.square,
  subtract: graph.subtract,
  sum: graph.sum,
  tanh: graph.tanh,
  triangularSolve: graph.triangularSolve,
  upsampleBilinear2d: graph.upsampleBilinear2d,
  where: graph.where,
} satisfies Readonly<Record<string, (...inputs: never[]) => unknown>>;

/** Functions that move elements of any type; the result has the type of the first argument. */
const moving = {
  broadcastTo: graph.broadcastTo,
  concatenate: graph.concatenate,
  embedding: graph.embedding,
  gather: graph.gather,
  reshape: graph.reshapeTensor,
  slice: graph.slice,
  transpose: graph.transpose,
  unfold: graph.unfold,
  upsampleNearest2d: graph.upsampleNearest2d,
} satisfies Readonly<Record<string, (...inputs: never[]) => unknown>>;

/** Functions whose result has two parts. */
const sorting = { sort: graph.sort, topK: graph.topK } satisfies Readonly<Record<string, (...inputs: never[]) => unknown>>;

/** What `sort` and `topK` give, in the order of the sorted axis. */
export interface SortedArrays {
  readonly values: NdArray;
  /** Where each value stood along the axis. */
  readonly indices: NdArray<Int32Array>;
}

/** An argument of a graph function, with arrays for tensors. */
export type OnArrays<Argument, Data extends HostArray = HostArray> = [TensorLike] extends [Argument]
  ? [Argument] extends [TensorLike]
    ? Operand<Data>
    : Argument
  : [Argument] extends [readonly TensorLike[]]
    ? [readonly TensorLike[]] extends [Argument]
      ? readonly Operand<Data>[]
      : Argument
    : Argument;

/** A graph function on arrays: its tensors become operands, its result a promise of an array. */
export type Computing<Function> = Function extends (...inputs: infer Arguments extends readonly unknown[]) => Tensor
  ? (...inputs: { [Index in keyof Arguments]: OnArrays<Arguments[Index]> }) => Promise<NdArray>
  : never;

/** The same for functions that move elements of any type. */
export type Moving<Function> = Function extends (...inputs: infer Arguments extends readonly unknown[]) => Tensor
  ? <Data extends HostArray = Float32Array>(
      ...inputs: { [Index in keyof Arguments]: OnArrays<Arguments[Index], Index extends "0" ? Data : HostArray> }
    ) => Promise<NdArray<Data>>
  : never;

/** The same for functions that give sorted values and their indices. */
export type Sorting<Function> = Function extends (...inputs: infer Arguments extends readonly unknown[]) => graph.Sorted
  ? (...inputs: { [Index in keyof Arguments]: OnArrays<Arguments[Index]> }) => Promise<SortedArrays>
  : never;

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
    options: Omit<graph.ShuffledIndicesOptions, "stream" | "shuffle"> & { readonly shuffle?: boolean } & Draw,
  ): Promise<NdArray<Int32Array>>;
}

/**
 * The graph's functions, on arrays. They look at the values of indices before anything runs: rows of a table (`gather`,
 * `embedding`, `scatterAdd`) must be there, and classes (`crossEntropy`) must be, or be -1 for "unknown", which costs nothing.
 */
export type GraphFunctions = { readonly [Name in keyof typeof computing]: Computing<(typeof computing)[Name]> } & {
  readonly [Name in keyof typeof moving]: Moving<(typeof moving)[Name]>;
} & { readonly [Name in keyof typeof sorting]: Sorting<(typeof sorting)[Name]> } & DrawingFunctions;

type GraphFunction = (...inputs: never[]) => Tensor;
type SortFunction = (...inputs: never[]) => graph.Sorted;

export function graphFunctions(plans: Plans): GraphFunctions {
  const single = Object.entries<GraphFunction>({ ...computing, ...moving });
  return {
    ...Object.fromEntries(single.map(([name, build]) => [name, onArrays(plans, name, build)])),
    ...Object.fromEntries(Object.entries<SortFunction>(sorting).map(([name, build]) => [name, sortOnArrays(plans, name, build)])),
    ...drawingFunctions(plans),
  } as GraphFunctions;
}

/** A graph function as a function of arrays. */
function onArrays(plans: Plans, operation: string, build: GraphFunction) {
  const indexed = indexedBy[operation];
  const lifted = async (...inputs: readonly unknown[]): Promise<NdArray<HostArray>> => {
    const check = indexed && (() => checkIndices(operation, indexed(inputs)));
    return plans.run({ operation, caller: lifted, arguments: inputs, build, check });
  };
  return lifted;
}

function sortOnArrays(plans: Plans, operation: string, build: SortFunction) {
  const lifted = async (...inputs: readonly unknown[]): Promise<SortedArrays> =>
    plans.runParts({ operation, caller: lifted, arguments: inputs, build }) as Promise<SortedArrays>;
  return lifted;
}

/** An argument that holds indices, and between which numbers they must lie. */
interface Indexed {
  readonly indices: unknown;
  /** Default 0. */
  readonly lowest?: number;
  readonly count: number;
  readonly hint?: string;
}

const rowsOf: (inputs: readonly unknown[]) => Indexed = ([table, indices]) => ({
  indices,
  count: toNdArray("gather", table)?.shape[0] ?? 0,
});

/** What a call indexes with; undefined where it does not. */
const indexedBy: Readonly<Record<string, (inputs: readonly unknown[]) => Indexed | undefined>> = {
  gather: rowsOf,
  embedding: rowsOf,
  scatterAdd: ([indices, , rows]) => ({ indices, count: rows as number }),
  crossEntropy([logits, target]) {
    const [scores, classes] = [toNdArray("crossEntropy", logits), toNdArray("crossEntropy", target)];
    if (!isInt32Array(classes?.data)) return undefined; // probabilities
    return { indices: classes, lowest: -1, count: scores?.shape.at(-1) ?? 0, hint: "-1 is an unknown class, which costs nothing" };
  },
};

function checkIndices(operation: string, indexed: Indexed | undefined): void {
  if (!indexed) return;
  const { indices, lowest = 0, count, hint } = indexed;
  const data: Int32Array | Float32Array | Uint8Array = toNdArray(operation, indices)?.data ?? new Int32Array();
  const wrong = data.findIndex((index) => index < lowest || index >= count);
  if (wrong < 0) return;
  throw new VaeError({
    code: "argument",
    operation,
    expected: `indices from ${lowest} to ${count - 1}`,
    received: `${data[wrong]} at position ${wrong}`,
    ...(hint === undefined ? {} : { hint }),
  });
}

function drawingFunctions(plans: Plans): DrawingFunctions {
  const noise = (operation: string, build: Graph["uniform"]) => {
    const drawn = async (shape: graph.Shape, draw: Draw = {}): Promise<NdArray> => {
      const { stream = 0 } = calledBy(drawn, [], () => checkOptions(operation, draw, drawOptions));
      return plans.run({ operation, caller: drawn, arguments: [shape, stream], build, draw }) as Promise<NdArray>;
    };
    return drawn;
  };
  const shuffledIndices: DrawingFunctions["shuffledIndices"] = async (options) => {
    const operation = "shuffledIndices";
    calledBy(shuffledIndices, [], () => checkOptions(operation, options, ["rows", "batch", "shuffle", ...drawOptions]));
    const { rows, batch, shuffle = true, stream = 0, ...draw } = options;
    const inputs = [{ rows, batch, shuffle, stream }];
    const call = { operation, caller: shuffledIndices, arguments: inputs, build: graph.shuffledIndices, draw };
    return plans.run(call) as Promise<NdArray<Int32Array>>;
  };
  return { uniform: noise("uniform", graph.uniform), normal: noise("normal", graph.normal), shuffledIndices };
}
