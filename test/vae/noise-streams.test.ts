// No two draws of a step are alike, whoever makes them: the parts of a model, and users who number their streams themselves.
import { describe, expect, it } from "vitest";
import {
  divide,
  evaluate,
  mean,
  multiply,
  negate,
  normal,
  shuffledIndices,
  subtract,
  sum,
  type Tensor,
  topological,
  uniform,
} from "../../lib/graph/index.js";
import { drawNormal } from "../../lib/graph/random.js";
import {
  adam,
  bernoulli,
  defineLikelihood,
  defineObjective,
  dense,
  dropout,
  type LatentTrace,
  logLikelihood,
  residual,
  sequential,
  type VaeOptions,
  vae,
} from "../../lib/index.js";
import { BATCH_ORDER, Noise, RowNoise, streamOf } from "../../lib/nn/index.js";
import * as ops from "../../lib/ops/index.js";
import { architectureOf } from "../../lib/vae/architecture.js";
import { parseConfig } from "../../lib/vae/config.js";
import { clusteredRows } from "../support/data.js";
import { elboGraph, importanceGraph, sampleGraph, trainingGraph } from "../support/graphs.js";

const [ROWS, SIZE] = [400, 6];

/** Binarizes twice, as a likelihood of two parts would, and adds the two. */
defineLikelihood("noise.twice", {
  parse: () => ({ kind: "noise.twice" }),
  headShape: (_, input) => input,
  prepare: (_, x, noise) => {
    if (noise === undefined) return x;
    const [a, b] = [noise.uniform(x.shape), noise.uniform(x.shape)];
    return multiply(x, multiply(a, b));
  },
  distribution: (_, head) => ({
    family: "noise.twice",
    mean: head!,
    draw: () => {
      throw new Error("not needed here");
    },
    logDensity: (x) => multiply(-0.5, multiply(subtract(x, head!), subtract(x, head!))),
  }),
});

/** Terms: how the posterior's ε goes with the user's stream 0, 1, …, and with the objective's own noise. */
defineObjective("noise.witness", {
  parse: () => ({ kind: "noise.witness" }),
  terms: (_, context) => {
    const { noise } = context.scope;
    const first = context.trace();
    const epsilonOf = ({ posterior, draw }: LatentTrace): Tensor =>
      divide(subtract(draw.value, posterior.mean!), posterior.standardDeviation!);
    const { z } = first.latents as { readonly z: LatentTrace };
    const { shape } = z.draw.value;
    const epsilon = epsilonOf(z);
    const together = (other: Tensor): Tensor => mean(multiply(epsilon, other));
    const own = noise.normal(shape);
    const numbered = Array.from({ length: 12 }, (_, stream) => [`user${stream}`, together(normal(shape, stream))] as const);
    const again = epsilonOf(context.trace().latents.z!);
    return {
      loss: negate(mean(sum(logLikelihood(first), { axes: [0] }))),
      itself: together(epsilon),
      own: together(own),
      next: together(noise.normal(shape)),
      again: together(again),
      centred: mean(multiply(own, subtract(noise.uniform(shape), 0.5))),
      ...Object.fromEntries(numbered),
    };
  },
});

const options = (change: Partial<VaeOptions> = {}): VaeOptions => ({
  input: [SIZE],
  latent: SIZE,
  encoder: [dense(SIZE, { activation: "tanh" }), dropout(0.5), residual([dropout(0.3), dense(SIZE), dropout(0.2)])],
  decoder: [dense(SIZE), sequential([dropout(0.5)]), dropout(0.5)],
  likelihood: { kind: "noise.twice" },
  objective: { kind: "noise.witness" } as never,
  ...change,
});
const stepOf = (change: Partial<VaeOptions> = {}): Tensor[] => {
  const step = { rows: 1000, dtype: "float32", batchSize: ROWS, shuffle: true, optimizer: adam(), optimizerStart: 0 } as const;
  const { terms, updates } = trainingGraph(architectureOf(parseConfig(options(change), "test")), step);
  return [...Object.values(terms!), ...updates!.map(([, next]) => next)];
};
const drawsIn = (roots: readonly Tensor[]) => topological(roots).filter(({ op }) => op === "normal" || op === "uniform");
const streamsOf = (roots: readonly Tensor[]) => drawsIn(roots).map(({ attributes }) => attributes.stream as number);

describe("the draws of a training step", () => {
  it("have streams of their own: data, posterior, layers, objective, the order of rows, and the user's", () => {
    const streams = streamsOf(stepOf());
    // Two of the data, two of the posterior, three of the objective, five dropouts, twelve of the user.
    expect(streams).toHaveLength(24);
    expect(new Set([...streams, BATCH_ORDER]).size).toBe(25);
    expect(streams.filter((stream) => stream < 2 ** 31).sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, i) => i));
  });

  it("are uncorrelated and unequal, every pair", () => {
    const draws = drawsIn(stepOf()).map((draw) => {
      const [values] = evaluate([draw], new Map(), { seed: 3, step: 8 });
      const count = values!.length;
      const average = values!.reduce((total, value) => total + value, 0) / count;
      const deviation = Math.sqrt(values!.reduce((total, value) => total + (value - average) ** 2, 0) / count);
      return Float64Array.from(values!, (value) => (value - average) / deviation);
    });
    const bound = 5 / Math.sqrt(ROWS * SIZE);
    draws.forEach((a, i) => {
      for (const b of draws.slice(i + 1)) {
        expect(a.length).toBe(b.length);
        const correlation = a.reduce((total, value, index) => total + value * b[index]!, 0) / a.length;
        expect(Math.abs(correlation)).toBeLessThan(bound);
        expect(a).not.toEqual(b);
      }
    });
  });

  it("are independent on the device too, as an objective of a user sees them", async () => {
    await using model = vae({ ...options(), device: "cpu" });
    const steps = 20;
    const bound = 5 / Math.sqrt(ROWS * SIZE * steps);
    const history = await model.fit(clusteredRows(1000, SIZE), { steps, batchSize: ROWS });
    const total: Record<string, number> = {};
    for (const { metrics, step } of history.epochs) {
      const weight = (step - (total.before ?? 0)) / steps;
      total.before = step;
      for (const [name, value] of Object.entries(metrics)) total[name] = (total[name] ?? 0) + weight * value;
    }
    const { loss, before, itself, ...others } = total;
    expect([loss, before].every(Number.isFinite)).toBe(true);
    expect(itself).toBeCloseTo(1, 1);
    expect(Object.keys(others)).toHaveLength(16);
    for (const [name, value] of Object.entries(others)) expect(Math.abs(value), name).toBeLessThan(bound);
  });

  it("follow from names: a layer more or less changes no draws of the others", () => {
    const [before] = [streamsOf(stepOf())];
    const { encoder, decoder } = options();
    const more = streamsOf(stepOf({ decoder: [...decoder, dropout(0.1)] }));
    expect(more.filter((stream) => !before.includes(stream))).toHaveLength(1);
    expect(before.every((stream) => more.includes(stream))).toBe(true);
    const fewer = streamsOf(stepOf({ encoder: encoder.slice(0, 2), likelihood: bernoulli({ binarize: "stochastic" }) }));
    expect(fewer.every((stream) => before.includes(stream))).toBe(true);
    expect(fewer).toHaveLength(before.length - 3);
  });

  it("are not those of evaluation and sampling at the same step", () => {
    const architecture = architectureOf(parseConfig(options(), "test"));
    const outputs = (graph: { readonly outputs?: Readonly<Record<string, Tensor>> }) => Object.values(graph.outputs!);
    const elbo = streamsOf(outputs(elboGraph(architecture, 4, "float32")));
    const importance = streamsOf(outputs(importanceGraph(architecture, 4, 3)));
    const sample = streamsOf(outputs(sampleGraph(architecture, 4)));
    const all = [...streamsOf(stepOf()), ...elbo, ...importance, ...sample];
    expect([elbo.length, importance.length, sample.length]).toEqual([3, 1, 1]);
    expect(new Set(all).size).toBe(all.length);
  });
});

describe("streams of users", () => {
  it("are below the reserved ones", async () => {
    const reserved = { code: "argument", message: expect.stringMatching(/the stream to be a whole number from 0 to 2147483647/) };
    for (const stream of [2 ** 31, 2 ** 32 - 1, -1, 0.5, Number.NaN, "1"] as number[]) {
      expect(() => normal([2], stream)).toThrow(expect.objectContaining(reserved));
      expect(() => uniform([2], stream)).toThrow(expect.objectContaining(reserved));
      expect(() => shuffledIndices({ rows: 3, batch: 2, shuffle: true, stream })).toThrow(expect.objectContaining(reserved));
      await expect(ops.normal([2], { stream })).rejects.toMatchObject(reserved);
    }
    expect(normal([2], 2 ** 31 - 1).attributes.stream).toBe(2 ** 31 - 1);
  });
});

describe("a source of noise", () => {
  it("gives each of two names another stream, even where their hashes are the same", () => {
    const names = new Map<number, string>();
    let pair: readonly [string, string] | undefined;
    for (let i = 0; pair === undefined; i++) {
      const hash = streamOf(`test/${i}/0`);
      expect(hash).toBeGreaterThanOrEqual(2 ** 31);
      if (names.has(hash)) pair = [names.get(hash)!, String(i)];
      names.set(hash, String(i));
    }
    const noise = new Noise("test");
    const [a, b] = pair.map((name) => noise.within(name).normal([1]).attributes.stream as number);
    expect(a).toBe(streamOf(`test/${pair[0]}/0`));
    expect(b).not.toBe(a);
  });

  it("of one path goes on counting, however often it is asked for", () => {
    const noise = new Noise("test");
    const streams = [1, 2, 3].map(() => noise.within("part").normal([1]).attributes.stream);
    expect(new Set(streams).size).toBe(3);
  });

  it("for rows gives all of them the same", () => {
    const [values] = evaluate([new RowNoise(new Noise("test")).within("a").normal([3, 2])], new Map(), { seed: 1, step: 0 });
    expect([...values!.subarray(2)]).toEqual([...values!.subarray(0, 2), ...values!.subarray(0, 2)]);
    const [one] = evaluate([drawNormal([1, 2], streamOf("test/a/0"))], new Map(), { seed: 1, step: 0 });
    expect([...values!.subarray(0, 2)]).toEqual([...one!]);
  });
});
