// A schedule begins where it is given: it counts the steps since then, whatever the model has done before.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { constantTensor as scalar } from "../../lib/graph/index.js";
import {
  adam,
  adamW,
  cosine,
  defineOptimizer,
  dense,
  exponential,
  linear,
  load,
  type Optimizer,
  type Schedule,
  scheduledValue,
  sgd,
  stepDecay,
  type Vae,
  vae,
  warmup,
} from "../../lib/index.js";
import { loadCheckpoint, saveCheckpoint } from "../../lib/io/index.js";
import { clusteredRows } from "../support/data.js";

const SIZE = 6;
const rows = clusteredRows(64, SIZE);
const model = (): Vae =>
  vae({ input: [SIZE], latent: 2, encoder: [dense(8)], decoder: [dense(8)], likelihood: "bernoulli", device: "cpu", threads: 1 });

async function weightsOf(one: Vae): Promise<Record<string, number[]>> {
  return Object.fromEntries([...(await one.parameters())].map(([name, { data }]) => [name, [...data]]));
}

/** A parameter's largest change by a call. */
async function movedBy(one: Vae, call: () => Promise<unknown>): Promise<number> {
  const before = Object.values(await weightsOf(one)).flat();
  await call();
  return Math.max(
    ...Object.values(await weightsOf(one))
      .flat()
      .map((value, i) => Math.abs(value - before[i]!)),
  );
}

/** Schedules that stand at 0 after ten steps. */
const ending: readonly [string, Schedule][] = [
  ["cosine", cosine({ from: 0.01, to: 0, steps: 10 })],
  ["linear", linear({ from: 0.01, to: 0, steps: 10 })],
  ["stepDecay", stepDecay({ from: 0.01, factor: 1e-6, every: 10 })],
  ["exponential", exponential({ from: 0.01, factor: 1e-20, steps: 10 })],
  ["warmup", warmup({ steps: 2, target: cosine({ from: 0.01, to: 0, steps: 8 }) })],
];
const optimizers: readonly [string, (learningRate: Schedule) => Optimizer][] = [
  ["adam", (learningRate) => adam({ learningRate })],
  ["adamW", (learningRate) => adamW({ learningRate })],
  ["sgd", (learningRate) => sgd({ learningRate, momentum: 0.9 })],
];

describe("a schedule that is given to a model that has trained before", () => {
  for (const [optimizerName, optimizer] of optimizers) {
    test.each(ending)(`trains: ${optimizerName} with %s`, async (_, schedule) => {
      await using one = model();
      const given = optimizer(schedule);
      const first = await movedBy(one, () => one.fit(rows, { steps: 10, batchSize: 16, optimizer: given }));
      // The same object again is given again. Left out, its schedule goes on, and stands at its end.
      const over = await movedBy(one, () => one.fit(rows, { steps: 10, batchSize: 16 }));
      const second = await movedBy(one, () => one.fit(rows, { steps: 10, batchSize: 16, optimizer: given }));
      expect(over).toBeLessThan(optimizerName === "sgd" ? first : first / 50);
      expect(second).toBeGreaterThan(first / 20);
      expect(one.training).toMatchObject({ step: 30, scheduleStart: 20, optimizerStart: 0 });
    });
  }

  test("also in train, whose iterator was left early", async () => {
    await using one = model();
    const optimizer = adam({ learningRate: cosine({ from: 0.01, to: 0, steps: 5 }) });
    for await (const { step } of one.train(rows, { steps: 50, every: 1, optimizer })) if (step === 7) break;
    expect(await movedBy(one, () => one.fit(rows, { steps: 5 }))).toBeLessThan(1e-3);
    expect(await movedBy(one, () => one.fit(rows, { steps: 5, optimizer }))).toBeGreaterThan(1e-3);
  });

  test("keeps Adam's moments and their bias correction, which count their own steps", async () => {
    // Rates that do not change: taking over the slots is the very same run as never having stopped.
    await using whole = model();
    await whole.fit(rows, { steps: 9, batchSize: 16, optimizer: adam({ learningRate: 0.01 }) });
    await using parts = model();
    await parts.fit(rows, { steps: 4, batchSize: 16, optimizer: adam({ learningRate: 0.01 }) });
    await parts.fit(rows, { steps: 5, batchSize: 16, optimizer: adam({ learningRate: linear({ from: 0.01, to: 0.01, steps: 3 }) }) });
    expect(parts.training).toMatchObject({ optimizerStart: 0, scheduleStart: 4 });
    const [a, b] = [Object.values(await weightsOf(parts)).flat(), Object.values(await weightsOf(whole)).flat()];
    a.forEach((value, i) => {
      expect(Math.abs(value - b[i]!)).toBeLessThan(1e-6);
    });
  });

  test("is read by optimizers of users too", async () => {
    defineOptimizer<Optimizer & { readonly rate: number | Schedule }>("schedules.plain", {
      parse: (options) => ({ kind: "schedules.plain", rate: options.raw("rate") as Schedule }),
      slots: () => [],
      begin: ({ rate }, step, scheduleStep) => {
        expect([step, scheduleStep].map(({ shape }) => shape)).toEqual([[], []]);
        expect(scheduledValue(rate, scheduleStep).shape).toEqual(scalar(0).shape);
        return (parameter) => ({ parameter, slots: {} });
      },
    });
    await using one = model();
    await one.fit(rows, { steps: 2 });
    await one.fit(rows, { steps: 2, optimizer: { kind: "schedules.plain", rate: cosine({ from: 1, steps: 3 }) } as Optimizer });
    expect(one.training).toMatchObject({ step: 4, optimizerStart: 2, scheduleStart: 2 });
  });
});

describe("a training that is given no optimizer", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "node-vae-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test("goes on with the schedule, also after saving and loading, to the bit", async () => {
    const path = join(folder, "model.vae");
    const optimizer = adam({ learningRate: warmup({ steps: 3, target: cosine({ from: 0.02, to: 0, steps: 12 }) }) });
    await using whole = model();
    await whole.fit(rows, { steps: 4, batchSize: 16 });
    await whole.fit(rows, { steps: 15, batchSize: 16, optimizer });
    await using begun = model();
    await begun.fit(rows, { steps: 4, batchSize: 16 });
    await begun.fit(rows, { steps: 6, batchSize: 16, optimizer });
    await begun.fit(rows, { steps: 2, batchSize: 16 });
    await begun.save(path);
    await using resumed = await load(path, { device: "cpu", threads: 1 });
    expect(resumed.training).toEqual(begun.training);
    expect(resumed.training.scheduleStart).toBe(4);
    await resumed.fit(rows, { steps: 7, batchSize: 16 });
    expect(await weightsOf(resumed)).toEqual(await weightsOf(whole));
  });

  test("goes on after an abort", async () => {
    const optimizer = adam({ learningRate: cosine({ from: 0.02, to: 0, steps: 12 }) });
    await using whole = model();
    await whole.fit(rows, { steps: 12, batchSize: 16, optimizer });
    await using cut = model();
    const controller = new AbortController();
    const onProgress = ({ step }: { readonly step: number }): void => {
      if (step >= 1) controller.abort(new Error("enough"));
    };
    await expect(cut.fit(rows, { steps: 12, batchSize: 16, optimizer, signal: controller.signal, onProgress })).rejects.toThrow("enough");
    const left = 12 - cut.training.step;
    expect(left).toBeGreaterThan(0);
    await cut.fit(rows, { steps: left, batchSize: 16 });
    expect(await weightsOf(cut)).toEqual(await weightsOf(whole));
  });

  test("reads files from before schedules had a start of their own, and refuses starts that cannot be", async () => {
    const [path, other] = [join(folder, "now.vae"), join(folder, "then.vae")];
    await using one = model();
    await one.fit(rows, { steps: 3, optimizer: sgd({ momentum: 0.9 }) });
    await one.fit(rows, { steps: 2, optimizer: adam() });
    await one.save(path);
    const { config, training, tensors } = await loadCheckpoint(path);
    const { scheduleStart, ...old } = training as { readonly scheduleStart: number };
    expect(scheduleStart).toBe(3);
    await saveCheckpoint(other, { config, training: old, tensors });
    await using again = await load(other);
    expect(again.training).toEqual(one.training);
    await saveCheckpoint(other, { config, training: { ...old, scheduleStart: 6 }, tensors });
    await expect(load(other)).rejects.toMatchObject({ code: "file", message: expect.stringContaining("scheduleStart") });
  });
});
