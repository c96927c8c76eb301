// The README's sensor service: its two programs run as they stand there, in processes of their own, and are right.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Dataset, datasets, load, split, standardizer } from "../../lib/index.js";
import { root, startNode } from "../support/cli.js";

const readme = readFileSync(join(root, "README.md"), "utf8");

interface Reading extends Record<string, number> {
  readonly temperature: number;
  readonly pressure: number;
  readonly flow: number;
  readonly voltage: number;
}

let state = 7;
function uniform(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return (state + 0.5) / 2 ** 32;
}
const normal = (): number => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());

/** A pump: pressure follows temperature, flow does not, and the voltage is always the same. */
function reading(): Reading {
  const temperature = 60 + 8 * normal();
  return { temperature, pressure: 2 + 0.03 * (temperature - 60) + 0.02 * normal(), flow: 12 + normal(), voltage: 24 };
}

/** Each value is usual, all together are not. */
function fault(): Reading {
  const good = reading();
  return { ...good, pressure: good.pressure + (uniform() < 0.5 ? -0.3 : 0.3) };
}

let folder: string;

beforeAll(() => {
  // Inside the package, where "node-vae" is the package itself.
  mkdirSync(join(root, "build"), { recursive: true });
  folder = mkdtempSync(join(root, "build", "readme-sensors-"));
  const lines = Array.from({ length: 1500 }, (_, index) => {
    const { temperature, pressure, flow, voltage } = reading();
    return [index, voltage, index === 10 ? "" : temperature, pressure, flow].join();
  });
  writeFileSync(join(folder, "normal.csv"), ["time,voltage,temperature,pressure,flow", ...lines].join("\n"));
  const files = ["train.ts", "service.ts"];
  for (const file of files) {
    const program = new RegExp(`^\`\`\`ts\\n(// ${file}\\n.*?)^\`\`\`$`, "ms").exec(readme)?.[1];
    expect(program, file).toBeDefined();
    writeFileSync(join(folder, file), program!);
  }
  const compilerOptions = { noEmit: false, rootDir: ".", outDir: ".", declaration: false, sourceMap: false };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", compilerOptions, include: [], files }));
  execFileSync(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", folder]);
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Answer {
  readonly score: number;
  readonly strange: boolean;
}

/** Calls `check` of service.js in a process of its own, reading after reading; an error gives its code. */
async function ask(readings: readonly object[]): Promise<(Answer | string)[]> {
  const program = `import { check } from "./service.js";
const answers = [];
for (const reading of ${JSON.stringify(readings)}) answers.push(await check(reading).catch(({ code }) => code));
console.log(JSON.stringify(answers));`;
  writeFileSync(join(folder, "ask.mjs"), program);
  const { code, stdout, stderr } = await startNode(["ask.mjs"], { cwd: folder }).finished;
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout.trim().split("\n").at(-1)!);
}

test("trains, keeps its threshold, and judges readings by name in another process", async () => {
  const training = await startNode(["train.js"], { cwd: folder }).finished;
  expect(training.code, training.stderr).toBe(0);
  expect(training.stdout).toMatch(/^300 rows for the threshold/);

  // What is saved gives the same scores here as in the process that trained.
  const threshold: unknown = JSON.parse(readFileSync(join(folder, "threshold.json"), "utf8"));
  using model = await load(join(folder, "sensors.vae"));
  expect(model.columns).toEqual(["temperature", "pressure", "flow", "voltage"]);
  const all = await datasets.csv(join(folder, "normal.csv"), { columns: [...model.columns!], missing: "drop" });
  expect(all.rows).toBe(1499);
  const [learned, heldOut] = split(all, { fraction: 0.4, seed: 1 });
  const [, calibration] = split(heldOut, { fraction: 0.5, seed: 2 });
  const scores = (await model.score(calibration)).sort();
  expect(scores[Math.ceil(0.99 * 301) - 1]).toBe(threshold);
  // The statistics are those of the training part alone, and stand in the model's file.
  const weights = await model.parameters();
  const floats = (rows: Dataset) => {
    const { mean, standardDeviation } = standardizer(rows);
    return [Float32Array.from(mean), Float32Array.from(standardDeviation)];
  };
  const saved = [weights.get("prepare.mean")!.data, weights.get("prepare.standardDeviation")!.data];
  expect(saved).toEqual(floats(learned));
  expect(saved).not.toEqual(floats(all));
  // What the model gives is in the units of the file.
  const rebuilt = await model.reconstruct(datasets.records([{ temperature: 60, pressure: 2, flow: 12, voltage: 24 }]));
  [60, 2, 12, 24].forEach((value, column) => {
    expect(Math.abs(rebuilt[column]! - value), model.columns![column]).toBeLessThan(4 * saved[1]![column]!);
  });

  // Good readings pass, odd ones do not, in any order of the fields; what is no reading is an error.
  const good = Array.from({ length: 200 }, reading);
  const faults = Array.from({ length: 100 }, fault);
  const turned = good.map(({ temperature, pressure, flow, voltage }) => ({ voltage, flow, temperature, pressure }));
  const { temperature, pressure, flow, voltage } = good[0]!;
  const wrong = [
    { temperature, pressure, flow },
    { temperature, presure: pressure, flow, voltage },
    { ...good[0]!, flow: null },
  ];
  const answers = await ask([...good, ...turned, ...faults, { ...good[0]!, voltage: 28 }, ...wrong]);
  const strange = (list: readonly (Answer | string)[]): number => list.filter((answer) => (answer as Answer).strange).length;
  expect(answers.slice(200, 400)).toEqual(answers.slice(0, 200));
  expect(strange(answers.slice(0, 200))).toBeLessThanOrEqual(10);
  expect(strange(answers.slice(400, 500))).toBeGreaterThanOrEqual(90);
  expect(strange(answers.slice(500, 501))).toBe(1);
  expect(answers.slice(501)).toEqual(["data", "data", "data"]);
  const [first] = await model.score(datasets.records(good.slice(0, 1)));
  expect((answers[0] as Answer).score).toBe(first);
});

test("the example readings in the README are judged as it says", async () => {
  const { stdout } = await startNode(["service.js"], { cwd: folder }).finished;
  expect(stdout.match(/strange: (true|false)/g)).toEqual(["strange: false", "strange: true"]);
});
