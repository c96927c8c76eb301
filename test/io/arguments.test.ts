// What callers of the io room may get wrong: options, paths, data sets and sources. All of it is a VaeError that says what.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { VaeErrorCode } from "../../lib/errors.js";
import {
  type CsvOptions,
  concatenateDatasets,
  type DataSource,
  type Dataset,
  datasets,
  loadCheckpoint,
  readSafetensors,
  type SheetOptions,
  saveCheckpoint,
  saveImages,
  split,
  subset,
  toDataset,
  writeSafetensors,
} from "../../lib/io/index.js";
import { failure, temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();
const table = join(folder, "table.csv");
writeFileSync(table, "a,b,state\n1,,x\n3,4,y\n");
const sheet = join(folder, "sheet.png");
const grey = new Float32Array(4);
const dataset: Dataset = { data: new Float32Array(20), rows: 10, shape: [2], name: "rows" };

describe("options", () => {
  test.each<[string, () => unknown, RegExp]>([
    [
      "csv, misspelt",
      () => datasets.csv(table, { standardise: true } as CsvOptions),
      /unknown option "standardise"[\s\S]*mean "standardize"/,
    ],
    ["csv, missing", () => datasets.csv(table, { missing: "men" } as unknown as CsvOptions), /missing to be .*"mean".*received "men"/],
    ["csv, missing not finite", () => datasets.csv(table, { missing: Number.NaN }), /missing to be .*received NaN/],
    ["csv, missing beyond float32", () => datasets.csv(table, { missing: 1e39 }), /missing to be .*float32.*received 1e\+39/],
    ["csv, header", () => datasets.csv(table, { header: "no" } as unknown as CsvOptions), /header to be true or false; received "no"/],
    ["csv, one column", () => datasets.csv(table, { columns: "a" } as unknown as CsvOptions), /columns to be an array .*received "a"/],
    ["csv, no columns", () => datasets.csv(table, { columns: [] }), /at least one column/],
    ["csv, categories", () => datasets.csv(table, { categorical: [1] } as unknown as CsvOptions), /categorical to be an array/],
    ["csv, label", () => datasets.csv(table, { label: 2 } as unknown as CsvOptions), /label to be a name; received 2/],
    ["csv, delimiter", () => datasets.csv(table, { delimiter: "" }), /delimiter to be .*received ""/],
    ["csv, not an object", () => datasets.csv(table, null as unknown as CsvOptions), /an object of options; received null/],
    ["mnist, misspelt", () => datasets.mnist({ trian: false } as object), /unknown option "trian"[\s\S]*mean "train"/],
    ["mnist, train", () => datasets.mnist({ train: "test" } as object), /train to be true or false/],
    ["idx, misspelt", () => datasets.idx("x.idx", { label: "y.idx" } as object), /unknown option "label"[\s\S]*mean "labels"/],
    ["npy, misspelt", () => datasets.npy("x.npy", { label: "y.npy" } as object), /unknown option "label"/],
    ["npz, misspelt", () => datasets.npz("x.npz", { name: "y" } as object), /unknown option "name"/],
    ["npz, key", () => datasets.npz("x.npz", { key: 3 } as object), /key to be a name; received 3/],
    ["images, none", () => datasets.images(folder, undefined as never), /an object of options; received undefined/],
    ["images, no size", () => datasets.images(folder, {} as never), /size to be \[height, width\]/],
    ["images, size", () => datasets.images(folder, { size: [4, 4, 3] } as never), /size to be \[height, width\].*received \[4,4,3\]/],
    ["images, misspelt", () => datasets.images(folder, { size: [4, 4], chanels: 1 } as never), /unknown option "chanels"/],
    ["images, labels", () => datasets.images(folder, { size: [4, 4], labels: "name" } as never), /labels to be "folder"/],
    ["images, resize", () => datasets.images(folder, { size: [4, 4], resize: "crop" } as never), /resize to be "cover"/],
    ["saveImages, none", () => saveImages(sheet, grey, undefined as never), /^saveImages: .*options; received undefined/],
    ["saveImages, misspelt", () => saveImages(sheet, grey, { shape: [2, 2, 1], colums: 3 } as SheetOptions), /mean "columns"/],
    ["saveImages, scale", () => saveImages(sheet, grey, { shape: [2, 2, 1], scale: 0.5 }), /scale to be a whole number/],
    ["saveImages, no rows", () => saveImages(sheet, undefined as never, { shape: [2, 2, 1] }), /Float32Array .*received undefined/],
    ["saveImages, a pair", () => saveImages(sheet, { pairs: [grey] } as never, { shape: [2, 2, 1] }), /Float32Array .*received/],
    ["split, none", () => split(dataset, undefined as never), /^split: .*options; received undefined/],
    ["split, misspelt", () => split(dataset, { fracton: 0.1 } as object), /mean "fraction"/],
    ["split, seed", () => split(dataset, { count: 1, seed: 0.5 }), /seed to be a whole number/],
    ["subset, none", () => subset(dataset, undefined as never), /^subset: .*indices.*received undefined/],
    ["subset, misspelt", () => subset(dataset, { begin: 3 } as object), /unknown option "begin"/],
    ["subset, a name", () => subset(dataset, "all" as never), /indices.*received "all"/],
  ])("%s", async (_, call, message) => {
    expect((await failure("argument", call)).message).toMatch(message);
  });

  test("absent ones may be undefined", async () => {
    const absent = { columns: undefined, label: "state", delimiter: undefined, missing: "mean" } as unknown as CsvOptions;
    expect((await datasets.csv(table, absent)).columns).toEqual(["a", "b"]);
  });
});

test.each<[string, (path: string) => unknown]>([
  ["csv", (path) => datasets.csv(path)],
  ["idx", (path) => datasets.idx(path)],
  ["npy", (path) => datasets.npy(path)],
  ["npz", (path) => datasets.npz(path)],
  ["images", (path) => datasets.images(path, { size: [4, 4] })],
  ["saveImages", (path) => saveImages(path, grey, { shape: [2, 2, 1] })],
  ["readSafetensors", (path) => readSafetensors(path)],
  ["writeSafetensors", (path) => writeSafetensors(path, { tensors: new Map(), metadata: {} })],
  ["load", (path) => loadCheckpoint(path)],
  ["save", (path) => saveCheckpoint(path, { config: {}, tensors: new Map() })],
])("%s: what is no path", async (name, call) => {
  for (const path of [undefined, null, 5, "", {}, ["a.csv"]]) {
    const error = await failure("argument", () => call(path as string));
    expect(error.message).toMatch(new RegExp(`${name}: expected the path of a (file|folder); received `));
  }
  expect((await failure("file", () => call("no\0path"))).message).toContain(name);
});

describe("a data set", () => {
  const uses: [string, (broken: Dataset) => unknown][] = [
    ["fit", (broken) => toDataset(broken, [2], "fit")],
    ["subset", (broken) => subset(broken, [0])],
    ["split", (broken) => split(broken, { count: 1 })],
    ["concatenateDatasets", (broken) => concatenateDatasets([dataset, broken])],
  ];
  const broken: [string, Partial<Record<keyof Dataset, unknown>>, VaeErrorCode, RegExp][] = [
    ["without a shape", { shape: undefined }, "shape", /shape of rows .*received undefined/],
    ["with another kind of shape", { shape: "2" }, "shape", /shape of rows .*received "2"/],
    ["without rows", { rows: undefined }, "argument", /rows .*received undefined/],
    ["with half a row", { rows: 9.5 }, "argument", /rows .*received 9\.5/],
    ["without data", { data: undefined }, "argument", /Float32Array.*received undefined/],
    ["with a list as data", { data: Array(20).fill(0) }, "argument", /Float32Array.*received \[0,0/],
    ["with doubles", { data: new Float64Array(20) }, "dtype", /Float32Array.*received a Float64Array/],
    ["with too few values", { data: new Float32Array(19) }, "shape", /does not hold as much as it says.*19 values/],
    ["with too few labels", { labels: new Int32Array(9) }, "shape", /10 labels.*9 labels/],
  ];
  for (const [name, use] of uses) {
    test.each(broken)(`%s, to ${name}`, async (_, change, code, message) => {
      const error = await failure(code, () => use({ ...dataset, ...change } as Dataset));
      expect(error.message).toMatch(message);
      expect(error.operation).toBe(name);
    });
  }

  test("with parts left out altogether is still called what it is", async () => {
    const { shape, ...rest } = dataset;
    expect((await failure("shape", () => toDataset(rest as Dataset, shape, "fit"))).message).toMatch(/shape of rows/);
  });

  test("needs no name", () => {
    const { name, ...rest } = dataset;
    expect(toDataset(rest as Dataset, [2], "fit")).toMatchObject({ name: "Dataset", data: dataset.data });
    expect(name).toBe("rows");
  });

  test("what is none", async () => {
    for (const none of [undefined, null, 3, [1, 2]]) {
      for (const [name, use] of uses.slice(1)) {
        const error = await failure("argument", () => use(none as unknown as Dataset));
        expect(error.message).toMatch(new RegExp(`^${name}: expected a Dataset`));
      }
    }
    expect((await failure("argument", () => concatenateDatasets(undefined as never))).message).toMatch(/array of data sets/);
  });
});

describe("a source", () => {
  const message = async (source: unknown, code: VaeErrorCode = "argument") =>
    (await failure(code, () => toDataset(source as DataSource, [6], "fit"))).message;

  test("of another kind is named in a line", async () => {
    expect(await message("x".repeat(1_000_000))).toMatch(/^fit: expected .*; received "x{50,80}.?…?"?…?\n.*datasets\.csv/);
    expect((await message("x".repeat(1_000_000))).length).toBeLessThan(400);
    expect(await message(undefined)).toMatch(/received undefined$/);
    expect(await message(null)).toMatch(/received null$/);
    expect(await message(7n)).toMatch(/received 7n$/);
    expect(await message([undefined])).toMatch(/row 0 .*received undefined/);
    expect(await message(["x".repeat(1_000_000)])).toMatch(/row 0 .*received "x{50,80}/);
    expect((await message(["x".repeat(1_000_000)])).length).toBeLessThan(400);
    expect(await message([[[1, 2, 3, 4, 5, 6]], undefined].values())).toMatch(/batch 1 .*received undefined/);
  });

  test("has numbers only, in every place of a row", async () => {
    expect(await message([[0, null, 1, 0, 1, 0]])).toMatch(/row 0 .*an array with null at index 1\n.*missing/);
    expect(await message([[0, 1, 0, 1, 0, undefined]])).toMatch(/row 0 .*undefined at index 5/);
    expect(
      await message([
        [1, 2, 3, 4, 5, 6],
        [0, 1, "0.5", 0, 0, 0],
      ]),
    ).toMatch(/row 1 .*"0\.5" at index 2\n.*Number/);
    expect(await message([[true, 1, 0, 1, 0, 0]])).toMatch(/true at index 0/);
    expect(await message([[0, 1, 2, [3], 4, 5]])).toMatch(/\[3\] at index 3/);
    expect(await message([BigInt64Array.of(1n, 2n, 3n, 4n, 5n, 6n)])).toMatch(/1n at index 0/);
    // biome-ignore lint/suspicious/noSparseArray: that is what is tested
    expect(await message([[0, , 1, 0, 1, 0]])).toMatch(/undefined at index 1/);
    // biome-ignore lint/suspicious/noSparseArray: that is what is tested
    expect(await message([[1, 2, 3, 4, 5, 6], , [1, 2, 3, 4, 5, 6]])).toMatch(/row 1 .*received undefined/);
  });
});

describe("standardize", () => {
  const standardized = async (cells: readonly string[], missing: "error" | "mean" = "error") => {
    const path = join(folder, "constant.csv");
    writeFileSync(path, `k,x\n${cells.map((cell, row) => `${cell},${row}`).join("\n")}\n`);
    const { data, standardization } = await datasets.csv(path, { standardize: true, missing });
    const values = Array.from(data).filter((_, index) => index % 2 === 0);
    return { values, mean: standardization!.mean[0], deviation: standardization!.standardDeviation[0] };
  };

  test("makes zeros of a constant column, whatever the constant and however often", async () => {
    for (const constant of ["0.1", "0.7", "-1e-30", "16777217", "3.3e38", "0"]) {
      for (const rows of [1, 3, 7, 10, 1000]) {
        const { values, mean, deviation } = await standardized(Array(rows).fill(constant));
        expect(new Set(values), `${rows} × ${constant}`).toEqual(new Set([0]));
        expect([mean, deviation]).toEqual([Math.fround(Number(constant)), 1]);
      }
    }
    const { values, deviation } = await standardized([...Array(9).fill("0.1"), ""], "mean");
    expect([new Set(values), deviation]).toEqual([new Set([0]), 1]);
  });

  test("keeps the digits of a small spread on a large offset", async () => {
    const { values, deviation } = await standardized(["1000000000.25", "1000000000.75"]);
    expect(values).toEqual([-1, 1]);
    expect(deviation).toBe(0.25);
  });
});
