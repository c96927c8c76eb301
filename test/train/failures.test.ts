// Trainings that end early: by an abort, by a callback, by their data. Each leaves good weights and no promise behind.
import { expect, test } from "vitest";
import { dense, gaussian, sgd, type Vae, VaeError, type VaeOptions, vae } from "../../lib/index.js";
import { clusteredRows } from "../support/data.js";

const SIZE = 8;
const rows = clusteredRows(96, SIZE);
const options: VaeOptions = {
  input: [SIZE],
  latent: 2,
  encoder: [dense(8)],
  decoder: [dense(8)],
  likelihood: gaussian(),
};
const model = (): Vae => vae({ ...options, device: "cpu", threads: 1 });

/** One step of it spoils the weights, which the terms of that step do not show yet. */
const spoiling = { steps: 10, optimizer: sgd({ learningRate: 1e30 }) };

const mine = new Error("mine");

async function weightsOf(one: Vae): Promise<Record<string, readonly number[]>> {
  return Object.fromEntries([...(await one.parameters())].map(([name, { data }]) => [name, [...data]]));
}

/** Promises whose rejection nobody handled, while the body runs and a moment after. */
async function unhandledDuring(body: () => Promise<void>): Promise<unknown[]> {
  const unhandled: unknown[] = [];
  const listener = (reason: unknown) => unhandled.push(reason);
  const others = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  process.on("unhandledRejection", listener);
  try {
    await body();
    await new Promise((done) => setTimeout(done, 20));
  } finally {
    process.off("unhandledRejection", listener);
    for (const other of others) process.on("unhandledRejection", other);
  }
  return unhandled;
}

test.each<[string, (one: Vae) => Promise<unknown>]>([
  [
    "an abort",
    (one) => {
      const controller = new AbortController();
      return one.fit(rows, { ...spoiling, signal: controller.signal, onProgress: () => controller.abort(mine) });
    },
  ],
  [
    "a callback that throws",
    (one) =>
      one.fit(rows, {
        ...spoiling,
        onProgress: () => {
          throw mine;
        },
      }),
  ],
  [
    "an abort between two values of train",
    async (one) => {
      const controller = new AbortController();
      for await (const _ of one.train(rows, { ...spoiling, every: 1, signal: controller.signal })) controller.abort(mine);
    },
  ],
])("%s after a step that spoiled the weights takes that step back", async (_, end) => {
  await using one = model();
  await one.fit(rows, { steps: 2, optimizer: sgd({ learningRate: 1e-3 }) });
  const before = await weightsOf(one);
  await expect(end(one)).rejects.toBe(mine);
  expect(one.training.step).toBe(2);
  expect(await weightsOf(one)).toEqual(before);
  expect((await one.evaluate(rows)).elbo).toBeGreaterThan(Number.NEGATIVE_INFINITY);
  await one.fit(rows, { steps: 1, optimizer: sgd({ learningRate: 1e-3 }) });
  expect(one.training.step).toBe(3);
});

test("an error in a body of for await that breaks nothing is passed on as it is", async () => {
  await using one = model();
  const loop = async (): Promise<void> => {
    for await (const _ of one.train(rows, { steps: 10, every: 1, optimizer: sgd({ learningRate: 1e-3 }) })) throw mine;
  };
  await expect(loop()).rejects.toBe(mine);
  expect(one.training.step).toBe(1);
});

test("fit waits for its callbacks, and rejects with what they reject with", async () => {
  const optimizer = sgd({ learningRate: 1e-3 });
  for (const name of ["onProgress", "onEpoch"] as const) {
    await using one = model();
    const unhandled = await unhandledDuring(async () => {
      await expect(one.fit(rows, { epochs: 3, optimizer, [name]: () => Promise.reject(mine) })).rejects.toBe(mine);
    });
    expect(unhandled).toEqual([]);
    expect(one.training.step).toBe(1);
    let running = 0;
    await one.fit(rows, {
      epochs: 3,
      optimizer,
      [name]: async () => {
        expect(++running).toBe(1);
        await one.evaluate(rows); // the model may be used meanwhile, and stands still
        running--;
      },
    });
  }
});

test("a source that fails where the validation rows fail first leaves no rejection behind", async () => {
  async function* failing(): AsyncGenerator<Float32Array> {
    yield rows;
    await null;
    throw mine;
  }
  await using one = model();
  const unhandled = await unhandledDuring(async () => {
    const error: unknown = await one.fit(failing(), { validation: new Float32Array(5) }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(VaeError);
    expect((error as VaeError).operation).toBe("fit validation");
    await expect(one.fit(failing())).rejects.toBe(mine);
    await expect(one.fit(rows, { validation: failing() })).rejects.toBe(mine);
    await expect(one.fit(failing(), { signal: AbortSignal.abort(mine) })).rejects.toBe(mine);
    one.train(failing());
  });
  expect(unhandled).toEqual([]);
  await one.fit(rows, { steps: 1 });
});

test("more rows in a batch than in the data set: an epoch that makes no step of its own has no record and no call", async () => {
  await using one = model();
  const seen: number[] = [];
  const { steps, epochs } = await one.fit(rows.subarray(0, 20 * SIZE), {
    epochs: 5,
    batchSize: 64,
    onEpoch: ({ epoch }) => {
      seen.push(epoch);
    },
  });
  // 100 rows are shown in two steps: the first ends in epoch 4, the second in what would be epoch 7.
  expect(steps).toBe(2);
  expect(seen).toEqual([1, 4]);
  expect(epochs.map(({ epoch }) => epoch)).toEqual(seen);
});
