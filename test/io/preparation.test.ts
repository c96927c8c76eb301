// Preparation that is learned from training rows alone, and rows that come as objects.
import { describe, expect, test } from "vitest";
import { type Dataset, datasets, type Standardization, standardizer } from "../../lib/index.js";
import { failure } from "../support/io.js";

const training = datasets.records([
  { x: 1, y: 100, z: 5, flag: 1 },
  { x: 3, y: 300, z: 5, flag: 0 },
  { x: 5, y: 500, z: 5, flag: 0 },
]);

describe("standardizer", () => {
  test("learns from the rows it is given, and prepares others alike", () => {
    const preparation = standardizer(training, { except: ["flag"] });
    const deviation = Math.sqrt(8 / 3);
    expect(preparation).toMatchObject({ columns: ["x", "y", "z", "flag"], mean: [3, 300, 5, 0] });
    expect(preparation.standardDeviation).toEqual([deviation, expect.closeTo(100 * deviation, 9), 1, 1]);
    const prepared = preparation.apply(training);
    expect([...prepared.data.subarray(0, 4)]).toEqual([Math.fround(-2 / deviation), Math.fround(-2 / deviation), 0, 1]);
    const later = preparation.apply(datasets.records([{ flag: 1, z: 7, y: 300, x: 3 }]));
    expect(later).toMatchObject({ columns: ["x", "y", "z", "flag"], data: Float32Array.of(0, 0, 2, 1) });
    const inverted = preparation.invert(prepared.data as Float32Array);
    inverted.forEach((value, index) => {
      expect(Math.abs(value - training.data[index]!)).toBeLessThanOrEqual(1e-6 * training.data[index]!);
    });
  });

  test("is the same after JSON", async () => {
    const preparation = standardizer(training);
    const saved = JSON.parse(JSON.stringify(preparation));
    expect(Object.keys(saved)).toEqual(["columns", "mean", "standardDeviation"]);
    for (const again of [standardizer(saved), standardizer(preparation)]) {
      expect(again.apply(training)).toEqual(preparation.apply(training));
      expect(JSON.stringify(again)).toBe(JSON.stringify(preparation));
    }
    const wrong: unknown[] = [
      {},
      { ...saved, mean: [1] },
      { ...saved, standardDeviation: [1, 1, 0, 1] },
      { ...saved, mean: [1, 2, null, 4] },
      { ...saved, columns: ["a", "a", "b", "c"] },
      { ...saved, more: 1 },
      null,
      [saved],
      "text",
    ];
    for (const value of wrong) await failure("argument", () => standardizer(value as Standardization));
    await failure("shape", () => standardizer({ ...saved, columns: ["a"] }));
    await failure("argument", () => standardizer(saved, { except: ["x"] }));
  });

  test("checks columns by name, and rows without names by their number of values", async () => {
    const preparation = standardizer(training);
    const renamed = datasets.records([{ x: 1, yy: 2, z: 3, flag: 0 }]);
    expect((await failure("data", () => preparation.apply(renamed))).message).toMatch(/missing "y"; unknown "yy"/);
    expect(preparation.apply(datasets.from([[3, 300, 5, 1]], [4])).columns).toEqual(["x", "y", "z", "flag"]);
    await failure("shape", () => preparation.apply(datasets.from([[1, 2, 3]], [3])));
    await failure("shape", () => preparation.invert(new Float32Array(5)));
    await failure("dtype", () => preparation.invert([1, 2, 3, 4] as unknown as Float32Array));
    await failure("argument", () => preparation.apply([1] as unknown as Dataset));
  });

  test("keeps labels, shapes and bytes' meaning", () => {
    const bytes: Dataset = { data: Uint8Array.of(0, 51, 102, 51), rows: 2, shape: [2, 1], labels: Int32Array.of(4, 5), name: "bytes" };
    const preparation = standardizer(bytes);
    expect(preparation.columns).toBeNull();
    expect(preparation.mean).toEqual([0.2, 0.2]);
    expect(preparation.apply(bytes)).toMatchObject({ data: Float32Array.of(-1, 0, 1, 0), shape: [2, 1], labels: bytes.labels });
  });

  test("refuses what has nothing to be learned from, or was prepared already", async () => {
    const gap = { ...training, data: training.data.map((value, index) => (index === 5 ? Number.NaN : value)) };
    for (const call of [() => standardizer(gap), () => standardizer(training).apply(gap)]) {
      expect((await failure("data", call)).message).toMatch(/row 1, column 1 \("y"\)/);
    }
    await failure("data", () => standardizer({ ...training, data: new Float32Array(0), rows: 0 }));
    const prepared = standardizer(training).apply(training);
    expect((await failure("data", () => standardizer(prepared))).message).toMatch(/standardized already/);
    await failure("data", () => standardizer(training).apply(prepared));
    expect((await failure("argument", () => standardizer(training, { except: ["nothing"] }))).message).toMatch(/"nothing"/);
    await failure("argument", () => standardizer(training, { skip: [] } as never));
  });

  test("is exact for constants, and for small differences of large numbers", () => {
    const rows = datasets.records(Array.from({ length: 1000 }, (_, row) => ({ constant: 0.1, large: 1e6 + (row % 2) })));
    const { mean, standardDeviation } = standardizer(rows);
    expect(mean).toEqual([Math.fround(0.1), 1e6 + 0.5]);
    expect(standardDeviation).toEqual([1, 0.5]);
    expect(
      standardizer(rows)
        .apply(rows)
        .data.filter((_, index) => index % 2 === 0),
    ).toEqual(new Float32Array(1000));
  });
});

describe("datasets.records", () => {
  test("takes fields by name", () => {
    const rows = datasets.records([
      { a: 1, b: 2 },
      { b: 4, a: 3 },
    ]);
    expect(rows).toMatchObject({ columns: ["a", "b"], data: Float32Array.of(1, 2, 3, 4), rows: 2, shape: [2] });
    const some = datasets.records([{ time: "now", a: 1, b: 2 }], { columns: ["b", "a"] });
    expect(some).toMatchObject({ columns: ["b", "a"], data: Float32Array.of(2, 1) });
  });

  test("refuses records that do not say what they should, and names them", async () => {
    const cases: [unknown, "data" | "argument", RegExp][] = [
      [[{ a: 1 }, { b: 1 }], "data", /record 1 .*record 0: missing "a"; unknown "b"/],
      [[{ a: 1 }, { a: null }], "data", /"a" of record 1; .*received null/],
      [[{ a: Number.NaN }], "data", /received NaN/],
      [[{ a: 1e300 }], "data", /fits a float32/],
      [[{ a: "1" }], "argument", /received "1"\n.*convert/],
      [[{ a: 1 }, new Map([["a", 1]])], "argument", /record 1 .*plain object; received a Map/],
      [[], "data", /empty/],
      [[{}], "argument", /at least one column/],
      [{ a: 1 }, "argument", /array of objects/],
      [[undefined], "argument", /record 0/],
    ];
    for (const [value, code, message] of cases) {
      expect((await failure(code, () => datasets.records(value as never))).message).toMatch(message);
    }
    expect((await failure("data", () => datasets.records([{ a: 1 }], { columns: ["a", "toString"] }))).message).toMatch(
      /"toString" .*nothing/,
    );
    await failure("argument", () => datasets.records([{ a: 1 }], { column: ["a"] } as never));
  });
});
