// Tables on the command line: standardized unless asked not to, prepared alike by name afterwards, given back in their own units.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { load, type Vae } from "../../lib/index.js";
import { run } from "../support/cli.js";

type Row = Readonly<Record<string, string>>;
const TEAMS = ["red", "blue", "green"] as const;
const noise = (row: number, column: number): number => {
  const x = Math.sin((row * 127.1 + column * 311.7 + 1) * 12.9898) * 43758.5453;
  return x - Math.floor(x) - 0.5;
};
const people: Row[] = Array.from({ length: 120 }, (_, row) => ({
  height: String(170 + 30 * noise(row, 0)),
  weight: String(65_000 + 20_000 * noise(row, 1)),
  team: TEAMS[row % 3]!,
  constant: "7",
}));

let folder: string;
const at = (name: string): string => join(folder, name);
const write = (name: string, columns: readonly string[], rows: readonly Row[]): Promise<void> =>
  writeFile(at(name), `${[columns.join(","), ...rows.map((row) => columns.map((column) => row[column]).join(","))].join("\n")}\n`);
const cli = (...args: string[]) => run(args, { cwd: folder });
async function done(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cli(...args);
  expect(code, stderr).toBe(0);
  return stdout;
}
async function table(name: string): Promise<{ header: string[]; rows: number[][] }> {
  const [header, ...lines] = (await readFile(at(name), "utf8")).trim().split("\n");
  return { header: header!.split(","), rows: lines.map((line) => line.split(",").map(Number)) };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "node-vae-"));
  await write("people.csv", ["height", "weight", "team", "constant"], people);
  await done(
    "train",
    "--data",
    "people.csv",
    "--categorical",
    "team",
    "--hidden",
    "16",
    "--latent",
    "2",
    "--steps",
    "400",
    "--batch",
    "32",
    "--out",
    "people.vae",
  );
}, 60_000);
afterAll(() => rm(folder, { recursive: true }));

/** What the model has learned of its columns. */
async function statisticsOf(model: Vae): Promise<{ mean: number[]; standardDeviation: number[] }> {
  const parameters = await model.parameters();
  const of = (name: string): number[] => [...parameters.get(`prepare.${name}`)!.data];
  return { mean: of("mean"), standardDeviation: of("standardDeviation") };
}

describe("a table", () => {
  it("is standardized, and the model's file says how", async () => {
    using model = await load(at("people.vae"), { device: "cpu" });
    const { mean, standardDeviation } = await statisticsOf(model);
    const { columns, categories } = model;
    expect(columns).toEqual(["height", "weight", "team=blue", "team=green", "team=red", "constant"]);
    expect(categories).toEqual({ team: ["blue", "green", "red"] });
    const heights = people.map(({ height }) => Number(height));
    const average = heights.reduce((total, value) => total + value / 120, 0);
    expect(mean[0]).toBeCloseTo(average, 3);
    expect(standardDeviation[0]).toBeCloseTo(Math.sqrt(heights.reduce((total, value) => total + (value - average) ** 2 / 120, 0)), 3);
    expect([mean.slice(2), standardDeviation.slice(2)]).toEqual([
      [0, 0, 0, 7],
      [1, 1, 1, 1],
    ]);
    const text = await done("evaluate", "people.vae", "--data", "people.csv");
    expect(Number(/loss.*?(-?[\d.]+) nats/.exec(text)![1])).toBeLessThan(12);
    expect(text).toContain("standardized columns");
  });

  it("is prepared by the names of its columns: in another order, with others between, with fewer categories", async () => {
    const other: Row[] = people.slice(0, 30).map((row, index) => ({ ...row, id: String(index) }));
    await write("same.csv", ["height", "weight", "team", "constant"], other);
    await write("other.csv", ["team", "id", "constant", "weight", "height"], other);
    await write(
      "two.csv",
      ["height", "weight", "team", "constant"],
      other.filter(({ team }) => team !== "green"),
    );
    for (const name of ["same", "other", "two"]) await done("score", "people.vae", "--data", `${name}.csv`, "--out", `${name}-scores.csv`);
    const [same, another, two] = await Promise.all(["same", "other", "two"].map((name) => table(`${name}-scores.csv`)));
    expect(same!.header).toEqual(["score"]);
    expect(another!.rows).toEqual(same!.rows);
    expect(two!.rows).toEqual(same!.rows.filter((_, index) => other[index]!.team !== "green"));
    await done("encode", "people.vae", "--data", "other.csv", "--out", "other-codes.csv");
    await done("encode", "people.vae", "--data", "same.csv", "--out", "same-codes.csv");
    expect(await table("other-codes.csv")).toEqual(await table("same-codes.csv"));
  });

  it("without a column, or with a category that the model does not know, is refused", async () => {
    await write("missing.csv", ["height", "team", "constant"], people);
    await write("pink.csv", ["height", "weight", "team", "constant"], [{ ...people[0]!, team: "pink" }]);
    for (const command of ["evaluate", "encode", "score", "reconstruct"]) {
      const missing = await cli(command, "people.vae", "--data", "missing.csv", ...(command === "evaluate" ? [] : ["--out", "x.csv"]));
      expect([missing.code, missing.stderr]).toEqual([1, expect.stringMatching(/^error: .*no column "weight"/m)]);
      const pink = await cli(command, "people.vae", "--data", "pink.csv", ...(command === "evaluate" ? [] : ["--out", "x.csv"]));
      expect([pink.code, pink.stderr]).toEqual([
        1,
        expect.stringMatching(/no category "pink" of "team"\n {2}hint: it knows "blue", "green", "red"/),
      ]);
    }
  }, 30_000);

  it("comes back in its own units, under its own names", async () => {
    await done("reconstruct", "people.vae", "--data", "people.csv", "--out", "again.csv");
    await done("sample", "people.vae", "--count", "50", "--out", "new.csv");
    for (const { header, rows } of [await table("again.csv"), await table("new.csv")]) {
      expect(header).toEqual(["height", "weight", "team=blue", "team=green", "team=red", "constant"]);
      const average = (column: number): number => rows.reduce((total, row) => total + row[column]! / rows.length, 0);
      expect(Math.abs(average(0) - 170)).toBeLessThan(6);
      expect(Math.abs(average(1) - 65_000)).toBeLessThan(4000);
      expect(Math.abs(average(5) - 7)).toBeLessThan(1);
    }
  });

  it("goes on with the model's own means and deviations when resumed", async () => {
    await write(
      "tall.csv",
      ["constant", "team", "weight", "height"],
      people.map((row) => ({ ...row, height: String(Number(row.height) + 40) })),
    );
    await done("train", "--data", "tall.csv", "--resume", "people.vae", "--steps", "5", "--out", "tall.vae");
    using before = await load(at("people.vae"), { device: "cpu" });
    using after = await load(at("tall.vae"), { device: "cpu" });
    expect(await statisticsOf(after)).toEqual(await statisticsOf(before));
  });

  it("is left as it is with --no-standardize, which training warns of; its columns still go by name", async () => {
    const { code, stderr } = await cli(
      "train",
      "--data",
      "people.csv",
      "--columns",
      "height,weight",
      "--no-standardize",
      "--steps",
      "5",
      "--out",
      "raw.vae",
    );
    expect([code, stderr]).toEqual([0, expect.stringMatching(/NODE_VAE_UNSCALED.*2 of 2 columns/)]);
    using model = await load(at("raw.vae"), { device: "cpu" });
    expect([model.config.prepare, model.columns, model.categories]).toEqual([undefined, ["height", "weight"], undefined]);
  });

  it("keeps the names of its classes beside codes and scores alike", async () => {
    const judged = people.slice(0, 8).map((row, index) => ({ ...row, state: index % 2 === 0 ? "sound" : "odd" }));
    await write("judged.csv", ["height", "weight", "team", "constant", "state"], judged);
    for (const command of ["encode", "score"]) {
      await done(command, "people.vae", "--data", "judged.csv", "--label", "state", "--out", `${command}-judged.csv`);
      const lines = (await readFile(at(`${command}-judged.csv`), "utf8")).trim().split("\n");
      expect(lines.map((line) => line.split(",").at(-1))).toEqual(["label", ...judged.map(({ state }) => state)]);
    }
  });

  it("of values in [0, 1], which is Bernoulli's, is not standardized", async () => {
    await write(
      "shares.csv",
      ["a", "b"],
      people.map((_, row) => ({ a: String(noise(row, 3) + 0.5), b: String(noise(row, 4) + 0.5) })),
    );
    await done("train", "--data", "shares.csv", "--steps", "5", "--out", "shares.vae");
    using model = await load(at("shares.vae"), { device: "cpu" });
    expect(model.config.prepare).toBeUndefined();
  });
});

describe("--limit", () => {
  it("draws rows by --seed and keeps their order, whatever the file is sorted by", async () => {
    const sorted = Array.from({ length: 200 }, (_, row) => ({ ...people[row % 120]!, height: String(120 + row / 2), state: String(row) }));
    await write("sorted.csv", ["height", "weight", "team", "constant", "state"], sorted);
    const drawn = async (...seed: string[]): Promise<number[]> => {
      await done("encode", "people.vae", "--data", "sorted.csv", "--label", "state", "--limit", "20", ...seed, "--out", "some.csv");
      return (await table("some.csv")).rows.map((row) => row.at(-1)!);
    };
    const [one, again, two] = [await drawn(), await drawn("--seed", "1"), await drawn("--seed", "2")];
    expect(one).toHaveLength(20);
    expect(again).toEqual(one);
    expect(two).not.toEqual(one);
    for (const rows of [one, two]) {
      expect(rows).toEqual([...rows].sort((a, b) => a - b));
      expect(Math.max(...rows)).toBeGreaterThan(120); // not the head
    }
    const text = await done("evaluate", "people.vae", "--data", "sorted.csv", "--limit", "1000");
    expect(text).toMatch(/rows +200/);
  });
});
