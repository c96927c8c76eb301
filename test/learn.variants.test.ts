// Whole models, trained natively for a few steps, against the float64 evaluation of the very same graphs.
import { describe, expect, it } from "vitest";
import { evaluate, logsumexp, mean, multiply, negate, subtract } from "../lib/graph/index.js";
import {
  adam,
  adamW,
  bernoulli,
  cosine,
  defineLayer,
  defineObjective,
  dense,
  elbo,
  flatten,
  gaussian,
  linear,
  type Optimizer,
  reshape,
  sgd,
  type VaeOptions,
  vae,
  warmup,
} from "../lib/index.js";
import { architectureOf } from "../lib/vae/architecture.js";
import { parseConfig } from "../lib/vae/config.js";
import { DATA, trainingGraph } from "../lib/vae/graph.js";
import { clusteredRows } from "./support/data.js";
import { feedsByName } from "./support/feeds.js";

defineLayer("variants.scale", {
  parse: () => ({ kind: "variants.scale" }),
  outputShape: (_, input) => input,
  parameters: (_, input) => ({ gain: { shape: input, initializer: "ones" } }),
  apply: (_, x, { gain }) => multiply(x, gain!),
});

defineObjective("variants.iwae", {
  parse: (options) => ({ kind: "variants.iwae", samples: options.number("samples", { minimum: 1, integer: true }, 5) }),
  terms: ({ samples }: { kind: string; samples: number }, { importanceLogWeights }) => {
    const bound = mean(subtract(logsumexp(importanceLogWeights(samples), { axes: [1] }), Math.log(samples)));
    return { loss: negate(bound), bound };
  },
});

const SIZE = 8;
const ROWS = 24;
const STEPS = 4;
const data = clusteredRows(ROWS, SIZE);
const plain: VaeOptions = {
  input: [4, 2],
  latent: 3,
  encoder: [dense(11, { activation: "relu" })],
  decoder: [dense(9, { activation: "tanh" })],
  likelihood: "bernoulli",
};

const variants: [string, Partial<VaeOptions>, Optimizer][] = [
  ["plain", {}, adam({ learningRate: 1e-2 })],
  ["linear", { encoder: [], decoder: [], likelihood: gaussian({ scale: 0.3 }) }, sgd({ learningRate: 1e-2, momentum: 0.9 })],
  ["a learned scale", { likelihood: gaussian({ scale: "learned" }) }, adamW({ learningRate: 1e-2, weightDecay: 0.1 })],
  [
    "a scale per dimension",
    { likelihood: gaussian({ scale: "perDimension" }) },
    sgd({ learningRate: 1e-2, nesterov: true, momentum: 0.5 }),
  ],
  ["KL warm-up, by Monte Carlo", { objective: elbo({ beta: linear({ from: 0, to: 2, steps: 3 }), kl: "monteCarlo" }) }, adam()],
  ["stochastic binarization", { likelihood: bernoulli({ binarize: "stochastic" }) }, adam({ learningRate: 1e-2 })],
  ["clipping and a schedule", {}, adam({ clipNorm: 0.5, learningRate: warmup({ steps: 2, target: cosine({ from: 0.02, steps: 9 }) }) })],
  ["importance weighting", { objective: { kind: "variants.iwae", samples: 4 } }, adam({ learningRate: 1e-2 })],
  [
    "every layer",
    {
      encoder: [{ kind: "variants.scale" }, flatten(), dense(10, { activation: "elu" }), reshape([5, 2]), dense(6, { activation: "silu" })],
      decoder: [dense(7, { activation: "gelu", bias: false }), dense(8, { activation: "softplus", initializer: "lecunNormal" })],
    },
    adam({ learningRate: 1e-2 }),
  ],
];

describe("native training equals the float64 evaluation of its graph", () => {
  it.each(variants)("%s", async (_, change, optimizer) => {
    const options = { ...plain, ...change };
    const architecture = architectureOf(parseConfig(options, "test"));
    const batchSize = 10;
    await using model = vae({ ...options, device: "cpu" });
    let values: Record<string, ArrayLike<number>> = { [DATA]: data };
    for (const [name, { data: first }] of await model.parameters()) values[name] = first;
    const step = { rows: ROWS, dtype: "float32" as const, batchSize, shuffle: true, optimizer, optimizerStart: 0 };
    const { terms = {}, updates = [] } = trainingGraph(architecture, step);
    const names = Object.keys(terms);
    const outputs = [...Object.values(terms), ...updates.map(([, next]) => next)];
    for (const [state] of updates) values[String(state.attributes.name)] ??= new Float32Array(state.shape.reduce((a, b) => a * b, 1));

    const trained = model.train(data, { steps: STEPS, every: 1, batchSize, optimizer });
    for (let index = 0; index < STEPS; index++) {
      const expected = evaluate(outputs, feedsByName(outputs, values), { seed: 1, step: index });
      const { value } = await trained.next();
      names.forEach((name, term) => {
        const exact = expected[term]![0]!;
        expect(Math.abs(value!.terms[name]! - exact), `${name} at step ${index}`).toBeLessThan(1e-4 * Math.max(1, Math.abs(exact)));
      });
      values = { ...values, ...Object.fromEntries(updates.map(([state], i) => [state.attributes.name, expected[names.length + i]!])) };
    }
    expect((await trained.next()).done).toBe(true);
    for (const [name, { data: last }] of await model.parameters()) {
      last.forEach((value, index) => {
        expect(Math.abs(value - values[name]![index]!), `${name}[${index}]`).toBeLessThan(2e-4);
      });
    }
  });
});
