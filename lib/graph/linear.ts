import { VaeError } from "../errors.js";
import { checkOptions } from "./arguments.js";
import { toTensor } from "./leaves.js";
import { reshapeTensor, transpose } from "./movement.js";
import { calledBy, checkFloat, makeNode, type OpCase, type Rows, real, type Two } from "./table.js";
import { type Shape, sameShape, showShape, type Tensor, type TensorLike, type TensorType } from "./tensor.js";

/** Which sides enter the product with their last two axes swapped. */
export interface MatmulOptions {
  readonly transposeA?: boolean | undefined;
  readonly transposeB?: boolean | undefined;
}

type Transposes = { readonly transposeA: boolean; readonly transposeB: boolean };

const transposes = ["transposeA", "transposeB"] as const satisfies readonly (keyof MatmulOptions)[];

interface LinearSignatures {
  matmul: { inputs: Two; attributes: Transposes };
}

/** What a product runs over: [batch..., m, k] by [batch..., k, n]. */
interface Extents {
  readonly batch: Shape;
  readonly m: number;
  readonly k: number;
  readonly n: number;
}

function extents(a: TensorType, b: TensorType, { transposeA, transposeB }: Transposes): Extents {
  const sides = `${showShape(a.shape)}${transposeA ? " transposed" : ""} and ${showShape(b.shape)}${transposeB ? " transposed" : ""}`;
  const refuse = (problem: string, hint: string) => new VaeError({ code: "shape", operation: "matmul", problem, hint });
  if (a.shape.length < 2 || b.shape.length < 2) {
    throw refuse(`shapes ${sides} are not both matrices`, "reshape a vector to [1, n] or [n, 1], or multiply and sum");
  }
  const [aRows, aColumns] = a.shape.slice(-2) as [number, number];
  const [bRows, bColumns] = b.shape.slice(-2) as [number, number];
  const [m, k] = transposeA ? [aColumns, aRows] : [aRows, aColumns];
  const [inner, n] = transposeB ? [bColumns, bRows] : [bRows, bColumns];
  if (k !== inner) {
    throw refuse(`inner dimensions of ${sides} are ${k} and ${inner}`, "transposeA or transposeB swaps the last two axes of a side");
  }
  const [aBatch, bBatch] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  if (aBatch.length > 0 && bBatch.length > 0 && !sameShape(aBatch, bBatch)) {
    throw refuse(
      `batch dimensions of ${sides} differ`,
      "batch dimensions are equal, or one side is a plain matrix; broadcast or reshape it first",
    );
  }
  return { batch: aBatch.length > 0 ? aBatch : bBatch, m, k, n };
}

/** All matrices of a batch stacked into one, [batch · rows, columns], each transposed first if asked. */
function stacked(x: Tensor, transposed: boolean): Tensor {
  const rank = x.shape.length;
  const swap = x.shape.map((_, axis) => (axis === rank - 2 ? rank - 1 : axis === rank - 1 ? rank - 2 : axis));
  const upright = transposed ? transpose(x, swap) : x;
  return reshapeTensor(upright, [-1, upright.shape[rank - 1]!]);
}

function matmulCases(): OpCase[] {
  const forms = [false, true].flatMap((transposeA) => [false, true].map((transposeB) => ({ transposeA, transposeB })));
  return forms.flatMap((form) => {
    const { transposeA, transposeB } = form;
    const suffix = `${transposeA ? "t" : "n"}${transposeB ? "t" : "n"}`;
    const left = (m: number, k: number, batch: Shape = []) => real([...batch, ...(transposeA ? [k, m] : [m, k])]);
    const right = (k: number, n: number, batch: Shape = []) => real([...batch, ...(transposeB ? [n, k] : [k, n])]);
    const build = (a: Tensor, b: Tensor) => matmul(a, b, form);
    return [
      { name: `matrix ${suffix}`, inputs: [left(2, 3), right(3, 4)], build },
      { name: `batch ${suffix}`, inputs: [left(2, 3, [2]), right(3, 2, [2])], build },
      { name: `batch by matrix ${suffix}`, inputs: [left(2, 3, [2, 2]), right(3, 2)], build },
      { name: `matrix by batch ${suffix}`, inputs: [left(2, 3), right(3, 2, [3])], build },
      { name: `ragged ${suffix}`, inputs: [left(37, 113), right(113, 71)], build, large: true },
      { name: `dense ${suffix}`, inputs: [left(128, 300), right(300, 401)], build, large: true },
    ];
  });
}

export const linearRows: Rows<LinearSignatures> = {
  matmul: {
    name: "matmul",
    family: "linear",
    type([a, b], attributes) {
      checkFloat("matmul", [a, b]);
      const { batch, m, n } = extents(a, b, attributes);
      return { shape: [...batch, m, n], dtype: "float32" };
    },
    // C = A B: dA = dC Bᵀ and dB = Aᵀ dC; a side that enters transposed gets the transpose of that. A plain matrix
    // that meets a whole batch gets the sum over the batch, as ONE product of stacked matrices.
    derivative({ inputs: [a, b], gradient, attributes: { transposeA, transposeB } }) {
      const shared = a.shape.length !== b.shape.length;
      const sharedA = shared && a.shape.length === 2;
      const sharedB = shared && b.shape.length === 2;
      // Stacked over the batch: g is [batch · n, m] for A, or [batch · m, n] for B, and the other side its partner.
      const productA = (): [left: Tensor, right: Tensor, form: Transposes] =>
        sharedA
          ? [stacked(gradient, true), stacked(b, !transposeB), { transposeA: true, transposeB: false }]
          : [gradient, b, { transposeA: false, transposeB: !transposeB }];
      const productB = (): [left: Tensor, right: Tensor, form: Transposes] =>
        sharedB
          ? [stacked(a, transposeA), stacked(gradient, false), { transposeA: true, transposeB: false }]
          : [a, gradient, { transposeA: !transposeA, transposeB: false }];
      return [oriented(productA(), transposeA), oriented(productB(), transposeB)];
    },
    evaluate([a, b], attributes) {
      const { batch, m, k, n } = extents(a, b, attributes);
      const matrices = batch.reduce((product, dimension) => product * dimension, 1);
      const [aRow, aColumn] = attributes.transposeA ? [1, m] : [k, 1];
      const [bRow, bColumn] = attributes.transposeB ? [1, k] : [n, 1];
      const aMatrix = a.shape.length === 2 ? 0 : m * k;
      const bMatrix = b.shape.length === 2 ? 0 : k * n;
      const result = new Float64Array(matrices * m * n);
      for (let matrix = 0; matrix < matrices; matrix++) {
        for (let i = 0; i < m; i++) {
          for (let j = 0; j < n; j++) {
            let total = 0;
            for (let p = 0; p < k; p++) {
              total += a.data[matrix * aMatrix + i * aRow + p * aColumn]! * b.data[matrix * bMatrix + p * bRow + j * bColumn]!;
            }
            result[(matrix * m + i) * n + j] = total;
          }
        }
      }
      return result;
    },
    cases: matmulCases(),
  },
};

/** The product, or its transpose: (L R)ᵀ = Rᵀ Lᵀ, so that no transpose has to be made. */
function oriented([left, right, form]: [left: Tensor, right: Tensor, form: Transposes], transposed: boolean): Tensor {
  if (!transposed) return matmul(left, right, form);
  return matmul(right, left, { transposeA: !form.transposeB, transposeB: !form.transposeA });
}

/**
 * The matrix product over the last two axes: `[..., m, k]` by `[..., k, n]` is `[..., m, n]`. Batch dimensions are equal,
 * or one side is a plain matrix that meets every matrix of the other side.
 *
 * @example
 * ```ts
 * const hidden = relu(add(matmul(x, weight), bias)); // [128, 784] by [784, 400]
 * const scores = matmul(query, key, { transposeB: true });
 * ```
 */
export function matmul(a: TensorLike, b: TensorLike, options?: MatmulOptions): Tensor;
export function matmul(a: TensorLike, b: TensorLike, options: MatmulOptions = {}, ...surplus: unknown[]): Tensor {
  return calledBy(matmul, surplus, () => {
    const { transposeA = false, transposeB = false } = checkOptions("matmul", options, transposes, transposes);
    return makeNode(linearRows.matmul, [toTensor("matmul", a), toTensor("matmul", b)], { transposeA, transposeB });
  });
}
