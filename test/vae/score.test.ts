// A score is of the row: the same bits wherever the row stands, whatever stands beside it, however often it is asked.
import assert from "node:assert";
import { describe, expect, it } from "vitest";
import { add, multiply, slice, square, subtract } from "../../lib/graph/index.js";
import {
  batchNorm,
  bernoulli,
  conv2d,
  defineLikelihood,
  definePosterior,
  dense,
  dropout,
  gaussian,
  gaussianDistribution,
  layerNorm,
  presets,
  reshape,
  type Vae,
  VaeError,
  type VaeOptions,
  vae,
} from "../../lib/index.js";

import { clusteredRows } from "../support/data.js";

/** A family for which no prior knows a closed divergence. */
definePosterior("score.other", {
  parse: () => ({ kind: "score.other" }),
  headShape: (_, [latent]) => [2 * latent!],
  distribution: (_, head, { rows, event: [size] }) => {
    const latent = size!;
    const inner = gaussianDistribution(slice(head!, [0, 0], [rows, latent]), slice(head!, [0, latent], [rows, 2 * latent]));
    return { ...inner, family: "score.other" };
  },
});

/** Blurs its rows at random where it may. */
defineLikelihood("score.blurred", {
  parse: () => ({ kind: "score.blurred" }),
  headShape: (_, input) => input,
  prepare: (_, x, noise) => (noise === undefined ? x : add(x, multiply(0.3, noise.normal(x.shape)))),
  distribution: (_, head) => ({
    family: "score.blurred",
    mean: head!,
    draw: () => assert.fail(),
    logDensity: (x) => multiply(-0.5, square(subtract(x, head!))),
  }),
});

const table = (likelihood: VaeOptions["likelihood"], change: Partial<VaeOptions> = {}): VaeOptions => ({
  input: [9],
  latent: 3,
  encoder: [dense(17, { activation: "relu" }), layerNorm(), dropout(0.4)],
  decoder: [dense(13, { activation: "tanh" })],
  likelihood,
  ...change,
});
const models: readonly [string, VaeOptions][] = [
  ["a Gaussian", table(gaussian({ scale: "learned" }))],
  ["a scale per column", table(gaussian({ scale: "perDimension" }))],
  ["stochastic binarization", table(bernoulli({ binarize: "stochastic" }))],
  ["a user's likelihood with noise", table({ kind: "score.blurred" })],
  ["a posterior without a closed divergence", table("gaussian", { posterior: { kind: "score.other" } })],
  [
    "convolutions and batch normalization",
    {
      input: [5, 4, 2],
      latent: 3,
      encoder: [conv2d(7, 3, { bias: false }), batchNorm({ activation: "relu" })],
      decoder: [dense(40), reshape([5, 4, 2]), conv2d(5, 3, { activation: "silu" })],
      likelihood: "bernoulli",
    },
  ],
  ["a preset for images", presets.image({ size: [9, 10] })],
];
const sizeOf = ({ input }: VaeOptions): number => input.reduce((size, axis) => size * axis, 1);

async function trained(options: VaeOptions, placement = {}): Promise<Vae> {
  const model = vae({ ...options, seed: 5, device: "cpu", ...placement });
  await model.fit(clusteredRows(64, sizeOf(options)), { steps: 8, batchSize: 16 });
  return model;
}

describe.each(models)("%s", (_, options) => {
  const size = sizeOf(options);
  const row = clusteredRows(1, size, 77);

  it("gives a row one score, in any place of any call", async () => {
    await using model = await trained(options);
    for (const samples of [0, 1, 3]) {
      const scores = new Set<number>();
      for (const rows of [1, 2, 3, 7, 16, 33, 100, 513]) {
        const all = clusteredRows(rows, size);
        const places = [...new Set([0, rows >> 1, rows - 1])];
        for (const place of places) all.set(row, place * size);
        const result = await model.score(all, { samples });
        for (const place of places) scores.add(result[place]!);
      }
      expect(scores.size, `${samples} samples`).toBe(1);
      expect(Number.isFinite([...scores][0])).toBe(true);
    }
  });

  it("encodes and reconstructs a row as one, too", async () => {
    await using model = await trained(options);
    const codes = new Set<string>();
    for (const rows of [1, 4, 65, 513]) {
      const all = clusteredRows(rows, size);
      all.set(row, (rows - 1) * size);
      const { mean: center, standardDeviation } = await model.encode(all);
      const reconstruction = await model.reconstruct(all);
      const last = [center, standardDeviation, reconstruction].map((part) => [...part.subarray(part.length - part.length / rows)]);
      codes.add(JSON.stringify(last));
    }
    expect(codes.size).toBe(1);
  });

  it("scores alike on any number of threads, and with draws by their seed alone", async () => {
    const rows = clusteredRows(70, size);
    await using one = await trained(options, { threads: 1 });
    await using two = await trained(options, { threads: 2 });
    expect(await two.score(rows)).toEqual(await one.score(rows));
    expect(await two.score(rows, { samples: 2 })).toEqual(await one.score(rows, { samples: 2 }));
    expect(await one.score(rows, { seed: 9 })).toEqual(await one.score(rows));
    expect(await one.score(rows, { samples: 2, seed: 9 })).not.toEqual(await one.score(rows, { samples: 2 }));
    expect(await one.score(rows, { samples: 2, seed: 5 })).toEqual(await one.score(rows, { samples: 2 }));
  });
});

describe("score", () => {
  const options = table(gaussian({ scale: 0.5 }));
  const rows = clusteredRows(200, 9);

  it("is the negative bound at the posterior's mean, and with many draws the negative ELBO", async () => {
    await using model = await trained(options);
    const { mean: center, standardDeviation } = await model.encode(rows);
    const reconstruction = await model.reconstruct(rows);
    const expected = Array.from({ length: 200 }, (_, index) => {
      const place = (offset: number, width: number) => index * width + offset;
      let total = 0;
      for (let i = 0; i < 9; i++) {
        const distance = (rows[place(i, 9)]! - reconstruction[place(i, 9)]!) / 0.5;
        total += 0.5 * distance ** 2 + Math.log(0.5) + 0.5 * Math.log(2 * Math.PI);
      }
      for (let i = 0; i < 3; i++) {
        const [mu, sigma] = [center[place(i, 3)]!, standardDeviation[place(i, 3)]!];
        total += 0.5 * (mu ** 2 + sigma ** 2 - 1 - 2 * Math.log(sigma));
      }
      return total;
    });
    const scores = await model.score(rows);
    scores.forEach((score, index) => {
      expect(score).toBeCloseTo(expected[index]!, 3);
    });
    const average = (values: Float32Array): number => values.reduce((total, value) => total + value / values.length, 0);
    const drawn = average(await model.score(rows, { samples: 1500 }));
    const elbos = await Promise.all(Array.from({ length: 20 }, async (_, seed) => (await model.evaluate(rows, { seed })).elbo));
    // The draws of all rows go together, so the mean over rows is as uncertain as that of one: 8 nats by draw, 0.2 in all.
    expect(Math.abs(drawn + elbos.reduce((total, elbo) => total + elbo / elbos.length, 0))).toBeLessThan(0.8);
    expect(average(scores)).toBeLessThan(drawn);
  });

  it("of binarized rows is at their probabilities, the mean over binarizations", async () => {
    await using model = await trained(table(bernoulli({ binarize: "stochastic" })));
    await using plain = vae({ ...table(bernoulli()), seed: 5, device: "cpu" });
    await plain.setParameters(await model.parameters());
    const grey = clusteredRows(20, 9).map((value) => Math.min(1, Math.max(0, value)));
    expect(await model.score(grey)).toEqual(await plain.score(grey));
  });

  it("takes a signal, and no more draws than make sense", async () => {
    await using model = await trained(options);
    const reason = new Error("enough");
    await expect(model.score(rows, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const scoring = model.score(rows, { samples: 1e6, signal: controller.signal });
    setTimeout(() => controller.abort(reason), 20); // only fires where the event loop turns
    await expect(scoring).rejects.toBe(reason);
    for (const samples of [2 ** 41, 1e6 + 1, -1, 0.5, Number.NaN]) {
      await expect(model.score(rows, { samples })).rejects.toBeInstanceOf(VaeError);
    }
    await expect(model.score(rows, { signal: {} as AbortSignal })).rejects.toMatchObject({ code: "argument" });
  });
});
