import { type Tensor, topological } from "../../lib/graph/index.js";

/** Feeds for the named inputs and states that the outputs depend on. */
export function feedsByName(
  outputs: readonly Tensor[],
  values: Readonly<Record<string, ArrayLike<number>>>,
): Map<Tensor, ArrayLike<number>> {
  const feeds = new Map<Tensor, ArrayLike<number>>();
  for (const tensor of topological(outputs)) {
    const { name } = tensor.attributes;
    if ((tensor.op === "input" || tensor.op === "state") && typeof name === "string") feeds.set(tensor, values[name]!);
  }
  return feeds;
}

/** Repeatable numbers in [0, 1) for tests (a Weyl sequence). */
export function numbers(count: number, offset = 0): number[] {
  return Array.from({ length: count }, (_, index) => ((index + 1 + offset) * 0.6180339887498949) % 1);
}
