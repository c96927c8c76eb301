// What a VAE is made of, as data, and what it computes, as graphs. Importing this file defines the built-in parts.
import { closeBuiltIns } from "../nn/index.js";

export { type Architecture, architectureOf, checkParameters, summarize } from "./architecture.js";
export { configOptions, type KindName, parseConfig, type VaeConfig, type VaeOptions } from "./config.js";
export {
  type BernoulliOptions,
  bernoulli,
  defineLikelihood,
  type GaussianLikelihoodOptions,
  gaussian,
  type Likelihood,
  type LikelihoodBehaviour,
} from "./likelihoods.js";
export { Noise } from "./noise.js";
export {
  defineObjective,
  type ElboOptions,
  elbo,
  type KlEstimate,
  type Objective,
  type ObjectiveBehaviour,
  type ObjectiveContext,
  type ObjectiveTerms,
} from "./objectives.js";
export {
  definePosterior,
  type GaussianDistribution,
  type GaussianPosteriorOptions,
  gaussianDistribution,
  gaussianPosterior,
  type LatentDistribution,
  type Posterior,
  type PosteriorBehaviour,
} from "./posteriors.js";
export { type AnyImagePresetOptions, type ImagePresetOptions, type PresetOptions, presets, type TablePresetOptions } from "./presets.js";
export { definePrior, type Prior, type PriorBehaviour, standardNormal } from "./priors.js";

closeBuiltIns();
