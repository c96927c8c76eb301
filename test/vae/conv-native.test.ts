// Convolutional models of every layer, trained natively for a few steps, against the float64 evaluation of the same graphs.
import { describe, it } from "vitest";
import {
  adam,
  averagePool2d,
  batchNorm,
  conv1d,
  conv2d,
  convTranspose1d,
  convTranspose2d,
  dense,
  dropout,
  gaussian,
  globalAveragePool,
  groupNorm,
  instanceNorm,
  layerNorm,
  maxPool2d,
  presets,
  reshape,
  residual,
  sequential,
  sgd,
  upsample,
  type VaeOptions,
} from "../../lib/index.js";
import { loadAddon } from "../../lib/runtime/native.js";
import { expectTrainingAsEvaluated } from "../support/training.js";

const plain: VaeOptions = {
  input: [8, 7, 2],
  latent: 3,
  encoder: [conv2d(6, 3, { stride: 2, activation: "relu" })],
  decoder: [dense(24), reshape([2, 2, 6]), convTranspose2d(5, 3, { stride: 2, outputSize: [4, 4] })],
  likelihood: "bernoulli",
};

const models: [string, Partial<VaeOptions>][] = [
  ["a dense head", {}],
  ["a preset for an odd size", presets.image({ size: [9, 14, 3], filters: [5, 8], latent: 3 })],
  [
    "4 × 4 kernels with padding, all the way to the pixels",
    {
      input: [8, 8, 3],
      encoder: [conv2d(4, 4, { stride: 2, padding: 1, activation: "silu" }), dense(10, { activation: "relu" })],
      decoder: [dense(64, { activation: "tanh" }), reshape([4, 4, 4]), convTranspose2d(3, 4, { stride: 2, padding: 1 })],
      likelihood: gaussian({ scale: "learned" }),
    },
  ],
  [
    "groups, dilation, depthwise",
    {
      encoder: [conv2d(6, 3, { dilation: 2, groups: 2, activation: "elu" }), conv2d(6, [3, 2], { groups: 6, padding: "valid" })],
      decoder: [dense(8 * 7 * 4), reshape([8, 7, 4]), convTranspose2d(6, 3, { groups: 2, bias: false, activation: "gelu" })],
    },
  ],
  [
    "batch norm and dropout",
    {
      encoder: [conv2d(6, 3, { stride: 2, bias: false }), batchNorm({ activation: "relu" }), dropout(0.3)],
      decoder: [
        dense(24),
        batchNorm({ momentum: 0.5 }),
        reshape([2, 3, 4]),
        upsample([4, 3], { method: "bilinear" }),
        conv2d(3, [1, 3], { padding: "valid" }),
      ],
    },
  ],
  [
    "other norms, pools, residual blocks",
    {
      encoder: [
        conv2d(8, 3, { activation: "relu" }),
        residual([groupNorm(4, { activation: "silu" }), conv2d(8, 3)], { activation: "relu" }),
        maxPool2d(2),
        residual([conv2d(6, 3, { stride: 2 }), instanceNorm()], { shortcut: [conv2d(6, 1, { stride: 2 })] }),
        averagePool2d(2, { stride: 1, padding: "same" }),
        globalAveragePool(),
        dense(12, { activation: "silu" }),
        layerNorm(),
      ],
      decoder: [dense(4 * 7 * 2), sequential([reshape([4, 7, 2]), upsample([2, 1]), groupNorm(1, { affine: false })])],
    },
  ],
  [
    "sequences",
    {
      input: [30, 2],
      encoder: [conv1d(6, 5, { stride: 2, activation: "relu" }), conv1d(8, 3, { stride: 3, padding: [2, 0], dilation: 2 })],
      decoder: [dense(40), reshape([5, 8]), convTranspose1d(6, 4, { stride: 3, activation: "relu" }), convTranspose1d(3, 4, { stride: 2 })],
    },
  ],
];

describe("native training equals the float64 evaluation of its graph", () => {
  const { tiers } = loadAddon().info();
  it.each(models.flatMap(([name, change]) => tiers.map((tier) => [name, tier, change] as const)))("%s, %s", async (_name, tier, change) => {
    const optimizer = change === models[1]![1] ? adam({ learningRate: 1e-3 }) : sgd({ learningRate: 2e-3, momentum: 0.5 });
    await expectTrainingAsEvaluated({ ...plain, ...change }, { rows: 12, batchSize: 5, steps: 3, optimizer }, { tier });
  });
});
