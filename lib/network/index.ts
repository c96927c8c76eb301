// Classifiers and regression: layers and a loss. Importing this file defines the built-in losses.
import { closeBuiltIns } from "../nn/index.js";

export type { NetworkConfig, NetworkOptions } from "./config.js";
export { type ClassEvaluation, type ClassPredictions, type CrossEntropy, type CrossEntropyOptions, crossEntropy } from "./cross-entropy.js";
export { defineLoss, type Loss, type LossBehaviour, type RowValues } from "./losses.js";
export {
  type MeanSquaredError,
  type MeanSquaredErrorOptions,
  meanSquaredError,
  type ValueEvaluation,
  type ValuePredictions,
} from "./mean-squared-error.js";
export { type EvaluationOf, loadNetwork, Network, network, type PredictionsOf } from "./network.js";
export type { AnyEvaluation, AnyPredictions } from "./verbs.js";

closeBuiltIns();
