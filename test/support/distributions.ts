// Distributions of families as tests ask for them, and their values in float64.
import { expect } from "vitest";
import type { Distribution, Role } from "../../lib/distributions/index.js";
import { constantTensor, evaluate, type Shape, type Tensor } from "../../lib/graph/index.js";
import { Noise, Pass, placeOf, type Tagged } from "../../lib/nn/index.js";
import { familyOf } from "../../lib/vae/index.js";
import { feedsByName } from "./feeds.js";

const LOG_2PI = Math.log(2 * Math.PI);

export const tensor = (data: readonly number[], shape: Shape): Tensor => constantTensor({ data, shape });
export const valuesOf = (of: Tensor, states: Record<string, readonly number[]> = {}): number[] => [
  ...evaluate([of], feedsByName([of], states), { seed: 7, step: 3 })[0]!,
];
export const close = (values: readonly number[], digits = 10) => values.map((value) => expect.closeTo(value, digits));

/** The distribution of a family over `[rows, size]`. */
export function made(role: Role, given: string | Tagged, head: Tensor | undefined, [rows, size]: readonly [number, number]): Distribution {
  const family = familyOf(role, given);
  const scope = new Pass("training", new Noise("test")).scope(placeOf("", family.declare([size]), "test"));
  return family.distribution(head, { event: [size], rows, scope });
}

/** log N(x; μ, σ²). */
export const normal = (x: number, mu: number, sigma: number): number => -0.5 * ((x - mu) / sigma) ** 2 - Math.log(sigma) - 0.5 * LOG_2PI;
