import { describe, expect, test } from "vitest";
import type { VaeErrorCode } from "../../lib/errors.js";
import {
  checkFinite,
  checkRange,
  checkValues,
  concatenateDatasets,
  type DataSource,
  type Dataset,
  split,
  subset,
  toDataset,
} from "../../lib/io/index.js";
import { failure } from "../support/io.js";

const values = (length: number) => Float32Array.from({ length }, (_, index) => index / length);

describe("toDataset", () => {
  test("copies typed arrays, so that the caller may change or transfer them", () => {
    const source = values(12);
    const dataset = toDataset(source, [2, 3], "fit");
    expect(dataset).toMatchObject({ rows: 2, shape: [2, 3] });
    source[0] = 9;
    structuredClone(source.buffer, { transfer: [source.buffer] });
    expect(dataset.data).toEqual(values(12));
  });

  test("copies a Buffer, which is a view of a pool", () => {
    const source = Buffer.from([1, 2, 3, 4]);
    const { data } = toDataset(source, [2], "fit");
    source[0] = 9;
    expect(data).toEqual(new Uint8Array([1, 2, 3, 4]));
    expect(data).not.toBeInstanceOf(Buffer);
  });

  test("copies up to 8 MiB, and uses larger arrays in place", () => {
    for (const [bytes, inPlace] of [
      [2 ** 23, false],
      [2 ** 23 + 4, true],
    ] as const) {
      const source = new Float32Array(bytes / 4);
      expect(toDataset(source, [1], "fit").data === source).toBe(inPlace);
    }
  });

  test("uses shared memory and data sets in place", () => {
    const shared = new Float32Array(new SharedArrayBuffer(16));
    expect(toDataset(shared, [4], "fit").data).toBe(shared);
    const dataset: Dataset = { data: values(8), rows: 2, shape: [2, 2, 1], labels: Int32Array.of(0, 1), name: "mine" };
    expect(toDataset(dataset, [2, 2, 1], "fit")).toBe(dataset);
    const flat = toDataset(dataset, [4], "fit");
    expect(flat).toMatchObject({ shape: [4], labels: Int32Array.of(0, 1) });
    expect(flat.data).toBe(dataset.data);
    expect(toDataset(dataset, [2, 2], "fit").shape).toEqual([2, 2]);
  });

  test("takes arrays of rows as floats, and of bytes as bytes", () => {
    expect(toDataset([[1, 2], Float64Array.of(3, 4)], [2], "fit").data).toEqual(Float32Array.of(1, 2, 3, 4));
    expect(toDataset([Uint8Array.of(1, 2), Uint8Array.of(3, 4)], [2], "fit").data).toEqual(Uint8Array.of(1, 2, 3, 4));
  });

  test("collects iterables and async iterables of batches", async () => {
    const batches = Array.from({ length: 300 }, (_, index) => Float32Array.of(index, 1, index, 2));
    const expected = Float32Array.from(batches.flatMap((batch) => [...batch]));
    expect(toDataset(batches.values(), [2], "fit")).toMatchObject({ rows: 600, data: expected });
    async function* stream() {
      yield* batches;
      yield [
        [7, 8],
        [9, 10],
      ];
    }
    const dataset = await toDataset(stream(), [2], "fit");
    expect(dataset.rows).toBe(602);
    expect([...dataset.data.subarray(1200)]).toEqual([7, 8, 9, 10]);
    expect(dataset.data.length).toBe(1204);
  });

  test("refuses lengths that are no rows", async () => {
    const error = await failure("shape", () => toDataset(values(1000), [28, 28, 1], "fit"));
    expect(error.message).toMatch(/^fit: .*multiple of 784.*\[28, 28, 1\].*1000 values/);
    expect(
      (
        await failure("shape", () =>
          toDataset(
            [
              [1, 2],
              [1, 2, 3],
            ],
            [2],
            "fit",
          ),
        )
      ).message,
    ).toMatch(/row 1 .*expected 2 .*received 3/);
    expect((await failure("shape", () => toDataset([[[1], [2]]] as unknown as DataSource, [2], "fit"))).code).toBe("shape");
    expect((await failure("shape", () => toDataset([[[1, 2]], [[3, 4]]] as unknown as DataSource, [2], "fit"))).hint).toMatch(/flat/);
    const batches = [values(4), values(5)];
    expect((await failure("shape", () => toDataset(batches.values(), [2], "fit"))).message).toMatch(/batch 1 .*multiple of 2.*5 values/);
    expect((await failure("shape", () => toDataset([values(4)], [2], "fit"))).hint).toMatch(/batches\.values\(\)/);
    async function* stream() {
      yield values(2);
      yield [[1, 2], [1]];
    }
    expect((await failure("shape", () => toDataset(stream(), [2], "fit"))).message).toMatch(/batch 1, row 1/);
  });

  test("refuses rows of another shape with the same number of values", async () => {
    const dataset: Dataset = { data: values(24), rows: 2, shape: [3, 2, 2], name: "channels first" };
    expect((await failure("shape", () => toDataset(dataset, [2, 2, 3], "fit"))).received).toBe("[3, 2, 2]");
    expect((await failure("shape", () => toDataset({ ...dataset, rows: 3 }, [3, 2, 2], "fit"))).received).toBe("24 values");
    const labels = Int32Array.of(1);
    expect((await failure("shape", () => toDataset({ ...dataset, labels }, [3, 2, 2], "fit"))).received).toMatch(/1 labels/);
    for (const shape of [[-2], [1.5], [0]]) await failure("shape", () => toDataset(values(4), shape, "fit"));
  });

  test("refuses empty sources", async () => {
    for (const source of [new Float32Array(0), [], [].values(), [new Float32Array(0)].values()] as DataSource[]) {
      expect((await failure("data", () => toDataset(source, [2], "fit"))).message).toMatch(/empty/);
    }
    await failure("data", () => toDataset((async function* () {})(), [2], "fit"));
  });

  test("refuses buffers that were transferred or resized", async () => {
    const detached = values(4);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const buffer: ArrayBuffer = Reflect.construct(ArrayBuffer, [16, { maxByteLength: 16 }]);
    const resized = new Float32Array(buffer, 4, 3);
    Reflect.apply(Reflect.get(buffer, "resize"), buffer, [8]);
    for (const source of [
      detached,
      resized,
      [detached],
      [[detached]].values(),
      { data: detached, rows: 2, shape: [2], name: "x" },
    ] as DataSource[]) {
      expect((await failure("detached", () => toDataset(source, [2], "fit"))).hint).toMatch(/copy/);
    }
  });

  test("refuses other kinds of sources, and says what to do", async () => {
    const cases: [unknown, VaeErrorCode, RegExp][] = [
      [Float64Array.of(1, 2), "dtype", /Float32Array\.from/],
      [Uint8ClampedArray.of(1, 2), "dtype", /new Uint8Array/],
      ["digits.csv", "argument", /datasets\.csv/],
      [Promise.resolve(values(2)), "argument", /await/],
      [[1, 2], "argument", /Float32Array\.from/],
      [[["1", "2"]], "argument", /Number/],
      [null, "argument", /null/],
      [{}, "argument", /received \{\}/],
      [[Uint8Array.of(1, 2), [0.5, 1]], "dtype", /row 1.*bytes/],
    ];
    for (const [source, code, message] of cases) {
      expect((await failure(code, () => toDataset(source as DataSource, [2], "fit"))).message).toMatch(message);
    }
  });
});

describe("values", () => {
  const dataset = (data: Float32Array | Uint8Array, columns?: string[]): Dataset => ({
    data,
    rows: data.length / 4,
    shape: [4],
    columns,
    name: "rows",
  });

  test("NaN and infinities are named by row and column", async () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const data = values(40);
      data[27] = value;
      const call = () => checkFinite(dataset(data), "fit");
      expect((await failure("data", call)).message).toContain(`row 6, column 3 of rows is ${value}`);
      expect((await failure("data", () => checkRange(dataset(data), { low: 0, high: 1 }, "fit"))).message).toContain(`is ${value}`);
    }
    checkFinite(dataset(Float32Array.of(3.4e38, -3.4e38, 0, -0)), "fit");
  });

  test("values outside the range are named, with their column and a hint", async () => {
    const data = values(8);
    data[5] = 1.5;
    const error = await failure("data", () => checkRange(dataset(data, ["a", "b", "c", "d"]), { low: 0, high: 1 }, "fit"));
    expect(error.message).toMatch(/row 1, column 1 \("b"\) of rows is 1\.5; expected values in \[0, 1\]/);
    expect(error.hint).toMatch(/gaussian/);
    data[5] = 1;
    checkRange(dataset(data), { low: 0, high: 1 }, "fit");
  });

  test("bytes stand for value / 255", async () => {
    checkRange(dataset(Uint8Array.of(0, 255, 1, 2)), { low: 0, high: 1 }, "fit");
    checkFinite(dataset(Uint8Array.of(0, 255, 1, 2)), "fit");
    expect((await failure("data", () => checkRange(dataset(Uint8Array.of(0, 255, 1, 2)), { low: 0, high: 0.5 }, "fit"))).received).toBe(
      "1",
    );
  });

  test("the check in slices finds the same, and lets timers run in between", async () => {
    const data = new Float32Array(2 ** 23).fill(0.5);
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await checkValues(dataset(data), { low: 0, high: 1 }, "fit");
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(0);
    data[data.length - 1] = Number.NaN;
    await failure("data", () => checkValues(dataset(data), undefined, "fit"));
    await failure("data", () => checkValues(dataset(data), { low: 0, high: 1 }, "fit"));
  });
});

describe("subset, split, concatenate", () => {
  const dataset: Dataset = {
    data: values(20),
    rows: 10,
    shape: [2],
    labels: Int32Array.from({ length: 10 }, (_, row) => row),
    name: "rows",
  };

  test("subset copies the rows asked for", async () => {
    const some = subset(dataset, [3, 1, 3]);
    expect([...(some.labels ?? [])]).toEqual([3, 1, 3]);
    expect([...some.data]).toEqual([6, 7, 2, 3, 6, 7].map((index) => values(20)[index]));
    const range = subset(dataset, { start: 8 });
    expect(range).toMatchObject({ rows: 2, labels: Int32Array.of(8, 9), data: values(20).slice(16) });
    expect(range.data.buffer).not.toBe(dataset.data.buffer);
    await failure("argument", () => subset(dataset, [10]));
    await failure("argument", () => subset(dataset, { end: 11 }));
  });

  test("split parts the rows at random, the same way for the same seed", async () => {
    const [rest, part] = split(dataset, { fraction: 0.3, seed: 4 });
    expect([rest.rows, part.rows]).toEqual([7, 3]);
    expect([...(rest.labels ?? []), ...(part.labels ?? [])].sort()).toEqual([...(dataset.labels ?? [])]);
    expect(split(dataset, { count: 3, seed: 4 })[1]).toEqual(part);
    const parts = new Set(Array.from({ length: 20 }, (_, seed) => String(split(dataset, { count: 3, seed })[1].labels)));
    expect(parts.size).toBeGreaterThan(10);
    for (const options of [{}, { fraction: 1 }, { count: 0 }, { count: 10 }, { fraction: 0.5, count: 2 }]) {
      await failure("argument", () => split(dataset, options));
    }
  });

  test("concatenate puts rows behind each other", async () => {
    expect(concatenateDatasets([subset(dataset, { end: 4 }), subset(dataset, { start: 4 })])).toMatchObject({
      data: dataset.data,
      labels: dataset.labels,
    });
    await failure("shape", () => concatenateDatasets([dataset, { ...dataset, shape: [2, 1] }]));
    await failure("dtype", () => concatenateDatasets([dataset, { ...dataset, data: new Uint8Array(20) }]));
    await failure("argument", () => concatenateDatasets([]));
  });
});
