// Every op case on every instruction tier that this machine has: value, first- and second-order gradients, computed
// natively from compiled plans, against the float64 evaluation.
import { afterAll, describe, expect, it } from "vitest";
import { cast, evaluate, grad, instantiate, multiply, type NamedCase, opCases, sum, type Tensor, uniform } from "../lib/graph/index.js";
import { Device } from "../lib/runtime/device.js";
import { loadAddon } from "../lib/runtime/native.js";

const tiers = loadAddon().info().tiers;

/**
 * float32 rounding, of a result and of the terms that went into it: the tolerance is relative to the largest magnitude
 * among the expected values, with room for the growth of rounding errors through a chain of operations.
 */
const TOLERANCE = { output: 4e-6, first: 2e-5, second: 1e-4 } as const;

function project(output: Tensor, stream: number): Tensor {
  return sum(multiply(output, uniform(output.shape, stream)));
}

interface Wanted {
  readonly name: string;
  readonly tensor: Tensor;
  readonly tolerance: number;
}

/** The output of a case with its first- and second-order gradients along random projections. */
function wantedOf(sample: NamedCase, output: Tensor, inputs: readonly Tensor[]): Wanted[] {
  const wanted: Wanted[] = [{ name: "output", tensor: cast(output), tolerance: TOLERANCE.output }];
  const sources = inputs.filter((tensor) => tensor.dtype === "float32");
  if (output.dtype !== "float32" || sample.gradient === false || sources.length === 0) return wanted;
  const first = grad(project(output, 1), sources);
  first.forEach((tensor, i) => {
    wanted.push({ name: `d/d input ${i}`, tensor, tolerance: TOLERANCE.first });
  });
  const projected = first.map((g, i) => project(g, 2 + i)).reduce((a, b) => sum(multiply(a, b)));
  grad(projected, sources).forEach((tensor, i) => {
    wanted.push({ name: `second d/d input ${i}`, tensor, tolerance: TOLERANCE.second });
  });
  return wanted;
}

function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  expect(actual.length, `${what}: length`).toBe(expected.length);
  let scale = 1;
  for (let i = 0; i < expected.length; i++) if (Number.isFinite(expected[i])) scale = Math.max(scale, Math.abs(expected[i]!));
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    if (Object.is(a, e) || a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    // Beyond float32's largest number, infinity is the right answer.
    if (Math.abs(e) > 3.4e38 && a === Math.sign(e) * Number.POSITIVE_INFINITY) continue;
    if (!(Math.abs(a - e) <= tolerance * scale)) expect.fail(`${what}: element ${i} is ${a}, expected ${e} (scale ${scale})`);
  }
}

for (const tier of tiers) {
  describe(`${tier}: native results equal the float64 evaluation`, () => {
    const device = Device.open({ device: "cpu", tier, threads: 2 });
    afterAll(() => device.dispose());
    for (const sample of opCases()) {
      it(sample.title, async () => {
        const { output, inputs, feeds } = instantiate(sample);
        const tensors = inputs.map(({ tensor }) => tensor);
        const wanted = sample.large
          ? [{ name: "output", tensor: cast(output), tolerance: TOLERANCE.output }]
          : wantedOf(sample, output, tensors);
        const expected = evaluate(
          wanted.map(({ tensor }) => tensor),
          feeds,
          { seed: 3, step: 5 },
        );
        const session = device.session({ outputs: Object.fromEntries(wanted.map(({ name, tensor }) => [name, tensor])) });
        try {
          const data = Object.fromEntries(inputs.map(({ data: values }, i) => [`input${i}`, values]));
          // Only those inputs that the plan uses may be handed over.
          const used = Object.fromEntries(session.plan.inputs.map(({ name }) => [name, data[name]!]));
          const { outputs } = await session.run({ inputs: used, seed: 3, firstStep: 5 });
          wanted.forEach(({ name, tolerance }, i) => {
            expectClose(outputs[name]!, expected[i]!, tolerance, name);
          });
        } finally {
          session.dispose();
        }
      });
    }
  });
}
