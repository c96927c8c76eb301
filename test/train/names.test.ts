// A model knows its columns by name from training on: data in another order are brought into it, other columns are refused.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { type Dataset, datasets, dense, gaussian, load, subset, type Vae, type VaeOptions, vae } from "../../lib/index.js";
import { readSafetensors, writeSafetensors } from "../../lib/io/index.js";
import { run } from "../support/cli.js";
import { clusteredRows } from "../support/data.js";
import { failure, temporaryFolder } from "../support/io.js";

const COLUMNS = ["temperature", "pressure", "flow"];
const SIZE = COLUMNS.length;
const values = clusteredRows(48, SIZE);
const rows: Dataset = { data: values, rows: 48, shape: [SIZE], columns: COLUMNS, name: "training" };
const options: VaeOptions = { input: [SIZE], latent: 2, encoder: [dense(8)], decoder: [dense(8)], likelihood: gaussian(), seed: 3 };
const fresh = (): Vae => vae({ ...options, device: "cpu", threads: 1 });
const steps = { steps: 4, batchSize: 16 };
const folder = temporaryFolder();

/** The same rows with their columns in another order. */
function turned(dataset: Dataset, order: readonly number[] = [2, 0, 1]): Dataset {
  return {
    ...dataset,
    data: dataset.data.map((_, index) => dataset.data[index - (index % SIZE) + order[index % SIZE]!]!),
    columns: order.map((place) => dataset.columns![place]!),
    name: "turned",
  };
}

let model: Vae;
beforeAll(async () => {
  model = fresh();
  expect(model.columns).toBeUndefined();
  await model.fit(rows, steps);
  return () => model.dispose();
});

const verbs: [string, (one: Vae, data: Dataset) => Promise<unknown>][] = [
  ["encode", (one, data) => one.encode(data)],
  ["reconstruct", (one, data) => one.reconstruct(data)],
  ["score", (one, data) => one.score(data)],
  ["evaluate", (one, data) => one.evaluate(data, { importanceSamples: 3 })],
  ["interpolate", (one, data) => one.interpolate(subset(data, [0]), values.slice(0, SIZE), 3)],
  ["fit validation", async (one, data) => (await one.fit(rows, { ...steps, validation: data })).epochs.map(({ validation }) => validation)],
  ["fit", async (one, data) => (await one.fit(data, steps)).epochs.map(({ metrics }) => metrics)],
];

test.each(verbs)("%s takes columns in any order, and gives results in the model's", async (_, verb) => {
  await using one = fresh();
  await using other = fresh();
  await Promise.all([one.fit(rows, steps), other.fit(rows, steps)]);
  expect(await verb(one, turned(rows))).toEqual(await verb(other, rows));
  expect(one.columns).toEqual(COLUMNS);
});

test.each(verbs)("%s refuses other columns, names them, and leaves the model usable", async (name, verb) => {
  const renamed = { ...rows, columns: ["temperature", "presure", "flow"], name: "new.csv" };
  const few: Dataset = { data: values.slice(0, 48), rows: 24, shape: [2], columns: ["flow", "pressure"], name: "few" };
  const many: Dataset = { data: new Float32Array(96), rows: 24, shape: [4], columns: [...COLUMNS, "id"], name: "many" };
  const cases: [Dataset, RegExp][] = [
    [renamed, /new\.csv .*training data: missing "pressure"; unknown "presure"\n.*did you mean "pressure"/],
    [few, /missing "temperature"/],
    [many, /unknown "id"/],
  ];
  const { step } = model.training;
  for (const [data, message] of cases) {
    const error = await failure("data", () => verb(model, data));
    expect(error.message).toMatch(message);
    expect(error.operation).toBe(name);
  }
  expect(model.training.step).toBe(step);
  expect((await model.score(rows)).length).toBe(48);
});

test.each(verbs)("%s takes rows without names as they are", async (_, verb) => {
  await using one = fresh();
  await using other = fresh();
  await Promise.all([one.fit(rows, steps), other.fit(rows, steps)]);
  const { columns, ...bare } = rows;
  expect(await verb(one, bare)).toEqual(await verb(other, { ...rows, columns }));
});

test("an untrained model matches validation rows with the training rows", async () => {
  await using one = fresh();
  await using other = fresh();
  const [a, b] = [await one.fit(rows, { ...steps, validation: turned(rows) }), await other.fit(rows, { ...steps, validation: rows })];
  expect(a.epochs.at(-1)?.validation).toEqual(b.epochs.at(-1)?.validation);
  const wrong = { ...rows, columns: ["a", "b", "c"] };
  await using third = fresh();
  await failure("data", () => third.fit(rows, { ...steps, validation: wrong }));
  expect(third.columns).toBeUndefined();
});

test("train matches columns too", async () => {
  const course = async (data: Dataset): Promise<unknown[]> => {
    await using one = fresh();
    await one.fit(rows, steps);
    const terms = [];
    for await (const { metrics: means } of one.train(data, { steps: 4, every: 2, batchSize: 16 })) terms.push(means);
    return terms;
  };
  expect(await course(turned(rows))).toEqual(await course(rows));
  const loop = async () => {
    for await (const _ of model.train({ ...rows, columns: ["a", "b", "c"] })) expect.unreachable();
  };
  expect((await failure("data", loop)).operation).toBe("train");
});

test("a training that makes no step leaves the model without names; the first that makes one gives them", async () => {
  await using one = fresh();
  await failure("data", () => one.fit({ ...rows, data: values.map(() => Number.NaN) }, steps));
  expect(one.columns).toBeUndefined();
  await one.fit(values, steps);
  expect(one.columns).toBeUndefined();
  const mutable = [...COLUMNS];
  await one.fit({ ...rows, columns: mutable }, steps);
  mutable.reverse();
  expect(one.columns).toEqual(COLUMNS);
  expect(Object.isFrozen(one.columns)).toBe(true);
});

test("messages name the column, of rows without names too", async () => {
  const broken = values.slice();
  broken[3 * SIZE + 1] = Number.NaN;
  const place = /row 3, column 1 \("pressure"\)/;
  for (const data of [broken, [...Array(48).keys()].map((row) => broken.subarray(row * SIZE, (row + 1) * SIZE)), [broken].values()]) {
    expect((await failure("data", () => model.score(data))).message).toMatch(place);
  }
  expect((await failure("data", () => model.score(turned({ ...rows, data: broken })))).message).toMatch(place);
});

test("names of classes are kept, new ones behind the others; labels of new rows may be others", async () => {
  await using one = fresh();
  const labels = Int32Array.from({ length: 48 }, (_, row) => row % 2);
  await one.fit({ ...rows, labels, labelNames: ["normal", "leak"] }, steps);
  expect(one.labelNames).toEqual(["normal", "leak"]);
  await one.fit({ ...rows, labels, labelNames: ["blocked", "normal"] }, steps);
  expect(one.labelNames).toEqual(["normal", "leak", "blocked"]);
  expect((await one.score({ ...rows, labels, labelNames: ["unheard of", "normal"] })).length).toBe(48);
});

test("names are saved and loaded; files without them load", async () => {
  await using one = fresh();
  const path = join(folder, "model.vae");
  await one.fit({ ...rows, labels: new Int32Array(48), labelNames: ["normal"] }, steps);
  await one.save(path);
  {
    await using again = await load(path);
    expect([again.columns, again.labelNames]).toEqual([COLUMNS, ["normal"]]);
    expect(await again.score(turned(rows))).toEqual(await one.score(rows));
    await failure("data", () => again.score({ ...rows, columns: ["a", "b", "c"] }));
  }
  const { tensors, metadata } = await readSafetensors(path);
  const stored = JSON.parse(metadata["node-vae"]!);
  expect(stored.data).toEqual({ columns: COLUMNS, labelNames: ["normal"] });
  const withData = async (data: unknown): Promise<string> => {
    const other = join(folder, "other.vae");
    await writeSafetensors(other, { tensors, metadata: { "node-vae": JSON.stringify({ ...stored, data }) } }, "test");
    return other;
  };
  for (const none of [undefined, null]) {
    await using old = await load(await withData(none));
    expect([old.columns, old.labelNames]).toEqual([undefined, undefined]);
    expect(await old.score(rows)).toEqual(await one.score(rows));
  }
  for (const wrong of [{ columns: ["a"] }, { columns: "abc" }, { columns: ["a", "a", "b"] }, { labelNames: [1] }, { rows: 3 }, 7]) {
    const file = await withData(wrong);
    expect((await failure("file", () => load(file))).message).toMatch(/description of the model cannot be used: data/);
  }
});

test("the command line matches columns by name, writes them, and writes classes by name", async () => {
  const file = (name: string, columns: readonly number[], header = COLUMNS): string => {
    const lines = [...Array(48).keys()].map((row) =>
      [...columns.map((column) => values[row * SIZE + column]!), row % 2 === 0 ? "good" : "bad"].join(","),
    );
    const path = join(folder, name);
    writeFileSync(path, [[...columns.map((column) => header[column]), "state"].join(","), ...lines].join("\n"));
    return path;
  };
  const [ordered, other] = [file("ordered.csv", [0, 1, 2]), file("other.csv", [2, 0, 1])];
  const wrong = file("wrong.csv", [0, 1, 2], ["temperature", "presure", "flow"]);
  const trained = join(folder, "cli.vae");
  const common = ["--label", "state", "--device", "cpu", "--threads", "1"];
  const first = await run(["train", "--data", ordered, ...common, "--steps", "3", "--hidden", "8", "--latent", "2", "--out", trained]);
  expect(first.code, first.stderr).toBe(0);
  const evaluations = await Promise.all([ordered, other].map((data) => run(["evaluate", trained, "--data", data, ...common, "--json"])));
  expect(JSON.parse(evaluations[1]!.stdout)).toEqual(JSON.parse(evaluations[0]!.stdout));
  const out = join(folder, "out.csv");
  const tableOf = async (args: readonly string[]): Promise<string[]> => {
    const { code, stderr } = await run([...args, "--device", "cpu", "--threads", "1", "--out", out]);
    expect(code, stderr).toBe(0);
    return readFileSync(out, "utf8").trim().split("\n");
  };
  const rebuilt = await tableOf(["reconstruct", trained, "--data", ordered, "--label", "state"]);
  expect(rebuilt[0]).toBe(COLUMNS.join());
  expect(await tableOf(["reconstruct", trained, "--data", other, "--label", "state"])).toEqual(rebuilt);
  expect((await tableOf(["sample", trained, "--count", "2"]))[0]).toBe(COLUMNS.join());
  const encoded = await tableOf(["encode", trained, "--data", other, "--label", "state"]);
  expect(encoded.slice(1, 3).map((line) => line.split(",").at(-1))).toEqual(["good", "bad"]);
  const resumed = ["train", "--resume", trained, "--out", join(folder, "resumed.vae"), "--steps", "1", "--label", "state"];
  for (const args of [["evaluate", trained], resumed]) {
    const { code, stderr } = await run([...args, "--data", wrong, ...(args === resumed ? [] : ["--label", "state"])]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/no column "pressure"[\s\S]*did you mean "presure"/);
  }
  expect((await run([...resumed, "--data", other])).code).toBe(0);
  const { columns } = await datasets.csv(other, { label: "state" });
  expect(columns).toEqual(["flow", "temperature", "pressure"]);
});
