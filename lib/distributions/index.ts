// Families of distributions and the divergences between them. Importing this file defines the built-in ones.
import { closeBuiltIns } from "../nn/index.js";

export { type Asked, wrongResult } from "../nn/index.js";
export { type BernoulliOptions, bernoulli } from "./bernoulli.js";
export { type Divergence, defineDivergence, divergenceOf, type KlEstimate } from "./divergences.js";
export {
  categoriesOf,
  type Distribution,
  type Draw,
  defineLikelihood,
  definePosterior,
  definePrior,
  type FamilyBehaviour,
  type FamilyContext,
  families,
  type Likelihood,
  likelihoods,
  type Posterior,
  type Prior,
  posteriors,
  priors,
  type Role,
  rangeOf,
} from "./family.js";
export {
  type GaussianDistribution,
  type GaussianLikelihoodOptions,
  type GaussianPosteriorOptions,
  gaussian,
  gaussianDistribution,
  gaussianPosterior,
  standardNormal,
} from "./gaussian.js";
export { contributionsOf, distributionOf, tensorOf } from "./results.js";

closeBuiltIns();
