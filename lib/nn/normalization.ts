// Normalization: what is averaged over differs, gain and bias for each channel do not.
import { VaeError } from "../errors.js";
import type { Fields } from "../graph/arguments.js";
import { checkGroups, divisorsOf } from "../graph/convolution-geometry.js";
import {
  add,
  mean,
  multiply,
  reciprocal,
  reshapeTensor,
  type Shape,
  showShape,
  sizeOf,
  sqrt,
  square,
  subtract,
  type Tensor,
} from "../graph/index.js";
import { type Activation, activate, activations } from "./activations.js";
import { defineLayer, type Layer, type LayerOptions, layers } from "./layer.js";
import type { ParameterSpec } from "./parameters.js";
import type { Declared } from "./scope.js";

/** What all normalizations have. */
export interface NormalizationOptions extends LayerOptions {
  /** Added to the variance; default 1e-5. */
  readonly epsilon?: number;
  /** Whether a gain and a bias are learned for each channel; default true. */
  readonly affine?: boolean;
  /** Follows the normalization; default `"linear"`. */
  readonly activation?: Activation;
}

/** Options of {@link batchNorm}. */
export interface BatchNormOptions extends NormalizationOptions {
  /**
   * The part of a running statistic that a step keeps: running ← momentum · running + (1 − momentum) · batch; default 0.9. It is
   * Keras's `momentum`, and 1 − PyTorch's.
   */
  readonly momentum?: number;
}

interface Normalization extends Layer, Required<Omit<NormalizationOptions, "name">> {}

interface BatchNorm extends Normalization {
  readonly kind: "batchNorm";
  readonly momentum: number;
}

interface GroupNorm extends Normalization {
  readonly kind: "groupNorm";
  readonly groups: number;
}

function parse(options: Fields) {
  return {
    epsilon: options.number("epsilon", { above: 0 }, 1e-5),
    affine: options.boolean("affine", true),
    activation: options.choice("activation", activations, "linear"),
  };
}

function affineParameters({ affine }: Normalization, input: Shape): Readonly<Record<string, ParameterSpec>> {
  const shape = input.slice(-1);
  return affine ? { gain: { shape, initializer: "ones" }, bias: { shape, initializer: "zeros" } } : {};
}

function declareAffine(layer: Normalization, input: Shape): Declared {
  return { parameters: affineParameters(layer, input) };
}

/** (x − mean) / √(variance + ε) over axes, with the two statistics, whose axes are kept. */
function standardized(x: Tensor, axes: readonly number[], epsilon: number) {
  const average = mean(x, { axes, keepDimensions: true });
  // The mean of squared differences: E[x²] − E[x]² loses the digits of a small variance beside a large mean.
  const centred = subtract(x, average);
  const variance = mean(square(centred), { axes, keepDimensions: true });
  return { normalized: multiply(centred, inverseDeviation(variance, epsilon)), average, variance };
}

function inverseDeviation(variance: Tensor, epsilon: number): Tensor {
  return reciprocal(sqrt(add(variance, epsilon)));
}

function finished({ activation }: Normalization, normalized: Tensor, { gain, bias }: Readonly<Record<string, Tensor>>): Tensor {
  return activate(activation, gain === undefined ? normalized : add(multiply(normalized, gain), bias!));
}

/** Throws where a sample's statistics are of one value each: it has no variance, and less its mean it is zero whatever it was. */
function checkCount(kind: string, count: number, input: Shape, expected: string, nearest: string | undefined): void {
  if (count > 1) return;
  throw new VaeError({
    code: "shape",
    operation: kind,
    expected: `${expected}: one value has no variance`,
    received: `a sample ${showShape(input)}`,
    hint: nearest === undefined ? "leave it out" : `the nearest valid choice is ${nearest}`,
  });
}

function placesOf(input: Shape): number {
  return sizeOf(input.slice(0, -1));
}

/** Axis numbers from `first` up to, but not including, `end`. */
function axesFrom(first: number, end: number): readonly number[] {
  return Array.from({ length: end - first }, (_, index) => first + index);
}

/**
 * Batch normalization (Ioffe & Szegedy 2015): each channel gets mean 0 and variance 1 over the batch and all places. Training
 * graphs use the batch's statistics and move the running ones towards them; all others — `encode`, `evaluate`, … — use the
 * running ones. These are saved with the model as `runningMean` and `runningVariance`, and no optimizer touches them. The
 * running variance is of the unbiased estimate, as in the paper and in PyTorch.
 *
 * @example
 * ```ts
 * [conv2d(32, 3, { stride: 2, bias: false }), batchNorm({ activation: "relu" })]
 * ```
 */
export function batchNorm(options: BatchNormOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("batchNorm", { options, surplus, usual: "momentum" });
}

defineLayer<BatchNorm>("batchNorm", {
  parse: (options) => ({ kind: "batchNorm", momentum: options.number("momentum", { minimum: 0, below: 1 }, 0.9), ...parse(options) }),
  outputShape: (_, input) => input,
  declare: (layer, input) => ({
    parameters: {
      ...affineParameters(layer, input),
      runningMean: { shape: input.slice(-1), initializer: "zeros", trainable: false },
      runningVariance: { shape: input.slice(-1), initializer: "ones", trainable: false },
    },
  }),
  apply: (layer, x, { mode, parameters, update }) => {
    const { epsilon, momentum } = layer;
    const { runningMean, runningVariance } = parameters;
    if (mode === "inference") {
      const scale = inverseDeviation(runningVariance!, epsilon);
      return finished(layer, multiply(subtract(x, runningMean!), scale), parameters);
    }
    const channels = x.shape.at(-1)!;
    const count = sizeOf(x.shape) / channels;
    if (count === 1) {
      throw new VaeError({
        code: "shape",
        operation: "batchNorm",
        expected: "more than one value of each channel in a training batch: one has no variance",
        received: showShape(x.shape),
        hint: "the nearest valid choice is a batch size of 2; layerNorm needs none",
      });
    }
    const { normalized, average, variance } = standardized(x, axesFrom(0, x.shape.length - 1), epsilon);
    const moved = (statistic: Tensor, batch: Tensor, factor: number): void => {
      update(statistic, (current) => add(multiply(momentum, current), multiply((1 - momentum) * factor, reshapeTensor(batch, [channels]))));
    };
    moved(runningMean!, average, 1);
    moved(runningVariance!, variance, count / (count - 1));
    return finished(layer, normalized, parameters);
  },
});

/**
 * Layer normalization (Ba et al. 2016) over the last axis: a vector as a whole, an image place by place over its channels, of
 * which there must be more than one. For an image as a whole use `groupNorm(1)`.
 */
export function layerNorm(options: NormalizationOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("layerNorm", { options, surplus, usual: "epsilon" });
}

defineLayer<Normalization>("layerNorm", {
  parse: (options) => ({ kind: "layerNorm", ...parse(options) }),
  outputShape: ({ kind }, input) => {
    checkCount(kind, input.at(-1)!, input, "more than one channel", placesOf(input) > 1 ? "groupNorm(1)" : undefined);
    return input;
  },
  declare: declareAffine,
  apply: (layer, x, { parameters }) => finished(layer, standardized(x, [x.shape.length - 1], layer.epsilon).normalized, parameters),
});

/**
 * Group normalization (Wu & He 2018): the channels fall into `groups`, and each sample's group gets mean 0 and variance 1 over
 * its channels and all places, which must be more than one value.
 */
export function groupNorm(groups: number, options: NormalizationOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("groupNorm", { positional: { groups }, options, surplus, usual: "epsilon" });
}

defineLayer<GroupNorm>("groupNorm", {
  parse: (options) => ({ kind: "groupNorm", groups: options.number("groups", { minimum: 1, integer: true }), ...parse(options) }),
  outputShape: ({ kind, groups }, input) => {
    const channels = input.at(-1)!;
    checkGroups(kind, channels, channels, groups, `a sample ${showShape(input)}`);
    // A group has a single value only where every channel of one place is a group of its own: fewer groups have more.
    const fewer = divisorsOf(channels).at(-2);
    const nearest = fewer === undefined ? undefined : `groupNorm(${fewer})`;
    checkCount(kind, (placesOf(input) * channels) / groups, input, "more than one value in a group", nearest);
    return input;
  },
  declare: declareAffine,
  apply: (layer, x, { parameters }) => {
    const channels = x.shape.at(-1)!;
    const split = reshapeTensor(x, [x.shape[0]!, sizeOf(x.shape.slice(1, -1)), layer.groups, channels / layer.groups]);
    return finished(layer, reshapeTensor(standardized(split, [1, 3], layer.epsilon).normalized, x.shape), parameters);
  },
});

/**
 * Instance normalization (Ulyanov et al. 2016): each channel of each sample gets mean 0 and variance 1 over all places, of which
 * there must be more than one.
 */
export function instanceNorm(options: NormalizationOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("instanceNorm", { options, surplus, usual: "epsilon" });
}

defineLayer<Normalization>("instanceNorm", {
  parse: (options) => ({ kind: "instanceNorm", ...parse(options) }),
  outputShape: ({ kind }, input) => {
    const nearest = input.at(-1)! > 1 ? "layerNorm()" : undefined;
    checkCount(kind, placesOf(input), input, "more than one place, as in [height, width, channels]", nearest);
    return input;
  },
  declare: declareAffine,
  apply: (layer, x, { parameters }) =>
    finished(layer, standardized(x, axesFrom(1, x.shape.length - 1), layer.epsilon).normalized, parameters),
});
