// What models leave behind in their process. A file of its own: a process of its own.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { dense, vae } from "../../lib/index.js";

const sleep = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));

const rows = new Uint8Array(256 * 784).map((_, i) => (i * 31) % 256);

async function useModel(width: number): Promise<void> {
  const layers = [dense(width, { activation: "relu" })];
  const model = vae({ input: [784], latent: 20, encoder: layers, decoder: layers, likelihood: "bernoulli", device: "cpu", threads: 2 });
  await model.fit(rows, { steps: 1 });
  await model.encode(rows);
  model.dispose();
}

/** MiB resident that no JavaScript object accounts for. */
async function nativeMemory(): Promise<number> {
  await sleep(100); // threads of disposed models end behind them
  runInNewContext("gc")();
  const { rss, heapTotal, external } = process.memoryUsage();
  return (rss - heapTotal - external) / 2 ** 20;
}

/** MiB that are still there after that many models of several sizes. */
async function growth(count: number): Promise<number> {
  const before = await nativeMemory();
  for (let i = 0; i < count; i++) await useModel([400, 128, 512][i % 3]!);
  return (await nativeMemory()) - before;
}

test("100 models trained for a step and disposed leave nothing behind", async () => {
  setFlagsFromString("--expose-gc");
  // V8's optimizing compiler comes to hold about 20 MiB with the first models, spread over the heaps of its threads, and V8's
  // young generation as much: neither says anything about what a model loses.
  setFlagsFromString("--no-opt");
  await growth(30);
  const first = await growth(100);
  // Other allocators' pages come and go in the process: what leaks does so every time.
  expect(first < 5 ? first : await growth(100)).toBeLessThan(5);
});
