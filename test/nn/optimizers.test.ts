import { describe, expect, it } from "vitest";
import { evaluate, state, step } from "../../lib/graph/index.js";
import {
  adam,
  adamW,
  clipNorm,
  constant,
  cosine,
  exponential,
  type GradientTransform,
  linear,
  type Optimizer,
  optimizerUpdates,
  parseOptimizer,
  type Schedule,
  scheduledValue,
  sgd,
  slotNames,
  stepDecay,
  warmup,
} from "../../lib/nn/index.js";
import { elbo } from "../../lib/vae/index.js";

const gradientsAt = (t: number): number[][] => [
  [Math.sin(t + 1), 2 * Math.cos(t), 0.3],
  [0.1 * t - 0.2, 1e-3],
];
const start = [
  [1, -2, 0.5],
  [0.25, 3],
];

/** Five steps of an optimizer through the graph, its gradients changed before it sees them. */
function trajectory(optimizer: Optimizer, transform: GradientTransform = (all) => all): number[][][] {
  const parameters = start.map((values, index) => state(`p${index}`, [values.length]));
  const gradients = start.map((values, index) => state(`g${index}`, [values.length]));
  const slots = new Map<string, ReturnType<typeof state>>();
  const updates = optimizerUpdates(
    optimizer,
    transform(
      parameters.map((parameter, index) => ({ name: `p${index}`, parameter, gradient: gradients[index]! })),
      step(),
    ),
    (parameter, slot, shape) => {
      const tensor = state(`${parameter}/${slot}`, shape);
      slots.set(`${parameter}/${slot}`, tensor);
      return tensor;
    },
    step(),
  );
  let values = new Map<(typeof parameters)[number], ArrayLike<number>>(parameters.map((tensor, index) => [tensor, start[index]!]));
  for (const tensor of slots.values()) values.set(tensor, new Float64Array(tensor.shape[0]!));
  const path: number[][][] = [];
  for (let t = 0; t < 5; t++) {
    const feeds = new Map([...values, ...gradients.map((tensor, index) => [tensor, gradientsAt(t)[index]!] as const)]);
    const next = evaluate(
      updates.map(([, tensor]) => tensor),
      feeds,
      { step: t },
    );
    values = new Map(updates.map(([tensor], index) => [tensor, next[index]!]));
    path.push(parameters.map((tensor) => Array.from(values.get(tensor)!)));
  }
  return path;
}

/** The same, written down from the papers for one number after the other. */
function reference(rule: () => (p: number, g: number, t: number) => number, scale: (t: number) => number = () => 1): number[][][] {
  const rules = start.map((values) => values.map(rule));
  let values = start;
  return Array.from({ length: 5 }, (_, t) => {
    values = values.map((row, i) => row.map((p, j) => rules[i]![j]!(p, gradientsAt(t)[i]![j]! * scale(t), t + 1)));
    return values;
  });
}

function expectClose(actual: number[][][], expected: number[][][]): void {
  actual.flat(2).forEach((value, index) => {
    expect(value).toBeCloseTo(expected.flat(2)[index]!, 10);
  });
}

function adamRule(lr: (t: number) => number, decay = 0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8) {
  return () => {
    let [m, v] = [0, 0];
    return (p: number, g: number, t: number): number => {
      m = beta1 * m + (1 - beta1) * g;
      v = beta2 * v + (1 - beta2) * g * g;
      const [mHat, vHat] = [m / (1 - beta1 ** t), v / (1 - beta2 ** t)];
      return p * (1 - lr(t) * decay) - (lr(t) * mHat) / (Math.sqrt(vHat) + epsilon);
    };
  };
}

describe("optimizers against their papers", () => {
  it("adam", () => {
    expectClose(trajectory(adam({ learningRate: 0.01 })), reference(adamRule(() => 0.01)));
    const options = { learningRate: 0.05, beta1: 0.5, beta2: 0.9, epsilon: 0.1 };
    expectClose(trajectory(adam(options)), reference(adamRule(() => 0.05, 0, 0.5, 0.9, 0.1)));
    expectClose(trajectory(adam({ beta1: 0, beta2: 0 })), reference(adamRule(() => 1e-3, 0, 0, 0)));
  });

  it("adam with a schedule", () => {
    const rates = [0.1, 0.075, 0.05, 0.025, 0];
    const learningRate = linear({ from: 0.1, to: 0, steps: 4 });
    expectClose(trajectory(adam({ learningRate })), reference(adamRule((t) => rates[t - 1]!)));
  });

  it("adamW decays weights beside the gradient", () => {
    expectClose(trajectory(adamW({ learningRate: 0.01, weightDecay: 0.1 })), reference(adamRule(() => 0.01, 0.1)));
  });

  it("sgd, momentum and Nesterov", () => {
    expectClose(
      trajectory(sgd({ learningRate: 0.1 })),
      reference(() => (p, g) => p - 0.1 * g),
    );
    const momentum = (nesterov: boolean) => () => {
      let velocity = 0;
      return (p: number, g: number): number => {
        velocity = 0.9 * velocity + g;
        return p - 0.1 * (nesterov ? g + 0.9 * velocity : velocity);
      };
    };
    expectClose(trajectory(sgd({ learningRate: 0.1, momentum: 0.9 })), reference(momentum(false)));
    expectClose(trajectory(sgd({ learningRate: 0.1, momentum: 0.9, nesterov: true })), reference(momentum(true)));
  });

  it("clipNorm bounds the norm over all parameters", () => {
    const scale = (t: number): number => Math.min(1, 0.7 / Math.hypot(...gradientsAt(t).flat()));
    expectClose(
      trajectory(sgd({ learningRate: 0.1 }), clipNorm(0.7)),
      reference(() => (p, g) => p - 0.1 * g, scale),
    );
  });
});

describe("optimizers as data", () => {
  it("go through JSON, with schedules inside", () => {
    const optimizer = adamW({ learningRate: warmup({ steps: 10, target: cosine({ from: 1e-3, steps: 100 }) }), clipNorm: 1 });
    expect(parseOptimizer(JSON.parse(JSON.stringify(optimizer)), "test")).toEqual(optimizer);
    expect(slotNames(optimizer)).toEqual(["firstMoment", "secondMoment"]);
    expect(slotNames(sgd())).toEqual([]);
  });

  it("refuse what cannot work", () => {
    expect(() => adam({ learningRate: -1 })).toThrow(/learningRate/);
    expect(() => adam({ learningRate: Number.NaN })).toThrow(/learningRate/);
    expect(() => adam({ beta1: 1 })).toThrow(/beta1 to be a finite number of at least 0 and below 1/);
    expect(() => adam({ epsilon: 0 })).toThrow(/epsilon/);
    expect(() => sgd({ clipNorm: 0 })).toThrow(/clipNorm/);
    for (const limit of [0, -1, Number.NaN, "1" as never]) expect(() => clipNorm(limit)).toThrow(/^clipNorm: expected limit to be/);
    expect(() => (clipNorm as (...limits: number[]) => unknown)(1, 2)).toThrow(/^clipNorm: /);
    expect(() => parseOptimizer("adm", "fit")).toThrow(/fit: unknown optimizer kind "adm"[\s\S]*did you mean "adam"/);
    expect(() => adam({ lr: 1 } as object)).toThrow(/unknown option "lr"/);
    expect(() => parseOptimizer(7, "fit")).toThrow(/^fit: expected an optimizer: a kind's name or a value with a "kind"; received 7/);
  });

  it("take a number or a schedule, and no text", () => {
    for (const learningRate of ["1", "0.001", "constnt", 1n, [1]] as never[]) {
      expect(() => adam({ learningRate })).toThrow(/^adam: expected learningRate to be a number or a schedule; received /);
    }
    expect(() => elbo({ beta: "1" as never })).toThrow(
      /^elbo: expected beta to be a number or a schedule; received "1"\n.*schedules: constant/,
    );
    expect(() => warmup({ steps: 10, target: "1" as never })).toThrow(/^warmup: expected target to be a number or a schedule/);
    expect(() => adam({ learningRate: { kind: "liner" } as never })).toThrow(/^adam learningRate: unknown schedule .*[\s\S]*mean "linear"/);
  });
});

describe("schedules", () => {
  const at = (schedule: number | Schedule, steps: number[]): number[] =>
    steps.map((value) => evaluate([scheduledValue(schedule, step())], new Map(), { step: value })[0]![0]!);
  const close = (actual: number[], expected: number[]): void => {
    actual.forEach((value, index) => {
      expect(value).toBeCloseTo(expected[index]!, 6);
    });
  };
  it("follow their formulas", () => {
    close(at(0.5, [0, 7]), [0.5, 0.5]);
    close(at(constant(0.5), [0, 7]), [0.5, 0.5]);
    close(at(linear({ from: 0, to: 2, steps: 4 }), [0, 1, 4, 9]), [0, 0.5, 2, 2]);
    close(at(cosine({ from: 1, to: 0.2, steps: 10 }), [0, 5, 10, 20]), [1, 0.6, 0.2, 0.2]);
    close(at(stepDecay({ from: 1, factor: 0.1, every: 3 }), [0, 2, 3, 5, 6]), [1, 1, 0.1, 0.1, 0.01]);
    close(at(exponential({ from: 8, factor: 0.5, steps: 2 }), [0, 2, 3]), [8, 4, 4 / Math.SQRT2]);
    const warm = warmup({ steps: 4, target: linear({ from: 1, to: 0, steps: 10 }) });
    close(at(warm, [0, 1, 3, 4, 9, 14]), [0, 0.25, 0.75, 1, 0.5, 0]);
  });
  it("refuse bad lengths", () => {
    expect(() => linear({ from: 0, to: 1, steps: 0 })).toThrow(/steps/);
    expect(() => stepDecay({ from: 1, factor: 0, every: 3 })).toThrow(/factor/);
    expect(() => warmup({ steps: 3, target: { kind: "cosin" } })).toThrow(/did you mean "cosine"/);
  });
});
