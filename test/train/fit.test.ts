import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { adam, dense, gaussian, load, sgd, type Vae, VaeError, type VaeOptions, vae } from "../../lib/index.js";
import { clusteredRows } from "../support/data.js";

const SIZE = 8;
const rows = clusteredRows(96, SIZE);
const options: VaeOptions = {
  input: [SIZE],
  latent: 2,
  encoder: [dense(16, { activation: "relu" })],
  decoder: [dense(16, { activation: "relu" })],
  likelihood: "bernoulli",
};
const model = (change: Partial<VaeOptions> = {}): Vae => vae({ ...options, ...change, device: "cpu" });

async function weightsOf(trained: Vae): Promise<Record<string, number[]>> {
  return Object.fromEntries([...(await trained.parameters())].map(([name, { data }]) => [name, [...data]]));
}

async function rejection(promise: Promise<unknown>): Promise<VaeError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(VaeError);
  return error as VaeError;
}

describe("fit", () => {
  it("lowers the loss and reports progress and history", async () => {
    await using digits = model();
    const seen: number[] = [];
    const history = await digits.fit(rows, {
      epochs: 20,
      batchSize: 32,
      optimizer: adam({ learningRate: 1e-2 }),
      validation: rows,
      onProgress: ({ step, completed, steps, epoch, epochs, metrics, stepsPerSecond, samplesPerSecond, secondsLeft }) => {
        seen.push(step);
        expect(completed).toBe(step);
        expect([steps, epochs]).toEqual([60, 20]);
        expect(epoch).toBe(Math.ceil(step / 3));
        expect(Object.keys(metrics)).toEqual(["loss", "elbo", "reconstruction", "kl"]);
        expect(samplesPerSecond).toBeCloseTo(32 * stepsPerSecond, 6);
        expect(secondsLeft).toBeGreaterThanOrEqual(0);
      },
    });
    expect(history.epochs.length).toBe(20);
    expect(history.steps).toBe(60);
    expect(history.epochs.map(({ epoch }) => epoch)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
    const [first, last] = [history.epochs[0]!, history.epochs.at(-1)!];
    expect(last.metrics.loss).toBeLessThan(first.metrics.loss! - 0.5);
    expect(last.validation!.elbo).toBeGreaterThan(first.validation!.elbo + 0.5);
    expect(last.metrics.elbo).toBeCloseTo(last.metrics.reconstruction! - last.metrics.kl!, 4);
    expect(seen.at(-1)).toBe(60);
    expect(digits.training).toMatchObject({ step: 60, seed: 1, optimizer: { kind: "adam" } });
  });

  it("repeats itself bit for bit from the same seed, and not from another", async () => {
    const trained = async (seed: number) => {
      await using one = model({ seed });
      await one.fit(rows, { steps: 7, batchSize: 10 });
      return await weightsOf(one);
    };
    const first = await trained(5);
    expect(await trained(5)).toEqual(first);
    expect(await trained(6)).not.toEqual(first);
  });

  it("measures the kernels of a step when asked to, and changes nothing by it", async () => {
    await using plain = model();
    await using profiled = model();
    const training = { steps: 40, batchSize: 32 };
    const without = await plain.fit(rows, training);
    const { profile, seconds } = await profiled.fit(rows, { ...training, profile: true });
    expect(without.profile).toBeUndefined();
    expect(await weightsOf(profiled)).toEqual(await weightsOf(plain));
    const total = profile!.reduce((sum, { microseconds }) => sum + microseconds, 0);
    expect(total).toBeGreaterThan(1);
    expect(total).toBeLessThan((1e6 * seconds) / 40);
    // Forward and backward of four layers; the last one's weights take their update in the product's epilogue.
    const products = profile!.filter(({ kernel }) => kernel === "matmul");
    expect(products.length).toBeGreaterThanOrEqual(10);
    expect(products.at(-1)!.ops).toContain("sqrt");
    expect(products.every(({ extent, microseconds }) => extent.length === 2 && microseconds > 0)).toBe(true);
  });

  it("takes batches larger than the data set, and bytes", async () => {
    await using one = model();
    const bytes = Uint8Array.from(rows.subarray(0, 3 * SIZE), (value) => value * 255);
    const history = await one.fit(bytes, { epochs: 4, batchSize: 6 });
    expect(history.steps).toBe(2);
    await using two = model();
    await two.fit(
      Float32Array.from(bytes, (value) => value / 255),
      { epochs: 4, batchSize: 6 },
    );
    const [a, b] = [await weightsOf(one), await weightsOf(two)];
    for (const [name, values] of Object.entries(a)) {
      values.forEach((value, index) => {
        expect(value).toBeCloseTo(b[name]![index]!, 4);
      });
    }
  });

  it("does not mind what happens to the data after the call", async () => {
    await using one = model();
    await using two = model();
    await two.fit(rows, { steps: 4 });
    const copy = rows.slice();
    const training = one.fit(copy, { steps: 4 });
    structuredClone(copy.buffer, { transfer: [copy.buffer] });
    await training;
    expect(await weightsOf(one)).toEqual(await weightsOf(two));
    expect((await rejection(one.fit(copy))).code).toBe("detached");
  });

  it("uses a data set in place, and says so when its buffer goes", async () => {
    await using one = model();
    const dataset = { data: rows.slice(), rows: 96, shape: [SIZE], name: "mine" };
    const training = one.fit(dataset, { steps: 1 });
    structuredClone(dataset.data.buffer, { transfer: [dataset.data.buffer] });
    expect((await rejection(training)).code).toBe("detached");
    const another = { data: rows.slice(), rows: 96, shape: [SIZE], name: "mine" };
    const encoding = one.encode(another);
    structuredClone(another.data.buffer, { transfer: [another.data.buffer] });
    expect((await rejection(encoding)).code).toBe("detached");
    expect(one.training.step).toBe(0);
  });

  it("takes iterables of batches", async () => {
    async function* batches() {
      for (let row = 0; row < 96; row += 24) yield rows.slice(row * SIZE, (row + 24) * SIZE);
    }
    await using one = model();
    await using two = model();
    await one.fit(rows, { steps: 3 });
    await two.fit(batches(), { steps: 3 });
    expect(await weightsOf(two)).toEqual(await weightsOf(one));
  });

  it("goes on with the optimizer where it stands, and begins anew with another kind", async () => {
    await using whole = model();
    await using parts = model();
    await whole.fit(rows, { steps: 9, batchSize: 20, optimizer: adam({ learningRate: 1e-2 }) });
    await parts.fit(rows, { steps: 4, batchSize: 20, optimizer: adam({ learningRate: 1e-2 }) });
    await parts.fit(rows, { steps: 5, batchSize: 20 });
    expect(await weightsOf(parts)).toEqual(await weightsOf(whole));
    await parts.fit(rows, { steps: 1, batchSize: 20, optimizer: sgd({ momentum: 0.9 }) });
    expect(parts.training).toMatchObject({ step: 10, optimizer: { kind: "sgd" }, optimizerStart: 9 });
  });
});

describe("saving", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "node-vae-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("and loading continues the very same run", async () => {
    const path = join(folder, "model.vae");
    const train = { batchSize: 20, optimizer: adam({ learningRate: 1e-2 }) };
    await using whole = model();
    await whole.fit(rows, { ...train, steps: 12 });
    await using begun = model();
    await begun.fit(rows, { ...train, steps: 5 });
    await begun.save(path);
    await using resumed = await load(path, { device: "cpu" });
    expect(resumed.config).toEqual(begun.config);
    expect(resumed.training).toEqual(begun.training);
    await resumed.fit(rows, { batchSize: 20, steps: 7 });
    expect(await weightsOf(resumed)).toEqual(await weightsOf(whole));
    expect(await resumed.evaluate(rows)).toEqual(await whole.evaluate(rows));
  });

  it("works before any training", async () => {
    const path = join(folder, "new.vae");
    await using fresh = model({ likelihood: gaussian({ scale: "learned" }) });
    await fresh.save(path);
    await using again = await load(path);
    expect(again.training).toEqual({ step: 0, seed: 1, optimizer: null, optimizerStart: 0, scheduleStart: 0 });
    expect(await weightsOf(again)).toEqual(await weightsOf(fresh));
  });

  it("refuses weights of another architecture", async () => {
    await using one = model();
    await using other = model({ latent: 3 });
    const error = await rejection(one.setParameters(await other.parameters()));
    expect(error.code).toBe("architecture");
    expect(error.message).toMatch(/"encoder.head.weight" has another size/);
    await using twin = model({ seed: 9 });
    await one.setParameters(await twin.parameters());
    expect(await weightsOf(one)).toEqual(await weightsOf(twin));
  });
});

describe("stopping", () => {
  it("an abort keeps the last complete step and rejects with the reason", async () => {
    await using one = model();
    const controller = new AbortController();
    const reason = new Error("enough");
    const training = one.fit(rows, {
      steps: 1_000_000,
      batchSize: 20,
      signal: controller.signal,
      onProgress: ({ step }) => {
        if (step > 3) controller.abort(reason);
      },
    });
    await expect(training).rejects.toBe(reason);
    const { step } = one.training;
    expect(step).toBeGreaterThan(3);
    await using same = model();
    await same.fit(rows, { steps: step, batchSize: 20 });
    expect(await weightsOf(same)).toEqual(await weightsOf(one));
    await expect(one.fit(rows, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await one.fit(rows, { steps: 1 });
  });

  it("breaking out of train ends it after a whole step", async () => {
    await using one = model();
    const steps: number[] = [];
    for await (const { step, metrics } of one.train(rows, { steps: 100, every: 4, batchSize: 20 })) {
      expect(Number.isFinite(metrics.loss)).toBe(true);
      steps.push(step);
      if (step >= 12) break;
    }
    expect(steps).toEqual([4, 8, 12]);
    expect(one.training.step).toBe(12);
    for await (const { step } of one.train(rows, { steps: 6, every: 4, batchSize: 20 })) steps.push(step);
    expect(steps).toEqual([4, 8, 12, 16, 18]);
    await using same = model();
    await same.fit(rows, { steps: 18, batchSize: 20 });
    expect(await weightsOf(same)).toEqual(await weightsOf(one));
  });

  it("a run that diverges names step and term and keeps the last good weights", async () => {
    await using one = model({ likelihood: "gaussian" });
    await one.fit(rows, { steps: 2 });
    const error = await rejection(one.fit(rows, { steps: 200, optimizer: sgd({ learningRate: 1e6 }) }));
    expect(error.code).toBe("diverged");
    expect(error.message).toMatch(/term "(loss|elbo|reconstruction|kl)" was not finite at step \d+/);
    expect(one.training.step).toBeGreaterThanOrEqual(2);
    for (const values of Object.values(await weightsOf(one))) expect(values.every(Number.isFinite)).toBe(true);
  });

  it("the last step's update is checked too", async () => {
    await using one = model({ likelihood: "gaussian" });
    await one.fit(rows, { steps: 2, optimizer: sgd({ learningRate: 1e-3 }) });
    const before = await weightsOf(one);
    const spoil = { steps: 1, every: 1, optimizer: sgd({ learningRate: 1e30 }) };
    // A single step cannot be taken back further than to where it began.
    expect((await rejection(one.fit(rows, { steps: 1, optimizer: spoil.optimizer }))).code).toBe("diverged");
    expect(one.training.step).toBe(2);
    expect(await weightsOf(one)).toEqual(before);
    const loop = async (): Promise<void> => {
      for await (const _ of one.train(rows, spoil)) break;
    };
    expect((await rejection(loop())).code).toBe("diverged");
    expect(await weightsOf(one)).toEqual(before);
    await one.fit(rows, { steps: 1, optimizer: sgd({ learningRate: 1e-3 }) });
    expect(one.training.step).toBe(3);
  });

  it("disposing during training rejects it, and later calls", async () => {
    const one = model();
    let disposed = false;
    const training = one.fit(rows, {
      steps: 1_000_000,
      onProgress: () => {
        if (!disposed) one.dispose();
        disposed = true;
      },
    });
    expect((await rejection(training)).code).toBe("disposed");
    one.dispose();
    for (const call of [one.encode(rows), one.fit(rows), one.sample(1), one.parameters(), one.evaluate(rows), one.save("nowhere")]) {
      expect((await rejection(call)).code).toBe("disposed");
    }
    expect(() => one.memory()).toThrow(/disposed/);
  });

  it("one training at a time, with inference beside it", async () => {
    await using one = model();
    const training = one.fit(rows, { steps: 50, batchSize: 20 });
    const error = await rejection(one.fit(rows));
    expect(error.message).toMatch(/fit: the model is being trained by fit/);
    const [{ mean }, samples] = await Promise.all([one.encode(rows), one.sample(3)]);
    expect(mean.length).toBe(96 * 2);
    expect(samples.length).toBe(3 * SIZE);
    await training;
    expect(one.training.step).toBe(50);
  });
});

describe("bad input to training", () => {
  const broken = (index: number, value: number): Float32Array => {
    const copy = rows.slice();
    copy[index] = value;
    return copy;
  };
  it.each<[string, () => [unknown, object?], string, RegExp]>([
    ["NaN", () => [broken(2 * SIZE + 3, Number.NaN)], "data", /row 2, column 3/],
    ["infinity", () => [broken(0, Number.POSITIVE_INFINITY)], "data", /row 0, column 0/],
    ["above 1 under Bernoulli", () => [broken(SIZE, 1.5)], "data", /row 1, column 0.*1\.5[\s\S]*\[0, 1\]/],
    ["below 0 under Bernoulli", () => [broken(SIZE, -0.25)], "data", /-0\.25/],
    ["wrong length", () => [rows.subarray(0, 12)], "shape", /multiple of 8/],
    ["no rows", () => [new Float32Array(0)], "data", /empty/],
    ["wrong row length", () => [[[1, 2, 3]]], "shape", /8 values/],
    ["not data", () => ["digits.csv"], "argument", /expected a Float32Array/],
    ["fractional batch size", () => [rows, { batchSize: 1.5 }], "argument", /batchSize/],
    ["negative steps", () => [rows, { steps: -1 }], "argument", /steps/],
    ["zero epochs", () => [rows, { epochs: 0 }], "argument", /epochs/],
    ["steps and epochs", () => [rows, { steps: 1, epochs: 1 }], "argument", /steps to be left out/],
    ["unknown optimizer", () => [rows, { optimizer: { kind: "adan" } }], "argument", /did you mean "adam"/],
    ["unknown option", () => [rows, { batchsize: 3 }], "argument", /did you mean "batchSize"/],
    ["NaN in validation", () => [rows, { validation: broken(4, Number.NaN) }], "data", /fit validation/],
    ["not a signal", () => [rows, { signal: {} }], "argument", /AbortSignal/],
    ["not a callback", () => [rows, { onProgress: 3 }], "argument", /onProgress/],
  ])("%s", async (_, make, code, message) => {
    await using one = model();
    const [data, fitOptions] = make();
    const error = await rejection(one.fit(data as Float32Array, fitOptions));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    // Nothing is left locked or changed.
    expect(one.training.step).toBe(0);
    await one.fit(rows, { steps: 1 });
  });

  it("unknown devices", () => {
    expect(() => vae({ ...options, device: "gpu" as "cpu" })).toThrow(/device/);
    expect(() => vae({ ...options, threads: 0 })).toThrow(/threads/);
    expect(() => vae({ ...options, deivce: "cpu" } as VaeOptions)).toThrow(/did you mean "device"/);
  });
});
