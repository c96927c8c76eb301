// The reference evaluation against numbers worked out by hand or by another route: it is what all else is judged by.
import { expect, test } from "vitest";
import * as graph from "../../lib/graph/index.js";
import { constantTensor, evaluate, type Tensor } from "../../lib/graph/index.js";

const matrix = constantTensor({ data: [1, 2, 3, 4, 5, 6], shape: [2, 3] });
const vector = (...data: number[]) => constantTensor({ data, shape: [data.length] });
const indices = graph.shuffledIndices({ rows: 2, batch: 3, shuffle: false, stream: 0 }); // 0 1 0
const images = graph.reshapeTensor(matrix, [1, 2, 3, 1]); // 1 2 3 / 4 5 6
const column = constantTensor({ data: [0, 3], shape: [1, 2, 1, 1] });
const unsorted = vector(3, 1, Infinity, Number.NaN, -Infinity, 1);
const definite = constantTensor({ data: [4, 99, 2, 10], shape: [2, 2] }); // [[4, 2], [2, 10]]: the upper triangle is not read

const expected: readonly (readonly [name: string, tensor: Tensor, values: readonly number[]])[] = [
  ["negate", graph.negate(vector(1, -2)), [-1, 2]],
  ["absolute", graph.absolute(vector(1, -2)), [1, 2]],
  ["sign", graph.sign(vector(3, -2, 0)), [1, -1, 0]],
  ["reciprocal", graph.reciprocal(vector(4, -0.5)), [0.25, -2]],
  ["square", graph.square(vector(3, -2)), [9, 4]],
  ["sqrt", graph.sqrt(vector(9, 0)), [3, 0]],
  ["exp", graph.exp(vector(0, 1, -1)), [1, Math.E, 0.36787944117144233]],
  ["expm1", graph.expm1(vector(0, 1e-10)), [0, 1.00000000005e-10]],
  ["log", graph.log(vector(1, 2, 10)), [0, Math.LN2, Math.LN10]],
  ["log1p", graph.log1p(vector(0, 1e-10)), [0, 9.9999999995e-11]],
  ["tanh", graph.tanh(vector(0, 1, -50)), [0, 0.7615941559557649, -1]],
  ["sigmoid", graph.sigmoid(vector(0, 1, -1000, 1000)), [0.5, 0.7310585786300049, 0, 1]],
  ["softplus", graph.softplus(vector(0, 1, -1000, 1000)), [Math.LN2, 1.3132616875182228, 0, 1000]],
  ["relu", graph.relu(vector(2, -2, 0)), [2, 0, 0]],
  ["floor", graph.floor(vector(1.5, -1.5)), [1, -2]],
  ["sin", graph.sin(vector(0, 1)), [0, 0.8414709848078965]],
  ["cos", graph.cos(vector(0, 1)), [1, 0.5403023058681398]],
  ["isFinite", graph.isFinite(vector(1, Infinity, -Infinity, Number.NaN)), [1, 0, 0, 0]],
  ["add", graph.add(matrix, vector(10, 20, 30)), [11, 22, 33, 14, 25, 36]],
  ["subtract", graph.subtract(1, vector(3, -2)), [-2, 3]],
  ["multiply", graph.multiply(constantTensor({ data: [1, 2], shape: [2, 1] }), vector(3, 4)), [3, 4, 6, 8]],
  ["divide", graph.divide(vector(3, -2), 4), [0.75, -0.5]],
  ["maximum", graph.maximum(vector(1, 5), vector(3, 2)), [3, 5]],
  ["minimum", graph.minimum(vector(1, 5), vector(3, 2)), [1, 2]],
  ["less", graph.less(vector(1, 2, 3), 2), [1, 0, 0]],
  ["less_equal", graph.lessEqual(vector(1, 2, 3), 2), [1, 1, 0]],
  ["equal", graph.equal(vector(1, 2, 3), 2), [0, 1, 0]],
  ["greater", graph.greater(vector(1, 2, 3), 2), [0, 0, 1]],
  ["greater_equal", graph.greaterEqual(vector(1, 2, 3), 2), [0, 1, 1]],
  ["not_equal", graph.notEqual(vector(1, 2, 3), 2), [1, 0, 1]],
  ["where", graph.where(vector(0, 1, -2), vector(1, 2, 3), vector(4, 5, 6)), [4, 2, 3]],
  ["clamp", graph.clamp(vector(-5, 0.5, 5), -1, 1), [-1, 0.5, 1]],
  ["power, cubed", graph.power(vector(-2, 3), 3), [-8, 27]],
  ["power, negative", graph.power(vector(-2, 4), -2), [0.25, 1 / 16]],
  ["power, of a number", graph.power(0.5, vector(1, 2, 0)), [0.5, 0.25, 1]],
  ["power, 13th", graph.power(vector(2), 13), [8192]],
  ["sum", graph.sum(matrix), [21]],
  ["sum of rows", graph.sum(matrix, { axes: 0 }), [5, 7, 9]],
  ["sum of columns", graph.sum(matrix, { axes: 1 }), [6, 15]],
  ["max", graph.max(matrix, { axes: 0 }), [4, 5, 6]],
  ["max of negatives", graph.max(vector(-3, -1)), [-1]],
  ["mean", graph.mean(matrix, { axes: 1 }), [2, 5]],
  ["logsumexp", graph.logsumexp(vector(1000, 1000 + Math.log(3))), [1000 + Math.log(4)]],
  ["logsumexp of nothing", graph.logsumexp(vector(-Infinity, -Infinity)), [-Infinity]],
  ["logsumexp of infinity", graph.logsumexp(vector(Infinity, 1)), [Infinity]],
  ["broadcast_to", graph.broadcastTo(constantTensor({ data: [1, 2], shape: [2, 1] }), [2, 2, 2]), [1, 1, 2, 2, 1, 1, 2, 2]],
  ["reshape", graph.reshapeTensor(matrix, [3, 2]), [1, 2, 3, 4, 5, 6]],
  ["transpose", graph.transpose(matrix), [1, 4, 2, 5, 3, 6]],
  // [2, 1, 3] with axes 2, 0, 1 becomes [3, 2, 1].
  ["transpose by permutation", graph.transpose(graph.reshapeTensor(matrix, [2, 1, 3]), [2, 0, 1]), [1, 4, 2, 5, 3, 6]],
  ["slice", graph.slice(matrix, [0, 1], [2, 3]), [2, 3, 5, 6]],
  ["concatenate", graph.concatenate([matrix, constantTensor({ data: [7, 8], shape: [2, 1] })], 1), [1, 2, 3, 7, 4, 5, 6, 8]],
  ["concatenate rows", graph.concatenate([vector(1), vector(2, 3)], 0), [1, 2, 3]],
  [
    "pad",
    graph.pad(
      graph.slice(matrix, [0, 0], [1, 2]),
      [
        [1, 0],
        [0, 1],
      ],
      9,
    ),
    [9, 9, 9, 1, 2, 9],
  ],
  ["gather", graph.gather(matrix, indices), [1, 2, 3, 4, 5, 6, 1, 2, 3]],
  ["scatter_add", graph.scatterAdd(indices, vector(1, 10, 100), 3), [101, 10, 0]],
  ["conv2d", graph.convolve2d(images, graph.reshapeTensor(vector(1, 10), [1, 2, 1, 1])), [21, 32, 3, 54, 65, 6]],
  [
    "conv2d_input_gradient",
    graph.conv2dInputGradient(images, graph.reshapeTensor(vector(1, 10), [1, 2, 1, 1]), { inputSize: [2, 4], padding: "valid" }),
    [1, 12, 23, 30, 4, 45, 56, 60],
  ],
  [
    "conv2d_weight_gradient",
    graph.conv2dWeightGradient(images, graph.reshapeTensor(vector(1, 10), [1, 1, 2, 1]), { kernelSize: [2, 2], padding: "valid" }),
    [21, 32, 54, 65],
  ],
  ["unfold", graph.unfold(images, { kernelSize: [1, 2] }), [1, 2, 2, 3, 4, 5, 5, 6]],
  ["fold", graph.fold(graph.unfold(images, { kernelSize: [1, 2] }), { inputSize: [2, 3] }), [1, 4, 3, 4, 10, 6]],
  ["cumulative_sum", graph.cumulativeSum(matrix, 1), [1, 3, 6, 4, 9, 15]],
  ["cumulative_sum, exclusive", graph.cumulativeSum(matrix, 0, { exclusive: true }), [0, 0, 0, 1, 2, 3]],
  ["cumulative_sum, both", graph.cumulativeSum(vector(1, 2, 3), -1, { reverse: true, exclusive: true }), [5, 3, 0]],
  ["sort_values", graph.sort(unsorted).values, [-Infinity, 1, 1, 3, Infinity, Number.NaN]],
  ["sort_values, descending", graph.sort(unsorted, { descending: true }).values, [Number.NaN, Infinity, 3, 1, 1, -Infinity]],
  ["sort_indices", graph.sort(unsorted).indices, [4, 1, 5, 0, 2, 3]],
  ["sort_indices, descending", graph.sort(unsorted, { descending: true }).indices, [3, 2, 0, 1, 5, 4]],
  ["topK", graph.topK(unsorted, 2).indices, [3, 2]],
  ["topK of columns", graph.topK(matrix, 1, { axis: 0, descending: false }).values, [1, 2, 3]],
  ["cholesky", graph.cholesky(definite), [2, 0, 1, 3]],
  ["triangular_solve", graph.triangularSolve(definite, constantTensor({ data: [8, 12], shape: [2, 1] })), [2, 0.8]],
  [
    "triangular_solve, transposed",
    graph.triangularSolve(definite, constantTensor({ data: [8, 10], shape: [2, 1] }), { transpose: true }),
    [1.5, 1],
  ],
  ["logDeterminant", graph.logDeterminant(definite), [Math.log(36)]],
  ["logDeterminant of what is not definite", graph.logDeterminant(constantTensor({ data: [1, 2, 2, 1], shape: [2, 2] })), [Number.NaN]],
  ["maxPool2d", graph.poolMax2d(images, [2, 1]), [4, 5, 6]],
  ["maxPool2d, framed", graph.poolMax2d(graph.negate(images), 2, { stride: 1, padding: "same" }), [-1, -2, -3, -4, -5, -6]],
  ["averagePool2d", graph.poolAverage2d(images, 2), [3]],
  ["averagePool2d leaves padding out", graph.poolAverage2d(images, 2, { padding: "same" }), [3, 4.5]],
  ["upsampleNearest2d", graph.upsampleNearest2d(images, [1, 2]), [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]],
  ["upsampleBilinear2d, across", graph.upsampleBilinear2d(images, [1, 2]), [1, 1.25, 1.75, 2.25, 2.75, 3, 4, 4.25, 4.75, 5.25, 5.75, 6]],
  ["upsampleBilinear2d, down", graph.upsampleBilinear2d(column, [3, 1]), [0, 0, 1, 2, 3, 3]],
  ["upsampleBilinear2d, one pixel", graph.upsampleBilinear2d(graph.slice(column, [0, 0, 0, 0], [1, 1, 1, 1]), 2), [0, 0, 0, 0]],
  ["softmax", graph.softmax(vector(1000, 1000, -1000)), [0.5, 0.5, 0]],
  [
    "softmax of columns",
    graph.softmax(constantTensor({ data: [0, 5, Math.log(3), 5], shape: [2, 2] }), { axis: 0 }),
    [0.25, 0.5, 0.75, 0.5],
  ],
  ["softmax of nothing", graph.softmax(vector(-Infinity, -Infinity)), [0, 0]],
  ["logSoftmax", graph.logSoftmax(vector(0, -2000)), [0, -2000]],
  ["logSoftmax of nothing", graph.logSoftmax(vector(-Infinity, -Infinity)), [-Infinity, -Infinity]],
  [
    "crossEntropy",
    graph.softmaxCrossEntropy(constantTensor({ data: [0, 0, 1000, 0, 5, -Infinity], shape: [3, 2] }), indices),
    [Math.LN2, 1000, 0],
  ],
  ["crossEntropy with an impossible class", graph.softmaxCrossEntropy(vector(0, 0, -Infinity), vector(0.5, 0.5, 0)), [Math.LN2]],
  ["oneHot", graph.oneHot(indices, 2), [1, 0, 0, 1, 1, 0]],
  ["oneHot, outside", graph.oneHot(indices, 1), [1, 0, 1]],
  ["embedding", graph.embedding(matrix, indices), [1, 2, 3, 4, 5, 6, 1, 2, 3]],
  ["stop_gradient", graph.stopGradient(vector(1, 2)), [1, 2]],
  ["cast", graph.cast(indices), [0, 1, 0]],
];

test.each(expected)("%s", (_name, tensor, values) => {
  const [result] = evaluate([tensor]);
  expect(result!.length).toBe(values.length);
  values.forEach((value, i) => {
    if (Number.isFinite(value)) expect(Math.abs(result![i]! - value)).toBeLessThanOrEqual(1e-15 + 1e-14 * Math.abs(value));
    else expect(result![i]).toBe(value);
  });
});

test("every op is among them, but for noise and what is fed", () => {
  const shown = new Set(graph.topological(expected.map(([, tensor]) => tensor)).map(({ op }) => op));
  expect(Object.keys(graph.ops).filter((op) => !shown.has(op))).toEqual(["input", "state", "step", "uniform", "normal", "matmul"]);
});

test("the step counter", () => {
  expect(evaluate([graph.add(graph.step(), 1)], new Map(), { step: 41 })[0]![0]).toBe(42);
});

test("what only leads to a tensor with given values is not asked for", () => {
  const [x, y] = [graph.input("x", [2]), graph.input("y", [2])];
  const inner = graph.exp(x);
  expect([
    ...evaluate(
      [graph.add(inner, y)],
      new Map([
        [inner, [1, 2]],
        [y, [10, 20]],
      ]),
    )[0]!,
  ]).toEqual([11, 22]);
  expect(() => evaluate([graph.add(inner, x)], new Map([[inner, [1, 2]]]))).toThrow(/"x" \[2\] was not fed/);
});

test("matmul: all four forms and all batches agree with sums of products", () => {
  const a = Float64Array.from({ length: 12 }, (_, i) => Math.sin(i));
  const b = Float64Array.from({ length: 24 }, (_, i) => Math.cos(3 * i));
  const element = (data: Float64Array, rows: number, columns: number, transposed: boolean, batch: number, i: number, j: number) =>
    data[batch * rows * columns + (transposed ? j * rows + i : i * columns + j)]!;
  for (const transposeA of [false, true]) {
    for (const transposeB of [false, true]) {
      for (const [left, right] of [
        [true, true],
        [true, false],
        [false, true],
        [false, false],
      ] as const) {
        const shape = (batched: boolean, transposed: boolean, rows: number, columns: number) => [
          ...(batched ? [2] : []),
          ...(transposed ? [columns, rows] : [rows, columns]),
        ];
        const x = graph.input("a", shape(left, transposeA, 2, 3));
        const y = graph.input("b", shape(right, transposeB, 3, 4));
        const product = graph.matmul(x, y, { transposeA, transposeB });
        const feeds = new Map([
          [x, a.slice(0, left ? 12 : 6)],
          [y, b.slice(0, right ? 24 : 12)],
        ]);
        const [result] = evaluate([product], feeds);
        expect(product.shape).toEqual(left || right ? [2, 2, 4] : [2, 4]);
        result!.forEach((value, flat) => {
          const [batch, i, j] = [Math.floor(flat / 8), Math.floor(flat / 4) % 2, flat % 4];
          let total = 0;
          for (let k = 0; k < 3; k++) {
            total += element(a, 2, 3, transposeA, left ? batch : 0, i, k) * element(b, 3, 4, transposeB, right ? batch : 0, k, j);
          }
          expect(value).toBeCloseTo(total, 14);
        });
      }
    }
  }
});
