// Whole models, trained natively for a few steps, against the float64 evaluation of the very same graphs.
import { describe, it } from "vitest";
import { logsumexp, mean, multiply, negate, subtract } from "../../lib/graph/index.js";
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
  importanceLogWeights,
  linear,
  type Optimizer,
  reshape,
  sgd,
  type VaeOptions,
  warmup,
} from "../../lib/index.js";
import { expectTrainingAsEvaluated } from "../support/training.js";

defineLayer("variants.scale", {
  parse: () => ({ kind: "variants.scale" }),
  outputShape: (_, input) => input,
  declare: (_, input) => ({ parameters: { gain: { shape: input, initializer: "ones" } } }),
  apply: (_, x, { parameters: { gain } }) => multiply(x, gain!),
});

defineObjective("variants.iwae", {
  parse: (options) => ({ kind: "variants.iwae", samples: options.number("samples", { minimum: 1, integer: true }, 5) }),
  terms: ({ samples }: { kind: string; samples: number }, { trace }) => {
    const weights = importanceLogWeights(trace(samples), samples);
    const bound = mean(subtract(logsumexp(weights, { axes: [1] }), Math.log(samples)));
    return { loss: negate(bound), bound };
  },
});

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
    await expectTrainingAsEvaluated({ ...plain, ...change }, { rows: 24, batchSize: 10, steps: 4, optimizer });
  });
});
