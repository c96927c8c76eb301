import { isRecord, noMore, notOptions } from "../graph/arguments.js";
import { withMemoryErrors } from "../graph/bytes.js";
import type { DataSource } from "../io/dataset.js";
import type { DataNames } from "../io/names.js";
import { type FitOptions, fitModel, type History, type IterateOptions, type TrainedSteps, trainModel } from "../train/fit.js";
import { TrainedModel } from "../train/model.js";
import { type PlacementOptions, readPlacement } from "../train/placement.js";
import { type CallOptions, callOptions } from "../train/program.js";
import { feedOf, ownRows, stopping } from "../train/rows.js";
import { type TrainingState, untrained } from "../train/state.js";
import { type Weights, weightsOf } from "../train/weights.js";
import { type NetworkArchitecture, networkArchitecture, summarizeNetwork } from "./architecture.js";
import { type NetworkConfig, type NetworkOptions, networkOptions, parseNetwork } from "./config.js";
import type { Loss } from "./losses.js";
import { type NetworkTrainee, readNetwork, saveNetwork } from "./saved.js";
import { type AnyEvaluation, type AnyPredictions, evaluateRows, predictRows } from "./verbs.js";

/** What `predict` gives with a loss. */
export type PredictionsOf<L extends Loss> = L extends Loss<infer P, infer _> ? (object extends P ? AnyPredictions : P) : never;

/** What `evaluate` gives with a loss. */
export type EvaluationOf<L extends Loss> = L extends Loss<infer _, infer E> ? (object extends E ? AnyEvaluation : E) : never;

const FEWER_ROWS = "use fewer rows at a time";

/**
 * A classifier or a regression on a device: layers, and a loss. Made by {@link network} or {@link loadNetwork}; weights stay native until
 * asked for. All calls queue up on the device, so `predict` may run while `fit` does. TypedArrays in and out, row-major; those that go in
 * are to be left alone until the promise resolves, see {@link DataSource}.
 *
 * `fit`, `train` and `evaluate` take rows with the fields that the loss reads, `predict` looks at x alone. Categories that have names are
 * matched by name. So are the columns of x: a network that was trained on a {@link Dataset} with column names knows them from then on.
 *
 * Every method throws or rejects with `VaeError` `"disposed"` after `dispose`, with `"shape"`, `"dtype"`, `"data"` or
 * `"detached"` for data it cannot take, and with `"memory"` for what does not fit into memory. The network stays usable after each of
 * these but the first.
 */
export class Network<L extends Loss = Loss> extends TrainedModel {
  readonly #model: NetworkTrainee;

  /** @internal */
  constructor(architecture: NetworkArchitecture, weights: Weights, state: TrainingState, names: DataNames = {}) {
    const model = { trainable: architecture, seed: architecture.config.seed, weights, state, names, training: undefined };
    super(model);
    this.#model = model;
  }

  /** What the network is made of: frozen JSON. */
  get config(): NetworkConfig<L> {
    return this.#model.trainable.config as NetworkConfig<L>;
  }

  /**
   * Trains on rows of the input's shape with the fields of the loss, natively from a resident copy of them. Called again it goes on
   * where it stopped. Metrics are means of what the loss gives per row: `loss`, and `accuracy` for {@link crossEntropy}. However it ends,
   * the network keeps the last complete step, or the last good one where that has spoiled the weights.
   *
   * @throws VaeError `"data"` for a missing field, an unknown category, and values that are not finite, `"diverged"` when a term becomes
   *   NaN or infinite (the network keeps the last good weights), `"argument"` while another training of this network runs
   */
  async fit(data: DataSource, options: FitOptions<EvaluationOf<L>> = {}, ...surplus: never[]): Promise<History<EvaluationOf<L>>> {
    noMore("fit", surplus, "fit(data, { epochs: 10, batchSize: 64 })");
    const model = this.#model;
    return withMemoryErrors("fit", FEWER_ROWS, () =>
      fitModel(model, data, options, {
        prepare: async (rows) => {
          await feedOf(model.trainable.fields, rows, "fit validation");
        },
        validate: async (rows, operation, signal) => (await evaluateRows(model, rows, operation, signal)) as EvaluationOf<L>,
      }),
    );
  }

  /**
   * Trains as an async iterator; `break` ends it after a whole step. Options without `steps` or `epochs` train one epoch. What is
   * there is copied when this is called; an iterable is read when the loop is entered.
   */
  train(data: DataSource, options: IterateOptions = {}, ...surplus: never[]): AsyncGenerator<TrainedSteps, void, undefined> {
    noMore("train", surplus, "train(data, { steps: 1000, every: 100 })");
    return trainModel(this.#model, data, options);
  }

  /**
   * What the loss predicts of every row: `probabilities` and `labels` with {@link crossEntropy}, `values` with
   * {@link meanSquaredError}. Fields beside x are not looked at.
   */
  async predict(data: DataSource, options: CallOptions = {}, ...surplus: never[]): Promise<PredictionsOf<L>> {
    noMore("predict", surplus, "predict(data, { signal })");
    const signal = callOptions("predict", options);
    return withMemoryErrors("predict", FEWER_ROWS, async () => (await predictRows(this.#model, data, signal)) as PredictionsOf<L>);
  }

  /**
   * How well the rows are predicted, as means over them: `loss` and, with {@link crossEntropy}, `accuracy`, with
   * {@link meanSquaredError} `lossPerOutput`.
   */
  async evaluate(data: DataSource, options: CallOptions = {}, ...surplus: never[]): Promise<EvaluationOf<L>> {
    noMore("evaluate", surplus, "evaluate(data, { signal })");
    const operation = "evaluate";
    const signal = callOptions(operation, options);
    return withMemoryErrors(operation, FEWER_ROWS, async () => {
      signal?.throwIfAborted();
      const dataset = await ownRows(this.#model, data, operation, stopping(signal));
      return (await evaluateRows(this.#model, dataset, operation, signal)) as EvaluationOf<L>;
    });
  }

  /**
   * Saves weights, optimizer state and how far training is as one safetensors file, whose metadata hold the configuration
   * as JSON. A loaded network goes on with the very same run. During training the state between two native calls is saved.
   *
   * `path` always holds either the old file or the whole new one, whose mode and owner are those of the old; a link is followed
   * and stays. It may be a `file:` URL.
   *
   * @throws VaeError `"file"` when the file cannot be written, `"data"` when the weights are not finite; the file that was there is kept
   */
  async save(path: string | URL, ...surplus: never[]): Promise<void> {
    noMore("save", surplus);
    await saveNetwork(path, this.#model);
  }

  /** The layers with their shapes and parameter counts, as a table to print. */
  summary(...surplus: never[]): string {
    noMore("summary", surplus);
    return summarizeNetwork(this.#model.trainable);
  }
}

/**
 * Makes a classifier or a regression with new weights. Parameters are called `layers.0.weight`, …, those of the head that is added
 * `layers.head.weight`.
 *
 * @example
 * ```ts
 * const digits = network({ input: [28, 28, 1], layers: [dense(64, { activation: "relu" })], loss: crossEntropy(10) });
 * await digits.fit(await datasets.mnist(), { epochs: 3 });
 * const { labels } = await digits.predict(images);
 * ```
 * @throws VaeError `"argument"` or `"shape"` for options that cannot work, `"device"` for an unknown or unusable device
 */
export function network<L extends Loss>(options: NetworkOptions<L> & PlacementOptions, ...surplus: never[]): Network<L> {
  noMore("network", surplus, "network({ input: [784], layers: [], loss: crossEntropy(10) })");
  const { placement, rest } = readPlacement("network", options, networkOptions);
  const architecture = networkArchitecture(parseNetwork(rest, "network"));
  return new Network(architecture, weightsOf(architecture, placement), untrained());
}

/**
 * Loads what a network's `save` wrote, from a path or a `file:` URL. Nothing in the file is executed; kinds that users defined must be
 * defined before.
 *
 * @typeParam L the loss that it was made with, such as {@link CrossEntropy}: types what `predict` and `evaluate` give, and is not checked
 * @throws VaeError `"file"` for a file that is missing, truncated, damaged or no network's, or whose configuration cannot be made a
 *   network; `"architecture"` when its weights do not fit its configuration, `"data"` when they are not finite
 */
export async function loadNetwork<L extends Loss = Loss>(
  path: string | URL,
  options: PlacementOptions = {},
  ...surplus: never[]
): Promise<Network<L>> {
  const example = 'loadNetwork("model.net", { device: "cpu" })';
  if (!isRecord(options)) throw notOptions("loadNetwork", options, example);
  noMore("loadNetwork", surplus, example);
  const { placement } = readPlacement("loadNetwork", options, []);
  const { architecture, state, names, tensors } = await readNetwork(path);
  return new Network(architecture, weightsOf(architecture, placement, tensors), state, names);
}
