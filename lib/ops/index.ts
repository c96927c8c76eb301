// The low-level face, `node-vae/ops`: the op table on TypedArrays.
import "../node-version.js";

import { type DistributionFunctions, distributionFunctions } from "./distributions.js";
import { type GraphFunctions, graphFunctions } from "./functions.js";
import { type OpsOptions, type OpsStatistics, Plans } from "./plans.js";

export type { Attributes, DType, Shape, Tensor, TensorLike } from "../graph/index.js";
export type { DeviceOptions } from "../runtime/device.js";
export type { HostArray, Precision } from "../runtime/native.js";
export type { DistributionFunctions } from "./distributions.js";
export type { Computing, DrawingFunctions, Graph, GraphFunctions, Moving, OnArrays, SortedArrays, Sorting } from "./functions.js";
export { type NdArray, ndarray, type Operand } from "./ndarray.js";
export type { Draw, OpsOptions, OpsStatistics } from "./plans.js";

/**
 * Every function of `node-vae/ops`, on a device of its own.
 *
 * All are asynchronous: the kernels run on the device's thread, and the event loop does not wait. Calls run in the order in
 * which they are made. Arrays are copied at the call, so they may be changed or transferred right after it. A plan is
 * compiled at the first call with its shapes, element types, options and plain numbers, and kept for the next; give a scalar
 * that changes from call to call as `ndarray([value], [])` rather than as a number.
 *
 * Every function rejects with `VaeError` `"shape"`, `"dtype"`, `"argument"` or `"detached"` for what it cannot take, with the
 * operation and the shapes (an unknown option is `"argument"`, with the nearest known one), and with `"disposed"`
 * after `dispose`.
 */
export interface Ops extends GraphFunctions, DistributionFunctions, Disposable {
  /** What is kept, and what happened so far. */
  statistics(): OpsStatistics;
  /** Frees plans and device. Calls in progress reject. */
  dispose(): void;
}

/**
 * The functions of `node-vae/ops` on a chosen device, with plans of their own; the ones that the module exports share a CPU
 * device with as many threads as processors, opened at the first call.
 *
 * @throws VaeError `"argument"` for unknown options, or values out of range; a device that cannot be opened rejects the first call
 *
 * @example
 * ```ts
 * using ops = createOps({ threads: 1 });
 * const { data } = await ops.matmul(ndarray([1, 2], [1, 2]), ndarray([3, 4], [2, 1])); // 11
 * ```
 */
export function createOps(options: OpsOptions = {}): Ops {
  const plans = new Plans(options);
  const dispose = () => plans.dispose();
  return Object.freeze({
    ...graphFunctions(plans),
    ...distributionFunctions(plans),
    statistics: () => plans.statistics,
    dispose,
    [Symbol.dispose]: dispose,
  });
}

const shared = createOps();

export const {
  absolute,
  add,
  averagePool2d,
  bernoulliLogLikelihood,
  broadcastTo,
  cast,
  cholesky,
  clamp,
  concatenate,
  conv1d,
  conv2d,
  conv2dInputGradient,
  conv2dWeightGradient,
  convTranspose1d,
  convTranspose2d,
  cos,
  crossEntropy,
  cumulativeSum,
  divide,
  embedding,
  equal,
  exp,
  expm1,
  floor,
  fold,
  gather,
  gaussianKl,
  gaussianLogLikelihood,
  greater,
  greaterEqual,
  less,
  lessEqual,
  log,
  log1p,
  logDeterminant,
  logSoftmax,
  logsumexp,
  matmul,
  max,
  maxPool2d,
  maximum,
  mean,
  minimum,
  multiply,
  negate,
  normal,
  notEqual,
  oneHot,
  pad,
  power,
  reciprocal,
  relu,
  reparameterize,
  reshape,
  scatterAdd,
  shuffledIndices,
  sigmoid,
  sign,
  sin,
  slice,
  softmax,
  softplus,
  sort,
  sqrt,
  square,
  subtract,
  sum,
  tanh,
  topK,
  transpose,
  triangularSolve,
  unfold,
  uniform,
  upsampleBilinear2d,
  upsampleNearest2d,
  where,
} = shared;

const { isFinite: finiteMask } = shared;

export { finiteMask as isFinite };
