// What a part of a model declares, and the scope that it is given when a graph is built.
import { describe, expect, it } from "vitest";
import { add, constantTensor, evaluate, multiply, type Shape, type Tensor, topological } from "../../lib/graph/index.js";
import {
  batchNorm,
  type Declared,
  defineLayer,
  dense,
  dropout,
  type Layer,
  named,
  residual,
  type Scope,
  sequential,
  VaeError,
  type VaeOptions,
  vae,
} from "../../lib/index.js";
import { inferStack, layers, Noise, NoNoise, Pass, parametersIn, placeOf } from "../../lib/nn/index.js";
import { clusteredRows } from "../support/data.js";
import { feedsByName, numbers } from "../support/feeds.js";

const SIZE = 6;
const modelOf = (encoder: readonly Layer[], change: Partial<VaeOptions> = {}) =>
  vae({ input: [SIZE], latent: 2, encoder, decoder: [dense(4)], likelihood: "bernoulli", device: "cpu", threads: 1, ...change });
const training = () => new Pass("training", new Noise("training"));
const rowsOf = (rows: number, size = SIZE) => constantTensor({ data: numbers(rows * size), shape: [rows, size] });

/** A new kind of layer that keeps its input's shape, unless told otherwise. */
function layerOf(kind: string, declared: (input: Shape) => Declared, apply: (x: Tensor, scope: Scope) => Tensor): Layer {
  defineLayer(kind, {
    parse: () => ({ kind }),
    outputShape: (_, input) => input,
    declare: (_, input) => declared(input),
    apply: (_, x, scope) => apply(x, scope),
  });
  return layers.parse(kind, "test");
}

describe("layers with names", () => {
  const features = [
    named("features", dense(SIZE, { activation: "tanh" })),
    named("noisy", dropout(0.5)),
    named("block", residual([dense(SIZE)])),
  ];
  const more = [dense(SIZE), dropout(0.2), ...features];

  it("are called by them wherever they stand, and may be given one as an option", () => {
    const names = parametersIn(inferStack("encoder.", more, [SIZE])).map(({ name }) => name);
    expect(names).toEqual([
      "encoder.0.weight",
      "encoder.0.bias",
      "encoder.features.weight",
      "encoder.features.bias",
      "encoder.block.layers.0.weight",
      "encoder.block.layers.0.bias",
    ]);
    expect(dense(4, { name: "features" })).toEqual(named("features", dense(4)));
    expect(layers.parse(JSON.parse(JSON.stringify(named("b-2_c", dropout(0.5)))), "test")).toEqual(dropout(0.5, { name: "b-2_c" }));
    expect(named("b", named("a", dense(2)))).toEqual(dense(2, { name: "b" }));
  });

  it("keep their initial values when layers are put before them; those without names do not", async () => {
    await using before = modelOf(features);
    await using after = modelOf(more);
    const [a, b] = [await before.parameters(), await after.parameters()];
    for (const [name, value] of a) expect(b.get(name), name).toEqual(value);
    expect([...b.keys()].filter((name) => !a.has(name))).toEqual(["encoder.0.weight", "encoder.0.bias"]);
    await using unnamed = modelOf([dense(SIZE, { activation: "tanh" })]);
    await using shifted = modelOf([dense(SIZE), dense(SIZE, { activation: "tanh" })]);
    const [c, d] = [await unnamed.parameters(), await shifted.parameters()];
    expect(d.get("encoder.1.weight")!.data).not.toEqual(c.get("encoder.0.weight")!.data);
  });

  it("keep their noise", () => {
    const maskOf = (list: readonly Layer[]) => {
      const { entries } = inferStack("encoder.", list, [SIZE]);
      const noisy = entries.find(({ name }) => name === "encoder.noisy")!;
      const pass = training();
      // All of the list is drawn first, as in a model.
      const whole = pass.apply(inferStack("encoder.", list, [SIZE]), rowsOf(50), {});
      const streams = topological([whole]).flatMap(({ op, attributes }) => (op === "uniform" ? [attributes.stream] : []));
      const alone = training().apply({ input: noisy.input, output: noisy.output, entries: [noisy] }, rowsOf(50), {});
      return { streams, values: evaluate([alone], new Map(), { seed: 4, step: 2 })[0]! };
    };
    const [before, after] = [maskOf(features), maskOf(more)];
    expect(after.values).toEqual(before.values);
    expect(before.streams).toHaveLength(1);
    expect(after.streams).toHaveLength(2);
    expect(after.streams).toContain(before.streams[0]);
  });

  it.each<[string, () => unknown, RegExp]>([
    [
      "twice in a network",
      () => modelOf([dense(3, { name: "a" }), dense(3, { name: "a" })]),
      /^encoder: two layers are called "a"; expected different names/,
    ],
    [
      "twice within a layer",
      () => modelOf([sequential([dense(3, { name: "a" }), dense(3, { name: "a" })], { name: "block" })]),
      /^encoder\.block: layers: two layers are called "a"/,
    ],
    ["with a point", () => named("a.b", dense(2)), /name to be a letter, then letters, digits/],
    ["that are places", () => named("1", dense(2)), /name to be a letter/],
    ["that are empty", () => dense(2, { name: "" }), /name to be a letter/],
    ["of heads", () => dense(2, { name: "head" }), /and not "head" or "shape"/],
    ["that are numbers", () => named(3 as never, dense(2)), /name to be a letter/],
  ])("are refused %s", (_, make, message) => {
    expect(make).toThrow(VaeError);
    expect(make).toThrow(message);
  });

  it("may be called the same in two networks", () => {
    expect(() => modelOf([dense(4, { name: "a" })], { decoder: [dense(4, { name: "a" })] }).dispose()).not.toThrow();
  });
});

describe("a layer with a network of its own", () => {
  // x + gain · body(x)
  const gated = layerOf(
    "scope.gated",
    (input) => ({
      parameters: { gain: { shape: input, initializer: "ones" } },
      networks: { body: { layers: [dense(3, { activation: "relu" })], input, output: input } },
    }),
    (x, { network, parameters }) => add(x, multiply(parameters.gain!, network("body")(x))),
  );

  it("has its parameters under its name, with a head where the network's output asks for one", () => {
    expect(parametersIn(inferStack("encoder.", [dense(2), gated], [SIZE])).map(({ name, shape }) => `${name} ${shape.join("x")}`)).toEqual([
      "encoder.0.weight 6x2",
      "encoder.0.bias 2",
      "encoder.1.body.0.weight 2x3",
      "encoder.1.body.0.bias 3",
      "encoder.1.body.head.weight 3x2",
      "encoder.1.body.head.bias 2",
      "encoder.1.gain 2",
    ]);
  });

  it("computes with them", () => {
    const stack = inferStack("encoder.", [gated], [2]);
    const values = {
      "encoder.0.body.0.weight": [1, 0, -1, 0, 2, 1],
      "encoder.0.body.0.bias": [0, 1, 0],
      "encoder.0.body.head.weight": [1, 2, 3, 4, 5, 6],
      "encoder.0.body.head.bias": [0.5, -0.5],
      "encoder.0.gain": [10, 100],
    };
    const y = new Pass("inference", new NoNoise()).apply(stack, constantTensor({ data: [1, 2], shape: [1, 2] }), {});
    // relu([1, 2] · W + b) = [1, 5, 1]; times the head: [1 + 15 + 5, 2 + 20 + 6] + bias = [21.5, 27.5].
    expect([...evaluate([y], feedsByName([y], values))[0]!]).toEqual([1 + 215, 2 + 2750]);
  });

  it("is trained with the model, its own parameters too", async () => {
    await using model = modelOf([dense(4), gated]);
    const before = await model.parameters();
    await model.fit(clusteredRows(32, SIZE), { steps: 3, batchSize: 8 });
    const after = await model.parameters();
    for (const name of ["encoder.1.body.0.weight", "encoder.1.body.head.bias", "encoder.1.gain"]) {
      expect(after.get(name)!.data, name).not.toEqual(before.get(name)!.data);
    }
  });
});

describe("a network", () => {
  const declared = (input: Shape): Declared => ({
    networks: { body: { layers: [batchNorm({ momentum: 0.5, affine: false }), dropout(0.5)], input } },
  });
  const draws = (root: Tensor) => topological([root]).filter(({ op }) => op === "uniform").length;
  const movedMean = (pass: Pass) => {
    const [, next] = pass.updates.find(([tensor]) => String(tensor.attributes.name).endsWith("runningMean"))!;
    return evaluate([next], feedsByName([next], { "0.body.0.runningMean": [0] }))[0]![0]!;
  };
  const x = constantTensor({ data: [1, 3], shape: [2, 1] });

  it("applied twice to the very same tensor is applied once: statistics move once, nothing is drawn again", () => {
    const twice = layerOf("scope.twice", declared, (y, { network }) => add(network("body")(y), network("body")(y)));
    const pass = training();
    const result = pass.apply(inferStack("", [twice], [1]), x, {});
    expect(draws(result)).toBe(1);
    expect(pass.updates).toHaveLength(2);
    expect(movedMean(pass)).toBe(1); // ½ · 0 + ½ · 2
  });

  it("applied to two tensors is applied twice, with noise of its own for each", () => {
    const both = layerOf("scope.both", declared, (y, { network }) => add(network("body")(y), network("body")(multiply(y, 2))));
    const pass = training();
    const result = pass.apply(inferStack("", [both], [1]), x, {});
    expect(draws(result)).toBe(2);
    expect(pass.updates).toHaveLength(2);
    expect(movedMean(pass)).toBe(0.5 * (0.5 * 2) + 0.5 * 4);
  });

  it("applied to one tensor under other conditions is applied twice", () => {
    const conditional = layerOf("scope.conditional", declared, (y, { network }) =>
      add(network("body")(y, { c: multiply(y, 1) }), network("body")(y, { c: multiply(y, 2) })),
    );
    expect(draws(training().apply(inferStack("", [conditional], [1]), x, {}))).toBe(2);
  });

  it("shares its parameters between applications", () => {
    const shared = layerOf(
      "scope.shared",
      (input) => ({ networks: { body: { layers: [dense(1, { bias: false })], input } } }),
      (y, { network }) => add(network("body")(y), network("body")(multiply(y, 10))),
    );
    const y = training().apply(inferStack("", [shared], [1]), x, {});
    expect([...evaluate([y], feedsByName([y], { "0.body.0.weight": [2] }))[0]!]).toEqual([22, 66]);
  });

  it.each<[string, (x: Tensor, scope: Scope) => Tensor, string, RegExp]>([
    [
      "an unknown name",
      (y, { network }) => network("bodi")(y),
      "argument",
      /^encoder\.0: unknown network "bodi"\n.*did you mean "body".*declared: body/,
    ],
    ["a name that all objects have", (y, { network }) => network("toString")(y), "argument", /^encoder\.0: unknown network "toString"/],
    [
      "an unknown part",
      (y, { part }) => multiply(part("body").parameters.gain!, y),
      "argument",
      /^encoder\.0: unknown part "body"\n.*declared: none/,
    ],
    [
      "a tensor of another shape",
      (y, { network }) => network("body")(add(constantTensor({ data: [1, 2, 3], shape: [3] }), y)),
      "shape",
      /^encoder\.0\.body: expected a tensor \[rows, 1\]; received \[2, 3\]/,
    ],
    ["no tensor", (_, { network }) => network("body")(3 as never), "shape", /^encoder\.0\.body: expected a tensor \[rows, 1\]; received 3/],
  ])("refuses %s", (name, apply, code, message) => {
    const stack = inferStack("encoder.", [layerOf(`scope.refused ${name}`.slice(0, 40), declared, apply)], [1]);
    const make = () => training().apply(stack, x, {});
    expect(make).toThrow(VaeError);
    expect(make).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });
});

describe("a declaration", () => {
  const gain = { shape: [2], initializer: "ones" } as const;
  const body = { layers: [dense(2)], input: [2] };
  it.each<[string, unknown, RegExp]>([
    ["that is none", 3, /expected declare to give an object \{ parameters\?, networks\?, parts\? \}; received 3/],
    ["that is a list", [], /declare to give an object/],
    ["that is a promise", Promise.resolve({}), /declare to give an object/],
    ["of something else", { weights: {} }, /expected declare to give parameters, networks and parts, and nothing else; received "weights"/],
    ["of parameters in a list", { parameters: [gain] }, /parameters as \{ name: \{ shape, initializer \} \}/],
    ["of networks in a list", { networks: [body] }, /declare to give networks by name/],
    ["of parts that are none", { parts: 3 }, /declare to give parts by name; received 3/],
    [
      "of one name twice",
      { parameters: { body: gain }, networks: { body } },
      /different names to parameters, networks and parts; received "body"/,
    ],
    ["of a network without layers", { networks: { body: { input: [2] } } }, /the network "body" as \{ layers, input, output\? \}/],
    ["of a network that is undefined", { networks: { body: undefined } }, /the network "body" as/],
    ["of a parameter without a shape", { parameters: { gain: { initializer: "ones" } } }, /gain: expected a shape/],
    ["of a parameter without an initializer", { parameters: { gain: { shape: [2] } } }, /the parameter "gain" as \{ shape, initializer \}/],
    ["of an unknown initializer", { parameters: { gain: { shape: [2], initializer: "one" } } }, /the initializer one of .*ones/],
    ["of a name with a point", { parameters: { "a.b": gain } }, /the name of a parameter without "\.", "\/" or "\*"; received "a\.b"/],
    ["of a name with a slash", { networks: { "a/b": body } }, /the name of a network or part without/],
    ["of a name with a star", { parts: { "*": {} } }, /the name of a network or part without/],
    ["of an empty name", { parameters: { "": gain } }, /the name of a parameter without/],
    ["of a parameter with an unknown option", { parameters: { gain: { ...gain, trained: false } } }, /gain: unknown option "trained"/],
    [
      "of a parameter that is trainable or what",
      { parameters: { gain: { ...gain, trainable: 0 } } },
      /gain: expected trainable to be .*received 0/,
    ],
    [
      "of a parameter of no fan-in",
      { parameters: { gain: { ...gain, fanIn: 0 } } },
      /gain: expected fanIn to be a finite number above 0; received 0/,
    ],
    ["of a network without an input", { networks: { body: { layers: [dense(2)] } } }, /body: expected input to be .*received undefined/],
    ["of a network of no shape", { networks: { body: { ...body, input: [-2] } } }, /body: expected input to be .*received \[-2\]/],
    ["of a network to no shape", { networks: { body: { ...body, output: "x" } } }, /body: expected output to be .*received "x"/],
    [
      "of a network with an unknown option",
      { networks: { body: { ...body, outputs: [2] } } },
      /body: unknown option "outputs"[\s\S]*did you mean "output"/,
    ],
    ["of what is no layer", { networks: { body: { ...body, layers: [dense(2), 3] } } }, /body layers\[1\]: expected a layer/],
    ["of a hole in a network", { networks: { body: { ...body, layers: Array(1) } } }, /body layers\[0\]: expected a layer/],
    [
      "of an unknown layer",
      { networks: { body: { ...body, layers: [{ kind: "densee" }] } } },
      /body layers\[0\]: unknown layer kind "densee"/,
    ],
    [
      "of a layer that cannot be",
      { networks: { body: { ...body, layers: [{ kind: "dense", units: 0 }] } } },
      /body layers\[0\]: dense: expected units/,
    ],
    ["of a wrong part", { parts: { inner: { parameters: { gain: 3 } } } }, /inner: expected the parameter "gain" as/],
  ])("%s is refused with the layer's name", (name, declared, message) => {
    const kind = `scope.wrong ${name}`;
    const make = () =>
      inferStack(
        "encoder.",
        [
          layerOf(
            kind,
            () => declared as Declared,
            (x) => x,
          ),
        ],
        [2],
      );
    expect(make).toThrow(VaeError);
    expect(make).toThrow(message);
    expect(make).toThrow(`encoder.0: ${kind}`);
  });

  it("may hold layers as plain data", () => {
    const plain = layerOf(
      "scope.plain",
      (input) => ({ networks: { body: { layers: [{ kind: "dense", units: 3 }], input } } }),
      (x) => x,
    );
    expect(parametersIn(inferStack("encoder.", [plain], [2])).map(({ name }) => name)).toEqual([
      "encoder.0.body.0.weight",
      "encoder.0.body.0.bias",
    ]);
  });

  it("with layers that do not fit is refused with the network's place", () => {
    const make = () =>
      inferStack(
        "encoder.",
        [
          layerOf(
            "scope.misfit",
            () => ({ networks: { body: { layers: [dense(3), sequential([{ kind: "reshape", shape: [5] }])], input: [2] } } }),
            (x) => x,
          ),
        ],
        [2],
      );
    expect(make).toThrow(/^encoder\.0\.body\.1\.layers\.0: reshape: expected a sample of 5 elements/);
  });
});

describe("a scope", () => {
  const place = placeOf(
    "",
    {
      parameters: { own: { shape: [], initializer: "ones" }, count: { shape: [], initializer: "zeros", trainable: false } },
      parts: {
        inner: { parameters: { gain: { shape: [2], initializer: "ones" } }, networks: { body: { layers: [dense(2)], input: [2] } } },
      },
    },
    "test",
  );

  it("of a part has the part's parameters, networks and noise, and hands conditions on", () => {
    const pass = training();
    const c = rowsOf(1);
    const root = pass.scope(place, { c });
    const inner = root.part("inner");
    expect(Object.keys(root.parameters)).toEqual(["own", "count"]);
    expect(Object.keys(inner.parameters)).toEqual(["gain"]);
    expect(inner.parameters.gain!.attributes.name).toBe("inner.gain");
    expect(root.part("inner").parameters.gain).toBe(inner.parameters.gain);
    expect(inner.conditions.c).toBe(c);
    expect(inner.network("body")(constantTensor({ data: [1, 2], shape: [1, 2] })).shape).toEqual([1, 2]);
    const streams = [root.noise.normal([1]), inner.noise.normal([1])].map(({ attributes }) => attributes.stream);
    expect(new Set(streams).size).toBe(2);
    expect(() => root.part("iner")).toThrow(/unknown part "iner"\n.*did you mean "inner"/);
  });

  it("with other noise or conditions changes nothing else", () => {
    const root = training().scope(place, { c: rowsOf(1) });
    const still = root.with({ noise: new NoNoise() });
    expect([...evaluate([still.noise.normal([3])])[0]!]).toEqual([0, 0, 0]);
    expect(still.conditions).toBe(root.conditions);
    expect(still.parameters.own).toBe(root.parameters.own);
    const other = root.with({ conditions: {} });
    expect(other.conditions).toEqual({});
    expect(other.part("inner").conditions).toEqual({});
    expect(other.noise).toBe(root.noise);
  });

  it("updates a parameter as often as it is told in a step, one change after the other", () => {
    const pass = training();
    const scope = pass.scope(place);
    scope.update(scope.parameters.count!, (current) => add(current, 1));
    pass.scope(place).update(scope.parameters.count!, (current) => multiply(current, 10));
    expect(pass.updates).toHaveLength(1);
    const [[tensor, next]] = pass.updates as [readonly [Tensor, Tensor]];
    expect(tensor).toBe(scope.parameters.count);
    expect(evaluate([next], feedsByName([next], { count: [4] }))[0]![0]).toBe(50);
  });

  it.each<[string, (scope: Scope) => void, RegExp]>([
    [
      "nothing",
      ({ update, parameters }) => update(parameters.missing!, (current) => current),
      /^update: expected a parameter of the scope .*received undefined/,
    ],
    [
      "by no function",
      ({ update, parameters }) => update(parameters.count!, 3 as never),
      /^update: expected a function from the value so far .*received 3/,
    ],
    [
      "to nothing",
      ({ update, parameters }) => update(parameters.count!, () => undefined as never),
      /^update: expected the next value as a float32 tensor \[\]; received undefined/,
    ],
    ["to a number", ({ update, parameters }) => update(parameters.count!, () => 3 as never), /a float32 tensor \[\]; received 3/],
    [
      "to another shape",
      ({ update, parameters }) => update(parameters.count!, (current) => add(current, rowsOf(1, 2))),
      /received a float32 tensor \[1, 2\]/,
    ],
  ])("refuses to update %s", (_, apply, message) => {
    const pass = training();
    expect(() => apply(pass.scope(place))).toThrow(VaeError);
    expect(() => apply(pass.scope(place))).toThrow(message);
    expect(pass.updates).toEqual([]);
  });

  it("updates nothing at inference, whose function is not even called", () => {
    const pass = new Pass("inference", new NoNoise());
    const scope = pass.scope(place);
    scope.update(scope.parameters.count!, () => {
      throw new Error("called");
    });
    expect(pass.updates).toEqual([]);
  });
});

describe("a counter of a layer's own", () => {
  const counting = layerOf(
    "scope.counting",
    () => ({ parameters: { seen: { shape: [], initializer: "zeros", trainable: false } } }),
    (x, { parameters, update }) => {
      update(parameters.seen!, (current) => add(current, 1));
      return x;
    },
  );

  it("counts the steps of a training, and no call of inference", async () => {
    await using model = modelOf([counting, dense(4)]);
    const rows = clusteredRows(32, SIZE);
    const seen = async () => (await model.parameters()).get("encoder.0.seen")!.data[0];
    await model.fit(rows, { steps: 5, batchSize: 8 });
    expect(await seen()).toBe(5);
    await model.encode(rows);
    await model.evaluate(rows);
    await model.score(rows);
    expect(await seen()).toBe(5);
  });
});
