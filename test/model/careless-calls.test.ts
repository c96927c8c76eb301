// What careless callers write: options by position, arguments too many, parts of their own that give something else than they
// should, and the names that messages send them to.
import assert from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as graph from "../../lib/graph/index.js";
import * as nv from "../../lib/index.js";
import * as ops from "../../lib/ops/index.js";
import { failure } from "../support/failure.js";

const { add, cast, constantTensor, exp, gather, input, mean, multiply, sum } = graph;
const x = input("x", [2, 3]);
const rows = Float32Array.from({ length: 24 }, (_, i) => Math.sin(i));
const options = { input: [4], latent: 2, encoder: [], decoder: [], likelihood: "gaussian", device: "cpu", threads: 1 } as const;
const dataset = { data: rows, rows: 6, shape: [4], name: "rows" };

const library: Readonly<Record<string, unknown>> = { ...nv };

/** A call that TypeScript would refuse. */
const loosely = (call: unknown) => call as (...given: unknown[]) => unknown;

describe("an argument in the place of options, or behind them, is refused", () => {
  const positional: readonly (readonly [name: string, given: readonly unknown[], hint: string])[] = [
    ["adam", [0.5], "adam({ learningRate: 0.5 })"],
    ["adamW", [0.5], "adamW({ learningRate: 0.5 })"],
    ["sgd", [0.1, 0.9], "sgd({ learningRate: 0.1 })"],
    ["elbo", [4], "elbo({ beta: 4 })"],
    ["gaussian", [0.1], "gaussian({ scale: 0.1 })"],
    ["bernoulli", ["stochastic"], 'bernoulli({ binarize: "stochastic" })'],
    ["conv2d", [2, 3, 2], "conv2d(2, 3, { stride: 2 })"],
    ["convTranspose2d", [2, 3, 2], "convTranspose2d(2, 3, { stride: 2 })"],
    ["conv1d", [2, 3, 2], "conv1d(2, 3, { stride: 2 })"],
    ["maxPool2d", [2, 1], "maxPool2d(2, { stride: 1 })"],
    ["upsample", [2, "bilinear"], 'upsample(2, { method: "bilinear" })'],
    ["dense", [4, "relu"], 'dense(4, { activation: "relu" })'],
    ["dense", [4, {}, 3], "dense(4, { activation: 3 })"],
    ["batchNorm", [0.9], "batchNorm({ momentum: 0.9 })"],
    ["layerNorm", [1e-3], "layerNorm({ epsilon: 0.001 })"],
    ["groupNorm", [2, 1e-3], "groupNorm(2, { epsilon: 0.001 })"],
    ["linear", [0, 1, 10], "linear({ from: 0 })"],
    ["warmup", [10], "warmup({ steps: 10 })"],
    ["split", [dataset, 0.1], "split(rows, { fraction: 0.1"],
  ];
  test.each(positional)("%s(%j)", (name, given, hint) => {
    const error = failure(() => loosely(library[name])(...given));
    expect(error).toMatchObject({ code: "argument" });
    expect(error.hint).toContain(hint);
  });

  test.each<[string, () => unknown]>([
    ["dropout", () => loosely(nv.dropout)(0.5, 1)],
    ["flatten", () => loosely(nv.flatten)(1)],
    ["sequential without an array", () => loosely(nv.sequential)(nv.dense(2), nv.dense(3))],
    ["residual", () => loosely(nv.residual)([nv.dense(4)], "relu")],
    ["constant", () => loosely(nv.constant)(1, 2)],
    ["standardNormal", () => loosely(nv.standardNormal)(1)],
    ["presets", () => loosely(nv.presets.image28)(16)],
    ["a number of units twice", () => nv.dense(4, { units: 5 } as never)],
    ["another kind", () => nv.dense(4, { kind: "conv2d" } as never)],
    ["null for an option left out", () => nv.conv2d(2, 3, { stride: null } as never)],
    ["null for options", () => nv.adam(null as never)],
    ["a Map", () => nv.adam(new Map([["learningRate", 0.5]]) as never)],
    ["an instance", () => nv.adam(new (class { learningRate = 0.5; })() as never)], // biome-ignore format: one line for each
    ["an array", () => nv.adam([] as never)],
    ["a third operand", () => loosely(add)(x, x, x)],
    ["the element type of a cast", () => loosely(cast)(x, "int32")],
    ["an axis of gather", () => loosely(gather)(x, input("i", [2], "int32"), 1)],
    ["an axis of sum", () => loosely(sum)(x, 0)],
    ["a flag that is none", () => graph.matmul(x, x, { transposeB: 1 } as never)],
    ["a forged tensor", () => exp({ ...x } as never)],
  ])("%s", (_name, call) => {
    expect(failure(call).code).toBe("argument");
  });

  test("methods of a model, and ops", async () => {
    using model = nv.vae(options);
    const calls: readonly (() => unknown)[] = [
      () => loosely(model.sample.bind(model))(1, 7),
      () => loosely(model.sample.bind(model))(1, {}, 7),
      () => loosely(model.encode.bind(model))(rows, { batchSize: 4 }),
      () => loosely(model.fit.bind(model))(rows, 10),
      () => loosely(model.fit.bind(model))(rows, {}, 10),
      () => loosely(model.score.bind(model))(rows, 8),
      () => loosely(model.interpolate.bind(model))(rows.subarray(0, 4), rows.subarray(4, 8), 3, true),
      () => loosely(ops.add)(1, 2, 3),
      () => loosely(ops.sum)(rows, 0),
      () => loosely(ops.sum)(rows, new Map([["axes", 1]])),
      () => loosely(ops.gaussianKl)(rows, rows, 1),
      () => loosely(nv.load)("no such file", "cpu"),
    ];
    for (const call of calls) await expect((async () => call())()).rejects.toMatchObject({ name: "VaeError", code: "argument" });
  });

  test("what map and reduce hand over beside their elements is no surplus", () => {
    expect([x, x].map(exp)).toHaveLength(2);
    expect([x, x, x].reduce(add).shape).toEqual([2, 3]);
  });
});

describe("parts of users that give something else than they should", () => {
  const data = rows;
  const likelihood = (kind: string, part: object) =>
    nv.defineLikelihood(kind, {
      parse: () => ({ kind }),
      headShape: (_, shape) => shape,
      distribution: (_, head) => ({
        family: kind,
        mean: head!,
        draw: () => assert.fail(),
        logDensity: (values) => multiply(values, head!),
        ...(part as Partial<nv.Distribution>),
      }),
      ...part,
    });
  const fitted = (change: object) => nv.vae({ ...options, ...change }).fit(data, { steps: 1, batchSize: 2 });

  test.each<[string, object, RegExp]>([
    [
      "a sum over rows and columns",
      { logDensity: (v: graph.Tensor) => sum(v, { axes: 1 }) },
      /^likelihood t\.l\d: expected distribution\(\)\.logDensity to give .*\[2, k\].*; received a float32 tensor \[2\]\n.*leave out the sum/,
    ],
    ["a promise", { logDensity: async () => 1 }, /expected distribution\(\)\.logDensity .*received a Promise\n.*must not be async/],
    ["nothing", { logDensity: () => undefined }, /logDensity .*received undefined/],
    [
      "rows of another shape",
      { prepare: (_: unknown, v: graph.Tensor) => sum(v) },
      /^likelihood t\.l\d: expected prepare to give .*\[2, 4\]/,
    ],
    ["a head that is no shape", { headShape: () => 4 }, /^likelihood t\.l\d: expected headShape to give a shape/],
    [
      "parameters without an initializer",
      { declare: () => ({ parameters: { scale: { shape: [] } } }) },
      /the parameter "scale" as \{ shape, initializer \}/,
    ],
  ])("a likelihood: %s", async (name, part, message) => {
    const kind = `t.l${name.length % 10}`;
    likelihood(kind, part);
    await expect((async () => fitted({ likelihood: kind }))()).rejects.toThrow(message);
  });

  test("a prior, a posterior, an objective, a schedule, an optimizer", async () => {
    nv.definePrior("t.prior", {
      parse: () => ({ kind: "t.prior" }),
      distribution: (_, _head, { rows: count }) => ({
        family: "t.prior",
        draw: () => assert.fail(),
        logDensity: (z) => multiply(z, constantTensor(count)),
      }),
    });
    nv.defineDivergence("gaussian", "t.prior", () => sum(x));
    await expect(fitted({ prior: "t.prior" })).rejects.toThrow(
      /^divergence of gaussian and t\.prior: expected .*received a float32 tensor \[\]/,
    );
    nv.definePosterior("t.posterior", { parse: () => ({ kind: "t.posterior" }), headShape: () => [4], distribution: () => ({}) as never });
    await expect(fitted({ posterior: "t.posterior" })).rejects.toThrow(
      /^posterior t\.posterior: expected distribution to give an object of/,
    );
    nv.defineObjective("t.objective", {
      parse: () => ({ kind: "t.objective" }),
      terms: (_, { batch }) => ({ loss: mean(batch.x!), other: 3 as never }),
    });
    await expect(fitted({ objective: "t.objective" })).rejects.toThrow(
      /a scalar float32 tensor as "other"; received 3\n.*constantTensor\(3\)/,
    );
    nv.defineSchedule("t.schedule", { parse: () => ({ kind: "t.schedule" }), value: () => 3 as never });
    await expect(fitted({ objective: nv.elbo({ beta: { kind: "t.schedule" } }) })).rejects.toThrow(
      /^schedule t\.schedule: expected value to give/,
    );
    nv.defineOptimizer("t.optimizer", {
      parse: () => ({ kind: "t.optimizer" }),
      slots: () => ["v"],
      begin: () => () => ({ parameter: constantTensor(1), slots: {} as never }),
    });
    using model = nv.vae(options);
    await expect(model.fit(rows, { steps: 1, optimizer: { kind: "t.optimizer" } })).rejects.toThrow(
      /^optimizer t\.optimizer: expected the next parameter/,
    );
    expect(await model.sample(1)).toHaveLength(4);
  });

  test.each<[string, unknown, RegExp]>([
    ["nothing", undefined, /wrong result of parse.*received undefined/],
    ["a promise", Promise.resolve({}), /received a Promise\n.*must not be async/],
    ["another kind", { kind: "dense" }, /expected an object \{ kind: "t\.parse"/],
    ["a function", { kind: "t.parse", f: () => 1 }, /"f" cannot be saved with a model.*received a function/],
    ["a Date", { kind: "t.parse", deep: [new Date(0)] }, /"deep\.0" cannot be saved.*received a Date/],
    ["NaN", { kind: "t.parse", value: Number.NaN }, /"value" cannot be saved.*received NaN/],
  ])("parse gives %s", (_name, result, message) => {
    nv.defineLayer("t.parse", { parse: () => result as never, outputShape: (_, shape) => shape, apply: (_, values) => values });
    const error = failure(() => nv.vae({ ...options, encoder: [{ kind: "t.parse" }] }));
    expect(error.code).toBe("argument");
    expect(error.message).toMatch(message);
  });

  test("a kind is defined again: new models have the new one, those that are there the old", async () => {
    const define = (factor: number) =>
      nv.defineLayer("t.again", {
        parse: () => ({ kind: "t.again" }),
        outputShape: (_, shape) => shape,
        apply: (_, values) => multiply(values, factor),
      });
    const make = () => nv.vae({ ...options, encoder: [{ kind: "t.again" }] });
    define(0);
    using old = make();
    define(1);
    using young = make();
    const means = [(await old.encode(rows)).mean, (await young.encode(rows)).mean];
    expect(means[0]!.every((value) => value === 0)).toBe(true);
    expect(means[1]!.some((value) => value !== 0)).toBe(true);
    expect(failure(() => nv.defineLayer("dense", {} as never)).message).toMatch(/built-in layer and cannot be redefined/);
  });
});

test("a function that a message names is one that can be imported, or an option's or a method's name", () => {
  const root = new URL("../../lib/", import.meta.url);
  const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const models: readonly object[] = [nv.Vae.prototype, nv.Network.prototype, Object.getPrototypeOf(nv.Vae.prototype) as object];
  const methods = new Set(models.flatMap((model) => Object.getOwnPropertyNames(model)));
  // JavaScript's own, and the methods of arrays and buffers that messages advise.
  const known = new Set(["slice", "from", "flat", "values", "structuredClone", "map", "uint8", "at", "Number", "parse", "distribution"]);
  const isKnown = (name: string) =>
    [nv, ops, graph, nv.datasets, nv.presets].some((names) => name in names) || methods.has(name) || known.has(name);
  const unknown = files.flatMap((file) => {
    const text = readFileSync(new URL(file, root), "utf8");
    const messages = text.match(/(?:hint|problem|expected)\w*: *(?:[^\n"`]*\? *)?(["`])(?:\\.|(?!\1).)*\1/g) ?? [];
    return messages.flatMap((message) =>
      [...message.replace(/\$\{[^}]*\}/g, "_").matchAll(/(?<![\w$.])(?:new )?([A-Za-z]\w*)\(/g)]
        .map(([, name]) => name!)
        .filter((name) => !isKnown(name) && !/^[A-Z]\w+Array$/.test(name))
        .map((name) => `${file}: ${name}() in ${message}`),
    );
  });
  expect(unknown).toEqual([]);
  expect(isKnown("readSafetensors")).toBe(true);
  expect(isKnown("writeSafetensors")).toBe(false);
});
