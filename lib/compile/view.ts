// Strided views: how a tensor's elements lie in the buffer of another one. Broadcast, transpose and slice are views
// and cost nothing; reshape is one wherever the strides allow.
import { stridesOf } from "../graph/shape.js";
import type { Shape } from "../graph/tensor.js";

/** Element positions of a tensor inside a buffer: `offset + Σ index[d] · strides[d]`. */
export interface View {
  readonly shape: Shape;
  readonly offset: number;
  readonly strides: readonly number[];
}

export function contiguousView(shape: Shape): View {
  return { shape, offset: 0, strides: stridesOf(shape) };
}

export function isContiguous(view: View): boolean {
  let expected = 1;
  for (let d = view.shape.length - 1; d >= 0; d--) {
    if (view.shape[d] !== 1 && view.strides[d] !== expected) return false;
    expected *= view.shape[d]!;
  }
  return true;
}

export function broadcastView(view: View, shape: Shape): View {
  const missing = shape.length - view.shape.length;
  const strides = shape.map((dimension, d) => (d < missing || view.shape[d - missing] !== dimension ? 0 : view.strides[d - missing]!));
  return { shape, offset: view.offset, strides };
}

export function transposeView(view: View, permutation: readonly number[]): View {
  return {
    shape: permutation.map((axis) => view.shape[axis]!),
    offset: view.offset,
    strides: permutation.map((axis) => view.strides[axis]!),
  };
}

export function sliceView(view: View, start: readonly number[], end: readonly number[]): View {
  return {
    shape: start.map((from, d) => end[d]! - from),
    offset: view.offset + start.reduce((sum, from, d) => sum + from * view.strides[d]!, 0),
    strides: view.strides,
  };
}

/** Windows of an image [N, H, W, C] as overlapping views [N, OH, OW, kh, kw, C]. */
export function unfoldView(view: View, shape: Shape, stride: readonly number[], dilation: readonly number[]): View {
  const [n, h, w, c] = view.strides as readonly [number, number, number, number];
  return { shape, offset: view.offset, strides: [n, h * stride[0]!, w * stride[1]!, h * dilation[0]!, w * dilation[1]!, c] };
}

/** A maximal run of dimensions that one stride walks through. */
interface Run {
  size: number;
  stride: number;
}

/** Merges neighbouring dimensions that one stride walks through, and drops dimensions of size 1. */
function runs(view: View): Run[] {
  const merged: Run[] = [];
  view.shape.forEach((size, d) => {
    if (size === 1) return;
    const stride = view.strides[d]!;
    const last = merged.at(-1);
    if (last && last.stride === stride * size) {
      last.size *= size;
      last.stride = stride;
    } else merged.push({ size, stride });
  });
  return merged;
}

/** The same elements, in the same order, under another shape; undefined where that needs a copy. */
export function reshapeView(view: View, shape: Shape): View | undefined {
  const rest = runs(view);
  const strides = new Array<number>(shape.length).fill(0);
  // From the innermost dimension outwards, each new dimension must divide what is left of the current run.
  for (let d = shape.length - 1; d >= 0; d--) {
    const size = shape[d]!;
    if (size === 1) continue;
    const run = rest.at(-1);
    if (!run || run.size % size !== 0) return undefined;
    strides[d] = run.stride;
    run.size /= size;
    run.stride *= size;
    if (run.size === 1) rest.pop();
  }
  return { shape, offset: view.offset, strides };
}

/**
 * Merges the dimensions `[from, to)` of a space as far as every operand's strides allow.
 * Returns the sizes and, per operand, the strides of the merged dimensions.
 */
export function collapse(
  space: Shape,
  operands: readonly (readonly number[])[],
  from: number,
  to: number,
): { sizes: number[]; strides: number[][] } {
  const sizes: number[] = [];
  const strides: number[][] = operands.map(() => []);
  for (let d = from; d < to; d++) {
    const size = space[d]!;
    if (size === 1) continue;
    const mergeable = sizes.length > 0 && operands.every((operand, i) => strides[i]!.at(-1) === operand[d]! * size);
    if (mergeable) {
      sizes[sizes.length - 1]! *= size;
      operands.forEach((operand, i) => {
        strides[i]![sizes.length - 1] = operand[d]!;
      });
    } else {
      sizes.push(size);
      operands.forEach((operand, i) => {
        strides[i]!.push(operand[d]!);
      });
    }
  }
  return { sizes, strides };
}
