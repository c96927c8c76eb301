// The log-variance of the posterior is bounded, and can always come back from the bound.
import { describe, expect, it } from "vitest";
import { type FamilyContext, type GaussianDistribution, gaussianPosterior, posteriors } from "../../lib/distributions/index.js";
import { evaluate, grad, input, sum } from "../../lib/graph/index.js";
import { adam, dense, gaussian, vae } from "../../lib/index.js";
import { NoNoise, Pass, placeOf } from "../../lib/nn/index.js";
import { Device } from "../../lib/runtime/device.js";

const points = [0, -1e-3, 3, -19.999, 9.999, 10.5, -21, 30, -45, 1e3, -1e3, 1e4, -1e4, 1e6, -1e6, 1e9, -1e9];

/** What a posterior of so many latents is made in; it has no parameters of its own. */
const context = (latent: number): FamilyContext => ({
  event: [latent],
  rows: 1,
  scope: new Pass("inference", new NoNoise()).scope(placeOf("", {}, "test")),
});

function boundedAt(range?: readonly [number, number]) {
  const posterior = gaussianPosterior(range === undefined ? {} : { logVarianceRange: range });
  const head = input("head", [1, 2 * points.length]);
  const { logVariance } = posteriors.of(posterior).distribution(posterior, head, context(points.length)) as GaussianDistribution;
  return { head, logVariance, slope: grad(sum(logVariance), [head])[0]! };
}
const heads = Float32Array.from([...points.map(() => 0), ...points]);

describe.each(["avx512", "avx2", "portable"])("log σ² on the %s tier", (tier) => {
  let device: Device | undefined;
  try {
    device = Device.open({ device: "cpu", tier });
  } catch {
    it.skip("that this processor does not have", () => undefined);
  }
  if (device === undefined) return;
  const { logVariance, slope } = boundedAt();
  const session = device.session({ outputs: { logVariance, slope } });

  it("is what the encoder gives in the usual range, to the bit, with slope 1", async () => {
    const { outputs } = await session.run({ inputs: { head: heads } });
    points.forEach((x, index) => {
      if (x <= -20 || x >= 10) return;
      expect(outputs.logVariance![index]).toBe(Math.fround(x));
      expect(outputs.slope![points.length + index]).toBe(1);
    });
  });

  it("stays within the bounds and has a gradient everywhere", async () => {
    const { outputs } = await session.run({ inputs: { head: heads } });
    points.forEach((x, index) => {
      const excess = Math.max(0, x - 10, -20 - x) / 10;
      const exact = 1 / (1 + excess) ** 2;
      const [value, gradient] = [outputs.logVariance![index]!, outputs.slope![points.length + index]!];
      expect(value).toBeGreaterThanOrEqual(-30);
      expect(value).toBeLessThanOrEqual(20);
      expect(gradient, String(x)).toBeGreaterThan(0);
      // Not merely above zero: as steep as the formula says, in float32.
      expect(Math.abs(gradient / exact - 1), String(x)).toBeLessThan(1e-5);
    });
    expect(outputs.slope![points.length + points.indexOf(1e4)]).toBeCloseTo(1e-6, 8);
  });
});

describe("the bound", () => {
  it("is smooth at its knees, rises everywhere, and has a second derivative", () => {
    const head = input("x", [1, 2]);
    const posterior = gaussianPosterior({ logVarianceRange: [-2, 3] });
    const { logVariance } = posteriors.of(posterior).distribution(posterior, head, context(1)) as GaussianDistribution;
    const [slope] = grad(sum(logVariance), [head]);
    const [bend] = grad(sum(slope!), [head]);
    const at = (x: number) => evaluate([logVariance, slope!, bend!], new Map([[head, [0, x]]])).map((value) => value.at(-1)!);
    for (const knee of [-1, 2]) {
      expect(at(knee - 1e-7)[0]).toBeCloseTo(at(knee + 1e-7)[0]!, 5);
      expect(at(knee - 1e-7)[1]).toBeCloseTo(at(knee + 1e-7)[1]!, 5);
    }
    let before = Number.NEGATIVE_INFINITY;
    for (let x = -50; x <= 50; x += 0.37) {
      const [value, first, second] = at(x);
      expect(value).toBeGreaterThan(before);
      before = value!;
      const excess = Math.max(0, x - 2, -1 - x);
      expect(first).toBeCloseTo(1 / (1 + excess) ** 2, 10);
      expect(second).toBeCloseTo(excess === 0 ? 0 : (-2 * Math.sign(x)) / (1 + excess) ** 3, 10);
    }
  });

  it("lets a table come back that pushed all log-variances beyond it", async () => {
    // In the units of a sensor, where a clamp left the KL at 2.4e8 for ever.
    const rows = Float32Array.from({ length: 200 }, (_, i) => (i % 2 ? 60 : 170) + (((i >> 1) * 7) % 20));
    await using model = vae({
      input: [2],
      latent: 1,
      encoder: [dense(8)],
      decoder: [dense(8)],
      likelihood: gaussian({ scale: "learned" }),
      seed: 1,
      device: "cpu",
      threads: 1,
    });
    await model.fit(rows, { steps: 1000, batchSize: 25, optimizer: adam({ learningRate: 1e-2 }) });
    expect((await model.evaluate(rows)).kl).toBeLessThan(1e4);
  });
});
