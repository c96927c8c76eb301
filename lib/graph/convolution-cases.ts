// The geometries that every direction of convolution is tried on: values and derivatives, evaluated and native.
import { convolutionGeometry, outputShape, type PaddingOption, type Pair } from "./convolution-geometry.js";
import { type OpCase, real } from "./table.js";
import type { Shape, Tensor } from "./tensor.js";

type Side = number | Pair;

interface Options {
  readonly stride?: Side;
  readonly padding?: PaddingOption;
  readonly dilation?: Side;
  readonly groups?: number;
}

interface Sample {
  readonly name: string;
  readonly x: Shape;
  readonly w: Shape;
  readonly options: Options;
  readonly large: boolean;
}

/** What a case is built from beside its two inputs. */
export interface ConvolutionSetting {
  readonly options: Options;
  readonly inputSize: Pair;
  readonly kernelSize: Pair;
}

function show(side: Side): string {
  return typeof side === "number" ? String(side) : side.join("×");
}

function around(top: number, bottom: number, left: number, right: number): readonly Pair[] {
  return [
    [top, bottom],
    [left, right],
  ];
}

/** Images [N, H, W, C], kernel [kh, kw], filters. */
function sample(x: readonly [number, number, number, number], [kh, kw]: Pair, filters: number, options: Options = {}): Sample {
  const { stride = 1, padding = "same", dilation = 1, groups = 1 } = options;
  const parts = [
    `${x.join("×")} by ${kh}×${kw} to ${filters}`,
    ...(stride === 1 ? [] : [`stride ${show(stride)}`]),
    ...(dilation === 1 ? [] : [`dilation ${show(dilation)}`]),
    ...(groups === 1 ? [] : [`groups ${groups}`]),
    typeof padding === "string" ? padding : `padding ${typeof padding === "number" ? padding : padding.join(" ")}`,
  ];
  return { name: parts.join(", "), x, w: [kh, kw, x[3] / groups, filters], options, large: false };
}

function large(...parts: Parameters<typeof sample>): Sample {
  return { ...sample(...parts), large: true };
}

const samples: readonly Sample[] = [
  // One tap: a matrix product per pixel, and one with gaps between the pixels.
  sample([1, 1, 1, 1], [1, 1], 1),
  sample([2, 3, 4, 3], [1, 1], 5),
  sample([1, 5, 4, 2], [1, 1], 3, { stride: 2 }),
  sample([1, 4, 4, 1], [1, 1], 2, { padding: 1 }),
  sample([1, 6, 7, 2], [1, 1], 2, { stride: 3, padding: "valid" }),
  // Stride 1, the usual kernels, even and odd sizes.
  sample([2, 5, 5, 1], [3, 3], 1),
  sample([1, 4, 6, 3], [3, 3], 2),
  sample([1, 5, 4, 2], [3, 3], 3, { padding: "valid" }),
  sample([1, 3, 3, 5], [3, 3], 7),
  sample([1, 3, 2, 7], [3, 3], 5),
  sample([1, 3, 3, 3], [3, 3], 20),
  sample([1, 3, 3, 20], [3, 3], 3),
  sample([1, 4, 4, 2], [2, 2], 2),
  sample([1, 5, 3, 1], [2, 2], 3, { padding: "valid" }),
  sample([1, 6, 6, 1], [4, 4], 2),
  sample([1, 6, 5, 2], [4, 4], 1, { padding: "valid" }),
  sample([1, 6, 6, 1], [5, 5], 2),
  sample([1, 7, 7, 1], [6, 6], 1),
  sample([1, 8, 8, 1], [7, 7], 1),
  sample([2, 7, 7, 1], [7, 7], 1, { padding: "valid" }),
  // Kernels that are not square, and larger than the image before it is padded.
  sample([1, 4, 5, 2], [1, 3], 2),
  sample([1, 5, 4, 2], [3, 1], 2),
  sample([1, 5, 6, 1], [2, 5], 2, { padding: "valid" }),
  sample([1, 6, 4, 1], [5, 2], 2),
  sample([1, 2, 2, 2], [5, 5], 2),
  sample([1, 1, 1, 3], [3, 3], 2),
  sample([1, 1, 7, 2], [1, 4], 3),
  // Stride 2 as encoders and decoders use it, on sizes that it divides and not.
  sample([2, 6, 6, 1], [3, 3], 2, { stride: 2 }),
  sample([1, 7, 7, 2], [3, 3], 2, { stride: 2 }),
  sample([1, 7, 6, 3], [3, 3], 3, { stride: 2, padding: "valid" }),
  sample([1, 6, 6, 3], [4, 4], 2, { stride: 2, padding: 1 }),
  sample([1, 8, 8, 2], [4, 4], 2, { stride: 2, padding: 1 }),
  sample([1, 7, 5, 2], [4, 4], 1, { stride: 2 }),
  sample([1, 6, 6, 2], [2, 2], 3, { stride: 2, padding: "valid" }),
  sample([1, 7, 7, 1], [2, 2], 2, { stride: 2, padding: "valid" }),
  sample([1, 8, 7, 1], [5, 5], 2, { stride: 2 }),
  sample([1, 9, 9, 1], [7, 7], 1, { stride: 2, padding: 3 }),
  sample([1, 5, 5, 5], [3, 3], 7, { stride: 2 }),
  // Stride 3, strides that differ, strides larger than the kernel: some pixels are seen by no window.
  sample([1, 8, 7, 1], [3, 3], 2, { stride: 3 }),
  sample([1, 9, 8, 2], [3, 3], 1, { stride: 3, padding: "valid" }),
  sample([1, 7, 8, 2], [2, 2], 2, { stride: 3, padding: "valid" }),
  sample([1, 8, 8, 1], [5, 5], 1, { stride: 3, padding: 2 }),
  sample([1, 6, 7, 2], [3, 3], 2, { stride: [1, 2] }),
  sample([1, 7, 6, 2], [3, 3], 2, { stride: [2, 1], padding: "valid" }),
  sample([1, 8, 6, 1], [3, 2], 2, { stride: [3, 2] }),
  // Padding by numbers: uneven, wider than the kernel (windows that see zeros only), on one side only.
  sample([1, 4, 4, 2], [3, 3], 2, { padding: around(0, 1, 2, 0) }),
  sample([1, 5, 5, 1], [3, 3], 2, { stride: 2, padding: around(0, 1, 0, 1) }),
  sample([1, 5, 4, 1], [4, 4], 2, { stride: 2, padding: around(1, 2, 2, 1) }),
  sample([1, 3, 3, 1], [2, 2], 2, { padding: 3 }),
  sample([1, 2, 3, 2], [3, 3], 1, { stride: 2, padding: around(4, 0, 0, 5) }),
  // Dilation.
  sample([1, 6, 6, 1], [3, 3], 2, { dilation: 2 }),
  sample([1, 7, 6, 2], [3, 3], 1, { dilation: 2, padding: "valid" }),
  sample([1, 7, 8, 1], [2, 2], 2, { dilation: 3 }),
  sample([1, 7, 7, 2], [3, 3], 2, { stride: 2, dilation: 2 }),
  sample([1, 8, 8, 1], [3, 3], 2, { stride: 2, dilation: 3, padding: 3 }),
  sample([1, 6, 7, 1], [3, 2], 2, { stride: [1, 3], dilation: [2, 1], padding: around(1, 2, 0, 1) }),
  // Groups, depthwise (one channel per group), depthwise with several filters per channel.
  sample([1, 4, 4, 4], [3, 3], 4, { groups: 2 }),
  sample([1, 4, 3, 6], [3, 3], 9, { groups: 3 }),
  sample([2, 5, 5, 4], [3, 3], 6, { groups: 2, stride: 2 }),
  sample([1, 4, 4, 10], [1, 1], 5, { groups: 5 }),
  sample([1, 5, 5, 6], [2, 2], 4, { groups: 2, padding: "valid" }),
  sample([1, 5, 5, 3], [3, 3], 3, { groups: 3 }),
  sample([1, 4, 4, 7], [3, 3], 7, { groups: 7 }),
  sample([1, 6, 5, 5], [3, 3], 10, { groups: 5, stride: 2 }),
  sample([1, 5, 6, 2], [3, 3], 6, { groups: 2, dilation: 2 }),
  sample([1, 7, 7, 3], [5, 5], 3, { groups: 3, stride: 3, padding: around(2, 1, 0, 2) }),
  sample([1, 3, 3, 20], [3, 3], 20, { groups: 20 }),
];

/** Layers of convolutional VAEs at 28×28×1 and 64×64×3, and odd and grouped neighbours, a few images each. */
const largeSamples: readonly Sample[] = [
  large([2, 28, 28, 1], [3, 3], 32, { stride: 2 }),
  large([2, 14, 14, 32], [3, 3], 64, { stride: 2 }),
  large([1, 14, 14, 64], [3, 3], 64, { stride: 2 }),
  large([1, 28, 28, 32], [3, 3], 64, { stride: 2 }),
  large([1, 28, 28, 32], [3, 3], 1),
  large([1, 64, 64, 3], [4, 4], 32, { stride: 2, padding: 1 }),
  large([1, 32, 32, 32], [4, 4], 32, { stride: 2, padding: 1 }),
  large([1, 16, 16, 32], [4, 4], 64, { stride: 2, padding: 1 }),
  large([3, 8, 8, 64], [4, 4], 64, { stride: 2, padding: 1 }),
  large([2, 27, 29, 5], [3, 3], 7),
  large([2, 13, 15, 20], [3, 3], 20, { stride: 2 }),
  large([2, 17, 19, 24], [3, 3], 48, { groups: 8 }),
  large([1, 33, 31, 40], [3, 3], 40, { groups: 40 }),
];

/** The cases of one direction. The inputs of each are the two that are not its result: x and w, gradient and w, x and gradient. */
export function convolutionCases(
  direction: "conv2d" | "conv2d_input_gradient" | "conv2d_weight_gradient",
  build: (first: Tensor, second: Tensor, setting: ConvolutionSetting) => Tensor,
): OpCase[] {
  return [...samples, ...largeSamples].map(({ name, x, w, options, large }) => {
    const y = outputShape(convolutionGeometry(direction, x, w, options));
    const shapes = { conv2d: [x, w], conv2d_input_gradient: [y, w], conv2d_weight_gradient: [x, y] }[direction];
    const setting: ConvolutionSetting = { options, inputSize: [x[1]!, x[2]!], kernelSize: [w[0]!, w[1]!] };
    return { name, inputs: shapes.map((shape) => real(shape)), build: (first, second) => build(first!, second!, setting), large };
  });
}
