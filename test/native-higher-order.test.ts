// Derivatives of derivatives through a whole convolutional VAE, computed natively, against the float64 evaluation (whose own
// are checked by finite differences in graph-networks.test.ts).
import { afterAll, describe, expect, it } from "vitest";
import { add, evaluate, grad, multiply, sum, type Tensor } from "../lib/graph/index.js";
import { Device } from "../lib/runtime/device.js";
import { loadAddon } from "../lib/runtime/native.js";
import { difference } from "./support/conformance.js";
import { adaptedLoss, all, penalized, rate, values, x } from "./support/convolutional-vae.js";

const sources = [...all, rate, x];

/** The function, its gradient, and the gradient of its squared norm: third derivatives of the ELBO and beyond. */
const cases: readonly (readonly [string, readonly Tensor[], () => Tensor])[] = [
  ["a gradient-norm penalty", [...all, x], penalized],
  ["three unrolled steps of gradient descent", sources, adaptedLoss],
];

describe.each(loadAddon().info().tiers)("%s", (tier) => {
  const device = Device.open({ device: "cpu", tier, threads: 2 });
  afterAll(() => device.dispose());

  it.each(cases)("%s", async (_name, by, build) => {
    const value = build();
    const first = grad(value, by);
    const along = first.map((gradient) => sum(multiply(gradient, gradient))).reduce((a, b) => add(a, b));
    const outputs = [value, ...first, ...grad(along, by)];
    const feeds = values();
    const expected = evaluate(outputs, feeds);
    using session = device.session({ outputs: Object.fromEntries(outputs.map((tensor, i) => [String(i), tensor])) });
    const inputs = Object.fromEntries([...feeds].map(([tensor, data]) => [String(tensor.attributes.name), Float32Array.from(data)]));
    const used = Object.fromEntries(session.plan.inputs.map(({ name }) => [name, inputs[name]!]));
    const result = await session.run({ inputs: used });
    const problems = outputs.map((_, i) => difference(result.outputs[i]!, expected[i]!, i <= first.length ? 1e-5 : 1e-4));
    expect(problems.filter((problem) => problem !== undefined)).toEqual([]);
    // Derivatives that vanish would agree with anything.
    for (const gradient of expected.slice(1)) expect(Math.max(...gradient.map(Math.abs))).toBeGreaterThan(1e-6);
  });
});
