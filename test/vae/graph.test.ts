import { describe, expect, it } from "vitest";
import {
  type Distribution,
  defineLikelihood,
  divergenceOf,
  gaussian,
  gaussianDistribution,
  type Likelihood,
} from "../../lib/distributions/index.js";
import { VaeError } from "../../lib/errors.js";
import {
  constantTensor,
  evaluate,
  grad,
  input,
  logsumexp,
  mean,
  negate,
  subtract,
  type Tensor,
  topological,
} from "../../lib/graph/index.js";
import { normalDraws } from "../../lib/graph/philox.js";
import { batchNorm, dense, dropout, linear, Noise, Pass, placeOf, sgd, streamOf } from "../../lib/nn/index.js";
import { architectureOf } from "../../lib/vae/architecture.js";
import { parseConfig, type VaeOptions } from "../../lib/vae/config.js";
import { defineObjective, elbo, familyOf, importanceLogWeights, type ObjectiveContext } from "../../lib/vae/index.js";
import { prepared } from "../../lib/vae/prepare.js";
import { feedsByName, numbers } from "../support/feeds.js";
import { DATA, elboGraph, importanceGraph, sampleGraph, trainingGraph } from "../support/graphs.js";

const LOG_2PI = Math.log(2 * Math.PI);
const tiny: VaeOptions = { input: [3], latent: 2, encoder: [], decoder: [], likelihood: "bernoulli" };
const weights = {
  "encoder.head.weight": numbers(12).map((value) => value - 0.5),
  "encoder.head.bias": [0.1, -0.2, 0.3, -0.4],
  "decoder.head.weight": numbers(6, 20).map((value) => 2 * value - 1),
  "decoder.head.bias": [0.3, -0.1, 0.2],
};
const rows = [
  [0, 1, 0.25],
  [0.5, 1, 1],
];

const build = (change: Partial<VaeOptions> = {}) => architectureOf(parseConfig({ ...tiny, ...change }, "vae"));

/** x · W + b, written down. */
function affine(x: readonly number[], weight: readonly number[], bias: readonly number[]): number[] {
  return bias.map((value, j) => x.reduce((total, xi, i) => total + xi * weight[i * bias.length + j]!, value));
}

/** Per row: mean, log-variance and, for given noise, z. */
function posteriorOf(x: readonly number[], noise: readonly number[]) {
  const head = affine(x, weights["encoder.head.weight"], weights["encoder.head.bias"]);
  const [mu, logVariance] = [head.slice(0, 2), head.slice(2)];
  return { mu, logVariance, z: mu.map((value, i) => value + Math.exp(logVariance[i]! / 2) * noise[i]!) };
}

const inference = () => new Pass("inference", new Noise("test"));

/** Terms of a batch by hand, with the noise of the posterior. */
function byHand(logDensity: (x: number, decoded: number) => number, seed: number, step: number) {
  const noise = [...normalDraws(4, streamOf("test/posterior/0"), step, BigInt(seed))];
  let [reconstruction, kl, monteCarlo] = [0, 0, 0];
  rows.forEach((x, row) => {
    const { mu, logVariance, z } = posteriorOf(x, noise.slice(2 * row, 2 * row + 2));
    const decoded = affine(z, weights["decoder.head.weight"], weights["decoder.head.bias"]);
    reconstruction += x.reduce((total, value, i) => total + logDensity(value, decoded[i]!), 0) / rows.length;
    mu.forEach((value, i) => {
      const lv = logVariance[i]!;
      kl += (0.5 * (value ** 2 + Math.exp(lv) - 1 - lv)) / rows.length;
      const [logQ, logP] = [-0.5 * (LOG_2PI + lv + noise[2 * row + i]! ** 2), -0.5 * (LOG_2PI + z[i]! ** 2)];
      monteCarlo += (logQ - logP) / rows.length;
    });
  });
  return { reconstruction, kl, monteCarlo };
}

function terms(change: Partial<VaeOptions>, options: { seed: number; step: number }, extra = {}): Record<string, number> {
  const { terms: of, place } = build(change);
  const graph = of({ x: constantTensor({ data: rows.flat(), shape: [2, 3] }) }, inference().scope(place));
  const names = Object.keys(graph);
  const tensors = names.map((name) => graph[name]!);
  const values = evaluate(tensors, feedsByName(tensors, { ...weights, ...extra }), options);
  return Object.fromEntries(names.map((name, index) => [name, values[index]![0]!]));
}

const crossEntropy = (x: number, logit: number): number => {
  const p = 1 / (1 + Math.exp(-logit));
  return x * Math.log(p) + (1 - x) * Math.log(1 - p);
};

describe("the ELBO against its formula", () => {
  it("Bernoulli, closed KL", () => {
    const expected = byHand(crossEntropy, 3, 5);
    const actual = terms({}, { seed: 3, step: 5 });
    expect(actual.reconstruction).toBeCloseTo(expected.reconstruction, 10);
    expect(actual.kl).toBeCloseTo(expected.kl, 10);
    expect(actual.elbo).toBeCloseTo(expected.reconstruction - expected.kl, 10);
    expect(actual.loss).toBeCloseTo(expected.kl - expected.reconstruction, 10);
  });

  it("β, constant and scheduled, weighs the KL in the loss and not in the ELBO", () => {
    const expected = byHand(crossEntropy, 3, 5);
    const schedule = elbo({ beta: linear({ from: 0, to: 2, steps: 10 }) });
    for (const [objective, beta] of [
      [elbo({ beta: 4 }), 4],
      [schedule, 1],
      [elbo({ beta: 0 }), 0],
    ] as const) {
      const actual = terms({ objective }, { seed: 3, step: 5 });
      expect(actual.loss).toBeCloseTo(beta * expected.kl - expected.reconstruction, 10);
      expect(actual.elbo).toBeCloseTo(expected.reconstruction - expected.kl, 10);
    }
  });

  it("Monte Carlo KL is log q − log p at z", () => {
    const actual = terms({ objective: elbo({ kl: "monteCarlo" }) }, { seed: 3, step: 5 });
    expect(actual.kl).toBeCloseTo(byHand(crossEntropy, 3, 5).monteCarlo, 10);
  });

  it("Gaussian likelihoods are densities, with fixed and learned scale", () => {
    const density = (scale: number) => (x: number, mean: number) => -0.5 * ((x - mean) / scale) ** 2 - Math.log(scale) - 0.5 * LOG_2PI;
    const fixed = terms({ likelihood: gaussian({ scale: 0.3 }) }, { seed: 3, step: 5 });
    expect(fixed.reconstruction).toBeCloseTo(byHand(density(0.3), 3, 5).reconstruction, 9);
    const low = Math.log(1e-3);
    const learnedScale = Math.exp(low + Math.log1p(Math.exp(-0.7 - low)));
    const learned = terms({ likelihood: gaussian({ scale: "learned" }) }, { seed: 3, step: 5 }, { "likelihood.logScale": [-0.7] });
    expect(learned.reconstruction).toBeCloseTo(byHand(density(learnedScale), 3, 5).reconstruction, 9);
    expect(learnedScale).toBeCloseTo(Math.exp(-0.7), 2);
  });

  it("is finite where logits and log-variances are extreme", () => {
    const extreme = { "encoder.head.bias": [0, 0, 500, -500], "decoder.head.bias": [1e4, -1e4, 0] };
    for (const value of Object.values(terms({}, { seed: 1, step: 0 }, extreme))) expect(Number.isFinite(value)).toBe(true);
  });
});

describe("densities", () => {
  /** The likelihood of rows of one value, given what the decoder gives for them. */
  const given = (likelihood: string | Likelihood, head: Tensor): Distribution =>
    familyOf("likelihood", likelihood).distribution(head, {
      event: [1],
      rows: head.shape[0]!,
      scope: inference().scope(placeOf("", {}, "test")),
    });

  it("the Gaussian likelihood integrates to one", () => {
    const count = 4001;
    const x = Array.from({ length: count }, (_, index) => -10 + index * 0.005);
    const likelihood = gaussian({ scale: 0.7 });
    const head = constantTensor({ data: x.map(() => 0.4), shape: [count, 1] });
    const log = given(likelihood, head).logDensity(constantTensor({ data: x, shape: [count, 1] }));
    const total = evaluate([log])[0]!.reduce((sum, value) => sum + Math.exp(value) * 0.005, 0);
    expect(total).toBeCloseTo(1, 6);
  });

  it("the Bernoulli likelihood sums to one", () => {
    const logits = constantTensor({ data: [1.3, 1.3], shape: [2, 1] });
    const log = given("bernoulli", logits).logDensity(constantTensor({ data: [0, 1], shape: [2, 1] }));
    expect(evaluate([log])[0]!.reduce((sum, value) => sum + Math.exp(value), 0)).toBeCloseTo(1, 12);
  });

  it("closed KL is the mean of the Monte Carlo one", () => {
    const count = 20_000;
    const repeat = (values: number[]) => constantTensor({ data: Array.from({ length: count }, () => values).flat(), shape: [count, 2] });
    const posterior = gaussianDistribution(repeat([0.8, -0.3]), repeat([-1.2, 0.4]));
    const scope = inference().scope(placeOf("", {}, "test"));
    const prior = familyOf("prior", "standardNormal").distribution(undefined, { event: [2], rows: count, scope });
    const draw = posterior.draw(new Noise("test"));
    const [closed, estimated] = evaluate([
      mean(divergenceOf(posterior, prior, draw, "closed"), { axes: [0] }),
      mean(divergenceOf(posterior, prior, draw, "monteCarlo"), { axes: [0] }),
    ]);
    expect(closed![0]).toBeCloseTo(0.5 * (0.64 + Math.exp(-1.2) - 1 + 1.2), 10);
    // The estimate's standard deviation is below 1 per draw, so below 0.01 for the mean.
    expect(Math.abs(closed![0]! - estimated![0]!)).toBeLessThan(0.03);
    expect(Math.abs(closed![1]! - estimated![1]!)).toBeLessThan(0.03);
  });
});

describe("graphs of a model", () => {
  it("a training step gathers, scales bytes and updates every parameter", () => {
    const architecture = build();
    const options = { rows: 2, batchSize: 2, shuffle: false, optimizer: sgd({ learningRate: 0.5 }), optimizerStart: 0 };
    const floats = trainingGraph(architecture, { ...options, dtype: "float32" });
    const bytes = trainingGraph(architecture, { ...options, dtype: "uint8" });
    expect(Object.keys(floats.terms!)).toEqual(["loss", "elbo", "reconstruction", "kl"]);
    expect(floats.updates!.map(([tensor]) => tensor.attributes.name)).toEqual(Object.keys(weights));
    const loss = (graph: typeof floats, data: readonly number[]): number => {
      const tensor = graph.terms!.loss!;
      return evaluate([tensor], feedsByName([tensor], { ...weights, [DATA]: data }), { seed: 3, step: 0 })[0]![0]!;
    };
    const data = [0, 255, 51, 102, 255, 255];
    expect(loss(bytes, data)).toBeCloseTo(
      loss(
        floats,
        data.map((value) => value / 255),
      ),
      6,
    );
  });

  it("gradient descent on the graph's own updates lowers the loss", () => {
    const graph = trainingGraph(build(), {
      rows: 2,
      batchSize: 2,
      dtype: "float32",
      shuffle: false,
      optimizer: sgd({ learningRate: 0.1 }),
      optimizerStart: 0,
    });
    const outputs = [graph.terms!.loss!, ...graph.updates!.map(([, next]) => next)];
    let values: Record<string, ArrayLike<number>> = { ...weights, [DATA]: rows.flat() };
    const losses: number[] = [];
    for (let step = 0; step < 60; step++) {
      const [loss, ...next] = evaluate(outputs, feedsByName(outputs, values), { seed: 3, step: step % 4 });
      losses.push(loss![0]!);
      values = { ...values, ...Object.fromEntries(graph.updates!.map(([tensor], i) => [tensor.attributes.name as string, next[i]!])) };
    }
    expect(losses.at(-1)!).toBeLessThan(losses[0]! - 0.2);
  });

  it("the training graph's loss has the right gradient", () => {
    const { terms, place, parameters } = build();
    const pass = inference();
    const loss = terms({ x: constantTensor({ data: rows.flat(), shape: [2, 3] }) }, pass.scope(place)).loss!;
    const parameter = parameters.find(({ name }) => name === "encoder.head.weight")!;
    const [gradient] = grad(loss, [pass.tensor(parameter)]);
    const at = (values: readonly number[], tensor: Tensor): Float64Array => {
      const feeds = feedsByName([tensor], { ...weights, "encoder.head.weight": values });
      return evaluate([tensor], feeds, { seed: 2, step: 1 })[0]!;
    };
    const base = weights["encoder.head.weight"];
    const exact = at(base, gradient!);
    base.forEach((_, index) => {
      const moved = (delta: number): number =>
        at(
          base.map((value, i) => (i === index ? value + delta : value)),
          loss,
        )[0]!;
      expect(exact[index]).toBeCloseTo((moved(1e-5) - moved(-1e-5)) / 2e-5, 7);
    });
  });

  it("per-row ELBO parts average to the terms", () => {
    const { outputs } = elboGraph(build(), 2, "float32");
    const tensors = [outputs!.reconstruction!, outputs!.kl!, outputs!.mean!];
    const [reconstruction, kl, means] = evaluate(tensors, feedsByName(tensors, { ...weights, x: rows.flat() }), { seed: 1 });
    expect(reconstruction!.length).toBe(2);
    expect(kl!.reduce((total, value) => total + value, 0) / 2).toBeCloseTo(byHand(crossEntropy, 1, 0).kl, 10);
    rows.forEach((x, row) => {
      expect([...means!.slice(2 * row, 2 * row + 2)]).toEqual(posteriorOf(x, [0, 0]).mu.map((value) => expect.closeTo(value, 10)));
    });
  });

  it("importance weights approach the exact likelihood of a linear-Gaussian model", () => {
    // z ~ N(0, 1), x = w z + b + 0.5 ε: x ~ N(b, w wᵀ + ¼ I), known in closed form.
    const architecture = build({ input: [2], latent: 1, likelihood: gaussian({ scale: 0.5 }) });
    const w = [0.8, -0.6];
    const b = [0.1, 0.4];
    const x = [0.9, -0.2];
    const variance = 0.25;
    // The exact posterior is N(s · wᵀ(x − b)/σ², s), s = 1 / (1 + wᵀw/σ²); the encoder is close to it, not equal.
    const s = 1 / (1 + 1 / variance);
    const parameters = {
      "encoder.head.weight": [(s * w[0]!) / variance, 0, (s * w[1]!) / variance, 0],
      "encoder.head.bias": [(-s * (w[0]! * b[0]! + w[1]! * b[1]!)) / variance + 0.05, Math.log(s) + 0.3],
      "decoder.head.weight": w,
      "decoder.head.bias": b,
    };
    const [d0, d1] = [x[0]! - b[0]!, x[1]! - b[1]!];
    const [c00, c01, c11] = [w[0]! ** 2 + variance, w[0]! * w[1]!, w[1]! ** 2 + variance];
    const determinant = c00 * c11 - c01 ** 2;
    const squares = (c11 * d0 ** 2 - 2 * c01 * d0 * d1 + c00 * d1 ** 2) / determinant;
    const exact = -LOG_2PI - 0.5 * Math.log(determinant) - 0.5 * squares;
    const samples = 2000;
    const logWeights = importanceGraph(architecture, 1, samples).outputs!.logWeights!;
    expect(logWeights.shape).toEqual([1, samples]);
    const estimate = subtract(logsumexp(logWeights, { axes: [1] }), Math.log(samples));
    const [value] = evaluate([estimate], feedsByName([estimate], { ...parameters, x }), { seed: 4 });
    expect(Math.abs(value![0]! - exact)).toBeLessThan(0.02);
  });

  it("objectives of users get the context they need", () => {
    defineObjective("test.iwae", {
      parse: (options) => ({ kind: "test.iwae", samples: options.number("samples", { minimum: 1, integer: true }, 5) }),
      terms: ({ samples }: { kind: string; samples: number }, { trace }) => {
        const bound = mean(subtract(logsumexp(importanceLogWeights(trace(samples), samples), { axes: [1] }), Math.log(samples)));
        return { loss: negate(bound), bound };
      },
    });
    // The bound of one sample is the ELBO with a Monte Carlo KL.
    const expected = byHand(crossEntropy, 3, 5);
    const actual = terms({ objective: { kind: "test.iwae", samples: 1 } }, { seed: 3, step: 5 });
    expect(actual.bound).toBeCloseTo(expected.reconstruction - expected.monteCarlo, 10);
  });

  it.each([1, 3])("an importance-weighted step with %i draws moves running statistics once, by the batch", (samples) => {
    const objective = { kind: "test.iwae", samples };
    const architecture = build({ encoder: [batchNorm({ momentum: 0.9 }), dropout(0.5)], objective });
    const step = {
      rows: 2,
      batchSize: 2,
      dtype: "float32",
      shuffle: false,
      optimizer: sgd({ learningRate: 0 }),
      optimizerStart: 0,
    } as const;
    const { updates = [] } = trainingGraph(architecture, step);
    const [, next] = updates.find(([tensor]) => tensor.attributes.name === "encoder.0.runningMean")!;
    const start = { "encoder.0.runningMean": [1, 2, 3], [DATA]: rows.flat() };
    const [moved] = evaluate([next], feedsByName([next], start), { seed: 3, step: 0 });
    const means = [0, 1, 2].map((column) => (rows[0]![column]! + rows[1]![column]!) / 2);
    expect([...moved!]).toEqual(means.map((value, column) => expect.closeTo(0.9 * (column + 1) + 0.1 * value, 10)));
  });

  it("an objective's posterior is the one that its importance weights are drawn from", () => {
    defineObjective("test.both", {
      parse: () => ({ kind: "test.both" }),
      terms: (_, { trace }) => ({
        loss: negate(mean(importanceLogWeights(trace(2), 2))),
        spread: mean(trace().latents.z!.posterior.standardDeviation!),
      }),
    });
    const architecture = build({ encoder: [dense(5), dropout(0.5)], objective: { kind: "test.both" } });
    const step = { rows: 2, batchSize: 2, dtype: "float32", shuffle: false, optimizer: sgd(), optimizerStart: 0 } as const;
    const { terms = {} } = trainingGraph(architecture, step);
    expect(topological(Object.values(terms)).filter(({ op }) => op === "uniform")).toHaveLength(1);
  });

  it("objectives and likelihoods that lack something are refused, by name", () => {
    const step = { rows: 2, batchSize: 2, dtype: "float32", shuffle: false, optimizer: sgd(), optimizerStart: 0 } as const;
    const wrong = (kind: string, terms: unknown) => {
      defineObjective(kind, { parse: () => ({ kind }), terms: () => terms as { loss: Tensor } });
      return () => trainingGraph(build({ objective: { kind } }), step);
    };
    expect(wrong("test.nothing", {})).toThrow(/test.nothing: expected terms to give a scalar tensor `loss`; received/);
    expect(wrong("test.row", { loss: constantTensor({ data: [1, 2], shape: [2] }) })).toThrow(
      /a scalar float32 tensor as "loss"; received a float32 tensor \[2\]/,
    );
    expect(() => defineObjective("test.empty", {} as never)).toThrow(/received no parse, no terms/);
    expect(() => defineLikelihood("test.empty", { parse: () => ({ kind: "test.empty" }) } as never)).toThrow(/received no distribution/);
  });

  it.each<[string, (context: ObjectiveContext) => unknown, RegExp]>([
    ["no draws", ({ trace }) => trace(0), /^trace: expected samples to be a whole number of at least 1; received 0/],
    ["draws in words", ({ trace }) => trace("2" as never), /^trace: expected samples to be .*received "2"/],
    [
      "latents that are none",
      ({ generate }) => generate(3 as never),
      /^generate: expected latents by name, each a float32 tensor \[2, size\]; received 3/,
    ],
    ["no latents", ({ generate }) => generate(undefined as never), /^generate: expected latents by name/],
    [
      "a latent that is a number",
      ({ generate }) => generate({ z: 3 as never }),
      /^generate: expected the latent "z" as a float32 tensor \[2, size\]; received 3/,
    ],
    [
      "latents of other rows",
      ({ generate }) => generate({ z: constantTensor({ data: [1, 2], shape: [1, 2] }) }),
      /^generate: expected the latent "z" as .*\[2, size\]; received a float32 tensor \[1, 2\]/,
    ],
  ])("an objective that asks for %s is refused", (name, ask, message) => {
    const kind = `test.asks ${name}`;
    defineObjective(kind, {
      parse: () => ({ kind }),
      terms: (_, context) => {
        ask(context);
        return { loss: constantTensor(0) };
      },
    });
    expect(() => terms({ objective: { kind } }, { seed: 1, step: 0 })).toThrow(VaeError);
    expect(() => terms({ objective: { kind } }, { seed: 1, step: 0 })).toThrow(message);
  });

  it("objectives generate from latents of theirs, and from the prior", () => {
    defineObjective("test.generates", {
      parse: () => ({ kind: "test.generates" }),
      terms: (_, { generate }) => {
        const of = (latents: Readonly<Record<string, Tensor>>, rows?: number): Tensor => generate(latents, rows).x!.mean!;
        const given = of({ z: constantTensor({ data: [0, 0, 0, 0], shape: [2, 2] }) });
        const drawn = of({}, 3);
        expect([given.shape, drawn.shape]).toEqual([
          [2, 3],
          [3, 3],
        ]);
        return { loss: constantTensor(0), given: mean(given), drawn: mean(drawn) };
      },
    });
    const { given, drawn } = terms({ objective: { kind: "test.generates" } }, { seed: 1, step: 0 });
    const expected = weights["decoder.head.bias"].reduce((total, bias) => total + 1 / (1 + Math.exp(-bias)) / 3, 0);
    expect(given).toBeCloseTo(expected, 12);
    expect(drawn).not.toBeCloseTo(expected, 6);
  });

  it("samples follow the temperature", () => {
    const tensor = sampleGraph(build(), 4).outputs!.mean!;
    const cold = evaluate([tensor], feedsByName([tensor], { ...weights, temperature: [0] }))[0]!;
    const expected = weights["decoder.head.bias"].map((value) => 1 / (1 + Math.exp(-value)));
    expect([...cold.slice(9)]).toEqual(expected.map((value) => expect.closeTo(value, 12)));
    const warm = evaluate([tensor], feedsByName([tensor], { ...weights, temperature: [1] }))[0]!;
    expect(warm.slice(0, 3)).not.toEqual(warm.slice(3, 6));
  });

  it("stochastic binarization gives zeros and ones with the data as probabilities", () => {
    const architecture = build({ likelihood: { kind: "bernoulli", binarize: "stochastic" } });
    const stored = constantTensor({ data: Array<number>(3000).fill(0.3), shape: [1000, 3] });
    const { x } = prepared(architecture, { x: stored }, inference().scope(architecture.place), new Noise("test")).batch;
    const [values] = evaluate([x!]);
    expect(new Set(values)).toEqual(new Set([0, 1]));
    expect(values!.reduce((total, value) => total + value, 0) / 3000).toBeCloseTo(0.3, 1);
    expect(topological([x!]).filter(({ op }) => op === "uniform")).toHaveLength(1);
  });

  it("noise never shares a stream", () => {
    const noise = new Noise("test");
    const used = [noise.normal([2]), noise.uniform([2]), noise.within("part").normal([2])].map(({ attributes }) => attributes.stream);
    expect(new Set(used).size).toBe(3);
    expect(input("x", [1]).op).toBe("input");
  });
});
