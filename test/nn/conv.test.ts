import { describe, expect, it } from "vitest";
import { VaeError } from "../../lib/errors.js";
import { constantTensor, evaluate, type Shape, sizeOf } from "../../lib/graph/index.js";
import {
  averagePool2d,
  batchNorm,
  conv1d,
  conv2d,
  convTranspose1d,
  convTranspose2d,
  dense,
  dropout,
  globalAveragePool,
  groupNorm,
  inferStack,
  instanceNorm,
  type Layer,
  layerNorm,
  layers,
  maxPool2d,
  NoNoise,
  Pass,
  parametersIn,
  residual,
  sequential,
  stackLayers,
  upsample,
} from "../../lib/nn/index.js";
import { numbers } from "../support/feeds.js";

const shapeOf = (layer: Layer, input: Shape): Shape => inferStack("encoder.", [layer], input).output;

/** Two samples through a layer, with parameters drawn from a sequence; the same parameters by name. */
function through(layer: Layer, input: Shape) {
  const stack = inferStack("", [layer], input);
  const x = numbers(2 * sizeOf(input)).map((value) => 2 * value - 1);
  const parameters = Object.fromEntries(
    parametersIn(stack).map(({ name, shape }, i) => [name.slice(2), numbers(sizeOf(shape), 7 * i).map((value) => value - 0.5)]),
  );
  const pass = new Pass("inference", new NoNoise());
  for (const { name, shape } of parametersIn(stack)) pass.substitute(name, constantTensor({ data: parameters[name.slice(2)]!, shape }));
  const output = pass.apply(stack, constantTensor({ data: x, shape: [2, ...input] }), {});
  return { x, parameters, values: [...evaluate([output])[0]!], shape: output.shape };
}

describe("convolutional layers as data", () => {
  it.each([
    conv2d(32, 3, { stride: 2, activation: "relu" }),
    conv2d(8, [3, 5], {
      stride: [1, 2],
      padding: [
        [1, 0],
        [2, 2],
      ],
      dilation: [2, 1],
      groups: 4,
      bias: false,
    }),
    conv1d(4, 5, { padding: [4, 0] }),
    convTranspose2d(16, 4, { stride: 2, padding: 1, outputSize: [13, 14] }),
    convTranspose1d(3, 2, { stride: 2, outputSize: 9 }),
    maxPool2d(3, { stride: 2, padding: "same" }),
    averagePool2d([2, 3]),
    globalAveragePool(),
    upsample(2, { method: "bilinear" }),
    batchNorm({ momentum: 0.99, activation: "silu" }),
    layerNorm({ affine: false }),
    groupNorm(4),
    instanceNorm({ epsilon: 1e-3 }),
    dropout(0.25),
    sequential([conv2d(3, 1), dropout(0.1)]),
    residual([conv2d(8, 3)], { shortcut: [conv2d(8, 1)], activation: "relu" }),
  ])("$kind is frozen, complete and JSON", (layer) => {
    expect(Object.isFrozen(layer)).toBe(true);
    expect(layers.parse(JSON.parse(JSON.stringify(layer)), "test")).toEqual(layer);
  });

  it("fill in the defaults", () => {
    expect(conv2d(32, [3, 3])).toEqual({
      kind: "conv2d",
      filters: 32,
      kernelSize: 3,
      stride: 1,
      padding: "same",
      dilation: 1,
      groups: 1,
      activation: "linear",
      bias: true,
      initializer: "glorotUniform",
    });
    expect(maxPool2d(2)).toEqual({ kind: "maxPool2d", size: 2, stride: 2, padding: "valid" });
  });

  it.each<[string, () => unknown, RegExp]>([
    ["no filters", () => conv2d(0, 3), /conv2d: expected filters to be a whole number of at least 1; received 0/],
    [
      "kernel 0",
      () => conv2d(8, 0),
      /kernelSize to be a whole number of at least 1, or \[vertical, horizontal\]; received 0[\s\S]*choice is 1/,
    ],
    ["half a kernel", () => conv2d(8, 2.6), /nearest valid choice is 3/],
    ["stride 0", () => conv2d(8, 3, { stride: 0 }), /stride[\s\S]*nearest valid choice is 1/],
    [
      "a pair along one axis",
      () => conv1d(8, [3, 3] as unknown as number),
      /kernelSize to be a whole number of at least 1; received \[3,3\]/,
    ],
    ["negative padding", () => conv2d(8, 3, { padding: -1 }), /padding to be "same", "valid", a whole number of at least 0 or \[\[top/],
    ["padding of another rank", () => conv1d(8, 3, { padding: [[1, 1]] as unknown as number }), /\[left, right\]/],
    ["groups 0", () => conv2d(8, 3, { groups: 0 }), /groups/],
    ["an output size where none is chosen", () => conv2d(8, 3, { outputSize: 4 } as object), /unknown option "outputSize"/],
    ["a misspelled option", () => conv2d(8, 3, { strides: 2 } as object), /did you mean "stride"/],
    ["dropout of everything", () => dropout(1), /rate to be a finite number of at least 0 and below 1/],
    ["an unknown method", () => upsample(2, { method: "cubic" as "nearest" }), /method/],
    ["no list", () => sequential(conv2d(1, 1) as unknown as Layer[]), /layers to be an array of layers/],
    ["a bad layer in a list", () => residual([dense(2), { kind: "convd" }]), /layers\[1\]: unknown layer kind "convd"/],
    ["a momentum of 1", () => batchNorm({ momentum: 1 }), /momentum/],
  ])("refuse %s", (_, make, message) => {
    expect(make).toThrow(VaeError);
    expect(make).toThrow(message);
  });
});

describe("shapes", () => {
  it.each<[Layer, Shape, Shape]>([
    [conv2d(32, 3, { stride: 2 }), [28, 28, 1], [14, 14, 32]],
    [conv2d(32, 3, { stride: 2 }), [7, 9, 3], [4, 5, 32]],
    [conv2d(32, 4, { stride: 2, padding: 1 }), [64, 64, 3], [32, 32, 32]],
    [conv2d(6, [3, 1], { padding: "valid", dilation: [2, 1] }), [9, 5, 2], [5, 5, 6]],
    [
      conv2d(6, 2, {
        padding: [
          [0, 1],
          [1, 1],
        ],
        stride: [1, 2],
      }),
      [4, 4, 2],
      [4, 3, 6],
    ],
    [convTranspose2d(64, 3, { stride: 2 }), [7, 7, 64], [14, 14, 64]],
    [convTranspose2d(3, 3, { stride: 2, outputSize: 13 }), [7, 7, 64], [13, 13, 3]],
    [convTranspose2d(3, 4, { stride: 2, padding: 1 }), [4, 4, 8], [8, 8, 3]],
    [conv1d(5, 4, { stride: 4 }), [100, 2], [25, 5]],
    [convTranspose1d(5, 4, { stride: 4, outputSize: 98 }), [25, 2], [98, 5]],
    [maxPool2d(2), [7, 8, 3], [3, 4, 3]],
    [averagePool2d(3, { stride: 2, padding: "same" }), [7, 8, 3], [4, 4, 3]],
    [globalAveragePool(), [7, 7, 64], [64]],
    [globalAveragePool(), [50, 8], [8]],
    [upsample([2, 3]), [4, 5, 6], [8, 15, 6]],
    [groupNorm(4), [3, 3, 8], [3, 3, 8]],
    [sequential([conv2d(4, 3, { stride: 2 }), maxPool2d(2)]), [28, 28, 1], [7, 7, 4]],
    [residual([conv2d(8, 3, { stride: 2 })], { shortcut: [conv2d(8, 1, { stride: 2 })] }), [7, 7, 3], [4, 4, 8]],
  ])("%o of %o", (layer, input, output) => {
    expect(shapeOf(layer, input)).toEqual(output);
    // Inference agrees with what the graph gives.
    expect(through(layer, input).shape).toEqual([2, ...output]);
  });

  it("of weights are the graph's, and initial values know how many inputs meet", () => {
    const spec = (layer: Layer, input: Shape) => parametersIn(inferStack("", [layer], input))[0]!;
    expect(spec(conv2d(64, 3, { stride: 2 }), [14, 14, 32])).toMatchObject({ shape: [3, 3, 32, 64], fanIn: 288, fanOut: 144 });
    expect(spec(conv2d(64, 3, { groups: 4 }), [14, 14, 32])).toMatchObject({ shape: [3, 3, 8, 64], fanIn: 72, fanOut: 144 });
    expect(spec(convTranspose2d(32, 4, { stride: 2 }), [7, 7, 64])).toMatchObject({ shape: [4, 4, 32, 64], fanIn: 256, fanOut: 512 });
    expect(spec(conv1d(6, 5), [20, 3])).toMatchObject({ shape: [5, 3, 6], fanIn: 15, fanOut: 30 });
  });

  it.each<[string, Layer[], Shape, RegExp]>([
    [
      "a flat sample",
      [dense(784), conv2d(4, 3)],
      [20],
      /^encoder\.1: conv2d: expected an image \[height, width, channels\]; received a sample \[784\][\s\S]*put reshape\(\[28, 28, 1\]\) before it/,
    ],
    ["an image without channels", [conv2d(4, 3)], [28, 28], /encoder\.0: conv2d[\s\S]*reshape\(\[28, 28, 1\]\)/],
    ["an image where a sequence is asked for", [conv1d(4, 3)], [28, 28, 3], /conv1d: expected a sequence[\s\S]*reshape\(\[28, 84\]\)/],
    [
      "a kernel larger than the image",
      [conv2d(4, 3, { stride: 2 }), conv2d(8, 5, { padding: "valid" })],
      [7, 7, 1],
      /^encoder\.1: conv2d: a 5×5 kernel[\s\S]*height, where the padded input has 4; received a sample \[4, 4, 4\] and 8 filters[\s\S]*nearest valid choice is a kernel of 4/,
    ],
    [
      "groups that do not divide",
      [conv2d(8, 3, { groups: 3 })],
      [7, 7, 4],
      /encoder\.0: conv2d: 3 groups do not divide 4 channels[\s\S]*groups = 2 or 4/,
    ],
    [
      "groups that do not divide filters",
      [convTranspose2d(6, 3, { groups: 4 })],
      [7, 7, 4],
      /4 groups do not divide 6 filters[\s\S]*groups = 2/,
    ],
    [
      "an output size out of reach",
      [convTranspose2d(6, 3, { stride: 2, outputSize: 16 })],
      [7, 7, 4],
      /output size from 13 to 14[\s\S]*choice is 14/,
    ],
    ["a pool larger than the image", [maxPool2d(8)], [7, 7, 4], /encoder\.0: maxPool2d[\s\S]*nearest valid choice is a kernel of 7/],
    ["a pool of a vector", [globalAveragePool()], [7], /globalAveragePool: expected places/],
    ["norm groups", [groupNorm(3)], [7, 7, 8], /groupNorm: 3 groups do not divide 8 channels[\s\S]*groups = 2 or 4/],
    ["an instance norm of a vector", [instanceNorm()], [8], /instanceNorm: expected more than one place[\s\S]*layerNorm\(\)/],
    ["an instance norm of one value", [instanceNorm()], [1], /instanceNorm: expected more than one place[\s\S]*leave it out/],
    ["a group norm of single values", [groupNorm(4)], [4], /groupNorm: expected more than one value in a group[\s\S]*groupNorm\(2\)/],
    ["a group norm of one value", [groupNorm(1)], [1, 1, 1], /groupNorm: expected more than one value in a group[\s\S]*leave it out/],
    ["a layer norm of one channel", [layerNorm()], [7, 7, 1], /layerNorm: expected more than one channel[\s\S]*groupNorm\(1\)/],
    ["a layer norm of one value", [layerNorm()], [1], /layerNorm: expected more than one channel[\s\S]*leave it out/],
    [
      "a pool of padding alone",
      [maxPool2d(2, { padding: 3 })],
      [28, 28, 1],
      /^encoder\.0: maxPool2d: padding of 3 and 3[\s\S]*at most 1 on/,
    ],
    ["an average of padding alone", [averagePool2d(2, { padding: 2 })], [28, 28, 1], /^encoder\.0: averagePool2d: padding of 2 and 2/],
    [
      "a far dilation",
      [conv2d(1, 3, { dilation: 1e9 })],
      [28, 28, 1],
      /^encoder\.0: conv2d: an image with its padding has 2000000028×2000000028/,
    ],
    [
      "a far transposed dilation",
      [convTranspose2d(1, 3, { dilation: 1e9 })],
      [28, 28, 1],
      /^encoder\.0: convTranspose2d: an image with its/,
    ],
    ["a stride of many phases", [conv2d(1, 3, { stride: 300 })], [400, 400, 1], /^encoder\.0: conv2d: a stride of 300×300/],
    ["a huge image", [upsample(1e9)], [28, 28, 1], /^encoder\.0: upsample: expected a shape of at most 2\^40 elements/],
    ["wide dense layers", [dense(2 ** 27)], [4], /^encoder\.0: dense: expected at most 2\^26 values in a sample and at most 2\^26 units/],
    ["dense layers of large samples", [], [2 ** 14, 2 ** 14], /^encoder\.head: dense: expected at most 2\^26 values in a sample/],
    [
      "a residual of another shape",
      [residual([conv2d(8, 3, { stride: 2 })])],
      [7, 7, 4],
      /^encoder\.0: residual: the layers take \[7, 7, 4\] to \[4, 4, 8\][\s\S]*shortcut: \[conv2d\(8, 1, \{ stride: 2 \}\)\]/,
    ],
    [
      "a layer within layers",
      [sequential([dense(3), residual([conv2d(1, 1)])])],
      [7],
      /^encoder\.0\.layers\.1\.layers\.0: conv2d: expected an image/,
    ],
    ["a layer of a shortcut", [residual([], { shortcut: [conv2d(1, 1)] })], [7], /^encoder\.0\.shortcut\.0: conv2d: expected an image/],
  ])("refuse %s, naming the layer and a choice that is valid", (_, list, input, message) => {
    const make = () => stackLayers("encoder", list, input, [10]);
    expect(make).toThrow(VaeError);
    expect(make).toThrow(message);
  });
});

describe("heads", () => {
  const head = (list: Layer[], input: Shape, output: Shape) =>
    stackLayers("decoder", list, input, output)
      .entries.slice(list.length)
      .map(({ name, layer }) => `${name} ${layer.kind}`);

  it("are convolutions where only the channels differ, and dense layers elsewhere", () => {
    expect(head([convTranspose2d(32, 3, { stride: 2 })], [14, 14, 64], [28, 28, 1])).toEqual(["decoder.head conv2d"]);
    expect(head([conv1d(8, 3)], [100, 4], [100, 2])).toEqual(["decoder.head conv1d"]);
    expect(head([conv2d(1, 3)], [28, 28, 4], [28, 28, 1])).toEqual([]);
    expect(head([conv2d(8, 3)], [14, 14, 4], [28, 28, 1])).toEqual(["decoder.head dense", "decoder.shape reshape"]);
    expect(head([conv2d(64, 3, { stride: 2 })], [14, 14, 32], [40])).toEqual(["decoder.head dense"]);
    const { layer } = stackLayers("decoder", [conv2d(8, 3)], [28, 28, 4], [28, 28, 3]).entries[1]!;
    expect(layer).toEqual(conv2d(3, 3));
  });
});

describe("values", () => {
  it("of conv2d with groups, stride, padding, bias and activation are those of the definition", () => {
    const { x, parameters, values, shape } = through(conv2d(4, 3, { stride: 2, padding: 1, groups: 2, activation: "relu" }), [5, 4, 2]);
    expect(shape).toEqual([2, 3, 2, 4]);
    const expected: number[] = [];
    for (let n = 0; n < 2; n++)
      for (let oh = 0; oh < 3; oh++)
        for (let ow = 0; ow < 2; ow++)
          for (let f = 0; f < 4; f++) {
            let total = parameters.bias![f]!;
            for (let i = 0; i < 3; i++)
              for (let j = 0; j < 3; j++) {
                const [h, w] = [2 * oh - 1 + i, 2 * ow - 1 + j];
                if (h < 0 || h >= 5 || w < 0 || w >= 4) continue;
                // One channel per group: filters 0 and 1 see channel 0, filters 2 and 3 channel 1.
                total += x[((n * 5 + h) * 4 + w) * 2 + Math.floor(f / 2)]! * parameters.weight![(i * 3 + j) * 4 + f]!;
              }
            expected.push(Math.max(0, total));
          }
    expect(values).toEqual(expected.map((value) => expect.closeTo(value, 12)));
    expect(values.some((value) => value > 0)).toBe(true);
  });

  it("of convTranspose2d are every pixel spread by the kernel, cut at the border", () => {
    const { x, parameters, values, shape } = through(convTranspose2d(2, 4, { stride: 2, padding: 1 }), [2, 3, 3]);
    expect(shape).toEqual([2, 4, 6, 2]);
    const expected = Array.from({ length: 2 * 4 * 6 * 2 }, (_, i) => parameters.bias![i % 2]!);
    for (let n = 0; n < 2; n++)
      for (let h = 0; h < 2; h++)
        for (let w = 0; w < 3; w++)
          for (let i = 0; i < 4; i++)
            for (let j = 0; j < 4; j++) {
              const [oh, ow] = [2 * h - 1 + i, 2 * w - 1 + j];
              if (oh < 0 || oh >= 4 || ow < 0 || ow >= 6) continue;
              for (let f = 0; f < 2; f++)
                for (let c = 0; c < 3; c++) {
                  const weight = parameters.weight![((i * 4 + j) * 2 + f) * 3 + c]!;
                  expected[((n * 4 + oh) * 6 + ow) * 2 + f]! += x[((n * 2 + h) * 3 + w) * 3 + c]! * weight;
                }
            }
    expect(values).toEqual(expected.map((value) => expect.closeTo(value, 12)));
  });

  it("of conv1d and convTranspose1d are those of images of height 1", () => {
    const flat = through(conv1d(3, 3, { stride: 2, padding: [2, 1], activation: "tanh" }), [6, 2]);
    const image = through(
      conv2d(3, [1, 3], {
        stride: [1, 2],
        padding: [
          [0, 0],
          [2, 1],
        ],
        activation: "tanh",
      }),
      [1, 6, 2],
    );
    expect(flat.values).toEqual(image.values);
    const [long, wide] = [
      through(convTranspose1d(3, 3, { stride: 2 }), [4, 2]),
      through(convTranspose2d(3, [1, 3], { stride: [1, 2] }), [1, 4, 2]),
    ];
    expect(long.values).toEqual(wide.values);
  });

  it("of pools and upsampling", () => {
    const at = (x: readonly number[], n: number, h: number, w: number) => x[(n * 4 + h) * 4 + w]!;
    const four = (x: readonly number[], i: number) => {
      const [n, h, w] = [Math.floor(i / 4), 2 * (Math.floor(i / 2) % 2), 2 * (i % 2)];
      return [at(x, n, h, w), at(x, n, h, w + 1), at(x, n, h + 1, w), at(x, n, h + 1, w + 1)];
    };
    const largest = through(maxPool2d(2), [4, 4, 1]);
    expect(largest.values).toEqual(largest.values.map((_, i) => expect.closeTo(Math.max(...four(largest.x, i)), 12)));
    const average = through(averagePool2d(2), [4, 4, 1]);
    expect(average.values).toEqual(average.values.map((_, i) => expect.closeTo(four(average.x, i).reduce((a, b) => a + b) / 4, 12)));
    const total = through(globalAveragePool(), [4, 4, 1]);
    expect(total.values[1]).toBeCloseTo(total.x.slice(16).reduce((a, b) => a + b) / 16, 12);
    const nearest = through(upsample(2), [1, 2, 1]);
    const [a, b] = nearest.x;
    expect(nearest.values.slice(0, 8)).toEqual([a, a, b, b, a, a, b, b]);
    const bilinear = through(upsample(2, { method: "bilinear" }), [1, 2, 1]);
    const between = [a!, 0.75 * a! + 0.25 * b!, 0.25 * a! + 0.75 * b!, b!];
    expect(bilinear.values.slice(0, 4)).toEqual(between.map((value) => expect.closeTo(value, 12)));
  });
});
