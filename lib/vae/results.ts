// What the functions of a part gave: users define parts, and a wrong result must be told with the part's name, where it was made,
// rather than by whatever op meets it first.
import { describe, VaeError } from "../errors.js";
import { isTensor, type Shape, sameShape, showShape, type Tensor } from "../graph/index.js";
import { isPromise, isReadable, letGo, propertiesOf } from "../graph/kinds.js";
import type { Tagged } from "../nn/index.js";
import type { LatentDistribution } from "./posteriors.js";

/** The function of a part whose result is looked at. */
export interface Asked {
  /** `"likelihood"`, `"prior"`, … */
  readonly family: string;
  readonly part: Tagged;
  /** The function's name. */
  readonly method: string;
}

function wrong({ family, part, method }: Asked, code: "argument" | "shape" | "dtype", expected: string, value: unknown, hint?: string) {
  letGo(value);
  const received = isTensor(value) ? `a ${value.dtype} tensor ${showShape(value.shape)}` : describe(value);
  const advice = isPromise(value) ? `${method} must not be async` : hint;
  return new VaeError({
    code,
    operation: `${family} ${part.kind}`,
    expected: `${method} to give ${expected}`,
    received,
    ...(advice === undefined ? {} : { hint: advice }),
  });
}

/** The float32 tensor of exactly this shape that was asked for. */
export function tensorOf(asked: Asked, value: unknown, shape: Shape): Tensor {
  const expected = `a float32 tensor ${showShape(shape)}`;
  if (!isTensor(value)) throw wrong(asked, "argument", expected, value);
  if (value.dtype !== "float32") throw wrong(asked, "dtype", expected, value, "cast(x) makes float32");
  if (!sameShape(value.shape, shape)) throw wrong(asked, "shape", expected, value);
  return value;
}

/** Contributions for every row, `[rows, k]` with any k. */
export function contributionsOf(asked: Asked, value: unknown, rows: number): Tensor {
  const expected = `a float32 tensor [${rows}, k], contributions that are summed over k`;
  if (!isTensor(value)) throw wrong(asked, "argument", expected, value);
  if (value.dtype !== "float32") throw wrong(asked, "dtype", expected, value, "cast(x) makes float32");
  if (value.shape.length === 2 && value.shape[0] === rows) return value;
  const isSummed = value.shape.length === 1 && value.shape[0] === rows;
  throw wrong(asked, "shape", expected, value, isSummed ? `leave out the sum over the last axis, or reshape to [${rows}, 1]` : undefined);
}

/** A posterior's distribution, whose own functions are looked at when they are called. */
export function distributionOf(part: Tagged, value: unknown, rows: number, latent: number): LatentDistribution {
  const family = "posterior";
  const { mean, standardDeviation, sample, logDensity } = propertiesOf(value) as Partial<LatentDistribution>;
  if (typeof sample !== "function" || typeof logDensity !== "function") {
    const expected = "an object of family, mean, standardDeviation, sample and logDensity";
    throw wrong({ family, part, method: "distribution" }, "argument", expected, value);
  }
  const shape = [rows, latent];
  const asked = (method: string): Asked => ({ family, part, method });
  tensorOf(asked("distribution().mean"), mean, shape);
  tensorOf(asked("distribution().standardDeviation"), standardDeviation, shape);
  const checked: Omit<LatentDistribution, "family"> = {
    mean: mean!, // what was looked at, whatever a getter gives the next time
    standardDeviation: standardDeviation!,
    sample: (noise) => tensorOf(asked("distribution().sample"), sample.call(value, noise), shape),
    logDensity: (z) => contributionsOf(asked("distribution().logDensity"), logDensity.call(value, z), rows),
  };
  // Whatever else it has, for a prior that knows this family, it keeps.
  return Object.create(value as LatentDistribution, Object.getOwnPropertyDescriptors(checked)) as LatentDistribution;
}

/** An objective's terms: scalars by name, of which one is the loss. */
export function termsOf(part: Tagged, value: unknown): { readonly loss: Tensor } & Readonly<Record<string, Tensor>> {
  const asked: Asked = { family: "objective", part, method: "terms" };
  if (typeof value !== "object" || value === null || !isReadable(value) || isPromise(value) || isTensor(value)) {
    throw wrong(asked, "argument", "an object of scalar tensors, { loss, … }", value);
  }
  // Read once: getters may give something else the next time.
  const terms: Readonly<Record<string, unknown>> = { ...value };
  if (!("loss" in terms)) throw wrong(asked, "argument", "a scalar tensor `loss`", value);
  for (const [name, term] of Object.entries(terms)) {
    const expected = `a scalar float32 tensor as "${name}"`;
    if (!isTensor(term))
      throw wrong(asked, "argument", expected, term, typeof term === "number" ? `constant(${term}) makes one` : undefined);
    if (term.dtype !== "float32") throw wrong(asked, "dtype", expected, term, "cast(x) makes float32");
    if (term.shape.length > 0) throw wrong(asked, "shape", expected, term, "take the mean over the batch: mean(x)");
  }
  return terms as { readonly loss: Tensor };
}
