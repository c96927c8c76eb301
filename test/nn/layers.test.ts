import { describe, expect, it } from "vitest";
import { VaeError } from "../../lib/errors.js";
import { constantTensor, evaluate, matmul, multiply, sizeOf, type Tensor } from "../../lib/graph/index.js";
import { activate, activations } from "../../lib/nn/activations.js";
import {
  type Activation,
  defineLayer,
  dense,
  flatten,
  INITIALIZATION_STEP,
  initialValue,
  type Layer,
  layers,
  type NamedParameter,
  Noise,
  NoNoise,
  type ParameterSpec,
  Pass,
  parametersIn,
  reshape,
  type Stack,
  stackLayers,
} from "../../lib/nn/index.js";
import { numbers } from "../support/feeds.js";

/** A stack at inference, with values for its parameters. */
function applied(stack: Stack, x: Tensor, valuesOf: (parameter: NamedParameter) => readonly number[]): Tensor {
  const pass = new Pass("inference", new NoNoise());
  for (const parameter of parametersIn(stack)) {
    pass.substitute(parameter.name, constantTensor({ data: valuesOf(parameter), shape: parameter.shape }));
  }
  return pass.apply(stack, x, {});
}

function run(stack: Stack, x: Tensor, values: Readonly<Record<string, readonly number[]>>): Float64Array {
  return evaluate([applied(stack, x, ({ name }) => values[name]!)])[0]!;
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
      [() => dense(0), /units to be a whole number of at least 1; received 0/],
      [() => dense(2.5), /units/],
      [() => dense(Number.NaN), /units/],
      [() => dense("3" as unknown as number), /received "3"/],
      [() => dense(3, { activation: "rellu" as Activation }), /did you mean "relu"/],
      [() => dense(3, { activaton: "relu" } as object), /unknown option "activaton"[\s\S]*did you mean "activation"/],
      [() => reshape([2, -1]), /shape/],
      [() => layers.parse("dens", "vae encoder[0]"), /vae encoder\[0\]: unknown layer kind "dens"[\s\S]*did you mean "dense"/],
      [() => layers.parse(7, "vae encoder[0]"), /expected a layer/],
    ];
    for (const [make, message] of failing) {
      expect(make).toThrow(VaeError);
      expect(make).toThrow(message);
    }
  });

  it("refuse BigInts, and what contains itself", () => {
    const ring: { kind: string; layers: unknown[]; self?: unknown } = { kind: "sequential", layers: [dense(2)] };
    ring.layers.push(ring);
    const circular: Record<string, unknown> = {};
    circular.units = circular;
    const failing: [() => unknown, RegExp][] = [
      [() => dense(3n as never), /^dense: expected units .*received 3n$/],
      [() => layers.parse(3n, "vae encoder[0]"), /^vae encoder\[0\]: expected a layer: .*received 3n\n/],
      [() => dense(circular as never), /^dense: expected units .*received \{"units":/],
      [() => layers.parse(ring, "test"), /layers\[1\]: the layer of kind "sequential" contains itself/],
      [() => layers.parse("x".repeat(1e6), "test"), /^test: unknown layer kind "x{10}.{0,80}\n/],
    ];
    for (const [make, message] of failing) {
      expect(make).toThrow(VaeError);
      expect(make).toThrow(message);
    }
    const twice = dense(2); // the same value in two places is none
    expect(() => layers.parse({ kind: "sequential", layers: [twice, twice] }, "test")).not.toThrow();
  });

  it("name the kind once", () => {
    expect(() => dense(0)).toThrow(/^dense: expected units/);
    expect(() => layers.parse({ kind: "dense", units: 0 }, "vae encoder[0]")).toThrow(/^vae encoder\[0\]: dense: expected units/);
    expect(() => layers.parse({ kind: "sequential", layers: [{ kind: "dense" }] }, "sequential")).toThrow(
      /^sequential layers\[0\]: dense: expected units/,
    );
  });

  it("compute x · weight + bias on flattened samples", () => {
    const stack = stackLayers("encoder", [dense(2, { activation: "relu" })], [2, 2], [2]);
    const x = constantTensor({ data: [1, 2, 3, 4, -1, 0, 1, 2], shape: [2, 2, 2] });
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
    const output = applied(stack, constantTensor({ data: numbers(12), shape: [2, 2, 3] }), () => []);
    expect(output.shape).toEqual([2, 3, 2]);
    expect([...evaluate([output])[0]!]).toEqual(numbers(12));
  });

  it("can be added by users, and kinds keep their meaning", () => {
    const behaviour: Parameters<typeof defineLayer>[1] = {
      parse: () => ({ kind: "test.scale" }),
      outputShape: (_, input) => input,
      declare: (_, input) => ({ parameters: { gain: { shape: input, initializer: "ones" } } }),
      apply: (_, x, { parameters: { gain } }) => multiply(x, gain!),
    };
    defineLayer("test.scale", behaviour);
    expect(() => defineLayer("dense", behaviour)).toThrow(/"dense" is a built-in layer and cannot be redefined/);
    for (const part of [{}, { parse: () => 1 }, undefined, null]) {
      expect(() => defineLayer("test.empty", part as never)).toThrow(VaeError);
      expect(() => defineLayer("test.empty", part as never)).toThrow(
        /^define layer: expected functions parse, outputShape, apply for "test\.empty"; received .*no apply/,
      );
    }
    expect(() => defineLayer("", behaviour)).toThrow(/^define layer: expected the kind's name, a string; received ""/);
    expect(() => layers.parse("test.empty", "test")).toThrow(/unknown layer kind "test\.empty"/);
    const stack = stackLayers("encoder", [layers.parse("test.scale", "test")], [2], [2]);
    expect([...run(stack, constantTensor({ data: [1, 2, 3, 4], shape: [2, 2] }), { "encoder.0.gain": [10, 100] })]).toEqual([
      10, 200, 30, 400,
    ]);
  });
});

describe("a layer of a user's that is not what it says", () => {
  const define = (kind: string, part: object): Layer => {
    defineLayer(kind, { parse: () => ({ kind }), outputShape: (_, input) => input, apply: (_, x) => x, ...part });
    return layers.parse(kind, "test");
  };
  const x = constantTensor({ data: numbers(4), shape: [2, 2] });
  const apply = (layer: Layer) => () => {
    const stack = stackLayers("encoder", [dense(2), layer, dense(3)], [2], [3]);
    return applied(stack, x, ({ shape }) => Array<number>(sizeOf(shape)).fill(1));
  };

  it.each<[string, Layer, RegExp]>([
    [
      "by its shape",
      define("test.lie", { outputShape: () => [5] }),
      /^encoder\.1: test\.lie: expected a tensor \[2, 5\] from apply, as outputShape says; received \[2, 2\]/,
    ],
    [
      "by its result",
      define("test.none", { apply: () => undefined }),
      /^encoder\.1: test\.none: expected a tensor \[2, 2\] .*received undefined/,
    ],
    ["in apply", define("test.wrong", { apply: (_: unknown, y: Tensor) => matmul(y, constantTensor(1)) }), /^encoder\.1: matmul: shapes/],
    ["by a shape that is none", define("test.half", { outputShape: () => [0.5] }), /^encoder\.1: test\.half: expected a shape of whole/],
    [
      "by a parameter",
      define("test.part", { declare: () => ({ parameters: { gain: { shape: [-1], initializer: "ones" } } }) }),
      /^encoder\.1: test\.part gain: expected a shape of whole numbers/,
    ],
  ])("%s is named", (_, layer, message) => {
    expect(apply(layer)).toThrow(VaeError);
    expect(apply(layer)).toThrow(message);
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
    const [values] = evaluate([activate(activation, constantTensor({ data: points, shape: [5] }))]);
    points.forEach((point, index) => {
      expect(values![index]).toBeCloseTo(expected[activation](point), 12);
    });
  });
});

describe("initial values", () => {
  const initialValues = (spec: ParameterSpec, seed: number, name: string): Float64Array =>
    evaluate([initialValue(spec, new Noise(name))], new Map(), { seed, step: INITIALIZATION_STEP })[0]!;
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
    const values = initialValues({ shape: [300, 200], initializer, fanIn: 300, fanOut: 200 }, 1, "a");
    expect(variance(values) / expected).toBeGreaterThan(0.97);
    expect(variance(values) / expected).toBeLessThan(1.03);
    expect(values.reduce((total, value) => total + value, 0) / values.length).toBeCloseTo(0, 2);
  });

  it("fanInUniform stays within ±1/√n", () => {
    const values = initialValues({ shape: [1000], initializer: "fanInUniform", fanIn: 100 }, 1, "a");
    expect(Math.max(...values)).toBeLessThanOrEqual(0.1);
    expect(Math.max(...values)).toBeGreaterThan(0.099);
  });

  it("are zeros and ones where asked for", () => {
    expect([...initialValues({ shape: [2], initializer: "zeros" }, 1, "a")]).toEqual([0, 0]);
    expect([...initialValues({ shape: [2], initializer: "ones" }, 1, "a")]).toEqual([1, 1]);
  });

  it("are a function of seed and name", () => {
    const spec = { shape: [8], initializer: "heNormal", fanIn: 4 } as const;
    expect(initialValues(spec, 1, "a")).toEqual(initialValues(spec, 1, "a"));
    expect(initialValues(spec, 1, "a")).not.toEqual(initialValues(spec, 2, "a"));
    expect(initialValues(spec, 1, "a")).not.toEqual(initialValues(spec, 1, "b"));
  });
});
