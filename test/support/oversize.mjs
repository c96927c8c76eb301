// Models and calls that no small container can hold, in a process of their own: each must end with an error of the library, or
// work. Run as `node oversize.mjs <folder of the library> <scratch folder>`; prints a line of JSON for every program.
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [library, scratch] = process.argv.slice(2);
const { conv1d, conv2d, convTranspose2d, datasets, dense, load, presets, sgd, vae } = await import(
  pathToFileURL(join(library, "index.js")).href
);
const ops = await import(pathToFileURL(join(library, "ops", "index.js")).href);

const SIZE = 64;
const rows = new Float32Array(8 * SIZE).map((_, i) => (i % 7) / 7);
const one = rows.subarray(0, SIZE);
const place = { device: "cpu", threads: 1 };
const table = (options = {}) =>
  vae({ input: [SIZE], latent: 2, encoder: [dense(8)], decoder: [dense(8)], likelihood: "gaussian", ...place, ...options });
const picture = (side, filters, options = {}) => vae({ ...presets.image({ size: [side, side, 3], filters, ...options }), ...place });
const bytes = (side, count = 1) => new Uint8Array(side * side * 3 * count).map((_, i) => i % 256);
const wide = (units) => table({ encoder: [dense(units)], decoder: [dense(units)] });

/** By name: a call, and the model that must still work behind it. */
const programs = {};
const add = (name, model, call) => {
  programs[name] = async () => {
    const made = model();
    try {
      await call(made);
    } catch (error) {
      // What was refused has spoiled nothing: less of the same works.
      if (made.again !== false && made.fit) await made.fit(rows, { steps: 1, batchSize: 4 });
      throw error;
    } finally {
      made.dispose?.();
    }
  };
};
const oversized = (make) => () => Object.assign(make(), { again: false });

for (const units of [2 ** 22, 2 ** 23, 2 ** 24, 2 ** 25, 2 ** 26, 2 ** 31, 2 ** 40]) {
  add(
    `fit dense(${units})`,
    oversized(() => wide(units)),
    (model) => model.fit(rows, { steps: 1 }),
  );
}
for (const verb of ["encode", "reconstruct", "score", "evaluate"]) {
  add(
    `${verb} dense(2^25)`,
    oversized(() => wide(2 ** 25)),
    (model) => model[verb](rows),
  );
}
add(
  "sample dense(2^25)",
  oversized(() => wide(2 ** 25)),
  (model) => model.sample(3),
);
add(
  "save dense(2^25)",
  oversized(() => wide(2 ** 25)),
  (model) => model.save(join(scratch, "never.vae")),
);
for (const latent of [2 ** 22, 2 ** 24, 2 ** 30]) {
  add(
    `fit latent ${latent}`,
    oversized(() => table({ latent, encoder: [dense(64)], decoder: [dense(64)] })),
    (model) => model.fit(rows, { steps: 1 }),
  );
}
for (const batchSize of [2 ** 22, 2 ** 23, 2 ** 24]) {
  add(
    `fit batchSize ${batchSize}`,
    () => table({ encoder: [dense(512)], decoder: [dense(512)] }),
    (model) => model.fit(rows, { steps: 1, batchSize }),
  );
}
add("fit batchSize with sgd", table, (model) => model.fit(rows, { steps: 1, batchSize: 2 ** 24, optimizer: sgd({ learningRate: 0.1 }) }));
add("train batchSize", table, async (model) => {
  for await (const _ of model.train(rows, { steps: 1, batchSize: 2 ** 24 })) break;
});
for (const [side, batchSize] of [
  [256, 1024],
  [512, 512],
  [1024, 128],
]) {
  add(
    `fit images of ${side}, batches of ${batchSize}`,
    oversized(() => picture(side, [64, 128])),
    (model) => model.fit(bytes(side), { steps: 1, batchSize }),
  );
}
add(
  "fit images, filters beyond reason",
  oversized(() => picture(64, [2 ** 14, 2 ** 15])),
  (model) => model.fit(bytes(64), { steps: 1 }),
);
add(
  "fit a large kernel",
  oversized(() =>
    vae({ input: [64, 64, 1], latent: 2, encoder: [conv2d(4096, 63)], decoder: [dense(8)], likelihood: "bernoulli", ...place }),
  ),
  (model) => model.fit(new Uint8Array(4096), { steps: 1 }),
);
add(
  "fit a sequence",
  oversized(() =>
    vae({ input: [2 ** 20, 1], latent: 2, encoder: [conv1d(2048, 3)], decoder: [dense(8)], likelihood: "gaussian", ...place }),
  ),
  (model) => model.fit(new Float32Array(2 ** 20), { steps: 1 }),
);
add(
  "fit a transposed stride",
  oversized(() =>
    vae({
      input: [1024, 1024, 1],
      latent: 4,
      encoder: [dense(4)],
      decoder: [dense(64 * 64 * 64), { kind: "reshape", shape: [64, 64, 64] }, convTranspose2d(512, 3, { stride: 16 }), conv2d(1, 3)],
      likelihood: "gaussian",
      ...place,
    }),
  ),
  (model) => model.fit(new Float32Array(2 ** 20), { steps: 1 }),
);
add(
  "encode large images",
  oversized(() => picture(4096, [256, 512])),
  (model) => model.encode(new Uint8Array(4096 * 4096 * 3 * 2)),
);
for (const count of [2 ** 26, 2 ** 31, 2 ** 40, 2 ** 52]) add(`sample(${count})`, table, (model) => model.sample(count));
for (const steps of [2 ** 26, 1e9, 1e12]) add(`interpolate ${steps}`, table, (model) => model.interpolate(one, one, steps));
add("interpolate on a sphere", table, (model) => model.interpolate(one, one, 1e9, { spherical: true }));
add(
  "decode",
  oversized(() => table({ decoder: [dense(2 ** 26)] })),
  (model) => model.decode(new Float32Array(2 ** 10)),
);
add("evaluate with draws without end", table, (model) =>
  model.evaluate(rows, { importanceSamples: Number.MAX_SAFE_INTEGER, signal: AbortSignal.timeout(20) }),
);
add(
  "evaluate with draws for images",
  oversized(() => picture(512, [64])),
  (model) => model.evaluate(bytes(512), { importanceSamples: 4096 }),
);
add(
  "load",
  () => ({}),
  async () => {
    const path = join(scratch, "large.vae");
    await writeFile(path, "");
    await truncate(path, 40e9); // nothing of it is on the disk
    return load(path, place);
  },
);
add(
  "datasets.npy",
  () => ({}),
  () => datasets.npy(join(scratch, "large.vae")),
);
add("rows beyond reason", table, (model) => model.encode([new Float32Array(SIZE), { length: 2 ** 40 }]));
const shapes = [[2 ** 33], [2 ** 20, 2 ** 14], [2 ** 40]];
for (const shape of shapes)
  add(
    `ops.uniform [${shape}]`,
    () => ({}),
    () => ops.uniform(shape),
  );
add(
  "ops.add that broadcasts",
  () => ({}),
  () => {
    const line = new Float32Array(2 ** 18);
    return ops.add({ data: line, shape: [2 ** 18, 1] }, { data: line, shape: [1, 2 ** 18] });
  },
);
add(
  "ops.matmul",
  () => ({}),
  () => {
    const line = new Float32Array(2 ** 18);
    return ops.matmul({ data: line, shape: [2 ** 18, 1] }, { data: line, shape: [1, 2 ** 18] });
  },
);
add(
  "ops.oneHot",
  () => ({}),
  () => ops.oneHot({ data: new Int32Array(2 ** 22), shape: [2 ** 22] }, 2 ** 12),
);
add(
  "ops.broadcastTo",
  () => ({}),
  () => ops.broadcastTo({ data: new Float32Array(1), shape: [1] }, [2 ** 34]),
);

for (const [name, program] of Object.entries(programs)) {
  const begin = performance.now();
  const outcome = await program().then(
    () => ({ code: "works" }),
    (error) => ({ type: error.name, code: error.code, message: error.message }),
  );
  console.log(JSON.stringify({ name, milliseconds: Math.round(performance.now() - begin), ...outcome }));
}
