// Calls that would never end, and what a model is worth after one that did not fit; and that estimates are what is really used.
import { expect, test } from "vitest";
import { conv2d, dense, presets, sgd, type Vae, type VaeError, vae } from "../../lib/index.js";
import { availableMemory, leastLimit, reserveMemory } from "../../lib/runtime/memory.js";

const SIZE = 16;
const rows = new Float32Array(4 * SIZE).map((_, i) => (i % 7) / 7);
const [a, b] = [rows.subarray(0, SIZE), rows.subarray(SIZE, 2 * SIZE)];

function model(latent = 2): Vae {
  return vae({
    input: [SIZE],
    latent,
    encoder: [dense(8)],
    decoder: [dense(8)],
    likelihood: "gaussian",
    device: "cpu",
    threads: 1,
    seed: 3,
  });
}

type LongCall = (one: Vae, signal?: AbortSignal) => Promise<unknown>;
const optional = (signal?: AbortSignal) => (signal === undefined ? {} : { signal });
const many = new Float32Array(2 ** 22).map((_, i) => (i % 5) / 5);
const long: readonly (readonly [string, LongCall])[] = [
  ["encode", (one, signal) => one.encode(many, optional(signal))],
  ["reconstruct", (one, signal) => one.reconstruct(many, optional(signal))],
  ["decode", (one, signal) => one.decode(many, optional(signal))],
  ["sample", (one, signal) => one.sample(2 ** 21, optional(signal))],
  ["interpolate", (one, signal) => one.interpolate(a, b, 2 ** 21, optional(signal))],
  ["evaluate", (one, signal) => one.evaluate(rows, { importanceSamples: 1e12, ...optional(signal) })],
];

test.each(long)("%s ends at its signal, and with its model", async (_, call) => {
  await using one = model();
  await one.encode(a);
  await expect(call(one, AbortSignal.abort("at once"))).rejects.toBe("at once");
  const controller = new AbortController();
  const stopped = call(one, controller.signal);
  setTimeout(() => controller.abort("enough"), 10);
  await expect(stopped).rejects.toBe("enough");
  expect((await one.sample(2)).length).toBe(2 * SIZE);
  const cut = call(one);
  setTimeout(() => one.dispose(), 10);
  await expect(cut).rejects.toMatchObject({ code: "disposed" });
});

test("a signal that is none, and unknown options, are refused", async () => {
  await using one = model();
  await expect(one.encode(a, { signal: 5 } as never)).rejects.toMatchObject({ code: "argument" });
  await expect(one.decode(a, { steps: 5 } as never)).rejects.toMatchObject({ code: "argument" });
});

test("an interpolation of many steps leaves the event loop free", async () => {
  await using one = model();
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await one.interpolate(a, b, 2e5);
  clearInterval(timer);
  expect(ticks).toBeGreaterThan(5);
});

test("a great circle through 200,000 latents", async () => {
  await using one = vae({ input: [4], latent: 200_000, encoder: [], decoder: [], likelihood: "gaussian", device: "cpu", threads: 1 });
  const path = await one.interpolate(new Float32Array(4), new Float32Array(4).fill(1), 3, { spherical: true });
  expect(path.length).toBe(12);
  expect(path.every(Number.isFinite)).toBe(true);
});

/** Runs a call while other memory than so many bytes is spoken for. */
async function withLittleMemory<T>(bytes: number, call: () => Promise<T>): Promise<T> {
  const release = reserveMemory("test", { "of everything else": leastLimit(availableMemory()).bytes - bytes }, "none");
  try {
    return await call();
  } finally {
    release();
  }
}

test("a model that was refused too large a batch keeps weights, optimizer and step", async () => {
  await using one = model();
  await using other = model();
  for (const each of [one, other]) await each.fit(rows, { steps: 2, batchSize: 4 });
  const refused = withLittleMemory(2 ** 24, () =>
    one.fit(rows, { steps: 1, batchSize: 2 ** 20, optimizer: sgd({ learningRate: 0.1, momentum: 0.9 }) }),
  );
  await expect(refused).rejects.toMatchObject({ code: "memory", operation: "fit", hint: expect.stringContaining("a smaller batchSize") });
  await expect(one.fit(rows, { steps: 1, batchSize: 2 ** 40 })).rejects.toMatchObject({ code: "argument" });
  for (const each of [one, other]) await each.fit(rows, { steps: 2, batchSize: 4 });
  expect(await one.parameters()).toEqual(await other.parameters());
});

test("a model that was refused its weights takes them when there is room", async () => {
  await using one = vae({
    input: [SIZE],
    latent: 2,
    encoder: [dense(40_000)],
    decoder: [dense(8)],
    likelihood: "gaussian",
    device: "cpu",
    threads: 1,
  });
  await expect(withLittleMemory(2 ** 20, () => one.encode(rows))).rejects.toMatchObject({ code: "memory" });
  expect(one.memory()).toMatchObject({ parameters: 0, sessions: 0 });
  expect((await one.encode(rows)).mean.length).toBe(8);
});

test("what a training is said to need is what it takes", async () => {
  const width = 4000;
  const data = new Float32Array(64 * width).map((_, i) => (i % 5) / 5);
  await using one = vae({
    input: [width],
    latent: 8,
    encoder: [dense(1000)],
    decoder: [dense(1000)],
    likelihood: "gaussian",
    device: "cpu",
    threads: 1,
  });
  const options = { steps: 2, batchSize: 512 };
  const error: VaeError = await withLittleMemory(2 ** 21, () => one.fit(data, options)).catch((reason) => reason);
  const said = Number(/needs (\d+) MB: /.exec(error.message)?.[1]) * 1e6;
  await model().fit(rows, { steps: 1 }); // what the first training in a process costs
  const before = process.memoryUsage.rss();
  let peak = 0;
  await one.fit(data, {
    ...options,
    onProgress: () => {
      peak = Math.max(peak, process.memoryUsage.rss() - before);
    },
  });
  expect(said).toBeGreaterThan(200e6);
  expect(peak / said).toBeGreaterThan(0.8);
  expect(peak / said).toBeLessThan(1.2);
});

test("presets with usual batches are not refused", async () => {
  const image = presets.image({ size: [32, 32, 3], filters: [16, 32] });
  await using one = vae({ ...image, device: "cpu", threads: 2 });
  await one.fit(
    new Uint8Array(32 * 32 * 3 * 8).map((_, i) => i % 256),
    { steps: 1, batchSize: 32 },
  );
  await using two = vae({
    input: [8, 8, 1],
    latent: 2,
    encoder: [conv2d(4, 3)],
    decoder: [dense(4)],
    likelihood: "gaussian",
    device: "cpu",
  });
  expect((await two.encode(new Float32Array(64))).mean.length).toBe(2);
});
