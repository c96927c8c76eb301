// Convolutions made of the three rows: transposed, and along one axis.
import { VaeError } from "../errors.js";
import { checkOptions } from "./arguments.js";
import { type ConvolutionOptions, conv2dInputGradient, convolutionOptions, convolve2d } from "./convolution.js";
import {
  checkGroups,
  checkRanks,
  convolutionGeometry,
  type PaddingOption,
  type Pair,
  transposedAxes,
  type WindowAxis,
  type WindowOptions,
} from "./convolution-geometry.js";
import { toTensor } from "./leaves.js";
import { reshapeTensor } from "./movement.js";
import { calledBy, type OpCase, real } from "./table.js";
import { type Shape, showShape, type Tensor, type TensorLike } from "./tensor.js";

/** As {@link ConvolutionOptions}, of the convolution that this one transposes. */
export interface TransposedConvolutionOptions extends ConvolutionOptions {
  /** Which of the `stride` sizes that the convolution takes to x's size the result has: [height, width], or one for both. */
  readonly outputSize?: number | Pair | undefined;
}

/** As {@link ConvolutionOptions}, along one axis. */
export interface Convolution1dOptions {
  readonly stride?: number | undefined;
  /** As in {@link PaddingOption}; `[left, right]` for uneven padding. Default `"same"`. */
  readonly padding?: "same" | "valid" | number | Pair | undefined;
  readonly dilation?: number | undefined;
  readonly groups?: number | undefined;
}

/** As {@link TransposedConvolutionOptions}, along one axis. */
export interface TransposedConvolution1dOptions extends Convolution1dOptions {
  readonly outputSize?: number | undefined;
}

/** The windows over the result of a transposed convolution of x [N, ..., C] with w [..., F / groups, C]. */
function transposedGeometry(
  operation: string,
  x: Shape,
  w: Shape,
  options: WindowOptions & { readonly groups?: number | undefined; readonly outputSize?: number | Pair | undefined },
  count: number,
): readonly WindowAxis[] {
  checkRanks(operation, x, w, count, "F / groups, C");
  const shown = `input ${showShape(x)} and weights ${showShape(w)}`;
  const [channels, taken] = [x.at(-1)!, w.at(-1)!];
  if (channels !== taken) {
    throw new VaeError({
      code: "shape",
      operation,
      problem: `weights ${showShape(w)} take ${taken} channels, and the input ${showShape(x)} has ${channels}`,
      hint: `the nearest valid choice is weights ${showShape([...w.slice(0, -1), channels])}; the last axis is the input's, as in the convolution that is transposed`,
    });
  }
  const { groups = 1, outputSize } = options;
  checkGroups(operation, channels, channels, groups, shown);
  return transposedAxes(operation, x.slice(1, -1), w.slice(0, -2), options, outputSize, w.at(-2)! * groups, shown);
}

/** Options along one axis, as {@link WindowOptions} have them. */
function along<Options extends Convolution1dOptions>(options: Options): Omit<Options, "padding"> & { readonly padding?: PaddingOption } {
  const { padding = "same", ...others } = options;
  return { ...others, padding: typeof padding === "object" ? [padding] : padding };
}

/** The same convolution over images of height 1. */
function flat(axis: WindowAxis, groups = 1) {
  const { stride, dilation, before, after } = axis;
  const padding: readonly Pair[] = [
    [0, 0],
    [before, after],
  ];
  return { stride: [1, stride] as const, dilation: [1, dilation] as const, padding, groups };
}

/** [N, L, C] as [N, 1, L, C]. */
function asImages(x: Tensor): Tensor {
  return reshapeTensor(x, [x.shape[0]!, 1, ...x.shape.slice(1)]);
}

/** [k, C, F] as [1, k, C, F]. */
function asKernel(w: Tensor): Tensor {
  return reshapeTensor(w, [1, ...w.shape]);
}

/**
 * The transposed convolution of x [N, H, W, C] with weights [kh, kw, F / groups, C]: [N, OH, OW, F], every pixel spread by the
 * kernel and the overlaps summed. It is the gradient of {@link convolve2d} by its input, so the weights are those of the
 * convolution from F channels to C. `"same"` (the default) gives size · stride places, explicit padding
 * (size − 1) · stride + (kernel − 1) · dilation + 1 − before − after; `outputSize` asks for up to stride − 1 more (or fewer, for
 * `"same"`).
 *
 * @throws VaeError "shape" where no such convolution is possible, with the nearest choice that is
 * @example
 * ```ts
 * convolveTransposed2d(x, w, { stride: 2 });                       // [64, 7, 7, 64] with [3, 3, 32, 64]: [64, 14, 14, 32]
 * convolveTransposed2d(x, w, { stride: 2, outputSize: [13, 13] });
 * ```
 */
export function convolveTransposed2d(x: TensorLike, w: TensorLike, options?: TransposedConvolutionOptions): Tensor;
export function convolveTransposed2d(
  x: TensorLike,
  w: TensorLike,
  options: TransposedConvolutionOptions = {},
  ...surplus: unknown[]
): Tensor {
  return calledBy(convolveTransposed2d, surplus, () => {
    checkOptions("convTranspose2d", options, [...convolutionOptions, "outputSize"]);
    const [images, weights] = [toTensor("convTranspose2d", x), toTensor("convTranspose2d", w)];
    const axes = transposedGeometry("convTranspose2d", images.shape, weights.shape, options, 2);
    const [height, width] = [axes[0]!, axes[1]!];
    return conv2dInputGradient(images, weights, {
      inputSize: [height.size, width.size],
      stride: [height.stride, width.stride],
      padding: [
        [height.before, height.after],
        [width.before, width.after],
      ],
      dilation: [height.dilation, width.dilation],
      groups: options.groups,
    });
  });
}

/**
 * The convolution of sequences [N, L, C] with weights [k, C / groups, F]: [N, OL, F]. See {@link convolve2d}.
 *
 * @example
 * ```ts
 * convolve1d(signal, w, { stride: 4, padding: [3, 0] }); // sees nothing of the future
 * ```
 */
export function convolve1d(x: TensorLike, w: TensorLike, options?: Convolution1dOptions): Tensor;
export function convolve1d(x: TensorLike, w: TensorLike, options: Convolution1dOptions = {}, ...surplus: unknown[]): Tensor {
  return calledBy(convolve1d, surplus, () => {
    checkOptions("conv1d", options, convolutionOptions);
    const [sequences, weights] = [toTensor("conv1d", x), toTensor("conv1d", w)];
    const { axes, batch, filters, groups } = convolutionGeometry("conv1d", sequences.shape, weights.shape, along(options), 1);
    const result = convolve2d(asImages(sequences), asKernel(weights), flat(axes[0]!, groups));
    return reshapeTensor(result, [batch, axes[0]!.output, filters]);
  });
}

/** The transposed convolution of sequences [N, L, C] with weights [k, F / groups, C]: [N, OL, F]. See {@link convolveTransposed2d}. */
export function convolveTransposed1d(x: TensorLike, w: TensorLike, options?: TransposedConvolution1dOptions): Tensor;
export function convolveTransposed1d(
  x: TensorLike,
  w: TensorLike,
  options: TransposedConvolution1dOptions = {},
  ...surplus: unknown[]
): Tensor {
  return calledBy(convolveTransposed1d, surplus, () => {
    checkOptions("convTranspose1d", options, [...convolutionOptions, "outputSize"]);
    const [sequences, weights] = [toTensor("convTranspose1d", x), toTensor("convTranspose1d", w)];
    const axes = transposedGeometry("convTranspose1d", sequences.shape, weights.shape, along(options), 1);
    const size = axes[0]!.size;
    const settings = { ...flat(axes[0]!, options.groups), inputSize: [1, size] as const };
    const result = conv2dInputGradient(asImages(sequences), asKernel(weights), settings);
    return reshapeTensor(result, [sequences.shape[0]!, size, result.shape[3]!]);
  });
}

type Build = (x: Tensor, w: Tensor) => Tensor;

const sample = (name: string, x: Shape, w: Shape, build: Build, large = false): OpCase => ({
  name,
  inputs: [real(x), real(w)],
  build: (first, second) => build(first!, second!),
  large,
});

export const convolutionFunctionCases: Readonly<Record<string, readonly OpCase[]>> = {
  conv_transpose2d: [
    sample("same, stride 2", [1, 3, 3, 2], [3, 3, 2, 2], (x, w) => convolveTransposed2d(x, w, { stride: 2 })),
    sample("same, odd size", [1, 3, 4, 2], [4, 4, 1, 2], (x, w) => convolveTransposed2d(x, w, { stride: 2, outputSize: [5, 7] })),
    sample("kernel smaller than stride", [1, 2, 3, 2], [2, 2, 3, 2], (x, w) => convolveTransposed2d(x, w, { stride: 3 })),
    sample("padding 1", [1, 3, 3, 2], [4, 4, 2, 2], (x, w) => convolveTransposed2d(x, w, { stride: 2, padding: 1 })),
    sample("valid", [1, 3, 2, 3], [3, 3, 1, 3], (x, w) => convolveTransposed2d(x, w, { padding: "valid" })),
    sample("larger output", [1, 2, 2, 1], [3, 3, 2, 1], (x, w) =>
      convolveTransposed2d(x, w, { stride: 3, padding: 0, outputSize: [7, 8] }),
    ),
    sample("dilation", [1, 3, 3, 2], [3, 3, 2, 2], (x, w) => convolveTransposed2d(x, w, { dilation: 2 })),
    sample("groups", [1, 3, 3, 4], [3, 3, 3, 4], (x, w) => convolveTransposed2d(x, w, { stride: 2, groups: 2 })),
    sample("depthwise", [1, 3, 3, 3], [2, 2, 1, 3], (x, w) => convolveTransposed2d(x, w, { stride: 2, groups: 3 })),
    sample("decoder", [2, 7, 7, 64], [3, 3, 32, 64], (x, w) => convolveTransposed2d(x, w, { stride: 2 }), true),
    sample("pixels", [1, 32, 32, 32], [4, 4, 3, 32], (x, w) => convolveTransposed2d(x, w, { stride: 2, padding: 1 }), true),
  ],
  conv1d: [
    sample("same", [2, 6, 2], [3, 2, 3], (x, w) => convolve1d(x, w)),
    sample("stride", [1, 9, 3], [4, 3, 2], (x, w) => convolve1d(x, w, { stride: 2 })),
    sample("valid, dilation", [1, 9, 2], [3, 2, 2], (x, w) => convolve1d(x, w, { dilation: 2, padding: "valid" })),
    sample("causal", [2, 5, 2], [3, 2, 2], (x, w) => convolve1d(x, w, { padding: [2, 0] })),
    sample("groups", [1, 7, 4], [3, 2, 4], (x, w) => convolve1d(x, w, { groups: 2, padding: 1 })),
    sample("large", [3, 301, 20], [7, 20, 31], (x, w) => convolve1d(x, w, { stride: 2 }), true),
  ],
  conv_transpose1d: [
    sample("same", [1, 4, 2], [3, 3, 2], (x, w) => convolveTransposed1d(x, w, { stride: 2 })),
    sample("explicit", [2, 4, 2], [4, 2, 2], (x, w) => convolveTransposed1d(x, w, { stride: 2, padding: [1, 0], outputSize: 10 })),
    sample("groups", [1, 5, 4], [3, 1, 4], (x, w) => convolveTransposed1d(x, w, { stride: 3, groups: 4 })),
  ],
};
