// Small symmetric matrices by their triangular factor. Every function works on [..., n, n], a batch at a time.
import { VaeError } from "../errors.js";
import { checkOptions } from "./arguments.js";
import { add, multiply } from "./binary.js";
import { constantTensor, toTensor } from "./leaves.js";
import { matmul } from "./linear.js";
import { transpose } from "./movement.js";
import { sum } from "./reduce.js";
import { calledBy, checkFloat, makeNode, type One, type OpCase, type Rows, real, type Two } from "./table.js";
import { type Shape, sameShape, showShape, type Tensor, type TensorLike, tableOf } from "./tensor.js";
import { log, negate } from "./unary.js";

type SolveAttributes = { readonly transpose: boolean };

interface TriangularSignatures {
  /** Input: a [..., n, n], of which only the lower triangle is read. */
  cholesky: { inputs: One; attributes: Readonly<Record<string, never>> };
  /** Inputs: l [..., n, n], of which only the lower triangle is read, and b [..., n, m]. */
  triangular_solve: { inputs: Two; attributes: SolveAttributes };
}

function checkSquare(operation: string, a: Tensor): void {
  const [rows, columns] = a.shape.slice(-2);
  if (a.shape.length >= 2 && rows === columns) return;
  const hint = a.shape.length >= 2 ? `slice to ${Math.min(rows!, columns!)} rows and columns` : "reshape to a matrix first";
  throw new VaeError({ code: "shape", operation, expected: "square matrices [..., n, n]", received: showShape(a.shape), hint });
}

/** A matrix of 1 below the diagonal, a value on it and 0 above. */
function lowerMask(n: number, diagonal: number): Tensor {
  const data = tableOf("cholesky", `the mask of a gradient, ${n} × ${n}`, n * n, (flat) => {
    const [i, j] = [Math.floor(flat / n), flat % n];
    return i > j ? 1 : i === j ? diagonal : 0;
  });
  return constantTensor({ data, shape: [n, n] });
}

/** The lower triangle of a square matrix, its diagonal halved: Φ of Murray (2016). */
function lowerHalf(a: Tensor): Tensor {
  return multiply(a, lowerMask(a.shape.at(-1)!, 0.5));
}

function lowerTriangle(a: Tensor): Tensor {
  return multiply(a, lowerMask(a.shape.at(-1)!, 1));
}

/** The last two axes swapped. */
function transposed(a: Tensor): Tensor {
  const last = a.shape.length - 1;
  return transpose(
    a,
    a.shape.map((_, axis) => (axis === last ? last - 1 : axis === last - 1 ? last : axis)),
  );
}

/** Calls `visit` with where each matrix of a batch begins. */
function forEachMatrix(shape: Shape, visit: (matrix: number) => void): void {
  const count = shape.slice(0, -2).reduce((product, dimension) => product * dimension, 1);
  for (let matrix = 0; matrix < count; matrix++) visit(matrix);
}

/** A symmetric, positive definite matrix of any square one. */
function definite(x: Tensor): Tensor {
  return add(matmul(x, x, { transposeB: true }), identity(x.shape.at(-1)!));
}

function identity(n: number): Tensor {
  return constantTensor({ data: Array.from({ length: n * n }, (_, flat) => (flat % (n + 1) === 0 ? 1 : 0)), shape: [n, n] });
}

/** A matrix whose lower triangle is well-conditioned and whose upper one is noise that must not matter. */
function dominant(x: Tensor): Tensor {
  return add(multiply(x, 0.2), multiply(identity(x.shape.at(-1)!), 2));
}

const choleskyCase = (name: string, shape: Shape, large = false): OpCase => ({
  name,
  inputs: [real(shape)],
  build: (x) => cholesky(definite(x!)),
  large,
});

function solveCases(): OpCase[] {
  return [false, true].flatMap((transposeL) => {
    const sample = (name: string, batch: Shape, n: number, m: number, large = false): OpCase => ({
      name: transposeL ? `${name}, transposed` : name,
      inputs: [real([...batch, n, n], large ? -0.2 : -2, large ? 0.2 : 2), real([...batch, n, m])],
      build: (l, b) => triangularSolve(dominant(l!), b!, { transpose: transposeL }),
      large,
    });
    return [
      sample("matrix", [], 3, 2),
      sample("one number", [], 1, 1),
      sample("vector", [], 4, 1),
      sample("batch", [2, 2], 2, 3),
      sample("large", [5], 37, 11, true),
    ];
  });
}

export const triangularRows: Rows<TriangularSignatures> = {
  cholesky: {
    name: "cholesky",
    family: "factorization",
    type([a]) {
      checkFloat("cholesky", [a]);
      checkSquare("cholesky", a);
      return a;
    },
    // Murray (2016), "Differentiation of the Cholesky decomposition": the gradient of A's lower triangle is Φ(S + Sᵀ), where
    // S = L⁻ᵀ Φ(Lᵀ L̄) L⁻¹. Both inverses are triangular solves by Lᵀ, the right one of the transposed matrix.
    derivative({ output: l, gradient }) {
      const p = lowerHalf(matmul(l, lowerTriangle(gradient), { transposeA: true }));
      const left = triangularSolve(l, p, { transpose: true });
      const s = transposed(triangularSolve(l, transposed(left), { transpose: true }));
      return [lowerHalf(add(s, transposed(s)))];
    },
    evaluate([a], _attributes, { shape }) {
      const n = shape.at(-1)!;
      const l = new Float64Array(a.data.length);
      forEachMatrix(shape, (matrix) => {
        const start = matrix * n * n;
        for (let i = 0; i < n; i++) {
          for (let j = 0; j <= i; j++) {
            let rest = a.data[start + i * n + j]!;
            for (let k = 0; k < j; k++) rest -= l[start + i * n + k]! * l[start + j * n + k]!;
            l[start + i * n + j] = i === j ? Math.sqrt(rest) : rest / l[start + j * n + j]!;
          }
        }
      });
      return l;
    },
    cases: [
      choleskyCase("matrix", [3, 3]),
      choleskyCase("one number", [1, 1]),
      choleskyCase("batch", [3, 2, 2]),
      choleskyCase("batches", [2, 1, 4, 4]),
      { name: "lower triangle alone", inputs: [real([4, 4])], build: (x) => cholesky(dominant(x!)) },
      choleskyCase("large", [5, 31, 31], true),
    ],
  },
  triangular_solve: {
    name: "triangular_solve",
    family: "factorization",
    type([l, b]) {
      checkFloat("triangularSolve", [l, b]);
      checkSquare("triangularSolve", l);
      const fits = b.shape.length === l.shape.length && sameShape(b.shape.slice(0, -1), l.shape.slice(0, -1));
      if (!fits) {
        throw new VaeError({
          code: "shape",
          operation: "triangularSolve",
          expected: `right-hand sides [${[...l.shape.slice(0, -1), "m"].join(", ")}] for ${showShape(l.shape)}`,
          received: showShape(b.shape),
          hint: "reshape a vector to [n, 1]; broadcastTo gives both sides the same batch",
        });
      }
      return b;
    },
    // L X = B: B̄ = L⁻ᵀ X̄ and L̄ = −B̄ Xᵀ; Lᵀ X = B: B̄ = L⁻¹ X̄ and L̄ = −X B̄ᵀ. Of L̄ the lower triangle counts.
    derivative({ inputs: [l], output: x, gradient, attributes }) {
      const right = triangularSolve(l, gradient, { transpose: !attributes.transpose });
      const product = attributes.transpose ? matmul(x, right, { transposeB: true }) : matmul(right, x, { transposeB: true });
      return [negate(lowerTriangle(product)), right];
    },
    evaluate([l, b], attributes, { shape }) {
      const [n, m] = shape.slice(-2) as [number, number];
      const x = b.data.slice();
      // Row i takes what the rows before it have found; transposed, l is an upper triangle and the last row comes first.
      const order = Array.from({ length: n }, (_, i) => (attributes.transpose ? n - 1 - i : i));
      forEachMatrix(shape, (matrix) => {
        const entry = (i: number, j: number) => l.data[matrix * n * n + (attributes.transpose ? j * n + i : i * n + j)]!;
        order.forEach((i, found) => {
          for (let column = 0; column < m; column++) {
            const at = (row: number) => (matrix * n + row) * m + column;
            let rest = x[at(i)]!;
            for (const j of order.slice(0, found)) rest -= entry(i, j) * x[at(j)]!;
            x[at(i)] = rest / entry(i, i);
          }
        });
      });
      return x;
    },
    cases: solveCases(),
  },
};

/**
 * The lower triangular L with L Lᵀ = a, for symmetric positive definite a [..., n, n]. Only the lower triangle of `a` is read,
 * and the gradient lies there alone. A matrix that is not positive definite gives NaN.
 */
export function cholesky(a: TensorLike): Tensor;
export function cholesky(a: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(cholesky, surplus, () => makeNode(triangularRows.cholesky, [toTensor("cholesky", a)], {}));
}

/**
 * The X with L X = b, or Lᵀ X = b when transposed, for lower triangular l [..., n, n] and b [..., n, m] of the same batch. Only the
 * lower triangle of l is read. A zero on its diagonal gives infinities.
 *
 * @example
 * ```ts
 * const l = cholesky(a);
 * const x = triangularSolve(l, triangularSolve(l, b), { transpose: true }); // a x = b
 * ```
 */
export function triangularSolve(l: TensorLike, b: TensorLike, options?: { readonly transpose?: boolean | undefined }): Tensor;
export function triangularSolve(
  l: TensorLike,
  b: TensorLike,
  options: { readonly transpose?: boolean | undefined } = {},
  ...surplus: unknown[]
): Tensor {
  return calledBy(triangularSolve, surplus, () => {
    const { transpose = false } = checkOptions("triangularSolve", options, ["transpose"], ["transpose"]);
    return makeNode(triangularRows.triangular_solve, [toTensor("triangularSolve", l), toTensor("triangularSolve", b)], { transpose });
  });
}

/** log det a of symmetric positive definite a [..., n, n], as twice the sum of the logarithms of the diagonal of its {@link cholesky}: [...]. */
export function logDeterminant(a: TensorLike): Tensor;
export function logDeterminant(a: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(logDeterminant, surplus, () => {
    const matrix = toTensor("logDeterminant", a);
    checkFloat("logDeterminant", [matrix]);
    checkSquare("logDeterminant", matrix);
    const l = cholesky(matrix);
    const diagonal = sum(multiply(l, identity(l.shape.at(-1)!)), { axes: -1 });
    return multiply(sum(log(diagonal), { axes: -1 }), 2);
  });
}

export const triangularCases: Readonly<Record<string, readonly OpCase[]>> = {
  log_determinant: [
    { name: "matrix", inputs: [real([3, 3])], build: (x) => logDeterminant(definite(x!)) },
    { name: "batch", inputs: [real([2, 2, 2])], build: (x) => logDeterminant(definite(x!)) },
    { name: "one number", inputs: [real([1, 1])], build: (x) => logDeterminant(definite(x!)) },
    { name: "large", inputs: [real([4, 23, 23])], build: (x) => logDeterminant(definite(x!)), large: true },
  ],
};
