// What a VAE is made of, as data, and what it computes, as graphs. Importing this file defines the built-in parts.
import { closeBuiltIns } from "../nn/index.js";
import "./flat.js";

export { type Architecture, architectureOf, summarize } from "./architecture.js";
export {
  type Category,
  type Condition,
  type ConditionOptions,
  type ConditionPlace,
  category,
  type Given,
  type GivenValue,
  type NamedConditions,
  type Real,
  type RealOptions,
  real,
} from "./conditions.js";
export {
  configOptions,
  type KindName,
  type ModelOptions,
  type ObjectiveOf,
  type ObjectiveOption,
  parseConfig,
  type UserKinds,
  type VaeConfig,
  type VaeOptions,
  type WiredConfig,
  type WiredOptions,
} from "./config.js";
export {
  defineObjective,
  type Elbo,
  type ElboOptions,
  elbo,
  type MetricsOf,
  type Objective,
  type ObjectiveBehaviour,
  type ObjectiveContext,
  type ObjectiveTerms,
} from "./objectives.js";
export { type Preparation, type StandardizeOptions, standardize } from "./preparations.js";
export { type AnyImagePresetOptions, type ImagePresetOptions, type PresetOptions, presets, type TablePresetOptions } from "./presets.js";
export {
  importanceLogWeights,
  klContributions,
  type LatentTrace,
  logLikelihood,
  type Observation,
  repeatRows,
  sumContributions,
  type Trace,
} from "./trace.js";
export { defineWiring, type FamilyOf, familyOf, type Wiring, type WiringBehaviour } from "./wiring.js";

closeBuiltIns();
