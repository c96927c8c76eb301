import { signalOption } from "../graph/arguments.js";
import { isArray, isFunction, isPromise } from "../graph/kinds.js";
import { isArriving, type ReadLimits } from "../io/arrival.js";
import { type DataSource, type Dataset, isDataset } from "../io/dataset.js";
import { isRowStream, type RowStream } from "../io/stream.js";
import { Fields, type GradientTransform, type Optimizer, parseOptimizer } from "../nn/index.js";
import { type GroupOptions, readGrouping } from "./groups.js";
import { checkBytesAsTrained, ownRows, ownTogether } from "./rows.js";
import { type Chunk, type ProfiledKernel, type RunOptions, TrainingRun } from "./run.js";
import { checkIdle, type Trainee } from "./state.js";
import type { TrainingWarning } from "./unscaled.js";

/** Means over steps of what a training records: for the ELBO `loss`, `elbo`, `reconstruction` and `kl`, in nats per sample. */
export type Metrics = Readonly<Record<string, number>>;

/** How long a training lasts: epochs or steps, not both. */
export type TrainLength =
  | {
      /**
       * Passes over the data; default 1. They make `epochs × rows / batchSize` steps, rounded up: 100 passes over 20 rows in batches
       * of 128 are 16 steps. Give `steps`, or a smaller `batchSize`, where that is too few. A
       * stream must say its rows to have epochs.
       */
      readonly epochs?: number;
      readonly steps?: never;
    }
  | {
      /** Steps, instead of epochs. */
      readonly steps?: number;
      readonly epochs?: never;
    };

/** What `fit` and `train` have in common, beside how long they last. */
export interface TrainSettings extends GroupOptions {
  /**
   * Rows per step; default 128. Batches run on across the end of an epoch, so every one is full; one of more rows than there are
   * holds them several times.
   */
  readonly batchSize?: number;
  /**
   * Default: the optimizer of the training before, at first `adam()`. Its state goes on from training to training; one of
   * another kind begins with a state of zeros. Giving an optimizer starts its schedules at the first step of this training, also
   * when the one before had the same; to go on with a schedule, in a loop of trainings or after loading, leave it out.
   */
  readonly optimizer?: Optimizer;
  /**
   * What changes the gradients of each loss before the optimizer sees them, in this order: {@link clipNorm}, or functions of your own
   * such as an average over processes. Default: none. An optimizer's own `clipNorm` comes after them.
   */
  readonly gradientTransforms?: readonly GradientTransform[];
  /**
   * A new order of the rows in every epoch; default true. The rows of a stream come in its own order, see
   * {@link StreamOptions.shuffleBuffer}.
   */
  readonly shuffle?: boolean;
  /** Threads on the CPU from now on; default: those that the model was made with. Results do not depend on it. */
  readonly threads?: number;
  /**
   * Most rows that an iterable may bring, which are all held in memory; default: as many as fill 512 MiB. With `steps` an iterable
   * is read no further than `steps × batchSize` rows, the last batch kept whole, and closed: it may have no end.
   */
  readonly maxRows?: number;
  /**
   * Aborting takes effect at the next step, and while rows of an iterable arrive at once; the promise rejects with the reason. The
   * model keeps the last complete step, or the one before where that one has spoiled the weights; an iterable is closed.
   */
  readonly signal?: AbortSignal;
}

/** What `fit` and `train` have in common. */
export type TrainOptions = TrainSettings & TrainLength;

/**
 * What `fit` takes beside {@link TrainOptions}.
 *
 * @typeParam E what the validation rows give after an epoch
 * @typeParam M what is recorded
 */
export interface FitSettings<E = unknown, M extends Metrics = Metrics> extends TrainSettings {
  /** Rows to evaluate after every epoch; columns with names are matched with those of the training data. */
  readonly validation?: DataSource;
  /** Called about seven times a second, with means of the metrics. Training waits for a promise that it returns, and ends where that rejects. */
  readonly onProgress?: (progress: Progress<M>) => void | Promise<void>;
  /** Measure the kernels of the training step, for {@link History.profile}; costs a few percent of speed. Default false. */
  readonly profile?: boolean;
  /**
   * Called after every epoch, and waited for as `onProgress` is. Where a batch holds more rows than the data set, one step ends
   * several epochs: the first of them is reported, the others are passed over.
   */
  readonly onEpoch?: (record: EpochRecord<E, M>) => void | Promise<void>;
}

/** What `fit` takes; see {@link FitSettings}. */
export type FitOptions<E = unknown, M extends Metrics = Metrics> = FitSettings<E, M> & TrainLength;

/** Where a training stands. */
export interface Progress<M extends Metrics = Metrics> {
  /** Steps that the model has made in all, in earlier trainings too. */
  readonly step: number;
  /** Steps made in this training, and all that it will make. */
  readonly completed: number;
  readonly steps: number;
  /** The epoch in progress, from 1, and how many there are. */
  readonly epoch: number;
  readonly epochs: number;
  /** Means over the steps since the report before. */
  readonly metrics: M;
  readonly stepsPerSecond: number;
  readonly samplesPerSecond: number;
  readonly secondsLeft: number;
}

/** What one epoch of a training gave; the last one may be cut short by `steps`. */
export interface EpochRecord<E = unknown, M extends Metrics = Metrics> {
  /** From 1. */
  readonly epoch: number;
  /** Steps that the model has made in all. */
  readonly step: number;
  /** Means over the epoch's steps, while the weights changed. */
  readonly metrics: M;
  /** What the validation rows gave after it. */
  readonly validation?: E;
  /** Time spent in training steps. */
  readonly seconds: number;
}

/** What `fit` resolves to. */
export interface History<E = unknown, M extends Metrics = Metrics> {
  /** One for every call of `onEpoch`. */
  readonly epochs: readonly EpochRecord<E, M>[];
  /** Steps of this training, and seconds spent in them. */
  readonly steps: number;
  readonly seconds: number;
  /** What is to be known about the training, such as data far from unit scale. The process emits them too, once per model. */
  readonly warnings: readonly TrainingWarning[];
  /** What each kernel call of a step took, in their order, where `profile` was asked for. */
  readonly profile?: readonly ProfiledKernel[];
}

/** What `train` takes beside {@link TrainOptions}. */
export interface IterateSettings extends TrainSettings {
  /** Steps from one value to the next; default 100. */
  readonly every?: number;
}

/** What `train` takes. */
export type IterateOptions = IterateSettings & TrainLength;

/** What `train` yields. */
export interface TrainedSteps<M extends Metrics = Metrics> {
  /** Steps that the model has made in all. */
  readonly step: number;
  /** Means over the steps since the value before. */
  readonly metrics: M;
  readonly stepsPerSecond: number;
}

/** How a model is evaluated on validation rows. */
export type Validate<E> = (rows: Dataset, operation: string, signal: AbortSignal | undefined) => Promise<E>;

/** Trains a model; see {@link FitOptions}. */
export async function fitModel<E, M extends Metrics = Metrics>(
  model: Trainee,
  source: DataSource | RowStream,
  options: FitOptions<E, M>,
  { prepare, validate }: { readonly prepare: (rows: Dataset) => Promise<void>; readonly validate: Validate<E> },
): Promise<History<E, M>> {
  const operation = "fit";
  const { run, limits, fields } = readOptions(operation, options);
  const onProgress = callback<Progress<M>>(fields, "onProgress");
  const onEpoch = callback<EpochRecord<E, M>>(fields, "onEpoch");
  const profile = fields.boolean("profile", false);
  const validationSource = fields.raw("validation") as DataSource | undefined;
  fields.finish();
  checkIdle(model, operation);
  model.weights.check(operation);
  // Taken up before the first await, so that what is copied is copied now.
  const columns = model.names.columns ?? (isDataset(source) ? source.columns : undefined);
  const categories = model.names.categories ?? (isDataset(source) ? source.categories : undefined);
  const validation = { source: validationSource!, operation: "fit validation", columns, categories, ...limits, enough: undefined };
  // A stream is read while the training runs.
  const stream = isRowStream(source) ? source : undefined;
  const sources = ownTogether(model, [
    ...(isRowStream(source) ? [] : [{ source, operation, ...limits }]),
    ...(validationSource === undefined ? [] : [validation]),
  ]);
  return TrainingRun.during(
    model,
    sources.then(([rows]) => stream ?? rows!),
    { ...run, profile },
    async (training) => {
      const validationRows = (await sources)[stream === undefined ? 1 : 0];
      if (validationRows !== undefined) {
        await checkBytesAsTrained(model, validationRows, "fit validation");
        await prepare(validationRows);
      }
      const { steps, epochs, epochEnd } = training.course;
      const rate = new Rate();
      const records: EpochRecord<E, M>[] = [];
      let [completed, seconds] = [0, 0];
      for (let epoch = 1; completed < steps; epoch++) {
        const ofEpoch = new Means<M>();
        const end = Math.min(steps, epochEnd(epoch));
        while (completed < end) {
          const chunk = await training.advance(end - completed);
          completed += chunk.steps;
          ofEpoch.add(chunk);
          rate.add(chunk);
          const stepsPerSecond = rate.perSecond;
          await onProgress?.({
            step: model.state.step,
            completed,
            steps,
            epoch,
            epochs,
            metrics: Means.of(chunk),
            stepsPerSecond,
            samplesPerSecond: stepsPerSecond * run.batchSize,
            secondsLeft: (steps - completed) / stepsPerSecond,
          });
        }
        seconds += ofEpoch.seconds;
        // More rows in a batch than in the data set: several epochs may end with the same step.
        if (ofEpoch.steps === 0) continue;
        const record = { epoch, step: model.state.step, metrics: ofEpoch.metrics, seconds: ofEpoch.seconds };
        const evaluated = validationRows === undefined ? {} : { validation: await validate(validationRows, "fit validation", run.signal) };
        records.push({ ...record, ...evaluated });
        await onEpoch?.(records.at(-1)!);
      }
      return { epochs: records, steps, seconds, warnings: training.warnings, ...(profile ? { profile: training.profile } : {}) };
    },
  );
}

/** Trains a model step by step of the consumer; leaving the loop ends the training after a whole step. */
export function trainModel<M extends Metrics = Metrics>(
  model: Trainee,
  source: DataSource | RowStream,
  options: IterateOptions,
): AsyncGenerator<TrainedSteps<M>, void, undefined> {
  const operation = "train";
  const { run, limits, fields } = readOptions(operation, options);
  const every = fields.number("every", { minimum: 1, integer: true }, 100);
  fields.finish();
  model.weights.check(operation);
  const own = () => (isRowStream(source) ? source : ownRows(model, source, operation, limits));
  // What is there is copied now; what arrives is asked for when the loop is entered, and closed when it is left.
  const rows = isRowStream(source) || isArriving(source) ? undefined : own();
  // A loop that is never entered must not end in an unhandled rejection; one that is entered awaits the promise itself.
  if (isPromise(rows)) rows.then(undefined, () => undefined);
  return TrainingRun.iterate(
    model,
    () => rows ?? own(),
    run,
    async function* (training) {
      const { steps } = training.course;
      for (let completed = 0; completed < steps; ) {
        const interval = new Means<M>();
        const end = Math.min(steps, completed + every);
        while (completed < end) {
          const chunk = await training.advance(end - completed);
          completed += chunk.steps;
          interval.add(chunk);
        }
        yield { step: model.state.step, metrics: interval.metrics, stepsPerSecond: interval.steps / interval.seconds };
      }
    },
  );
}

interface ReadOptions {
  readonly run: RunOptions;
  /** How far a source is read that may have no end. */
  readonly limits: ReadLimits;
  readonly fields: Fields;
}

function readOptions(operation: string, options: TrainOptions): ReadOptions {
  const fields = new Fields(operation, options);
  const whole = { minimum: 1, integer: true };
  const optional = <T>(name: string, read: () => T): T | undefined => (fields.raw(name) === undefined ? undefined : read());
  const steps = optional("steps", () => fields.number("steps", whole));
  const epochs = optional("epochs", () => fields.number("epochs", { above: 0 }));
  if (steps !== undefined && epochs !== undefined) throw fields.wrong("steps", "left out where epochs are given");
  const signal = signalOption(fields);
  const run: RunOptions = {
    operation,
    plan: steps === undefined ? { epochs: epochs ?? 1 } : { steps },
    batchSize: fields.number("batchSize", { ...whole, maximum: 2 ** 24 }, 128),
    shuffle: fields.boolean("shuffle", true),
    optimizer: optional("optimizer", () => parseOptimizer(fields.raw("optimizer"), `${operation} optimizer`)),
    grouping: readGrouping(fields),
    transforms: readTransforms(fields),
    threads: optional("threads", () => fields.number("threads", { ...whole, maximum: 1024 })),
    signal,
  };
  const limits = {
    enough: steps === undefined ? undefined : steps * run.batchSize,
    maxRows: optional("maxRows", () => fields.number("maxRows", whole)),
    stops: signal === undefined ? [] : [signal],
  };
  return { run, limits, fields };
}

function readTransforms(fields: Fields): readonly GradientTransform[] {
  const given = fields.given("gradientTransforms", []);
  if (isArray(given) && Array.from(given).every(isFunction)) return [...given] as readonly GradientTransform[];
  throw fields.wrong("gradientTransforms", "an array of functions: [clipNorm(1)]");
}

type Callback<T> = (value: T) => void | Promise<void>;

function callback<T>(fields: Fields, name: string): Callback<T> | undefined {
  const value = fields.raw(name);
  if (value !== undefined && !isFunction(value)) throw fields.wrong(name, "a function");
  return value as Callback<T> | undefined;
}

/** Means of terms over chunks. */
class Means<M extends Metrics> {
  readonly #sums: Record<string, number> = {};
  steps = 0;
  seconds = 0;

  static of<M extends Metrics>(chunk: Chunk): M {
    const means = new Means<M>();
    means.add(chunk);
    return means.metrics;
  }

  add({ steps, seconds, sums }: Chunk): void {
    for (const [name, sum] of Object.entries(sums)) this.#sums[name] = (this.#sums[name] ?? 0) + sum;
    this.steps += steps;
    this.seconds += seconds;
  }

  get metrics(): M {
    return Object.fromEntries(Object.entries(this.#sums).map(([name, sum]) => [name, sum / this.steps])) as M;
  }
}

/** Steps per second over about the last three seconds: steady to read, and soon right after the machine slows down. */
class Rate {
  #steps = 0;
  #seconds = 0;

  add({ steps, seconds }: Chunk): void {
    const keep = Math.exp(-seconds / 3);
    this.#steps = this.#steps * keep + steps;
    this.#seconds = this.#seconds * keep + seconds;
  }

  get perSecond(): number {
    return this.#steps / this.#seconds;
  }
}
