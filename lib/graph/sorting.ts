import { VaeError } from "../errors.js";
import { checkOptions } from "./arguments.js";
import { toTensor } from "./leaves.js";
import { slice, transpose } from "./movement.js";
import { normalizeAxis } from "./shape.js";
import {
  calledBy,
  checkFloat,
  checkWhole,
  distinct,
  integers,
  list,
  makeNode,
  notDifferentiable,
  type One,
  type OpCase,
  type OpRow,
  type Rows,
} from "./table.js";
import { type Shape, showShape, type Tensor, type TensorLike, type TensorType } from "./tensor.js";

type SortAttributes = { readonly descending: boolean };

/** Both sort along the last axis. */
interface SortSignatures {
  sort_values: { inputs: One; attributes: SortAttributes };
  sort_indices: { inputs: One; attributes: SortAttributes };
}

/** Along which axis, and which way. */
export interface SortOptions {
  /** Negative counts from the last. Default -1. */
  readonly axis?: number | undefined;
  /** The largest first. Default false. */
  readonly descending?: boolean | undefined;
}

/** What a sort gives, in the order of the sorted axis. */
export interface Sorted {
  readonly values: Tensor;
  /** Where each value stood along the axis, int32. */
  readonly indices: Tensor;
}

/** Below 0 where a comes first. NaN counts as larger than any number. */
function compare(a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a < b ? -1 : Number(a > b);
}

function row<Name extends keyof SortSignatures>(
  name: Name,
  dtype: TensorType["dtype"],
  result: (data: Float64Array, start: number, place: number) => number,
): OpRow<Name, One, SortAttributes> {
  const part = (x: Tensor, options: SortOptions = {}) => sort(x, options)[name === "sort_values" ? "values" : "indices"];
  const cases: OpCase[] = [
    { name: "rows", inputs: [distinct([3, 5])], build: (x) => part(x!), gradient: false },
    { name: "descending", inputs: [distinct([2, 6])], build: (x) => part(x!, { descending: true }), gradient: false },
    { name: "columns", inputs: [distinct([4, 3])], build: (x) => part(x!, { axis: 0 }), gradient: false },
    { name: "inner axis", inputs: [distinct([2, 3, 2])], build: (x) => part(x!, { axis: 1, descending: true }), gradient: false },
    { name: "ties", inputs: [integers([4, 9], 0, 3, "float32")], build: (x) => part(x!), gradient: false },
    {
      name: "ties, descending",
      inputs: [integers([4, 9], 0, 3, "float32")],
      build: (x) => part(x!, { descending: true }),
      gradient: false,
    },
    { name: "infinities", inputs: [list(1, Infinity, -Infinity, 0, -1, Infinity)], build: (x) => part(x!), gradient: false },
    { name: "large", inputs: [distinct([7, 1031])], build: (x) => part(x!), gradient: false, large: true },
  ];
  return {
    name,
    family: "sort",
    type([x]) {
      checkFloat("sort", [x]);
      if (x.shape.length === 0)
        throw new VaeError({ code: "shape", operation: "sort", expected: "an axis to sort along", received: "a scalar" });
      return { shape: x.shape, dtype };
    },
    derivative: notDifferentiable,
    evaluate([x], { descending }, { shape }) {
      const columns = shape.at(-1)!;
      const sign = descending ? -1 : 1;
      const sorted = new Float64Array(x.data.length);
      for (let start = 0; start < x.data.length; start += columns) {
        const places = Array.from({ length: columns }, (_, i) => i);
        // Array.prototype.sort is stable: what ties stays in its order, whichever way.
        places.sort((i, j) => sign * compare(x.data[start + i]!, x.data[start + j]!));
        places.forEach((place, i) => {
          sorted[start + i] = result(x.data, start, place);
        });
      }
      return sorted;
    },
    cases,
  };
}

export const sortRows: Rows<SortSignatures> = {
  sort_values: row("sort_values", "float32", (data, start, place) => data[start + place]!),
  sort_indices: row("sort_indices", "int32", (_data, _start, place) => place),
};

/** The axis and the last one swapped. */
function swapped(x: Tensor, axis: number): Tensor {
  const last = x.shape.length - 1;
  if (axis === last) return x;
  const permutation = x.shape.map((_, i) => (i === axis ? last : i === last ? axis : i));
  return transpose(x, permutation);
}

/**
 * x sorted along an axis, and where each value came from. Stable: equal values keep their order, whichever way. NaN counts as
 * larger than any number. Not differentiable: gradients stop here (zero), as at `floor`.
 *
 * @example
 * ```ts
 * const { values, indices } = sort(scores, { descending: true });
 * ```
 */
export function sort(x: TensorLike, options?: SortOptions): Sorted;
export function sort(x: TensorLike, options: SortOptions = {}, ...surplus: unknown[]): Sorted {
  return calledBy(sort, surplus, () => {
    const { axis = -1, descending = false } = checkOptions("sort", options, ["axis", "descending"], ["descending"]);
    const tensor = toTensor("sort", x);
    const along = normalizeAxis("sort", axis, tensor.shape);
    const rows = swapped(tensor, along);
    return {
      values: swapped(makeNode(sortRows.sort_values, [rows], { descending }), along),
      indices: swapped(makeNode(sortRows.sort_indices, [rows], { descending }), along),
    };
  });
}

/**
 * The k largest elements along an axis, the largest first, and where they stood; of those that tie, the first. Not
 * differentiable, as {@link sort}.
 *
 * @param options `descending: false` for the k smallest, the smallest first
 */
export function topK(x: TensorLike, k: number, options?: SortOptions): Sorted;
export function topK(x: TensorLike, k: number, options: SortOptions = {}, ...surplus: unknown[]): Sorted {
  return calledBy(topK, surplus, () => {
    const { axis = -1, descending = true } = checkOptions("topK", options, ["axis", "descending"], ["descending"]);
    const tensor = toTensor("topK", x);
    const along = normalizeAxis("topK", axis, tensor.shape);
    checkWhole("topK", `k, of ${showShape(tensor.shape)} along axis ${along},`, k, 1, tensor.shape[along]!);
    const { values, indices } = sort(tensor, { axis: along, descending });
    const end = tensor.shape.map((dimension, i) => (i === along ? k : dimension));
    const start = end.map(() => 0);
    return { values: slice(values, start, end), indices: slice(indices, start, end) };
  });
}

function topCases(part: keyof Sorted): OpCase[] {
  const sample = (name: string, shape: Shape, k: number, options: SortOptions = {}): OpCase => ({
    name: `${part}, ${name}`,
    inputs: [integers(shape, -9, 9, "float32")],
    build: (x) => topK(x!, k, options)[part],
    gradient: false,
  });
  return [sample("rows", [3, 7], 2), sample("smallest of columns", [5, 4], 3, { axis: 0, descending: false }), sample("all", [4], 4)];
}

export const sortingCases: Readonly<Record<string, readonly OpCase[]>> = { top_k: [...topCases("values"), ...topCases("indices")] };
