// Likelihoods of models for which log p(x) is known exactly, where the likelihood changes its rows at random.
import assert from "node:assert";
import { describe, expect, it } from "vitest";
import { add, multiply, square } from "../../lib/graph/index.js";
import { bernoulli, defineLikelihood, type Vae, type VaeOptions, vae } from "../../lib/index.js";

const SIZE = 8;
const LOGIT = 3;

/** A decoder that ignores z, and a posterior that is the prior: log p(x) is log p(x|z), whatever the number of draws. */
async function blind(likelihood: VaeOptions["likelihood"]): Promise<Vae> {
  const model = vae({ input: [SIZE], latent: 2, encoder: [], decoder: [], likelihood, device: "cpu" });
  const zeros = [...(await model.parameters())].map(([name, { data }]) => [name, { data: data.fill(0) }] as const);
  const values = new Map(zeros);
  values.get("decoder.head.bias")!.data.fill(LOGIT);
  await model.setParameters(values);
  return model;
}

defineLikelihood("test.blurred", {
  parse: () => ({ kind: "test.blurred" }),
  headShape: (_, input) => input,
  prepare: (_, x, noise) => (noise === undefined ? x : add(x, noise.normal(x.shape))),
  distribution: (_, head) => ({
    family: "test.blurred",
    mean: head!,
    draw: () => assert.fail(),
    logDensity: (x) => multiply(-0.5, square(x)),
  }),
});

describe("the negative log-likelihood of rows that are changed at random", () => {
  // Every 32 draws at 128 rows are a native call of their own: 600 rows and 70 draws are 5 × 3 calls, for rows prepared 512 at a time.
  const rows = 600;

  it.each([
    ["bernoulli with stochastic binarization", bernoulli({ binarize: "stochastic" })],
    ["a user's likelihood with noise", { kind: "test.blurred" }],
  ])("is that of one change, however many draws: %s", async (_, likelihood) => {
    await using model = await blind(likelihood);
    const x = new Float32Array(rows * SIZE).fill(0.5);
    const of = async (importanceSamples: number) => (await model.evaluate(x, { importanceSamples })).negativeLogLikelihood!;
    const one = await of(1);
    for (const draws of [32, 70, 640]) expect(await of(draws)).toBeCloseTo(one, 4);
    // The ELBO of this model is exact as well, and of the very same rows.
    expect((await model.evaluate(x)).elbo).toBeCloseTo(-one, 4);
  });

  it("is the entropy's share of the pixels that are drawn", async () => {
    await using model = await blind(bernoulli({ binarize: "stochastic" }));
    const x = new Float32Array(2000 * SIZE).fill(0.25);
    const { negativeLogLikelihood } = await model.evaluate(x, { importanceSamples: 96 });
    // −E[x l − softplus(l)] with E[x] = ¼; 16,000 pixels leave a standard error of 8 · 3 · 0.43 / √16000 = 0.08.
    const expected = -SIZE * (0.25 * LOGIT - Math.log1p(Math.exp(LOGIT)));
    expect(Math.abs(negativeLogLikelihood! - expected)).toBeLessThan(0.4);
  });

  it("draws the rows of different batches differently, and again with another seed", async () => {
    await using model = await blind(bernoulli({ binarize: "stochastic" }));
    const x = new Float32Array(128 * SIZE).fill(0.5);
    const of = async (data: Float32Array, seed: number) =>
      (await model.evaluate(data, { importanceSamples: 1, seed })).negativeLogLikelihood!;
    const first = await of(x, 1);
    expect(await of(x, 1)).toBe(first);
    expect(await of(x, 2)).not.toBe(first);
    const twice = new Float32Array(2 * x.length).fill(0.5);
    expect(await of(twice, 1)).not.toBeCloseTo(first, 6);
  });

  it("bytes and floats give the same", async () => {
    await using model = await blind(bernoulli({ binarize: "threshold" }));
    const bytes = Uint8Array.from({ length: 150 * SIZE }, (_, index) => (index * 37) % 256);
    const floats = Float32Array.from(bytes, (value) => value / 255);
    const [a, b] = await Promise.all([bytes, floats].map((data) => model.evaluate(data, { importanceSamples: 40 })));
    expect(a!.negativeLogLikelihood).toBeCloseTo(b!.negativeLogLikelihood!, 5);
    const ones = bytes.reduce((count, value) => count + (value / 255 >= 0.5 ? 1 : 0), 0) / 150;
    expect(a!.negativeLogLikelihood).toBeCloseTo(SIZE * Math.log1p(Math.exp(LOGIT)) - ones * LOGIT, 3);
  });
});
