// CSV files of all kinds on the command line.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, expect, test } from "vitest";
import { run } from "../support/cli.js";

const folder = mkdtempSync(join(tmpdir(), "node-vae-cli-csv-"));
afterAll(() => rmSync(folder, { recursive: true }));

const train = (file: string, ...options: string[]) =>
  run(["train", "--data", file, ...options, "--hidden", "none", "--latent", "1", "--steps", "2", "--out", "model.vae"], { cwd: folder });

test("dialects are options, or told from the file", async () => {
  writeFileSync(join(folder, "excel.csv"), "\ufeffa;b;kind\r\n1,5;2,25;x\r\n# pause\r\n3,5;NA;y\r\n4;1;x\r\n");
  const german = await train("excel.csv", "--decimal", ",", "--label", "kind", "--comment", "#", "--missing", "drop");
  expect(german.stderr).toContain("2 rows of 2 from excel.csv");
  expect(german.code, german.stderr).toBe(0);
  writeFileSync(join(folder, "packed.tsv.gz"), gzipSync("2020\t2021\n1\t0\n0\t1\n"));
  const packed = await train("packed.tsv.gz", "--header");
  expect(packed.stderr).toContain("2 rows of 2 from packed.tsv.gz");
  expect((await train("packed.tsv.gz", "--no-header")).stderr).toContain("3 rows of 2 from packed.tsv.gz");
  expect((await train("packed.tsv.gz")).stderr).toMatch(/the header holds only numbers/);
});

test("options that cannot be are refused", async () => {
  expect((await train("excel.csv", "--missing", "men")).stderr).toMatch(/Expected error, mean, drop or a number/);
  expect((await train("excel.csv", "--encoding", "ebcdic")).stderr).toMatch(/Allowed choices are utf-8/);
  expect((await train("excel.csv")).stderr).toMatch(/line 2, column "a": not a number[\s\S]*decimal: ","/);
});
