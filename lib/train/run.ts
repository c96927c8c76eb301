import { setImmediate } from "node:timers/promises";
import { VaeError } from "../errors.js";
import { isUint8Array } from "../graph/kinds.js";
import { checkBytesInSlices } from "../io/bytes.js";
import type { Dataset } from "../io/dataset.js";
import type { DataNames } from "../io/names.js";
import { callPace } from "../io/pace.js";
import { isRowStream, type RowStream } from "../io/stream.js";
import type { GradientTransform, Optimizer } from "../nn/index.js";
import { extentOf, type RunRequest, type Session, type SessionResult } from "../runtime/session.js";
import { type BatchSource, residentRows, streamedRows } from "./batch-source.js";
import { planSteps, type StepCourse, type StepPlan } from "./course.js";
import type { Grouping } from "./groups.js";
import { feedOf, namesAfter } from "./rows.js";
import { checkIdle, coursesOf, type Trainee, takeUp } from "./state.js";
import { probeGraph, type TrainingStep, trainingGraph } from "./step.js";
import { type TrainingWarning, unscaledWarning } from "./unscaled.js";
import { rowsState } from "./weights.js";

/** One native call should take about this long: progress and aborts feel immediate, and the calls cost nothing. */
const SECONDS_PER_CALL = 0.15;

export interface RunOptions {
  readonly operation: string;
  readonly plan: StepPlan;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly optimizer: Optimizer | undefined;
  readonly grouping: Grouping;
  readonly transforms: readonly GradientTransform[];
  readonly threads: number | undefined;
  readonly signal: AbortSignal | undefined;
  /** Measure every step of the plan; see {@link TrainingRun.profile}. */
  readonly profile?: boolean;
}

/** What one kernel call of the training step takes, a mean over the steps of a training. */
export interface ProfiledKernel {
  /** The kernel: `"matmul"`, `"conv2d"`, `"map"`, … */
  readonly kernel: string;
  /** The ops that were fused into it. */
  readonly ops: string;
  /** What it runs over: rows × columns of a product and such. */
  readonly extent: readonly number[];
  readonly microseconds: number;
}

/** What a training takes its rows from. */
export type TrainedRows = Dataset | RowStream;

/** Some whole steps that were made. */
export interface Chunk {
  readonly steps: number;
  readonly seconds: number;
  /** The sum over the steps of every term. */
  readonly sums: Readonly<Record<string, number>>;
}

/** One training run: the data resident, the step compiled, advanced a few steps at a time. */
export class TrainingRun {
  readonly #model: Trainee;
  readonly #options: RunOptions;
  readonly #source: BatchSource;
  /** Its steps and epochs. */
  readonly course: StepCourse;
  readonly #names: DataNames;
  /** What is to be known about this training; the process has emitted it too. */
  readonly warnings: readonly TrainingWarning[];
  #step: TrainingStep | undefined;
  #session: Session | undefined;
  #secondsPerStep = 0;
  #lastSteps = 0;
  /** Whether steps were made whose weights no finite terms have confirmed yet. */
  #unproven = false;
  #nanoseconds: Float64Array = new Float64Array();
  #profiled = 0;
  #stopReason: { readonly reason: unknown } | undefined;

  private constructor(model: Trainee, options: RunOptions, source: BatchSource, names: DataNames, warnings: readonly TrainingWarning[]) {
    this.#model = model;
    this.#options = options;
    this.#source = source;
    this.course = planSteps(options.plan, source.rows, options.batchSize, options.operation);
    this.#names = names;
    this.warnings = warnings;
  }

  /**
   * Marks the model as being trained, at once; then checks and uploads the data and compiles the step, calls `body`, and
   * clears up behind it.
   */
  static async during<T>(
    model: Trainee,
    source: Promise<TrainedRows>,
    options: RunOptions,
    body: (run: TrainingRun) => Promise<T>,
  ): Promise<T> {
    // Where something else fails first, a rejection of the rows must not be an unhandled one.
    source.catch(() => undefined);
    const iterator = TrainingRun.iterate(
      model,
      () => source,
      options,
      async function* (run) {
        yield await body(run);
      },
    );
    const { value } = await iterator.next();
    await iterator.return(undefined);
    return value as T;
  }

  /** The same for a body that yields; the source is asked for when the iterator is. */
  static async *iterate<T>(
    model: Trainee,
    source: () => TrainedRows | Promise<TrainedRows>,
    options: RunOptions,
    body: (run: TrainingRun) => AsyncGenerator<T, void, undefined>,
  ): AsyncGenerator<T, void, undefined> {
    const { operation, signal } = options;
    checkIdle(model, operation);
    let run: TrainingRun | undefined;
    let stopped: { readonly reason: unknown } | undefined;
    model.training = {
      operation,
      stop: (reason) => {
        stopped = { reason };
        run?.stop(reason);
      },
    };
    let failed = false;
    try {
      signal?.throwIfAborted();
      const given = await source();
      run = isRowStream(given) ? await TrainingRun.#ofStream(model, options, given) : await TrainingRun.#ofRows(model, options, given);
      if (stopped !== undefined) throw stopped.reason;
      yield* body(run);
    } catch (error) {
      failed = true;
      throw error;
    } finally {
      try {
        // What the last step has done to the weights does not hide why the training ended.
        const settled = run === undefined ? undefined : run.#settle();
        await (failed ? settled?.catch(() => undefined) : settled);
      } finally {
        if (run !== undefined) await run.#close();
        model.training = undefined;
      }
    }
  }

  static async #ofRows(model: Trainee, options: RunOptions, dataset: Dataset): Promise<TrainingRun> {
    const { operation } = options;
    const { trainable } = model;
    await checkBytesInSlices(dataset, operation);
    const feed = await feedOf(trainable.fields, dataset, operation);
    const warning = await unscaledWarning(trainable.fields.x!, dataset, operation);
    if (warning !== undefined) emitOnce(model, warning);
    const warnings = warning === undefined ? [] : [warning];
    const run = new TrainingRun(model, options, residentRows(feed), namesAfter(model.names, dataset), warnings);
    await run.#openOr(model.state.step === 0 ? (trainable.fit?.(dataset) ?? {}) : {});
    model.state.bytes = isUint8Array(dataset.data) ? "scaled" : undefined;
    return run;
  }

  static async #ofStream(model: Trainee, options: RunOptions, stream: RowStream): Promise<TrainingRun> {
    const { operation, batchSize, plan, signal } = options;
    const { steps } = planSteps(plan, stream.rows, batchSize, operation);
    const stops = [model.weights.disposal, ...(signal === undefined ? [] : [signal])];
    const source = await streamedRows(model, stream, { operation, batchSize, endStep: model.state.step + steps, stops });
    const run = new TrainingRun(model, options, source, model.names, []);
    await run.#openOr({});
    model.state.bytes = source.dtypes.x === "uint8" ? "scaled" : undefined;
    return run;
  }

  /** A run that cannot be opened leaves nothing open. */
  async #openOr(fitted: Readonly<Record<string, Float32Array>>): Promise<void> {
    try {
      await this.#open(fitted);
    } catch (error) {
      await this.#close().catch(() => undefined);
      throw error;
    }
  }

  /** Ends the run after the step it is in; `advance` then throws the reason. */
  stop(reason: unknown): void {
    this.#stopReason ??= { reason };
    this.#session?.stop();
  }

  /**
   * Makes at least one step and at most `limit`, as many as take about a seventh of a second.
   *
   * @throws the signal's reason after an abort, `VaeError` `"diverged"` when a term is not finite; the model then stands at
   *   the last complete step, or the last good one.
   */
  async advance(limit: number): Promise<Chunk> {
    this.#throwIfStopped();
    const { signal, profile = false } = this.#options;
    const wanted = Math.min(limit, this.#chunkSize());
    const steps = await this.#source.ready(this.#model.state.step, wanted).catch((error: unknown) => {
      this.#throwIfStopped(); // which ends the reading too
      throw error;
    });
    const begin = performance.now();
    const result = await this.#make({ steps, profile, ...(signal === undefined ? {} : { signal }) });
    const seconds = (performance.now() - begin) / 1000;
    if (this.#options.profile) this.#addProfile(result);
    if (result.completed < steps) this.#throwIfStopped();
    if (result.completed === 0) throw new VaeError({ code: "native", operation: this.#options.operation, problem: "no step was made" });
    this.#secondsPerStep = seconds / result.completed;
    this.#lastSteps = result.completed;
    return { steps: result.completed, seconds, sums: sumTerms(result) };
  }

  /** Runs steps from where the model stands, and notes where it stands then. */
  async #make(request: RunRequest): Promise<SessionResult> {
    const { state, seed } = this.#model;
    const result = await this.#session!.run({ ...request, firstStep: state.step, seed });
    await callPace.rest();
    if (result.status === "diverged") throw this.#diverged(result);
    state.step += result.completed;
    this.#unproven ||= result.completed > 0;
    if (result.completed > 0) this.#model.names = this.#names;
    return result;
  }

  #addProfile({ profile, completed }: SessionResult): void {
    this.#nanoseconds = this.#profiled === 0 ? profile : profile.map((value, i) => value + this.#nanoseconds[i]!);
    this.#profiled += completed;
  }

  /** The kernel calls of a step, in their order; empty unless asked for. */
  get profile(): readonly ProfiledKernel[] {
    const { plan } = this.#session!;
    return Array.from(this.#nanoseconds, (nanoseconds, i) => {
      const step = plan.steps[i]!;
      return { kernel: step.kernel, ops: step.label, extent: extentOf(step), microseconds: nanoseconds / 1000 / this.#profiled };
    });
  }

  /**
   * The last step's terms were finite, but its update may have spoiled the weights, which the next step would be the first
   * to notice. So the terms of that step are looked at, whatever ended the training; where they are not finite, making it
   * takes the update back.
   */
  async #settle(): Promise<void> {
    const { weights, trainable, state, seed } = this.#model;
    if (this.#step === undefined || !this.#unproven || weights.disposed) return;
    const probe = await weights
      .open(probeGraph(trainable, this.#step), weights.request(this.#options.operation, "a smaller batchSize"))
      .catch((error: unknown) => {
        // Beside the training itself: what was trained is not lost because its last update cannot be looked at.
        if (error instanceof VaeError && error.code === "memory") return undefined;
        throw error;
      });
    if (probe === undefined) return;
    try {
      const { status } = await probe.run({ firstStep: state.step, seed });
      if (status === "diverged") await this.#make({ steps: 1 });
    } finally {
      probe.dispose();
    }
  }

  async #open(fitted: Readonly<Record<string, Float32Array>>): Promise<void> {
    const { weights, trainable } = this.#model;
    const { operation, threads, batchSize, shuffle, optimizer: given, grouping, transforms } = this.#options;
    const source = this.#source;
    if (threads !== undefined) await weights.useThreads(threads, operation);
    weights.check(operation);
    const { dtypes, resident: rows, mayShuffle } = source;
    const courses = coursesOf(this.#model, given, grouping, operation);
    const step: TrainingStep = { rows, dtypes, batchSize, shuffle: shuffle && mayShuffle, courses, transforms };
    const graph = trainingGraph(trainable, step);
    await setImmediate(); // building took its time; compiling takes turns by itself
    weights.check(operation);
    const plan = await weights.plan(graph);
    weights.check(operation);
    // All that the training will take, before any of it is there: weights, optimizer state, rows, working memory, copies.
    const request = weights.request(operation, "a smaller batchSize, fewer rows", `for a batchSize of ${batchSize}`);
    weights.reserve(plan, request)();
    await weights.ready(operation);
    if (Object.keys(fitted).length > 0) {
      await weights.write(new Map(Object.entries(fitted).map(([name, data]) => [name, { data }])), operation);
    }
    const release = weights.reserve(plan, request);
    try {
      takeUp(this.#model, courses);
      const opening = source.open(this.#model, batchSize);
      opening.catch(() => undefined); // where the session cannot be made, no unhandled rejection beside that error
      this.#session = weights.load(plan, request, release);
      this.#step = step;
      await opening;
    } catch (error) {
      release();
      throw error;
    }
  }

  async #close(): Promise<void> {
    try {
      await this.#source.close();
    } finally {
      this.#session?.dispose();
      const { weights, trainable } = this.#model;
      if (!weights.disposed) for (const name of Object.keys(trainable.fields)) weights.release(rowsState(name));
    }
  }

  #throwIfStopped(): void {
    if (this.#stopReason !== undefined) throw this.#stopReason.reason;
    this.#options.signal?.throwIfAborted();
    this.#model.weights.check(this.#options.operation);
  }

  /** The first call makes one step, to learn how long it takes; a growth of at most 8 forgives a lucky measurement. */
  #chunkSize(): number {
    if (this.#lastSteps === 0) return 1;
    return Math.max(1, Math.min(Math.round(SECONDS_PER_CALL / this.#secondsPerStep), 8 * this.#lastSteps));
  }

  #diverged({ divergedStep, divergedTerm, restoredStep }: SessionResult): VaeError {
    this.#model.state.step = restoredStep;
    this.#unproven = false;
    return new VaeError({
      code: "diverged",
      operation: this.#options.operation,
      problem: `the term "${divergedTerm}" was not finite at step ${divergedStep}; the weights are those after ${restoredStep} steps`,
      hint: "lower the learning rate, clip gradients (clipNorm), or scale the data",
    });
  }
}

const warned = new WeakSet<Trainee>();

/** Once per model: many are trained in a loop, on the same rows. */
function emitOnce(model: Trainee, { message, code }: TrainingWarning): void {
  if (warned.has(model)) return;
  warned.add(model);
  process.emitWarning(message, { code });
}

function sumTerms({ terms, termNames, completed }: SessionResult): Record<string, number> {
  const count = termNames.length;
  return Object.fromEntries(
    termNames.map((name, term) => {
      let total = 0;
      for (let step = 0; step < completed; step++) total += terms[step * count + term]!;
      return [name, total];
    }),
  );
}
