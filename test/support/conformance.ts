// The judge of a backend: an op case's value, first- and second-order gradients, computed natively from compiled plans,
// against the float64 evaluation. Used by the tests and, where there is no test runner, by test/gpu/check.ts.
import { cast, evaluate, grad, instantiate, multiply, type NamedCase, sum, type Tensor, uniform } from "../../lib/graph/index.js";
import type { Device, DeviceOptions } from "../../lib/runtime/device.js";

/** Largest differences allowed, relative to the largest magnitude among the expected values. */
export interface Tolerance {
  readonly output: number;
  readonly first: number;
  readonly second: number;
}

/**
 * float32 rounding, of a result and of the terms that went into it: the tolerance is relative to the largest magnitude
 * among the expected values, with room for the growth of rounding errors through a chain of operations.
 */
export const FLOAT32: Tolerance = { output: 4e-6, first: 2e-5, second: 1e-4 };

/**
 * Products of tf32 keep 11 bits of each factor, those of bfloat16 8: relative errors of 2^-11 and 2^-8 per factor, which the
 * cases' short sums do not average out, and which derivatives of derivatives pass through more than once.
 */
export const TOLERANCES: Readonly<Record<NonNullable<DeviceOptions["precision"]>, Tolerance>> = {
  float32: FLOAT32,
  tf32: { output: 2e-3, first: 6e-3, second: 2e-2 },
  bfloat16: { output: 1.6e-2, first: 5e-2, second: 2.5e-1 },
};

function project(output: Tensor, stream: number): Tensor {
  return sum(multiply(output, uniform(output.shape, stream)));
}

interface Wanted {
  readonly name: string;
  readonly tensor: Tensor;
  readonly tolerance: number;
}

/** The output of a case with its first- and second-order gradients along random projections. */
function wantedOf(sample: NamedCase, output: Tensor, inputs: readonly Tensor[], allowed: Tolerance): Wanted[] {
  const wanted: Wanted[] = [{ name: "output", tensor: cast(output), tolerance: allowed.output }];
  const sources = inputs.filter((tensor) => tensor.dtype === "float32");
  if (sample.large || output.dtype !== "float32" || sample.gradient === false || sources.length === 0) return wanted;
  const first = grad(project(output, 1), sources);
  first.forEach((tensor, i) => {
    wanted.push({ name: `d/d input ${i}`, tensor, tolerance: allowed.first });
  });
  const projected = first.map((g, i) => project(g, 2 + i)).reduce((a, b) => sum(multiply(a, b)));
  grad(projected, sources).forEach((tensor, i) => {
    wanted.push({ name: `second d/d input ${i}`, tensor, tolerance: allowed.second });
  });
  return wanted;
}

/** What is wrong with the actual values, or undefined. */
export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): string | undefined {
  if (actual.length !== expected.length) return `${actual.length} elements, expected ${expected.length}`;
  let scale = 1;
  for (let i = 0; i < expected.length; i++) if (Number.isFinite(expected[i])) scale = Math.max(scale, Math.abs(expected[i]!));
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    if (Object.is(a, e) || a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    // Beyond float32's largest number, infinity is the right answer.
    if (Math.abs(e) > 3.4e38 && a === Math.sign(e) * Number.POSITIVE_INFINITY) continue;
    if (!(Math.abs(a - e) <= tolerance * scale)) return `element ${i} is ${a}, expected ${e} (scale ${scale})`;
  }
  return undefined;
}

/** Runs a case on a device; what is wrong with the results, a line each. */
export async function conformance(device: Device, sample: NamedCase, allowed: Tolerance = FLOAT32): Promise<readonly string[]> {
  const { output, inputs, feeds } = instantiate(sample);
  const wanted = wantedOf(
    sample,
    output,
    inputs.map(({ tensor }) => tensor),
    allowed,
  );
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
    return wanted.flatMap(({ name, tolerance }, i) => {
      const problem = difference(outputs[name]!, expected[i]!, tolerance);
      return problem === undefined ? [] : [`${name}: ${problem}`];
    });
  } finally {
    session.dispose();
  }
}
