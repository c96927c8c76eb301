// Adversarial files: time in proportion to their size, memory within named limits, the event loop free.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type CsvOptions, datasets } from "../../lib/index.js";
import { failure, temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();

function file(content: string | Uint8Array): string {
  const path = join(folder, "rows.csv");
  writeFileSync(path, content);
  return path;
}

/** Seconds of processor time that a call takes. */
async function cost(call: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await call();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

const count = (length: number, show: (index: number) => string) => Array.from({ length }, (_, index) => show(index));

describe("limits have names", () => {
  test.each<[string, string | (() => string | Uint8Array), CsvOptions, RegExp]>([
    ["columns", () => ",".repeat(200_000), {}, /line 1: too many columns.*maxColumns, 100000/],
    ["columns, lowered", "a,b,c\n1,2,3\n", { maxColumns: 2 }, /too many columns.*maxColumns, 2\n.*larger \{ maxColumns \}/],
    ["a cell in quotes", () => `a\n"${"x".repeat(1 << 20)}"\n`, {}, /line 2: a cell is too long.*maxCellLength, 131072/],
    ["a cell without quotes", () => `a\n${"x".repeat(1 << 20)}`, {}, /line 2: a cell is too long/],
    ["a cell of quotes", () => '"'.repeat(1 << 20), {}, /line 1: a cell is too long/],
    ["a cell, lowered", "a\n12345\n", { maxCellLength: 4 }, /line 2: a cell is too long.*maxCellLength, 4 /],
    ["categories", "a\nx\ny\nz\n", { categorical: ["a"], maxCategories: 2 }, /line 4, column "a": too many.*maxCategories, 2;/],
    ["classes", "a,b\n1,x\n1,y\n1,z\n", { label: "b", maxCategories: 2 }, /line 4, column "b": too many.*maxCategories, 2;/],
    [
      "100,000 categories",
      () => `a\n${count(100_000, (index) => `t${index}\n`).join("")}`,
      { categorical: ["a"] },
      /line \d+: the rows become too large.*maxBytes.*\n.*column "a" has \d+ different texts/,
    ],
    ["rows", () => `a\n${"1\n".repeat(1000)}`, { maxBytes: 6000 }, /line 502: the rows become too large.*maxBytes, 6000/],
    ["text", () => gzipSync(`a,b\n1,2\n${"\n".repeat(10_000)}`), { maxBytes: 5000 }, /unpacks to too much text.*maxBytes, 5000/],
  ])("%s", async (_, content, options, message) => {
    const path = file(typeof content === "function" ? content() : content);
    const error = await failure("file", () => datasets.csv(path, options));
    expect(error.message).toMatch(message);
    expect(error.message.length).toBeLessThan(500);
  });

  test("and may be raised", async () => {
    const wide = file(`${count(150_000, (index) => `c${index}`).join()}\n${"1,".repeat(149_999)}2\n`);
    expect((await datasets.csv(wide, { maxColumns: 150_000 })).shape).toEqual([150_000]);
    const long = file(`a\n"${"x".repeat(3 << 20)}"\n`);
    expect((await datasets.csv(long, { categorical: ["a"], maxCellLength: 4 << 20 })).shape).toEqual([1]);
  });

  test("do not count classes that are whole numbers", async () => {
    const path = file(`a,b\n${count(2000, (index) => `1,${index}\n`).join("")}`);
    expect((await datasets.csv(path, { label: "b", maxCategories: 10 })).labels?.at(-1)).toBe(1999);
  });

  test("a gzip bomb is refused before it takes memory", async () => {
    const unit = gzipSync("1\n".repeat(1 << 20));
    const path = file(Buffer.concat([gzipSync("a\n"), ...new Array<Uint8Array>(50).fill(unit)]));
    const before = process.memoryUsage().rss;
    expect((await failure("file", () => datasets.csv(path, { maxBytes: 32 << 20 }))).message).toMatch(/maxBytes/);
    expect(process.memoryUsage().rss - before).toBeLessThan(256 << 20);
  });
});

describe("time is in proportion", () => {
  test.each<[string, (size: number) => string, CsvOptions]>([
    ["columns", (size) => `${count(size, (index) => `gene${index}`).join()}\n${"1,".repeat(size - 1)}2\n`, {}],
    ["columns by name", (size) => `${count(size, (index) => `gene${index}`).join()}\n${"1,".repeat(size - 1)}2\n`, { standardize: true }],
    ["classes", (size) => `a,b\n${count(size, (index) => `1,t${index}\n`).join("")}`, { label: "b" }],
    ["quoted cells", (size) => `a,b\n${count(size, (index) => `1,"t""${index}"\n`).join("")}`, { columns: ["a"] }],
    ["blank lines", (size) => `a,b\n1,2${"\n".repeat(size * 4)}`, {}],
    ["digits of no number", (size) => `a,b\n1,2${"0".repeat(size)}\nx,1${"0".repeat(size)}x\n`, { columns: ["b"], maxCellLength: 1 << 20 }],
  ])("%s", async (_, content, options) => {
    const [small, large] = [10_000, 80_000];
    const reading = (size: number) => {
      const path = file(content(size));
      const all = options.standardize ? { ...options, columns: count(size, (index) => `gene${index}`) } : options;
      return cost(() => datasets.csv(path, all).catch((error: Error) => expect(error.message).toMatch(/not a number/)));
    };
    await reading(small); // compiled once
    const [first, second] = [await reading(small), await reading(large)];
    // Eight times the size; what is quadratic would take 64 times as long.
    expect(second, `${first} s, ${second} s`).toBeLessThan(Math.max(1, 30 * first));
  });
});

test("the event loop has its turns", async () => {
  const path = file(`a,b\n${count(200_000, (index) => `${index},t${index % 50_000}\n`).join("")}`);
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const seconds = await cost(() => datasets.csv(path, { label: "b" }));
  clearInterval(timer);
  expect(turns).toBeGreaterThan(seconds * 20);
});
