// node-vae/ops: types, plans, noise and errors; test/ops/functions.test.ts holds its functions against the reference.
import { afterAll, describe, expect, expectTypeOf, test } from "vitest";
import { VaeError } from "../../lib/errors.js";
import * as graph from "../../lib/graph/index.js";
import { evaluate, input } from "../../lib/graph/index.js";
import * as face from "../../lib/ops/index.js";
import { createOps, type NdArray, ndarray, type SortedArrays } from "../../lib/ops/index.js";
import { expectClose, values } from "../support/arrays.js";
import { numbers } from "../support/feeds.js";

const ops = createOps({ threads: 2 });
afterAll(() => ops.dispose());

const refusal = async (call: () => Promise<unknown>): Promise<VaeError> => {
  const error = await call().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(VaeError);
  return error as VaeError;
};

// ---- what most of the tests compute with ----

const x = values([3, 4]);
const row = values([4], -2, 2, 5);
const bytes = ndarray(Uint8Array.from(numbers(12).map((u) => u * 256)), [3, 4]);
const whole = ndarray(Int32Array.from(numbers(12).map((u) => u * 2000 - 1000)), [3, 4]);
const { uniform, normal } = graph;

test("types follow the graph's signatures", async () => {
  expectTypeOf(ops.matmul).toEqualTypeOf<
    (a: face.Operand, b: face.Operand, options?: graph.MatmulOptions | undefined) => Promise<NdArray>
  >();
  expectTypeOf(ops.scatterAdd).parameter(2).toEqualTypeOf<number>();
  expectTypeOf(await ops.slice(bytes, [0, 0], [1, 1])).toEqualTypeOf<NdArray<Uint8Array<ArrayBuffer>>>();
  expectTypeOf(await ops.transpose(x)).toEqualTypeOf<NdArray>();
  expectTypeOf(ops.conv2d).toEqualTypeOf<
    (x: face.Operand, w: face.Operand, options?: graph.ConvolutionOptions | undefined) => Promise<NdArray>
  >();
  expectTypeOf(ops.conv2dInputGradient).parameter(2).toEqualTypeOf<graph.ConvolutionOptions & { readonly inputSize: graph.Pair }>();
  expectTypeOf(ops.maxPool2d).parameter(1).toEqualTypeOf<number | graph.Pair>();
  expectTypeOf(ops.topK).toEqualTypeOf<(x: face.Operand, k: number, options?: graph.SortOptions | undefined) => Promise<SortedArrays>>();
  expectTypeOf<SortedArrays>().toEqualTypeOf<{ readonly values: NdArray; readonly indices: NdArray<Int32Array> }>();
});

// ---- numbers worked out here ----

test("matmul of ragged sizes is the sum of products", async () => {
  const [m, k, n] = [37, 113, 71];
  const [a, b] = [values([m, k]), values([k, n], -2, 2, 9)];
  const expected = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) for (let l = 0; l < k; l++) expected[i * n + j]! += a.data[i * k + l]! * b.data[l * n + j]!;
  }
  const product = await ops.matmul(a, b);
  expect(product.shape).toEqual([m, n]);
  expectClose(product.data, expected, 1e-5, 1e-4);
});

test("TypedArrays are vectors and numbers are scalars", async () => {
  expect(await ops.add(Float32Array.of(1, 2), 0.5)).toEqual({ data: Float32Array.of(1.5, 2.5), shape: [2] });
  expect(await ops.add(1, 2)).toEqual({ data: Float32Array.of(3), shape: [] });
  expect(await face.square(Float32Array.of(3, -4))).toEqual({ data: Float32Array.of(9, 16), shape: [2] });
});

const halfLogTwoPi = 0.5 * Math.log(2 * Math.PI);
const rows = (data: ArrayLike<number>, width: number, term: (i: number) => number) =>
  Array.from({ length: data.length / width }, (_, r) => {
    let total = 0;
    for (let i = r * width; i < (r + 1) * width; i++) total += term(i);
    return total;
  });

test("gaussianKl", async () => {
  const [mean, logVariance] = [values([5, 3]), values([5, 3], -4, 2, 7)];
  const expected = rows(mean.data, 3, (i) => 0.5 * (mean.data[i]! ** 2 + Math.exp(logVariance.data[i]!) - 1 - logVariance.data[i]!));
  const kl = await ops.gaussianKl(mean, logVariance);
  expect(kl.shape).toEqual([5]);
  expectClose(kl.data, expected);
  // ½ (e^v − 1 − v) is v²/4 near the prior, which 1 − σ² in float32 would lose.
  const near = await ops.gaussianKl(ndarray([0], [1, 1]), ndarray([1e-3], [1, 1]));
  expectClose(near.data, [2.5e-7], 1e-3, 0);
  expectClose((await ops.gaussianKl(Float32Array.of(1, 2), Float32Array.of(0, 0))).data, [2.5]);
});

test("bernoulliLogLikelihood sums over all but the first axis, and is finite for wild logits", async () => {
  const [logits, data] = [values([2, 2, 3], -6, 6), values([2, 2, 3], 0, 1, 3)];
  const expected = rows(logits.data, 6, (i) => {
    const p = 1 / (1 + Math.exp(-logits.data[i]!));
    return data.data[i]! * Math.log(p) + (1 - data.data[i]!) * Math.log(1 - p);
  });
  const likelihood = await ops.bernoulliLogLikelihood(logits, data);
  expect(likelihood.shape).toEqual([2]);
  expectClose(likelihood.data, expected);
  const wild = await ops.bernoulliLogLikelihood(ndarray([1000, 1000, -1000, -1e30], [4, 1]), ndarray([1, 0, 1, 0], [4, 1]));
  expectClose(wild.data, [0, -1000, -1000, 0]);
});

test("gaussianLogLikelihood takes one scale, or one per dimension", async () => {
  const [mean, data] = [values([4, 3]), values([4, 3], -2, 2, 11)];
  for (const scale of [0.7, ndarray([0.7], []), ndarray([0.5, 1, 2])]) {
    const sigma = (i: number) => (typeof scale === "number" ? scale : scale.data[i % scale.data.length]!);
    const expected = rows(
      mean.data,
      3,
      (i) => -0.5 * ((data.data[i]! - mean.data[i]!) / sigma(i)) ** 2 - Math.log(sigma(i)) - halfLogTwoPi,
    );
    const likelihood = await ops.gaussianLogLikelihood(mean, data, scale);
    expect(likelihood.shape).toEqual([4]);
    expectClose(likelihood.data, expected);
  }
});

test("reparameterize with given noise, with several draws per row, and with drawn noise", async () => {
  const [mean, logVariance, noise] = [values([2, 3]), values([2, 3], -2, 1, 4), values([5, 2, 3], -2, 2, 8)];
  const z = await ops.reparameterize(mean, logVariance, noise);
  expect(z.shape).toEqual([5, 2, 3]);
  expectClose(
    z.data,
    Array.from(noise.data, (e, i) => mean.data[i % 6]! + Math.exp(0.5 * logVariance.data[i % 6]!) * e),
  );
  const draw = { seed: 7, step: 3, stream: 2 };
  const drawn = await ops.reparameterize(mean, logVariance, draw);
  expect(drawn).toEqual(await ops.reparameterize(mean, logVariance, await ops.normal([2, 3], draw)));
});

// ---- noise ----

test("draws are pure functions of seed, step and stream, on any number of threads", async () => {
  using other = createOps({ threads: 1 });
  const draw = { seed: 2 ** 40 + 5, step: 12, stream: 9 };
  for (const [name, build] of Object.entries({ uniform, normal }) as ["uniform" | "normal", typeof uniform][]) {
    const drawn = await ops[name]([100, 7], draw);
    expect(await other[name]([100, 7], draw)).toEqual(drawn);
    expectClose(drawn.data, evaluate([build([100, 7], 9)], undefined, { seed: draw.seed, step: draw.step })[0]!);
    for (const change of [{ seed: 6 }, { step: 13 }, { stream: 8 }]) {
      expect((await ops[name]([100, 7], { ...draw, ...change })).data).not.toEqual(drawn.data);
    }
  }
  const batch = { rows: 10, batch: 4, stream: 1, seed: 3, step: 5 };
  const expected = evaluate([graph.shuffledIndices({ rows: 10, batch: 4, shuffle: true, stream: 1 })], undefined, { seed: 3, step: 5 })[0]!;
  expect(await ops.shuffledIndices(batch)).toEqual({ data: Int32Array.from(expected), shape: [4] });
});

test("seed and step are no part of the plan", async () => {
  using own = createOps();
  for (let seed = 0; seed < 5; seed++) await own.normal([3], { seed, step: seed });
  expect(own.statistics()).toMatchObject({ plans: 1, compiled: 1, calls: 5 });
});

// ---- plans ----

test("a plan is compiled once per function, types and options", async () => {
  using own = createOps({ threads: 1 });
  expect(own.statistics()).toEqual({ plans: 0, bytes: 0, compiled: 0, calls: 0 });
  for (let i = 0; i < 3; i++) await own.add(values([3, 4], 0, i + 1), row);
  expect(own.statistics()).toMatchObject({ plans: 1, compiled: 1, calls: 3 });
  expect(own.statistics().bytes).toBeGreaterThan(0);
  await own.add(row, row);
  await own.subtract(row, row);
  await own.sum(x, { axes: 0 });
  await own.sum(x, { axes: 0, keepDimensions: true });
  await own.cast(bytes);
  await own.cast(whole);
  expect(own.statistics()).toMatchObject({ plans: 7, compiled: 7 });
  const zeros = [await own.divide(1, ndarray([0])), await own.multiply(row, 0), await own.multiply(row, -0)];
  expect([zeros[1]!.data.some((zero) => Object.is(zero, -0)), zeros[0]!.data[0]]).toEqual([true, Infinity]);
  expect(own.statistics().compiled).toBe(10);
});

test("both parts of a sort come from one plan", async () => {
  using own = createOps({ threads: 1 });
  const { values: sorted, indices: places } = await own.sort(Float32Array.of(3, Number.NaN, -1, 3, -Infinity));
  expect(sorted).toEqual({ data: Float32Array.of(-Infinity, -1, 3, 3, Number.NaN), shape: [5] });
  expect(places).toEqual({ data: Int32Array.of(4, 2, 0, 3, 1), shape: [5] });
  expect(own.statistics()).toMatchObject({ plans: 1, compiled: 1, calls: 1 });
});

test("the least recently used plans go first, and what they gave stays right", async () => {
  using own = createOps({ threads: 1, maximumPlans: 2 });
  const call = (length: number) => own.sum(new Float32Array(length).fill(1));
  for (const length of [1, 2, 1, 3, 1]) expect((await call(length)).data[0]).toBe(length);
  expect(own.statistics()).toMatchObject({ plans: 2, compiled: 3 });
  await call(2); // was dropped for 3
  expect(own.statistics()).toMatchObject({ plans: 2, compiled: 4 });
});

test("plans hold no more memory than allowed", async () => {
  using own = createOps({ threads: 1, maximumBytes: 1 << 20 });
  for (const columns of [100, 1000, 300_000, 2000]) await own.exp(new Float32Array(columns));
  expect(own.statistics().bytes).toBeLessThanOrEqual(1 << 20);
  expect(own.statistics()).toMatchObject({ compiled: 4 });
});

test("many calls at once, of more kinds than are kept", async () => {
  using own = createOps({ threads: 2, maximumPlans: 3 });
  const results = await Promise.all(
    Array.from({ length: 300 }, async (_, i) => {
      const length = 1 + (i % 10);
      return (await own.sum(new Float32Array(length).fill(i))).data[0] === Math.fround(length * i);
    }),
  );
  expect(results.every(Boolean)).toBe(true);
  expect(own.statistics()).toMatchObject({ plans: 3, calls: 300 });
});

test("arrays are copied at the call", async () => {
  const data = Float32Array.of(1, 2, 3);
  const pending = ops.negate(data);
  data.fill(9);
  expect((await pending).data).toEqual(Float32Array.of(-1, -2, -3));
  const gone = Float32Array.of(4);
  const second = ops.negate(gone);
  structuredClone(gone, { transfer: [gone.buffer] });
  expect((await second).data).toEqual(Float32Array.of(-4));
});

// ---- errors ----

describe("errors", () => {
  const float64 = new Float64Array(2) as unknown as Float32Array;
  const gone = new Float32Array(4);
  structuredClone(gone, { transfer: [gone.buffer] });
  const refused: readonly (readonly [string, () => Promise<unknown>, VaeError["code"], RegExp])[] = [
    ["inner dimensions", () => ops.matmul(x, x), "shape", /^matmul: inner dimensions of \[3, 4\] and \[3, 4\] are 4 and 3/],
    ["broadcast", () => ops.add(x, values([3])), "shape", /^add: .*\[3, 4\] and \[3\]/],
    ["axes", () => ops.sum(x, { axes: 2 }), "argument", /^sum: .*received 2/],
    ["wrong length", () => ops.exp({ data: new Float32Array(5), shape: [2, 3] }), "shape", /^exp: expected 6 numbers.*received 5/],
    ["infinite shape", () => ops.exp({ data: new Float32Array(5), shape: [Infinity] }), "shape", /^exp: .*\[Infinity\]/],
    ["fractional shape", () => ops.uniform([2.5]), "shape", /^uniform: .*\[2.5\]/],
    ["empty", () => ops.exp(new Float32Array()), "shape", /^exp: .*received 0/],
    ["float64", () => ops.exp(float64), "dtype", /^exp: .*Float64Array/],
    ["bytes in arithmetic", () => ops.exp(bytes), "dtype", /^exp: .*uint8/],
    ["mixed types", () => ops.concatenate([bytes, whole] as never, 0), "dtype", /^concatenate: .*int32/],
    ["detached", () => ops.exp(gone), "detached", /^exp: .*transferred/],
    ["detached with shape", () => ops.add(x, { data: gone, shape: [4] }), "detached", /^add: .*transferred/],
    ["a tensor", () => ops.exp(input("x", [3]) as never), "argument", /^exp: .*symbolic/],
    ["a list", () => ops.exp([1, 2] as never), "argument", /^exp: .*received \[1,2\]/],
    ["a misspelt option", () => ops.sum(x, { axis: 1 } as never), "argument", /^sum: unknown option "axis".*mean "axes"/],
    [
      "a misspelt option of windows",
      () => ops.conv2d(values([1, 5, 5, 1]), values([3, 3, 1, 1]), { strides: 2 } as never),
      "argument",
      /^conv2d: unknown option "strides".*mean "stride"/,
    ],
    ["a misspelt draw", () => ops.normal([3], { sed: 1 } as never), "argument", /^normal: unknown option "sed".*mean "seed"/],
    ["no draw", () => ops.uniform([3], null as never), "argument", /^uniform: expected an object of options; received null/],
    [
      "a misspelt batch",
      () => ops.shuffledIndices({ rows: 4, batch: 2, steps: 1 } as never),
      "argument",
      /^shuffledIndices: .*mean "step"/,
    ],
    ["a misspelt noise", () => ops.reparameterize(x, x, { stps: 1 } as never), "argument", /^reparameterize: .*mean "step"/],
    ["a misspelt place", async () => createOps({ thread: 1 } as never), "argument", /^createOps: unknown option "thread".*mean "threads"/],
    ["index", () => ops.gather(x, Int32Array.of(0, 3)), "argument", /^gather: expected indices from 0 to 2; received 3 at position 1/],
    ["negative index", () => ops.scatterAdd(Int32Array.of(-1), row, 4), "shape", /^scatterAdd: /],
    ["row", () => ops.scatterAdd(Int32Array.of(1, -1), values([2, 3]), 4), "argument", /^scatterAdd: .*-1 at position 1/],
    [
      "embedding",
      () => ops.embedding(x, Int32Array.of(3)),
      "argument",
      /^embedding: expected indices from 0 to 2; received 3 at position 0/,
    ],
    ["class", () => ops.crossEntropy(x, Int32Array.of(0, 4, 1)), "argument", /^crossEntropy: .*-1 to 3; received 4 at position 1/],
    ["below unknown", () => ops.crossEntropy(x, Int32Array.of(0, -1, -2)), "argument", /^crossEntropy: .*-2 at position 2.*unknown/],
    ["classes of bytes", () => ops.crossEntropy(x, Uint8Array.of(0, 1, 2)), "shape", /^crossEntropy: .*uint8 \[3\]/],
    ["channels", () => ops.conv2d(values([1, 5, 5, 2]), values([3, 3, 3, 4])), "shape", /^conv2d: .*\[3, 3, 3, 4\]/],
    [
      "padding",
      () => ops.conv2d(values([1, 5, 5, 1]), values([3, 3, 1, 1]), { padding: "full" as never }),
      "argument",
      /^conv2d: .*"full"/,
    ],
    ["pooled rank", () => ops.maxPool2d(x, 2), "shape", /^maxPool2d: .*\[3, 4\]/],
    ["k", () => ops.topK(x, 5), "argument", /^topK: .*from 1 to 4.*received 5/],
    ["sorted bytes", () => ops.sort(bytes), "dtype", /^sort: .*uint8/],
    ["not square", () => ops.cholesky(x), "shape", /^cholesky: .*\[3, 4\]/],
    ["int32 beyond float32", () => ops.transpose(ndarray(Int32Array.of(2 ** 24 + 1, 0), [1, 2])), "data", /^transpose: .*2\^24/],
    ["seed", () => ops.normal([3], { seed: -1 }), "argument", /^normal: .*seed.*-1/],
    ["stream", () => ops.normal([3], { stream: 2 ** 32 }), "argument", /^normal: .*stream/],
    ["kl shapes", () => ops.gaussianKl(x, row), "shape", /^gaussianKl: .*\[3, 4\] and \[4\]/],
    ["scale", () => ops.gaussianLogLikelihood(x, x, 0), "argument", /^gaussianLogLikelihood: .*received 0/],
    ["scale shape", () => ops.gaussianLogLikelihood(row, row, x), "shape", /^gaussianLogLikelihood: .*\[4\]; received \[3, 4\]/],
    ["device", () => createOps({ device: "gpu" as never }).exp(x), "device", /"gpu"/],
    ["tier", () => createOps({ tier: "mmx" }).exp(x), "device", /mmx/],
  ];
  test.each(refused)("%s", async (_name, call, code, message) => {
    const error = await refusal(call);
    expect(error.code).toBe(code);
    expect(error.message.replaceAll("\n", " ")).toMatch(message);
  });

  test.each([
    ["matmul", () => ops.matmul(x, x)],
    ["topK", () => ops.topK(x, 9)],
    ["embedding", () => ops.embedding(x, Int32Array.of(-1))],
  ] as const)("%s points at the line of the call", async (_name, call) => {
    const error = await refusal(call);
    expect(error.stack!.split("\n").find((line) => line.trim().startsWith("at "))).toContain("test/ops/face.test.ts");
  });

  test("ndarray checks length, type and shape", () => {
    expect(ndarray([1, 2, 3, 4], [2, 2])).toEqual({ data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] });
    expect(() => ndarray([1, 2, 3], [2, 2])).toThrow(/expected 4 numbers for shape \[2, 2\]; received 3/);
    expect(() => ndarray(float64)).toThrow(/Float64Array/);
    expect(() => ndarray(gone, [4])).toThrow(/transferred/);
    for (const shape of [[Number.NaN], [-1], [0], [1.5]]) expect(() => ndarray([1], shape)).toThrow(/whole numbers/);
  });

  test("use after dispose, and calls that dispose cuts off", async () => {
    const own = createOps({ threads: 1 });
    const large = values([600, 600]);
    const pending = Array.from({ length: 20 }, () => own.matmul(large, large));
    own.dispose();
    const settled = await Promise.allSettled(pending);
    for (const result of settled) if (result.status === "rejected") expect((result.reason as VaeError).code).toBe("disposed");
    expect(settled.some(({ status }) => status === "rejected")).toBe(true);
    expect((await refusal(() => own.exp(x))).code).toBe("disposed");
    own.dispose();
  });
});
