// Softmax and cross-entropy at the edges, running sums, orders, and triangular factors: identities and errors.
import { describe, expect, test } from "vitest";
import { VaeError } from "../../lib/errors.js";
import * as graph from "../../lib/graph/index.js";
import {
  constantTensor,
  evaluate,
  grad,
  input,
  logSoftmax,
  matmul,
  multiply,
  softmax,
  softmaxCrossEntropy,
  sum,
  type Tensor,
} from "../../lib/graph/index.js";
import { checkDerivatives, type Values, weights } from "../support/gradients.js";

const slope = (output: Tensor, x: Tensor, data: number[]) => [...evaluate(grad(sum(output), [x]), new Map([[x, data]]))[0]!];

describe("softmax", () => {
  const x = input("x", [2, 3]);

  test("rows of minus infinity leave no NaN in values, first and second derivatives", () => {
    const data = [-Infinity, -Infinity, -Infinity, -Infinity, 0, 0];
    for (const operation of [softmax, logSoftmax]) {
      const picked = graph.slice(operation(x), [0, 1], [2, 3]);
      const finite = operation === softmax ? picked : graph.slice(picked, [1, 0], [2, 2]);
      const [first] = grad(sum(multiply(finite, constantTensor({ data: [1, 2], shape: [2] }))), [x]);
      const [second] = grad(sum(multiply(first!, first!)), [x]);
      const values = evaluate([first!, second!], new Map([[x, data]]));
      for (const value of values) expect([...value].every(Number.isFinite)).toBe(true);
      expect([...values[0]!].slice(0, 4).every((g) => g === 0)).toBe(true);
      expect(values[0]![5]).not.toBe(0);
    }
  });

  test("the gradient of cross-entropy is softmax less the target, exact where probabilities underflow", () => {
    const labels = input("labels", [2], "int32");
    const [gradient] = grad(sum(softmaxCrossEntropy(x, labels)), [x]);
    const feeds = new Map([
      [x, [0, 0, 2000, -1000, 1000, 1000]],
      [labels, [0, 1]],
    ]);
    expect([...evaluate([gradient!], feeds)[0]!]).toEqual([-1, 0, 1, 0, -0.5, 0.5]);
  });

  test("unknown classes cost nothing and teach nothing", () => {
    const labels = input("labels", [2], "int32");
    const loss = softmaxCrossEntropy(x, labels);
    const feeds = new Map<Tensor, number[]>([
      [x, [1, 2, 3, 1, 2, 3]],
      [labels, [-1, 3]],
    ]);
    const [value, gradient] = evaluate([loss, grad(sum(loss), [x])[0]!], feeds);
    expect([...value!].map(Math.abs)).toEqual([0, 0]);
    expect([...gradient!].map(Math.abs)).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test("a class of one hot probabilities costs what its index costs, and derivatives reach the probabilities", () => {
    const target = input("target", [2, 3]);
    const labels = input("labels", [2], "int32");
    const data: Values = new Map([
      [x, weights(6, 1)],
      [target, weights(6, 2).map((value) => (value + 1) / 2)],
    ]);
    const both = [softmaxCrossEntropy(x, graph.oneHot(labels, 3)), softmaxCrossEntropy(x, labels)];
    const [soft, hard] = evaluate(both, new Map<Tensor, ArrayLike<number>>([...data, [labels, [2, 0]]]));
    expect([...soft!]).toEqual([...hard!]);
    const { first, second } = checkDerivatives(softmaxCrossEntropy(x, target), [x, target], data, false);
    expect(first).toBeLessThan(1e-8);
    expect(second).toBeLessThan(1e-7);
    // Where the target is 0, the slope by it is still the cost of its class.
    const cost = slope(
      softmaxCrossEntropy(graph.stopGradient(constantTensor({ data: [0, 0, 0, 0, 0, 0], shape: [2, 3] })), target),
      target,
      Array(6).fill(0),
    );
    for (const value of cost) expect(value).toBeCloseTo(Math.log(3), 14);
  });
});

test("sort is stable, and takes no gradient", () => {
  const x = input("x", [4]);
  const { values, indices } = graph.sort(x, { descending: true });
  const [sorted, places] = evaluate([values, indices], new Map([[x, [1, 2, 1, 2]]]));
  expect([...sorted!]).toEqual([2, 2, 1, 1]);
  expect([...places!]).toEqual([1, 3, 0, 2]);
  expect(slope(values, x, [1, 2, 1, 2])).toEqual([0, 0, 0, 0]);
  expect(indices.dtype).toBe("int32");
  expect(graph.topK(input("m", [5, 7]), 3, { axis: 0 }).indices.shape).toEqual([3, 7]);
});

test("gathering by the sorted indices carries the gradient that sort does not", () => {
  const x = input("x", [3]);
  const { indices } = graph.sort(x);
  const weighted = multiply(graph.gather(x, indices), constantTensor({ data: [1, 10, 100], shape: [3] }));
  expect(slope(weighted, x, [5, -1, 2])).toEqual([100, 1, 10]);
});

describe("triangular factors", () => {
  const factor = constantTensor({ data: [2, 0, 0, -1, 3, 0, 0.5, 1, 0.25], shape: [3, 3] });
  const matrix = matmul(factor, factor, { transposeB: true });

  test("the factor comes back, and solves", () => {
    const b = constantTensor({ data: [...weights(6, 4)], shape: [3, 2] });
    const l = graph.cholesky(matrix);
    const x = graph.triangularSolve(l, graph.triangularSolve(l, b), { transpose: true });
    const [found, product, wanted, logarithm] = evaluate([l, matmul(matrix, x), b, graph.logDeterminant(matrix)]);
    (factor.attributes.data as number[]).forEach((value, i) => {
      expect(found![i]).toBeCloseTo(value, 12);
    });
    product!.forEach((value, i) => {
      expect(value).toBeCloseTo(wanted![i]!, 10);
    });
    expect(logarithm![0]).toBeCloseTo(2 * Math.log(2 * 3 * 0.25), 12);
  });

  test("the derivative of log det A along a symmetric direction is that of A⁻¹", () => {
    const a = input("a", [3, 3]);
    const [data] = evaluate([matrix]);
    const [gradient] = evaluate(grad(graph.logDeterminant(a), [a]), new Map([[a, data!]]));
    const identity = constantTensor({ data: [1, 0, 0, 0, 1, 0, 0, 0, 1], shape: [3, 3] });
    const l = graph.cholesky(matrix);
    const [inverse] = evaluate([graph.triangularSolve(l, graph.triangularSolve(l, identity), { transpose: true })]);
    for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 3; j++) {
        const both = gradient![i * 3 + j]! + gradient![j * 3 + i]!;
        expect(both).toBeCloseTo(2 * inverse![i * 3 + j]!, 9);
        if (j > i) expect(Math.abs(gradient![i * 3 + j]!)).toBe(0);
      }
    }
  });
});

describe("errors", () => {
  const [x, labels] = [input("x", [4, 3]), input("labels", [4], "int32")];
  test.each<[string, () => unknown, RegExp]>([
    ["an axis", () => softmax(x, { axis: 2 }), /^softmax: expected an axis from -2 to 1 of \[4, 3\]; received 2/],
    ["softmax of whole numbers", () => softmax(labels), /^softmax: expected float32/],
    [
      "classes of another shape",
      () => softmaxCrossEntropy(x, input("y", [3], "int32")),
      /^crossEntropy: expected logits .* int32 \[4\], .* float32 \[4, 3\]; received .* int32 \[3\]/,
    ],
    [
      "probabilities of another shape",
      () => softmaxCrossEntropy(x, input("y", [4])),
      /^crossEntropy: .*received logits \[4, 3\] and target float32 \[4\]/,
    ],
    ["logits without classes", () => softmaxCrossEntropy(1, input("y", [], "int32")), /^crossEntropy: /],
    ["one hot of floats", () => graph.oneHot(x, 3), /^oneHot: expected int32 indices; received float32 \[4, 3\]/],
    ["no depth", () => graph.oneHot(labels, 0), /^oneHot: expected depth to be a whole number/],
    ["a table of vectors", () => graph.embedding(input("t", [5]), labels), /^embedding: expected a table \[count, width\]; received \[5\]/],
    ["embedding by floats", () => graph.embedding(x, x), /^embedding: expected int32 indices/],
    ["a sum along no axis", () => graph.cumulativeSum(x, 2), /^cumulativeSum: expected an axis/],
    ["a sort of nothing", () => graph.sort(1), /^sort: expected no axis/],
    ["more than all", () => graph.topK(x, 4), /^topK: expected k, of \[4, 3\] along axis 1, to be a whole number from 1 to 3; received 4/],
    ["a factor of no square", () => graph.cholesky(x), /^cholesky: expected square matrices \[..., n, n\]; received \[4, 3\]/],
    ["a determinant of no square", () => graph.logDeterminant(x), /^logDeterminant: expected square/],
    [
      "sides that do not fit",
      () => graph.triangularSolve(input("l", [2, 3, 3]), input("b", [3, 1])),
      /^triangularSolve: expected right-hand sides \[2, 3, m\] for \[2, 3, 3\]; received \[3, 1\]/,
    ],
  ])("%s", (_name, body, message) => {
    expect(body).toThrow(VaeError);
    expect(body).toThrow(message);
  });
});
