// Noise made where it is used: which draws of a plan programs take over, and that the results are those of the CPU, which
// draws into memory.
import { describe, expect, test } from "vitest";
import { encodePlan } from "../../lib/compile/encode.js";
import { compile } from "../../lib/compile/index.js";
import type { Plan } from "../../lib/compile/plan.js";
import { adam, dense, type VaeOptions, vae } from "../../lib/index.js";
import { Device } from "../../lib/runtime/device.js";
import { loadAddon } from "../../lib/runtime/native.js";
import { architectureOf } from "../../lib/vae/architecture.js";
import { parseConfig } from "../../lib/vae/index.js";
import { clusteredRows } from "../support/data.js";
import { useEmulator } from "../support/emulator.js";
import { trainingGraph } from "../support/graphs.js";
import { accumulator, constant, distance, load, map, op, plan, resident, step, store, view } from "../support/plans.js";

const absent = useEmulator();
if (absent !== undefined) test.skip(`CUDA on the emulator: ${absent}`, () => undefined);

const entries = (written: Plan): string[] =>
  loadAddon()
    .lowerCuda(encodePlan(written, loadAddon().info()), 80, "float32")
    .flatMap((launches) => launches.map(({ entry }) => entry));
const drawn = (written: Plan) => entries(written).filter((entry) => entry.startsWith("random_")).length;

const model = (latent: number): VaeOptions => ({
  input: [28, 28, 1],
  latent,
  encoder: [dense(50, { activation: "relu" })],
  decoder: [dense(50, { activation: "relu" })],
  likelihood: "bernoulli",
  seed: 7,
});

const ROWS = 12;
const COLUMNS = 20;
const draw = (buffer: number, stream: number, kernel: "random_normal" | "random_uniform" = "random_normal") =>
  step(kernel, [ROWS * COLUMNS], { operands: [view(buffer, [1])], attributes: [stream] });
/** out = a + b, over the whole of three buffers. */
const sum = (a: number, b: number, out: number) =>
  map(
    [ROWS, COLUMNS],
    [view(a, [COLUMNS, 1]), view(b, [COLUMNS, 1]), view(out, [COLUMNS, 1])],
    [load(0), load(1), op("add", 0, 1), store(2, 2)],
  );
const buffer = (name: string) => [name, "float32", ROWS * COLUMNS] as const;

/** Each with the number of draws that go through memory. */
const plans: readonly (readonly [title: string, draws: number, plan: Plan])[] = [
  [
    "two draws added",
    0,
    plan([buffer("a"), buffer("b"), buffer("out")], [draw(0, 1), draw(1, 2, "random_uniform"), sum(0, 1, 2)], { outputs: [2], commit: 3 }),
  ],
  [
    "a view of single elements, across rows, transposed",
    0,
    plan(
      [buffer("a"), ["out", "float32", 30]],
      [draw(0, 3), map([6, 5], [view(0, [2, 2 * COLUMNS], 21), view(1, [5, 1])], [load(0), store(0, 1)])],
      { outputs: [1], commit: 2 },
    ),
  ],
  [
    "written in place, and what is written read on",
    0,
    plan(
      [buffer("a"), buffer("out")],
      [draw(0, 1), map([ROWS, COLUMNS], [view(0, [COLUMNS, 1])], [load(0), constant(2), op("multiply", 0, 1), store(2, 0)]), sum(0, 0, 1)],
      { outputs: [1], commit: 3 },
    ),
  ],
  [
    "memory that a second draw uses again",
    0,
    plan([buffer("a"), buffer("b"), buffer("out")], [draw(0, 1), sum(0, 0, 1), draw(0, 2), sum(0, 1, 2)], { outputs: [2], commit: 4 }),
  ],
  [
    "in the epilogue of a product",
    0,
    plan(
      [buffer("a"), ["weights", "float32", 8 * COLUMNS], ["x", "float32", ROWS * 8], buffer("out")],
      [
        draw(0, 1),
        map([8 * COLUMNS], [view(1, [1])], [constant(0.25), store(0, 0)]),
        map([ROWS * 8], [view(2, [1])], [constant(0.5), store(0, 0)]),
        step("matmul", [ROWS, COLUMNS], {
          operands: [view(2, [8, 0]), view(1, [0, 1]), view(0, [COLUMNS, 1]), view(3, [COLUMNS, 1])],
          attributes: [8, 1, COLUMNS],
          program: [accumulator, load(2), op("multiply_add", 0, 1, 1), store(2, 3)],
        }),
      ],
      { outputs: [3], commit: 4 },
    ),
  ],
  ["a result of the plan", 1, plan([buffer("a"), buffer("out")], [draw(0, 1), sum(0, 0, 1)], { outputs: [0, 1], commit: 2 })],
  [
    "a factor of a product",
    1,
    plan(
      [buffer("a"), ["out", "float32", ROWS * ROWS]],
      [
        draw(0, 1),
        step("matmul", [ROWS, ROWS], {
          operands: [view(0, [COLUMNS, 0]), view(0, [0, COLUMNS]), view(1, [ROWS, 1])],
          attributes: [COLUMNS, 1, 1],
          program: [accumulator, store(0, 2)],
        }),
      ],
      { outputs: [1], commit: 2 },
    ),
  ],
  [
    "loaded together with what was written over a part of it",
    1,
    plan([buffer("a"), buffer("out")], [draw(0, 1), map([ROWS, 2], [view(0, [COLUMNS, 3], 5)], [constant(9), store(0, 0)]), sum(0, 0, 1)], {
      outputs: [1],
      commit: 3,
    }),
  ],
  [
    "loaded beside what was written over a part of it",
    0,
    plan(
      [buffer("a"), buffer("out")],
      [
        draw(0, 1),
        map([ROWS, 4], [view(0, [COLUMNS, 1], 8)], [constant(9), store(0, 0)]),
        map([ROWS, COLUMNS], [view(1, [COLUMNS, 1])], [constant(0), store(0, 0)]),
        map([ROWS, 8], [view(0, [COLUMNS, 1]), view(1, [COLUMNS, 1])], [load(0), store(0, 1)]),
        map([ROWS, 4], [view(0, [COLUMNS, 1], 8), view(1, [COLUMNS, 1], 8)], [load(0), store(0, 1)]),
      ],
      { outputs: [1], commit: 5 },
    ),
  ],
  ["left for the next training step", 1, plan([buffer("a"), buffer("out")], [sum(0, 0, 1), draw(0, 1)], { outputs: [1], commit: 2 })],
  [
    "loaded by more programs than making it again pays for",
    1,
    plan(["a", "b", "c", "out"].map(buffer), [draw(0, 1), sum(0, 0, 1), sum(0, 1, 2), sum(0, 2, 3)], { outputs: [3], commit: 4 }),
  ],
];

describe.skipIf(absent !== undefined)("noise", () => {
  test.each([20, 5])("of a dense VAE with %i latent dimensions is not drawn to memory", (latent) => {
    const training = { rows: 500, dtype: "uint8", batchSize: 32, shuffle: true, optimizer: adam(), optimizerStart: 0 } as const;
    const written = compile(trainingGraph(architectureOf(parseConfig(model(latent), "test")), training));
    expect(written.steps.filter(({ kernel }) => kernel === "random_normal").length).toBe(1);
    expect(drawn(written)).toBe(0);
  });

  test.each([20, 5])("of a dense VAE with %i latent dimensions is that of the CPU: all terms agree", async (latent) => {
    const data = Uint8Array.from(clusteredRows(200, 784, 10), (value) => Math.round(255 * value));
    const terms = async (device: "cpu" | "cuda") => {
      await using trained = vae({ ...model(latent), device });
      const rows: Record<string, number>[] = [];
      for await (const progress of trained.train(data, { steps: 6, every: 1, batchSize: 32, optimizer: adam() }))
        rows.push({ ...progress.metrics });
      return rows;
    };
    const [here, there] = [await terms("cpu"), await terms("cuda")];
    expect(there.length).toBe(6);
    there.forEach((row, i) => {
      for (const [name, value] of Object.entries(row))
        expect(Math.abs(value / here[i]![name]! - 1), `${name} of step ${i}`).toBeLessThan(1e-4);
    });
  });

  test.each(plans)("%s: %i in memory, the numbers of the CPU", async (_, draws, written) => {
    expect(drawn(written)).toBe(draws);
    using cpu = Device.open({ device: "cpu", threads: 1 });
    using cuda = Device.open({ device: "cuda" });
    for (const request of [
      { steps: 2, firstStep: 0, seed: 5 },
      { steps: 5, firstStep: 2 ** 33 + 1, seed: 2 ** 40 + 9 },
    ]) {
      const here = await cpu.load(written).run(request);
      const there = await cuda.load(written).run(request);
      for (const [name, values] of Object.entries(here.outputs)) {
        expect(values.some((value) => value !== 0)).toBe(true);
        expect(distance(there.outputs[name], values)).toBeLessThan(1e-5);
      }
    }
  });

  test("of an update, behind the check of the terms, is that of its own step", async () => {
    const written = plan(
      [resident("weight", 0, 4), ["noise", "float32", 4], ["terms", "float32", 1]],
      [
        step("random_normal", [4], { operands: [view(1, [1])], attributes: [2] }),
        map([1], [view(0, [0]), view(2, [0])], [load(0), store(0, 1)]),
        map([4], [view(0, [1]), view(1, [1])], [load(0), load(1), op("add", 0, 1), store(2, 0)]),
      ],
      { terms: 2, termNames: ["weight"], commit: 2 },
    );
    expect(drawn(written)).toBe(0);
    const run = async (name: "cpu" | "cuda") => {
      using device = Device.open({ device: name });
      const weight = device.resident("weight", [4], "float32");
      const { terms } = await device.load(written).run({ steps: 40, firstStep: 3, seed: 11 });
      return { terms, weight: (await weight.read()) as Float32Array };
    };
    const [here, there] = [await run("cpu"), await run("cuda")];
    expect(distance(there.terms, here.terms)).toBeLessThan(1e-4);
    expect(distance(there.weight, here.weight)).toBeLessThan(1e-4);
    expect(Math.abs(here.weight[0]!)).toBeGreaterThan(0.1);
  });
});
