// Layers that read a condition.
import { describe, expect, it } from "vitest";
import { constantTensor, evaluate, type Shape, sizeOf, type Tensor } from "../../lib/graph/index.js";
import {
  category,
  conv2d,
  dense,
  film,
  joinCondition,
  type Layer,
  real,
  residual,
  sequential,
  VaeError,
  type VaeOptions,
  vae,
} from "../../lib/index.js";
import { conditionsJoined, inferStack, joinedShape, layers, NoNoise, Pass, parametersIn, readsConditions } from "../../lib/nn/index.js";
import { clusteredRows } from "../support/data.js";
import { feedsByName, numbers } from "../support/feeds.js";

const tensor = (data: readonly number[], shape: Shape): Tensor => constantTensor({ data, shape });

/** A list of layers on a sample shape, with conditions `[rows, …]`. */
function through(
  list: readonly Layer[],
  x: Tensor,
  conditions: Readonly<Record<string, Tensor>>,
  values: Record<string, readonly number[]> = {},
) {
  const shapes = Object.fromEntries(Object.entries(conditions).map(([name, { shape }]) => [name, shape.slice(1)]));
  const stack = inferStack("", list, x.shape.slice(1), shapes);
  const y = new Pass("inference", new NoNoise()).apply(stack, x, conditions);
  const begin = Object.fromEntries(parametersIn(stack).map(({ name, shape }) => [name, Array<number>(sizeOf(shape)).fill(0)]));
  expect(y.shape).toEqual([x.shape[0], ...stack.output]);
  return { shape: y.shape, values: [...evaluate([y], feedsByName([y], { ...begin, ...values }))[0]!] };
}

describe("joinCondition", () => {
  const c = tensor([10, 20, 30, 40], [2, 2]);

  it("joins a condition to the values of rows", () => {
    expect(through([joinCondition("c")], tensor([1, 2, 3, 4, 5, 6], [2, 3]), { c })).toEqual({
      shape: [2, 5],
      values: [1, 2, 3, 10, 20, 4, 5, 6, 30, 40],
    });
  });

  it("joins it as further channels of images and sequences, the same in every place", () => {
    expect(through([joinCondition("c")], tensor(numbers(8), [2, 2, 2, 1]), { c })).toEqual({
      shape: [2, 2, 2, 3],
      values: numbers(8).flatMap((value, place) => [value, ...(place < 4 ? [10, 20] : [30, 40])]),
    });
    expect(through([joinCondition("c")], tensor([1, 2, 3, 4], [2, 2, 1]), { c }).values).toEqual([
      1, 10, 20, 2, 10, 20, 3, 30, 40, 4, 30, 40,
    ]);
  });

  it("takes conditions of any shape, flattened, and only the one that it names", () => {
    const table = tensor([1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2]);
    expect(through([joinCondition("table")], tensor([0, 9], [2, 1]), { c, table }).values).toEqual([0, 1, 2, 3, 4, 9, 5, 6, 7, 8]);
  });

  it("reads the condition within layers of layers too", () => {
    const list = [sequential([residual([], { shortcut: [] }), sequential([joinCondition("c")])])];
    // A residual of nothing is x + x.
    expect(through(list, tensor([1, 2], [2, 1]), { c }).values).toEqual([2, 10, 20, 4, 30, 40]);
  });

  it("is what the front of a network does", () => {
    const x = tensor(numbers(6), [2, 3]);
    expect(joinedShape([3], { c: [2] })).toEqual([5]);
    expect(joinedShape([7, 7, 3], { c: [2], d: [2, 2] })).toEqual([7, 7, 9]);
    expect(conditionsJoined(x, {})).toBe(x);
    expect([...evaluate([conditionsJoined(x, { c })])[0]!]).toEqual(through([joinCondition("c")], x, { c }).values);
  });
});

describe("film", () => {
  const c = tensor([1, 2, -1, 3], [2, 2]);
  // γ₀, γ₁, β₀, β₁ by the two values of the condition.
  const weight = [1, 0, 2, -1, 0.5, 3, 0, 1];
  const bias = [0.25, -1, 4, 0];
  const modulation = [
    [1, 2],
    [-1, 3],
  ].map((values) => bias.map((start, column) => start + values[0]! * weight[column]! + values[1]! * weight[4 + column]!));
  const expected = (x: readonly number[], perRow: number) =>
    x.map((value, index) => {
      const [gamma0, gamma1, beta0, beta1] = modulation[Math.floor(index / perRow)]! as [number, number, number, number];
      return index % 2 === 0 ? value * (1 + gamma0) + beta0 : value * (1 + gamma1) + beta1;
    });
  const close = (values: readonly number[]) => values.map((value) => expect.closeTo(value, 12));

  it.each<[string, Shape]>([
    ["rows", [2, 2]],
    ["sequences", [2, 3, 2]],
    ["images", [2, 2, 3, 2]],
  ])("multiplies every channel of %s by 1 + γ and adds β, both linear in the condition", (_, shape) => {
    const data = numbers(sizeOf(shape));
    const { values } = through([film("c")], tensor(data, shape), { c }, { "0.weight": weight, "0.bias": bias });
    expect(values).toEqual(close(expected(data, sizeOf(shape) / 2)));
  });

  it("begins as the identity, to the bit", () => {
    const specs = parametersIn(inferStack("", [film("c")], [4, 4, 3], { c: [2] }));
    expect(specs).toMatchObject([
      { name: "0.weight", shape: [2, 6], initializer: "zeros" },
      { name: "0.bias", shape: [6], initializer: "zeros" },
    ]);
    const data = numbers(96).map((value) => 100 * value - 50);
    expect(through([film("c")], tensor(data, [2, 4, 4, 3]), { c }).values).toEqual(data);
  });
});

describe("an unknown condition", () => {
  const model = (change: Partial<VaeOptions>) => () =>
    vae({ input: [6], latent: 2, encoder: [], decoder: [], likelihood: "bernoulli", ...change });
  const conditions = { label: category(3), age: real() };
  it.each<[string, () => unknown, RegExp]>([
    [
      "film",
      model({ encoder: [film("labl")], conditions }),
      /^encoder\.0: film: no condition "labl" comes here\n.*did you mean "label"\? conditions: label, age/,
    ],
    [
      "joinCondition",
      model({ decoder: [dense(3), joinCondition("sex")], conditions }),
      /^decoder\.1: joinCondition: no condition "sex" comes here\n.*conditions: label, age/,
    ],
    [
      "a model without any",
      model({ encoder: [film("label")] }),
      /film: no condition "label" comes here\n.*conditions: none; give the model conditions/,
    ],
    ["a name that all objects have", model({ encoder: [film("constructor")], conditions }), /no condition "constructor" comes here/],
    [
      "a layer within layers",
      model({ encoder: [sequential([residual([film("labl")])])], conditions }),
      /^encoder\.0\.layers\.0\.layers\.0: film: no condition "labl"/,
    ],
    ["no name", () => film(""), /^film: expected condition to be the name of a condition; received ""/],
    ["a number", () => joinCondition(3 as never), /^joinCondition: expected condition to be the name of a condition; received 3/],
    ["an unknown option", () => film("label", { units: 3 } as object), /film: unknown option "units"/],
  ])("is refused: %s", (_, make, message) => {
    expect(make).toThrow(VaeError);
    expect(make).toThrow(message);
  });

  it("is never asked of a layer as data, which goes through JSON", () => {
    const layer = film("label", { name: "modulated" });
    expect(layer).toEqual({ kind: "film", condition: "label", name: "modulated" });
    expect(Object.isFrozen(layer)).toBe(true);
    expect(layers.parse(JSON.parse(JSON.stringify(joinCondition("label"))), "test")).toEqual(joinCondition("label"));
    expect([...readsConditions([dense(3), sequential([residual([film("a")], { shortcut: [joinCondition("b")] })])])]).toEqual(["a", "b"]);
  });
});

describe("a model", () => {
  const SIZE = 6;
  const conditions = { label: category(["a", "b"]) };
  const modelOf = (change: Partial<VaeOptions>) =>
    vae({
      input: [SIZE],
      latent: 2,
      encoder: [dense(4)],
      decoder: [dense(4)],
      likelihood: "bernoulli",
      conditions,
      device: "cpu",
      threads: 1,
      ...change,
    });
  const shapesOf = async (change: Partial<VaeOptions>) => {
    await using one = modelOf(change);
    return Object.fromEntries([...(await one.parameters())].map(([name, { shape }]) => [name, shape]));
  };

  it("joins a condition at the front of a network, unless a layer in it reads it", async () => {
    expect(await shapesOf({})).toMatchObject({ "encoder.0.weight": [SIZE + 2, 4], "decoder.0.weight": [2 + 2, 4] });
    const read = await shapesOf({
      encoder: [dense(4), sequential([film("label")])],
      decoder: [dense(4), joinCondition("label"), dense(5)],
    });
    expect(read).toMatchObject({
      "encoder.0.weight": [SIZE, 4],
      "encoder.1.layers.0.weight": [2, 8],
      "decoder.0.weight": [2, 4],
      "decoder.2.weight": [4 + 2, 5],
    });
    expect(await shapesOf({ conditions: { label: category(2, { at: "decoder" }) } })).toMatchObject({
      "encoder.0.weight": [SIZE, 4],
      "decoder.0.weight": [2 + 2, 4],
    });
    // An image is joined in every pixel where a convolution takes it, and once where a dense layer does.
    const image = { input: [4, 4, 1], encoder: [conv2d(3, 3)] };
    expect(await shapesOf(image)).toMatchObject({ "encoder.0.weight": [3, 3, 1 + 2, 3] });
    expect(await shapesOf({ ...image, encoder: [dense(3)] })).toMatchObject({ "encoder.0.weight": [16 + 2, 3] });
  });

  it("decodes and samples without a condition that comes into the encoder alone", async () => {
    await using one = modelOf({ conditions: { label: category(2, { at: "encoder" }) } });
    expect(await one.decode([[0, 0]])).toHaveLength(SIZE);
    expect(await one.sample(2)).toHaveLength(2 * SIZE);
    await expect(one.sample(2, { given: { label: 1 } })).rejects.toThrow(/given to hold no conditions/);
    const reading = { conditions: { label: category(2, { at: "encoder" }) }, decoder: [joinCondition("label")] };
    expect(() => modelOf(reading)).toThrow(/^decoder: a layer reads the condition "label", which does not come into the decoder/);
  });

  it("with film does not see its condition before it is trained, and does afterwards", async () => {
    await using one = modelOf({ encoder: [dense(4), film("label")], decoder: [dense(4, { activation: "tanh" }), film("label")] });
    const both = async () => [
      await one.decode([[0.5, -1]], { given: { label: "a" } }),
      await one.decode([[0.5, -1]], { given: { label: "b" } }),
    ];
    const [a, b] = await both();
    expect(a).toEqual(b);
    const data = clusteredRows(32, SIZE, 2);
    const labels = Int32Array.from({ length: 32 }, (_, row) => row % 2);
    const rows = { data, rows: 32, shape: [SIZE], labels, labelNames: ["b", "a"], name: "test" };
    await one.fit(rows, { steps: 30, batchSize: 16 });
    const [c, d] = await both();
    expect(c).not.toEqual(d);
    const weight = (await one.parameters()).get("decoder.1.weight")!.data;
    expect(weight.some((value) => value !== 0)).toBe(true);
  });
});
