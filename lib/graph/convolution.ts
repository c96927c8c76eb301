// Convolution of images (NHWC) with weights (HWIO, as in TensorFlow), and its two gradients. The three are the partial
// derivatives of one trilinear form, ⟨gradient, conv(x, w)⟩: so the derivatives of each are the other two.
import { checkOptions } from "./arguments.js";
import { convolutionCases } from "./convolution-cases.js";
import {
  type ConvolutionGeometry,
  checkGradient,
  checkGroups,
  checkRanks,
  convolutionGeometry,
  outputShape,
  type Pair,
  pairOf,
  type WindowOptions,
} from "./convolution-geometry.js";
import { toTensor } from "./leaves.js";
import { calledBy, checkFloat, checkWhole, makeNode, type Rows, type Two } from "./table.js";
import { type Shape, showShape, sizeOf, type Tensor, type TensorLike } from "./tensor.js";

/** How a kernel moves over an image. */
export interface ConvolutionOptions extends WindowOptions {
  /**
   * Channels and filters fall into so many groups, and a filter sees the channels of its own group only. As many groups as
   * channels make a depthwise convolution. Default 1.
   */
  readonly groups?: number | undefined;
}

/** What the nodes are told: everything as numbers, `"same"` and `"valid"` resolved; [height, width]. */
type Resolved = {
  readonly stride: Pair;
  readonly padding: readonly [vertical: Pair, horizontal: Pair];
  readonly dilation: Pair;
  readonly groups: number;
};

interface ConvolutionSignatures {
  /** Inputs: x [N, H, W, C], w [kh, kw, C / groups, F]. */
  conv2d: { inputs: Two; attributes: Resolved };
  /** Inputs: gradient [N, OH, OW, F], w. */
  conv2d_input_gradient: { inputs: Two; attributes: Resolved & { readonly inputSize: Pair } };
  /** Inputs: x, gradient. */
  conv2d_weight_gradient: { inputs: Two; attributes: Resolved & { readonly kernelSize: Pair } };
}

/** The names of {@link ConvolutionOptions}. */
export const convolutionOptions = ["stride", "padding", "dilation", "groups"] as const satisfies readonly (keyof ConvolutionOptions)[];

function resolved({ axes, groups }: ConvolutionGeometry): Resolved {
  const pair = <Value>(pick: (axis: (typeof axes)[number]) => Value) => Object.freeze([pick(axes[0]!), pick(axes[1]!)] as const);
  return {
    stride: pair(({ stride }) => stride),
    padding: pair(({ before, after }) => Object.freeze([before, after] as const)),
    dilation: pair(({ dilation }) => dilation),
    groups,
  };
}

/** The geometry of the convolution whose result has this gradient, from the input's size. */
function geometryOfInputGradient(gradient: Shape, w: Shape, inputSize: readonly number[], options: ConvolutionOptions) {
  const operation = "conv2dInputGradient";
  const { groups = 1 } = options;
  checkRanks(operation, gradient, w, 2);
  checkWhole(operation, "groups", groups, 1);
  const x = [gradient[0]!, ...inputSize, w[2]! * groups];
  const geometry = convolutionGeometry(operation, x, w, options);
  checkGradient(operation, gradient, geometry);
  return geometry;
}

/** The same, from the kernel's size. */
function geometryOfWeightGradient(x: Shape, gradient: Shape, kernelSize: readonly number[], options: ConvolutionOptions) {
  const operation = "conv2dWeightGradient";
  checkRanks(operation, x, gradient, 2);
  const { groups = 1 } = options;
  checkGroups(operation, x[3]!, gradient[3]!, groups, `input ${showShape(x)} and gradient ${showShape(gradient)}`);
  const geometry = convolutionGeometry(operation, x, [...kernelSize, x[3]! / groups, gradient[3]!], options);
  checkGradient(operation, gradient, geometry);
  return geometry;
}

/**
 * Calls `visit` wherever a pixel x, a tap w and a place y of the result meet, once per group, with the positions where the
 * group's channels of the pixel, its [channels, filters] block of the tap and its filters of the result begin. Rows of that
 * block are `filters` (of all groups) apart.
 */
function forEachTap(geometry: ConvolutionGeometry, visit: (x: number, w: number, y: number) => void): void {
  const { batch, channels, filters, groups, axes } = geometry;
  const [height, width] = [axes[0]!, axes[1]!];
  const [groupChannels, groupFilters] = [channels / groups, filters / groups];
  for (let n = 0; n < batch; n++) {
    for (let oh = 0; oh < height.output; oh++) {
      for (let ow = 0; ow < width.output; ow++) {
        const y = ((n * height.output + oh) * width.output + ow) * filters;
        for (let kh = 0; kh < height.kernel; kh++) {
          const h = oh * height.stride - height.before + kh * height.dilation;
          if (h < 0 || h >= height.size) continue;
          for (let kw = 0; kw < width.kernel; kw++) {
            const v = ow * width.stride - width.before + kw * width.dilation;
            if (v < 0 || v >= width.size) continue;
            const x = ((n * height.size + h) * width.size + v) * channels;
            const w = (kh * width.kernel + kw) * groupChannels * filters;
            for (let group = 0; group < groups; group++) {
              visit(x + group * groupChannels, w + group * groupFilters, y + group * groupFilters);
            }
          }
        }
      }
    }
  }
}

/** The extents of the inner loops. */
function inner({ channels, filters, groups }: ConvolutionGeometry) {
  return { channels: channels / groups, filters: filters / groups, row: filters };
}

export const convolutionRows: Rows<ConvolutionSignatures> = {
  conv2d: {
    name: "conv2d",
    family: "convolution",
    type([x, w], attributes) {
      checkFloat("conv2d", [x, w]);
      return { shape: outputShape(convolutionGeometry("conv2d", x.shape, w.shape, attributes)), dtype: "float32" };
    },
    derivative({ inputs: [x, w], gradient, attributes }) {
      const [, height, width] = x.shape as readonly [number, number, number];
      const [kernelHeight, kernelWidth] = w.shape as readonly [number, number];
      return [
        conv2dInputGradient(gradient, w, { ...attributes, inputSize: [height, width] }),
        conv2dWeightGradient(x, gradient, { ...attributes, kernelSize: [kernelHeight, kernelWidth] }),
      ];
    },
    evaluate([x, w], attributes, type) {
      const geometry = convolutionGeometry("conv2d", x.shape, w.shape, attributes);
      const { channels, filters, row } = inner(geometry);
      const result = new Float64Array(sizeOf(type.shape));
      forEachTap(geometry, (pixel, tap, place) => {
        for (let c = 0; c < channels; c++) {
          const value = x.data[pixel + c]!;
          for (let f = 0; f < filters; f++) result[place + f]! += value * w.data[tap + c * row + f]!;
        }
      });
      return result;
    },
    cases: convolutionCases("conv2d", (x, w, { options }) => convolve2d(x, w, options)),
  },
  conv2d_input_gradient: {
    name: "conv2d_input_gradient",
    family: "convolution",
    type([gradient, w], attributes) {
      checkFloat("conv2dInputGradient", [gradient, w]);
      const { batch, axes, channels } = geometryOfInputGradient(gradient.shape, w.shape, attributes.inputSize, attributes);
      return { shape: [batch, ...axes.map(({ size }) => size), channels], dtype: "float32" };
    },
    derivative({ inputs: [gradient, w], gradient: direction, attributes: { inputSize, ...attributes } }) {
      const [kernelHeight, kernelWidth] = w.shape as readonly [number, number];
      return [
        convolve2d(direction, w, attributes),
        conv2dWeightGradient(direction, gradient, { ...attributes, kernelSize: [kernelHeight, kernelWidth] }),
      ];
    },
    evaluate([gradient, w], attributes, type) {
      const geometry = geometryOfInputGradient(gradient.shape, w.shape, attributes.inputSize, attributes);
      const { channels, filters, row } = inner(geometry);
      const result = new Float64Array(sizeOf(type.shape));
      forEachTap(geometry, (pixel, tap, place) => {
        for (let c = 0; c < channels; c++) {
          let total = 0;
          for (let f = 0; f < filters; f++) total += gradient.data[place + f]! * w.data[tap + c * row + f]!;
          result[pixel + c]! += total;
        }
      });
      return result;
    },
    cases: convolutionCases("conv2d_input_gradient", (gradient, w, { options, inputSize }) =>
      conv2dInputGradient(gradient, w, { ...options, inputSize }),
    ),
  },
  conv2d_weight_gradient: {
    name: "conv2d_weight_gradient",
    family: "convolution",
    type([x, gradient], attributes) {
      checkFloat("conv2dWeightGradient", [x, gradient]);
      const geometry = geometryOfWeightGradient(x.shape, gradient.shape, attributes.kernelSize, attributes);
      const { axes, channels, filters, groups } = geometry;
      return { shape: [...axes.map(({ kernel }) => kernel), channels / groups, filters], dtype: "float32" };
    },
    derivative({ inputs: [x, gradient], gradient: direction, attributes: { kernelSize, ...attributes } }) {
      const [, height, width] = x.shape as readonly [number, number, number];
      return [
        conv2dInputGradient(gradient, direction, { ...attributes, inputSize: [height, width] }),
        convolve2d(x, direction, attributes),
      ];
    },
    evaluate([x, gradient], attributes, type) {
      const geometry = geometryOfWeightGradient(x.shape, gradient.shape, attributes.kernelSize, attributes);
      const { channels, filters, row } = inner(geometry);
      const result = new Float64Array(sizeOf(type.shape));
      forEachTap(geometry, (pixel, tap, place) => {
        for (let c = 0; c < channels; c++) {
          const value = x.data[pixel + c]!;
          for (let f = 0; f < filters; f++) result[tap + c * row + f]! += value * gradient.data[place + f]!;
        }
      });
      return result;
    },
    cases: convolutionCases("conv2d_weight_gradient", (x, gradient, { options, kernelSize }) =>
      conv2dWeightGradient(x, gradient, { ...options, kernelSize }),
    ),
  },
};

/**
 * The convolution (cross-correlation: the kernel is not flipped) of images [N, H, W, C] with weights [kh, kw, C / groups, F]:
 * [N, OH, OW, F], where y[n, oh, ow, f] = Σ x[n, oh·stride − top + i·dilation, ow·stride − left + j·dilation, c] · w[i, j, c, f].
 * Filter f belongs to group ⌊f / (F / groups)⌋. Padding is `"same"` by default.
 *
 * @throws VaeError "shape" where no such convolution is possible, with the nearest choice that is
 * @example
 * ```ts
 * convolve2d(x, w, { stride: 2 });                              // [64, 28, 28, 1] with [3, 3, 1, 32]: [64, 14, 14, 32]
 * convolve2d(x, w, { padding: [[0, 1], [0, 1]], groups: 4 });
 * ```
 */
export function convolve2d(x: TensorLike, w: TensorLike, options?: ConvolutionOptions): Tensor;
export function convolve2d(x: TensorLike, w: TensorLike, options: ConvolutionOptions = {}, ...surplus: unknown[]): Tensor {
  return calledBy(convolve2d, surplus, () => {
    checkOptions("conv2d", options, convolutionOptions);
    const inputs: Two = [toTensor("conv2d", x), toTensor("conv2d", w)];
    const geometry = convolutionGeometry("conv2d", inputs[0].shape, inputs[1].shape, options);
    return makeNode(convolutionRows.conv2d, inputs, resolved(geometry));
  });
}

/**
 * The gradient of {@link convolve2d}'s input, from that of its result [N, OH, OW, F] and its weights: [N, ...inputSize, C]. It is
 * the transposed convolution; see `convTranspose2d` for the layer.
 */
export function conv2dInputGradient(
  gradient: TensorLike,
  w: TensorLike,
  options: ConvolutionOptions & { readonly inputSize: Pair },
): Tensor;
export function conv2dInputGradient(
  gradient: TensorLike,
  w: TensorLike,
  options: ConvolutionOptions & { readonly inputSize: Pair },
  ...surplus: unknown[]
): Tensor {
  return calledBy(conv2dInputGradient, surplus, () => {
    const operation = "conv2dInputGradient";
    const inputs: Two = [toTensor(operation, gradient), toTensor(operation, w)];
    checkOptions(operation, options, [...convolutionOptions, "inputSize"]);
    const inputSize = pairOf(operation, "inputSize", options.inputSize);
    const geometry = geometryOfInputGradient(inputs[0].shape, inputs[1].shape, inputSize, options);
    return makeNode(convolutionRows.conv2d_input_gradient, inputs, { ...resolved(geometry), inputSize });
  });
}

/** The gradient of {@link convolve2d}'s weights, from its input and the gradient of its result: [...kernelSize, C / groups, F]. */
export function conv2dWeightGradient(
  x: TensorLike,
  gradient: TensorLike,
  options: ConvolutionOptions & { readonly kernelSize: Pair },
): Tensor;
export function conv2dWeightGradient(
  x: TensorLike,
  gradient: TensorLike,
  options: ConvolutionOptions & { readonly kernelSize: Pair },
  ...surplus: unknown[]
): Tensor {
  return calledBy(conv2dWeightGradient, surplus, () => {
    const operation = "conv2dWeightGradient";
    const inputs: Two = [toTensor(operation, x), toTensor(operation, gradient)];
    checkOptions(operation, options, [...convolutionOptions, "kernelSize"]);
    const kernelSize = pairOf(operation, "kernelSize", options.kernelSize);
    const geometry = geometryOfWeightGradient(inputs[0].shape, inputs[1].shape, kernelSize, options);
    return makeNode(convolutionRows.conv2d_weight_gradient, inputs, { ...resolved(geometry), kernelSize });
  });
}
