// Which columns become what: labels, categories, names of all kinds, and rows that are prepared like those of another file.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type CsvDataset, type CsvOptions, type CsvPreparation, datasets } from "../../lib/index.js";
import { failure, temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();
let files = 0;

function file(content: string): string {
  const path = join(folder, `${files++}.csv`);
  writeFileSync(path, content);
  return path;
}

function read(content: string, options?: CsvOptions): Promise<CsvDataset> {
  return datasets.csv(file(content), options);
}

async function refusal(content: string, options: CsvOptions, code: "file" | "argument" = "argument"): Promise<string> {
  return (await failure(code, () => read(content, options))).message;
}

describe("labels", () => {
  test("of whole numbers are taken as they are, however they are spelt", async () => {
    const { labels, labelNames, columns } = await read("x,y\n1,7\n2,-3\n3,07\n4,1e1\n", { label: "y" });
    expect({ labels, labelNames, columns }).toEqual({ labels: Int32Array.of(7, -3, 7, 10), labelNames: undefined, columns: ["x"] });
  });

  test("are numbered in sorted order where one of them is no whole number", async () => {
    const { labels, labelNames } = await read("x,y\n1,7\n2,b\n3,07\n4,7\n5,a\n", { label: "y" });
    expect(labelNames).toEqual(["07", "7", "a", "b"]);
    expect(labels).toEqual(Int32Array.of(1, 3, 0, 1, 2));
    expect((await read("x,y\n1,0.5\n2,3000000000\n", { label: "y" })).labelNames).toEqual(["0.5", "3000000000"]);
  });

  test("of dropped rows leave nothing behind", async () => {
    const dataset = await read("x,y,c\n1,7,u\n,b,v\n2,8,w\n", { label: "y", categorical: ["c"], missing: "drop" });
    expect(dataset).toMatchObject({ labels: Int32Array.of(7, 8), labelNames: undefined, columns: ["x", "c=u", "c=w"] });
  });

  test("are no features", async () => {
    const text = "a,bad\n1,0\n2,1\n";
    expect(await refusal(text, { columns: ["a", "bad"], label: "bad" })).toMatch(/label "bad" is among the columns/);
    expect(await refusal(text, { categorical: ["bad"], label: "bad" })).toMatch(/label "bad" is among the categorical columns/);
    expect(await refusal(text, { columns: ["a"], categorical: ["bad"] })).toMatch(/"bad" among the columns in use/);
    expect(await refusal(text, { columns: ["a", "a"] })).toMatch(/different names; received "a" twice/);
    expect(await refusal("bad\n1\n", { label: "bad" })).toMatch(/at least one column beside the label/);
  });
});

describe("names", () => {
  test("may be those of properties that every object has", async () => {
    const names = ["constructor", "__proto__", "toString", "hasOwnProperty", "length"];
    const { columns, data, labelNames } = await read(`${names.join()},t\n1,2,3,4,5,__proto__\n1,2,3,4,5,constructor\n`, { label: "t" });
    expect(columns).toEqual(names);
    expect([...data.subarray(0, 5)]).toEqual([1, 2, 3, 4, 5]);
    expect(labelNames).toEqual(["__proto__", "constructor"]);
    const categories = await read("__proto__\nconstructor\ntoString\n", { categorical: ["__proto__"] });
    expect(categories.columns).toEqual(["__proto__=constructor", "__proto__=toString"]);
  });

  test("that are unknown get a suggestion and a short list", async () => {
    const names = Array.from({ length: 50_000 }, (_, index) => `gene${index}`);
    const text = `${names.join()}\n${names.map(() => 1).join()}\n`;
    const message = await refusal(text, { columns: ["gen7"] });
    expect(message).toMatch(/no column "gen7"; expected "gene0", .*"gene7", … \(50000 in all\)\n.*did you mean "gene/);
    expect(message.length).toBeLessThan(700);
    expect(await refusal(text, { label: "state" })).toMatch(/no column "state"/);
    expect(await refusal("a,b\n1,2\n", { categorical: ["c"] })).toMatch(/no column "c"/);
    expect((await refusal(`"${"x".repeat(100_000)}"\n1\n`, { columns: ["x"] })).length).toBeLessThan(500);
  });

  test("are told apart in the result", async () => {
    const message = await refusal("a,a=x\nx,1\n", { categorical: ["a"] }, "file");
    expect(message).toMatch(/two columns of the result are called "a=x"/);
  });

  test("may be given in any order", async () => {
    const { columns, data } = await read("a,b,c\n1,2,3\n", { columns: ["c", "a"] });
    expect([columns, [...data]]).toEqual([
      ["c", "a"],
      [3, 1],
    ]);
  });
});

describe("like", () => {
  const training = "height,colour,weight,state\n1,red,10,ok\n3,blue,20,bad\n5,red,60,ok\n";
  const options: CsvOptions = { categorical: ["colour"], label: "state", standardize: true };

  test("prepares a file as another was, by name", async () => {
    const trained = await read(training, options);
    expect(trained.columns).toEqual(["height", "colour=blue", "colour=red", "weight"]);
    const again = await read("state,extra,weight,height,colour\nbad,x,20,3,blue\nok,y,10,1,red\n", { like: trained });
    const size = trained.columns.length;
    expect([...again.data]).toEqual([...trained.data.subarray(size, 2 * size), ...trained.data.subarray(0, size)]);
    expect(again).toMatchObject({
      columns: trained.columns,
      labels: Int32Array.of(0, 1),
      labelNames: ["bad", "ok"],
      standardization: trained.standardization,
      preparation: trained.preparation,
    });
  });

  test("has every number of the file, unstandardized", async () => {
    const { data, columns, standardization } = await read(training, options);
    const { mean, standardDeviation } = standardization!;
    const weights = [0, 1, 2].map((row) => {
      const column = columns.indexOf("weight");
      return data[row * columns.length + column]! * standardDeviation[column]! + mean[column]!;
    });
    for (const [row, weight] of [10, 20, 60].entries()) expect(weights[row]).toBeCloseTo(weight, 4);
  });

  test("takes what was kept as JSON", async () => {
    const trained = await read(training, options);
    const like = JSON.parse(JSON.stringify(trained.preparation)) as CsvPreparation;
    expect((await read(training, { like })).data).toEqual(trained.data);
    expect(like).toMatchObject({ standardize: true, label: { name: "state", names: ["bad", "ok"] } });
  });

  test("needs no label, and remembers it", async () => {
    const trained = await read(training, options);
    const unlabelled = await read("height,colour,weight\n1,red,10\n", { like: trained });
    expect(unlabelled.labels).toBeUndefined();
    expect(unlabelled.preparation.label).toEqual({ name: "state", names: ["bad", "ok"] });
    const renamed = await read("height,colour,weight,condition\n1,red,10,ok\n", { like: trained, label: "condition" });
    expect(renamed.labels).toEqual(Int32Array.of(1));
  });

  test("fills in the means of the other file", async () => {
    const plain = await read("a,b\n1,10\n3,\n", { missing: "mean" });
    expect([...plain.data]).toEqual([1, 10, 3, 10]);
    expect([...(await read("a,b\n,7\n", { like: plain, missing: "mean" })).data]).toEqual([2, 7]);
    const scaled = await read("a,b\n1,10\n3,20\n", { standardize: true });
    expect([...(await read("a,b\n,25\n", { like: scaled, missing: "mean" })).data]).toEqual([0, 2]);
    expect(await refusal("a,b\n,25\n", { like: scaled }, "file")).toMatch(/line 2, column "a": missing value/);
  });

  test("refuses what the other file did not have", async () => {
    const trained = await read(training, options);
    expect(await refusal("height,colour,weight\n1,green,10\n", { like: trained }, "file")).toMatch(
      /line 2, column "colour": not a category of the other file.*"green"/,
    );
    expect(await refusal("height,colour,weight,state\n1,red,10,odd\n", { like: trained }, "file")).toMatch(
      /column "state": not a category/,
    );
    expect(await refusal("height,weight\n1,10\n", { like: trained })).toMatch(/no column "colour"/);
    const numbered = await read("a,y\n1,5\n2,6\n", { label: "y" });
    expect((await read("a,y\n1,9\n", { like: numbered })).labels).toEqual(Int32Array.of(9));
    expect(await refusal("a,y\n1,nine\n", { like: numbered }, "file")).toMatch(/column "y": not a category/);
  });

  test("knows one category, and categories that look missing", async () => {
    const one = await read("c,x\nonly,1\n", { categorical: ["c"] });
    expect([...(await read("c,x\nonly,2\n", { like: one })).data]).toEqual([1, 2]);
    const country = await read("c,x\nNA,1\nDE,2\n", { categorical: ["c"], missingValues: [""] });
    expect([...(await read("c,x\nNA,3\n", { like: country })).data]).toEqual([0, 1, 3]);
  });

  test("excludes what it says itself, and is checked", async () => {
    const trained = await read(training, options);
    expect(await refusal(training, { like: trained, standardize: false })).toMatch(/like and standardize exclude each other/);
    expect(await refusal(training, { like: trained, columns: ["height"] })).toMatch(/like and columns exclude/);
    const { preparation } = trained;
    const broken: unknown[] = [
      null,
      5,
      [],
      {},
      { preparation: 5 },
      { ...preparation, columns: [] },
      { ...preparation, columns: [{ name: "height" }] },
      { ...preparation, columns: [{ name: "height", mean: 0, standardDeviation: 0, average: 0 }] },
      { ...preparation, columns: [{ name: "colour", categories: ["a", "a"] }] },
      { ...preparation, columns: [preparation.columns[0], preparation.columns[0]] },
      { ...preparation, label: "state" },
      { ...preparation, standardize: undefined },
    ];
    for (const like of broken) {
      if (like === null) continue;
      expect(await refusal(training, { like: like as CsvPreparation })).toMatch(/like is not usable.*\n.*datasets\.csv/);
    }
  });
});
