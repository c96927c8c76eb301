// Views of whole numbers, and rows that the compiler does not know.
import { describe, expect, test } from "vitest";
import { compile } from "../../lib/compile/index.js";
import * as graph from "../../lib/graph/index.js";
import { makeTensor, type Tensor } from "../../lib/graph/tensor.js";
import { Device } from "../../lib/runtime/device.js";
import { failure } from "../support/failure.js";

const { input } = graph;
const table = input("table", [7, 3]);
const indices = input("indices", [4, 2], "int32");
const bytes = input("bytes", [5, 6], "uint8");
const scores = input("scores", [3, 7]);
const classes = input("classes", [5], "int32");

const data = {
  table: Float32Array.from({ length: 21 }, (_, i) => Math.sin(i)),
  indices: Int32Array.of(6, 1, 0, 5, 2, 2, 3, 4),
  bytes: Uint8Array.from({ length: 30 }, (_, i) => 7 * i),
  scores: Float32Array.from({ length: 21 }, (_, i) => Math.cos(3 * i)),
  classes: Int32Array.of(3, 1, 4, 0, 2),
};
const leaves: Readonly<Record<string, Tensor>> = { table, indices, bytes, scores, classes };

/** What a graph gives natively, and by the slow evaluation. */
async function both(output: Tensor): Promise<readonly [native: number[], expected: number[]]> {
  using device = Device.open({ device: "cpu", threads: 1 });
  using session = device.session({ outputs: { output } });
  const inputs = Object.fromEntries(session.plan.inputs.map(({ name }) => [name, data[name as keyof typeof data]]));
  const { outputs } = await session.run({ inputs });
  const feeds = new Map(Object.entries(leaves).map(([name, leaf]) => [leaf, data[name as keyof typeof data]]));
  const [expected] = graph.evaluate([output], feeds);
  return [[...outputs.output!], [...expected!].map(Math.fround)];
}

describe("strided views of whole numbers are made whole", () => {
  const {
    gather,
    transpose,
    slice,
    topK,
    sort,
    cast,
    scatterAdd,
    oneHot,
    broadcastTo,
    softmaxCrossEntropy,
    embedding,
    reshapeTensor,
    matmul,
  } = graph;
  test.each<[string, () => Tensor]>([
    ["rows of the largest", () => gather(table, topK(scores, 2).indices)],
    ["rows of the smallest along another axis", () => gather(table, topK(scores, 2, { axis: 0, descending: false }).indices)],
    ["rows in sorted order", () => gather(table, sort(scores, { axis: 0 }).indices)],
    ["transposed indices", () => gather(table, transpose(indices))],
    ["a slice of indices", () => gather(table, slice(indices, [1, 1], [3, 2]))],
    ["indices repeated", () => gather(table, broadcastTo(classes, [2, 5]))],
    ["a view of a view", () => gather(table, slice(transpose(indices), [0, 1], [2, 3]))],
    ["a transposed view flattened", () => gather(table, reshapeTensor(transpose(indices), [8]))],
    ["indices of indices", () => gather(table, gather(slice(indices, [0, 1], [4, 2]), slice(classes, [3], [4])))],
    ["a sum into the rows of a slice", () => scatterAdd(slice(indices, [0, 1], [4, 2]), slice(table, [3, 0], [7, 1]), 7)],
    ["one hot of a slice", () => oneHot(slice(classes, [1], [4]), 5)],
    ["a slice of classes", () => softmaxCrossEntropy(slice(scores, [0, 0], [3, 5]), slice(classes, [2], [5]))],
    ["an embedding of transposed indices", () => embedding(table, transpose(indices))],
    ["rows of transposed bytes", () => cast(gather(transpose(bytes), slice(classes, [1], [4])))],
    ["transposed bytes in a product", () => matmul(cast(transpose(bytes)), cast(bytes))],
    ["rows of a slice of bytes", () => cast(gather(slice(bytes, [0, 2], [5, 4]), classes))],
    ["the gradient of rows of a view", () => graph.grad(graph.sum(graph.square(gather(table, transpose(indices)))), [table])[0]!],
  ])("%s", async (_name, build) => {
    const [native, expected] = await both(build());
    expect(native).toHaveLength(expected.length);
    native.forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i]!, 5);
    });
  });

  test("a concatenation of indices says what to do instead", () => {
    const error = failure(() => compile({ outputs: { output: gather(table, graph.concatenate([classes, classes], 0)) } }));
    expect(error.code).toBe("dtype");
    expect(error.message).toMatch(/^concatenate: a concatenation of int32 \[10\] cannot be computed natively.*\n.*gather/);
  });
});

describe("a row that the compiler does not know", () => {
  /** Rows that the closed table does not have, as somebody who adds one would begin. */
  const added: Readonly<Record<string, Partial<graph.OpRow>>> = {
    cube: { family: "elementwise" },
    reverse: { family: "movement" },
    product: { family: "reduce" },
    determinant: { family: "factorization" },
  };
  test.each(Object.keys(added))("is an error: %s", (name) => {
    const rows = graph.ops as Record<string, unknown>;
    const row = {
      name,
      type: ([x]: readonly Tensor[]) => x,
      derivative: () => [null],
      evaluate: () => new Float64Array(21),
      cases: [],
      ...added[name],
    };
    rows[name] = row;
    try {
      const output = makeTensor(name, [graph.transpose(scores)], {}, { shape: [7, 3], dtype: "float32" });
      using device = Device.open({ device: "cpu", threads: 1 });
      const error = failure(() => device.session({ outputs: { output } }));
      expect(error.message).toMatch(/no native (kernel|instruction)/);
      expect(error.message).toContain(name);
    } finally {
      delete rows[name];
    }
  });
});
