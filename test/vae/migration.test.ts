// Files of earlier versions: their names and descriptions become those of today, their weights stay what they were.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { adam, dense, gaussian, load, residual, sequential, type Vae, type VaeOptions, vae } from "../../lib/index.js";
import { loadCheckpoint } from "../../lib/io/checkpoint.js";
import { writeSafetensors } from "../../lib/io/safetensors.js";
import { clusteredRows } from "../support/data.js";

const folder = mkdtempSync(join(tmpdir(), "node-vae-migration-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

const SIZE = 6;
const options: VaeOptions = {
  input: [SIZE],
  latent: 2,
  encoder: [residual([dense(SIZE, { activation: "tanh" }), sequential([dense(SIZE)])], { shortcut: [dense(SIZE)] })],
  decoder: [sequential([dense(4, { activation: "relu" }), residual([dense(4)])])],
  likelihood: gaussian({ scale: "learned" }),
  seed: 5,
};
const rows = clusteredRows(40, SIZE);

/** The file as version 1 wrote it. */
async function asVersion1(from: string, to: string, preparation?: object): Promise<void> {
  const { config, training, data, tensors } = await loadCheckpoint(from);
  const old = new Map([...tensors].map(([name, tensor]) => [name.replace(/\.layers(?=\.)/g, ""), tensor]));
  const description = { version: 1, config, training, data, ...(preparation === undefined ? {} : { preparation }) };
  await writeSafetensors(to, { tensors: old, metadata: { "node-vae": JSON.stringify(description) } }, "test");
}

async function weightsOf(model: Vae): Promise<Record<string, number[]>> {
  return Object.fromEntries([...(await model.parameters())].map(([name, { data }]) => [name, [...data]]));
}

test("layers within layers have other names, the same weights, and the same run before them", async () => {
  await using model = vae({ ...options, device: "cpu" });
  await model.fit(rows, { steps: 6, batchSize: 8, optimizer: adam({ learningRate: 0.01 }) });
  await model.save(at("new.vae"));
  await asVersion1(at("new.vae"), at("old.vae"));
  expect([...(await loadCheckpoint(at("old.vae"))).tensors.keys()]).toEqual(
    expect.arrayContaining(["encoder.0.0.weight", "encoder.0.1.0.bias", "encoder.0.shortcut.0.weight/firstMoment", "decoder.0.1.0.weight"]),
  );
  await using old = await load(at("old.vae"), { device: "cpu" });
  expect(await weightsOf(old)).toEqual(await weightsOf(model));
  expect(Object.keys(await weightsOf(old))).toContain("decoder.0.layers.1.layers.0.weight");
  expect(await old.score(rows)).toEqual(await model.score(rows));
  for (const one of [old, model]) await one.fit(rows, { steps: 4, batchSize: 8 });
  expect(await weightsOf(old)).toEqual(await weightsOf(model)); // the optimizer's moments came along
});

test("a table's preparation beside the model becomes the model's own", async () => {
  await using model = vae({ ...options, encoder: [dense(4)], decoder: [dense(4)], device: "cpu" });
  await model.fit(rows, { steps: 3, batchSize: 8 });
  await model.save(at("plain.vae"));
  const mean = [1, 2, 3, 4, 0, 0];
  const standardDeviation = [2, 1, 0.5, 4, 1, 1];
  const columns = ["a", "b", "c", "d", "colour=blue", "colour=red"];
  await asVersion1(at("plain.vae"), at("table.vae"), { columns, mean, standardDeviation, categories: { colour: ["blue", "red"] } });
  await using table = await load(at("table.vae"), { device: "cpu" });
  expect(table.config.prepare).toEqual({ kind: "standardize", except: [] });
  expect([table.columns, table.categories]).toEqual([columns, { colour: ["blue", "red"] }]);
  // Rows in their own units now give what prepared rows gave.
  const raw = rows.map((value, index) => value * standardDeviation[index % SIZE]! + mean[index % SIZE]!);
  const [before, after] = [await model.score(rows), await table.score(raw)];
  after.forEach((score, row) => {
    expect(score).toBeCloseTo(before[row]!, 3);
  });
  await table.save(at("again.vae"));
  expect((await loadCheckpoint(at("again.vae"))).version).toBe(2);
});

test("a preparation that changes nothing only names the columns", async () => {
  await using model = vae({ ...options, encoder: [], decoder: [], device: "cpu" });
  await model.save(at("bare.vae"));
  const columns = ["a", "b", "c", "d", "e", "f"];
  const nothing = { columns, mean: Array(SIZE).fill(0), standardDeviation: Array(SIZE).fill(1), categories: {} };
  await asVersion1(at("bare.vae"), at("named.vae"), nothing);
  await using named = await load(at("named.vae"), { device: "cpu" });
  expect([named.config.prepare, named.columns]).toEqual([undefined, columns]);
});
