import type { Fields } from "../graph/arguments.js";
import { checkGroups, convolutionAxes, transposedAxes } from "../graph/convolution-geometry.js";
import {
  add,
  convolve1d,
  convolve2d,
  type PaddingOption,
  type Shape,
  showShape,
  sizeOf,
  convolveTransposed1d as spread1d,
  convolveTransposed2d as spread2d,
  type Tensor,
} from "../graph/index.js";
import { type Activation, activate, activations } from "./activations.js";
import { defineLayer, type Layer, type LayerOptions, layers } from "./layer.js";
import { type Initializer, initializers } from "./parameters.js";
import { type AxisCount, along, checkSample, type PaddingOption1d, paddingAlong, parsePadding, parseSizes, type Sizes } from "./windows.js";

/** What all convolutions are told. */
export interface ConvolutionLayerOptions<Size, Padding> extends LayerOptions {
  /** Step from window to window; default 1. A transposed convolution makes its input so many times larger. */
  readonly stride?: Size;
  /**
   * `"same"` (default): the result has ⌈size / stride⌉ places, of a transposed convolution size · stride; `"valid"`: no
   * padding; or zeros on every side: one number, or before and after for each axis. A transposed convolution cuts them off.
   */
  readonly padding?: Padding;
  /** Step from tap to tap within a window; default 1. */
  readonly dilation?: Size;
  /** Channels and filters fall into so many groups, and a filter sees its own group only; default 1. */
  readonly groups?: number;
  /** Default `"linear"`. */
  readonly activation?: Activation;
  /** Whether a bias is added for each filter; default true. */
  readonly bias?: boolean;
  /** How the weights begin, as in {@link DenseOptions}; default `"glorotUniform"`. */
  readonly initializer?: Initializer;
}

/** Options of {@link conv2d}. */
export type Conv2dOptions = ConvolutionLayerOptions<Sizes, PaddingOption>;

/** Options of {@link conv1d}. */
export type Conv1dOptions = ConvolutionLayerOptions<number, PaddingOption1d>;

/** Options of {@link convTranspose2d}. */
export interface ConvTranspose2dOptions extends Conv2dOptions {
  /** Which of the `stride` sizes that a convolution takes to the input's size the result has; default as padding says. */
  readonly outputSize?: Sizes;
}

/** Options of {@link convTranspose1d}. */
export interface ConvTranspose1dOptions extends Conv1dOptions {
  /** As in {@link ConvTranspose2dOptions}. */
  readonly outputSize?: number;
}

/** A convolution, as data: all options filled in. */
interface Convolution<Size extends Sizes, Padding> extends Layer, Required<Omit<ConvolutionLayerOptions<Size, Padding>, "name">> {
  readonly filters: number;
  readonly kernelSize: Size;
  readonly outputSize?: Size;
}

type Convolution2d = Convolution<Sizes, PaddingOption>;
type Convolution1d = Convolution<number, PaddingOption1d>;

/**
 * A convolution of images: `[height, width, channels]` to `[height / stride, width / stride, filters]`, with weight
 * `[height, width, channels / groups, filters]` and bias `[filters]`. Channels come last, as in TensorFlow.
 *
 * @param kernelSize the window's, one number or [vertical, horizontal]
 * @example
 * ```ts
 * encoder: [conv2d(32, 3, { stride: 2, activation: "relu" }), conv2d(64, 3, { stride: 2, activation: "relu" })]
 * ```
 */
export function conv2d(filters: number, kernelSize: Sizes, options: Conv2dOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("conv2d", { positional: { filters, kernelSize }, options, surplus, usual: "stride" });
}

/** A convolution of sequences: `[length, channels]` to `[length / stride, filters]`; see {@link conv2d}. */
export function conv1d(filters: number, kernelSize: number, options: Conv1dOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("conv1d", { positional: { filters, kernelSize }, options, surplus, usual: "stride" });
}

/**
 * A transposed convolution of images: `[height, width, channels]` to `[height · stride, width · stride, filters]`, every pixel
 * spread by the kernel, with weight `[height, width, filters / groups, channels]`. It undoes the shapes of the {@link conv2d}
 * with the same options; `outputSize` says which shape, where several are taken to the same one.
 *
 * @example
 * ```ts
 * decoder: [dense(7 * 7 * 64), reshape([7, 7, 64]), convTranspose2d(32, 3, { stride: 2, activation: "relu" })]
 * ```
 */
export function convTranspose2d(filters: number, kernelSize: Sizes, options: ConvTranspose2dOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("convTranspose2d", { positional: { filters, kernelSize }, options, surplus, usual: "stride" });
}

/** A transposed convolution of sequences: `[length, channels]` to `[length · stride, filters]`; see {@link convTranspose2d}. */
export function convTranspose1d(filters: number, kernelSize: number, options: ConvTranspose1dOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("convTranspose1d", { positional: { filters, kernelSize }, options, surplus, usual: "stride" });
}

function parse(options: Fields, kind: string, axes: AxisCount, transposed: boolean) {
  const sized = transposed && options.raw("outputSize") !== undefined;
  return {
    kind,
    filters: options.number("filters", { minimum: 1, integer: true }),
    kernelSize: parseSizes(options, "kernelSize", axes),
    stride: parseSizes(options, "stride", axes, 1),
    padding: parsePadding(options, axes, "same"),
    dilation: parseSizes(options, "dilation", axes, 1),
    groups: options.number("groups", { minimum: 1, integer: true }, 1),
    activation: options.choice("activation", activations, "linear"),
    bias: options.boolean("bias", true),
    initializer: options.choice("initializer", initializers, "glorotUniform"),
    ...(sized ? { outputSize: parseSizes(options, "outputSize", axes) } : {}),
  };
}

/** Shapes and parameters of a kind; `apply` is the graph function, before bias and activation. */
function define<L extends Convolution1d | Convolution2d>(
  kind: string,
  axes: AxisCount,
  transposed: boolean,
  apply: (layer: L, x: Tensor, weight: Tensor) => Tensor,
): void {
  const taps = ({ kernelSize }: L): readonly number[] => along(kernelSize, axes);
  defineLayer<L>(kind, {
    parse: (options) => parse(options, kind, axes, transposed) as unknown as L,
    outputShape: (layer, input) => {
      checkSample(kind, input, axes);
      const shown = `a sample ${showShape(input)} and ${layer.filters} filters`;
      checkGroups(kind, input.at(-1)!, layer.filters, layer.groups, shown);
      const { stride, dilation, outputSize } = layer;
      const windows = { stride, dilation, padding: paddingAlong(layer.padding, axes) };
      const sizes = input.slice(0, -1);
      const places = transposed
        ? transposedAxes(kind, sizes, taps(layer), windows, outputSize, layer.filters, shown).map(({ size }) => size)
        : convolutionAxes(kind, sizes, taps(layer), windows, input.at(-1)!, shown).map(({ output }) => output);
      return [...places, layer.filters];
    },
    declare: (layer, input: Shape) => {
      const { filters, groups, bias, initializer } = layer;
      const channels = input.at(-1)!;
      const window = sizeOf(taps(layer));
      // A strided convolution takes every pixel into a 1/stride² part of the windows; transposed, an output has as few inputs.
      const strided = window / sizeOf(along(layer.stride, axes));
      const [ins, outs] = transposed ? [strided, window] : [window, strided];
      const fan = { fanIn: Math.max(1, (ins * channels) / groups), fanOut: Math.max(1, (outs * filters) / groups) };
      const features = transposed ? [filters / groups, channels] : [channels / groups, filters];
      const weight = { shape: [...taps(layer), ...features], initializer, ...fan };
      if (!bias) return { parameters: { weight } };
      return {
        parameters: { weight, bias: { shape: [filters], initializer: initializer === "fanInUniform" ? initializer : "zeros", ...fan } },
      };
    },
    apply: (layer, x, { parameters: { weight, bias } }) => {
      const result = apply(layer, x, weight!);
      return activate(layer.activation, bias === undefined ? result : add(result, bias));
    },
  });
}

/** What the graph's convolutions are told of a layer. */
function windowsOf<Size extends Sizes, Padding>({ stride, padding, dilation, groups, outputSize }: Convolution<Size, Padding>) {
  return { stride, padding, dilation, groups, ...(outputSize === undefined ? {} : { outputSize }) };
}

define<Convolution2d>("conv2d", 2, false, (layer, x, weight) => convolve2d(x, weight, windowsOf(layer)));
define<Convolution1d>("conv1d", 1, false, (layer, x, weight) => convolve1d(x, weight, windowsOf(layer)));
define<Convolution2d>("convTranspose2d", 2, true, (layer, x, weight) => spread2d(x, weight, windowsOf(layer)));
define<Convolution1d>("convTranspose1d", 1, true, (layer, x, weight) => spread1d(x, weight, windowsOf(layer)));
