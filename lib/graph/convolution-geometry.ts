// Where the windows of convolutions and pools lie: options resolved to numbers, output sizes, and what cannot be.
//
// Along one axis, window o covers the places o·stride − before + tap·dilation, tap = 0 … kernel − 1. It spans
// (kernel − 1)·dilation + 1 places, and there are ⌊(size + before + after − span) / stride⌋ + 1 windows.
import { describe, VaeError } from "../errors.js";
import { isArray } from "./kinds.js";
import { type Shape, sameShape, showShape } from "./tensor.js";
import { checkImage, checkTables } from "./window-limits.js";

/** Two numbers: of the vertical and of the horizontal axis, or before and behind. */
export type Pair = readonly [number, number];

/**
 * Zeros around the input: `"same"` as in TensorFlow (the output has ⌈size / stride⌉ places; the odd zero is at the bottom and
 * right), `"valid"` (none), a number (on every side), or before and after for each spatial axis.
 */
export type PaddingOption = "same" | "valid" | number | readonly Pair[];

/** How windows lie, one number for all spatial axes or one for each. */
export interface WindowOptions {
  /** Step from window to window. Default 1. */
  readonly stride?: number | readonly number[] | undefined;
  /** Default `"same"`. */
  readonly padding?: PaddingOption | undefined;
  /** Step from tap to tap within a window. Default 1. */
  readonly dilation?: number | readonly number[] | undefined;
}

/** The windows along one axis, all numbers known. */
export interface WindowAxis {
  readonly name: string;
  readonly size: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: number;
  readonly after: number;
  /** The number of windows. */
  readonly output: number;
}

/** What a convolution runs over. */
export interface ConvolutionGeometry {
  readonly batch: number;
  readonly channels: number;
  readonly filters: number;
  readonly groups: number;
  /** Height and width, or the length alone. */
  readonly axes: readonly WindowAxis[];
}

/** The places from the first tap of a window to its last. */
export function spanOf({ kernel, dilation }: { readonly kernel: number; readonly dilation: number }): number {
  return (kernel - 1) * dilation + 1;
}

/** The names of the spatial axes, for messages. */
function axisNames(count: number): readonly string[] {
  return count === 1 ? ["length"] : ["height", "width"];
}

/** `5×5`, or `5` along one axis. */
function showSizes(sizes: readonly number[]): string {
  return sizes.join("×");
}

function perAxis(operation: string, what: string, value: number | readonly number[], count: number): readonly number[] {
  if (typeof value === "number") return Array<number>(count).fill(value);
  if (isArray(value) && value.length === count && Array.from(value).every((element) => typeof element === "number")) return value;
  const expected = `${what} to be a number${count === 1 ? "" : `, or one for each of ${axisNames(count).join(" and ")}`}`;
  throw new VaeError({ code: "argument", operation, expected, received: describe(value) });
}

/** One number for height and width, or [vertical, horizontal]; as the nodes are told it. */
export function pairOf(operation: string, what: string, value: number | Pair): Pair {
  const [vertical, horizontal] = perAxis(operation, what, value, 2) as Pair;
  return Object.freeze([vertical, horizontal] as const);
}

/** Plans hold settings in 32 bits. */
const LARGEST_SETTING = 2 ** 31 - 1;

/** Throws unless the number is whole and at least `low`, and names the nearest number that is. */
function checkSetting(operation: string, what: string, value: number, low: number, shown: string): void {
  if (Number.isSafeInteger(value) && value >= low && value <= LARGEST_SETTING) return;
  const nearest = Number.isFinite(value) ? Math.min(Math.max(low, Math.round(value)), LARGEST_SETTING) : low;
  throw new VaeError({
    code: "shape",
    operation,
    expected: `${what} to be a whole number of at least ${low}${typeof value === "number" && value > LARGEST_SETTING ? ` and at most ${LARGEST_SETTING}` : ""}`,
    received: `${describe(value)}, for ${shown}`,
    hint: `the nearest valid choice is ${nearest}`,
  });
}

function paddingOf(operation: string, padding: PaddingOption, axes: readonly Omit<WindowAxis, "before" | "after" | "output">[]): Pair[] {
  if (padding === "valid") return axes.map(() => [0, 0]);
  if (padding === "same") {
    return axes.map((axis) => {
      const total = Math.max((Math.ceil(axis.size / axis.stride) - 1) * axis.stride + spanOf(axis) - axis.size, 0);
      return [Math.floor(total / 2), Math.ceil(total / 2)];
    });
  }
  if (typeof padding === "number") return axes.map(() => [padding, padding]);
  const isPair = (pair: unknown) => isArray(pair) && pair.length === 2 && Array.from(pair).every((amount) => typeof amount === "number");
  if (isArray(padding) && padding.length === axes.length && Array.from(padding).every(isPair)) return padding.map(([a, b]) => [a, b]);
  const pairs = axes.length === 1 ? "[[left, right]]" : "[[top, bottom], [left, right]]";
  const expected = `padding to be "same", "valid", a number or ${pairs}`;
  throw new VaeError({ code: "argument", operation, expected, received: describe(padding) });
}

/** Size and settings along each axis, checked, and the padding. */
function framedAxes(operation: string, sizes: readonly number[], kernels: readonly number[], options: WindowOptions, shown: string) {
  const { stride = 1, dilation = 1, padding = "same" } = options;
  const names = axisNames(sizes.length);
  const strides = perAxis(operation, "stride", stride, sizes.length);
  const dilations = perAxis(operation, "dilation", dilation, sizes.length);
  const axes = sizes.map((size, i) => {
    const axis = { name: names[i]!, size, kernel: kernels[i]!, stride: strides[i]!, dilation: dilations[i]! };
    for (const setting of ["kernel", "stride", "dilation"] as const) {
      checkSetting(operation, `the ${setting} along the ${axis.name}`, axis[setting], 1, shown);
    }
    return axis;
  });
  const paddings = paddingOf(operation, padding, axes);
  return axes.map((axis, i) => {
    const [before, after] = paddings[i]!;
    for (const amount of [before, after]) checkSetting(operation, `padding along the ${axis.name}`, amount, 0, shown);
    return { ...axis, before, after };
  });
}

/**
 * The windows along each spatial axis, from sizes and options.
 *
 * @param channels of the image that they lie on
 * @param shown the shapes as the caller knows them, for messages
 */
export function windowAxes(
  operation: string,
  sizes: readonly number[],
  kernels: readonly number[],
  options: WindowOptions,
  channels: number,
  shown: string,
): readonly WindowAxis[] {
  const framed = framedAxes(operation, sizes, kernels, options, shown);
  checkImage(operation, framed, channels, shown);
  return framed.map((axis) => {
    const { before, after } = axis;
    const padded = axis.size + before + after;
    const span = spanOf(axis);
    if (span > padded) {
      const largest = Math.floor((padded - 1) / axis.dilation) + 1;
      throw new VaeError({
        code: "shape",
        operation,
        problem: `a ${showSizes(kernels)} kernel with dilation ${axis.dilation} spans ${span} places along the ${axis.name}, where the padded input has ${padded}; received ${shown}`,
        hint: `the nearest valid choice is a kernel of ${largest} along the ${axis.name}, or ${span - padded} more zeros of padding ("same" adds them by itself)`,
      });
    }
    return { ...axis, output: Math.floor((padded - span) / axis.stride) + 1 };
  });
}

/** {@link windowAxes} of windows that may overlap: kernels keep tables of their taps. */
export function convolutionAxes(
  operation: string,
  sizes: readonly number[],
  kernels: readonly number[],
  options: WindowOptions,
  channels: number,
  shown: string,
): readonly WindowAxis[] {
  const axes = windowAxes(operation, sizes, kernels, options, channels, shown);
  checkTables(operation, axes, shown);
  return axes;
}

/** Throws unless both shapes have the rank that so many spatial axes ask for. */
export function checkRanks(operation: string, x: Shape, w: Shape, count: number, features = "C / groups, F"): void {
  const rank = count + 2;
  if (x.length === rank && w.length === rank) return;
  const [images, weights] = count === 1 ? ["[N, L, C]", `[k, ${features}]`] : ["[N, H, W, C]", `[kh, kw, ${features}]`];
  throw new VaeError({
    code: "shape",
    operation,
    expected: `an input ${images} and weights ${weights}`,
    received: `${showShape(x)} and ${showShape(w)}`,
    hint: x.length === rank - 1 ? `reshape the input to ${showShape([...x, 1])} or ${showShape([1, ...x])}` : "reshape first",
  });
}

/** The geometry of the convolution of x [N, ..., C] with w [..., C / groups, F], or a VaeError "shape" that says what to change. */
export function convolutionGeometry(
  operation: string,
  x: Shape,
  w: Shape,
  options: WindowOptions & { readonly groups?: number | undefined },
  count = 2,
): ConvolutionGeometry {
  checkRanks(operation, x, w, count);
  const { groups = 1 } = options;
  const shown = `input ${showShape(x)} and weights ${showShape(w)}`;
  const channels = x.at(-1)!;
  const filters = w.at(-1)!;
  checkGroups(operation, channels, filters, groups, shown);
  checkChannels(operation, x, w, groups);
  const axes = convolutionAxes(operation, x.slice(1, -1), w.slice(0, -2), options, channels, shown);
  return { batch: x[0]!, channels, filters, groups, axes };
}

/** Throws unless the groups divide both the channels and the filters. */
export function checkGroups(operation: string, channels: number, filters: number, groups: number, shown: string): void {
  checkSetting(operation, "groups", groups, 1, shown);
  if (channels % groups === 0 && filters % groups === 0) return;
  const [what, count] = channels % groups === 0 ? (["filters", filters] as const) : (["channels", channels] as const);
  const common = divisorsOf(greatestCommonDivisor(channels, filters));
  const below = common.findLast((divisor) => divisor < groups);
  const above = common.find((divisor) => divisor > groups);
  const choices = [below, above].filter((divisor) => divisor !== undefined);
  throw new VaeError({
    code: "shape",
    operation,
    problem: `${groups} groups do not divide ${count} ${what}; received ${shown}`,
    hint: `the nearest valid choice is groups = ${choices.join(" or ")}`,
  });
}

function greatestCommonDivisor(a: number, b: number): number {
  let [larger, smaller] = [a, b];
  while (smaller > 0) [larger, smaller] = [smaller, larger % smaller];
  return larger;
}

/** All divisors of a whole number, the least first; by trial up to the root, since numbers out of a file may be large. */
export function divisorsOf(number: number): readonly number[] {
  const low: number[] = [];
  for (let divisor = 1; divisor * divisor <= number; divisor++) if (number % divisor === 0) low.push(divisor);
  const high = low.filter((divisor) => divisor * divisor !== number).map((divisor) => number / divisor);
  return [...low, ...high.reverse()];
}

function checkChannels(operation: string, x: Shape, w: Shape, groups: number): void {
  const [channels, taken, filters] = [x.at(-1)!, w.at(-2)!, w.at(-1)!];
  if (taken * groups === channels) return;
  const valid = showShape([...w.slice(0, -2), channels / groups, filters]);
  const other = channels / taken;
  const byGroups = Number.isInteger(other) && filters % other === 0 ? `, or groups = ${other}` : "";
  throw new VaeError({
    code: "shape",
    operation,
    problem: `weights ${showShape(w)} take ${taken} channels per group, and the input ${showShape(x)} in ${groups} ${groups === 1 ? "group" : "groups"} has ${channels / groups}`,
    hint: `the nearest valid choice is weights ${valid}${byGroups}`,
  });
}

/** The shape of the convolution's result. */
export function outputShape({ batch, axes, filters }: ConvolutionGeometry): Shape {
  return [batch, ...axes.map(({ output }) => output), filters];
}

/** Throws unless the gradient has the shape that the convolution of these sizes would give. */
export function checkGradient(operation: string, gradient: Shape, geometry: ConvolutionGeometry): void {
  const wanted = outputShape(geometry);
  if (sameShape(gradient, wanted)) return;
  const sizes = geometry.axes.map(({ size }) => size);
  // The sizes whose convolutions have as many windows as the gradient has places.
  const ranges = geometry.axes.map((axis, i) => {
    const smallest = Math.max(1, (gradient[i + 1]! - 1) * axis.stride + spanOf(axis) - axis.before - axis.after);
    const largest = smallest + axis.stride - 1;
    return smallest === largest ? String(smallest) : `${smallest}…${largest}`;
  });
  throw new VaeError({
    code: "shape",
    operation,
    expected: `a gradient ${showShape(wanted)}, as the convolution of ${showSizes(sizes)} places gives it`,
    received: showShape(gradient),
    hint: `the nearest valid choice of the input size is ${ranges.join(" by ")}, with this padding`,
  });
}

/**
 * The windows over the result of a transposed convolution, as many as its input has places. Without an `outputSize` the result
 * has size · stride places for `"same"`, else (size − 1) · stride + span − before − after.
 *
 * @param channels of the result
 */
export function transposedAxes(
  operation: string,
  sizes: readonly number[],
  kernels: readonly number[],
  options: WindowOptions,
  outputSize: number | readonly number[] | undefined,
  channels: number,
  shown: string,
): readonly WindowAxis[] {
  const same = options.padding === undefined || options.padding === "same";
  const ranges = framedAxes(operation, sizes, kernels, options, shown).map((axis) => {
    const { name, size, stride, before, after } = axis;
    // All sizes whose convolutions have `size` windows; there are `stride` of them.
    const smallest = (size - 1) * stride + (same ? 1 : spanOf(axis) - before - after);
    if (smallest + stride - 1 < 1) {
      throw new VaeError({
        code: "shape",
        operation,
        problem: `padding of ${before} and ${after} along the ${name} takes all ${(size - 1) * stride + spanOf(axis)} places; received ${shown}`,
        hint: `the nearest valid choice is padding of ${before + after + smallest - 1} in all along the ${name}`,
      });
    }
    return { name, smallest: Math.max(smallest, 1), largest: smallest + stride - 1, natural: same ? size * stride : Math.max(smallest, 1) };
  });
  const wanted =
    outputSize === undefined ? ranges.map(({ natural }) => natural) : perAxis(operation, "outputSize", outputSize, sizes.length);
  ranges.forEach(({ name, smallest, largest }, i) => {
    const size = wanted[i]!;
    if (Number.isSafeInteger(size) && size >= smallest && size <= largest) return;
    throw new VaeError({
      code: "shape",
      operation,
      expected: `an output size from ${smallest} to ${largest} along the ${name}`,
      received: `${size}, for ${shown}`,
      hint: `the nearest valid choice is ${size > largest ? largest : smallest}`,
    });
  });
  return convolutionAxes(operation, wanted, kernels, options, channels, shown);
}
