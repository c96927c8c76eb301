// Preparation is part of the model: learned from the training rows, saved, applied in every verb, inverted in what the model gives.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import {
  bernoulli,
  type Dataset,
  datasets,
  dense,
  gaussian,
  load,
  presets,
  split,
  standardize,
  standardizer,
  type VaeOptions,
  vae,
} from "../../lib/index.js";

const folder = mkdtempSync(join(tmpdir(), "node-vae-preparations-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Columns of very different units, which go together. */
const table = datasets.records(
  Array.from({ length: 200 }, (_, row) => {
    const common = Math.sin(row * 0.7);
    return { metres: 1e-3 * (5 + common), days: 700 + 100 * common + Math.cos(row), voltage: 24, flag: row % 2 };
  }),
);
const options: VaeOptions = {
  input: [4],
  latent: 1,
  encoder: [dense(16, { activation: "tanh" })],
  decoder: [dense(16, { activation: "tanh" })],
  likelihood: gaussian({ scale: "learned" }),
  prepare: standardize({ except: ["flag"] }),
  seed: 3,
  device: "cpu",
} as VaeOptions;
const training = { steps: 300, batchSize: 32 };

describe("standardize", () => {
  test("does what standardized rows do, in the rows' own units", async () => {
    const preparation = standardizer(table, { except: ["flag"] });
    const { prepare: _, ...bare } = options;
    await using own = vae(options);
    await using outside = vae(bare);
    await own.fit(table, training);
    await outside.fit(preparation.apply(table), training);
    const [a, b] = [await own.score(table), await outside.score(preparation.apply(table))];
    a.forEach((score, row) => {
      expect(score).toBeCloseTo(b[row]!, 2);
    });
    const [ours, theirs] = [await own.reconstruct(table), preparation.invert(await outside.reconstruct(preparation.apply(table)))];
    const scale = [1e-3, 100, 1, 1];
    ours.forEach((value, index) => {
      expect(Math.abs(value - theirs[index]!) / scale[index % 4]!).toBeLessThan(0.02);
    });
    const samples = await own.sample(100, { seed: 1 });
    const days = samples.filter((_value, index) => index % 4 === 1);
    expect(Math.min(...days)).toBeGreaterThan(400);
    expect(Math.max(...days)).toBeLessThan(1000);
  });

  test("is learned from the first training alone, and saved", async () => {
    await using model = vae(options);
    const [first, second] = split(table, { fraction: 0.5, seed: 1 });
    await model.fit(first, { steps: 5, batchSize: 16 });
    const statistics = async (of: typeof model) => [...(await of.parameters()).get("prepare.mean")!.data];
    const learned = await statistics(model);
    expect(learned[1]).toBeCloseTo(standardizer(first).mean[1]!, 2);
    expect(learned.slice(2)).toEqual([24, 0]); // a constant column; one that was left out
    await model.fit(second, { steps: 5, batchSize: 16 });
    expect(await statistics(model)).toEqual(learned);
    await model.save(join(folder, "table.vae"));
    await using again = await load(join(folder, "table.vae"), { device: "cpu" });
    expect(again.config.prepare).toEqual({ kind: "standardize", except: ["flag"] });
    expect(await statistics(again)).toEqual(learned);
    expect(await again.score(table)).toEqual(await model.score(table));
    const shuffled = datasets.records([{ flag: 1, voltage: 24, days: 700, metres: 0.005 }]);
    const inOrder = datasets.records([{ metres: 0.005, days: 700, voltage: 24, flag: 1 }]);
    expect(await again.score(shuffled)).toEqual(await again.score(inOrder));
  });

  test("leaves the columns of a text's categories as they are", async () => {
    await using model = vae({ ...options, input: [3], prepare: "standardize" });
    const rows: Dataset = {
      ...datasets.from(Float32Array.from([5, 1, 0, 7, 0, 1, 9, 1, 0]), [3]),
      columns: ["size", "colour=blue", "colour=red"],
      categories: { colour: ["blue", "red"] },
    };
    await model.fit(rows, { steps: 2, batchSize: 3 });
    expect([...(await model.parameters()).get("prepare.mean")!.data]).toEqual([7, 0, 0]);
    // Later rows may lack a category, and may not have another one.
    const blue = { ...datasets.from(Float32Array.of(5, 1), [2]), columns: ["size", "colour=blue"], categories: { colour: ["blue"] } };
    expect(await model.score(blue)).toEqual((await model.score(rows)).slice(0, 1));
    const green = { ...blue, columns: ["size", "colour=green"], categories: { colour: ["green"] } };
    await expect(model.score(green)).rejects.toThrow(/has no category "green" of "colour"\n.*it knows "blue", "red"/);
  });

  test("is the table preset's, and needs rows of any values", async () => {
    expect(presets.table({ columns: 4 }).prepare).toEqual(standardize());
    expect(() => vae({ ...options, likelihood: bernoulli() })).toThrow(
      /^prepare: rows prepared by standardize have any values.*\n.*gaussian/,
    );
    expect(() => vae({ ...options, prepare: "standardise" as never })).toThrow(
      /unknown preparation kind "standardise"\n.*did you mean "standardize"/,
    );
    await using model = vae({ ...options, prepare: standardize({ except: ["flags"] }) });
    await expect(model.fit(table, training)).rejects.toThrow(/expected except to name columns of .*; received "flags"/);
    await model.dispose();
  });

  test("rows far from unit scale are no reason to warn", async () => {
    const warnings: Error[] = [];
    const listen = (warning: Error): void => void warnings.push(warning);
    process.on("warning", listen);
    await using model = vae(options);
    const { warnings: told } = await model.fit(table, { steps: 1 });
    await new Promise(setImmediate);
    process.off("warning", listen);
    expect([told, warnings]).toEqual([[], []]);
  });
});
