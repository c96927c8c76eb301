// Convolution by another route than its own loops: windows and matrix products, inner products, hand calculation, and
// derivatives through whole networks.
import { describe, expect, test } from "vitest";
import { VaeError, type VaeErrorCode } from "../../lib/errors.js";
import { convolutionGeometry, windowAxes } from "../../lib/graph/convolution-geometry.js";
import * as graph from "../../lib/graph/index.js";
import {
  constantTensor,
  conv2dInputGradient,
  conv2dWeightGradient,
  convolve1d,
  convolve2d,
  convolveTransposed2d,
  evaluate,
  grad,
  input,
  instantiate,
  matmul,
  multiply,
  opCases,
  type Pair,
  reshapeTensor,
  sizeOf,
  sum,
  type Tensor,
} from "../../lib/graph/index.js";
import { weights } from "../support/gradients.js";

const tensor = (...shape: number[]) => input("x", shape);
const ones = (...shape: number[]) => constantTensor({ data: Array(sizeOf(shape)).fill(1), shape });
const numbers = (...shape: number[]) => constantTensor({ data: Array.from({ length: sizeOf(shape) }, (_, i) => i + 1), shape });
const elements = (x: Tensor) => [...evaluate([x])[0]!];

function attributesOf(node: Tensor) {
  const { stride, padding, dilation, groups } = node.attributes as unknown as {
    stride: Pair;
    padding: readonly [Pair, Pair];
    dilation: Pair;
    groups: number;
  };
  return { stride, padding, dilation, groups };
}

const small = opCases().filter(({ op, large }) => op === "conv2d" && large !== true);

test("the table of geometries is as wide as it should be", () => {
  expect(small.length).toBeGreaterThanOrEqual(60);
  const nodes = small.map((sample) => instantiate(sample).output);
  const seen = (pick: (node: Tensor) => unknown) => new Set(nodes.map((node) => JSON.stringify(pick(node))));
  for (const stride of [1, 2, 3]) expect(seen((node) => attributesOf(node).stride[0])).toContain(String(stride));
  for (const kernel of [1, 2, 3, 4, 5, 6, 7]) expect(seen((node) => node.inputs[1]!.shape[0])).toContain(String(kernel));
  for (const dilation of [1, 2, 3]) expect(seen((node) => attributesOf(node).dilation[0])).toContain(String(dilation));
  for (const channels of [1, 2, 3, 5, 7, 20]) expect(seen((node) => node.inputs[0]!.shape[3])).toContain(String(channels));
  for (const filters of [1, 2, 3, 5, 7, 20]) expect(seen((node) => node.shape[3])).toContain(String(filters));
  expect(nodes.some((node) => attributesOf(node).groups === node.inputs[0]!.shape[3] && node.shape[3]! > node.inputs[0]!.shape[3]!)).toBe(
    true,
  );
});

describe("conv2d is windows times weights, group by group", () => {
  test.each(small.map((sample) => [sample.name, sample] as const))("%s", (_name, sample) => {
    const { output, feeds } = instantiate(sample);
    const { stride, padding, dilation, groups } = attributesOf(output);
    const [x, w] = output.inputs as [Tensor, Tensor];
    const [kernelHeight, kernelWidth, channels, filters] = w.shape as unknown as [number, number, number, number];
    const windows = graph.unfold(graph.pad(x, [[0, 0], ...padding, [0, 0]]), { kernelSize: [kernelHeight, kernelWidth], stride, dilation });
    const [batch, height, width] = windows.shape as unknown as [number, number, number];
    const parts = Array.from({ length: groups }, (_, group) => {
      const seen = graph.slice(windows, [0, 0, 0, 0, 0, group * channels], [...windows.shape.slice(0, 5), (group + 1) * channels]);
      const own = filters / groups;
      const kernel = graph.slice(w, [0, 0, 0, group * own], [kernelHeight, kernelWidth, channels, (group + 1) * own]);
      const product = matmul(reshapeTensor(seen, [batch * height * width, -1]), reshapeTensor(kernel, [-1, own]));
      return reshapeTensor(product, [batch, height, width, own]);
    });
    const expected = graph.concatenate(parts, 3);
    expect(output.shape).toEqual(expected.shape);
    const [direct, composed] = evaluate([output, expected], feeds);
    direct!.forEach((value, i) => {
      expect(Math.abs(value - composed![i]!)).toBeLessThan(1e-12);
    });
  });
});

test("the three directions are one trilinear form", () => {
  for (const sample of small) {
    const { output, feeds } = instantiate(sample);
    const options = attributesOf(output);
    const [x, w] = output.inputs as [Tensor, Tensor];
    const gradient = input("gradient", output.shape);
    const inputSize = [x.shape[1]!, x.shape[2]!] as const;
    const kernelSize = [w.shape[0]!, w.shape[1]!] as const;
    const forms = [
      sum(multiply(gradient, output)),
      sum(multiply(x, conv2dInputGradient(gradient, w, { ...options, inputSize }))),
      sum(multiply(w, conv2dWeightGradient(x, gradient, { ...options, kernelSize }))),
    ];
    const values = evaluate(forms, new Map<Tensor, ArrayLike<number>>([...feeds, [gradient, weights(sizeOf(output.shape), 5)]])).map(
      ([value]) => value!,
    );
    for (const value of values.slice(1)) expect(Math.abs(value - values[0]!), sample.name).toBeLessThan(1e-11 * (1 + Math.abs(values[0]!)));
  }
});

test("the derivatives of each direction are the other two, with nothing between", () => {
  const directions = ["conv2d", "conv2d_input_gradient", "conv2d_weight_gradient"];
  for (const op of directions) {
    const { output } = instantiate(opCases().find((sample) => sample.op === op)!);
    const gradients = grad(sum(multiply(output, input("direction", output.shape))), output.inputs);
    const reached = gradients.map((gradient) => gradient.op);
    expect([op, ...reached].sort()).toEqual(directions);
  }
});

describe("values by hand", () => {
  const image = numbers(1, 3, 3, 1); // 1 2 3 / 4 5 6 / 7 8 9
  const square2 = ones(2, 2, 1, 1);

  test.each<[string, Tensor, number[], number[]]>([
    ["valid", convolve2d(image, square2, { padding: "valid" }), [1, 2, 2, 1], [12, 16, 24, 28]],
    ["same puts the odd zero last", convolve2d(image, square2), [1, 3, 3, 1], [12, 16, 9, 24, 28, 15, 15, 17, 9]],
    ["same, stride 2", convolve2d(image, square2, { stride: 2 }), [1, 2, 2, 1], [12, 9, 15, 9]],
    ["padding 1", convolve2d(image, square2, { padding: 1, stride: 2 }), [1, 2, 2, 1], [1, 5, 11, 28]],
    [
      "uneven",
      convolve2d(image, square2, {
        padding: [
          [1, 0],
          [0, 0],
        ],
        stride: [2, 1],
      }),
      [1, 2, 2, 1],
      [3, 5, 24, 28],
    ],
    ["dilation", convolve2d(image, square2, { dilation: 2, padding: "valid" }), [1, 1, 1, 1], [20]],
    ["the kernel is not flipped", convolve2d(image, numbers(2, 2, 1, 1), { padding: "valid" }), [1, 2, 2, 1], [37, 47, 67, 77]],
    ["channels", convolve2d(numbers(1, 1, 2, 2), numbers(1, 1, 2, 3)), [1, 1, 2, 3], [9, 12, 15, 19, 26, 33]],
    ["groups", convolve2d(numbers(1, 1, 1, 4), numbers(1, 1, 2, 2), { groups: 2 }), [1, 1, 1, 2], [7, 22]],
    ["depthwise", convolve2d(numbers(1, 1, 2, 2), numbers(1, 1, 1, 4), { groups: 2 }), [1, 1, 2, 4], [1, 2, 6, 8, 3, 6, 12, 16]],
    [
      "transposed",
      convolveTransposed2d(numbers(1, 1, 2, 1), ones(1, 3, 1, 1), { padding: "valid", stride: 2 }),
      [1, 1, 5, 1],
      [1, 1, 3, 2, 2],
    ],
    ["transposed, same", convolveTransposed2d(numbers(1, 1, 2, 1), numbers(1, 3, 1, 1), { stride: [1, 2] }), [1, 1, 4, 1], [1, 2, 5, 4]],
    ["one axis", convolve1d(numbers(1, 4, 1), ones(3, 1, 1), { padding: [2, 0] }), [1, 4, 1], [1, 3, 6, 9]],
  ])("%s", (_name, result, shape, expected) => {
    expect(result.shape).toEqual(shape);
    expect(elements(result)).toEqual(expected);
  });

  test("a transposed convolution gives back the size that its convolution came from", () => {
    for (const [height, width] of [
      [28, 28],
      [27, 25],
      [5, 8],
    ] as const) {
      for (const padding of [
        "same",
        "valid",
        1,
        [
          [0, 1],
          [2, 1],
        ],
      ] as const) {
        for (const stride of [1, 2, 3]) {
          const w = tensor(4, 3, 5, 6);
          const down = convolve2d(tensor(2, height, width, 5), w, { stride, padding });
          const up = convolveTransposed2d(down, w, { stride, padding, outputSize: [height, width] });
          expect(up.shape).toEqual([2, height, width, 5]);
          expect(up.attributes.padding).toEqual(down.attributes.padding);
        }
      }
    }
  });
});

describe("geometry", () => {
  const along = (size: number, kernel: number, options: Parameters<typeof windowAxes>[3]) => {
    const { before, after, output } = windowAxes("test", [size, size], [kernel, kernel], options, 1, "")[0]!;
    return [before, after, output];
  };

  test.each<[number, number, Parameters<typeof windowAxes>[3], number[]]>([
    [5, 3, {}, [1, 1, 5]],
    [5, 2, {}, [0, 1, 5]],
    [6, 3, { stride: 2 }, [0, 1, 3]],
    [7, 3, { stride: 2 }, [1, 1, 4]],
    [7, 2, { stride: 3 }, [0, 1, 3]],
    [7, 1, { stride: 3 }, [0, 0, 3]],
    [28, 4, { stride: 2, padding: 1 }, [1, 1, 14]],
    [6, 3, { dilation: 2 }, [2, 2, 6]],
    [6, 3, { dilation: 2, padding: "valid" }, [0, 0, 2]],
    [3, 7, { padding: 2 }, [2, 2, 1]],
    [1, 1, { stride: 9 }, [0, 0, 1]],
  ])("size %i, kernel %i, %j", (size, kernel, options, expected) => {
    expect(along(size, kernel, options)).toEqual(expected);
  });

  test("same is ⌈size / stride⌉, for every kernel and dilation", () => {
    for (let size = 1; size < 12; size++) {
      for (let kernel = 1; kernel < 6; kernel++) {
        for (let stride = 1; stride < 4; stride++) {
          for (let dilation = 1; dilation < 4; dilation++) {
            const [before, after, output] = along(size, kernel, { stride, dilation }) as [number, number, number];
            expect(output).toBe(Math.ceil(size / stride));
            expect(after - before === 0 || after - before === 1).toBe(true);
          }
        }
      }
    }
  });

  test("axes keep their own settings, and groups their channels", () => {
    const { axes, batch, channels, filters, groups } = convolutionGeometry("test", [2, 9, 7, 6], [3, 1, 2, 9], {
      stride: [2, 3],
      groups: 3,
    });
    expect({ batch, channels, filters, groups }).toEqual({ batch: 2, channels: 6, filters: 9, groups: 3 });
    expect(axes.map(({ output }) => output)).toEqual([5, 3]);
  });

  test("attributes are plain, resolved and frozen", () => {
    const { attributes } = convolve2d(tensor(1, 6, 5, 4), tensor(3, 3, 2, 8), { stride: 2, groups: 2 });
    expect(attributes).toEqual({
      stride: [2, 2],
      padding: [
        [0, 1],
        [1, 1],
      ],
      dilation: [1, 1],
      groups: 2,
    });
    for (const part of [attributes.stride, attributes.padding, (attributes.padding as Pair[])[0], attributes.dilation]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });
});

describe("what cannot be says so, with the nearest that can", () => {
  const x = tensor(8, 6, 5, 4);
  const w = tensor(3, 3, 4, 10);
  const cases: [string, () => unknown, VaeErrorCode, RegExp][] = [
    [
      "a kernel larger than the padded input",
      () => convolve2d(x, tensor(7, 7, 4, 2), { padding: "valid" }),
      "shape",
      /^conv2d: a 7×7 kernel with dilation 1 spans 7 places along the height, where the padded input has 6; received input \[8, 6, 5, 4\] and weights \[7, 7, 4, 2\]\n {2}hint: .*a kernel of 6 along the height, or 1 more zeros/,
    ],
    [
      "a dilated kernel",
      () =>
        convolve2d(x, w, {
          padding: [
            [1, 1],
            [0, 1],
          ],
          dilation: 3,
        }),
      "shape",
      /spans 7 places along the width, where the padded input has 6;.*\n {2}hint: .*a kernel of 2 along the width, or 1 more/,
    ],
    [
      "stride 0",
      () => convolve2d(x, w, { stride: 0 }),
      "shape",
      /^conv2d: expected the stride along the height.*received 0, for input \[8, 6, 5, 4\] and weights \[3, 3, 4, 10\]\n {2}hint: the nearest valid choice is 1/,
    ],
    ["a fractional stride", () => convolve2d(x, w, { stride: [1, 2.6] }), "shape", /stride along the width.*2.6.*\n.*choice is 3/],
    ["dilation 0", () => convolve2d(x, w, { dilation: 0 }), "shape", /the dilation along the height/],
    ["negative padding", () => convolve2d(x, w, { padding: -1 }), "shape", /padding along the height .*received -1.*\n.*choice is 0/],
    ["NaN", () => convolve2d(x, w, { stride: Number.NaN }), "shape", /received NaN.*\n.*choice is 1/],
    [
      "groups that do not divide the channels",
      () => convolve2d(tensor(1, 5, 5, 8), tensor(3, 3, 2, 12), { groups: 3 }),
      "shape",
      /^conv2d: 3 groups do not divide 8 channels;.*\n {2}hint: the nearest valid choice is groups = 2 or 4/,
    ],
    [
      "groups that do not divide the filters",
      () => convolve2d(tensor(1, 5, 5, 8), tensor(3, 3, 2, 6), { groups: 4 }),
      "shape",
      /4 groups do not divide 6 filters;.*\n.*groups = 2$/,
    ],
    ["no groups", () => convolve2d(x, w, { groups: 0 }), "shape", /expected groups to be a whole number of at least 1; received 0/],
    [
      "channels that do not match",
      () => convolve2d(x, tensor(3, 3, 2, 10)),
      "shape",
      /^conv2d: weights \[3, 3, 2, 10\] take 2 channels per group, and the input \[8, 6, 5, 4\] in 1 group has 4\n {2}hint: .*weights \[3, 3, 4, 10\], or groups = 2/,
    ],
    [
      "a rank",
      () => convolve2d(tensor(28, 28, 1), w),
      "shape",
      /^conv2d: expected an input \[N, H, W, C\] and weights .*received \[28, 28, 1\] and .*\n.*reshape the input to \[28, 28, 1, 1\] or \[1, 28, 28, 1\]/,
    ],
    ["weights of a rank", () => convolve2d(x, tensor(3, 3, 4)), "shape", /received \[8, 6, 5, 4\] and \[3, 3, 4\]/],
    ["an element type", () => convolve2d(input("pixels", [1, 5, 5, 4], "uint8"), w), "dtype", /^conv2d: expected float32; received uint8/],
    [
      "padding by another name",
      () => convolve2d(x, w, { padding: "full" as "same" }),
      "argument",
      /"same", "valid", a number or \[\[top, bottom\], \[left, right\]\]; received "full"/,
    ],
    [
      "three strides",
      () => convolve2d(x, w, { stride: [1, 1, 1] }),
      "argument",
      /stride to be a number, or one for each of height and width/,
    ],
    [
      "a gradient of another size",
      () => conv2dInputGradient(tensor(2, 4, 4, 10), w, { inputSize: [6, 8], stride: 2 }),
      "shape",
      /^conv2dInputGradient: expected a gradient \[2, 3, 4, 10\], .* 6×8 places gives it; received \[2, 4, 4, 10\]\n {2}hint: .*the input size is 8…9 by 8…9/,
    ],
    [
      "a weight gradient of another size",
      () => conv2dWeightGradient(x, tensor(8, 5, 5, 10), { kernelSize: [3, 3] }),
      "shape",
      /^conv2dWeightGradient: expected a gradient \[8, 6, 5, 10\]/,
    ],
    ["a kernel of nothing", () => conv2dWeightGradient(x, tensor(8, 6, 5, 10), { kernelSize: [0, 3] }), "shape", /kernel along the height/],
    [
      "transposed weights the wrong way round",
      () => convolveTransposed2d(tensor(2, 7, 7, 64), tensor(3, 3, 64, 32)),
      "shape",
      /^convTranspose2d: weights \[3, 3, 64, 32\] take 32 channels, and the input \[2, 7, 7, 64\] has 64\n.*weights \[3, 3, 64, 64\]/,
    ],
    [
      "an output size out of reach",
      () => convolveTransposed2d(tensor(2, 7, 7, 64), tensor(3, 3, 32, 64), { stride: 2, outputSize: [15, 14] }),
      "shape",
      /^convTranspose2d: expected an output size from 13 to 14 along the height; received 15.*\n.*choice is 14/,
    ],
    [
      "padding that takes the whole result",
      () => convolveTransposed2d(tensor(1, 1, 1, 2), tensor(3, 3, 1, 2), { padding: 2 }),
      "shape",
      /^convTranspose2d: padding of 2 and 2 along the height takes all 3 places.*\n.*padding of 2 in all/,
    ],
    [
      "transposed groups",
      () => convolveTransposed2d(tensor(1, 4, 4, 6), tensor(3, 3, 2, 6), { groups: 4 }),
      "shape",
      /^convTranspose2d: 4 groups do not divide 6 channels.*\n.*3 or 6/,
    ],
    [
      "one axis",
      () => convolve1d(tensor(1, 4, 2), tensor(9, 2, 3), { padding: 1 }),
      "shape",
      /^conv1d: a 9 kernel .* along the length, where the padded input has 6; received input \[1, 4, 2\]/,
    ],
    [
      "one axis, rank",
      () => convolve1d(tensor(1, 4, 2, 2), tensor(3, 2, 3)),
      "shape",
      /^conv1d: expected an input \[N, L, C\] and weights \[k, C/,
    ],
  ];
  test.each(cases)("%s", (_name, body, code, message) => {
    let error: unknown;
    try {
      body();
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(VaeError);
    expect((error as VaeError).message).toMatch(message);
    expect((error as VaeError).code).toBe(code);
    // The stack begins at the caller's own line.
    expect((error as VaeError).stack).not.toContain("lib/graph");
  });
});
