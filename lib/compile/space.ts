// The iteration space of a kernel call: four outer dimensions, rows, columns, and how tensors lie in it.
import { greatest, least } from "../graph/extremes.js";
import { stridesOf } from "../graph/shape.js";
import { type Shape, sizeOf, type Tensor } from "../graph/tensor.js";
import { viewOf } from "./prepare.js";
import { collapse, reshapeView } from "./view.js";

/** Elements in the kept outer dimensions, and in the rows, of a cluster's space; columns are the rest. */
export interface Split {
  readonly outer: number;
  readonly rows: number;
}

/** Merged sizes and strides in native form: four outer dimensions, rows, columns; undefined when they do not fit. */
export function layOut(space: Shape, split: Split | undefined, strides: readonly (readonly number[])[]) {
  const boundary = (count: number) => {
    let product = 1;
    let d = 0;
    while (product < count && d < space.length) product *= space[d++]!;
    return product === count ? d : undefined;
  };
  let groups: [number, number][];
  if (split) {
    const rows = boundary(split.outer);
    const columns = boundary(split.outer * split.rows);
    if (rows === undefined || columns === undefined) return undefined;
    groups = [
      [0, rows],
      [rows, columns],
      [columns, space.length],
    ];
  } else groups = [[0, space.length]];
  const merged = groups.map(([from, to]) => collapse(space, strides, from, to));
  if (split && (merged[1]!.sizes.length > 1 || merged[2]!.sizes.length > 1)) return undefined;
  let [outer, rows, columns] = merged;
  if (!split) {
    const all = merged[0]!;
    const part = (from: number, to?: number) => ({ sizes: all.sizes.slice(from, to), strides: all.strides.map((s) => s.slice(from, to)) });
    const n = all.sizes.length;
    outer = part(0, Math.max(0, n - 2));
    rows = part(Math.max(0, n - 2), Math.max(0, n - 1));
    columns = part(Math.max(0, n - 1));
  }
  if (outer!.sizes.length > 4) return undefined;
  const pad = (values: readonly number[], length: number, filler: number) => [
    ...new Array<number>(length - values.length).fill(filler),
    ...values,
  ];
  return {
    space: [...pad(outer!.sizes, 4, 1), ...pad(rows!.sizes, 1, 1), ...pad(columns!.sizes, 1, 1)],
    strides: strides.map((_, i) => [...pad(outer!.strides[i]!, 4, 0), ...pad(rows!.strides[i]!, 1, 0), ...pad(columns!.strides[i]!, 1, 0)]),
  };
}

/** The different strides that a cluster's operands have over its space. */
export class StrideSet {
  readonly #known = new Map<string, readonly number[]>();

  constructor(strides: readonly (readonly number[])[]) {
    this.add(strides);
  }

  get values(): readonly (readonly number[])[] {
    return [...this.#known.values()];
  }

  add(strides: readonly (readonly number[])[]): void {
    for (const made of strides) this.#known.set(made.join(), made);
  }

  /** Whether the space can still be laid out with these as well. */
  fits(space: Shape, split: Split | undefined, added: readonly (readonly number[])[]): boolean {
    const fresh = added.filter((strides) => !this.#known.has(strides.join()));
    return fresh.length === 0 || layOut(space, split, [...this.values, ...fresh]) !== undefined;
  }
}

/** Rows and columns of a product's result: the last dimension is columns; only a matrix product keeps a batch apart. */
export function productSplit(node: Tensor): Split {
  const rows = node.op === "matmul" ? node.shape.at(-2)! : sizeOf(node.shape.slice(0, -1));
  return { outer: node.op === "matmul" ? sizeOf(node.shape.slice(0, -2)) : 1, rows };
}

/** How a reduction over neighbouring axes sees its input. `axes` says which part is reduced. */
export function reductionSplit(node: Tensor): { split: Split; axes: "rows" | "columns" | "both" } {
  const shape = node.inputs[0]!.shape;
  const axes = node.attributes.axes as readonly number[];
  const from = least(axes);
  const to = greatest(axes) + 1;
  const count = (a: number, b: number) => sizeOf(shape.slice(a, b));
  // A full reduction takes any split; all but the last dimension is what bias and per-channel sums beside it will ask for.
  if (count(0, from) === 1 && count(to, shape.length) === 1) return { split: { outer: 1, rows: count(0, shape.length - 1) }, axes: "both" };
  if (count(to, shape.length) === 1) return { split: { outer: 1, rows: count(0, from) }, axes: "columns" };
  return { split: { outer: count(0, from), rows: count(from, to) }, axes: "rows" };
}

/** Strides over `space` of a reduction's (contiguous) result: zero along what is reduced. */
export function reductionStrides(space: Shape, split: Split, axes: "rows" | "columns" | "both"): number[] {
  let product = 1;
  const kept = space.map((size) => {
    const group = product < split.outer ? "outer" : product < split.outer * split.rows ? "rows" : "columns";
    product *= size;
    return size !== 1 && (group === "outer" || (axes !== "both" && group !== axes));
  });
  const strides = stridesOf(space.map((size, d) => (kept[d] ? size : 1)));
  return strides.map((stride, d) => (kept[d] ? stride : 0));
}

/** Strides of a tensor's view over a cluster's space; undefined when that needs a copy. */
export function stridesOver(node: Tensor, space: Shape): readonly number[] | undefined {
  return reshapeView(viewOf(node), space)?.strides;
}
