// node-vae/ops: every function of the graph on TypedArrays, through native kernels, against the reference evaluation.
import { afterAll, describe, expect, test } from "vitest";
import * as graph from "../../lib/graph/index.js";
import { evaluate, input, isTensor, type Tensor } from "../../lib/graph/index.js";
import * as face from "../../lib/ops/index.js";
import { createOps, type NdArray, ndarray, type Ops } from "../../lib/ops/index.js";
import { expectClose, values } from "../support/arrays.js";
import { numbers } from "../support/feeds.js";

const ops = createOps({ threads: 2 });
afterAll(() => ops.dispose());

const x = values([3, 4]);
const positive = values([3, 4], 0.3, 3);
const row = values([4], -2, 2, 5);
const bytes = ndarray(Uint8Array.from(numbers(12).map((u) => u * 256)), [3, 4]);
const whole = ndarray(Int32Array.from(numbers(12).map((u) => u * 2000 - 1000)), [3, 4]);
const indices = ndarray(Int32Array.of(2, 0, 2, 1), [2, 2]);

const images = values([2, 6, 5, 3]);
const filters = values([3, 3, 3, 4], -1, 1, 7);
const pixels = ndarray(Uint8Array.from(numbers(24).map((u) => u * 256)), [1, 3, 4, 2]);
const counts = ndarray(Int32Array.from(numbers(24).map((u) => u * 2000 - 1000)), [1, 3, 4, 2]);
const ties = ndarray(
  numbers(12).map((u) => Math.floor(u * 3)),
  [3, 4],
);
/** Symmetric with a diagonal larger than the rest of its row: positive definite. */
const definite = ndarray([4, 1, -1, 1, 3, 0.5, -1, 0.5, 5, 2, 0, 0.7, 0, 1, 0.2, 0.7, 0.2, 2], [2, 3, 3]);

/** The graph's functions by their names among the ops, where these differ. */
const named = {
  averagePool2d: graph.poolAverage2d,
  conv1d: graph.convolve1d,
  conv2d: graph.convolve2d,
  convTranspose1d: graph.convolveTransposed1d,
  convTranspose2d: graph.convolveTransposed2d,
  crossEntropy: graph.softmaxCrossEntropy,
  maxPool2d: graph.poolMax2d,
  reshape: graph.reshapeTensor,
};
const functions: Readonly<Record<string, unknown>> = { ...graph, ...named };

type Name = Exclude<keyof Ops & (keyof typeof graph | keyof typeof named), "uniform" | "normal" | "shuffledIndices">;
const unary = (...names: Name[]) => names.map((name): [Name, unknown[]] => [name, [x]]);

const calls: readonly (readonly [Name, readonly unknown[]])[] = [
  ...unary(
    "absolute",
    "cos",
    "exp",
    "expm1",
    "floor",
    "isFinite",
    "negate",
    "relu",
    "sigmoid",
    "sign",
    "sin",
    "softplus",
    "square",
    "tanh",
  ),
  ...(["log", "log1p", "reciprocal", "sqrt"] as const).map((name): [Name, unknown[]] => [name, [positive]]),
  ...(
    ["add", "subtract", "multiply", "maximum", "minimum", "less", "lessEqual", "equal", "greater", "greaterEqual", "notEqual"] as const
  ).flatMap((name): [Name, unknown[]][] => [
    [name, [x, row]],
    [name, [values([3, 1]), x]],
    [name, [x, 0.25]],
    [name, [row, row]],
  ]),
  ["divide", [x, positive]],
  ["divide", [1, positive]],
  ["power", [x, 3]],
  ["power", [positive, values([4])]],
  ["clamp", [x, -1, 0.5]],
  ["clamp", [x, -Infinity, 0.5]],
  ["where", [values([3, 1], -0.5, 0.5), x, row]],
  ["where", [ndarray([0, 1, 0]), Infinity, -Infinity]],
  ["cast", [bytes]],
  ["cast", [whole]],
  ["cast", [x]],
  ["sum", [x]],
  ["sum", [x, { axes: 0 }]],
  ["sum", [x, { axes: -1, keepDimensions: true }]],
  ["mean", [values([2, 3, 4]), { axes: [0, 2] }]],
  ["max", [x, { axes: 1 }]],
  ["logsumexp", [values([3, 4], 500, 510), { axes: 1 }]],
  ["matmul", [x, values([4, 5])]],
  ["matmul", [x, values([5, 4]), { transposeB: true }]],
  ["matmul", [values([2, 4, 3]), values([4, 5]), { transposeA: true }]],
  ["broadcastTo", [row, [2, 3, 4]]],
  ["broadcastTo", [3, [2, 2]]],
  ["reshape", [bytes, [2, -1]]],
  ["reshape", [5, [1, 1]]],
  ["transpose", [whole]],
  ["transpose", [values([2, 3, 4]), [1, 2, 0]]],
  ["slice", [bytes, [1, 0], [3, 2]]],
  ["concatenate", [[whole, whole], 1]],
  ["concatenate", [[x, values([2, 4])], 0]],
  [
    "pad",
    [
      x,
      [
        [1, 0],
        [0, 2],
      ],
      -Infinity,
    ],
  ],
  ["gather", [x, indices]],
  ["gather", [bytes, indices]],
  ["gather", [whole, indices]],
  ["scatterAdd", [indices, values([2, 2, 3]), 4]],
  // Images [N, H, W, C], sequences and windows.
  ["conv2d", [images, filters]],
  ["conv2d", [images, filters, { stride: 2, padding: "valid" }]],
  [
    "conv2d",
    [
      images,
      filters,
      {
        stride: [2, 1],
        padding: [
          [1, 0],
          [0, 2],
        ],
        dilation: [1, 2],
      },
    ],
  ],
  ["conv2d", [values([1, 5, 4, 4]), values([3, 3, 2, 6]), { groups: 2 }]],
  ["conv2dInputGradient", [values([2, 3, 3, 4]), filters, { stride: 2, inputSize: [6, 5] }]],
  ["conv2dWeightGradient", [images, values([2, 3, 3, 4]), { stride: 2, kernelSize: [3, 3] }]],
  ["convTranspose2d", [values([2, 3, 2, 4]), filters, { stride: 2 }]],
  ["convTranspose2d", [values([2, 3, 2, 4]), filters, { stride: 2, outputSize: [5, 4] }]],
  ["conv1d", [values([2, 9, 3]), values([4, 3, 5])]],
  ["conv1d", [values([2, 9, 3]), values([4, 3, 5]), { stride: 2, padding: [3, 0] }]],
  ["convTranspose1d", [values([2, 5, 3]), values([4, 2, 3]), { stride: 3 }]],
  ["unfold", [images, { kernelSize: [3, 2], stride: 2 }]],
  ["unfold", [pixels, { kernelSize: [2, 2], dilation: [2, 1] }]],
  ["unfold", [counts, { kernelSize: [2, 3] }]],
  ["fold", [values([1, 2, 3, 3, 2, 2]), { inputSize: [5, 4], stride: [2, 1] }]],
  ["maxPool2d", [images, 2]],
  ["maxPool2d", [images, [3, 2], { stride: 2, padding: "same" }]],
  ["averagePool2d", [images, [2, 1]]],
  ["averagePool2d", [images, 3, { stride: 2, padding: 1 }]],
  ["upsampleNearest2d", [images, 2]],
  ["upsampleNearest2d", [pixels, [1, 3]]],
  ["upsampleNearest2d", [counts, 2]],
  ["upsampleBilinear2d", [images, 2]],
  ["upsampleBilinear2d", [images, [3, 1]]],
  // Classes.
  ["softmax", [x]],
  ["softmax", [values([2, 3, 4], 500, 510), { axis: 1 }]],
  ["logSoftmax", [x]],
  ["logSoftmax", [values([3, 4], -900, 900), { axis: 0 }]],
  ["crossEntropy", [x, ndarray(Int32Array.of(3, -1, 0))]],
  ["crossEntropy", [values([2, 2, 5]), ndarray(Int32Array.of(4, 0, 2, 1), [2, 2])]],
  ["crossEntropy", [x, values([3, 4], 0, 1, 3)]],
  ["oneHot", [indices, 3]],
  ["oneHot", [ndarray(Int32Array.of(-1, 0, 5)), 2]],
  ["embedding", [x, indices]],
  ["embedding", [whole, indices]],
  ["embedding", [bytes, ndarray(Int32Array.of(1), [])]],
  // Along an axis, and matrices.
  ["cumulativeSum", [x, -1]],
  ["cumulativeSum", [values([2, 3, 4]), 1, { reverse: true, exclusive: true }]],
  ["cholesky", [definite]],
  ["triangularSolve", [definite, values([2, 3, 2])]],
  ["triangularSolve", [definite, values([2, 3, 2]), { transpose: true }]],
  ["logDeterminant", [definite]],
  ["sort", [x]],
  ["sort", [ties, { axis: 0, descending: true }]],
  ["sort", [values([2, 3, 4]), { axis: 1 }]],
  ["topK", [ties, 2]],
  ["topK", [x, 1, { axis: 0, descending: false }]],
  ["topK", [row, 4]],
];

type Parts = Readonly<Record<string, Tensor>>;

/** The same call on inputs of the graph, evaluated in float64; one tensor counts as a part named "result". */
function reference(name: Name, given: readonly unknown[]) {
  const feeds = new Map<Tensor, ArrayLike<number>>();
  const symbolic = (value: unknown): unknown => {
    if (typeof value === "object" && value !== null && "data" in value) {
      const { data, shape } = value as NdArray<Float32Array | Int32Array | Uint8Array>;
      const tensor = input(
        `i${feeds.size}`,
        shape,
        data instanceof Float32Array ? "float32" : data instanceof Int32Array ? "int32" : "uint8",
      );
      feeds.set(tensor, data);
      return tensor;
    }
    return Array.isArray(value) ? value.map(symbolic) : value;
  };
  const build = functions[name] as (...inputs: unknown[]) => Tensor | Parts;
  const built = build(...given.map(symbolic));
  const parts = isTensor(built) ? { result: built } : built;
  return Object.entries(parts).map(([part, tensor]) => ({ part, tensor, expected: evaluate([tensor], feeds)[0]! }));
}

const arrays = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };

describe("functions agree with the reference evaluation", () => {
  test.each(calls.map(([name, given], i) => [`${name} ${i}`, name, given] as const))("%s", async (_title, name, given) => {
    const call = ops[name] as (...inputs: readonly unknown[]) => Promise<NdArray | Readonly<Record<string, NdArray>>>;
    const computed = await call(...given);
    const results = ("data" in computed ? { result: computed } : computed) as Readonly<Record<string, NdArray>>;
    const wanted = reference(name, given);
    expect(Object.keys(results)).toEqual(wanted.map(({ part }) => part));
    for (const { part, tensor, expected } of wanted) {
      const { shape, data } = results[part]!;
      expect(shape).toEqual(tensor.shape);
      expect(data).toBeInstanceOf(arrays[tensor.dtype]);
      expectClose(data, expected);
    }
  });
});

test("every function of the graph that means something on data is there, and called above", () => {
  const symbolicOnly = ["constantTensor", "evaluate", "grad", "input", "instantiate", "isTensor", "opCases", "print", "rowOf", "sameShape"];
  const alsoSymbolic = ["showShape", "sizeOf", "state", "step", "stopGradient", "topological"];
  const callable = Object.entries(graph).flatMap(([name, value]) => (typeof value === "function" ? [name] : []));
  const nameOnData = new Map(Object.entries(named).map(([name, build]) => [build as unknown, name]));
  const onData = callable
    .filter((name) => ![...symbolicOnly, ...alsoSymbolic].includes(name))
    .map((name) => nameOnData.get(functions[name]) ?? name)
    .sort();
  const own = ["reparameterize", "gaussianKl", "bernoulliLogLikelihood", "gaussianLogLikelihood"];
  expect(
    Object.keys(ops)
      .filter((name) => !["statistics", "dispose", ...own].includes(name))
      .sort(),
  ).toEqual(onData);
  expect(Object.keys(face).sort()).toEqual([...onData, ...own, "createOps", "ndarray"].sort());
  const called = new Set([...calls.map(([name]) => name), "uniform", "normal", "shuffledIndices"]);
  expect([...called].sort()).toEqual(onData);
});
