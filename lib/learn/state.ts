import { VaeError } from "../errors.js";
import type { DataNames } from "../io/names.js";
import { adam, type Optimizer, slotNames } from "../nn/index.js";
import type { Architecture } from "../vae/architecture.js";
import { slotState } from "../vae/graph.js";
import type { Weights } from "../vae/weights.js";

/** How far a model's training is: with weights and optimizer slots, all that it takes to go on with the very same run. */
export interface TrainingState {
  /** Steps made in all. The order of rows and all noise follow from it, from the seed and from the batch size. */
  step: number;
  /** Null before the first training. */
  optimizer: Optimizer | null;
  /** The step at which the optimizer's slots were zero: Adam's bias corrections count from here. */
  optimizerStart: number;
  /** The step at which the optimizer was given: its schedules count from here. */
  scheduleStart: number;
  /** `"scaled"` where it was last trained on bytes, which stood for value / 255; undefined where those were floats. */
  bytes?: "scaled" | undefined;
}

/** A model as training sees it. */
export interface Trainable {
  readonly architecture: Architecture;
  readonly weights: Weights;
  readonly state: TrainingState;
  /** Of the data it was trained on; set by the first step made with them. */
  names: DataNames;
  /** What is training the model right now; at most one at a time. */
  training: { readonly operation: string; stop(reason: unknown): void } | undefined;
}

/**
 * Takes up the optimizer: the given one, or the one before, or Adam. Its state goes on where it stands when the new one
 * keeps the same slots (only numbers such as the learning rate changed); otherwise it begins anew. The schedules of one that
 * is given begin now, even if it equals the one before; without one they go on.
 */
export function takeUpOptimizer(model: Trainable, given: Optimizer | undefined): Optimizer {
  const { architecture, weights, state } = model;
  const { optimizer, optimizerStart, scheduleStart, begins } = optimizerFor(model, given);
  if (begins) for (const name of slotStates(weights)) weights.release(name);
  state.optimizerStart = optimizerStart;
  state.scheduleStart = scheduleStart;
  for (const { name, shape } of architecture.trained) {
    for (const slot of slotNames(optimizer)) weights.declare(slotState(name, slot), shape);
  }
  state.optimizer = optimizer;
  return optimizer;
}

/** What {@link takeUpOptimizer} would take up, with nothing changed yet: the optimizer, where it begins, whether anew. */
export function optimizerFor({ state }: Pick<Trainable, "state">, given: Optimizer | undefined) {
  const optimizer = given ?? state.optimizer ?? adam();
  const before = state.optimizer;
  const begins = before === null || before.kind !== optimizer.kind || slotNames(before).join() !== slotNames(optimizer).join();
  const optimizerStart = begins ? state.step : state.optimizerStart;
  const scheduleStart = given !== undefined || before === null ? state.step : state.scheduleStart;
  return { optimizer, optimizerStart, scheduleStart, begins };
}

/** The residents that hold optimizer slots. */
export function slotStates(weights: Weights): readonly string[] {
  return weights.names((name) => name.includes("/"));
}

/** Throws when the model is being trained. */
export function checkIdle({ training }: Trainable, operation: string): void {
  if (training === undefined) return;
  throw new VaeError({
    code: "argument",
    operation,
    problem: `the model is being trained by ${training.operation}`,
    expected: "one training at a time",
    hint: "await it or abort it first; encode, sample and evaluate may run meanwhile",
  });
}
