// What is asked of the CSV parser beyond cells: lines, their order, and time in proportion where records differ in length.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type CsvOptions, datasets } from "../../lib/index.js";
import { failure, temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();

function file(content: string): string {
  const path = join(folder, "rows.csv");
  writeFileSync(path, content);
  return path;
}

async function refusal(content: string, options?: CsvOptions): Promise<string> {
  return (await failure("file", () => datasets.csv(file(content), options))).message;
}

test.each<[string, string, CsvOptions, number]>([
  ["only some of which end with a delimiter", `v\n${"1,\n".repeat(30)}${"1\n".repeat(200_000)}`, {}, 200_030],
  ["that are longer than the header", `a,b\n${"1,2,\n".repeat(200_000)}`, {}, 200_000],
  ["with blank lines between", `a,b\n${"1,2\n\n".repeat(200_000)}`, {}, 200_000],
  ["with comments and blank lines between", `a,b\n${"1,2\n\n#\n".repeat(200_000)}`, { comment: "#" }, 200_000],
])("rows %s are read in proportion", async (_, content, options, rows) => {
  const path = file(content);
  const before = process.cpuUsage();
  expect((await datasets.csv(path, options)).rows).toBe(rows);
  const { user, system } = process.cpuUsage(before);
  // An error per row would take ten seconds and more.
  expect((user + system) / 1e6).toBeLessThan(3);
});

test("the first fault of a file is told, with the line that it has in an editor", async () => {
  expect(await refusal('a,b\n1,x\n2,3"\n')).toMatch(/line 2, column "b": not a number/);
  expect(await refusal('a,b\n1,2\n2,3"\n')).toMatch(/line 3: a quote in the middle of a cell; received it in cell 2/);
  expect(await refusal("sep=;\r\na;b\r\n1;x\r\n")).toMatch(/line 3, column "b"/);
  expect(await refusal('t,a\r\n"1\r\n\r2\n3",1\r\nx,bad\r\n', { columns: ["a"] })).toMatch(/line 6, column "a"/);
  for (const comment of ["#", "//"]) {
    expect(await refusal(`v\n${comment} one\n\n${comment} two\n1\n`, { comment })).toMatch(/line 3, column "v": missing value/);
  }
});

test("a head that is cut inside of quotes still tells the delimiter", async () => {
  const names = Array.from({ length: 40_000 }, (_, index) => `"a name, longer than most ${index}"`);
  const content = `${names.join(";")}\n${names.map(() => 1).join(";")}\n`;
  expect(content.length).toBeGreaterThan(1 << 20);
  expect((await datasets.csv(file(content))).shape).toEqual([40_000]);
});
