// Built-in families against their formulas in float64.
import { describe, expect, it } from "vitest";
import {
  bernoulli as bernoulliOf,
  type GaussianDistribution,
  gaussian,
  gaussianDistribution,
  gaussianPosterior,
  type Likelihood,
  type Role,
  standardNormal,
} from "../../lib/distributions/index.js";
import { broadcastTo, evaluate, grad, state, sum, type Tensor } from "../../lib/graph/index.js";
import { adam, dense, VaeError, type VaeOptions, vae } from "../../lib/index.js";
import { Noise, NoNoise, Pass, RowNoise, type Tagged } from "../../lib/nn/index.js";
import { architectureOf } from "../../lib/vae/architecture.js";
import { parseConfig } from "../../lib/vae/config.js";
import { familyOf } from "../../lib/vae/index.js";
import { close, made, normal, tensor, valuesOf } from "../support/distributions.js";
import { numbers } from "../support/feeds.js";

const [ROWS, SIZE] = [4, 3];
const shape = [ROWS, SIZE] as const;
const x = numbers(12).map((value) => 3 * value - 1);
const head = numbers(12, 30).map((value) => 4 * value - 2);
const wide = numbers(24, 50).map((value) => 4 * value - 2);
/** Columns of a head of twice the size: means, or what becomes log-variances. */
const half = (which: 0 | 1): number[] => x.map((_, i) => wide[Math.floor(i / SIZE) * 2 * SIZE + which * SIZE + (i % SIZE)]!);
const softplus = (value: number): number => Math.log1p(Math.exp(value));

interface Case {
  readonly role: Role;
  readonly family: string | Tagged;
  readonly head?: Tensor;
  readonly states?: Record<string, readonly number[]>;
  /** Mean and standard deviation of the i-th value, and its log-density. */
  readonly mean: (i: number) => number;
  readonly deviation: (i: number) => number;
  readonly logDensity: (x: number, i: number) => number;
}

const ofGaussian = (mean: (i: number) => number, deviation: (i: number) => number) => ({
  mean,
  deviation,
  logDensity: (value: number, i: number) => normal(value, mean(i), deviation(i)),
});
const narrow = tensor(head, shape);
const both = tensor(wide, [ROWS, 2 * SIZE]);
const floor = Math.log(1e-3);
const learned = (logScale: number): number => Math.exp(floor + softplus(logScale - floor));

const cases: readonly (readonly [string, Case])[] = [
  [
    "the Gaussian posterior",
    {
      role: "posterior",
      family: gaussianPosterior(),
      head: both,
      ...ofGaussian(
        (i) => half(0)[i]!,
        (i) => Math.exp(half(1)[i]! / 2),
      ),
    },
  ],
  [
    "the standard normal prior",
    {
      role: "prior",
      family: standardNormal(),
      ...ofGaussian(
        () => 0,
        () => 1,
      ),
    },
  ],
  [
    "the Gaussian likelihood of scale 0.3",
    {
      role: "likelihood",
      family: gaussian({ scale: 0.3 }),
      head: narrow,
      ...ofGaussian(
        (i) => head[i]!,
        () => 0.3,
      ),
    },
  ],
  [
    "the Gaussian likelihood of one learned scale",
    {
      role: "likelihood",
      family: gaussian({ scale: "learned" }),
      head: narrow,
      states: { logScale: [-0.7] },
      ...ofGaussian(
        (i) => head[i]!,
        () => learned(-0.7),
      ),
    },
  ],
  [
    "the Gaussian likelihood of a scale for every value",
    {
      role: "likelihood",
      family: gaussian({ scale: "perDimension" }),
      head: narrow,
      states: { logScale: [-1, 0, 0.5] },
      ...ofGaussian(
        (i) => head[i]!,
        (i) => learned([-1, 0, 0.5][i % SIZE]!),
      ),
    },
  ],
  [
    "the Gaussian likelihood of predicted scales",
    {
      role: "likelihood",
      family: gaussian({ scale: "predicted" }),
      head: both,
      ...ofGaussian(
        (i) => half(0)[i]!,
        (i) => Math.exp(half(1)[i]! / 2),
      ),
    },
  ],
  [
    "the Bernoulli likelihood",
    {
      role: "likelihood",
      family: bernoulliOf(),
      head: narrow,
      mean: (i) => 1 / (1 + Math.exp(-head[i]!)),
      deviation: (i) => Math.sqrt((1 / (1 + Math.exp(-head[i]!))) * (1 / (1 + Math.exp(head[i]!)))),
      logDensity: (value, i) => value * Math.log(1 / (1 + Math.exp(-head[i]!))) + (1 - value) * Math.log(1 / (1 + Math.exp(head[i]!))),
    },
  ],
];

describe.each(cases)("%s", (_, { role, family, head: given, states = {}, mean: average, deviation, logDensity }) => {
  const distribution = made(role, family, given, shape);

  it("has the log-density of its formula", () => {
    expect(valuesOf(broadcastTo(distribution.logDensity(tensor(x, shape)), shape), states)).toEqual(close(x.map(logDensity)));
  });

  it("has the mean and the standard deviation of its formula, [rows, size] each", () => {
    expect(distribution.mean!.shape).toEqual(shape);
    expect(distribution.standardDeviation!.shape).toEqual(shape);
    expect(valuesOf(distribution.mean!, states)).toEqual(close(x.map((_value, i) => average(i))));
    expect(valuesOf(distribution.standardDeviation!, states)).toEqual(close(x.map((_value, i) => deviation(i))));
  });

  it("gives with a draw the log-density that it has there", () => {
    const { value, logDensity: drawn } = distribution.draw(new Noise("draw"));
    expect(value.shape).toEqual(shape);
    expect(drawn.shape).toEqual(shape);
    const at = valuesOf(value, states);
    expect(valuesOf(drawn, states)).toEqual(close(at.map(logDensity), 8));
    expect(valuesOf(distribution.logDensity(value), states)).toEqual(close(valuesOf(drawn, states), 8));
  });

  it("draws with that mean and standard deviation, anew on every call", () => {
    const rows = 20_000;
    const tile = (of: Tensor | undefined) =>
      of && broadcastTo(tensor(valuesOf(of).slice(0, of.shape[1]), [1, of.shape[1]!]), [rows, of.shape[1]!]);
    const many = made(role, family, tile(given), [rows, SIZE]);
    const noise = new Noise("draw");
    const [first, second] = [many.draw(noise).value, many.draw(noise).value].map((value) => valuesOf(value, states));
    expect(second).not.toEqual(first);
    for (let column = 0; column < SIZE; column++) {
      const picked = first!.filter((_value, i) => i % SIZE === column);
      const found = picked.reduce((total, value) => total + value, 0) / rows;
      const spread = Math.sqrt(picked.reduce((total, value) => total + (value - found) ** 2, 0) / rows);
      // Five standard errors; that of a standard deviation is at most σ/√(2n) for these.
      expect(Math.abs(found - average(column))).toBeLessThan((5 * deviation(column)) / Math.sqrt(rows));
      expect(Math.abs(spread / deviation(column) - 1)).toBeLessThan(0.05);
    }
  });

  it("draws its middle without noise where draws are continuous", () => {
    if (distribution.family === "bernoulli") return;
    expect(valuesOf(distribution.draw(new NoNoise()).value, states)).toEqual(close(x.map((_value, i) => average(i))));
  });
});

describe("gradients flow through a draw", () => {
  it("to mean and log-variance: 1, and ½ σ ε", () => {
    const [mu, logVariance] = [state("mu", [2, 2]), state("lv", [2, 2])];
    const noise = new RowNoise(new Noise("fixed"));
    const { value } = gaussianDistribution(mu, logVariance).draw(noise);
    const values = { mu: [1, 2, 3, 4], lv: [0, 1, -1, 2] };
    const at = valuesOf(value, values);
    const [byMean, byVariance] = grad(sum(value), [mu, logVariance]);
    expect(valuesOf(byMean!)).toEqual([1, 1, 1, 1]);
    expect(valuesOf(byVariance!, values)).toEqual(close(at.map((z, i) => (z - values.mu[i]!) / 2)));
    expect(at[0]).not.toBe(values.mu[0]);
  });

  it("is refused what is no tensor", () => {
    expect(() => gaussianDistribution(3 as never, narrow)).toThrow(/^gaussianDistribution: expected mean to be a tensor; received 3/);
    expect(() => gaussianDistribution(narrow, undefined as never)).toThrow(/expected logVariance to be a tensor; received undefined/);
  });
});

describe("a predicted scale", () => {
  it("is within its bounds, softly from both ends, with a gradient everywhere", () => {
    const given = state("head", [1, 2]);
    const { logVariance } = made("likelihood", gaussian({ scale: "predicted", minimumScale: 0.01 }), given, [1, 1]) as GaussianDistribution;
    const [slope] = grad(sum(logVariance), [given]);
    const low = 2 * Math.log(0.01);
    for (const value of [-1e4, -50, -3, 0, 2, 50, 1e4]) {
      const [bounded] = valuesOf(logVariance, { head: [0, value] });
      expect(bounded).toBeGreaterThan(low);
      expect(bounded).toBeLessThan(20);
      expect(valuesOf(slope!, { head: [0, value] })[1]).toBeGreaterThan(0);
      if (Math.abs(value) < 4) expect(bounded).toBe(value);
    }
  });

  it("is data, and asks the decoder for twice the values", () => {
    const likelihood = gaussian({ scale: "predicted" });
    expect(likelihood).toEqual({ kind: "gaussian", scale: "predicted", minimumScale: 1e-3 });
    expect(familyOf("likelihood", JSON.parse(JSON.stringify(likelihood))).value).toEqual(likelihood);
    expect(familyOf("likelihood", likelihood).headShape([28, 28, 1])).toEqual([2 * 784]);
    expect(familyOf("likelihood", gaussian()).headShape([28, 28, 1])).toEqual([28, 28, 1]);
    expect(familyOf("likelihood", likelihood).declare([4])).toEqual({});
  });

  it("saved with a model is read again", () => {
    const config = parseConfig(
      { input: [3], latent: 2, encoder: [], decoder: [], likelihood: gaussian({ scale: "predicted", minimumScale: 0.05 }) },
      "vae",
    );
    expect(parseConfig(JSON.parse(JSON.stringify(config)), "load")).toEqual(config);
  });

  it("learns where data are noisy and where they are not", async () => {
    // All columns are ±1 together, the first four with noise of 0.05, the others with noise of 0.8.
    const [rows, columns] = [400, 8];
    const noise = evaluate([new Noise("data").normal([rows, columns])], new Map(), { seed: 5, step: 0 })[0]!;
    const isQuiet = (i: number) => i % columns < 4;
    const data = Float32Array.from(noise, (value, i) => (Math.floor(i / columns) % 2 === 0 ? 1 : -1) + (isQuiet(i) ? 0.05 : 0.8) * value);
    const layers = [dense(12, { activation: "tanh" })];
    const options: VaeOptions = {
      input: [columns],
      latent: 1,
      encoder: layers,
      decoder: layers,
      likelihood: gaussian({ scale: "predicted" }),
    };
    await using model = vae({ ...options, device: "cpu", threads: 1 });
    await model.fit(data, { steps: 1000, batchSize: 100, optimizer: adam({ learningRate: 5e-3 }) });
    const values = Object.fromEntries([...(await model.parameters())].map(([name, { data: own }]) => [name, [...own]]));
    // The scales that the decoder gives at the latents of one row of either sign.
    const latents = tensor([...(await model.encode(data.subarray(0, 2 * columns))).mean], [2, 1]);
    const { decoder } = architectureOf(parseConfig(options, "test")).place.networks;
    const decoded = new Pass("inference", new NoNoise()).apply(decoder!, latents, {});
    const deviations = made("likelihood", options.likelihood as Likelihood, decoded, [2, columns]).standardDeviation!;
    for (const [i, deviation] of valuesOf(deviations, values).entries()) {
      expect(deviation).toBeGreaterThan(isQuiet(i) ? 0.02 : 0.5);
      expect(deviation).toBeLessThan(isQuiet(i) ? 0.15 : 1.2);
    }
  });

  it.each<[object, RegExp]>([
    [{ scale: "predict" }, /did you mean "predicted"/],
    [{ scale: -1 }, /scale to be a finite number above 0/],
    [{ scale: Number.NaN }, /scale/],
    [{ minimumScale: 0 }, /minimumScale/],
    [{ scales: 1 }, /unknown option "scales"[\s\S]*did you mean "scale"/],
  ])("or another one is refused: %j", (options, message) => {
    expect(() => gaussian(options)).toThrow(VaeError);
    expect(() => gaussian(options)).toThrow(message);
  });
});
