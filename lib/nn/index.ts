// Layers, optimizers and schedules: plain data, with behaviour looked up by kind. Importing this file defines the kinds.

import { closeBuiltIns } from "./tagged.js";

export { Fields, isRecord } from "../graph/arguments.js";
export { type Activation, activations } from "./activations.js";
export { type InferenceContext, inference, type LayerContext, type NoiseSource, type TrainingContext, TrainingLayers } from "./context.js";
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
export { defineLayer, flatten, type Layer, type LayerBehaviour, layers, reshapeLayer as reshape } from "./layer.js";
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
  defineOptimizer,
  type GradientOf,
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
  type PartParameters,
} from "./parameters.js";
export { averagePool2d, globalAveragePool, maxPool2d, type PoolLayerOptions, upsample } from "./pooling.js";
export { type ResidualOptions, residual, sequential } from "./residual.js";
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
export { applyStack, inferStack, type Stack, type StackEntry, stackLayers } from "./stack.js";
export { type Behaviour, closeBuiltIns, freezePlain, Registry, type Tagged } from "./tagged.js";
export type { PaddingOption1d, Sizes } from "./windows.js";

closeBuiltIns();
