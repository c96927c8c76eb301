// What the functions of families gave, checked where it was made.
import { isTensor, type Shape, sameShape, showShape, type Tensor } from "../graph/index.js";
import { propertiesOf } from "../graph/kinds.js";
import { type Asked, type NoiseSource, wrongResult } from "../nn/index.js";
import type { Distribution, Draw } from "./family.js";

/** The float32 tensor of exactly this shape that was asked for. */
export function tensorOf(asked: Asked, value: unknown, shape: Shape): Tensor {
  const expected = `a float32 tensor ${showShape(shape)}`;
  if (!isTensor(value)) throw wrongResult(asked, "argument", expected, value);
  if (value.dtype !== "float32") throw wrongResult(asked, "dtype", expected, value, "cast(x) makes float32");
  if (!sameShape(value.shape, shape)) throw wrongResult(asked, "shape", expected, value);
  return value;
}

/** Contributions for every row, `[rows, k]` with any k. */
export function contributionsOf(asked: Asked, value: unknown, rows: number): Tensor {
  const expected = `a float32 tensor [${rows}, k], contributions that are summed over k`;
  if (!isTensor(value)) throw wrongResult(asked, "argument", expected, value);
  if (value.dtype !== "float32") throw wrongResult(asked, "dtype", expected, value, "cast(x) makes float32");
  if (value.shape.length === 2 && value.shape[0] === rows) return value;
  const isSummed = value.shape.length === 1 && value.shape[0] === rows;
  throw wrongResult(
    asked,
    "shape",
    expected,
    value,
    isSummed ? `leave out the sum over the last axis, or reshape to [${rows}, 1]` : undefined,
  );
}

/** The distribution that a family gave, whose own functions are looked at when they are called. */
export function distributionOf(family: string, part: string, value: unknown, rows: number, size: number): Distribution {
  const { family: named, mean, standardDeviation, draw, logDensity } = propertiesOf(value) as Partial<Distribution>;
  const asked = (method: string): Asked => ({ family, part, method });
  if (typeof draw !== "function" || typeof logDensity !== "function" || typeof named !== "string") {
    throw wrongResult(
      asked("distribution"),
      "argument",
      "an object of family, draw, logDensity and, where known, mean and standardDeviation",
      value,
    );
  }
  const shape = [rows, size];
  const checked = {
    family: named, // what was looked at, whatever a getter gives the next time
    ...(mean === undefined ? {} : { mean: tensorOf(asked("distribution().mean"), mean, shape) }),
    ...(standardDeviation === undefined
      ? {}
      : { standardDeviation: tensorOf(asked("distribution().standardDeviation"), standardDeviation, shape) }),
    draw: (noise: NoiseSource): Draw => {
      const drawn = propertiesOf(draw.call(value, noise)) as Partial<Draw>;
      return {
        value: tensorOf(asked("distribution().draw().value"), drawn.value, shape),
        logDensity: contributionsOf(asked("distribution().draw().logDensity"), drawn.logDensity, rows),
      };
    },
    logDensity: (at: Tensor): Tensor => contributionsOf(asked("distribution().logDensity"), logDensity.call(value, at), rows),
  };
  // Whatever else it has, for a divergence that knows this family, it keeps.
  return Object.create(value as Distribution, Object.getOwnPropertyDescriptors(checked)) as Distribution;
}
