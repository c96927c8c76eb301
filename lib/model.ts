import { noMore, notOptions, signalOption } from "./graph/arguments.js";
import { withMemoryErrors } from "./graph/bytes.js";
import type { DataSource } from "./io/dataset.js";
import type { DataNames } from "./io/names.js";
import type { RowStream } from "./io/stream.js";
import { Fields, isRecord } from "./nn/index.js";
import { type FitOptions, fitModel, type History, type IterateOptions, type TrainedSteps, trainModel } from "./train/fit.js";
import { TrainedModel } from "./train/model.js";
import { type PlacementOptions, readPlacement } from "./train/placement.js";
import { type CallOptions, callOptions } from "./train/program.js";
import { feedOf, ownRows, stopping } from "./train/rows.js";
import { type TrainingState, untrained } from "./train/state.js";
import { type Weights, weightsOf } from "./train/weights.js";
import { type Architecture, architectureOf, summarize } from "./vae/architecture.js";
import type { Given, NamedConditions } from "./vae/conditions.js";
import {
  configOptions,
  type ObjectiveOf,
  type ObjectiveOption,
  parseConfig,
  type VaeConfig,
  type VaeOptions,
  type WiredConfig,
  type WiredOptions,
} from "./vae/config.js";
import { type EvaluateOptions, type Evaluation, evaluateRows, MOST_SAMPLES, type ScoreOptions, scoreRows } from "./vae/evaluate.js";
import {
  decode,
  type Encoding,
  encode,
  type Inference,
  type InterpolateOptions,
  interpolate,
  type Latents,
  reconstruct,
  sample,
} from "./vae/infer.js";
import type { MetricsOf } from "./vae/objectives.js";
import { readModel, saveModel } from "./vae/saved.js";

const FEWER_ROWS = "use fewer rows at a time";

/** Conditions of rows that are not there yet. @typeParam C the model's conditions */
export interface GivenOptions<C extends NamedConditions = NamedConditions> extends CallOptions {
  /**
   * For a model with conditions: one value for all rows, or one for each; categories by name or number.
   *
   * @example
   * ```ts
   * await model.sample(64, { given: { label: 3, site: "A" } });
   * ```
   */
  readonly given?: Given<C>;
}

/** What `sample` takes. */
export interface SampleOptions<C extends NamedConditions = NamedConditions> extends GivenOptions<C> {
  /** Scales the noise that latents are drawn with: below 1 samples are more typical and less varied; default 1. */
  readonly temperature?: number;
  /** The same seed gives the same samples; by default every call goes on where the one before ended. */
  readonly seed?: number;
}

/**
 * A variational autoencoder on a device. Made by {@link vae} or {@link load}; weights stay native until asked for. All
 * calls queue up on the device, so inference may run while `fit` does. TypedArrays in and out, row-major; those that go in are
 * to be left alone until the promise resolves, see {@link DataSource}.
 *
 * A model that was trained on a {@link Dataset} with column names knows them from then on ({@link Vae.columns}): a later data set
 * with names may have the same columns in another order, and other columns are `"data"`. Rows without names are taken as they
 * are. Labels are kept with a data set and never looked at by the model, so their classes may be others.
 *
 * Every method throws or rejects with `VaeError` `"disposed"` after `dispose`, with `"shape"`, `"dtype"`, `"data"` or
 * `"detached"` for data it cannot take, and with `"memory"` for what does not fit into memory: all that a call needs is compared
 * with what the process can have before any of it is allocated. The model stays usable after each of these but the first.
 */
export class Vae<Config extends VaeConfig | WiredConfig = VaeConfig> extends TrainedModel {
  readonly #model: Inference;
  #draws = 0;

  /** @internal */
  constructor(architecture: Architecture, weights: Weights, state: TrainingState, names: DataNames = {}) {
    const model = { trainable: architecture, seed: architecture.config.seed, weights, state, names, training: undefined };
    super(model);
    this.#model = model;
  }

  /** What the model is made of: frozen JSON. */
  get config(): Config {
    return this.#model.trainable.config as Config;
  }

  /**
   * Columns of texts of the training data with their categories, each of which is a column `"name=category"` of 0 and 1 among
   * {@link Vae.columns}; undefined where there were none. Later rows may lack some of them; others are `"data"`.
   */
  get categories(): Readonly<Record<string, readonly string[]>> | undefined {
    return this.#model.names.categories;
  }

  /**
   * Trains on rows of the input's shape, natively from a resident copy of them, or from a {@link streamed | stream} that is read
   * while steps run. Called again it goes on where it stopped.
   * However it ends, the model keeps the last complete step, or the last good one where that has spoiled the weights.
   *
   * @throws VaeError `"data"` for values that are not finite or outside [0, 1] under a Bernoulli likelihood, `"diverged"`
   *   when a term becomes NaN or infinite (the model keeps the last good weights), `"argument"` while another training of
   *   this model runs.
   */
  async fit(
    data: DataSource | RowStream,
    options: FitOptions<Evaluation, MetricsOf<Config["objective"]>> = {},
    ...surplus: never[]
  ): Promise<History<Evaluation, MetricsOf<Config["objective"]>>> {
    noMore("fit", surplus, "fit(data, { epochs: 10, batchSize: 64 })");
    const model = this.#model;
    return withMemoryErrors("fit", FEWER_ROWS, () =>
      fitModel(model, data, options, {
        prepare: async (rows) => {
          await feedOf(model.trainable.fields, rows, "fit validation");
        },
        validate: (rows, operation, signal) => evaluateRows(model, rows, { importanceSamples: 0, seed: model.seed, signal, operation }),
      }),
    );
  }

  /**
   * Trains as an async iterator; `break` ends it after a whole step. Options without `steps` or `epochs` train one epoch. What is
   * there is copied when this is called; an iterable is read when the loop is entered.
   */
  train(
    data: DataSource | RowStream,
    options: IterateOptions = {},
    ...surplus: never[]
  ): AsyncGenerator<TrainedSteps<MetricsOf<Config["objective"]>>, void, undefined> {
    noMore("train", surplus, "train(data, { steps: 1000, every: 100 })");
    return trainModel(this.#model, data, options);
  }

  /** Mean and standard deviation of q(z|x) of every row, `rows × latent` each. */
  async encode(data: DataSource, options: CallOptions = {}, ...surplus: never[]): Promise<Encoding> {
    noMore("encode", surplus, "encode(data, { signal })");
    const signal = callOptions("encode", options);
    return withMemoryErrors("encode", FEWER_ROWS, () => encode(this.#model, data, signal));
  }

  /**
   * E[x|z] of every latent, `rows × product(input)`: probabilities under a Bernoulli likelihood, means under a Gaussian, in the units of
   * the rows where the model prepares these. A model of several latents takes them beside each other, as `encode` gives them.
   */
  async decode(
    latents: Latents,
    options: GivenOptions<NonNullable<Config["conditions"]>> = {},
    ...surplus: never[]
  ): Promise<Float32Array> {
    noMore("decode", surplus, "decode(latents, { signal })");
    const fields = new Fields("decode", options);
    const given = fields.raw("given") as Given | undefined;
    const signal = signalOption(fields);
    fields.finish();
    return withMemoryErrors("decode", FEWER_ROWS, () => decode(this.#model, latents, given, signal));
  }

  /** E[x|z] at the mean of every row's posterior, `rows × product(input)`, in the order of {@link Vae.columns}. */
  async reconstruct(data: DataSource, options: CallOptions = {}, ...surplus: never[]): Promise<Float32Array> {
    noMore("reconstruct", surplus, "reconstruct(data, { signal })");
    const signal = callOptions("reconstruct", options);
    return withMemoryErrors("reconstruct", FEWER_ROWS, () => reconstruct(this.#model, data, signal));
  }

  /** E[x|z] of `count` draws from the prior, `count × product(input)`. */
  async sample(count: number, options: SampleOptions<NonNullable<Config["conditions"]>> = {}, ...surplus: never[]): Promise<Float32Array> {
    const example = "sample(64, { seed: 7 })";
    if (!isRecord(options)) throw notOptions("sample", options, example);
    noMore("sample", surplus, example);
    const size = countOf("sample", "count", count);
    const fields = new Fields("sample", options);
    const temperature = fields.number("temperature", { minimum: 0 }, 1);
    const seed = fields.raw("seed") === undefined ? undefined : seedOf(fields);
    const given = fields.raw("given") as Given | undefined;
    const signal = signalOption(fields);
    fields.finish();
    const request = { signal, count: size, temperature, given, seed: seed ?? this.config.seed };
    if (seed !== undefined) return sample(this.#model, { ...request, draw: 0 });
    const draw = this.#draws;
    // Far from every seed's first draws, so that sample(n, { seed }) with the model's seed gives others.
    this.#draws += size;
    return sample(this.#model, { ...request, draw: 2 ** 32 + draw });
  }

  /** `steps` rows from row `from` to row `to`, both ends' reconstructions included, along a line through the latents. */
  async interpolate(
    from: DataSource,
    to: DataSource,
    steps = 8,
    options: InterpolateOptions<NonNullable<Config["conditions"]>> = {},
    ...surplus: never[]
  ): Promise<Float32Array> {
    const example = "interpolate(a, b, 8, { spherical: true })";
    if (!isRecord(options)) throw notOptions("interpolate", options, example);
    noMore("interpolate", surplus, example);
    const count = countOf("interpolate", "steps", steps);
    const fields = new Fields("interpolate", options);
    const spherical = fields.boolean("spherical", false);
    const given = fields.raw("given") as Given | undefined;
    const signal = signalOption(fields);
    fields.finish();
    return withMemoryErrors("interpolate", "ask for fewer steps", () =>
      interpolate(this.#model, [from, to], count, { spherical, given, signal }),
    );
  }

  /** Means per row in nats: ELBO and its parts, active units and, with `importanceSamples`, the negative log-likelihood. */
  async evaluate(data: DataSource, options: EvaluateOptions = {}, ...surplus: never[]): Promise<Evaluation> {
    noMore("evaluate", surplus, "evaluate(data, { importanceSamples: 100 })");
    const fields = new Fields("evaluate", options);
    const importanceSamples = fields.number("importanceSamples", { minimum: 0, integer: true }, 0);
    const request = { importanceSamples, seed: seedOf(fields, this.config.seed), signal: signalOption(fields), operation: "evaluate" };
    fields.finish();
    return withMemoryErrors("evaluate", FEWER_ROWS, async () =>
      evaluateRows(this.#model, await ownRows(this.#model, data, "evaluate", stopping(request.signal)), request),
    );
  }

  /**
   * An anomaly score for every row: its negative ELBO in nats, by default with log p(x|z) at the mean of q(z|x) and the KL in
   * closed form, or with `samples` as a mean over draws. The higher, the less the row looks like the training data.
   *
   * A score is a function of the row, the weights and, with draws, of `seed` and `samples`: the same row gets the same score to
   * the bit in any place of any call. A likelihood that changes rows at random does not do so here. At the mean the scores rank
   * rows as well as many draws do, and better than one draw; they lie a little below the negative ELBO that `evaluate` gives.
   * Posteriors without a closed KL count log q(z|x) − log p(z) at the same z: give `samples` for those.
   *
   * @throws VaeError `"data"` for values that are not finite or that the likelihood does not take
   */
  async score(data: DataSource, options: ScoreOptions = {}, ...surplus: never[]): Promise<Float32Array> {
    noMore("score", surplus, "score(data, { samples: 8 })");
    const fields = new Fields("score", options);
    const samples = fields.number("samples", { minimum: 0, maximum: MOST_SAMPLES, integer: true }, 0);
    const request = { samples, seed: seedOf(fields, this.config.seed), signal: signalOption(fields) };
    fields.finish();
    return withMemoryErrors("score", FEWER_ROWS, async () =>
      scoreRows(this.#model, await ownRows(this.#model, data, "score", stopping(request.signal)), request),
    );
  }

  /**
   * Saves weights, optimizer state and how far training is as one safetensors file, whose metadata hold the configuration
   * as JSON. A loaded model goes on with the very same run. During training the state between two native calls is saved.
   *
   * `path` always holds either the old file or the whole new one, whose mode and owner are those of the old; a link is followed
   * and stays. It may be a `file:` URL.
   *
   * @throws VaeError `"file"` when the file cannot be written, `"data"` when the weights are not finite, as a training that
   *   diverges may leave them until its next step; the file that was there is kept.
   */
  async save(path: string | URL, ...surplus: never[]): Promise<void> {
    noMore("save", surplus);
    await saveModel(path, this.#model);
  }

  /** The layers with their shapes and parameter counts, as a table to print. */
  summary(...surplus: never[]): string {
    noMore("summary", surplus);
    return summarize(this.#model.trainable);
  }
}

/**
 * Makes a model of another wiring, with new weights; see {@link defineWiring}.
 *
 * @throws VaeError as for a plain model, and `"argument"` for a wiring that gives what it should not
 */
export function vae<C extends NamedConditions = Record<string, never>, O extends ObjectiveOption = "elbo">(
  options: WiredOptions<C, O> & PlacementOptions,
  ...surplus: never[]
): Vae<WiredConfig<C, ObjectiveOf<O>>>;
/**
 * Makes a variational autoencoder with new weights.
 *
 * @example
 * ```ts
 * const model = vae({ input: [28, 28, 1], latent: 20, likelihood: "bernoulli",
 *   encoder: [dense(400, { activation: "relu" })], decoder: [dense(400, { activation: "relu" })] });
 * await model.fit(images, { epochs: 10 });
 * ```
 * @throws VaeError `"argument"` or `"shape"` for options that cannot work, `"device"` for an unknown or unusable device.
 */
export function vae<C extends NamedConditions = Record<string, never>, O extends ObjectiveOption = "elbo">(
  options: VaeOptions<C, O> & PlacementOptions,
  ...surplus: never[]
): Vae<VaeConfig<C, ObjectiveOf<O>>>;
export function vae(options: (VaeOptions | WiredOptions) & PlacementOptions, ...surplus: never[]): Vae<VaeConfig | WiredConfig> {
  noMore("vae", surplus, "vae({ input: [784], latent: 20, … })");
  const { placement, rest } = readPlacement("vae", options, configOptions);
  const architecture = architectureOf(parseConfig(rest, "vae"));
  return new Vae(architecture, weightsOf(architecture, placement), untrained());
}

/**
 * Loads what `save` wrote, from a path or a `file:` URL. Nothing in the file is executed; kinds that users defined must be defined before.
 *
 * @typeParam Config of the model that was saved, which is not looked at: `load<WiredConfig>(path)` for one of another wiring
 * @throws VaeError `"file"` for a file that is missing, truncated, damaged or not a checkpoint, or whose configuration cannot
 *   be made a model; `"architecture"` when its weights do not fit its configuration, `"data"` when they are not finite.
 */
export async function load<Config extends VaeConfig | WiredConfig = VaeConfig>(
  path: string | URL,
  options: PlacementOptions = {},
  ...surplus: never[]
): Promise<Vae<Config>> {
  const example = 'load("model.vae", { device: "cpu" })';
  if (!isRecord(options)) throw notOptions("load", options, example);
  noMore("load", surplus, example);
  const { placement } = readPlacement("load", options, []);
  const { architecture, state, names, tensors } = await readModel(path);
  return new Vae<Config>(architecture, weightsOf(architecture, placement, tensors), state, names);
}

/** A number of things to make, given by position. */
function countOf(operation: string, name: string, value: number): number {
  return new Fields(operation, { [name]: value }).number(name, { minimum: 1, integer: true });
}

function seedOf(fields: Fields, fallback?: number): number {
  return fields.number("seed", { minimum: 0, maximum: Number.MAX_SAFE_INTEGER, integer: true }, fallback);
}
