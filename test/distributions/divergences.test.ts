// Divergences against integrals, and families and divergences of users in a model.
import { describe, expect, it } from "vitest";
import { type Distribution, type Draw, divergenceOf, gaussianDistribution } from "../../lib/distributions/index.js";
import {
  absolute,
  add,
  broadcastTo,
  constantTensor,
  divide,
  exp,
  log,
  mean,
  multiply,
  reshapeTensor,
  sign,
  square,
  subtract,
  sum,
  type Tensor,
} from "../../lib/graph/index.js";
import { defineDivergence, definePosterior, definePrior, dense, elbo, VaeError, type VaeOptions, vae } from "../../lib/index.js";
import { Noise, Pass } from "../../lib/nn/index.js";
import { architectureOf } from "../../lib/vae/architecture.js";
import { parseConfig } from "../../lib/vae/config.js";
import { clusteredRows } from "../support/data.js";
import { close, made, normal, tensor, valuesOf } from "../support/distributions.js";
import { numbers } from "../support/feeds.js";

const [ROWS, SIZE] = [4, 3];
const shape = [ROWS, SIZE] as const;
const x = numbers(12).map((value) => 3 * value - 1);
const head = numbers(12, 30).map((value) => 4 * value - 2);

describe("divergences", () => {
  /** ∫ q (log q − log p) by the trapezoidal rule, which for these converges faster than any power of the step. */
  function integral(mu: number, sigma: number, other: number, scale: number): number {
    const step = sigma / 50;
    let total = 0;
    for (let i = -1000; i <= 1000; i++) {
      const z = mu + i * step;
      const q = normal(z, mu, sigma);
      total += Math.exp(q) * (q - normal(z, other, scale)) * step;
    }
    return total;
  }
  const [mu, lv, other, otherLv] = [x, numbers(12, 3).map((v) => 4 * v - 2), head, numbers(12, 9).map((v) => 3 * v - 1)];
  const q = gaussianDistribution(tensor(mu, shape), tensor(lv, shape));
  const p = gaussianDistribution(tensor(other, shape), tensor(otherLv, shape));
  const drawn = q.draw(new Noise("z"));

  it("of two Gaussians is the integral", () => {
    const expected = mu.map((_, i) => integral(mu[i]!, Math.exp(lv[i]! / 2), other[i]!, Math.exp(otherLv[i]! / 2)));
    expect(valuesOf(divergenceOf(q, p, drawn))).toEqual(close(expected, 9));
    expect(valuesOf(divergenceOf(q, q, drawn))).toEqual(
      close(
        mu.map(() => 0),
        12,
      ),
    );
  });

  it("from the standard normal is the integral, and that from a Gaussian of mean 0 and variance 1", () => {
    const prior = made("prior", "standardNormal", undefined, shape);
    const unit = gaussianDistribution(tensor(Array(12).fill(0), shape), constantTensor(0));
    const values = valuesOf(divergenceOf(q, prior, drawn));
    expect(values).toEqual(
      close(
        mu.map((_, i) => integral(mu[i]!, Math.exp(lv[i]! / 2), 0, 1)),
        9,
      ),
    );
    expect(valuesOf(divergenceOf(q, unit, drawn))).toEqual(close(values, 12));
    expect(valuesOf(prior.logDensity(tensor(x, shape)))).toEqual(
      close(valuesOf(broadcastTo(unit.logDensity(tensor(x, shape)), shape)), 12),
    );
  });

  it("by Monte Carlo is log q − log p at the draw, whose mean is the closed form", () => {
    const z = valuesOf(drawn.value);
    const expected = z.map((value, i) => normal(value, mu[i]!, Math.exp(lv[i]! / 2)) - normal(value, other[i]!, Math.exp(otherLv[i]! / 2)));
    expect(valuesOf(divergenceOf(q, p, drawn, "monteCarlo"))).toEqual(close(expected, 8));
    const rows = 50_000;
    const one = (value: number) => broadcastTo(tensor([value], [1, 1]), [rows, 1]);
    const [wideQ, wideP] = [gaussianDistribution(one(0.4), one(-0.5)), gaussianDistribution(one(-0.2), one(0.3))];
    const contributions = divergenceOf(wideQ, wideP, wideQ.draw(new Noise("many")), "monteCarlo");
    const exact = integral(0.4, Math.exp(-0.25), -0.2, Math.exp(0.15));
    const [found, squares] = [valuesOf(mean(contributions))[0]!, valuesOf(mean(square(contributions)))[0]!];
    expect(Math.abs(found - exact)).toBeLessThan((5 * Math.sqrt(squares - found ** 2)) / Math.sqrt(rows));
  });

  it("keeps its digits next to the prior", () => {
    // ½ (e^d − 1 − d) is d²/4 for small d. With exp(d) − 1 for expm1(d) even float64 has only four digits of it here.
    const near = gaussianDistribution(tensor([0], [1, 1]), tensor([1e-6], [1, 1]));
    const prior = made("prior", "standardNormal", undefined, [1, 1]);
    expect(valuesOf(divergenceOf(near, prior, near.draw(new Noise("z"))))[0]! / 0.25e-12).toBeCloseTo(1, 5);
  });

  it("where only one side knows contributions of each value is their sum's", () => {
    const summed: Distribution = {
      ...p,
      family: "families.summed",
      logDensity: (z) => reshapeTensor(sum(p.logDensity(z), { axes: [1] }), [ROWS, 1]),
    };
    const contributions = divergenceOf(q, summed, drawn);
    expect(contributions.shape).toEqual([ROWS, 1]);
    const apart = valuesOf(divergenceOf(q, p, drawn, "monteCarlo"));
    expect(valuesOf(contributions)).toEqual(
      close(
        [0, 1, 2, 3].map((row) => apart.slice(3 * row, 3 * row + 3).reduce((a, b) => a + b)),
        8,
      ),
    );
  });
});

// Laplace(μ, b) and Laplace(0, 1), as users would add them.
const logLaplace = (z: Tensor, mu: Tensor, b: Tensor): Tensor =>
  subtract(multiply(-1, divide(absolute(subtract(z, mu)), b)), log(multiply(2, b)));

interface LaplaceDistribution extends Distribution {
  readonly location: Tensor;
  readonly spread: Tensor;
}

function laplace(family: string, location: Tensor, spread: Tensor): LaplaceDistribution {
  return {
    family,
    location,
    spread,
    mean: location,
    standardDeviation: multiply(Math.SQRT2, spread),
    draw: (noise): Draw => {
      const u = subtract(noise.uniform(location.shape), 0.5);
      const tail = log(subtract(1, multiply(1.999999, absolute(u))));
      const value = subtract(location, multiply(spread, multiply(sign(u), tail)));
      return { value, logDensity: logLaplace(value, location, spread) };
    },
    logDensity: (z) => logLaplace(z, location, spread),
  };
}

definePosterior("families.laplace", {
  parse: () => ({ kind: "families.laplace" }),
  headShape: (_, event) => [2, ...event],
  distribution: (_, given, { event: [size], rows }) => {
    const pairs = reshapeTensor(given!, [rows, 2, size!]);
    const part = (which: 0 | 1): Tensor => sum(multiply(pairs, tensor(which === 0 ? [1, 0] : [0, 1], [2, 1])), { axes: [1] });
    return laplace("families.laplace", part(0), exp(part(1)));
  },
});
definePrior("families.unit", {
  parse: () => ({ kind: "families.unit" }),
  distribution: (_, __, { event: [size], rows }) =>
    laplace("families.unit", broadcastTo(constantTensor(0), [rows, size!]), broadcastTo(constantTensor(1), [rows, size!])),
});
definePrior("families.learned", {
  parse: () => ({ kind: "families.learned" }),
  declare: (_, event) => ({ parameters: { logSpread: { shape: event, initializer: "zeros" } } }),
  distribution: (_, __, { event: [size], rows, scope }) =>
    laplace(
      "families.learned",
      broadcastTo(constantTensor(0), [rows, size!]),
      exp(broadcastTo(scope.parameters.logSpread!, [rows, size!])),
    ),
});

describe("families of a user", () => {
  const latent = 2;
  const modelOf = (change: Partial<VaeOptions> = {}) =>
    vae({
      input: [4],
      latent,
      encoder: [dense(6, { activation: "tanh" })],
      decoder: [dense(6)],
      posterior: { kind: "families.laplace" },
      prior: { kind: "families.unit" },
      likelihood: "bernoulli",
      device: "cpu",
      threads: 1,
      ...change,
    });
  const rows = clusteredRows(64, 4);
  /** −log b + b e^(−|μ|/b) + |μ| − 1 */
  const closed = (mu: number, b: number) => -Math.log(b) + b * Math.exp(-Math.abs(mu) / b) + Math.abs(mu) - 1;

  it("without a divergence of theirs are compared at the draw", async () => {
    await using model = modelOf({ posterior: { kind: "families.laplace" } });
    const [a, b] = [await model.evaluate(rows, { seed: 1 }), await model.evaluate(rows, { seed: 2 })];
    expect(a.kl).not.toBe(b.kl);
    const { mean: mu, standardDeviation } = await model.encode(rows);
    const exact = mu.reduce((total, value, i) => total + closed(value, standardDeviation[i]! / Math.SQRT2), 0) / 64;
    expect(Math.abs(a.kl - exact)).toBeLessThan(1);
    await expect(model.fit(rows, { steps: 5, batchSize: 16 })).resolves.toMatchObject({ steps: 5 });
  });

  it("with a divergence of theirs are compared by it, in evaluate and in the objective", async () => {
    defineDivergence("families.laplace", "families.unit", (q) => {
      const { location, spread } = q as LaplaceDistribution;
      const distance = absolute(location);
      const near = multiply(spread, exp(multiply(-1, divide(distance, spread))));
      return subtract(add(subtract(near, log(spread)), distance), 1);
    });
    await using model = modelOf();
    const { mean: mu, standardDeviation } = await model.encode(rows);
    const exact = mu.reduce((total, value, i) => total + closed(value, standardDeviation[i]! / Math.SQRT2), 0) / 64;
    const [a, b] = [await model.evaluate(rows, { seed: 1 }), await model.evaluate(rows, { seed: 2 })];
    expect(a.kl).toBeCloseTo(exact, 4);
    expect(b.kl).toBe(a.kl);
    const klOf = (objective: ReturnType<typeof elbo>) => {
      const architecture = architectureOf(parseConfig({ ...JSON.parse(JSON.stringify(model.config)), objective }, "test"));
      return architecture.terms({ x: tensor([...rows], [64, 4]) }, new Pass("training", new Noise("training")).scope(architecture.place))
        .kl!;
    };
    const weights = Object.fromEntries([...(await model.parameters())].map(([name, { data }]) => [name, [...data]]));
    expect(valuesOf(klOf(elbo()), weights)[0]).toBeCloseTo(exact, 4);
    expect(valuesOf(klOf(elbo({ kl: "monteCarlo" })), weights)[0]).not.toBeCloseTo(exact, 4);
  });

  it("with parameters of their own are trained with the model, under the names of their roles", async () => {
    await using model = modelOf({ prior: { kind: "families.learned" } });
    expect((await model.parameters()).get("prior.logSpread")!.data).toEqual(Float32Array.of(0, 0));
    await model.fit(rows, { steps: 20, batchSize: 16 });
    expect((await model.parameters()).get("prior.logSpread")!.data.every((value) => value !== 0)).toBe(true);
  });

  it("are sampled, also where a prior draws no normal noise", async () => {
    await using model = modelOf({ prior: { kind: "families.learned" } });
    expect((await model.sample(3)).every(Number.isFinite)).toBe(true);
  });
});

describe("defineDivergence refuses", () => {
  it.each<[string, () => unknown, RegExp]>([
    [
      "the library's pairs",
      () => defineDivergence("gaussian", "standardNormal", () => undefined),
      /^defineDivergence: gaussian and standardNormal have a built-in divergence/,
    ],
    [
      "what is no function",
      () => defineDivergence("a", "b", 3 as never),
      /^defineDivergence: expected two names of families and a function/,
    ],
    ["what is no name", () => defineDivergence(undefined as never, "b", () => undefined), /two names of families/],
    ["more arguments", () => (defineDivergence as (...all: unknown[]) => void)("a", "b", () => undefined, 4), /^defineDivergence: /],
  ])("%s", (_, make, message) => {
    expect(make).toThrow(VaeError);
    expect(make).toThrow(message);
  });
});
