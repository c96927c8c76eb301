import { describe, expect, it } from "vitest";
import { constantTensor, evaluate, type Shape, sizeOf, state, type Tensor } from "../../lib/graph/index.js";
import {
  batchNorm,
  conv2d,
  defineLayer,
  dense,
  dropout,
  groupNorm,
  inferStack,
  instanceNorm,
  type Layer,
  layerNorm,
  layers,
  Noise,
  Pass,
  parametersIn,
  residual,
  sequential,
} from "../../lib/nn/index.js";
import { feedsByName, numbers } from "../support/feeds.js";

const training = () => new Pass("training", new Noise("layers"));
const inference = () => new Pass("inference", new Noise("layers"));

/** A layer on rows of data; parameters are states by name, with the given values or what they begin with. */
function layerOn(layer: Layer, shape: Shape, pass: Pass, x = numbers(sizeOf(shape)).map((value) => 4 * value - 1)) {
  const stack = inferStack("", [layer], shape.slice(1));
  const specs = parametersIn(stack);
  for (const { name, shape: own } of specs) pass.substitute(name, state(name.slice(2), own));
  const output = pass.apply(stack, constantTensor({ data: x, shape }), {});
  const initial = Object.fromEntries(
    specs.map((spec) => [spec.name.slice(2), Array<number>(sizeOf(spec.shape)).fill(spec.initializer === "ones" ? 1 : 0)]),
  );
  const values = (tensor: Tensor = output, change: Record<string, readonly number[]> = {}, step = 0) => [
    ...evaluate([tensor], feedsByName([tensor], { ...initial, ...change }), { seed: 5, step })[0]!,
  ];
  return { output, specs, x, values };
}

/** Mean and biased variance of the values of x that `belongs` picks. */
function moments(x: readonly number[], belongs: (index: number) => boolean) {
  const picked = x.filter((_, index) => belongs(index));
  const mean = picked.reduce((a, b) => a + b, 0) / picked.length;
  return { mean, variance: picked.reduce((total, value) => total + (value - mean) ** 2, 0) / picked.length, count: picked.length };
}

/** Normalizes every value within those that `group` gives the same key. */
function normalized(x: readonly number[], group: (index: number) => unknown, epsilon = 1e-5): number[] {
  return x.map((value, index) => {
    const { mean, variance } = moments(x, (other) => group(other) === group(index));
    return (value - mean) / Math.sqrt(variance + epsilon);
  });
}

const close = (values: readonly number[]) => values.map((value) => expect.closeTo(value, 10));

describe("normalization is over", () => {
  const shape = [2, 2, 3, 4];
  const [sample, channel, place] = [(i: number) => Math.floor(i / 24), (i: number) => i % 4, (i: number) => Math.floor(i / 4)];
  it.each<[string, Layer, (index: number) => unknown]>([
    ["the batch and all places: batchNorm", batchNorm(), channel],
    ["the channels of one place: layerNorm", layerNorm(), place],
    ["the places and channels of a group: groupNorm", groupNorm(2), (i) => `${sample(i)} ${Math.floor(channel(i) / 2)}`],
    ["one whole sample: groupNorm(1)", groupNorm(1), sample],
    ["the places of one channel: instanceNorm", instanceNorm(), (i) => `${sample(i)} ${channel(i)}`],
  ])("%s", (_, layer, group) => {
    const { x, values } = layerOn(layer, shape, training());
    expect(values()).toEqual(close(normalized(x, group)));
    const gain = [1, 2, -1, 0.5];
    const bias = [0.1, 0, 3, -2];
    const affine = normalized(x, group).map((value, index) => value * gain[channel(index)]! + bias[channel(index)]!);
    expect(values(undefined, { gain, bias })).toEqual(close(affine));
  });

  it("the features of a vector", () => {
    const { x, values } = layerOn(layerNorm({ affine: false, epsilon: 0.1, activation: "relu" }), [3, 5], inference());
    expect(values()).toEqual(close(normalized(x, (i) => Math.floor(i / 5), 0.1).map((value) => Math.max(0, value))));
    const batch = layerOn(batchNorm({ affine: false }), [6, 2], training());
    expect(batch.specs.map(({ name }) => name)).toEqual(["0.runningMean", "0.runningVariance"]);
    expect(batch.values()).toEqual(close(normalized(batch.x, (i) => i % 2)));
  });

  it("values far from zero without losing their spread", () => {
    const x = numbers(12).map((value) => 1e6 + value);
    const expected = normalized(x, (i) => Math.floor(i / 6)).map((value) => expect.closeTo(value, 8));
    expect(layerOn(groupNorm(1), [2, 3, 2], inference(), x).values()).toEqual(expected);
  });
});

describe("batchNorm", () => {
  const shape = [3, 2, 2];

  it("moves running statistics in training, by the unbiased variance, and they are not trained", () => {
    const pass = training();
    const { x, specs, values } = layerOn(batchNorm({ momentum: 0.75 }), shape, pass);
    expect(specs.filter(({ trainable }) => trainable === false).map(({ name }) => name)).toEqual(["0.runningMean", "0.runningVariance"]);
    const before = { runningMean: [0.5, -1], runningVariance: [2, 3] };
    expect(pass.updates.map(([statistic]) => statistic.attributes.name)).toEqual(["runningMean", "runningVariance"]);
    const [mean, variance] = pass.updates.map(([, next]) => values(next, before));
    for (const channel of [0, 1]) {
      const batch = moments(x, (i) => i % 2 === channel);
      expect(mean![channel]).toBeCloseTo(0.75 * before.runningMean[channel]! + 0.25 * batch.mean, 10);
      expect(variance![channel]).toBeCloseTo(0.75 * before.runningVariance[channel]! + 0.25 * batch.variance * (6 / 5), 10);
    }
  });

  it("uses the running statistics at inference, whatever the batch", () => {
    const { x, values } = layerOn(batchNorm(), shape, inference());
    const expected = x.map((value, i) => ((value - [0.5, -1][i % 2]!) / Math.sqrt([2, 3][i % 2]! + 1e-5)) * 2 + 1);
    const parameters = { runningMean: [0.5, -1], runningVariance: [2, 3], gain: [2, 2], bias: [1, 1] };
    expect(values(undefined, parameters)).toEqual(close(expected));
  });

  it("used twice in a step moves its statistics twice", () => {
    const stack = inferStack("", [batchNorm({ momentum: 0.5 })], [1]);
    const pass = training();
    for (const data of [
      [1, 3],
      [10, 20],
    ]) {
      pass.apply(stack, constantTensor({ data, shape: [2, 1] }), {});
    }
    expect(pass.updates).toHaveLength(2);
    const [, next] = pass.updates[0]!;
    expect(evaluate([next], feedsByName([next], { "0.runningMean": [4] }))[0]![0]).toBeCloseTo((0.5 * (4 + 2) + 15) / 2, 12);
  });

  it("refuses a training batch of one value per channel", () => {
    expect(() => layerOn(batchNorm(), [1, 4], training())).toThrow(
      /batchNorm: expected more than one value of each channel[\s\S]*batch size of 2/,
    );
    expect(() => layerOn(batchNorm(), [1, 4], inference())).not.toThrow();
  });
});

describe("dropout", () => {
  it("keeps each value with probability 1 − rate and the mean, with new noise on every step", () => {
    const { x, values } = layerOn(dropout(0.3), [100, 50], training(), numbers(5000));
    const [first, second] = [values(), values(undefined, {}, 1)];
    const kept = first.filter((value) => value !== 0).length / 5000;
    expect(Math.abs(kept - 0.7)).toBeLessThan(0.02);
    first.forEach((value, i) => {
      if (value !== 0) expect(value).toBeCloseTo(x[i]! / 0.7, 12);
    });
    expect(first.map((value) => value === 0)).not.toEqual(second.map((value) => value === 0));
  });

  it("does nothing at inference, and two layers share no noise", () => {
    const same = layerOn(dropout(0.5), [4, 4], inference());
    expect(same.values()).toEqual(same.x);
    const { values } = layerOn(sequential([dropout(0.5), dropout(0.5)]), [100, 100], training(), Array<number>(10_000).fill(1));
    // Two independent masks keep a quarter; twice the same one would keep half.
    expect(values().filter((value) => value !== 0).length / 10_000).toBeCloseTo(0.25, 1);
    expect(values().every((value) => value === 0 || value === 4)).toBe(true);
  });
});

describe("layers of layers", () => {
  it("name their parameters by place and keep what is not trained", () => {
    const block = residual([conv2d(4, 3, { stride: 2, bias: false }), batchNorm({ activation: "relu" })], {
      shortcut: [conv2d(4, 1, { stride: 2 })],
    });
    const { place } = inferStack(
      "encoder.",
      [dense(48), sequential([layers.parse({ kind: "reshape", shape: [4, 4, 3] }, "test"), block])],
      [7],
    ).entries[1]!;
    expect(parametersIn(place).map(({ name, trainable }) => `${name}${trainable === false ? " (not trained)" : ""}`)).toEqual([
      "encoder.1.layers.1.layers.0.weight",
      "encoder.1.layers.1.layers.1.gain",
      "encoder.1.layers.1.layers.1.bias",
      "encoder.1.layers.1.layers.1.runningMean (not trained)",
      "encoder.1.layers.1.layers.1.runningVariance (not trained)",
      "encoder.1.layers.1.shortcut.0.weight",
      "encoder.1.layers.1.shortcut.0.bias",
    ]);
  });

  it("add the shortcut before the activation", () => {
    const { x, values } = layerOn(residual([dense(2)], { activation: "relu" }), [2, 2], inference());
    const weight = [1, -2, 0.5, 1];
    const bias = [-1, 0.25];
    const expected = x.map((value, i) => {
      const [row, column] = [i - (i % 2), i % 2];
      return Math.max(0, value + x[row]! * weight[column]! + x[row + 1]! * weight[2 + column]! + bias[column]!);
    });
    expect(values(undefined, { "layers.0.weight": weight, "layers.0.bias": bias })).toEqual(close(expected));
    expect(expected).toContain(0);
  });

  it("hand the scope on", () => {
    const pass = training();
    layerOn(sequential([residual([batchNorm()])]), [4, 3], pass);
    expect(pass.updates.map(([statistic]) => statistic.attributes.name)).toEqual([
      "layers.0.layers.0.runningMean",
      "layers.0.layers.0.runningVariance",
    ]);
    const modes: string[] = [];
    defineLayer("test.witness", {
      parse: () => ({ kind: "test.witness" }),
      outputShape: (_, input) => input,
      apply: (_layer, x, { mode }) => {
        modes.push(mode);
        return x;
      },
    });
    const witness = layers.parse("test.witness", "test");
    layerOn(sequential([residual([witness])]), [1, 1], training());
    layerOn(witness, [1, 1], inference());
    expect(modes).toEqual(["training", "inference"]);
  });
});
