import { checkOptions } from "./arguments.js";
import { toTensor } from "./leaves.js";
import { normalizeAxis } from "./shape.js";
import { calledBy, checkFloat, makeNode, type One, type OpCase, type Rows, real } from "./table.js";
import { type Shape, sizeOf, type Tensor, type TensorLike } from "./tensor.js";

type CumulativeAttributes = { readonly axis: number; readonly reverse: boolean; readonly exclusive: boolean };

interface CumulativeSignatures {
  cumulative_sum: { inputs: One; attributes: CumulativeAttributes };
}

/** How a running sum runs. */
export interface CumulativeOptions {
  /** From the end to the beginning. Default false. */
  readonly reverse?: boolean | undefined;
  /** Each sum leaves its own element out, so that the first is 0. Default false. */
  readonly exclusive?: boolean | undefined;
}

const directions = ["reverse", "exclusive"] as const satisfies readonly (keyof CumulativeOptions)[];

const sample = (name: string, shape: Shape, axis: number, options: CumulativeOptions = {}, large = false): OpCase => ({
  name,
  inputs: [real(shape)],
  build: (x) => cumulativeSum(x!, axis, options),
  large,
});

export const cumulativeRows: Rows<CumulativeSignatures> = {
  cumulative_sum: {
    name: "cumulative_sum",
    family: "scan",
    type([x]) {
      checkFloat("cumulativeSum", [x]);
      return x;
    },
    // y_i = Σ_{j ≤ i} x_j: x_j counts in every y_i with i ≥ j, so its gradient is the running sum from the other end.
    derivative: ({ gradient, attributes: { axis, reverse, exclusive } }) => [
      cumulativeSum(gradient, axis, { reverse: !reverse, exclusive }),
    ],
    evaluate([x], { axis, reverse, exclusive }, { shape }) {
      const result = new Float64Array(x.data.length);
      const length = shape[axis]!;
      const inner = sizeOf(shape.slice(axis + 1));
      for (let start = 0; start < x.data.length; start += length * inner) {
        for (let column = 0; column < inner; column++) {
          let total = 0;
          for (let i = 0; i < length; i++) {
            const place = start + (reverse ? length - 1 - i : i) * inner + column;
            if (exclusive) result[place] = total;
            total += x.data[place]!;
            if (!exclusive) result[place] = total;
          }
        }
      }
      return result;
    },
    cases: [
      sample("vector", [6], 0),
      sample("rows", [3, 4], 1),
      sample("columns", [3, 4], 0),
      sample("inner axis", [2, 3, 2], 1),
      sample("reverse", [2, 5], 1, { reverse: true }),
      sample("exclusive", [2, 5], 1, { exclusive: true }),
      sample("reverse and exclusive", [4, 3], 0, { reverse: true, exclusive: true }),
      sample("one element", [3, 1], 1, { exclusive: true }),
      sample("large", [65, 401], 1, {}, true),
      sample("large columns", [129, 131], 0, { reverse: true }, true),
    ],
  },
};

/**
 * The running sum along an axis, of x's shape: y_i = x_0 + … + x_i.
 *
 * @param axis negative counts from the last
 * @example
 * ```ts
 * cumulativeSum(x, -1);                                      // [1, 2, 3] to [1, 3, 6]
 * cumulativeSum(x, -1, { reverse: true, exclusive: true });  // [1, 2, 3] to [5, 3, 0]
 * ```
 */
export function cumulativeSum(x: TensorLike, axis: number, options?: CumulativeOptions): Tensor;
export function cumulativeSum(x: TensorLike, axis: number, options: CumulativeOptions = {}, ...surplus: unknown[]): Tensor {
  return calledBy(cumulativeSum, surplus, () => {
    const { reverse = false, exclusive = false } = checkOptions("cumulativeSum", options, directions, directions);
    const tensor = toTensor("cumulativeSum", x);
    return makeNode(cumulativeRows.cumulative_sum, [tensor], {
      axis: normalizeAxis("cumulativeSum", axis, tensor.shape),
      reverse,
      exclusive,
    });
  });
}
