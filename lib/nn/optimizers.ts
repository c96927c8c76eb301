// Optimizers as plain data and graph updates on state: an optimizer's step is part of the training step's plan.
import { describe, VaeError } from "../errors.js";
import { Fields, noMore } from "../graph/arguments.js";
import {
  add,
  constantTensor,
  divide,
  expm1,
  isTensor,
  minimum,
  multiply,
  negate,
  type Shape,
  sameShape,
  showShape,
  sqrt,
  square,
  subtract,
  sum,
  type Tensor,
  type TensorLike,
} from "../graph/index.js";
import { isArray, letGo, propertiesOf } from "../graph/kinds.js";
import { parseScheduled, type Schedule, scheduledValue } from "./schedules.js";
import { type Behaviour, type Branded, Registry } from "./tagged.js";

/** An optimizer as frozen plain data: `{ kind: "adam", learningRate: 0.001, … }`. */
export interface Optimizer extends Branded<"optimizer"> {
  /** Gradients are scaled so that their norm over all parameters is at most this (Pascanu et al. 2013); absent: not clipped. */
  readonly clipNorm?: number;
}

/** The next values of one parameter and of its slots. @typeParam Slot the names of these, where the type checker knows them */
export interface OptimizerStep<Slot extends string = string> {
  readonly parameter: Tensor;
  readonly slots: Readonly<Record<Slot, Tensor>>;
}

/** What the optimizers of one kind do. */
export interface OptimizerBehaviour<O extends Optimizer = Optimizer, Slot extends string = string> extends Behaviour {
  parse(options: Fields): O;
  /** Names of the tensors, shaped like the parameter and zero at first, that are kept for every parameter. */
  slots(optimizer: O): readonly Slot[];
  /**
   * Called once per training graph, so that scalars of the step are computed once for all parameters; the function it
   * gives is called for each parameter.
   *
   * @param step steps since the slots were zero, from 0: what bias corrections go by
   * @param scheduleStep steps since this optimizer was given to a training, from 0: what schedules go by. The two differ where
   *   an optimizer with other numbers takes over the slots of the one before
   */
  begin(
    optimizer: O,
    step: Tensor,
    scheduleStep: Tensor,
  ): (parameter: Tensor, gradient: Tensor, slots: Readonly<Record<Slot, Tensor>>) => OptimizerStep<Slot>;
}

const optimizers = new Registry<OptimizerBehaviour>("optimizer", ["slots", "begin"]);

/** Adds a kind of optimizer. */
export function defineOptimizer<O extends Optimizer, Slot extends string = string>(
  kind: string,
  behaviour: OptimizerBehaviour<O, Slot>,
  ...surplus: never[]
): void {
  optimizers.define(kind, behaviour, surplus);
}

/** Checks an optimizer that came as data. */
export function parseOptimizer(value: unknown, operation: string): Optimizer {
  return optimizers.parse(value, operation);
}

/** What an optimizer keeps for every parameter, by name. */
export function slotNames(optimizer: Optimizer): readonly string[] {
  const names: unknown = optimizers.of(optimizer).slots(optimizer);
  const isName = (name: unknown): boolean => typeof name === "string" && name !== "" && !name.includes("/");
  if (isArray(names) && Array.from(names).every(isName) && new Set(names).size === names.length) return names as readonly string[];
  throw wrongResult(optimizer, 'slots to give an array of different names, without "/"', names);
}

function wrongResult({ kind }: Optimizer, expected: string, received: unknown): VaeError {
  letGo(received);
  return new VaeError({ code: "argument", operation: `optimizer ${kind}`, expected, received: describe(received) });
}

/** A parameter with its gradient. */
export interface GradientOf {
  readonly name: string;
  readonly parameter: Tensor;
  readonly gradient: Tensor;
}

/**
 * Changes the gradients of one loss before the optimizers see them: clipping, an average over processes, noise.
 *
 * @param step the step counter, a float32 scalar from 0
 */
export type GradientTransform = (gradients: readonly GradientOf[], step: Tensor) => readonly GradientOf[];

/**
 * The updates of one step.
 *
 * @param slot gives the state tensor that holds a slot of a parameter
 * @param step steps since the slots were zero, a float32 scalar from 0
 * @param scheduleStep steps since the optimizer was given, a float32 scalar from 0; default `step`
 * @param rate of a parameter: a factor on how far it moves; default 1
 * @returns state tensors with their next values
 */
export function optimizerUpdates(
  optimizer: Optimizer,
  gradients: readonly GradientOf[],
  slot: (parameter: string, slot: string, shape: Shape) => Tensor,
  step: Tensor,
  scheduleStep: Tensor = step,
  rate: (parameter: string) => number = () => 1,
): (readonly [state: Tensor, next: Tensor])[] {
  const behaviour = optimizers.of(optimizer);
  const next: unknown = behaviour.begin(optimizer, step, scheduleStep);
  if (typeof next !== "function") throw wrongResult(optimizer, "begin to give a function of a parameter, its gradient and its slots", next);
  const names = slotNames(optimizer);
  return gradients.flatMap(({ name, parameter, gradient }) => {
    const slots = Object.fromEntries(names.map((slotName) => [slotName, slot(name, slotName, parameter.shape)]));
    const result: unknown = next(parameter, gradient, slots);
    const { parameter: moved, slots: given } = propertiesOf(result) as unknown as OptimizerStep;
    const kept = { ...propertiesOf(given) } as OptimizerStep["slots"]; // read once
    for (const [what, value] of [["parameter", moved] as const, ...names.map((slotName) => [slotName, kept[slotName]] as const)]) {
      if (isTensor(value) && value.dtype === "float32" && sameShape(value.shape, parameter.shape)) continue;
      throw wrongResult(optimizer, `the next ${what} of "${name}", a tensor ${showShape(parameter.shape)}`, value ?? result);
    }
    const factor = rate(name);
    // What optimizers subtract is proportional to their learning rate, the decay of AdamW too.
    const scaled = factor === 1 ? moved : add(parameter, multiply(factor, subtract(moved, parameter)));
    return [[parameter, scaled], ...names.map((slotName) => [slots[slotName]!, kept[slotName]!] as const)] as const;
  });
}

/**
 * Scales the gradients by min(1, limit / ‖gradients‖), the norm taken over all of them together (Pascanu et al. 2013).
 *
 * @throws VaeError `"argument"` unless the limit is above 0
 */
export function clipNorm(limit: number, ...surplus: never[]): GradientTransform {
  noMore("clipNorm", surplus);
  new Fields("clipNorm", { limit }).number("limit", { above: 0 });
  return (gradients) => {
    const squares = gradients.map(({ gradient }) => sum(square(gradient)));
    const norm = sqrt(squares.reduce((total, part) => add(total, part)));
    const scale = minimum(1, divide(limit, add(norm, 1e-12)));
    return gradients.map((each) => ({ ...each, gradient: multiply(each.gradient, scale) }));
  };
}

/** Options of every optimizer. */
export interface OptimizerOptions {
  /**
   * A number, or a schedule. A schedule's step 0 is the first step of the training that the optimizer is given to; trainings
   * that are given none go on where it stands, also after saving and loading.
   */
  readonly learningRate?: number | Schedule;
  /** Scales the gradients down to at most this norm over all parameters; default: not clipped. */
  readonly clipNorm?: number;
}

/** Options of {@link adam}. */
export interface AdamOptions extends OptimizerOptions {
  /** Decay of the mean of gradients; default 0.9. */
  readonly beta1?: number;
  /** Decay of the mean of squared gradients; default 0.999. */
  readonly beta2?: number;
  /** Added to √v̂, as in the paper's Algorithm 1 and in PyTorch; default 1e-8. */
  readonly epsilon?: number;
}

interface Adam extends Optimizer {
  readonly kind: "adam" | "adamW";
  readonly learningRate: number | Schedule;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay?: number;
}

/** Adam (Kingma & Ba 2015). Learning rate 1e-3 by default. */
export function adam(options: AdamOptions = {}, ...surplus: never[]): Optimizer {
  return optimizers.construct("adam", { options, surplus, usual: "learningRate" });
}

/** Options of {@link adamW}. */
export interface AdamWOptions extends AdamOptions {
  /** Every step also takes learningRate · weightDecay · parameter away, from all parameters as in PyTorch; default 0.01. */
  readonly weightDecay?: number;
}

/** Adam with decoupled weight decay (Loshchilov & Hutter 2019). Learning rate 1e-3 by default. */
export function adamW(options: AdamWOptions = {}, ...surplus: never[]): Optimizer {
  return optimizers.construct("adamW", { options, surplus, usual: "learningRate" });
}

function parseAdam(options: Fields) {
  return {
    learningRate: parseScheduled(options, "learningRate", 1e-3),
    beta1: options.number("beta1", { minimum: 0, below: 1 }, 0.9),
    beta2: options.number("beta2", { minimum: 0, below: 1 }, 0.999),
    epsilon: options.number("epsilon", { above: 0 }, 1e-8),
    ...parseClipNorm(options),
  };
}

function parseClipNorm(options: Fields): { clipNorm?: number } {
  return options.raw("clipNorm") === undefined ? {} : { clipNorm: options.number("clipNorm", { above: 0 }) };
}

/** 1 − β^t, by expm1: computed as written, float32 would lose half of its digits at small t (1 − 0.999 = 0.001). */
function biasCorrection(beta: number, t: Tensor): Tensor {
  return beta === 0 ? constantTensor(1) : negate(expm1(multiply(t, Math.log(beta))));
}

const adamBehaviour: Omit<OptimizerBehaviour<Adam>, "parse"> = {
  slots: () => ["firstMoment", "secondMoment"],
  begin: ({ learningRate, beta1, beta2, epsilon, weightDecay = 0 }, step, scheduleStep) => {
    const t = add(step, 1);
    const rate = scheduledValue(learningRate, scheduleStep);
    const correction = sqrt(biasCorrection(beta2, t));
    // lr · m̂ / (√v̂ + ε) with the bias corrections moved into two scalars (section 2 of the paper, with ε kept beside √v̂).
    const stepSize = divide(multiply(rate, correction), biasCorrection(beta1, t));
    const scaledEpsilon = multiply(epsilon, correction);
    return (parameter, gradient, { firstMoment: m, secondMoment: v }) => {
      const firstMoment = add(m!, multiply(1 - beta1, subtract(gradient, m!)));
      const secondMoment = add(v!, multiply(1 - beta2, subtract(square(gradient), v!)));
      const decayed = weightDecay === 0 ? parameter : multiply(parameter, subtract(1, multiply(rate, weightDecay)));
      const change = multiply(stepSize, divide(firstMoment, add(sqrt(secondMoment), scaledEpsilon)));
      return { parameter: subtract(decayed, change), slots: { firstMoment, secondMoment } };
    };
  },
};

defineOptimizer<Adam>("adam", { ...adamBehaviour, parse: (options) => ({ kind: "adam", ...parseAdam(options) }) });
defineOptimizer<Adam>("adamW", {
  ...adamBehaviour,
  parse: (options) => ({ kind: "adamW", ...parseAdam(options), weightDecay: options.number("weightDecay", { minimum: 0 }, 0.01) }),
});

/** Options of {@link sgd}. */
export interface SgdOptions extends OptimizerOptions {
  /** Velocity kept from step to step; default 0. */
  readonly momentum?: number;
  /** Looks ahead along the velocity (Sutskever et al. 2013); default false. */
  readonly nesterov?: boolean;
}

interface Sgd extends Optimizer {
  readonly kind: "sgd";
  readonly learningRate: number | Schedule;
  readonly momentum: number;
  readonly nesterov: boolean;
}

/** Stochastic gradient descent, with momentum as in PyTorch: v ← μv + g, p ← p − lr · v. Learning rate 1e-2 by default. */
export function sgd(options: SgdOptions = {}, ...surplus: never[]): Optimizer {
  return optimizers.construct("sgd", { options, surplus, usual: "learningRate" });
}

defineOptimizer<Sgd>("sgd", {
  parse: (options) => ({
    kind: "sgd",
    learningRate: parseScheduled(options, "learningRate", 1e-2),
    momentum: options.number("momentum", { minimum: 0, below: 1 }, 0),
    nesterov: options.boolean("nesterov", false),
    ...parseClipNorm(options),
  }),
  slots: ({ momentum }) => (momentum === 0 ? [] : ["velocity"]),
  begin: ({ learningRate, momentum, nesterov }, _, scheduleStep) => {
    const rate = scheduledValue(learningRate, scheduleStep);
    const move = (parameter: Tensor, direction: TensorLike): Tensor => subtract(parameter, multiply(rate, direction));
    return (parameter, gradient, { velocity }) => {
      if (momentum === 0) return { parameter: move(parameter, gradient), slots: {} };
      const next = add(multiply(momentum, velocity!), gradient);
      return { parameter: move(parameter, nesterov ? add(gradient, multiply(momentum, next)) : next), slots: { velocity: next } };
    };
  },
});
