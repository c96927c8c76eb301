// A run is a function of its configuration: whatever the threads, however often it is saved and loaded on the way.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { adam, dense, load, type PlacementOptions, type Vae, vae } from "../../lib/index.js";
import { loadAddon } from "../../lib/runtime/native.js";
import { clusteredRows } from "../support/data.js";

const SIZE = 784;
const images = Uint8Array.from(clusteredRows(700, SIZE, 10), (value) => Math.round(255 * value));
const training = { batchSize: 128, optimizer: adam({ learningRate: 1e-3 }) };
const make = (placement: PlacementOptions = {}): Vae =>
  vae({
    input: [28, 28, 1],
    latent: 20,
    encoder: [dense(400, { activation: "relu" })],
    decoder: [dense(400, { activation: "relu" })],
    likelihood: "bernoulli",
    seed: 7,
    device: "cpu",
    ...placement,
  });

async function weightsAfter(steps: number, placement: PlacementOptions = {}): Promise<Map<string, Float32Array>> {
  await using model = make(placement);
  await model.fit(images, { ...training, steps });
  return await weightsOf(model);
}

async function weightsOf(model: Vae): Promise<Map<string, Float32Array>> {
  return new Map([...(await model.parameters())].map(([name, { data }]) => [name, data]));
}

/** Names of the weights that are not bit for bit the same. */
function differing(a: ReadonlyMap<string, Float32Array>, b: ReadonlyMap<string, Float32Array>): string[] {
  const bytes = (values: Float32Array): Buffer => Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return [...a.keys()].filter((name) => bytes(a.get(name)!).compare(bytes(b.get(name)!)) !== 0);
}

describe("200 steps of a dense VAE", () => {
  it("are bit for bit the same with one thread, two threads, and saved and loaded half-way", async () => {
    const folder = await mkdtemp(join(tmpdir(), "node-vae-"));
    try {
      const one = await weightsAfter(200, { threads: 1 });
      expect(differing(one, await weightsAfter(200, { threads: 2 }))).toEqual([]);
      const path = join(folder, "half.vae");
      await using half = make({ threads: 2 });
      await half.fit(images, { ...training, steps: 100 });
      await half.save(path);
      await using resumed = await load(path, { device: "cpu", threads: 1 });
      await resumed.fit(images, { batchSize: 128, steps: 100 });
      expect(resumed.training).toEqual({ ...half.training, step: 200 });
      expect(differing(one, await weightsOf(resumed))).toEqual([]);
      // The comparison would notice: one more step changes every weight tensor.
      await resumed.fit(images, { batchSize: 128, steps: 1 });
      expect(differing(one, await weightsOf(resumed)).length).toBe(one.size);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("agree between instruction tiers to rounding", async () => {
    const { tiers } = loadAddon().info();
    const [first, ...others] = await Promise.all(tiers.map((tier) => weightsAfter(30, { tier })));
    for (const [index, other] of others.entries()) {
      for (const [name, values] of first!) {
        // Adam's steps are about 1e-3 each, so 1e-4 after 30 is a few thousandths of the way.
        const worst = values.reduce((most, value, i) => Math.max(most, Math.abs(value - other.get(name)![i]!)), 0);
        expect(worst, `${name}: ${tiers[0]} and ${tiers[index + 1]}`).toBeLessThan(1e-3);
      }
    }
  });
});
