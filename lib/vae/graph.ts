// From a configuration to symbolic graphs: what a training step, an encoding, a sample, … compute.
import {
  add,
  broadcastTo,
  cast,
  type DType,
  gather,
  grad,
  input,
  multiply,
  reshape,
  type Shape,
  sizeOf,
  state,
  step,
  subtract,
  sum,
  type Tensor,
} from "../graph/index.js";
import { drawIndices } from "../graph/random.js";
import {
  applyStack,
  inference,
  initialValue,
  type LayerContext,
  type NamedParameter,
  type NoiseSource,
  type Optimizer,
  optimizerUpdates,
  TrainingLayers,
} from "../nn/index.js";
import type { SessionGraph } from "../runtime/session.js";
import type { Architecture } from "./architecture.js";
import { likelihoods } from "./likelihoods.js";
import { BATCH_ORDER, Noise, RowNoise } from "./noise.js";
import { type KlEstimate, type ObjectiveContext, objectives } from "./objectives.js";
import { type LatentDistribution, posteriors } from "./posteriors.js";
import { priors } from "./priors.js";
import { type Asked, contributionsOf, distributionOf, tensorOf, termsOf } from "./results.js";

/** The resident that holds the training data. */
export const DATA = "data";

/** The resident that holds an optimizer's slot of a parameter. */
export function slotState(parameter: string, slot: string): string {
  return `${parameter}/${slot}`;
}

/** A model's parts as functions of tensors. Rows of data are `[batch, size]`, latents `[batch, latent]`. */
export interface ModelFunctions {
  /** The parameter tensors, by name. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  /**
   * Data as they are stored, bytes or floats, to data as the model sees them.
   *
   * @param noise for likelihoods that change rows at random; without it they do not
   */
  prepare(stored: Tensor, noise?: NoiseSource): Tensor;
  /** Rows to the posterior's parameters, `[batch, ...headShape]`. A layer that moves statistics does so at every call. */
  encode(x: Tensor): Tensor;
  /** q(z|x) from what `encode` gives. */
  posterior(head: Tensor): LatentDistribution;
  /** Latents to the likelihood's parameters, as rows. */
  decode(z: Tensor): Tensor;
  /** E[x|z] from what `decode` gives. */
  mean(head: Tensor): Tensor;
  /** log p(x|z), `[batch]`. */
  logLikelihood(x: Tensor, z: Tensor): Tensor;
  /** KL contributions `[batch, k]`. */
  kl(posterior: LatentDistribution, z: Tensor, estimate: KlEstimate): Tensor;
  samplePrior(rows: number, noise: NoiseSource): Tensor;
  /** log p(x|z) + log p(z) − log q(z|x) at `samples` draws per row, `[batch, samples]`; `head` is what `encode` gives for x. */
  importanceLogWeights(x: Tensor, head: Tensor, samples: number, noise: NoiseSource): Tensor;
}

/**
 * The functions of a model. All of them share one tensor per parameter.
 *
 * @param context whether its layers train: `inference` or the {@link TrainingLayers} of one step
 */
export function modelFunctions(architecture: Architecture, context: LayerContext): ModelFunctions {
  const { config, encoder, decoder, parameters: specs, prior, likelihood } = architecture;
  const parameters = new Map(specs.map(({ name, shape }) => [name, state(name, shape)]));
  const parameter = ({ name }: NamedParameter): Tensor => parameters.get(name)!;
  const own = (named: readonly NamedParameter[]): Readonly<Record<string, Tensor>> =>
    Object.fromEntries(named.map((spec) => [spec.name.slice(spec.name.indexOf(".") + 1), parameter(spec)]));
  const [priorTensors, likelihoodTensors] = [own(prior), own(likelihood)];
  const likelihoodOf = likelihoods.of(config.likelihood);
  const priorOf = priors.of(config.prior);
  const posteriorOf = posteriors.of(config.posterior);

  const posterior = (head: Tensor): LatentDistribution =>
    distributionOf(config.posterior, posteriorOf.distribution(config.posterior, head, config.latent), head.shape[0]!, config.latent);
  const decode = (z: Tensor): Tensor => rowsOf(applyStack(decoder, z, parameter, context));
  const ofPrior = (method: string): Asked => ({ family: "prior", part: config.prior, method });
  const ofLikelihood = (method: string): Asked => ({ family: "likelihood", part: config.likelihood, method });
  const logPrior = (z: Tensor): Tensor =>
    contributionsOf(ofPrior("logDensity"), priorOf.logDensity(config.prior, z, priorTensors), z.shape[0]!);
  const logLikelihood = (x: Tensor, z: Tensor): Tensor => {
    const density = likelihoodOf.logDensity(config.likelihood, x, decode(z), likelihoodTensors);
    return sumColumns(contributionsOf(ofLikelihood("logDensity"), density, x.shape[0]!));
  };
  return {
    parameters,
    prepare: (stored, noise) => {
      const scaled = stored.dtype === "uint8" ? multiply(cast(stored), 1 / 255) : stored;
      if (likelihoodOf.prepare === undefined) return scaled;
      return tensorOf(ofLikelihood("prepare"), likelihoodOf.prepare(config.likelihood, scaled, noise), scaled.shape);
    },
    encode: (x) => applyStack(encoder, reshape(x, [x.shape[0]!, ...config.input]), parameter, context),
    posterior,
    decode,
    mean: (head) => {
      const mean = likelihoodOf.mean(config.likelihood, head, likelihoodTensors);
      return tensorOf(ofLikelihood("mean"), mean, [head.shape[0]!, architecture.size]);
    },
    logLikelihood,
    kl: (q, z, estimate) => {
      const closed = estimate === "closed" ? priorOf.kl?.(config.prior, q, priorTensors) : undefined;
      if (closed !== undefined) return contributionsOf(ofPrior("kl"), closed, z.shape[0]!);
      const [logQ, logP] = [q.logDensity(z), logPrior(z)];
      // Contributions can be told apart only where both sides have the same ones.
      return logQ.shape[1] === logP.shape[1] ? subtract(logQ, logP) : column(subtract(sumColumns(logQ), sumColumns(logP)));
    },
    samplePrior: (rows, noise) => {
      const draws = priorOf.sample(config.prior, rows, config.latent, noise, priorTensors);
      return tensorOf(ofPrior("sample"), draws, [rows, config.latent]);
    },
    importanceLogWeights: (x, head, samples, noise) => {
      const rows = x.shape[0]!;
      const q = posterior(repeatRows(head, samples));
      const z = q.sample(noise);
      const ratio = subtract(sumColumns(logPrior(z)), sumColumns(q.logDensity(z)));
      return reshape(add(logLikelihood(repeatRows(x, samples), z), ratio), [rows, samples]);
    },
  };
}

/** What a training step is built for. */
export interface TrainingStep {
  /** Rows of the resident data set, and how they are stored. */
  readonly rows: number;
  readonly dtype: DType;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly optimizer: Optimizer;
  /** The step counter at which the optimizer's slots were zero. */
  readonly optimizerStart: number;
  /** The step counter at which the optimizer's schedules begin; default `optimizerStart`. */
  readonly scheduleStart?: number;
}

/** One training step: gather a batch, forward, backward, update; one row of terms. */
export function trainingGraph(architecture: Architecture, options: TrainingStep): SessionGraph {
  const { optimizer, optimizerStart, scheduleStart = optimizerStart } = options;
  const { model, terms, statistics } = batchTerms(architecture, options);
  const parameters = architecture.trained.map(({ name }) => [name, model.parameters.get(name)!] as const);
  const gradients = grad(
    terms.loss,
    parameters.map(([, tensor]) => tensor),
  );
  const updates = optimizerUpdates(
    optimizer,
    parameters.map(([name, parameter], index) => ({ name, parameter, gradient: gradients[index]! })),
    (parameter, slot, shape) => state(slotState(parameter, slot), shape),
    subtract(step(), optimizerStart),
    subtract(step(), scheduleStart),
  );
  return { terms, updates: [...updates, ...statistics] };
}

/** The terms that a training step would see, and nothing else. */
export function probeGraph(architecture: Architecture, options: TrainingStep): SessionGraph {
  return { terms: batchTerms(architecture, options).terms };
}

function batchTerms(architecture: Architecture, { rows, dtype, batchSize, shuffle }: TrainingStep) {
  const indices = drawIndices({ rows, batch: batchSize, shuffle, stream: BATCH_ORDER });
  const batch = gather(state(DATA, [rows, architecture.size], dtype), indices);
  const noise = new Noise("training");
  const training = new TrainingLayers(noise.within("layers"));
  const model = modelFunctions(architecture, training);
  const terms = objectiveTerms(architecture, model, model.prepare(batch, noise.within("data")), noise);
  return { model, terms, statistics: training.updates };
}

/** The objective's terms for a prepared batch. */
export function objectiveTerms({ config }: Architecture, model: ModelFunctions, x: Tensor, noise: NoiseSource): ReturnType<typeof termsOf> {
  // One encoding for all that the objective asks for: a second one would draw other noise and move statistics again.
  const head = model.encode(x);
  const posterior = model.posterior(head);
  const draws = noise.within("posterior");
  const context: ObjectiveContext = {
    x,
    posterior,
    step: step(),
    noise: noise.within("objective"),
    sample: () => posterior.sample(draws),
    logLikelihood: (z) => model.logLikelihood(x, z),
    kl: (z, estimate) => model.kl(posterior, z, estimate),
    importanceLogWeights: (samples) => model.importanceLogWeights(x, head, samples, draws),
  };
  return termsOf(config.objective, objectives.of(config.objective).terms(config.objective, context));
}

/** Gives every parameter its first value; to be run once, at the initialization step. */
export function initialGraph({ parameters }: Architecture): SessionGraph {
  // What begins with zeros is so already.
  const drawn = parameters.map((spec, stream) => ({ ...spec, stream })).filter(({ initializer }) => initializer !== "zeros");
  return { updates: drawn.map((spec) => [state(spec.name, spec.shape), initialValue(spec, spec.stream)]) };
}

/** Rows of data that a caller hands in for one run. */
function dataInput({ size }: Architecture, batch: number, dtype: DType): Tensor {
  return input("x", [batch, size], dtype);
}

/** `x` → mean and standardDeviation of q(z|x). */
export function encodeGraph(architecture: Architecture, batch: number, dtype: DType): SessionGraph {
  const model = modelFunctions(architecture, inference);
  const { mean, standardDeviation } = model.posterior(model.encode(model.prepare(dataInput(architecture, batch, dtype))));
  return { outputs: { mean, standardDeviation } };
}

/** `x` → E[x|z] at the posterior's mean. */
export function reconstructGraph(architecture: Architecture, batch: number, dtype: DType): SessionGraph {
  const model = modelFunctions(architecture, inference);
  const { mean } = model.posterior(model.encode(model.prepare(dataInput(architecture, batch, dtype))));
  return { outputs: { mean: model.mean(model.decode(mean)) } };
}

/** `z` → E[x|z]. */
export function decodeGraph(architecture: Architecture, batch: number): SessionGraph {
  const model = modelFunctions(architecture, inference);
  const z = input("z", [batch, architecture.config.latent]);
  return { outputs: { mean: model.mean(model.decode(z)) } };
}

/** Draws from the prior, multiplied by the input `temperature`, → E[x|z]. */
export function sampleGraph(architecture: Architecture, batch: number): SessionGraph {
  const model = modelFunctions(architecture, inference);
  const z = multiply(model.samplePrior(batch, new Noise("prior")), input("temperature", []));
  return { outputs: { mean: model.mean(model.decode(z)) } };
}

/** Of what `evaluate` draws: two graphs that draw under one name here draw the same, and see the same rows. */
const EVALUATION = "evaluation";

/** `x` → the parts of the ELBO (β = 1) for every row, at one draw of z. */
export function elboGraph(architecture: Architecture, batch: number, dtype: DType): SessionGraph {
  const model = modelFunctions(architecture, inference);
  const noise = new Noise(EVALUATION);
  const x = model.prepare(dataInput(architecture, batch, dtype), noise.within("data"));
  const posterior = model.posterior(model.encode(x));
  const z = posterior.sample(noise.within("posterior"));
  return { outputs: { reconstruction: model.logLikelihood(x, z), kl: model.kl(posterior, z, "closed"), mean: posterior.mean } };
}

/**
 * `x` → the parts of the ELBO (β = 1) for every row as functions of the row alone: at the mean of its posterior, or at a draw
 * that is the same multiple of the standard deviation for all rows.
 */
export function scoreGraph(architecture: Architecture, batch: number, dtype: DType, at: "mean" | "draw"): SessionGraph {
  const model = modelFunctions(architecture, inference);
  const x = model.prepare(dataInput(architecture, batch, dtype));
  const posterior = model.posterior(model.encode(x));
  const z = at === "mean" ? posterior.mean : posterior.sample(new RowNoise(new Noise("score")));
  return { outputs: { reconstruction: model.logLikelihood(x, z), kl: model.kl(posterior, z, "closed") } };
}

/** `x` → the rows as the model sees them, with the noise of the step where the likelihood changes rows at random. */
export function prepareGraph(architecture: Architecture, batch: number, dtype: DType): SessionGraph {
  const model = modelFunctions(architecture, inference);
  return { outputs: { x: model.prepare(dataInput(architecture, batch, dtype), new Noise(EVALUATION).within("data")) } };
}

/** `x`, rows that are prepared already → log importance weights of `samples` draws for every row. */
export function importanceGraph(architecture: Architecture, batch: number, samples: number): SessionGraph {
  const model = modelFunctions(architecture, inference);
  const x = dataInput(architecture, batch, "float32");
  const noise = new Noise(EVALUATION).within("importance");
  return { outputs: { logWeights: model.importanceLogWeights(x, model.encode(x), samples, noise) } };
}

function rowsOf(x: Tensor): Tensor {
  return reshape(x, [x.shape[0]!, sizeOf(x.shape.slice(1))]);
}

function sumColumns(x: Tensor): Tensor {
  return sum(x, { axes: [1] });
}

function column(x: Tensor): Tensor {
  return reshape(x, [x.shape[0]!, 1]);
}

/** Every row `times` times in a row: `[batch, …]` → `[batch · times, …]`. */
function repeatRows(x: Tensor, times: number): Tensor {
  const [rows, ...rest] = x.shape as [number, ...Shape];
  return reshape(broadcastTo(reshape(x, [rows, 1, ...rest]), [rows, times, ...rest]), [rows * times, ...rest]);
}
