// What networks refuse, and that they stay usable.
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  conv2d,
  crossEntropy,
  datasets,
  dense,
  load,
  loadNetwork,
  meanSquaredError,
  network,
  sgd,
  VaeError,
  vae,
  withField,
} from "../../lib/index.js";
import { loadCheckpoint, saveCheckpoint } from "../../lib/io/index.js";
import { clusteredRows } from "../support/data.js";
import { failure, temporaryFolder } from "../support/io.js";

const placement = { device: "cpu", threads: 1 } as const;
const folder = temporaryFolder();
const SIZE = 8;
const clusters = clusteredRows(96, SIZE);
const label = Int32Array.from({ length: 96 }, (_, row) => row % 3);
const labelled = { x: clusters, label };
const small = { input: [SIZE], layers: [dense(6, { activation: "tanh" })], loss: crossEntropy(3), seed: 5, ...placement };

test("a field that is missing is named, in validation rows too", async () => {
  await using model = network(small);
  const calls: [string, () => unknown][] = [
    ["fit", () => model.fit(clusters, { steps: 1 })],
    ["fit validation", () => model.fit(labelled, { steps: 1, validation: clusters })],
    ["evaluate", () => model.evaluate({ x: clusters, lable: label })],
  ];
  for (const [operation, call] of calls) {
    const error = await failure("data", call);
    expect(error.operation).toBe(operation);
    expect(error.message).toMatch(/the rows have no field "label", which the model asks for/);
  }
  expect(model.training.step).toBe(0);
});

test.each([
  ["of another shape", () => new Float32Array(9), "shape"],
  ["of NaN", () => new Float32Array(SIZE).fill(Number.NaN), "data"],
  ["that are none", () => [], "data"],
  ["of doubles", () => new Float64Array(SIZE) as never, "dtype"],
] as const)("rows %s are refused", async (_, rows, code) => {
  await using model = network(small);
  await failure(code, () => model.predict(rows()));
  expect((await model.predict(clusters)).labels).toHaveLength(96);
});

test("targets that are not finite, or of another shape, are refused", async () => {
  await using model = network({ ...small, loss: meanSquaredError() });
  await failure("data", () => model.fit({ x: clusters, y: new Float32Array(96).fill(Number.NaN) }, { steps: 1 }));
  const wide = withField(datasets.from(clusters, [SIZE]), "y", new Float32Array(192), { shape: [2] });
  await failure("shape", () => model.fit(wide, { steps: 1 }));
});

test.each([
  [{ input: [SIZE], layers: [] }, "argument", /^network loss: expected a loss/],
  [{ ...small, loss: { kind: "crossentropy", names: 3 } }, "argument", /unknown loss kind.*did you mean "crossEntropy"/s],
  [{ ...small, loss: dense(3) }, "argument", /unknown loss kind "dense"/],
  [{ ...small, layers: dense(3) }, "argument", /layers to be an array of layers/],
  [{ ...small, input: [] }, "shape", /input to be the shape of a sample/],
  [{ ...small, layres: [] }, "argument", /unknown option "layres".*did you mean "layers"/s],
  [{ ...small, layers: [conv2d(2, 3)] }, "shape", /^layers\.0: conv2d/],
  [{ ...small, seed: -1 }, "argument", /seed to be a whole number of at least 0/],
  [{ ...small, device: "abacus" }, "device", /abacus/],
] as const)("wrong options are named %#", async (options, code, message) => {
  expect((await failure(code, () => network(options as never))).message).toMatch(message);
});

test.each([
  [() => crossEntropy(0), "argument", /^crossEntropy: expected names to be a whole number of at least 1/],
  [() => crossEntropy(["a", "a"]), "argument", /names to be a number of categories, or their names, all different/],
  [() => crossEntropy(3, "label" as never), "argument", /crossEntropy\(3, \{ field: "label" \}\)/],
  [() => crossEntropy(3, { field: "x" }), "argument", /field to be a field beside x/],
  [() => crossEntropy(3, { field: "a/b" }), "argument", /the name of a field/],
  [() => meanSquaredError({ shape: [0] }), "shape", /shape to be/],
] as const)("a wrong loss is explained %#", async (make, code, message) => {
  expect((await failure(code, make)).message).toMatch(message);
});

test("a training that diverges keeps the good weights", async () => {
  await using model = network({ ...small, layers: [] });
  await model.fit(labelled, { steps: 5 });
  await failure("diverged", () => model.fit(labelled, { steps: 50, optimizer: sgd({ learningRate: 1e39 }) }));
  for (const { data } of (await model.parameters()).values()) expect(data.every(Number.isFinite)).toBe(true);
  expect((await model.predict(clusters)).probabilities.every(Number.isFinite)).toBe(true);
});

test("an abort ends a call with its reason, one training runs at a time, and nothing works after dispose", async () => {
  const model = network(small);
  const controller = new AbortController();
  const training = model.fit(labelled, { steps: 1e6, signal: controller.signal });
  expect((await failure("argument", () => model.fit(labelled, { steps: 1 }))).message).toMatch(/being trained by fit/);
  expect((await model.predict(clusters)).labels).toHaveLength(96); // beside the training
  controller.abort(new Error("enough"));
  await expect(training).rejects.toThrow("enough");
  for (const verb of ["predict", "evaluate"] as const) {
    await expect(model[verb](labelled, { signal: controller.signal })).rejects.toThrow("enough");
  }
  const running = model.fit(labelled, { steps: 1e6 });
  const ended = failure("disposed", () => running);
  model.dispose();
  model.dispose();
  await ended;
  const calls = [
    () => model.fit(labelled),
    () => model.train(labelled).next(),
    () => model.predict(clusters),
    () => model.evaluate(labelled),
    () => model.parameters(),
    () => model.save(join(folder, "x.net")),
    () => model.memory(),
  ];
  for (const call of calls) await failure("disposed", call);
});

test("files of networks and of VAEs are kept apart", async () => {
  const [net, model] = [join(folder, "a.net"), join(folder, "a.vae")];
  await using one = network(small);
  await one.save(net);
  await using other = vae({ input: [SIZE], latent: 2, encoder: [], decoder: [], likelihood: "bernoulli", ...placement });
  await other.save(model);
  expect((await failure("file", () => load(net))).message).toMatch(/^load: .*a\.net: holds a network.*\n.*loadNetwork\(path\)/s);
  expect((await failure("file", () => loadNetwork(model))).message).toMatch(/^loadNetwork: .*a\.vae: holds no network.*\n.*load\(path\)/s);
  const missing = await failure("file", () => loadNetwork(join(folder, "none.net")));
  expect(missing.operation).toBe("loadNetwork");
});

test("a file that does not hold what it says is refused", async () => {
  const path = join(folder, "spoiled.net");
  await using one = network(small);
  await one.fit(labelled, { steps: 2 });
  await one.save(path);
  const good = await loadCheckpoint(path);
  const { network: config } = good.config as { readonly network: Record<string, never> };
  const spoil = async (parts: object): Promise<VaeError> => {
    await saveCheckpoint(path, { ...good, ...parts });
    return loadNetwork(path, placement).then(
      () => expect.unreachable("it was loaded"),
      (error: unknown) => error as VaeError,
    );
  };
  const cases: [object, string, RegExp][] = [
    [
      { config: { network: { ...config, loss: { kind: "mine" } } } },
      "file",
      /unknown loss kind "mine".*must be defined before loadNetwork/s,
    ],
    [{ config: { network: 3 } }, "file", /cannot be used/],
    [{ training: { step: -1 } }, "file", /step to be/],
    [{ data: { columns: ["a"] } }, "file", /cannot be used/],
    [{ config: { network: { ...config, layers: [dense(7)] } } }, "architecture", /"layers\.0\.weight" has another size/],
    [{ tensors: new Map([...good.tensors].slice(1)) }, "architecture", /missing weights "layers\.0\.weight"/],
  ];
  for (const [parts, code, message] of cases) {
    const error = await spoil(parts);
    expect(error).toBeInstanceOf(VaeError);
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
  }
});
