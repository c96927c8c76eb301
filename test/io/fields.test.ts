// Data sets with named fields, as a user makes them and hands them on.
import { Readable } from "node:stream";
import { runInNewContext } from "node:vm";
import { describe, expect, expectTypeOf, test } from "vitest";
import {
  concatenateDatasets,
  type DataSource,
  type Dataset,
  datasets,
  dense,
  type Field,
  type FieldArray,
  fieldsOf,
  split,
  standardizer,
  subset,
  vae,
  withField,
} from "../../lib/index.js";
import { checkFields } from "../../lib/io/check.js";
import { isFieldRecord, toDataset } from "../../lib/io/index.js";
import { alignColumns } from "../../lib/io/names.js";
import { failure } from "../support/io.js";

/** Rows whose two values tell which row they are: [row, -row]. */
const rowsFrom = (first: number, count: number): Dataset => ({
  data: Float32Array.from({ length: 2 * count }, (_, index) => (index % 2 === 0 ? 1 : -1) * (first + Math.floor(index / 2))),
  rows: count,
  shape: [2],
  columns: ["up", "down"],
  name: `rows from ${first}`,
});

const CITIES = ["Bonn", "Aachen", "Köln"];
const cityOf = (row: number): string => CITIES[(row * 7) % 3]!;

/** The same with fields of every kind, each of which tells which row it belongs to. */
const fielded = (first: number, count: number): Dataset => {
  const index = Array.from({ length: count }, (_, row) => first + row);
  let dataset = withField(rowsFrom(first, count), "label", index.map(cityOf));
  dataset = withField(dataset, "age", index);
  dataset = withField(dataset, "grey", Uint8Array.from(index));
  dataset = withField(dataset, "city", index.map(cityOf));
  return withField(dataset, "tokens", Int32Array.from(index.flatMap((row) => [row, 10 * row, 100 * row])), { shape: [3] });
};

const textOf = ({ data, names }: Field, row: number): string | undefined => names?.[data[row]!];

/** Checks that every field of every row is that of the row that x says it is. */
function expectWhole(dataset: Dataset, rows: readonly number[]): void {
  const { x, label, age, grey, city, tokens } = fieldsOf(dataset) as Record<string, Field>;
  expect(dataset.rows).toBe(rows.length);
  for (const [place, row] of rows.entries()) {
    expect([x!.data[2 * place]!, x!.data[2 * place + 1]!].map(Math.abs)).toEqual([row, row]);
    expect([age!.data[place], grey!.data[place]]).toEqual([row, row]);
    expect([textOf(label!, place), textOf(city!, place)]).toEqual([cityOf(row), cityOf(row)]);
    expect([...tokens!.data.subarray(3 * place, 3 * place + 3)]).toEqual([row, 10 * row, 100 * row]);
  }
}

describe("withField", () => {
  const rows = rowsFrom(0, 4);

  test("makes a field of what callers have", () => {
    const field = (values: Parameters<typeof withField>[2], shape?: number[]) =>
      fieldsOf(withField(rows, "f", values, shape === undefined ? {} : { shape })).f;
    expect(field("A")).toEqual({ data: new Int32Array(4), shape: [], names: ["A"] });
    expect(field(0.5)).toEqual({ data: Float32Array.of(0.5, 0.5, 0.5, 0.5), shape: [] });
    expect(field(2, [2])).toEqual({ data: new Float32Array(8).fill(2), shape: [2] });
    expect(field(["b", "a", "b", "c"])).toEqual({ data: Int32Array.of(0, 1, 0, 2), shape: [], names: ["b", "a", "c"] });
    expect(field([1, 2, 3, 4])).toEqual({ data: Float32Array.of(1, 2, 3, 4), shape: [] });
    for (const data of [Int32Array.of(3, 2, 1, 0), Uint8Array.of(3, 2, 1, 0), Float32Array.of(3, 2, 1, 0)]) {
      expect(field(data)).toEqual({ data, shape: [] });
      expect(field(data)!.data).not.toBe(data);
    }
    expect(field(Int32Array.from({ length: 24 }), [2, 3])?.shape).toEqual([2, 3]);
    expect(field(["a", "b", "b", "a", "c", "a", "a", "a"], [2])).toMatchObject({ shape: [2], names: ["a", "b", "c"] });
    const given: Field = { data: Int32Array.of(0, 1, 1, 0), shape: [], names: ["no", "yes"] };
    expect(field(given)).toEqual(given);
    expect(field(given)!.data).toBe(given.data);
  });

  test("leaves the data set alone, keeps the other fields, and replaces one of the same name", () => {
    const one = withField(rows, "site", "A");
    expect(rows.fields).toBeUndefined();
    const two = withField(one, "age", [1, 2, 3, 4]);
    expect(Object.keys(fieldsOf(one))).toEqual(["x", "site"]);
    expect(Object.keys(fieldsOf(two))).toEqual(["x", "site", "age"]);
    expect(fieldsOf(withField(two, "site", "B")).site!.names).toEqual(["B"]);
    expect(two.data).toBe(rows.data);
  });

  test("copies what the caller may change, and uses large and shared arrays in place", () => {
    const small = new Float32Array(4);
    const dataset = withField(rows, "f", small);
    small[0] = 7;
    structuredClone(small.buffer, { transfer: [small.buffer] });
    expect(fieldsOf(dataset).f!.data).toEqual(new Float32Array(4));
    const shared = new Int32Array(new SharedArrayBuffer(16));
    const large = new Float32Array(2 ** 21 + 4);
    expect(fieldsOf(withField(rows, "f", shared)).f!.data).toBe(shared);
    expect(fieldsOf(withField(rows, "f", large, { shape: [large.length / 4] })).f!.data).toBe(large);
    const pooled = Buffer.from([1, 2, 3, 4]);
    const { data } = fieldsOf(withField(rows, "f", pooled)).f!;
    pooled[0] = 9;
    expect(data).toEqual(Uint8Array.of(1, 2, 3, 4));
  });

  test("label sets labels and their names", async () => {
    expect(withField(rows, "label", ["cat", "dog", "cat", "cat"])).toMatchObject({
      labels: Int32Array.of(0, 1, 0, 0),
      labelNames: ["cat", "dog"],
    });
    for (const values of [[3, 1, 2, 0], Int32Array.of(3, 1, 2, 0), Uint8Array.of(3, 1, 2, 0)]) {
      const dataset = withField(withField(rows, "label", "before"), "label", values);
      expect(dataset.labels).toEqual(Int32Array.of(3, 1, 2, 0));
      expect(dataset.labelNames).toBeUndefined();
      expect(dataset.fields).toBeUndefined();
    }
    expect(withField(rows, "label", [2 ** 30 + 1, 0, 0, 0]).labels![0]).toBe(2 ** 30 + 1);
    expect((await failure("data", () => withField(rows, "label", [0, 0.5, 1, 1]))).message).toMatch(/value 1 .*whole number/);
    expect((await failure("dtype", () => withField(rows, "label", new Float32Array(4)))).hint).toMatch(/Int32Array/);
    await failure("shape", () => withField(rows, "label", new Int32Array(8), { shape: [2] }));
  });

  test("refuses names that no field can have", async () => {
    for (const name of ["", "a b", "a/b", "__proto__", "constructor", "toString", "é", "a".repeat(65), 7, undefined, Symbol("s")]) {
      expect((await failure("argument", () => withField(rows, name as string, 1))).message).toMatch(/^withField: .*name of a field/);
    }
    expect(Object.keys(fieldsOf(withField(rows, "a".repeat(64), 1)))[1]).toHaveLength(64);
    expect((await failure("argument", () => withField(rows, "x", rows.data))).hint).toMatch(/datasets\.from/);
  });

  test("refuses values that do not fit, and says what does", async () => {
    const refused = async (code: Parameters<typeof failure>[0], values: unknown, options = {}): Promise<string> =>
      (await failure(code, () => withField(rows, "f", values as number, options))).message;
    expect(await refused("shape", [1, 2, 3])).toMatch(/"f".*expected 4 values for 4 rows; received 3/);
    expect(await refused("shape", new Int32Array(12))).toMatch(/withField\(rows, "f", values, \{ shape: \[3\] \}\)/);
    expect(await refused("shape", new Int32Array(12), { shape: [4] })).toMatch(/16 values for 4 rows of shape \[4\]/);
    expect(await refused("argument", ["a", 1, "b", "c"])).toMatch(/value 1 of .*a text.*received 1/);
    expect(await refused("argument", [1, 2, null, 3])).toMatch(/value 2 of .*received null/);
    expect(await refused("argument", new Array(4))).toMatch(/value 0 .*received undefined/);
    expect(await refused("argument", [[1], [2], [3], [4]])).toMatch(/one flat list/);
    expect(await refused("data", [1, Number.NaN, 2, 3])).toMatch(/value 1 .*finite/);
    expect(await refused("data", 1e39)).toMatch(/float32/);
    expect(await refused("dtype", new Float64Array(4))).toMatch(/Float32Array\.from/);
    expect(await refused("dtype", new BigInt64Array(4))).toMatch(/Int32Array\.from\(values, Number\)/);
    expect(await refused("argument", Promise.resolve([1]))).toMatch(/await it/);
    expect(await refused("argument", undefined)).toMatch(/received undefined/);
    expect(await refused("argument", "A", { shapes: [2] })).toMatch(/unknown option "shapes"/);
    expect(await refused("shape", 1, { shape: [0] })).toMatch(/at least 1/);
    expect(await refused("argument", { data: new Float32Array(4), shape: [] }, { shape: [] })).toMatch(/no option shape/);
    expect(await refused("dtype", { data: new Float32Array(4), shape: [], names: ["a"] })).toMatch(/Int32Array/);
    expect(await refused("data", { data: Int32Array.of(0, 1, 2, 0), shape: [], names: ["a", "b"] })).toMatch(/row 2 .*one of 2 names/);
    expect(await refused("argument", { data: new Int32Array(4), shape: [], names: ["a", "a"] })).toMatch(/twice/);
    const gone = new Float32Array(4);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    expect(await refused("detached", gone)).toMatch(/transferred/);
    expect((await failure("argument", () => withField({} as Dataset, "f", 1))).message).toMatch(/a Dataset/);
  });

  test("takes arrays of another realm", () => {
    const values = runInNewContext("Int32Array.of(1, 2, 3, 4)");
    expect([...fieldsOf(withField(rows, "f", values)).f!.data]).toEqual([1, 2, 3, 4]);
  });
});

describe("fieldsOf", () => {
  test("shows the rows as x, and labels as label", () => {
    const dataset: Dataset = { ...rowsFrom(0, 2), labels: Int32Array.of(1, 0), labelNames: ["a", "b"] };
    expect(fieldsOf(dataset)).toEqual({
      x: { data: dataset.data, shape: [2] },
      label: { data: dataset.labels, shape: [], names: ["a", "b"] },
    });
    expect(fieldsOf({ ...dataset, labelNames: undefined }).label).toEqual({ data: dataset.labels, shape: [] });
    expectTypeOf(fieldsOf(dataset)).toEqualTypeOf<Readonly<Record<string, Field>>>();
    expectTypeOf<Field["data"]>().toEqualTypeOf<FieldArray>();
  });

  test("the digits have a label", async () => {
    const { x, label } = fieldsOf(await datasets.mnist({ train: false, limit: 3 }));
    expect(x).toMatchObject({ shape: [28, 28, 1] });
    expect(label).toEqual({ data: Int32Array.of(7, 2, 1), shape: [] });
  });

  test("refuses data sets whose fields are not right", async () => {
    const rows = rowsFrom(0, 2);
    const refused = async (code: Parameters<typeof failure>[0], fields: unknown): Promise<string> =>
      (await failure(code, () => fieldsOf({ ...rows, fields: fields as Record<string, Field> }))).message;
    expect(await refused("argument", [])).toMatch(/object of fields by name/);
    expect(await refused("argument", { label: { data: new Int32Array(2), shape: [] } })).toMatch(/labels and labelNames/);
    expect(await refused("argument", { "a b": { data: new Int32Array(2), shape: [] } })).toMatch(/name of a field/);
    expect(await refused("argument", { site: "A" })).toMatch(/"site" of rows from 0 as \{ data, shape \}/);
    expect(await refused("argument", { site: { data: [1, 2], shape: [] } })).toMatch(/as a Float32Array/);
    expect(await refused("shape", { site: { data: new Int32Array(2), shape: 1 } })).toMatch(/shape/);
    expect(await refused("shape", { site: { data: new Int32Array(3), shape: [] } })).toMatch(/2 values for 2 rows/);
    const gone = new Float32Array(2);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    expect(await refused("detached", { site: { data: gone, shape: [] } })).toMatch(/"site"/);
  });
});

describe("rows keep their fields", () => {
  test("in subset and split, also of rows twice and in another order", () => {
    const all = fielded(0, 20);
    expectWhole(all, [...Array(20).keys()]);
    expectWhole(subset(all, { start: 3, end: 7 }), [3, 4, 5, 6]);
    expectWhole(subset(all, [9, 2, 2, 19]), [9, 2, 2, 19]);
    const [rest, part] = split(all, { count: 6, seed: 3 });
    expectWhole(
      part,
      [...part.data].filter((_, index) => index % 2 === 0),
    );
    expectWhole(
      rest,
      [...rest.data].filter((_, index) => index % 2 === 0),
    );
    expect(rest.rows + part.rows).toBe(20);
    const copy = subset(all, { end: 1 });
    fieldsOf(copy).age!.data[0] = 9;
    expect(fieldsOf(all).age!.data[0]).toBe(0);
  });

  test("in concatenateDatasets, categories by name", () => {
    const [a, b, c] = [fielded(0, 5), fielded(4, 5), fielded(2, 3)];
    expect(fieldsOf(a).city!.names).not.toEqual(fieldsOf(b).city!.names);
    expectWhole(concatenateDatasets([a, b, c]), [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 2, 3, 4]);
    const sites = concatenateDatasets([withField(rowsFrom(0, 1), "site", "A"), withField(rowsFrom(1, 2), "site", "B")]);
    expect(fieldsOf(sites).site).toEqual({ data: Int32Array.of(0, 1, 1), shape: [], names: ["A", "B"] });
    expect(concatenateDatasets([rowsFrom(0, 1), rowsFrom(1, 1)]).fields).toBeUndefined();
  });

  test("concatenateDatasets refuses fields that are not the same", async () => {
    const of = (values: Parameters<typeof withField>[2], options = {}) => withField(rowsFrom(0, 2), "f", values, options);
    const refused = async (code: Parameters<typeof failure>[0], other: Dataset): Promise<string> => {
      await failure(code, () => concatenateDatasets([other, of([1, 2])]));
      return (await failure(code, () => concatenateDatasets([of([1, 2]), other]))).message;
    };
    expect(await refused("data", rowsFrom(0, 2))).toMatch(/has the field "f" and .* has none.*\n.*withField/);
    expect(await refused("dtype", of("A"))).toMatch(/float32.*received int32/);
    expect(await refused("shape", of(new Float32Array(4), { shape: [2] }))).toMatch(/rows of \[\]/);
    const numbers = of(Int32Array.of(0, 1));
    expect((await failure("data", () => concatenateDatasets([of("A"), numbers]))).message).toMatch(/categories with names/);
    const broken = { ...rowsFrom(0, 2), fields: { f: { data: Int32Array.of(0, 5), shape: [], names: ["A"] } } };
    expect((await failure("data", () => concatenateDatasets([of("A"), broken]))).message).toMatch(/the f of row 1 .*received 5/);
  });

  test("in a standardizer, in another order of columns, and in datasets.from", async () => {
    const all = fielded(1, 9);
    const rows = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    const prepared = standardizer(all).apply(all);
    expect(prepared.data).not.toEqual(all.data);
    expectWhole({ ...prepared, data: all.data }, rows);
    const aligned = await alignColumns(all, ["down", "up"], "fit", "the model");
    expect(aligned.columns).toEqual(["down", "up"]);
    expectWhole(aligned, rows);
    expectWhole(datasets.from(all, [2, 1]), rows);
    expectWhole(toDataset(all, [1, 2], "fit") as Dataset, rows);
    const raw = withField({ data: Uint8Array.of(0, 1, 1, 0), rows: 2, shape: [2], bytes: "raw", name: "masks" }, "site", ["A", "B"]);
    expect(toDataset(raw, [2], "fit")).toMatchObject({ data: Float32Array.of(0, 1, 1, 0), fields: raw.fields });
  });
});

describe("data sets that are objects of a caller's", () => {
  test("are read once: a getter cannot give what was not checked", () => {
    const { data, shape } = rowsFrom(0, 2);
    let asked = 0;
    const fickle = {
      ...rowsFrom(0, 2),
      get fields() {
        return asked++ === 0 ? { age: { data: Float32Array.of(1, 2), shape: [] } } : (null as never);
      },
    };
    expect(Object.keys(fieldsOf(subset(fickle, [1])))).toEqual(["x", "age"]);
    expect(asked).toBe(1);
    class Readings implements Dataset {
      readonly data = data;
      readonly shape = shape;
      readonly rows = 2;
      readonly name = "readings";
      get fields() {
        return { age: { data: Float32Array.of(1, 2), shape: [] } };
      }
    }
    expect(fieldsOf(subset(new Readings(), [1])).age!.data).toEqual(Float32Array.of(2));
  });

  test("keep what loaders add to theirs", () => {
    const loaded = { ...rowsFrom(0, 2), warnings: ["rounded"] };
    expect(withField(loaded, "site", "A")).toMatchObject({ warnings: ["rounded"] });
    expect(subset(loaded, [0])).toMatchObject({ warnings: ["rounded"] });
  });
});

describe("a record of arrays by name", () => {
  test("is a source of rows", () => {
    const record = {
      x: Float32Array.of(1, 2, 3, 4),
      label: ["b", "a"],
      site: "A",
      age: [30, 40],
      grey: Uint8Array.of(1, 2),
      tokens: { data: Int32Array.of(1, 2, 3, 4, 5, 6), shape: [3] },
    };
    expectTypeOf(record).toExtend<DataSource>();
    const dataset = datasets.from(record, [2]);
    expect(dataset).toMatchObject({ rows: 2, shape: [2], data: record.x, labels: Int32Array.of(0, 1), labelNames: ["b", "a"] });
    const { site, age, grey, tokens } = fieldsOf(dataset);
    expect([site, age]).toEqual([
      { data: new Int32Array(2), shape: [], names: ["A"] },
      { data: Float32Array.of(30, 40), shape: [] },
    ]);
    expect([grey, tokens]).toEqual([{ data: record.grey, shape: [] }, record.tokens]);
    expect(datasets.from({ x: [[1, 2], [3, 4]] }, [2]).data).toEqual(record.x); // biome-ignore format: rows
    expect(datasets.from({ x: Uint8Array.of(0, 1), label: [0, 1] }, [1], { bytes: "raw" })).toMatchObject({
      data: Float32Array.of(0, 1),
      labels: Int32Array.of(0, 1),
    });
  });

  test("is told from data sets, fields, options and iterables", () => {
    const x = new Float32Array(2);
    for (const record of [{ x }, { x: 7 }, { images: x }, { x, data: x }, Object.assign(Object.create(null), { x })]) {
      expect(isFieldRecord(record)).toBe(true);
    }
    const field: Field = { data: x, shape: [] };
    const dataset: Dataset = { data: x, rows: 2, shape: [1], name: "rows" };
    const { proxy, revoke } = Proxy.revocable({ x }, {});
    revoke();
    for (const other of [field, dataset, { ...dataset, x }, x, [x], { epochs: 3 }, {}, null, "x", [x].values(), new Map(), proxy]) {
      expect(isFieldRecord(other)).toBe(false);
    }
  });

  test("needs x, and a value of every field for every row", async () => {
    const refused = async (code: Parameters<typeof failure>[0], record: unknown): Promise<string> =>
      (await failure(code, () => datasets.from(record as Float32Array, [2]))).message;
    expect(await refused("argument", { images: new Float32Array(4), label: [1, 2] })).toMatch(/field x; received "images", "label"/);
    expect(await refused("argument", { x: "rows" })).toMatch(/x of a record of fields/);
    expect(await refused("argument", { x: rowsFrom(0, 2), label: [1, 2] })).toMatch(/withField/);
    expect(await refused("dtype", { x: new Float64Array(4) })).toMatch(/x of/);
    expect(await refused("shape", { x: new Float32Array(3) })).toMatch(/multiple of 2/);
    expect(await refused("data", { x: new Float32Array(0), label: [] })).toMatch(/empty/);
    expect(await refused("shape", { x: new Float32Array(4), label: [1] })).toMatch(/2 values for 2 rows/);
    expect(await refused("argument", { x: new Float32Array(4), label: undefined })).toMatch(/"label".*received undefined/);
    expect(await refused("argument", { x: new Float32Array(4), "a b": [1, 2] })).toMatch(/name of a field/);
    expect(await refused("argument", JSON.parse('{ "x": [[1, 2]], "__proto__": [1] }'))).toMatch(/"__proto__"/);
  });

  test("trains a model and is encoded like its rows", async () => {
    using model = vae({
      input: [2],
      latent: 1,
      encoder: [dense(3)],
      decoder: [dense(3)],
      likelihood: "gaussian",
      device: "cpu",
      threads: 1,
    });
    const x = Float32Array.of(0.1, 0.2, 0.3, 0.4, 0.5, 0.6);
    const record = { x, label: ["a", "b", "a"], age: [1, 2, 3] };
    expect((await model.fit(record, { steps: 2, batchSize: 2, validation: record })).steps).toBe(2);
    expect(model.labelNames).toEqual(["a", "b"]);
    expect(await model.encode(record)).toEqual(await model.encode(x));
    expect((await failure("argument", () => model.encode({ rows: x } as never))).message).toMatch(/^encode: .*the field x/);
  });
});

describe("batches that are records", () => {
  const batches = () => [
    { x: Float32Array.of(1, -1, 2, -2), label: ["b", "a"], site: "A", tokens: Int32Array.of(5, 6) },
    { x: [], label: [], site: "A", tokens: new Int32Array(0) },
    { x: [[3, -3]], label: ["c"], site: "B", tokens: Int32Array.of(7) },
    { x: Float32Array.of(4, -4, 5, -5), label: ["a", "c"], site: ["B", "C"], tokens: Int32Array.of(8, 9) },
  ];
  const expected = {
    rows: 5,
    data: Float32Array.of(1, -1, 2, -2, 3, -3, 4, -4, 5, -5),
    labels: Int32Array.of(0, 1, 2, 1, 2),
    labelNames: ["b", "a", "c"],
    fields: {
      site: { data: Int32Array.of(0, 0, 1, 1, 2), shape: [], names: ["A", "B", "C"] },
      tokens: { data: Int32Array.of(5, 6, 7, 8, 9), shape: [] },
    },
  };

  test("are put together by name, from iterables of both kinds", async () => {
    async function* arriving() {
      yield* batches();
    }
    expect(datasets.from(batches().values(), [2])).toMatchObject(expected);
    expect(await datasets.from(arriving(), [2])).toMatchObject(expected);
    expect(await datasets.from(Readable.from(batches()), [2])).toMatchObject(expected);
  });

  test("may use their memory again", async () => {
    async function* again() {
      const [x, tokens] = [new Float32Array(2), new Int32Array(new SharedArrayBuffer(4))];
      for (let row = 0; row < 3; row++) {
        x.fill(row);
        tokens.fill(row);
        yield { x, tokens, same: { data: tokens, shape: [] } };
      }
    }
    const { fields } = await datasets.from(again(), [2]);
    expect(fields?.tokens?.data).toEqual(Int32Array.of(0, 1, 2));
    expect(fields?.same?.data).toEqual(Int32Array.of(0, 1, 2));
  });

  test("have the same fields, or none is a record", async () => {
    const refused = async (code: Parameters<typeof failure>[0], ...list: unknown[]): Promise<string> =>
      (await failure(code, () => datasets.from((list as Float32Array[]).values(), [2]))).message;
    const x = new Float32Array(2);
    expect(await refused("argument", { x, label: [1] }, x)).toMatch(/batch 1 .*record with the fields/);
    expect(await refused("argument", x, { x, label: [1] })).toMatch(/batch 1 .*without other fields/);
    expect(await refused("data", { x, label: [1] }, { x })).toMatch(/batch 0 has the field "label" and batch 1 has none/);
    expect(await refused("dtype", { x, age: [1] }, { x, age: Int32Array.of(1) })).toMatch(/"age" of batch 1.*int32/);
    expect(await refused("shape", { x, age: [1, 2] })).toMatch(/"age" .*batch 0/);
    expect(await refused("argument", { label: [1] })).toMatch(/batch 0 to have the field x/);
    expect(await refused("data", { x: [], label: [] })).toMatch(/empty/);
  });

  test("end a reading with enough steps, and fields count towards the limit of memory", async () => {
    using model = vae({
      input: [2],
      latent: 1,
      encoder: [dense(3)],
      decoder: [dense(3)],
      likelihood: "gaussian",
      device: "cpu",
      threads: 1,
    });
    let closed = false;
    function* endless() {
      try {
        for (;;) yield { x: [[0.1, 0.2], [0.3, 0.4]], label: ["a", "b"] }; // biome-ignore format: rows
      } finally {
        closed = true;
      }
    }
    expect((await model.fit(endless(), { steps: 3, batchSize: 4 })).steps).toBe(3);
    expect(closed).toBe(true);
    // Never touched, so that it takes no memory: it is refused before it is copied.
    const wide = { data: new Uint8Array(2 ** 29 + 1), shape: [2 ** 29 + 1] };
    const heavy = () => [{ x: [[0, 0]], wide }].values();
    expect((await failure("data", () => datasets.from(heavy(), [2]))).message).toMatch(/512 MiB/);
    expect((await failure("data", () => datasets.from(endless(), [2], { maxRows: 7 }))).message).toMatch(/at most 7 rows/);
  });
});

describe("checkFields", () => {
  test("finds what cannot be trained on, row by row", async () => {
    const rows = rowsFrom(0, 3);
    await checkFields(rows, "fit");
    await checkFields(fielded(0, 5), "fit");
    const holes = withField(rows, "age", Float32Array.of(1, 2, 3, 4, Number.NaN, 6), { shape: [2] });
    expect((await failure("data", () => checkFields(holes, "fit"))).message).toMatch(/^fit: the field "age" of row 2 .*NaN/);
    const strange = { ...rows, fields: { site: { data: Int32Array.of(0, -1, 0), shape: [], names: ["A"] } } };
    expect((await failure("data", () => checkFields(strange, "fit"))).message).toMatch(/the site of row 1 /);
  });
});
