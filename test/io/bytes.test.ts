// What bytes stand for: arrays of zeros and ones say nothing about it, so the caller does.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterAll, describe, expect, test } from "vitest";
import {
  adam,
  bernoulli,
  concatenateDatasets,
  type Dataset,
  datasets,
  dense,
  load,
  split,
  subset,
  type Vae,
  vae,
} from "../../lib/index.js";
import { failure, temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();
const SIZE = 16;
const ROWS = 32;
/** Stripes of zeros and ones. */
const masks = Uint8Array.from({ length: ROWS * SIZE }, (_, index) => (((index % SIZE) + Math.floor(index / SIZE)) % 4 < 2 ? 1 : 0));
const grey = masks.map((value) => value * 200);
const dark = masks.subarray(0, SIZE);

const models: Vae[] = [];
afterAll(() => {
  for (const model of models) model.dispose();
});
function network(): Vae {
  const layers = [dense(16, { activation: "relu" as const })];
  const model = vae({
    input: [SIZE],
    latent: 2,
    encoder: layers,
    decoder: layers,
    likelihood: bernoulli(),
    seed: 1,
    device: "cpu",
    threads: 1,
  });
  models.push(model);
  return model;
}

function npy(name: string, descr = "|u1"): Buffer {
  const header = `${`{'descr': '${descr}', 'fortran_order': False, 'shape': (${ROWS}, ${SIZE}), }`.padEnd(117)}\n`;
  const bytes = Buffer.concat([Buffer.from("\x93NUMPY\x01\x00\x76\x00", "latin1"), Buffer.from(header), masks]);
  writeFileSync(join(folder, name), bytes);
  return bytes;
}
const npyPath = join(folder, "masks.npy");
const npzPath = join(folder, "masks.npz");
const idxPath = join(folder, "masks.idx");
writeFileSync(npzPath, zipSync({ "imgs.npy": npy("masks.npy") }));
writeFileSync(idxPath, Buffer.concat([Buffer.from([0, 0, 8, 2, 0, 0, 0, ROWS, 0, 0, 0, SIZE]), masks]));

describe("loaders", () => {
  test.each([
    ["npy", datasets.npy, npyPath],
    ["npz", datasets.npz, npzPath],
    ["idx", datasets.idx, idxPath],
  ])("%s refuses bytes of 0 and 1 until it is told, and records what it was told", async (name, read, path) => {
    const error = await failure("data", () => read(path));
    expect(error.message).toMatch(new RegExp(`^datasets.${name}: the bytes of .*masks.* are all 0 and 1`));
    expect(error.hint).toMatch(/bytes: "raw".*bytes: "scaled"/);
    expect(await read(path, { bytes: "raw" })).toMatchObject({ data: Float32Array.from(masks), bytes: "raw", rows: ROWS });
    expect(await read(path, { bytes: "scaled" })).toMatchObject({ data: masks, bytes: "scaled" });
    await failure("argument", () => read(path, { bytes: "grey" } as object));
  });

  test("other element types stand for themselves, and black rows are no question", async () => {
    npy("truth.npy", "|b1");
    expect((await datasets.npy(join(folder, "truth.npy"))).data).toEqual(Float32Array.from(masks));
    expect(datasets.from(new Uint8Array(SIZE), [SIZE])).toMatchObject({ bytes: "scaled" });
  });

  test("MNIST may be had raw", async () => {
    const { data, bytes } = await datasets.mnist({ train: false, bytes: "raw" });
    expect(bytes).toBe("raw");
    expect(data).toBeInstanceOf(Float32Array);
    expect(Math.max(...data.subarray(0, 784))).toBe(255);
  });
});

describe("datasets.from", () => {
  test("asks too, whatever holds the bytes", async () => {
    async function* stream() {
      yield masks;
    }
    const rows = [dark, dark];
    for (const source of [masks, rows, [masks].values(), stream(), { data: masks, rows: ROWS, shape: [SIZE], name: "mine" }]) {
      expect((await failure("data", () => datasets.from(source, [SIZE]))).hint).toMatch(
        /datasets\.from\(rows, shape, \{ bytes: "raw" \}\)/,
      );
    }
    expect(await datasets.from(stream(), [SIZE], { bytes: "raw" })).toMatchObject({ data: Float32Array.from(masks), bytes: "raw" });
    expect(datasets.from(masks, [SIZE], { bytes: "scaled" })).toMatchObject({ data: masks, bytes: "scaled" });
    expect(datasets.from(grey, [SIZE])).toMatchObject({ data: grey, bytes: "scaled" });
    expect(datasets.from(Float32Array.from(masks), [SIZE], { bytes: "scaled" }).data).toEqual(Float32Array.from(masks));
    await failure("argument", () => datasets.from(masks, [SIZE], { byte: "raw" } as object));
  });

  test("parts of a data set keep what is known", async () => {
    const scaled = datasets.from(grey, [SIZE]);
    expect(subset(scaled, [0]).bytes).toBe("scaled");
    expect(split(scaled, { fraction: 0.5 }).map(({ bytes }) => bytes)).toEqual(["scaled", "scaled"]);
    const unsaid: Dataset = { data: masks, rows: ROWS, shape: [SIZE], name: "unsaid" };
    expect(concatenateDatasets([unsaid, scaled])).toMatchObject({ bytes: "scaled", rows: 2 * ROWS });
    expect((await failure("dtype", () => concatenateDatasets([scaled, { ...unsaid, bytes: "raw" }]))).message).toMatch(
      /stand for themselves/,
    );
    await failure("argument", () => subset({ ...unsaid, bytes: "half" as "raw" }, [0]));
  });
});

describe("a model", () => {
  test("is not trained on bytes of unknown meaning, and stays usable", async () => {
    const model = network();
    const options = { steps: 2, batchSize: 8 };
    expect((await failure("data", () => model.fit(masks, options))).message).toMatch(/^fit: the bytes of Uint8Array are all 0 and 1/);
    await failure("data", () => model.fit([masks].values(), options));
    await failure("data", () => model.fit({ data: masks, rows: ROWS, shape: [SIZE], name: "mine" }, options));
    await failure("data", async () => {
      for await (const step of model.train(masks, { steps: 1 })) expect(step).toBeDefined();
    });
    await failure("data", () => model.fit(Float32Array.from(masks), { ...options, validation: masks }));
    // It does not know bytes yet, so rows of them have no meaning for it.
    for (const call of [
      model.encode(masks),
      model.reconstruct(dark),
      model.score(masks),
      model.evaluate(masks),
      model.interpolate(dark, dark),
    ]) {
      await failure("data", () => call);
    }
    await model.fit(datasets.from(masks, [SIZE], { bytes: "raw" }), options);
    await failure("data", () => model.encode(dark));
    expect((await model.encode(datasets.from(dark, [SIZE], { bytes: "raw" }))).mean).toHaveLength(2);
  });

  test("learns that raw ones are ones", async () => {
    const model = network();
    const raw: Dataset = { data: masks, rows: ROWS, shape: [SIZE], name: "mine", bytes: "raw" };
    await model.fit(raw, { steps: 400, batchSize: 16, optimizer: adam({ learningRate: 1e-2 }) });
    const means = await model.reconstruct(raw);
    expect(Math.max(...means)).toBeGreaterThan(0.9);
    expect(await model.reconstruct(Float32Array.from(masks))).toEqual(means);
  });

  test("that was trained on bytes takes dark images, also when it was saved and loaded", async () => {
    const model = network();
    await model.fit(grey, { steps: 2, batchSize: 8, validation: dark });
    const { mean } = await model.encode(dark);
    expect(await model.score(dark)).toHaveLength(1);
    const path = join(folder, "grey.vae");
    await model.save(path);
    const again = await load(path, { device: "cpu", threads: 1 });
    models.push(again);
    expect((await again.encode(dark)).mean).toEqual(mean);
    // Declared rows are what they are declared to be.
    expect((await model.encode(datasets.from(dark, [SIZE], { bytes: "scaled" }))).mean).toEqual(mean);
    expect((await model.encode({ data: dark, rows: 1, shape: [SIZE], name: "raw", bytes: "raw" })).mean).not.toEqual(mean);
    await failure("data", () => model.fit(masks, { steps: 1 }));
  });
});
