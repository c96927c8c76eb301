import { describe, expect, it } from "vitest";
import { dense, gaussian, reshape, type Vae, VaeError, type VaeOptions, vae } from "../../lib/index.js";
import { clusteredRows } from "../support/data.js";

const SIZE = 8;
const rows = clusteredRows(96, SIZE);
const options: VaeOptions = {
  input: [4, 2],
  latent: 2,
  encoder: [dense(16, { activation: "relu" })],
  decoder: [dense(16, { activation: "tanh" }), dense(8), reshape([4, 2])],
  likelihood: "bernoulli",
};
const model = (change: Partial<VaeOptions> = {}): Vae => vae({ ...options, ...change, device: "cpu" });

/** z ~ N(0, 1), x = w z + b + σε: everything about it is known in closed form. */
const linear = { w: [0.8, -0.6], b: [0.1, 0.4], sigma: 0.5 };

async function linearModel(shift = 0, spread = 0): Promise<Vae> {
  const { w, b, sigma } = linear;
  const made = model({ input: [2], latent: 1, encoder: [], decoder: [], likelihood: gaussian({ scale: sigma }) });
  // The exact posterior is N(s · wᵀ(x − b)/σ², s) with s = 1 / (1 + wᵀw/σ²).
  const s = 1 / (1 + (w[0]! ** 2 + w[1]! ** 2) / sigma ** 2);
  const gain = w.map((value) => (s * value) / sigma ** 2);
  const offset = -(gain[0]! * b[0]! + gain[1]! * b[1]!);
  await made.setParameters(
    new Map([
      ["encoder.head.weight", { data: Float32Array.of(gain[0]!, 0, gain[1]!, 0) }],
      ["encoder.head.bias", { data: Float32Array.of(offset + shift, Math.log(s) + spread) }],
      ["decoder.head.weight", { data: Float32Array.from(w) }],
      ["decoder.head.bias", { data: Float32Array.from(b) }],
    ]),
  );
  return made;
}

/** log N(x; b, w wᵀ + σ² I). */
function exactLogLikelihood(x: Float32Array): number {
  const { w, b, sigma } = linear;
  const [d0, d1] = [x[0]! - b[0]!, x[1]! - b[1]!];
  const [c00, c01, c11] = [w[0]! ** 2 + sigma ** 2, w[0]! * w[1]!, w[1]! ** 2 + sigma ** 2];
  const determinant = c00 * c11 - c01 ** 2;
  return -Math.log(2 * Math.PI) - 0.5 * Math.log(determinant) - (0.5 * (c11 * d0 ** 2 - 2 * c01 * d0 * d1 + c00 * d1 ** 2)) / determinant;
}

const points = Float32Array.from({ length: 2 * 300 }, (_, index) => Math.sin(index * 12.9898) * 1.5);
const exact = Array.from({ length: 300 }, (_, row) => exactLogLikelihood(points.subarray(2 * row, 2 * row + 2)));
const exactMean = exact.reduce((total, value) => total + value, 0) / exact.length;

describe("inference", () => {
  it("gives arrays laid out like the data, whatever the number of rows", async () => {
    await using one = model();
    const all = await one.encode(rows);
    expect([all.mean.length, all.standardDeviation.length]).toEqual([96 * 2, 96 * 2]);
    expect(all.standardDeviation.every((value) => value > 0)).toBe(true);
    const few = await one.encode(rows.subarray(0, 3 * SIZE));
    few.mean.forEach((value, index) => {
      expect(value).toBeCloseTo(all.mean[index]!, 5);
    });
    const reconstruction = await one.reconstruct(rows);
    expect(reconstruction.length).toBe(rows.length);
    expect(reconstruction.every((value) => value > 0 && value < 1)).toBe(true);
    const decoded = await one.decode(all.mean);
    decoded.forEach((value, index) => {
      expect(value).toBeCloseTo(reconstruction[index]!, 5);
    });
    expect(await one.decode([[0, 0], Float32Array.of(1, -1)])).toHaveLength(2 * SIZE);
  });

  it("takes bytes as values / 255, and more rows than a batch", async () => {
    await using one = model();
    const bytes = Uint8Array.from({ length: 700 * SIZE }, (_, index) => (index * 37) % 256);
    const [fromBytes, fromFloats] = await Promise.all([one.encode(bytes), one.encode(Float32Array.from(bytes, (value) => value / 255))]);
    expect(fromBytes.mean.length).toBe(1400);
    fromBytes.mean.forEach((value, index) => {
      expect(value).toBeCloseTo(fromFloats.mean[index]!, 4);
    });
  });

  it("samples: repeatable with a seed, new ones without, the prior's mean at temperature 0", async () => {
    await using one = model();
    const first = await one.sample(5, { seed: 3 });
    expect(first.length).toBe(5 * SIZE);
    expect(await one.sample(5, { seed: 3 })).toEqual(first);
    expect(await one.sample(5, { seed: 4 })).not.toEqual(first);
    expect(await one.sample(5)).not.toEqual(await one.sample(5));
    const cold = await one.sample(2, { temperature: 0 });
    const origin = await one.decode([[0, 0]]);
    cold.forEach((value, index) => {
      expect(value).toBeCloseTo(origin[index % SIZE]!, 6);
    });
    expect(await one.sample(600)).toHaveLength(600 * SIZE);
  });

  it("interpolates from one reconstruction to the other", async () => {
    await using one = model();
    const [a, b] = [rows.subarray(0, SIZE), rows.subarray(SIZE, 2 * SIZE)];
    const ends = await one.reconstruct(rows.subarray(0, 2 * SIZE));
    for (const spherical of [false, true]) {
      const path = await one.interpolate(a, b, 5, { spherical });
      expect(path.length).toBe(5 * SIZE);
      path.subarray(0, SIZE).forEach((value, index) => {
        expect(value).toBeCloseTo(ends[index]!, 5);
      });
      path.subarray(4 * SIZE).forEach((value, index) => {
        expect(value).toBeCloseTo(ends[SIZE + index]!, 5);
      });
    }
  });

  it.each<[string, (one: Vae) => Promise<unknown>, string]>([
    ["latents of the wrong length", (one) => one.decode([[1, 2, 3]]), "shape"],
    ["latents that do not divide", (one) => one.decode(new Float32Array(3)), "shape"],
    ["no latents", (one) => one.decode(new Float32Array(0)), "shape"],
    ["negative samples", (one) => one.sample(-1), "argument"],
    ["fractional samples", (one) => one.sample(1.5), "argument"],
    ["two rows at an end", (one) => one.interpolate(rows.subarray(0, 16), rows.subarray(0, 8)), "shape"],
    ["rows of the wrong length", (one) => one.encode(rows.subarray(0, 9)), "shape"],
    ["doubles", (one) => one.encode(new Float64Array(8) as unknown as Float32Array), "dtype"],
    ["NaN to evaluate", (one) => one.evaluate(new Float32Array(8).fill(Number.NaN)), "data"],
    ["negative importance samples", (one) => one.evaluate(rows, { importanceSamples: -1 }), "argument"],
    ["weights that are not finite", async (one) => one.setParameters(await poisoned(one)), "data"],
  ])("refuses %s", async (_, call, code) => {
    await using one = model();
    const error = await call(one).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(VaeError);
    expect((error as VaeError).code).toBe(code);
  });
});

async function poisoned(one: Vae): Promise<Map<string, { data: Float32Array }>> {
  const values = await one.parameters();
  values.get("encoder.0.bias")!.data[3] = Number.NaN;
  return values;
}

describe("evaluate", () => {
  it("the ELBO of a linear-Gaussian model with the exact posterior is log p(x)", async () => {
    await using one = await linearModel();
    // log p(x|z) + log p(z) − log q(z|x) is log p(x) at every z; with the closed KL it is so on average.
    const { elbo, reconstruction, kl, klPerDimension, activeUnits, rows: count } = await one.evaluate(points);
    expect(count).toBe(300);
    expect(elbo).toBeCloseTo(reconstruction - kl, 10);
    expect([...klPerDimension]).toEqual([kl]);
    expect(activeUnits).toBe(1);
    expect(Math.abs(elbo - exactMean)).toBeLessThan(0.1);
  });

  it("importance sampling finds log p(x) where the posterior is only near", async () => {
    await using one = await linearModel(0.1, 0.4);
    const { elbo, negativeLogLikelihood } = await one.evaluate(points, { importanceSamples: 500 });
    expect(Math.abs(-negativeLogLikelihood! - exactMean)).toBeLessThan(0.01);
    expect(elbo).toBeLessThan(exactMean - 0.02);
    // A number of draws that no native call divides evenly.
    const odd = await one.evaluate(points.subarray(0, 20), { importanceSamples: 333 });
    const exactOdd = exact.slice(0, 10).reduce((total, value) => total + value, 0) / 10;
    expect(Math.abs(-odd.negativeLogLikelihood! - exactOdd)).toBeLessThan(0.03);
  });

  it("with the exact posterior one importance sample is exact for every row", async () => {
    await using one = await linearModel();
    const { negativeLogLikelihood } = await one.evaluate(points, { importanceSamples: 1 });
    expect(-negativeLogLikelihood!).toBeCloseTo(exactMean, 4);
  });

  it("repeats itself with a seed and hears an abort", async () => {
    await using one = await linearModel();
    const first = await one.evaluate(points, { seed: 7 });
    expect(await one.evaluate(points, { seed: 7 })).toEqual(first);
    expect((await one.evaluate(points, { seed: 8 })).elbo).not.toBe(first.elbo);
    const reason = new Error("enough");
    await expect(one.evaluate(points, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  it("scores rows by their negative ELBO, so that strange ones stand out", async () => {
    await using one = await linearModel();
    const scores = await one.score(points, { samples: 30 });
    expect(scores.length).toBe(300);
    scores.forEach((score, row) => {
      expect(Math.abs(score + exact[row]!)).toBeLessThan(1.5);
    });
    const [usual, strange] = await one.score(Float32Array.of(0.1, 0.4, 5, 5));
    expect(strange).toBeGreaterThan(usual! + 10);
  });

  it("counts only dimensions that the data move", async () => {
    await using one = model();
    const values = await one.parameters();
    // Four heads: two means and two log-variances. The first mean is cut off from the data.
    const head = values.get("encoder.head.weight")!.data;
    for (let index = 0; index < head.length; index++) head[index] = index % 4 === 0 ? 0 : head[index]! * 3;
    await one.setParameters(values);
    expect((await one.evaluate(rows)).activeUnits).toBe(1);
  });
});

describe("a model's description", () => {
  it("prints a summary and counts its memory", async () => {
    await using one = model();
    expect(one.summary()).toMatch(/encoder\.0 +dense +4 × 2 +16 +144/);
    expect(one.summary().split("\n").at(-1)).toMatch(/^total +396$/);
    await one.fit(rows, { steps: 1 });
    await one.encode(rows);
    const { parameters, optimizer, data, sessions } = one.memory();
    expect([parameters, optimizer, data]).toEqual([4 * 396, 8 * 396, 0]);
    expect(sessions).toBeGreaterThan(0);
  });

  it("changing the number of threads keeps weights and state", async () => {
    await using one = model();
    await using two = model();
    await one.fit(rows, { steps: 3, threads: 1 });
    await one.fit(rows, { steps: 3, threads: 2 });
    await two.fit(rows, { steps: 6 });
    expect(await one.parameters()).toEqual(await two.parameters());
  });
});
