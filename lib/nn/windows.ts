// What layers with windows are told: sizes along the axes of an image or a sequence, and padding.
import { VaeError } from "../errors.js";
import type { Fields } from "../graph/arguments.js";
import { type PaddingOption, type Pair, type Shape, showShape, sizeOf } from "../graph/index.js";
import { isArray } from "../graph/kinds.js";

/** One whole number for both axes of an image, or [vertical, horizontal]. */
export type Sizes = number | Pair;

/** Padding along one axis, as {@link PaddingOption}; `[left, right]` for uneven padding. */
export type PaddingOption1d = "same" | "valid" | number | Pair;

/** The number of spatial axes: 2 for images [height, width, channels], 1 for sequences [length, channels]. */
export type AxisCount = 1 | 2;

function isWhole(value: unknown, minimum: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= minimum;
}

/** A whole number of at least 1, or for images one for each axis; two equal ones are one. */
export function parseSizes(options: Fields, name: string, axes: AxisCount, fallback?: number): Sizes {
  const value = options.given(name, fallback);
  if (isWhole(value, 1)) return value;
  if (axes === 2 && isArray(value) && value.length === 2 && Array.from(value).every((size) => isWhole(size, 1))) {
    const [height, width] = value as readonly [number, number];
    return height === width ? height : [height, width];
  }
  const isNear = typeof value === "number" && Math.abs(value) <= Number.MAX_SAFE_INTEGER;
  const nearest = isNear ? `the nearest valid choice is ${Math.max(1, Math.round(value))}` : "";
  throw options.wrong(name, `a whole number of at least 1${axes === 1 ? "" : ", or [vertical, horizontal]"}`, nearest);
}

/** `"same"`, `"valid"`, a number of places on every side, or before and after along each axis. */
export function parsePadding(options: Fields, axes: AxisCount, fallback: "same" | "valid"): PaddingOption | Pair {
  const value = options.given("padding", fallback);
  if (value === "same" || value === "valid" || isWhole(value, 0)) return value;
  const isPair = (pair: unknown): pair is Pair =>
    isArray(pair) && pair.length === 2 && Array.from(pair).every((amount) => isWhole(amount, 0));
  if (axes === 1 && isPair(value)) return [value[0], value[1]];
  if (axes === 2 && isArray(value) && value.length === 2 && Array.from(value).every(isPair)) {
    return (value as readonly Pair[]).map(([before, after]) => [before, after] as const);
  }
  const pairs = axes === 1 ? "[left, right]" : "[[top, bottom], [left, right]]";
  throw options.wrong("padding", `"same", "valid", a whole number of at least 0 or ${pairs}`);
}

/** The size along each axis. */
export function along(sizes: Sizes, axes: AxisCount): readonly number[] {
  return typeof sizes === "number" ? Array<number>(axes).fill(sizes) : sizes;
}

/** Padding as the graph's windows take it. */
export function paddingAlong(padding: PaddingOption | Pair, axes: AxisCount): PaddingOption {
  return axes === 1 && typeof padding === "object" ? [padding as Pair] : (padding as PaddingOption);
}

/** Throws unless a sample is an image, or a sequence, and says which layer would make it one. */
export function checkSample(kind: string, input: Shape, axes: AxisCount): void {
  if (input.length === axes + 1) return;
  throw new VaeError({
    code: "shape",
    operation: kind,
    expected: axes === 2 ? "an image [height, width, channels]" : "a sequence [length, channels]",
    received: `a sample ${showShape(input)}`,
    hint: `put reshape(${showShape(nearestSample(input, axes))}) before it`,
  });
}

/** A shape of the right rank with as many elements: a missing channel added, else a square where there is one. */
function nearestSample(input: Shape, axes: AxisCount): Shape {
  if (input.length === axes) return [...input, 1];
  if (input.length > axes + 1) return [...input.slice(0, axes), sizeOf(input.slice(axes))];
  const size = sizeOf(input);
  const side = Math.sqrt(size);
  return axes === 2 && Number.isInteger(side) ? [side, side, 1] : [...Array<number>(axes - 1).fill(1), size, 1];
}
