// Data far from unit scale are recognised where training begins, and said; data of the usual scales are not.
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { bernoulli, type Dataset, dense, gaussian, presets, type TrainingWarning, type VaeOptions, vae } from "../../lib/index.js";

const emitted: [string, unknown][] = [];
beforeEach(() => {
  emitted.length = 0;
  vi.spyOn(process, "emitWarning").mockImplementation(((message: string, options: unknown) => {
    emitted.push([message, options]);
  }) as typeof process.emitWarning);
});
afterEach(() => vi.restoreAllMocks());

/** Between −1.7 and 1.7 with mean 0 and deviation 1, nearly. */
const noise = (row: number, column: number): number => {
  const x = Math.sin((row * 127.1 + column * 311.7 + 1) * 12.9898) * 43758.5453;
  return (x - Math.floor(x) - 0.5) * Math.sqrt(12);
};
function table(rows: number, of: ((row: number) => number)[], columns?: readonly string[]): Dataset {
  const data = Float32Array.from({ length: rows * of.length }, (_, i) => of[i % of.length]!(Math.floor(i / of.length)));
  return { data, rows, shape: [of.length], name: "the table", ...(columns === undefined ? {} : { columns }) };
}
async function warningsFor(data: Dataset, likelihood: VaeOptions["likelihood"] = gaussian()): Promise<readonly TrainingWarning[]> {
  await using model = vae({ input: data.shape, latent: 2, encoder: [], decoder: [], likelihood, device: "cpu", threads: 1 });
  return (await model.fit(data, { steps: 1, batchSize: 4 })).warnings;
}

const unit = (column: number) => (row: number) => noise(row, column);

describe("training says", () => {
  const cases: readonly [string, Dataset, string[]][] = [
    ["a large mean", table(50, [unit(0), (row) => 170 + 5 * noise(row, 1)]), ["1"]],
    ["a large spread", table(50, [(row) => 1e6 * noise(row, 0), unit(1)]), ["0", "1"]],
    ["a constant of a large size", table(50, [unit(0), () => 300]), ["1"]],
    ["an offset that drowns what varies", table(50, [(row) => 5 + 0.01 * noise(row, 0), unit(1)]), ["0"]],
    ["a column that is as good as left out", table(50, [(row) => 1e-4 * noise(row, 0), unit(1)]), ["0"]],
    ["a table that is small throughout", table(50, [(row) => 1e-4 * noise(row, 0), (row) => 1e-4 * noise(row, 1)]), ["0", "1"]],
    ["a few large rows among many", table(400_000, [unit(0), (row) => (row % 3 === 0 ? 1e3 : 0), unit(2)]), ["1"]],
  ];
  it.each(cases)("%s", async (_, data, columns) => {
    const [warning, ...others] = await warningsFor(data);
    expect(others).toEqual([]);
    expect(warning!.code).toBe("NODE_VAE_UNSCALED");
    expect(warning!.columns.map(({ column }) => column)).toEqual(columns);
    expect(emitted).toEqual([[warning!.message, { code: "NODE_VAE_UNSCALED" }]]);
  });

  it("names, means and deviations, of all rows, and what to do", async () => {
    const rows = table(300, [(row) => 60 + (row % 3), unit(1)], ["weight in kg", "other"]);
    const [{ columns, message }] = (await warningsFor(rows)) as [TrainingWarning];
    expect(columns).toHaveLength(1);
    expect(columns[0]!.column).toBe("weight in kg");
    expect(columns[0]!.mean).toBeCloseTo(61, 5);
    expect(columns[0]!.standardDeviation).toBeCloseTo(Math.sqrt(2 / 3), 5);
    expect(message).toMatch(
      /^fit: 1 of 2 columns of the table .*"weight in kg" \(mean 61, standard deviation 0\.816\)\n {2}hint: standardize them: .*prepare: standardize\(\)/,
    );
    const wide = table(
      20,
      Array.from({ length: 500 }, (_, column) => (row: number) => 1e4 * noise(row, column)),
    );
    const [long] = await warningsFor(wide);
    expect(long!.columns).toHaveLength(500);
    expect(long!.message.length).toBeLessThan(800);
  });

  it("it once for a model that is trained again and again, and in every history", async () => {
    const data = table(50, [(row) => 170 + noise(row, 0)]);
    const { prepare: _standardize, ...bare } = presets.table({ columns: 1 });
    await using model = vae({ ...bare, device: "cpu", threads: 1 });
    for await (const _ of model.train(data, { steps: 2, every: 1 }));
    for (let again = 0; again < 3; again++) expect((await model.fit(data, { steps: 1 })).warnings).toHaveLength(1);
    expect(emitted).toHaveLength(1);
    expect(emitted[0]![0]).toMatch(/^train: /);
  });

  it("how images are scaled", async () => {
    const data = Float32Array.from({ length: 20 * 16 }, (_, index) => (index * 37) % 256);
    const [warning] = await warningsFor({ data, rows: 20, shape: [4, 4, 1], name: "pictures" });
    expect(warning!.message).toMatch(/hint: scale them, for example to \[0, 1\]; bytes in a Uint8Array/);
  });
});

describe("training says nothing of", () => {
  const standardized = (data: Dataset): Dataset => {
    const [width] = data.shape as [number];
    const copy = data.data.slice() as Float32Array;
    for (let column = 0; column < width; column++) {
      const values = Array.from({ length: data.rows }, (_, row) => copy[row * width + column]!);
      const mean = values.reduce((total, value) => total + value / data.rows, 0);
      const deviation = Math.sqrt(values.reduce((total, value) => total + (value - mean) ** 2 / data.rows, 0)) || 1;
      values.forEach((value, row) => {
        copy[row * width + column] = (value - mean) / deviation;
      });
    }
    return { ...data, data: copy };
  };
  const heavy = (row: number): number => (row % 99_991 === 5 ? 1e6 : noise(row, 7));
  const silent: readonly [string, Dataset][] = [
    [
      "standardized columns of all scales",
      standardized(table(500, [(row) => 1e6 + 1e5 * noise(row, 0), (row) => 1e-6 * noise(row, 1), () => 3])),
    ],
    ["standardized columns with a few huge values", standardized(table(300_000, [heavy, unit(1), (row) => (row === 77 ? 1 : 0)]))],
    ["categories, rare and nearly always", table(20_000, [unit(0), (row) => (row === 9 ? 1 : 0), (row) => (row === 9 ? 0 : 1), () => 0])],
    ["lengths in centimetres", table(100, [(row) => 5.8 + 0.8 * noise(row, 0), (row) => 1.2 + 0.7 * noise(row, 1)])],
    ["a table of zeros", table(10, [() => 0, () => 0])],
    [
      "images in [0, 1] with edges that hardly change",
      {
        data: Float32Array.from({ length: 16_000 }, (_, i) => (i % 16 < 4 ? (i === 5 ? 1e-4 : 0) : ((i * 37) % 256) / 255)),
        rows: 1000,
        shape: [4, 4, 1],
        name: "images",
      },
    ],
    [
      "images in [−1, 1]",
      {
        data: Float32Array.from({ length: 1600 }, (_, i) => (i % 16 < 4 ? -1 : (i % 9) / 4 - 1)),
        rows: 100,
        shape: [4, 4],
        name: "images",
      },
    ],
    ["bytes", { data: Uint8Array.from({ length: 1600 }, (_, i) => i % 256), rows: 100, shape: [4, 4], name: "images" }],
  ];
  it.each(silent)("%s", async (_, data) => {
    expect(await warningsFor(data)).toEqual([]);
    expect(emitted).toEqual([]);
  });

  it("data of likelihoods that do not ask for a scale", async () => {
    const data = { data: new Float32Array(64).fill(0.001), rows: 16, shape: [4], name: "rows" };
    expect(await warningsFor(data, bernoulli())).toEqual([]);
    await using model = vae({ ...presets.image28(), encoder: [dense(4)], decoder: [dense(4)], device: "cpu" });
    expect((await model.fit(new Float32Array(784 * 4), { steps: 1 })).warnings).toEqual([]);
  });
});
