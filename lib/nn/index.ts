// Layers, optimizers and schedules: plain data, with behaviour looked up by kind. Importing this file defines the kinds.

import { closeBuiltIns } from "./tagged.js";

export { Fields, isRecord } from "../graph/arguments.js";
export { type Activation, activations } from "./activations.js";
export { Pass } from "./apply.js";
export { readInput, readLayers } from "./architecture.js";
export { conditionsJoined, film, joinCondition, joinedShape, readsConditions } from "./conditions.js";
export {
  type Conv1dOptions,
  type Conv2dOptions,
  type ConvolutionLayerOptions,
  type ConvTranspose1dOptions,
  type ConvTranspose2dOptions,
  conv1d,
  conv2d,
  convTranspose1d,
  convTranspose2d,
} from "./conv.js";
export { type Dense, type DenseOptions, dense } from "./dense.js";
export { dropout } from "./dropout.js";
export {
  defineLayer,
  flatten,
  type Layer,
  type LayerBehaviour,
  type LayerOptions,
  layers,
  named,
  reshapeLayer as reshape,
} from "./layer.js";
export { BATCH_ORDER, Noise, NoNoise, RowNoise, ScaledNoise, streamOf } from "./noise.js";
export {
  type BatchNormOptions,
  batchNorm,
  groupNorm,
  instanceNorm,
  layerNorm,
  type NormalizationOptions,
} from "./normalization.js";
export {
  type AdamOptions,
  type AdamWOptions,
  adam,
  adamW,
  clipNorm,
  defineOptimizer,
  type GradientOf,
  type GradientTransform,
  type Optimizer,
  type OptimizerBehaviour,
  type OptimizerOptions,
  type OptimizerStep,
  optimizerUpdates,
  parseOptimizer,
  type SgdOptions,
  sgd,
  slotNames,
} from "./optimizers.js";
export {
  INITIALIZATION_STEP,
  type Initializer,
  initializers,
  initialValue,
  type NamedParameter,
  nameParameters,
  type ParameterSpec,
} from "./parameters.js";
export { averagePool2d, globalAveragePool, maxPool2d, type PoolLayerOptions, type UpsampleOptions, upsample } from "./pooling.js";
export { type ResidualOptions, residual, sequential } from "./residual.js";
export { type Asked, wrongResult } from "./results.js";
export {
  constant,
  cosine,
  defineSchedule,
  exponential,
  linear,
  parseScheduled,
  type Schedule,
  type ScheduleBehaviour,
  scheduledValue,
  stepDecay,
  warmup,
} from "./schedules.js";
export type {
  ConditionShapes,
  Conditions,
  Declared,
  NamesOf,
  NetworkFunction,
  NetworkSpec,
  NoiseSource,
  ParametersOf,
  PartOf,
  RecordsOf,
  Scope,
} from "./scope.js";
export { inferStack, type Place, parametersIn, placeOf, type Stack, type StackEntry, shapeAfter, stackLayers } from "./stack.js";
export { type Behaviour, type Branded, closeBuiltIns, freezePlain, Registry, type Tagged } from "./tagged.js";
export type { PaddingOption1d, Sizes } from "./windows.js";

closeBuiltIns();
