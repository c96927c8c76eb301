// Classifiers and regressions: what lib/train trains without knowing it.
import { join } from "node:path";
import { beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import {
  type AnyPredictions,
  adam,
  type ClassEvaluation,
  type ClassPredictions,
  type CrossEntropy,
  conv2d,
  crossEntropy,
  type Dataset,
  datasets,
  dense,
  dropout,
  loadNetwork,
  meanSquaredError,
  type Network,
  network,
  sgd,
  type ValuePredictions,
  withField,
} from "../../lib/index.js";
import { loadAddon } from "../../lib/runtime/native.js";
import { clusteredRows } from "../support/data.js";
import { failure, temporaryFolder } from "../support/io.js";

const placement = { device: "cpu", threads: 1 } as const;
const folder = temporaryFolder();

/** Rows of 8 values around three prototypes, and the number of each one's prototype. */
const SIZE = 8;
const clusters = clusteredRows(96, SIZE);
const label = Int32Array.from({ length: 96 }, (_, row) => row % 3);
const labelled = { x: clusters, label };
const small = { input: [SIZE], layers: [dense(6, { activation: "tanh" }), dropout(0.1)], loss: crossEntropy(3), seed: 5, ...placement };

async function weightsOf(model: Pick<Network, "parameters">): Promise<Record<string, number[]>> {
  return Object.fromEntries([...(await model.parameters())].map(([name, { data }]) => [name, [...data]]));
}

describe("a classifier of MNIST digits", () => {
  let testing: Dataset;
  let digits: Network<CrossEntropy>;
  beforeAll(async () => {
    const training = await datasets.mnist({ limit: 3000 });
    testing = await datasets.mnist({ train: false, limit: 1000 });
    digits = network({
      input: [28, 28, 1],
      layers: [conv2d(16, 3, { stride: 2, activation: "relu" }), dense(64, { activation: "relu" })],
      loss: crossEntropy(10),
      seed: 1,
      device: "cpu",
    });
    const { epochs } = await digits.fit(training, { epochs: 5, batchSize: 64, validation: testing });
    expect(epochs).toHaveLength(5);
    for (const { metrics } of epochs) expect(Object.keys(metrics).sort()).toEqual(["accuracy", "loss"]);
    expect(epochs[4]!.metrics.accuracy).toBeGreaterThan(epochs[0]!.metrics.accuracy!);
    expect(epochs[4]!.validation!).toEqual(await digits.evaluate(testing));
    return () => digits.dispose();
  });

  test("learns from 3,000 of them to read more than 88 % of 1,000 others", async () => {
    const { accuracy, loss, rows } = await digits.evaluate(testing);
    expect(accuracy).toBeGreaterThan(0.88);
    expect(loss).toBeLessThan(0.45);
    expect(rows).toBe(1000);
  });

  test("gives probabilities and labels that agree with each other and with evaluate", async () => {
    const { probabilities, labels } = await digits.predict(testing);
    expect(probabilities).toHaveLength(10_000);
    expect(labels).toBeInstanceOf(Int32Array);
    let [right, entropy] = [0, 0];
    for (let row = 0; row < 1000; row++) {
      const own = probabilities.subarray(10 * row, 10 * row + 10);
      expect(own.reduce((sum, value) => sum + value)).toBeCloseTo(1, 5);
      expect(own[labels[row]!]).toBe(Math.max(...own));
      right += Number(labels[row] === testing.labels![row]);
      entropy -= Math.log(own[testing.labels![row]!]!);
    }
    const { accuracy, loss } = await digits.evaluate(testing);
    expect(accuracy).toBeCloseTo(right / 1000, 12);
    expect(loss).toBeCloseTo(entropy / 1000, 4);
  });

  test("predicts the same bits for a row in any call, and without labels", async () => {
    const { probabilities } = await digits.predict(testing);
    const three = (testing.data as Uint8Array).slice(0, 3 * 784);
    expect((await digits.predict(three)).probabilities).toEqual(probabilities.slice(0, 30));
  });

  test("names its parameters after the layers, and prints them", async () => {
    const names = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "layers.head.weight", "layers.head.bias"];
    expect([...(await digits.parameters()).keys()]).toEqual(names);
    expect(digits.summary()).toMatch(/layers\.head +dense +64 +10 +650\ntotal +201,578$/);
  });
});

describe("a regression", () => {
  // y = (2 a − b + 1, a + 3 c)
  const x = Float32Array.from({ length: 3 * 200 }, (_, index) => Math.sin(index * index) * 1.5);
  const y = Float32Array.from({ length: 2 * 200 }, (_, index) => {
    const [a, b, c] = [...x.subarray(3 * Math.floor(index / 2))] as [number, number, number];
    return index % 2 === 0 ? 2 * a - b + 1 : a + 3 * c;
  });

  test("recovers a linear map", async () => {
    await using model = network({ input: [3], layers: [], loss: meanSquaredError({ shape: [2] }), ...placement });
    const rows = withField(datasets.from(x, [3]), "y", y, { shape: [2] });
    const history = await model.fit(rows, { epochs: 300, batchSize: 50, optimizer: adam({ learningRate: 0.02 }) });
    expect(Object.keys(history.epochs[0]!.metrics)).toEqual(["loss"]);
    const parameters = await weightsOf(model);
    for (const [index, value] of [2, 1, -1, 0, 0, 3].entries()) expect(parameters["layers.head.weight"]![index]).toBeCloseTo(value, 3);
    for (const [index, value] of [1, 0].entries()) expect(parameters["layers.head.bias"]![index]).toBeCloseTo(value, 3);
    const { values } = await model.predict(x);
    expect(Math.max(...values.map((value, index) => Math.abs(value - y[index]!)))).toBeLessThan(0.01);
    const { loss, lossPerOutput, rows: count } = await model.evaluate(rows);
    expect(count).toBe(200);
    expect(lossPerOutput).toHaveLength(2);
    expect(loss).toBeCloseTo((lossPerOutput[0]! + lossPerOutput[1]!) / 2, 10);
    expect(loss).toBeLessThan(1e-5);
  });

  test("of a number takes a record of arrays, whatever they are stored as", async () => {
    await using model = network({ input: [3], layers: [dense(4)], loss: meanSquaredError(), ...placement });
    const target = y.slice(0, 200);
    for (const same of [target, [...target], Int32Array.from(target)]) await model.fit({ x, y: same }, { steps: 1 });
    const { loss, lossPerOutput } = await model.evaluate({ x, y: target });
    const { values } = await model.predict(x);
    const squares = [...values].map((value, row) => (value - y[row]!) ** 2);
    expect(loss).toBeCloseTo(squares.reduce((sum, value) => sum + value) / 200, 4);
    expect(lossPerOutput).toEqual(Float64Array.of(loss));
  });

  test("of images has a convolution as its head", () => {
    const layers = [conv2d(4, 3, { activation: "relu" })];
    using model = network({ input: [6, 6, 1], layers, loss: meanSquaredError({ shape: [6, 6, 2] }), ...placement });
    expect(model.summary()).toMatch(/layers\.head +conv2d/);
  });
});

test("a loaded network predicts the same bits, and goes on with the very same run", async () => {
  const path = join(folder, "small.net");
  const training = { batchSize: 20, validation: labelled };
  await using whole = network(small);
  await whole.fit(labelled, { ...training, steps: 24 });
  await using half = network(small);
  await half.fit(labelled, { ...training, steps: 11 });
  await half.save(path);
  await using again = await loadNetwork<CrossEntropy>(path, placement);
  expect(again.config).toEqual(half.config);
  expect(again.training).toEqual(half.training);
  expect(await again.predict(clusters)).toEqual(await half.predict(clusters));
  await again.fit(labelled, { ...training, steps: 13 });
  expect(again.training.step).toBe(24);
  expect(await weightsOf(again)).toEqual(await weightsOf(whole));
});

describe("names", () => {
  const columns = ["a", "b", "c", "d", "e", "f", "g", "h"];
  const table: Dataset = { data: clusters, rows: 96, shape: [SIZE], columns, name: "training" };
  const species = ["setosa", "versicolor", "virginica"];
  const named = withField(
    table,
    "species",
    [...label].map((index) => species[index]!),
  );
  const options = { ...small, loss: crossEntropy(species, { field: "species" }) };

  test("of categories are matched, whatever their numbers in other data", async () => {
    await using model = network(options);
    await model.fit(named, { steps: 80, batchSize: 32, optimizer: adam({ learningRate: 0.02 }) });
    expect((await model.evaluate(named)).accuracy).toBe(1);
    // The first row is of another species here, so the numbers are others.
    const later = [...label].slice(1).map((index) => species[index]!);
    const shifted = withField({ ...table, data: clusters.slice(SIZE), rows: 95 }, "species", later);
    expect(shifted.fields!.species!.names).not.toEqual(species);
    expect((await model.evaluate(shifted)).accuracy).toBe(1);
    expect((await model.predict(shifted)).labels).toEqual(label.slice(1));
  });

  test("of columns are matched too, and kept in the file", async () => {
    const path = join(folder, "named.net");
    await using model = network(options);
    await model.fit(named, { steps: 5 });
    await model.save(path);
    await using again = await loadNetwork<CrossEntropy>(path, placement);
    expect(again.columns).toEqual(columns);
    const turned: Dataset = {
      ...table,
      data: clusters.map((_, index) => clusters[index - (index % SIZE) + SIZE - 1 - (index % SIZE)]!),
      columns: [...columns].reverse(),
    };
    expect(await again.predict(turned)).toEqual(await model.predict(clusters));
    const error = await failure("data", () => again.predict({ ...turned, columns: ["z", ...columns.slice(1)] }));
    expect(error.message).toMatch(/missing "a"; unknown "z"/);
  });

  test("that are unknown, and numbers that are none, are refused", async () => {
    await using model = network(options);
    const misspelt = [...label].map((index) => (index === 2 ? "virgnica" : species[index]!));
    const error = await failure("data", () => model.fit(withField(table, "species", misspelt), { steps: 1 }));
    expect(error.message).toMatch(/unknown category "virgnica" of species in row 2.*\n.*did you mean "virginica"/s);
    const counted = Int32Array.from(label, (value) => value + 1);
    const numbers = await failure("data", () => model.evaluate({ x: clusters, species: counted }));
    expect(numbers.message).toMatch(/unknown category 3 of species in row 2/);
  });
});

describe("training", () => {
  test("leaves what is frozen, and goes slower where a rate says so", async () => {
    const optimizer = sgd({ learningRate: 0.1 });
    const one = { steps: 1, batchSize: 96, shuffle: false, optimizer };
    const options = { ...small, layers: [dense(6, { activation: "tanh" })] };
    const moved = async (training: object): Promise<(name: string) => number> => {
      await using model = network(options);
      const before = await weightsOf(model);
      await model.fit(labelled, { ...one, ...training });
      const after = await weightsOf(model);
      return (name) => Math.hypot(...after[name]!.map((value, index) => value - before[name]![index]!));
    };
    const [free, frozen, slow] = [await moved({}), await moved({ freeze: ["layers.0"] }), await moved({ rates: { "*.head": 0.25 } })];
    expect(free("layers.0.weight")).toBeGreaterThan(1e-3);
    expect(frozen("layers.0.weight")).toBe(0);
    expect(frozen("layers.0.bias")).toBe(0);
    expect(frozen("layers.head.weight")).toBeCloseTo(free("layers.head.weight"), 6);
    expect(slow("layers.head.weight") / free("layers.head.weight")).toBeCloseTo(0.25, 3);
    expect(slow("layers.0.weight")).toBeCloseTo(free("layers.0.weight"), 6);
  });

  test("is an iterator too, and the weights may be set", async () => {
    await using model = network(small);
    const first = new Map(await model.parameters());
    const steps: number[] = [];
    for await (const { step, metrics } of model.train(labelled, { steps: 40, every: 10 })) {
      steps.push(step);
      expect(metrics.loss).toBeGreaterThan(0);
    }
    expect(steps).toEqual([10, 20, 30, 40]);
    await model.setParameters(first);
    await using fresh = network(small);
    expect(await model.predict(clusters)).toEqual(await fresh.predict(clusters));
  });

  const { tiers } = loadAddon().info();
  test.each(tiers)("learns on the tier %s", async (tier) => {
    const layers = [conv2d(5, 3, { activation: "relu" }), dense(7, { activation: "relu" })];
    await using model = network({ input: [4, 2, 1], layers, loss: crossEntropy(3), seed: 2, ...placement, tier });
    await model.fit(labelled, { steps: 150, batchSize: 29, optimizer: adam({ learningRate: 0.01 }) });
    const { accuracy, loss } = await model.evaluate(labelled);
    expect(accuracy).toBe(1);
    expect(loss).toBeLessThan(0.1);
  });
});

test("what predict and evaluate give follows from the loss", async () => {
  await using classifier = network(small);
  expectTypeOf(classifier).toEqualTypeOf<Network<CrossEntropy>>();
  expectTypeOf(await classifier.predict(clusters)).toEqualTypeOf<ClassPredictions>();
  expectTypeOf(await classifier.evaluate(labelled)).toEqualTypeOf<ClassEvaluation>();
  await using regression = network({ input: [SIZE], layers: [], loss: meanSquaredError(), ...placement });
  expectTypeOf(await regression.predict(clusters)).toEqualTypeOf<ValuePredictions>();
  const any: Network = regression;
  expectTypeOf(await any.predict(clusters)).toEqualTypeOf<AnyPredictions>();
  const { epochs } = await classifier.fit(labelled, { steps: 1, validation: labelled });
  expectTypeOf(epochs[0]!.validation!.accuracy).toEqualTypeOf<number>();
  // @ts-expect-error: a regression has no labels
  expectTypeOf(await regression.predict(clusters)).toEqualTypeOf<ClassPredictions>();
});
