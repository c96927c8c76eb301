// Arrays for the tests of node-vae/ops, and how close theirs must come.
import { expect } from "vitest";
import { type NdArray, ndarray } from "../../lib/ops/index.js";
import { numbers } from "./feeds.js";

/** Deterministic values between two bounds; the same offset gives the same ones. */
export const values = (shape: readonly number[], low = -2, high = 2, offset = 0): NdArray => {
  const count = shape.reduce((product, dimension) => product * dimension, 1);
  return ndarray(
    numbers(count, offset).map((u) => low + u * (high - low)),
    shape,
  );
};

/** Fails at the first element that is off by more than `absolute` + `relative` of the expected one. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, relative = 1e-5, absolute = 1e-6): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    if (Math.abs(a - e) <= absolute + relative * Math.abs(e) || Object.is(a, e)) continue;
    expect.fail(`element ${i}: ${a}, not ${e}`);
  }
}
