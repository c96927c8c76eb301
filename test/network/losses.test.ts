// Losses as users define them.
import { join } from "node:path";
import { expect, test } from "vitest";
import { absolute, add, divide, exp, reshapeTensor, square, subtract, sum, type Tensor } from "../../lib/graph/index.js";
import { defineLoss, dense, type Loss, type LossBehaviour, load, loadNetwork, network } from "../../lib/index.js";
import { failure, temporaryFolder } from "../support/io.js";

const placement = { device: "cpu", threads: 1 } as const;
const folder = temporaryFolder();
const x = Float32Array.from({ length: 200 }, (_, index) => Math.sin(index * 7.13));
const y = Float32Array.from({ length: 100 }, (_, row) => x[2 * row]! - 2 * x[2 * row + 1]! + 0.5 * Math.sin(row * 3.7));

/** −log of a Gaussian density of y, but for a constant: its scale is a parameter of the loss. */
const scaled: LossBehaviour = {
  parse: () => ({ kind: "t.scaled" }),
  fields: () => ({ y: { shape: [], dtypes: ["float32"] } }),
  outputShape: () => [1],
  declare: () => ({ parameters: { logScale: { shape: [1], initializer: "zeros" } } }),
  values: (_, output, { y: target }, { parameters: { logScale } }) => {
    const error = subtract(output, reshapeTensor(target!, output.shape));
    const density = add(divide(square(divide(error, exp(logScale!))), 2), logScale!);
    return { loss: sum(density, { axes: [1] }), absoluteError: absolute(reshapeTensor(error, target!.shape)), each: error };
  },
  predictions: (_, output) => ({ mean: output }),
};

test("a loss has parameters of its own, and names for what it measures", async () => {
  defineLoss("t.scaled", scaled);
  const path = join(folder, "scaled.net");
  await using model = network({ input: [2], layers: [], loss: { kind: "t.scaled" }, ...placement });
  expect([...(await model.parameters()).keys()]).toEqual(["layers.head.weight", "layers.head.bias", "loss.logScale"]);
  expect(model.summary()).toMatch(/\nloss +t\.scaled +1\n/);
  const { epochs } = await model.fit({ x, y }, { epochs: 1000, batchSize: 100 });
  expect(Object.keys(epochs[0]!.metrics).sort()).toEqual(["absoluteError", "loss"]); // and not `each`, which is a list
  const evaluation = await model.evaluate({ x, y });
  const { mean } = await model.predict(x);
  const squares = [...mean!].reduce((total, value, row) => total + (value - y[row]!) ** 2, 0) / 100;
  const scale = Math.exp((await model.parameters()).get("loss.logScale")!.data[0]!);
  expect(scale).toBeLessThan(0.8);
  expect(evaluation.loss).toBeCloseTo(squares / 2 / scale ** 2 + Math.log(scale), 4);
  expect(evaluation.each).toBeInstanceOf(Float64Array);
  await model.save(path);
  await using again = await loadNetwork(path, placement);
  expect(await again.evaluate({ x, y })).toEqual(evaluation);
  await failure("file", () => load(path));
});

test.each<[string, object, RegExp]>([
  ["fields", { fields: () => 3 }, /fields to give the fields that it reads by name/],
  ["the field x", { fields: () => ({ x: { shape: [], dtypes: ["float32"] } }) }, /fields to give fields beside x/],
  ["a field's name", { fields: () => ({ "a/b": { shape: [], dtypes: ["float32"] } }) }, /the name of a field/],
  ["a field", { fields: () => ({ y: 7 }) }, /fields to give "y" as \{ shape, dtypes \}; received 7/],
  ["a field's shape", { fields: () => ({ y: { shape: [-1], dtypes: ["float32"] } }) }, /fields to give "y" as \{ shape, dtypes \}/],
  ["a field's types", { fields: () => ({ y: { shape: [], dtypes: ["float64"] } }) }, /fields to give "y" as \{ shape, dtypes \}/],
  ["no output shape", { outputShape: () => 7 }, /outputShape to give a shape with at least one axis; received 7/],
  ["a scalar output", { outputShape: () => [] }, /outputShape to give a shape with at least one axis/],
  ["parameters", { declare: () => ({ parameters: { a: 1 } }) }, /the parameter "a"/],
  ["nothing", { values: () => undefined }, /values to give tensors \[1\] or \[1, k\] by name, float32; received undefined/],
  ["a promise", { values: async () => ({}) }, /values must not be async/],
  ["no loss", { values: () => ({}) }, /values to give a tensor "loss" \[1\]; received undefined/],
  ["a list as loss", { values: (_: Loss, output: Tensor) => ({ loss: output }) }, /"loss" \[1\]; received a float32 tensor \[1, 1\]/],
  ["a name that is taken", { values: (_: Loss, output: Tensor) => ({ rows: output }) }, /other names than "rows"/],
  ["a scalar", { values: (_: Loss, output: Tensor) => ({ loss: sum(output) }) }, /values to give tensors/],
  ["a number", { predictions: () => ({ values: 3 }) }, /predictions to give tensors .*float32 or int32; received 3/],
])("%s given wrongly is told when a network is made, with the function's name", async (_, parts, message) => {
  const kind = "t.wrong";
  defineLoss(kind, { ...scaled, parse: () => ({ kind }), ...parts } as LossBehaviour);
  const make = () => network({ input: [2], layers: [dense(2)], loss: { kind }, ...placement });
  await expect(async () => make()).rejects.toMatchObject({ name: "VaeError", message: expect.stringMatching(message) });
});

test("a loss must have its functions, and built-in kinds stay", async () => {
  const { values: _, ...without } = scaled;
  expect((await failure("argument", () => defineLoss("t.none", without as never))).message).toMatch(/no values/);
  expect((await failure("argument", () => defineLoss("crossEntropy", scaled))).message).toMatch(/built-in loss/);
});
