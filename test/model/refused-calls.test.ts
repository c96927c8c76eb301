// Calls that hostile ones found to end badly: surplus arguments of loaders, proxies, detached arrays, functions that are async where
// they must not be, results that are none.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { encodePlan } from "../../lib/compile/encode.js";
import { compile } from "../../lib/compile/index.js";
import * as graph from "../../lib/graph/index.js";
import { makeTensor } from "../../lib/graph/tensor.js";
import * as index from "../../lib/index.js";
import { loadAddon } from "../../lib/runtime/native.js";

const { datasets, VaeError } = index;
type Call = (...given: unknown[]) => unknown;

/** The error of a call, thrown or rejected with. */
async function refusal(call: () => unknown): Promise<index.VaeError> {
  try {
    await call();
  } catch (error) {
    expect(error).toBeInstanceOf(VaeError);
    return error as index.VaeError;
  }
  throw new Error("the call was not refused");
}

function revoked(target: object): never {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy as never;
}

function detached(): Float32Array {
  const array = Float32Array.of(1, 2, 3, 4);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "node-vae-refused-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const rows = Float32Array.of(0, 1, 2, 3);
const named: index.Dataset = { data: rows, rows: 2, shape: [2], columns: ["a", "b"], name: "rows" };

describe("loaders and their kin refuse what they would ignore", () => {
  const calls: readonly [name: string, call: unknown, given: readonly unknown[]][] = [
    ["datasets.csv", datasets.csv, ["rows.csv", {}]],
    ["datasets.from", datasets.from, [rows, [2], {}]],
    ["datasets.idx", datasets.idx, ["rows.idx", {}]],
    ["datasets.images", datasets.images, ["folder", { size: [4, 4] }]],
    ["datasets.mnist", datasets.mnist, [{}]],
    ["datasets.npy", datasets.npy, ["rows.npy", {}]],
    ["datasets.npz", datasets.npz, ["rows.npz", {}]],
    ["datasets.records", datasets.records, [[{ a: 1 }], {}]],
    ["saveImages", index.saveImages, ["sheet.png", rows, { shape: [2, 2, 1] }]],
    ["standardizer", index.standardizer, [named, {}]],
  ];
  test.each(calls)("%s: surplus arguments, and options that are none", async (name, call, given) => {
    const surplus = await refusal(() => (call as Call)(...given, 7));
    expect(surplus).toMatchObject({ code: "argument", operation: name, received: "7" });
    expect(surplus.message).toMatch(/too many arguments/);
    for (const options of [null, 7, "raw", [], new Map([["bytes", "raw"]])]) {
      expect(await refusal(() => (call as Call)(...given.slice(0, -1), options))).toMatchObject({
        code: "argument",
        operation: name,
        expected: "an object of options",
      });
    }
  });

  test("methods of a model and of a standardizer, and graph.step", async () => {
    const model = index.vae({ input: [2], latent: 1, encoder: [], decoder: [], likelihood: "gaussian", device: "cpu", threads: 1 });
    for (const method of ["parameters", "summary", "memory"] as const) {
      expect(await refusal(() => (model[method] as Call)(1))).toMatchObject({ code: "argument", operation: method });
    }
    model.dispose();
    const preparation = index.standardizer(named);
    expect(await refusal(() => (preparation.apply as Call)(named, 1))).toMatchObject({ operation: "standardizer.apply" });
    expect(await refusal(() => (preparation.invert as Call)(rows, 1))).toMatchObject({ operation: "standardizer.invert" });
    expect([named, named].map(preparation.apply)).toHaveLength(2);
    expect(await refusal(() => (graph.step as Call)(1))).toMatchObject({ code: "argument", operation: "step" });
    expect(await refusal(() => (index.defineLayer as Call)("x", {}, 1))).toMatchObject({ operation: "define layer", received: "1" });
  });
});

test("a row of the op table without a native instruction is named, and is no plan", () => {
  const table = graph.ops as Record<string, graph.OpRow>;
  const row: graph.OpRow = { ...table.exp!, name: "cube" };
  table.cube = row;
  try {
    const x = graph.input("x", [3]);
    const plan = compile({ outputs: { y: makeTensor("cube", [x], {}, x) } });
    expect(() => encodePlan(plan, loadAddon().info())).toThrow(
      expect.objectContaining({ code: "argument", operation: "cube", message: expect.stringMatching(/no native instruction/) }),
    );
  } finally {
    delete table.cube;
  }
});

describe("safetensors: a name that stands twice", () => {
  const write = (header: string, bytes: number): string => {
    const path = join(folder, "twice.safetensors");
    const text = Buffer.from(header);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    writeFileSync(path, Buffer.concat([length, text, Buffer.alloc(bytes)]));
    return path;
  };
  const tensor = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}';
  test.each([
    [`{"a":${tensor},"a":${tensor}}`, "a"],
    [`{"a" : ${tensor},"\\u0061"\n:${tensor}}`, "a"],
    [`{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}`, "shape"],
    [`{"__metadata__":{"x":"1","x":"2"},"a":${tensor}}`, "x"],
    [`{"\\\\\\"":${tensor},"\\\\\\"":${tensor}}`, '\\\\\\"'],
  ])("%s", async (header, name) => {
    const error = await refusal(() => index.readSafetensors(write(header, 4)));
    expect(error).toMatchObject({ code: "file" });
    expect(error.message).toContain(`the name "${name}" stands twice`);
  });
  test("names that only look alike, and texts with colons and braces, are taken", async () => {
    const header = `{"__metadata__":{"a":"{\\"a\\": 1, \\"a\\": 2}","shape":"a\\\\"},"a":${tensor}}`;
    expect([...(await index.readSafetensors(write(header, 4))).tensors.keys()]).toEqual(["a"]);
  });
});

describe("values that cannot be read", () => {
  const models: index.Vae[] = [];
  const model = (): index.Vae => {
    models.push(index.vae({ input: [2], latent: 1, encoder: [], decoder: [], likelihood: "gaussian", device: "cpu", threads: 1 }));
    return models.at(-1)!;
  };
  const weights = async (wrong: unknown): Promise<void> => {
    const parameters = await model().parameters();
    return models.at(-1)!.setParameters(parameters.set("encoder.head.weight", wrong as never));
  };
  afterAll(() => {
    for (const made of models) made.dispose();
  });
  const preparation = index.standardizer(named);
  const calls: readonly [name: string, call: () => unknown, code: string][] = [
    ["a revoked proxy as rows", () => datasets.from(revoked({}), [4]), "argument"],
    ["a typed array behind a proxy as rows", () => datasets.from(new Proxy(rows, {}), [4]), "argument"],
    ["an object that inherits from a typed array as rows", () => datasets.from(Object.create(rows), [4]), "argument"],
    ["a typed array behind a proxy as indices", () => index.subset(named, new Proxy(rows, {})), "argument"],
    ["a revoked proxy as indices", () => index.subset(named, revoked([])), "argument"],
    ["a revoked proxy as names", () => index.standardizer({ ...named, labelNames: revoked([]) }), "argument"],
    ["a revoked proxy as a path", () => index.readSafetensors(revoked({})), "argument"],
    ["a revoked proxy as images", () => index.saveImages("x.png", revoked({}), { shape: [2, 2, 1] }), "argument"],
    ["a revoked proxy as a behaviour", () => index.defineLayer("x", revoked({})), "argument"],
    ["a revoked proxy as a schedule", () => index.scheduledValue(revoked({}), graph.step()), "argument"],
    ["no schedule", () => index.scheduledValue(undefined as never, graph.step()), "argument"],
    ["a kind that is none", () => index.scheduledValue({ kind: {} } as never, graph.step()), "argument"],
    ["no step", () => index.scheduledValue(1, 7 as never), "argument"],
    ["numbers for tensors", () => index.gaussianDistribution(1 as never, 2 as never), "argument"],
    ["a detached array to invert", () => preparation.invert(detached()), "detached"],
    ["a detached array as a constant", () => graph.constantTensor({ data: detached(), shape: [4] }), "detached"],
    ["a revoked proxy as a latent", () => model().decode([revoked([])]), "shape"],
    ["a revoked proxy as weights", () => model().setParameters(new Map([["encoder.head.weight", revoked({})]])), "argument"],
    ["a shape of a symbol", () => weights({ data: rows, shape: [Symbol("s")] }), "architecture"],
    ["a name that is none", () => model().setParameters(new Map([[Symbol("s"), { data: rows }]]) as never), "argument"],
    ["a constant of any length", () => graph.constantTensor({ data: { length: 2 ** 53 - 1 }, shape: [2] }), "shape"],
    ["an iterator without next", () => datasets.from({ [Symbol.iterator]: () => ({}) } as never, [4]), "argument"],
    ["an iterator that gives numbers", () => datasets.from({ [Symbol.iterator]: () => ({ next: () => 7 }) } as never, [4]), "argument"],
    ["holes in names", () => index.standardizer({ ...named, columns: new Array<string>(2) }), "argument"],
    ["a column that is none in a CSV preparation", () => datasets.csv("x.csv", { like: { columns: [undefined] } as never }), "argument"],
    ["a class as a function", () => index.defineSchedule("x", { parse: class {} as never, value: () => graph.step() }), "argument"],
    ["a number as an optional function", () => index.definePrior("x", { ...prior, declare: 7 as never }), "argument"],
  ];
  const prior = { parse: () => ({ kind: "x" }), distribution: () => ({}) as never };
  test.each(calls)("%s", async (_, call, code) => {
    expect((await refusal(call)).code).toBe(code);
  });

  test("a schedule as plain data is checked, and a right one is taken", () => {
    const value = index.scheduledValue({ kind: "constant", value: 3 }, graph.step());
    expect([...graph.evaluate([value])[0]!]).toEqual([3]);
    expect(() => index.scheduledValue({ kind: "linear", from: 0 }, graph.step())).toThrow(/expected "to" to be a finite number/);
  });
});

describe("async functions where results are asked for at once", () => {
  const unhandled: unknown[] = [];
  const listen = (reason: unknown): void => {
    unhandled.push(reason);
  };
  beforeEach(() => {
    unhandled.length = 0;
    process.on("unhandledRejection", listen);
  });
  afterEach(() => {
    process.off("unhandledRejection", listen);
  });

  const fails = async (): Promise<never> => {
    throw new Error("an unhandled rejection");
  };
  const layer = {
    parse: () => ({ kind: "refused" }),
    outputShape: (_: unknown, input: graph.Shape) => input,
    apply: (_: unknown, x: graph.Tensor) => x,
  };
  const likelihood = {
    parse: () => ({ kind: "refused" }),
    headShape: (_: unknown, input: graph.Shape) => input,
    distribution: (_: unknown, head: graph.Tensor) => ({
      family: "refused",
      mean: head,
      draw: fails,
      logDensity: (x: graph.Tensor) => graph.negate(graph.square(graph.subtract(x, head))),
    }),
  };
  const use = async (parts: object): Promise<void> => {
    const model = index.vae({
      input: [2],
      latent: 1,
      encoder: [],
      decoder: [],
      likelihood: "gaussian",
      device: "cpu",
      threads: 1,
      ...parts,
    });
    try {
      await model.fit(rows, { steps: 1 });
      await model.reconstruct(rows);
    } finally {
      model.dispose();
    }
  };
  test.each(["parse", "outputShape", "declare", "apply"])("%s of a layer", async (method) => {
    index.defineLayer("refused", { ...layer, [method]: fails } as never);
    await refusal(() => use({ encoder: ["refused" as never] }));
    await setImmediate();
    expect(unhandled).toEqual([]);
  });
  test.each(["parse", "headShape", "declare", "range", "prepare", "distribution"])("%s of a likelihood", async (method) => {
    index.defineLikelihood("refused", { ...likelihood, [method]: fails } as never);
    await refusal(() => use({ likelihood: "refused" }));
    await setImmediate();
    expect(unhandled).toEqual([]);
  });
  test.each(["logDensity", "mean"])("%s of a likelihood's distribution", async (method) => {
    const value = (): unknown => (method === "mean" ? fails() : fails);
    const distribution = (_: unknown, head: graph.Tensor) => ({ ...likelihood.distribution(_, head), [method]: value() });
    index.defineLikelihood("refused", { ...likelihood, distribution } as never);
    await refusal(() => use({ likelihood: "refused" }));
    await setImmediate();
    expect(unhandled).toEqual([]);
  });
  test("an iterator that comes as a promise", async () => {
    const error = await refusal(() => datasets.from({ [Symbol.asyncIterator]: fails } as never, [2]));
    expect(error.hint).toMatch(/must not be async/);
    await setImmediate();
    expect(unhandled).toEqual([]);
  });
  test("a stream whose reader is none", async () => {
    const error = await refusal(() => datasets.from({ getReader: () => 7, [Symbol.asyncIterator]: fails } as never, [2]));
    expect(error.expected).toBe("a stream whose reader has a method read");
  });
});
