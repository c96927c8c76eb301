import { describe, expect, it } from "vitest";
import { VaeError } from "../lib/errors.js";
import { constant, evaluate, multiply, type Tensor } from "../lib/graph/index.js";
import { activate, activations } from "../lib/nn/activations.js";
import {
  type Activation,
  applyStack,
  defineLayer,
  dense,
  flatten,
  INITIALIZATION_STEP,
  inference,
  initialValue,
  layers,
  type ParameterSpec,
  reshape,
  type Stack,
  stackLayers,
} from "../lib/nn/index.js";
import { numbers } from "./support/feeds.js";

function run(stack: Stack, x: Tensor, values: Readonly<Record<string, readonly number[]>>): Float64Array {
  return evaluate([applyStack(stack, x, ({ name, shape }) => constant({ data: values[name]!, shape }), inference)])[0]!;
}

describe("layers as data", () => {
  it("are frozen, complete and JSON", () => {
    const layer = dense(400, { activation: "relu" });
    expect(layer).toEqual({ kind: "dense", units: 400, activation: "relu", bias: true, initializer: "glorotUniform" });
    expect(Object.isFrozen(layer)).toBe(true);
    expect(layers.parse(JSON.parse(JSON.stringify(layer)), "test")).toEqual(layer);
    expect(layers.parse(JSON.parse(JSON.stringify(reshape([2, 3]))), "test")).toEqual(reshape([2, 3]));
  });

  it("refuse bad options with the option's name and a near one", () => {
    const failing: [() => unknown, RegExp][] = [
      [() => dense(0), /units to be a whole number at least 1; received 0/],
      [() => dense(2.5), /units/],
      [() => dense(Number.NaN), /units/],
      [() => dense("3" as unknown as number), /received "3"/],
      [() => dense(3, { activation: "rellu" as Activation }), /did you mean "relu"/],
      [() => dense(3, { activaton: "relu" } as object), /no option "activaton"[\s\S]*did you mean "activation"/],
      [() => reshape([2, -1]), /shape/],
      [() => layers.parse("dens", "vae encoder[0]"), /vae encoder\[0\]: there is no layer of kind "dens"[\s\S]*did you mean "dense"/],
      [() => layers.parse(7, "vae encoder[0]"), /expected a layer/],
    ];
    for (const [make, message] of failing) {
      expect(make).toThrow(VaeError);
      expect(make).toThrow(message);
    }
  });

  it("compute x · weight + bias on flattened samples", () => {
    const stack = stackLayers("encoder", [dense(2, { activation: "relu" })], [2, 2], [2]);
    const x = constant({ data: [1, 2, 3, 4, -1, 0, 1, 2], shape: [2, 2, 2] });
    const values = { "encoder.0.weight": [1, -1, 0, 2, 1, 0, -2, 1], "encoder.0.bias": [0.5, -0.5] };
    // Row one: [1 + 3 − 8, −1 + 4 + 4] + bias; row two: [−1 + 1 − 4, 1 + 2] + bias.
    expect([...run(stack, x, values)]).toEqual([0, 6.5, 0, 2.5]);
  });

  it("get a head only where the list ends in another shape", () => {
    const names = (list: Parameters<typeof stackLayers>[1], output: number[]) =>
      stackLayers("decoder", list, [3], output).entries.map(({ name, layer }) => `${name} ${layer.kind}`);
    expect(names([dense(4)], [4])).toEqual(["decoder.0 dense"]);
    expect(names([dense(4), reshape([2, 2])], [2, 2])).toEqual(["decoder.0 dense", "decoder.1 reshape"]);
    expect(names([dense(4)], [2, 2])).toEqual(["decoder.0 dense", "decoder.head dense", "decoder.shape reshape"]);
    expect(names([], [5])).toEqual(["decoder.head dense"]);
    expect(names([], [3])).toEqual(["decoder.head dense"]);
  });

  it("refuse shapes that do not fit", () => {
    expect(() => stackLayers("decoder", [reshape([2, 2])], [3], [4])).toThrow(/reshape: expected a sample of 4 elements/);
  });

  it("flatten and reshape keep the values in order", () => {
    const stack = stackLayers("encoder", [flatten(), reshape([3, 2])], [2, 3], [3, 2]);
    const output = applyStack(stack, constant({ data: numbers(12), shape: [2, 2, 3] }), () => constant(0), inference);
    expect(output.shape).toEqual([2, 3, 2]);
    expect([...evaluate([output])[0]!]).toEqual(numbers(12));
  });

  it("can be added by users, and kinds keep their meaning", () => {
    const behaviour: Parameters<typeof defineLayer>[1] = {
      parse: () => ({ kind: "test.scale" }),
      outputShape: (_, input) => input,
      parameters: (_, input) => ({ gain: { shape: input, initializer: "ones" } }),
      apply: (_, x, { gain }) => multiply(x, gain!),
    };
    defineLayer("test.scale", behaviour);
    expect(() => defineLayer("test.scale", behaviour)).toThrow(/is defined already/);
    const stack = stackLayers("encoder", [layers.parse("test.scale", "test")], [2], [2]);
    expect([...run(stack, constant({ data: [1, 2, 3, 4], shape: [2, 2] }), { "encoder.0.gain": [10, 100] })]).toEqual([10, 200, 30, 400]);
  });
});

describe("activations", () => {
  const expected: Record<Activation, (x: number) => number> = {
    linear: (x) => x,
    relu: (x) => Math.max(0, x),
    tanh: Math.tanh,
    sigmoid: (x) => 1 / (1 + Math.exp(-x)),
    softplus: (x) => Math.log1p(Math.exp(x)),
    elu: (x) => (x > 0 ? x : Math.expm1(x)),
    gelu: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
    silu: (x) => x / (1 + Math.exp(-x)),
  };
  it.each(activations)("%s", (activation) => {
    const points = [-3, -0.5, 0, 0.25, 2];
    const [values] = evaluate([activate(activation, constant({ data: points, shape: [5] }))]);
    points.forEach((point, index) => {
      expect(values![index]).toBeCloseTo(expected[activation](point), 12);
    });
  });
});

describe("initial values", () => {
  const initialValues = (spec: ParameterSpec, seed: number, stream: number): Float64Array =>
    evaluate([initialValue(spec, stream)], new Map(), { seed, step: INITIALIZATION_STEP })[0]!;
  const variance = (values: Float64Array): number => values.reduce((total, value) => total + value ** 2, 0) / values.length;
  it.each([
    ["heNormal", 2 / 300],
    ["heUniform", 2 / 300],
    ["glorotNormal", 2 / 500],
    ["glorotUniform", 2 / 500],
    ["lecunNormal", 1 / 300],
    ["lecunUniform", 1 / 300],
    ["fanInUniform", 1 / 900],
  ] as const)("%s have the variance of their paper", (initializer, expected) => {
    const values = initialValues({ shape: [300, 200], initializer, fanIn: 300, fanOut: 200 }, 1, 0);
    expect(variance(values) / expected).toBeGreaterThan(0.97);
    expect(variance(values) / expected).toBeLessThan(1.03);
    expect(values.reduce((total, value) => total + value, 0) / values.length).toBeCloseTo(0, 2);
  });

  it("fanInUniform stays within ±1/√n", () => {
    const values = initialValues({ shape: [1000], initializer: "fanInUniform", fanIn: 100 }, 1, 0);
    expect(Math.max(...values)).toBeLessThanOrEqual(0.1);
    expect(Math.max(...values)).toBeGreaterThan(0.099);
  });

  it("are zeros and ones where asked for", () => {
    expect([...initialValues({ shape: [2], initializer: "zeros" }, 1, 0)]).toEqual([0, 0]);
    expect([...initialValues({ shape: [2], initializer: "ones" }, 1, 0)]).toEqual([1, 1]);
  });

  it("are a function of seed and stream", () => {
    const spec = { shape: [8], initializer: "heNormal", fanIn: 4 } as const;
    expect(initialValues(spec, 1, 0)).toEqual(initialValues(spec, 1, 0));
    expect(initialValues(spec, 1, 0)).not.toEqual(initialValues(spec, 2, 0));
    expect(initialValues(spec, 1, 0)).not.toEqual(initialValues(spec, 1, 1));
  });
});
