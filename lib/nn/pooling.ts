import { VaeError } from "../errors.js";
import {
  poolAverage2d as average,
  poolMax2d as maximum,
  mean,
  type PaddingOption,
  showShape,
  upsampleBilinear2d,
  upsampleNearest2d,
} from "../graph/index.js";
import { poolAxes } from "../graph/pooling.js";
import { defineLayer, type Layer, type LayerOptions, layers } from "./layer.js";
import { along, checkSample, parsePadding, parseSizes, type Sizes } from "./windows.js";

/** How pooling windows lie. */
export interface PoolLayerOptions extends LayerOptions {
  /** Step from window to window; default: the window's size, so that they lie side by side. */
  readonly stride?: Sizes;
  /** As in {@link conv2d}; what is added takes no part in the maximum or the average. Default `"valid"`. */
  readonly padding?: PaddingOption;
}

interface Pool extends Layer {
  readonly size: Sizes;
  readonly stride: Sizes;
  readonly padding: PaddingOption;
}

/** The largest value of each window, channel by channel: `[28, 28, 8]` to `[14, 14, 8]` by `maxPool2d(2)`. */
export function maxPool2d(size: Sizes, options: PoolLayerOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("maxPool2d", { positional: { size }, options, surplus, usual: "stride" });
}

/** The average of each window, channel by channel; padding does not count. See {@link maxPool2d}. */
export function averagePool2d(size: Sizes, options: PoolLayerOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("averagePool2d", { positional: { size }, options, surplus, usual: "stride" });
}

for (const [kind, pool] of [
  ["maxPool2d", maximum],
  ["averagePool2d", average],
] as const) {
  defineLayer<Pool>(kind, {
    parse: (options) => {
      const size = parseSizes(options, "size", 2);
      const stride = options.raw("stride") === undefined ? size : parseSizes(options, "stride", 2);
      return { kind, size, stride, padding: parsePadding(options, 2, "valid") as PaddingOption };
    },
    outputShape: ({ size, stride, padding }, input) => {
      checkSample(kind, input, 2);
      const [height, width, channels] = input as readonly [number, number, number];
      const windows = poolAxes(kind, [height, width, channels], size, { stride, padding }, `a sample ${showShape(input)}`);
      return [...windows.map(({ output }) => output), channels];
    },
    apply: ({ size, stride, padding }, x) => pool(x, size, { stride, padding }),
  });
}

interface GlobalAveragePool extends Layer {
  readonly kind: "globalAveragePool";
}

/** The average over all places of an image or a sequence, channel by channel: `[7, 7, 64]` to `[64]`. */
export function globalAveragePool(options: LayerOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("globalAveragePool", { options, surplus, usual: "name" });
}

defineLayer<GlobalAveragePool>("globalAveragePool", {
  parse: () => ({ kind: "globalAveragePool" }),
  outputShape: ({ kind }, input) => {
    if (input.length >= 2) return input.slice(-1);
    throw new VaeError({
      code: "shape",
      operation: kind,
      expected: "places with channels: [height, width, channels] or [length, channels]",
      received: `a sample ${showShape(input)}`,
      hint: `leave it out, or put reshape(${showShape([1, ...input])}) before it`,
    });
  },
  apply: (_, x) => mean(x, { axes: x.shape.slice(1, -1).map((_size, axis) => axis + 1) }),
});

/** Options of {@link upsample}. */
export interface UpsampleOptions extends LayerOptions {
  /** Default `"nearest"`. */
  readonly method?: "nearest" | "bilinear";
}

interface Upsample extends Layer {
  readonly kind: "upsample";
  readonly factor: Sizes;
  readonly method: "nearest" | "bilinear";
}

/**
 * Makes an image larger by whole factors: `[7, 7, 64]` to `[14, 14, 64]` by `upsample(2)`. `"nearest"` (default) repeats
 * pixels, `"bilinear"` interpolates between their centres (`align_corners` false).
 */
export function upsample(factor: Sizes, options: UpsampleOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("upsample", { positional: { factor }, options, surplus, usual: "method" });
}

defineLayer<Upsample>("upsample", {
  parse: (options) => ({
    kind: "upsample",
    factor: parseSizes(options, "factor", 2),
    method: options.choice("method", ["nearest", "bilinear"], "nearest"),
  }),
  outputShape: ({ kind, factor }, input) => {
    checkSample(kind, input, 2);
    const factors = along(factor, 2);
    return [input[0]! * factors[0]!, input[1]! * factors[1]!, input[2]!];
  },
  apply: ({ factor, method }, x) => (method === "nearest" ? upsampleNearest2d(x, factor) : upsampleBilinear2d(x, factor)),
});
