// Sizes of every order of magnitude, wherever a size may be given: a call works, or says what is too large. "plan" would be a
// defect of ours, and so would anything but a VaeError, or an answer that takes long.
import { afterAll, beforeAll, expect, test } from "vitest";
import { VaeError } from "../../lib/errors.js";
import * as graph from "../../lib/graph/index.js";
import * as nn from "../../lib/index.js";
import * as ops from "../../lib/ops/index.js";
import { Device } from "../../lib/runtime/device.js";
import { availableMemory, leastLimit, reserveMemory } from "../../lib/runtime/memory.js";

/** What is left for the calls: larger ones are refused, and none of them computes for long. */
const LEFT = 16 * 2 ** 20;
let release = (): void => undefined;
beforeAll(() => {
  const { bytes } = leastLimit(availableMemory());
  release = reserveMemory("test", { "of everything else": bytes - LEFT }, "none");
});
afterAll(() => release());

/** Numbers in [0, 1), the same in every run. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

class Sizes {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = generator(seed * 7919 + 1);
  }

  /** A whole number from 1, log-uniform. */
  size(most = 2 ** 53): number {
    return Math.max(1, Math.min(Math.floor(2 ** (this.#next() * Math.log2(most))), Number.MAX_SAFE_INTEGER));
  }

  /** Mostly small. */
  setting(): number {
    return this.#next() < 0.6 ? this.size(5) : this.size();
  }

  shape(rank = Math.floor(this.#next() * 4)): number[] {
    return Array.from({ length: rank }, () => this.size(this.#next() < 0.5 ? 2 ** 8 : 2 ** 42));
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#next() * list.length)]!;
  }
}

async function outcome(call: () => unknown): Promise<string> {
  try {
    await call();
    return "works";
  } catch (error) {
    if (!(error instanceof VaeError)) throw error;
    expect(["memory", "shape", "argument", "data"], error.message).toContain(error.code);
    expect(error.message.length).toBeLessThan(2000);
    return error.code;
  }
}

/** Runs a program for many seeds, each of which must be quick. */
async function outcomes(count: number, program: (sizes: Sizes) => unknown): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (let seed = 0; seed < count; seed++) {
    const begin = performance.now();
    const code = await outcome(() => program(new Sizes(seed)));
    counts.set(code, (counts.get(code) ?? 0) + 1);
    expect(performance.now() - begin, `seed ${seed}, ${code}`).toBeLessThan(20_000);
  }
  return counts;
}

const x = ops.ndarray(
  Float32Array.from({ length: 96 }, (_, i) => i / 96),
  [2, 4, 4, 3],
);
const w = ops.ndarray(new Float32Array(2 * 2 * 3 * 4).fill(0.1), [2, 2, 3, 4]);
const indices = ops.ndarray(Int32Array.of(0, 1), [2]);

const onArrays: readonly ((s: Sizes) => unknown)[] = [
  (s) => ops.uniform(s.shape()),
  (s) => ops.normal([s.size()]),
  (s) => ops.broadcastTo(ops.ndarray([1]), [...s.shape(2), 1]),
  (s) => ops.oneHot(indices, s.size()),
  (s) =>
    ops.pad(x, [
      [0, 0],
      [s.setting(), s.setting()],
      [0, s.setting()],
      [0, 0],
    ]),
  (s) => ops.shuffledIndices({ rows: s.size(), batch: s.size() }),
  (s) => ops.conv2d(x, w, { stride: s.setting(), dilation: s.setting(), padding: s.pick(["same", "valid", s.setting()] as const) }),
  (s) => ops.conv2d(x, w, { groups: s.size() }),
  (s) => ops.convTranspose2d(x, ops.ndarray(new Float32Array(48), [2, 2, 4, 3]), { stride: s.setting(), dilation: s.setting() }),
  (s) => ops.maxPool2d(x, s.setting(), { stride: s.setting(), padding: s.pick(["same", "valid", s.setting()] as const) }),
  (s) => ops.averagePool2d(x, s.setting(), { stride: s.setting(), padding: s.pick(["same", "valid"] as const) }),
  (s) => ops.upsampleNearest2d(x, s.size()),
  (s) => ops.upsampleBilinear2d(x, s.size()),
  (s) => ops.unfold(x, { kernelSize: [s.setting(), s.setting()], stride: s.setting(), dilation: s.setting() }),
  (s) => ops.reshape(x, s.shape()),
  (s) => ops.topK(x, s.size()),
  (s) => ops.scatterAdd(indices, ops.ndarray(new Float32Array(2), [2, 1]), s.size()),
  (s) => ops.slice(x, [0, 0, 0, 0], [s.size(), s.size(), 1, 1]),
];

test("functions of arrays", async () => {
  const counts = await outcomes(300, (s) => s.pick(onArrays)(s));
  for (const code of ["works", "memory", "shape", "argument"]) expect(counts.get(code), code).toBeGreaterThan(0);
});

const onTensors: readonly ((s: Sizes, of: (shape: readonly number[]) => graph.Tensor) => graph.Tensor)[] = [
  (s, of) => graph.add(of([s.size(2 ** 40), 1]), of([1, s.size(2 ** 40)])),
  (s, of) => {
    const k = s.size(2 ** 30);
    return graph.matmul(of([s.size(2 ** 30), k]), of([k, s.size(2 ** 30)]));
  },
  (s, of) => graph.sum(graph.multiply(of(s.shape(2)), 2)),
  (s, of) => graph.softmax(of([...s.shape(1), 3])),
  (s, of) => graph.sort(of(s.shape(1))).values,
  (s, of) => graph.cumulativeSum(of(s.shape(1)), 0),
  (s, of) => {
    const n = s.size(2 ** 20);
    return graph.cholesky(of([n, n]));
  },
  (s, of) => {
    const n = s.size(2 ** 20);
    return graph.triangularSolve(of([n, n]), of([n, s.size(2 ** 20)]));
  },
  (s, of) =>
    graph.convolve2d(of([s.size(2 ** 20), s.size(2 ** 12), s.size(2 ** 12), 3]), of([s.setting(), s.setting(), 3, s.size(2 ** 30)])),
  (s, of) => {
    const channels = s.size(2 ** 30);
    return graph.convolve2d(of([1, 4, 4, channels]), of([3, 3, channels, s.size(2 ** 30)]));
  },
  (s, of) =>
    graph.gather(of([s.size(2 ** 38), s.size(8)]), graph.shuffledIndices({ rows: s.size(), batch: s.size(), shuffle: true, stream: 0 })),
  (s, of) => graph.concatenate([of([s.size(2 ** 40)]), of([s.size(2 ** 40)])], 0),
  (s, of) => graph.transpose(of(s.shape(2))),
  (s, of) => {
    const [tensor] = graph.grad(graph.sum(graph.square(of(s.shape(3)))), []);
    return tensor ?? of([s.size()]);
  },
];

test("graphs", async () => {
  using device = Device.open({ device: "cpu", threads: 2 });
  const counts = await outcomes(600, (s) => {
    let count = 0;
    const asState = s.pick([true, false]);
    const of = (shape: readonly number[]) => (asState ? graph.state(`${count++} ${shape}`, shape) : graph.input(`${count++}`, shape));
    device.session({ outputs: { y: s.pick(onTensors)(s, of) } }).dispose();
  });
  for (const code of ["works", "memory", "shape"]) expect(counts.get(code), code).toBeGreaterThan(0);
});

const rows = new Float32Array(64).map((_, i) => (i % 5) / 5);

const layersOf: readonly ((s: Sizes) => nn.Layer)[] = [
  (s) => nn.dense(s.size()),
  (s) => nn.dense(s.size(2 ** 20)),
  (s) => nn.conv2d(s.setting(), s.setting(), { stride: s.setting(), dilation: s.setting() }),
  (s) => nn.conv2d(s.size(), 3, { padding: s.setting() }),
  (s) => nn.conv2d(s.setting(), 1, { groups: s.setting() }),
  (s) => nn.convTranspose2d(s.setting(), s.setting(), { stride: s.setting(), dilation: s.setting() }),
  (s) => nn.maxPool2d(s.setting(), { stride: s.setting() }),
  (s) => nn.averagePool2d(s.setting(), { stride: s.setting() }),
  (s) => nn.upsample(s.size()),
  (s) => nn.groupNorm(s.size()),
  (s) => nn.reshape(s.shape(2)),
];

test("models", async () => {
  const counts = await outcomes(250, async (s) => {
    const make = s.pick([
      () =>
        nn.vae({
          input: [4, 4, 1],
          latent: s.setting(),
          encoder: [s.pick(layersOf)(s)],
          decoder: [nn.dense(4)],
          likelihood: "gaussian",
          device: "cpu",
          threads: 2,
        }),
      () => nn.vae({ input: [4, 4, 1], latent: s.size(), encoder: [], decoder: [], likelihood: "gaussian", device: "cpu", threads: 2 }),
      () =>
        nn.vae({
          input: s.shape(3),
          latent: 2,
          encoder: [nn.dense(4)],
          decoder: [nn.dense(4)],
          likelihood: "bernoulli",
          device: "cpu",
          threads: 2,
        }),
      () => nn.vae({ ...nn.presets.table({ columns: s.size(2 ** 40) }), device: "cpu", threads: 2 }),
      () => nn.vae({ ...nn.presets.image({ size: [s.size(2 ** 20), s.size(2 ** 20), 3] }), device: "cpu", threads: 2 }),
    ]);
    using model = make();
    const data = model.config.input.reduce((product, size) => product * size, 1) === 16 ? rows : undefined;
    const signal = AbortSignal.timeout(50);
    const calls = [
      () => model.sample(s.size(), { signal }),
      ...(data === undefined
        ? []
        : [
            () => model.fit(data, { steps: 1, batchSize: s.size(2 ** 24), signal }),
            () => model.fit(data, { steps: 1, batchSize: s.size() }),
            () => model.encode(data, { signal }),
            () => model.interpolate(data.subarray(0, 16), data.subarray(16, 32), s.size(), { signal }),
            () => model.evaluate(data, { importanceSamples: s.size(), signal }),
          ]),
    ];
    await s
      .pick(calls)()
      .catch((error: unknown) => {
        if ((error as Error).name !== "TimeoutError") throw error;
      });
  });
  for (const code of ["works", "memory", "shape"]) expect(counts.get(code), code).toBeGreaterThan(0);
});
