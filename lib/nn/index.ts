// Layers, optimizers and schedules: plain data, with behaviour looked up by kind. Importing this file defines the kinds.
export type { Activation } from "./activations.js";
export { type Dense, type DenseOptions, dense } from "./dense.js";
export { defineLayer, flatten, type Layer, type LayerBehaviour, layers, reshapeLayer as reshape } from "./layer.js";
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
  type ParameterSpec,
} from "./parameters.js";
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
export { applyStack, type Stack, type StackEntry, stackLayers } from "./stack.js";
export { type Behaviour, deepFreeze, describe, Fields, isRecord, type NumberBounds, Registry, suggestion, type Tagged } from "./tagged.js";
