import { describe, expect, it } from "vitest";
import { compile } from "../../lib/compile/index.js";
import { evaluate, grad, instantiate, multiply, opCases, sum, type Tensor, uniform } from "../../lib/graph/index.js";
import { interpret } from "../support/interpret.js";

/** Largest difference, relative to the larger of 1 and the expected magnitude. */
function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let worst = actual.length === expected.length ? 0 : Number.POSITIVE_INFINITY;
  for (let i = 0; i < expected.length; i++) {
    if (Object.is(actual[i], expected[i]) || actual[i] === expected[i]) continue;
    if (Number.isNaN(actual[i]) && Number.isNaN(expected[i])) continue;
    worst = Math.max(worst, Math.abs(actual[i]! - expected[i]!) / Math.max(1, Math.abs(expected[i]!)) || Number.POSITIVE_INFINITY);
  }
  return worst;
}

function project(output: Tensor, stream: number): Tensor {
  return sum(multiply(output, uniform(output.shape, stream)));
}

describe("a compiled plan computes what the graph says", () => {
  for (const sample of opCases()) {
    if (sample.large) continue;
    it(sample.title, () => {
      const { output, inputs, feeds } = instantiate(sample);
      const outputs: Record<string, Tensor> = { output };
      const sources = inputs.map(({ tensor }) => tensor).filter((tensor) => tensor.dtype === "float32");
      if (output.dtype === "float32" && sample.gradient !== false && sources.length > 0) {
        const first = grad(project(output, 1), sources);
        const second = grad(
          first.map((g, i) => project(g, 2 + i)).reduce((a, b) => sum(multiply(a, b))),
          sources,
        );
        first.forEach((g, i) => {
          outputs[`first ${i}`] = g;
        });
        second.forEach((g, i) => {
          outputs[`second ${i}`] = g;
        });
      }
      const plan = compile({ outputs });
      const { outputs: actual } = interpret(plan, {
        inputs: Object.fromEntries(inputs.map(({ data }, i) => [`input${i}`, data])),
        seed: 3,
      });
      const expected = evaluate(Object.values(outputs), feeds, { seed: 3, step: 0 });
      Object.keys(outputs).forEach((name, i) => {
        expect(difference(actual[name]!, expected[i]!), name).toBeLessThan(1e-9);
      });
    });
  }
});
