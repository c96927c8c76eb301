// Columns and classes go by name: whatever order two data sets have them in, their rows fit together or are refused.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { concatenateDatasets, type Dataset, datasets, split, subset } from "../../lib/index.js";
import { failure, temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();
let files = 0;

function csvFile(text: string): string {
  const path = join(folder, `${files++}.csv`);
  writeFileSync(path, text);
  return path;
}

/** Rows as objects: what they say, whatever the order of the columns. */
function rowsOf({ data, rows, columns = [], labels, labelNames }: Dataset): Record<string, number | string>[] {
  return Array.from({ length: rows }, (_, row) => ({
    ...Object.fromEntries(columns.map((name, column) => [name, data[row * columns.length + column]!])),
    ...(labels === undefined ? {} : { class: labelNames?.[labels[row]!] ?? labels[row]! }),
  }));
}

const named = (columns: readonly string[], values: readonly number[]): Dataset => ({
  data: Float32Array.from(values),
  rows: values.length / columns.length,
  shape: [columns.length],
  columns,
  name: columns.join(""),
});

describe("concatenateDatasets", () => {
  test("renumbers classes by name, and keeps the numbers of the first data set", async () => {
    const a = await datasets.csv(csvFile("x,kind\n1,cat\n2,dog\n"), { label: "kind" });
    const b = await datasets.csv(csvFile("x,kind\n3,bird\n4,dog\n5,ape\n"), { label: "kind" });
    const all = concatenateDatasets([a, b]);
    expect(rowsOf(all).map((row) => row.class)).toEqual(["cat", "dog", "bird", "dog", "ape"]);
    expect([...all.labels!].slice(0, 2)).toEqual([...a.labels!]);
    expect(all.labelNames).toEqual(["cat", "dog", "ape", "bird"]);
    expect(rowsOf(concatenateDatasets([b, a, b])).map((row) => row.class)).toEqual(
      ["bird", "dog", "ape", "cat", "dog", "bird", "dog", "ape"], //
    );
  });

  test("brings columns into the order of the first, bytes and images too", async () => {
    const a = await datasets.csv(csvFile("x,y,z\n1,10,100\n"));
    const b = await datasets.csv(csvFile("z,x,y\n200,2,20\n300,3,30\n"));
    const all = concatenateDatasets([a, b]);
    expect(all.columns).toEqual(["x", "y", "z"]);
    expect([...all.data]).toEqual([1, 10, 100, 2, 20, 200, 3, 30, 300]);
    expect(rowsOf(concatenateDatasets([b, a]))).toEqual([...rowsOf(b), ...rowsOf(a)]);
    const bytes = (columns: string[], values: number[]): Dataset => ({
      ...named(columns, values),
      data: Uint8Array.from(values),
      shape: [2, 1],
    });
    const pixels = concatenateDatasets([bytes(["left", "right"], [1, 2]), bytes(["right", "left"], [4, 3])]);
    expect(pixels.data).toEqual(Uint8Array.of(1, 2, 3, 4));
  });

  test("refuses other columns with their names", async () => {
    const a = named(["temperature", "pressure"], [1, 2]);
    const cases: [readonly string[], RegExp][] = [
      [["temperature", "presure"], /missing "pressure"; unknown "presure"\n.*did you mean "pressure"/],
      [["temperature"], /missing "pressure"/],
      [["temperature", "pressure", "id"], /unknown "id"\n.*columns/],
      [["0", "1"], /missing "temperature", "pressure"; unknown "0", "1"/],
    ];
    for (const [columns, message] of cases) {
      const error = await failure("data", () =>
        concatenateDatasets([
          a,
          named(
            columns,
            columns.map(() => 0),
          ),
        ]),
      );
      expect(error.message).toMatch(message);
    }
    const wide = Array.from({ length: 3000 }, (_, index) => `${"x".repeat(200)}${index}`);
    const other = wide.map((name) => `${name}'`);
    const zeros = wide.map(() => 0);
    const error = await failure("data", () =>
      concatenateDatasets([
        { ...named(wide, zeros), name: "wide" },
        { ...named(other, zeros), name: "other" },
      ]),
    );
    expect(error.message).toMatch(/and 2996 more/);
    expect(error.message.length).toBeLessThan(2000);
  });

  test("names the category that differs", async () => {
    const options = { categorical: ["colour"] };
    const a = await datasets.csv(csvFile("x,colour\n1,red\n2,blue\n"), options);
    const b = await datasets.csv(csvFile("x,colour\n1,red\n2,green\n"), options);
    const error = await failure("data", () => concatenateDatasets([a, b]));
    expect(error.message).toMatch(/column "colour" .* other categories .*missing "blue"; unknown "green"/);
  });

  test("rows without names are taken as they are, and named like the others", () => {
    const { columns, ...bare } = named(["b", "a"], [3, 4]);
    expect(concatenateDatasets([bare, named(["b", "a"], [1, 2])])).toMatchObject({ columns, data: Float32Array.of(3, 4, 1, 2) });
  });

  test("loses neither labels nor names of classes: all have them or none", async () => {
    const labelled = { ...named(["x"], [1, 2]), labels: Int32Array.of(0, 1) };
    const classes = { ...labelled, labelNames: ["cat", "dog"] };
    const bare = named(["x"], [3]);
    expect(concatenateDatasets([labelled, labelled]).labels).toEqual(Int32Array.of(0, 1, 0, 1));
    expect(concatenateDatasets([bare, bare]).labels).toBeUndefined();
    for (const mix of [
      [labelled, bare],
      [bare, labelled],
      [labelled, classes],
      [classes, labelled],
    ]) {
      expect((await failure("data", () => concatenateDatasets(mix))).message).toMatch(/has .* has none/);
    }
    const outside = { ...classes, labels: Int32Array.of(0, 2) };
    expect((await failure("data", () => concatenateDatasets([classes, outside]))).message).toMatch(/label of row 1 .*received 2/);
  });

  test("refuses rows that were standardized with different statistics", async () => {
    const [a, b] = [csvFile("x,y\n1,2\n3,5\n"), csvFile("y,x\n2,1\n5,3\n")];
    const c = csvFile("x,y\n100,2\n300,5\n");
    const load = (path: string, standardize = true) => datasets.csv(path, { standardize });
    const all = concatenateDatasets([await load(a), await load(b)]);
    expect([...all.data]).toEqual([-1, -1, 1, 1, -1, -1, 1, 1]);
    for (const other of [await load(c), await load(a, false)]) {
      const first = await load(a);
      expect((await failure("data", () => concatenateDatasets([first, other]))).message).toMatch(/standardized otherwise/);
      await failure("data", () => concatenateDatasets([other, first]));
    }
  });
});

test("split, subset and datasets.from keep the names", async () => {
  const all = await datasets.csv(csvFile("x,y,kind\n1,2,cat\n3,4,dog\n5,6,cat\n7,8,cat\n"), { label: "kind", standardize: true });
  const names = { columns: ["x", "y"], labelNames: ["cat", "dog"], standardization: all.standardization };
  for (const part of [...split(all, { count: 1 }), subset(all, [0]), subset(all, { start: 1 }), datasets.from(all, [2, 1])]) {
    expect(part).toMatchObject(names);
  }
});

test("names that cannot be right are refused", async () => {
  const two = named(["a", "b"], [1, 2]);
  expect((await failure("shape", () => subset({ ...two, columns: ["a"] }, [0]))).message).toMatch(/one for each of 2; received 1 names/);
  expect((await failure("argument", () => subset({ ...two, columns: ["a", "a"] }, [0]))).message).toMatch(/"a" twice/);
  await failure("argument", () => subset({ ...two, columns: "ab" as unknown as string[] }, [0]));
  await failure("argument", () => subset({ ...two, labelNames: [1] as unknown as string[] }, [0]));
  await failure("argument", () => subset({ ...two, labelNames: ["c", "c"] }, [0]));
  for (const standardization of [null, {}, { mean: [0, 0], standardDeviation: [1, 1] }, { mean: new Float32Array(1) }]) {
    await failure("argument", () => concatenateDatasets([{ ...two, standardization } as unknown as Dataset]));
  }
  expect(concatenateDatasets(Array.from({ length: 9 }, () => two)).name).toBe("ab + ab + ab + ab + 5 more");
});
