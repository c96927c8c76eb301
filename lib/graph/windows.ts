// Windows of images as an axis of their own, and their sum back into an image. Each is the other's derivative.
import { VaeError } from "../errors.js";
import { checkOptions } from "./arguments.js";
import { type Pair, pairOf, spanOf, windowAxes } from "./convolution-geometry.js";
import { toTensor } from "./leaves.js";
import { flatten, forEachIndex, stridesOf } from "./shape.js";
import { calledBy, checkFloat, makeNode, type One, type OpCase, type Rows, real } from "./table.js";
import { type Shape, showShape, sizeOf, type Tensor, type TensorLike } from "./tensor.js";

type WindowAttributes = { readonly stride: Pair; readonly dilation: Pair };

interface WindowSignatures {
  /** Input: x [N, H, W, C]. */
  unfold: { inputs: One; attributes: WindowAttributes & { readonly kernelSize: Pair } };
  /** Input: windows [N, OH, OW, kh, kw, C]. */
  fold: { inputs: One; attributes: WindowAttributes & { readonly inputSize: Pair } };
}

/** How {@link unfold} and {@link fold} lay windows. */
export interface WindowSteps {
  /** Step from window to window, one number or [vertical, horizontal]. Default 1. */
  readonly stride?: number | Pair | undefined;
  /** Step from tap to tap. Default 1. */
  readonly dilation?: number | Pair | undefined;
}

function checkRank(operation: string, x: Tensor, rank: number, expected: string): void {
  if (x.shape.length === rank) return;
  throw new VaeError({ code: "shape", operation, expected, received: showShape(x.shape), hint: "reshape first" });
}

function windowsShape(operation: string, x: Shape, kernelSize: Pair, steps: WindowSteps): Shape {
  const axes = windowAxes(operation, x.slice(1, 3), kernelSize, { ...steps, padding: "valid" }, x[3]!, `images ${showShape(x)}`);
  return [x[0]!, axes[0]!.output, axes[1]!.output, ...kernelSize, x[3]!];
}

/** The strides with which the image is walked as [N, OH, OW, kh, kw, C]: overlapping windows are one strided view. */
function viewStrides(image: Shape, { stride, dilation }: WindowAttributes): readonly number[] {
  const [batch, row, pixel, channel] = stridesOf(image) as readonly [number, number, number, number];
  return [batch, row * stride[0], pixel * stride[1], row * dilation[0], pixel * dilation[1], channel];
}

const unfoldCase = (name: string, x: Shape, kernelSize: Pair, steps: WindowSteps = {}, large = false): OpCase => ({
  name,
  inputs: [real(x)],
  build: (images) => unfold(images!, { kernelSize, ...steps }),
  large,
});

const foldCase = (name: string, windows: Shape, inputSize: Pair, steps: WindowSteps = {}, large = false): OpCase => ({
  name,
  inputs: [real(windows)],
  build: (x) => fold(x!, { inputSize, ...steps }),
  large,
});

export const windowRows: Rows<WindowSignatures> = {
  unfold: {
    name: "unfold",
    family: "movement",
    type([x], attributes) {
      checkRank("unfold", x, 4, "images [N, H, W, C]");
      return { shape: windowsShape("unfold", x.shape, attributes.kernelSize, attributes), dtype: x.dtype };
    },
    derivative({ inputs: [x], gradient, attributes: { stride, dilation } }) {
      const [, height, width] = x.shape as readonly [number, number, number];
      return [fold(gradient, { inputSize: [height, width], stride, dilation })];
    },
    evaluate([x], attributes, type) {
      const strides = viewStrides(x.shape, attributes);
      const result = new Float64Array(sizeOf(type.shape));
      forEachIndex(type.shape, (index, flat) => {
        result[flat] = x.data[flatten(index, strides)]!;
      });
      return result;
    },
    cases: [
      unfoldCase("overlapping", [1, 4, 5, 2], [3, 3]),
      unfoldCase("stride 2", [2, 6, 5, 1], [3, 2], { stride: 2 }),
      unfoldCase("side by side", [1, 4, 6, 3], [2, 3], { stride: [2, 3] }),
      unfoldCase("gaps", [1, 7, 5, 2], [2, 1], { stride: 3 }),
      unfoldCase("dilation", [1, 6, 7, 2], [2, 3], { stride: [1, 2], dilation: [3, 2] }),
      unfoldCase("large", [2, 15, 17, 20], [3, 3], { stride: 2 }, true),
    ],
  },
  fold: {
    name: "fold",
    family: "windows",
    type([windows], attributes) {
      checkFloat("fold", [windows]);
      checkRank("fold", windows, 6, "windows [N, OH, OW, kh, kw, C]");
      const [batch, outputHeight, outputWidth, ...rest] = windows.shape as readonly [number, number, number, number, number, number];
      const [kernelHeight, kernelWidth, channels] = rest;
      const shape = [batch, ...attributes.inputSize, channels];
      const [, height, width] = windowsShape("fold", shape, [kernelHeight, kernelWidth], attributes);
      if (height !== outputHeight || width !== outputWidth) {
        const [tall, wide] = [outputHeight, outputWidth].map((count, i) => {
          const axis = { kernel: rest[i]!, dilation: attributes.dilation[i]! };
          return (count - 1) * attributes.stride[i]! + spanOf(axis);
        });
        throw new VaeError({
          code: "shape",
          operation: "fold",
          expected: `${height} by ${width} windows of an image of ${attributes.inputSize.join(" by ")}`,
          received: showShape(windows.shape),
          hint: `the nearest valid choice of the input size is ${tall} by ${wide}, which these windows just fill`,
        });
      }
      return { shape, dtype: "float32" };
    },
    derivative({ inputs: [windows], gradient, attributes: { stride, dilation } }) {
      const [kernelHeight, kernelWidth] = windows.shape.slice(3) as [number, number];
      return [unfold(gradient, { kernelSize: [kernelHeight, kernelWidth], stride, dilation })];
    },
    evaluate([windows], attributes, type) {
      const strides = viewStrides(type.shape, attributes);
      const result = new Float64Array(sizeOf(type.shape));
      forEachIndex(windows.shape, (index, flat) => {
        result[flatten(index, strides)]! += windows.data[flat]!;
      });
      return result;
    },
    cases: [
      foldCase("overlapping", [1, 2, 3, 3, 3, 2], [4, 5]),
      foldCase("stride 2", [2, 2, 2, 3, 2, 1], [6, 5], { stride: 2 }),
      foldCase("side by side", [1, 2, 2, 2, 3, 3], [4, 6], { stride: [2, 3] }),
      foldCase("gaps", [1, 2, 2, 2, 1, 2], [7, 5], { stride: 3 }),
      foldCase("dilation", [1, 3, 2, 2, 3, 2], [6, 7], { stride: [1, 2], dilation: [3, 2] }),
      foldCase("large", [2, 7, 8, 3, 3, 20], [15, 17], { stride: 2 }, true),
    ],
  },
};

/** The steps as the nodes are told them. */
function stepsOf(operation: string, { stride = 1, dilation = 1 }: WindowSteps): WindowAttributes {
  return { stride: pairOf(operation, "stride", stride), dilation: pairOf(operation, "dilation", dilation) };
}

/**
 * All windows of images [N, H, W, C] of a kernel's size: [N, OH, OW, kh, kw, C]. There is no padding: `pad` before, with the
 * value that suits. A strided view, which takes no time and no memory natively.
 *
 * @throws VaeError "shape" where the kernel does not fit
 */
export function unfold(x: TensorLike, options: WindowSteps & { readonly kernelSize: Pair }): Tensor;
export function unfold(x: TensorLike, options: WindowSteps & { readonly kernelSize: Pair }, ...surplus: unknown[]): Tensor {
  return calledBy(unfold, surplus, () => {
    checkOptions("unfold", options, ["kernelSize", "stride", "dilation"]);
    const kernelSize = pairOf("unfold", "kernelSize", options.kernelSize);
    return makeNode(windowRows.unfold, [toTensor("unfold", x)], { kernelSize, ...stepsOf("unfold", options) });
  });
}

/** The sum of windows [N, OH, OW, kh, kw, C], each at its place: [N, ...inputSize, C]. The derivative of {@link unfold}. */
export function fold(windows: TensorLike, options: WindowSteps & { readonly inputSize: Pair }): Tensor;
export function fold(windows: TensorLike, options: WindowSteps & { readonly inputSize: Pair }, ...surplus: unknown[]): Tensor {
  return calledBy(fold, surplus, () => {
    checkOptions("fold", options, ["inputSize", "stride", "dilation"]);
    const inputSize = pairOf("fold", "inputSize", options.inputSize);
    return makeNode(windowRows.fold, [toTensor("fold", windows)], { inputSize, ...stepsOf("fold", options) });
  });
}
