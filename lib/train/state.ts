// How far a training is, and which optimizer each parameter has.
import { VaeError } from "../errors.js";
import type { DataNames } from "../io/names.js";
import { adam, type Optimizer, slotNames } from "../nn/index.js";
import { type Assignment, assign, type Grouping } from "./groups.js";
import { parametersOf, type Trainable } from "./trainable.js";
import type { Weights } from "./weights.js";

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
  /** The parameters whose slots are of another kind of optimizer, or were zero at another step, by name. */
  slots?: Readonly<Record<string, SlotsOf>>;
  /** `"scaled"` where it was last trained on bytes, which stood for value / 255; undefined where those were floats. */
  bytes?: "scaled" | undefined;
}

/** Of what was never trained. */
export function untrained(): TrainingState {
  return { step: 0, optimizer: null, optimizerStart: 0, scheduleStart: 0 };
}

/** Where the slots of one parameter come from. */
export interface SlotsOf {
  /** The optimizer's kind. */
  readonly kind: string;
  /** The step at which they were zero. */
  readonly start: number;
}

/** What is trained, on its device. */
export interface Trainee {
  readonly trainable: Trainable;
  /** Of the noise and of the order of rows. */
  readonly seed: number;
  readonly weights: Weights;
  readonly state: TrainingState;
  /** Of the data it was trained on; set by the first step made with them. */
  names: DataNames;
  /** What is training the model right now; at most one at a time. */
  training: { readonly operation: string; stop(reason: unknown): void } | undefined;
}

/** How one parameter is trained, with its optimizer and where that stands. */
export interface Course extends Assignment {
  readonly optimizer: Optimizer;
  /** The step at which its slots were zero. */
  readonly start: number;
  /** The step at which the optimizer's schedules begin. */
  readonly scheduleStart: number;
  /** Whether its slots begin anew. */
  readonly begins: boolean;
}

/** The next course of a training. */
export interface Courses {
  readonly courses: readonly Course[];
  readonly frozen: ReadonlySet<string>;
  /** The training's own optimizer, and where it stands. */
  readonly optimizer: Optimizer;
  readonly optimizerStart: number;
  readonly scheduleStart: number;
}

/**
 * How each parameter would be trained, with nothing changed yet: by its group's optimizer, or by the given one, or the one before, or
 * Adam. A parameter's slots go on where they stand when its optimizer keeps the same ones (only numbers such as the learning rate
 * changed); otherwise they begin anew. The schedules of an optimizer that is given begin now, even if it equals the one before;
 * without one they go on.
 */
export function coursesOf(trainee: Trainee, given: Optimizer | undefined, grouping: Grouping, operation: string): Courses {
  const { trainable, state, weights } = trainee;
  const optimizer = given ?? state.optimizer ?? adam();
  const before = state.optimizer;
  const begins = before === null || !sameSlots(before, optimizer);
  const optimizerStart = begins ? state.step : state.optimizerStart;
  const scheduleStart = given !== undefined || before === null ? state.step : state.scheduleStart;
  const { trained, frozen } = assign(parametersOf(trainable), grouping, operation);
  const courses = trained.map((assignment): Course => {
    const { name } = assignment.parameter;
    const own = assignment.optimizer ?? optimizer;
    const slots = slotsOf(state, name);
    const kept = slots !== undefined && slots.kind === own.kind && sameNames(weights.slots(name), slotNames(own));
    return {
      ...assignment,
      optimizer: own,
      start: kept ? slots.start : state.step,
      scheduleStart: own === optimizer ? scheduleStart : state.step,
      begins: !kept,
    };
  });
  return { courses, frozen, optimizer, optimizerStart, scheduleStart };
}

function sameSlots(a: Optimizer, b: Optimizer): boolean {
  return a.kind === b.kind && sameNames(slotNames(a), slotNames(b));
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name) => b.includes(name));
}

/** Whose slots a parameter has. */
function slotsOf({ optimizer, optimizerStart, slots }: TrainingState, name: string): SlotsOf | undefined {
  if (slots !== undefined && Object.hasOwn(slots, name)) return slots[name];
  return optimizer === null ? undefined : { kind: optimizer.kind, start: optimizerStart };
}

/** Declares the slots of a course, those that begin anew as zeros; slots of other optimizers are let go of. */
export function takeUp(trainee: Trainee, { courses, optimizer, optimizerStart, scheduleStart }: Courses): void {
  const { weights, state } = trainee;
  const others: Record<string, SlotsOf> = {};
  for (const { name } of parametersOf(trainee.trainable)) {
    const before = slotsOf(state, name);
    // A parameter that stays as it is keeps its slots: it may be trained again.
    if (before !== undefined && weights.slots(name).length > 0) others[name] = before;
  }
  for (const { parameter, optimizer: own, start, begins } of courses) {
    const { name, shape } = parameter;
    if (begins) for (const slot of weights.slots(name)) weights.releaseSlot(name, slot);
    for (const slot of slotNames(own)) weights.declareSlot(name, slot, shape);
    others[name] = { kind: own.kind, start };
  }
  state.optimizer = optimizer;
  state.optimizerStart = optimizerStart;
  state.scheduleStart = scheduleStart;
  const different = Object.entries(others).filter(([, { kind, start }]) => kind !== optimizer.kind || start !== optimizerStart);
  if (different.length === 0) delete state.slots;
  else state.slots = Object.fromEntries(different);
}

/** Throws when the model is being trained. */
export function checkIdle({ training }: Trainee, operation: string): void {
  if (training === undefined) return;
  throw new VaeError({
    code: "argument",
    operation,
    problem: `the model is being trained by ${training.operation}`,
    expected: "one training at a time",
    hint: "await it or abort it first; calls that do not train may run meanwhile",
  });
}

/** The course where one optimizer trains every parameter, from step `start` on: for benchmarks and tests of plans. */
export function oneOptimizer(trainable: Trainable, optimizer: Optimizer, start = 0): Courses {
  const { trained, frozen } = assign(parametersOf(trainable), { groups: [], rates: [] }, "one optimizer");
  const courses = trained.map((assignment): Course => ({ ...assignment, optimizer, start, scheduleStart: start, begins: start === 0 }));
  return { courses, frozen, optimizer, optimizerStart: start, scheduleStart: start };
}
