// Numbers that change with the step: learning rates and KL weights. A schedule is plain data; its formula is a graph of
// the step counter, so it is evaluated natively on every step and nothing is recompiled.
import { describe, VaeError } from "../errors.js";
import { type Fields, isRecord, type NumberBounds, noMore } from "../graph/arguments.js";
import {
  add,
  constantTensor,
  cos,
  divide,
  exp,
  floor,
  isTensor,
  less,
  minimum,
  multiply,
  showShape,
  subtract,
  type Tensor,
  where,
} from "../graph/index.js";
import { letGo } from "../graph/kinds.js";
import { type Behaviour, type Branded, Registry } from "./tagged.js";

/** A number as a function of the step, as plain data. */
export type Schedule = Branded<"schedule">;

/** What the schedules of one kind do. */
export interface ScheduleBehaviour<S extends Schedule = Schedule> extends Behaviour {
  parse(options: Fields): S;
  /** The value at `step`, a float32 scalar that counts from 0. */
  value(schedule: S, step: Tensor): Tensor;
}

const schedules = new Registry<ScheduleBehaviour>("schedule", ["value"]);

/** Adds a kind of schedule. */
export function defineSchedule<S extends Schedule>(kind: string, behaviour: ScheduleBehaviour<S>, ...surplus: never[]): void {
  schedules.define(kind, behaviour, surplus);
}

/** A number or schedule as a scalar tensor at `step`. */
export function scheduledValue(value: number | Schedule, step: Tensor, ...surplus: never[]): Tensor {
  noMore("scheduledValue", surplus);
  if (!(isTensor(step) && step.dtype === "float32" && step.shape.length === 0)) {
    const expected = "the step to be a scalar float32 tensor";
    throw new VaeError({ code: "argument", operation: "scheduledValue", expected, received: describe(step) });
  }
  if (typeof value === "number") return constantTensor(value);
  const schedule = schedules.parsed(value, "scheduledValue");
  const result: unknown = schedules.of(schedule).value(schedule, step);
  if (isTensor(result) && result.dtype === "float32" && result.shape.length === 0) return result;
  const received = isTensor(result) ? `a tensor ${showShape(result.shape)}` : describe(result);
  letGo(result);
  throw new VaeError({ code: "argument", operation: `schedule ${schedule.kind}`, expected: "value to give a scalar tensor", received });
}

/** Reads an option that is a number of at least 0 or a schedule. */
export function parseScheduled(fields: Fields, name: string, fallback: number): number | Schedule {
  return parsePart(fields, name, { minimum: 0 }, fallback);
}

function parsePart(fields: Fields, name: string, bounds: NumberBounds, fallback?: number): number | Schedule {
  const raw = fields.raw(name);
  if (raw === undefined || typeof raw === "number") return fields.number(name, bounds, fallback);
  if (isRecord(raw) || (typeof raw === "string" && schedules.kinds().includes(raw))) {
    return schedules.parse(raw, `${fields.operation} ${name}`);
  }
  throw fields.wrong(name, "a number or a schedule", `schedules: ${schedules.kinds().join(", ")}`);
}

interface Constant extends Schedule {
  readonly kind: "constant";
  readonly value: number;
}

/** Always the same value. */
export function constant(value: number, ...surplus: never[]): Schedule {
  return schedules.construct("constant", { positional: { value }, surplus });
}

defineSchedule<Constant>("constant", {
  parse: (options) => ({ kind: "constant", value: options.number("value") }),
  value: ({ value }) => constantTensor(value),
});

interface Linear extends Schedule {
  readonly kind: "linear";
  readonly from: number;
  readonly to: number;
  readonly steps: number;
}

/** A straight line `from` → `to` over `steps` steps, then `to`: KL warm-up is `linear({ from: 0, to: 1, steps })`. */
export function linear(options: { from: number; to: number; steps: number }, ...surplus: never[]): Schedule {
  return schedules.construct("linear", { options, surplus, usual: "from" });
}

defineSchedule<Linear>("linear", {
  parse: (options) => ({ kind: "linear", from: options.number("from"), to: options.number("to"), steps: stepCount(options, "steps") }),
  value: ({ from, to, steps }, step) => add(from, multiply(to - from, progress(step, steps))),
});

interface Cosine extends Schedule {
  readonly kind: "cosine";
  readonly from: number;
  readonly to: number;
  readonly steps: number;
}

/** Half a cosine wave `from` → `to` over `steps` steps, then `to` (Loshchilov & Hutter 2017, without restarts). */
export function cosine(options: { from: number; to?: number; steps: number }, ...surplus: never[]): Schedule {
  return schedules.construct("cosine", { options, surplus, usual: "from" });
}

defineSchedule<Cosine>("cosine", {
  parse: (options) => ({
    kind: "cosine",
    from: options.number("from"),
    to: options.number("to", {}, 0),
    steps: stepCount(options, "steps"),
  }),
  value: ({ from, to, steps }, step) => add(to, multiply((from - to) / 2, add(1, cos(multiply(Math.PI, progress(step, steps)))))),
});

interface StepDecay extends Schedule {
  readonly kind: "stepDecay";
  readonly from: number;
  readonly factor: number;
  readonly every: number;
}

/** `from · factor^⌊step / every⌋`. */
export function stepDecay(options: { from: number; factor: number; every: number }, ...surplus: never[]): Schedule {
  return schedules.construct("stepDecay", { options, surplus, usual: "from" });
}

defineSchedule<StepDecay>("stepDecay", {
  parse: (options) => ({
    kind: "stepDecay",
    from: options.number("from"),
    factor: options.number("factor", { above: 0 }),
    every: stepCount(options, "every"),
  }),
  // (step + ½) / every keeps the floor away from whole numbers, where a rounded quotient could fall on either side.
  value: ({ from, factor, every }, step) => multiply(from, exp(multiply(Math.log(factor), floor(divide(add(step, 0.5), every))))),
});

interface Exponential extends Schedule {
  readonly kind: "exponential";
  readonly from: number;
  readonly factor: number;
  readonly steps: number;
}

/** `from · factor^(step / steps)`: multiplied by `factor` every `steps` steps, smoothly. */
export function exponential(options: { from: number; factor: number; steps: number }, ...surplus: never[]): Schedule {
  return schedules.construct("exponential", { options, surplus, usual: "from" });
}

defineSchedule<Exponential>("exponential", {
  parse: (options) => ({
    kind: "exponential",
    from: options.number("from"),
    factor: options.number("factor", { above: 0 }),
    steps: stepCount(options, "steps"),
  }),
  value: ({ from, factor, steps }, step) => multiply(from, exp(multiply(Math.log(factor) / steps, step))),
});

interface Warmup extends Schedule {
  readonly kind: "warmup";
  readonly steps: number;
  readonly target: number | Schedule;
}

/** Rises in a straight line from 0 to the first value of `target` over `steps` steps, and goes on with `target` from its own step 0. */
export function warmup(options: { steps: number; target: number | Schedule }, ...surplus: never[]): Schedule {
  return schedules.construct("warmup", { options, surplus, usual: "steps" });
}

defineSchedule<Warmup>("warmup", {
  parse: (options) => ({ kind: "warmup", steps: stepCount(options, "steps"), target: parsePart(options, "target", {}) }),
  value: ({ steps, target }, step) => {
    // Before the warm-up ends the later schedule is asked for its step 0, never for a negative one. It is asked once: nested
    // warm-ups that asked twice each would take a time exponential in their depth.
    const isRising = less(step, steps);
    const later = scheduledValue(target, where(isRising, 0, subtract(step, steps)));
    return multiply(where(isRising, divide(step, steps), 1), later);
  },
});

function stepCount(options: Fields, name: string): number {
  return options.number(name, { minimum: 1, integer: true });
}

/** The part of `steps` that lies behind, from 0 to 1. */
function progress(step: Tensor, steps: number): Tensor {
  return minimum(divide(step, steps), 1);
}
