// The symbolic graph, `node-vae/graph`: functions of tensors, their derivatives, and their slow and exact evaluation. All throw
// VaeError for what they cannot take, unknown options included.

import "../node-version.js";

export { add, divide, equal, less, lessEqual, maximum, minimum, multiply, subtract, where } from "./binary.js";
export { type HostData, type InstantiatedCase, instantiate, type NamedCase, opCases } from "./cases.js";
export { clamp, greater, greaterEqual, logsumexp, mean, notEqual, power } from "./compositions.js";
export { type ConvolutionOptions, conv2dInputGradient, conv2dWeightGradient, convolve2d } from "./convolution.js";
export type { PaddingOption, Pair, WindowOptions } from "./convolution-geometry.js";
export {
  type Convolution1dOptions,
  convolve1d,
  convolveTransposed1d,
  convolveTransposed2d,
  type TransposedConvolution1dOptions,
  type TransposedConvolutionOptions,
} from "./convolution-transposed.js";
export { type CumulativeOptions, cumulativeSum } from "./cumulative.js";
export { type EvaluateOptions, evaluate, type Feeds } from "./evaluate.js";
export { grad } from "./grad.js";
export { cast, stopGradient } from "./identity.js";
export { gather, scatterAdd } from "./indexing.js";
export { constantTensor, input, state, step } from "./leaves.js";
export { type MatmulOptions, matmul } from "./linear.js";
export { broadcastTo, concatenate, pad, reshapeTensor, slice, transpose } from "./movement.js";
export { type OpName, ops, rowOf } from "./ops.js";
export { type PoolOptions, poolAverage2d, poolMax2d, upsampleBilinear2d, upsampleNearest2d } from "./pooling.js";
export { print } from "./print.js";
export { normal, type ShuffledIndicesOptions, shuffledIndices, uniform } from "./random.js";
export { max, type ReduceOptions, sum } from "./reduce.js";
export { type ClassAxis, embedding, logSoftmax, oneHot, softmax, softmaxCrossEntropy } from "./softmax.js";
export { type Sorted, type SortOptions, sort, topK } from "./sorting.js";
export type { DerivativeContext, Environment, Family, Many, OpCase, OpRow, SampleInput, SampleValues, Value } from "./table.js";
export {
  type Attributes,
  type DType,
  isTensor,
  type Shape,
  sameShape,
  showShape,
  sizeOf,
  type Tensor,
  type TensorLike,
  type TensorType,
  topological,
} from "./tensor.js";
export { cholesky, logDeterminant, triangularSolve } from "./triangular.js";
export {
  absolute,
  cos,
  exp,
  expm1,
  finiteMask as isFinite,
  floor,
  log,
  log1p,
  negate,
  reciprocal,
  relu,
  sigmoid,
  sign,
  sin,
  softplus,
  sqrt,
  square,
  tanh,
} from "./unary.js";
export { fold, unfold, type WindowSteps } from "./windows.js";
