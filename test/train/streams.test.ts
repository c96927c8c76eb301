// Trainings on streams: the same numbers as on resident rows, closed sources, and errors that say what a stream cannot do.
import { describe, expect, test } from "vitest";
import { category, dense, standardize, streamed, type Vae, type VaeOptions, vae } from "../../lib/index.js";
import { clusteredRows } from "../support/data.js";

const [ROWS, SIZE] = [300, 8];
const rows = clusteredRows(ROWS, SIZE);
const options: VaeOptions = { input: [SIZE], latent: 2, encoder: [dense(8)], decoder: [dense(8)], likelihood: "bernoulli", seed: 4 };
const make = (change: Partial<VaeOptions> = {}): Vae => vae({ ...options, ...change, device: "cpu" } as VaeOptions & { device: "cpu" });
const batches = (size: number) => () =>
  Array.from({ length: Math.ceil(ROWS / size) }, (_, index) => rows.subarray(index * size * SIZE, (index + 1) * size * SIZE)).values();

async function lossesOf(model: Vae, source: Parameters<Vae["train"]>[0], steps: number): Promise<number[]> {
  const losses: number[] = [];
  for await (const { metrics } of model.train(source, { steps, every: 1, batchSize: 32, shuffle: false })) losses.push(metrics.loss);
  return losses;
}

test.each([7, 32, 300])("batches of %i rows give the losses and the weights of resident rows, over the ends of epochs", async (size) => {
  await using resident = make();
  await using stream = make();
  expect(await lossesOf(stream, streamed(batches(size), { rows: ROWS }), 30)).toEqual(await lossesOf(resident, rows, 30));
  expect(await stream.parameters()).toEqual(await resident.parameters());
});

test("epochs are counted where the stream says its rows; a mixed one takes another course, the same every time", async () => {
  const course = async () => {
    await using model = make();
    const history = await model.fit(streamed(batches(50), { rows: ROWS, shuffleBuffer: 100 }), { epochs: 2, batchSize: 30 });
    expect([history.steps, history.epochs.length]).toEqual([20, 2]);
    return history.epochs.map(({ metrics }) => metrics.loss);
  };
  const [one, two] = [await course(), await course()];
  expect(one).toEqual(two);
});

test("validation rows are evaluated beside a stream", async () => {
  await using model = make();
  const { epochs } = await model.fit(streamed(batches(50), { rows: ROWS }), { epochs: 1, batchSize: 30, validation: rows });
  expect(epochs[0]!.validation!.rows).toBe(ROWS);
});

describe("what a stream cannot do is said", () => {
  test.each<[string, () => Promise<unknown>, RegExp]>([
    [
      "epochs of unknown length",
      () => make().fit(streamed(batches(50)), { epochs: 2 }),
      /rows an epoch of the stream has is not known.*\n.*steps: 1000/s,
    ],
    ["a second pass over a generator", () => make().fit(streamed(batches(50)()), { steps: 40, batchSize: 32 }), /can be read only once/],
    [
      "conditions",
      () => make({ conditions: { label: category(2) } }).fit(streamed(batches(50)), { steps: 1 }),
      /rows of x alone.*asks for label/,
    ],
    [
      "preparation",
      () => make({ likelihood: "gaussian", prepare: standardize() }).fit(streamed(batches(50)), { steps: 1 }),
      /learns means and deviations.*\n.*fit\(sample, \{ steps: 1 \}\)/s,
    ],
    ["other methods", () => make().encode(streamed(batches(50)) as never), /received a stream of rows\n.*fit and train read streams/],
    [
      "values that the likelihood refuses",
      () =>
        make().fit(
          streamed(() => [rows.map((v) => v + 1)].values()),
          { steps: 1 },
        ),
      /row 0, column 0 of the stream/,
    ],
  ])("%s", async (_name, call, message) => {
    await expect(call()).rejects.toThrow(message);
  });
});

test("a source that fails is passed on; what was trained before stays, and the source is closed", async () => {
  let closed = 0;
  async function* failing() {
    try {
      for (const batch of batches(50)()) yield batch;
      throw new Error("the disk is gone");
    } finally {
      closed++;
    }
  }
  await using model = make();
  await expect(model.fit(streamed(failing), { steps: 100, batchSize: 32 })).rejects.toThrow("the disk is gone");
  expect([model.training.step, closed]).toEqual([Math.floor(ROWS / 32), 1]);
  const aborted = new AbortController();
  const endless = async function* () {
    try {
      for (;;) yield rows;
    } finally {
      closed++;
    }
  };
  for await (const { step } of model.train(streamed(endless), { steps: 1e6, every: 2, batchSize: 32 })) if (step > 30) break;
  expect(closed).toBe(2);
  setTimeout(() => aborted.abort(new Error("enough")), 50);
  await expect(model.fit(streamed(endless), { steps: 1e9, signal: aborted.signal })).rejects.toThrow("enough");
  expect(closed).toBe(3);
  expect(Number.isFinite((await model.evaluate(rows)).elbo)).toBe(true);
});
