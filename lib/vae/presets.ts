// Models that are known to work, as options to be spread into `vae({ ...presets.image28(), … })` and changed at will.

import { gaussian } from "../distributions/index.js";
import { isRecord, noMore, notOptions } from "../graph/arguments.js";
import { type Shape, sizeOf } from "../graph/index.js";
import { type Activation, activations, conv2d, convTranspose2d, dense, Fields, reshape } from "../nn/index.js";
import type { VaeOptions } from "./config.js";
import { standardize } from "./preparations.js";

/** What every preset takes. */
export interface PresetOptions {
  /** The number of latent dimensions. */
  readonly latent?: number;
  /** Of all hidden layers; default `"relu"`. */
  readonly activation?: Activation;
}

/** Options of the presets of one image size. */
export interface ImagePresetOptions extends PresetOptions {
  /** Values per pixel: 1 for grey, 3 for colour. */
  readonly channels?: number;
}

/** Options of {@link presets}`.image`. */
export interface AnyImagePresetOptions extends PresetOptions {
  /** `[height, width, channels]`, or `[height, width]` for grey. */
  readonly size: Shape;
  /** Filters of the first convolution, of the second, …; the last number stands for all further ones. Default `[32, 64]`. */
  readonly filters?: readonly number[];
  /** Units of a dense layer on both sides of the latent; default: none. */
  readonly hidden?: number;
}

/** Options of {@link presets}`.table`. */
export interface TablePresetOptions extends PresetOptions {
  /** Values in a row. */
  readonly columns: number;
  /** Units of the encoder's hidden layers; the decoder has them in reverse. Default `[64, 32]`. */
  readonly hidden?: readonly number[];
}

/** Images are halved until no side is longer than this: 28 → 14 → 7, 64 → 32 → 16 → 8 → 4. */
const SMALLEST_SIDE = 7;

/** A size along each axis, [height, width]. */
type Size = readonly [height: number, width: number];

/**
 * Ready architectures with the likelihood that suits their data. What they give are plain options: later properties win.
 *
 * @example
 * ```ts
 * const model = vae({ ...presets.image28({ latent: 16 }), objective: elbo({ beta: 4 }), seed: 7 });
 * const faces = vae({ ...presets.image({ size: [28, 20, 1] }) });
 * ```
 */
export const presets = Object.freeze({
  /**
   * Small grey images such as MNIST and Fashion-MNIST, 28 × 28: 3 × 3 convolutions with stride 2 and 32, 64 filters, and their
   * mirror image. 16 latent dimensions by default, Bernoulli likelihood.
   */
  image28(options: ImagePresetOptions = {}, ...surplus: never[]): VaeOptions {
    checkCall(options, surplus, "image28({ latent: 16 })");
    const fields = new Fields("presets.image28", options);
    const channels = channelsOf(fields, 1);
    const { latent, activation } = shared(fields, 16);
    fields.finish();
    return image({ size: [28, 28], channels, latent, activation, filters: [32, 64], hidden: undefined });
  },

  /**
   * Colour images, 64 × 64: 4 × 4 convolutions with stride 2 and 32, 32, 64, 64 filters, a dense layer of 256 units, and their
   * mirror image (Burgess et al. 2018 use the like). 10 latent dimensions by default, Bernoulli likelihood.
   */
  image64(options: ImagePresetOptions = {}, ...surplus: never[]): VaeOptions {
    checkCall(options, surplus, "image64({ latent: 16 })");
    const fields = new Fields("presets.image64", options);
    const channels = channelsOf(fields, 3);
    const { latent, activation } = shared(fields, 10);
    fields.finish();
    const settings = { stride: 2, padding: 1 } as const;
    const hidden = dense(256, { activation });
    return {
      input: [64, 64, channels],
      latent,
      encoder: [...[32, 32, 64, 64].map((filters) => conv2d(filters, 4, { ...settings, activation })), hidden],
      decoder: [
        hidden,
        dense(4 * 4 * 64, { activation }),
        reshape([4, 4, 64]),
        ...[64, 32, 32].map((filters) => convTranspose2d(filters, 4, { ...settings, activation })),
        convTranspose2d(channels, 4, settings),
      ],
      likelihood: "bernoulli",
    };
  },

  /**
   * Images of any size: 3 × 3 convolutions that halve every side of more than 7 pixels, rounding up, until none is left, and
   * their mirror image, each of whose layers gives exactly the size that its counterpart took. A 3 × 3 convolution makes the
   * channels. 16 latent dimensions by default, Bernoulli likelihood. `image({ size: [28, 28, 1] })` is `image28()`.
   *
   * @throws VaeError `"shape"` unless the size is `[height, width, channels]` or `[height, width]`
   */
  image(options: AnyImagePresetOptions, ...surplus: never[]): VaeOptions {
    checkCall(options, surplus, "image({ size: [28, 28, 1] })");
    const fields = new Fields("presets.image", options);
    const shape = fields.shape("size");
    const [height, width, channels = 1, ...rest] = shape;
    if (height === undefined || width === undefined || rest.length > 0) {
      throw fields.wrong("size", "[height, width, channels] or [height, width]", hintFor(shape), "shape");
    }
    const { latent, activation } = shared(fields, 16);
    const filters = unitsOf(fields, "filters", [32, 64]);
    if (filters.length === 0) throw fields.wrong("filters", "at least one number of filters");
    const hidden = fields.raw("hidden") === undefined ? undefined : fields.number("hidden", { minimum: 1, integer: true });
    fields.finish();
    return image({ size: [height, width], channels, latent, activation, filters, hidden });
  },

  /**
   * Rows of a table: dense layers, and a Gaussian likelihood with one learned standard deviation. 4 latent dimensions by
   * default. The model standardizes the columns itself ({@link standardize}).
   */
  table(options: TablePresetOptions, ...surplus: never[]): VaeOptions {
    checkCall(options, surplus, "table({ columns: 8 })");
    const fields = new Fields("presets.table", options);
    const columns = fields.number("columns", { minimum: 1, integer: true });
    const { latent, activation } = shared(fields, 4);
    const hidden = unitsOf(fields, "hidden", [64, 32]);
    fields.finish();
    const layers = hidden.map((units) => dense(units, { activation }));
    return {
      input: [columns],
      latent,
      encoder: layers,
      decoder: layers.toReversed(),
      likelihood: gaussian({ scale: "learned" }),
      prepare: standardize(),
    };
  },
});

/** Options and nothing else; `example` is a call that is right. */
function checkCall(options: unknown, surplus: readonly unknown[], example: string): void {
  const operation = `presets.${example.slice(0, example.indexOf("("))}`;
  if (!isRecord(options)) throw notOptions(operation, options, `presets.${example}`);
  noMore(operation, surplus, `presets.${example}`);
}

interface ImageModel {
  readonly size: Size;
  readonly channels: number;
  readonly latent: number;
  readonly activation: Activation;
  readonly filters: readonly number[];
  readonly hidden: number | undefined;
}

function image({ size, channels, latent, activation, filters, hidden }: ImageModel): VaeOptions {
  const levels = halvings(size);
  const filtersAt = (level: number): number => filters[Math.min(level, filters.length - 1)]!;
  const encoder = levels.map(({ stride }, level) => conv2d(filtersAt(level), 3, { stride, activation }));
  const decoder = levels.map(({ stride, from, to }, level) => {
    const natural = from.every((side, axis) => side === to[axis]! * stride[axis]!);
    return convTranspose2d(filtersAt(level), 3, { stride, activation, ...(natural ? {} : { outputSize: from }) });
  });
  const smallest = [...(levels.at(-1)?.to ?? size), filtersAt(levels.length - 1)];
  const between = hidden === undefined ? [] : [dense(hidden, { activation })];
  return {
    input: [...size, channels],
    latent,
    encoder: [...encoder, ...between],
    // The head, a convolution to the channels that the likelihood asks for, is derived.
    decoder: [...between, dense(sizeOf(smallest), { activation }), reshape(smallest), ...decoder.toReversed()],
    likelihood: "bernoulli",
  };
}

/** Every halving with its stride and the sizes on its two sides. An image that needs none gets one convolution all the same. */
function halvings(size: Size): readonly { readonly stride: Size; readonly from: Size; readonly to: Size }[] {
  const strideOf = (side: number): number => (side > SMALLEST_SIDE ? 2 : 1);
  const stride: Size = [strideOf(size[0]), strideOf(size[1])];
  const to: Size = [Math.ceil(size[0] / stride[0]), Math.ceil(size[1] / stride[1])];
  const level = { stride, from: size, to };
  return to.some((side) => side > SMALLEST_SIDE) ? [level, ...halvings(to)] : [level];
}

function shared(fields: Fields, latent: number) {
  return {
    latent: fields.number("latent", { minimum: 1, integer: true }, latent),
    activation: fields.choice("activation", activations, "relu"),
  };
}

function channelsOf(fields: Fields, fallback: number): number {
  return fields.number("channels", { minimum: 1, integer: true }, fallback);
}

function unitsOf(fields: Fields, name: string, fallback: readonly number[]): readonly number[] {
  return fields.raw(name) === undefined ? fallback : fields.shape(name);
}

function hintFor(shape: Shape): string {
  return shape.length === 1 ? `for rows of ${shape[0]} values use presets.table({ columns: ${shape[0]} })` : "";
}
