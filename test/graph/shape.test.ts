import { describe, expect, test } from "vitest";
import type { VaeErrorCode } from "../../lib/errors.js";
import * as graph from "../../lib/graph/index.js";
import {
  add,
  broadcastTo,
  constantTensor,
  evaluate,
  input,
  matmul,
  multiply,
  print,
  reshapeTensor,
  slice,
  square,
  sum,
} from "../../lib/graph/index.js";
import type { One, OpRow, Plain, Rows } from "../../lib/graph/table.js";
import { failure } from "../support/failure.js";

const tensor = (...shape: number[]) => input("x", shape);
const whole = input("whole", [3], "int32");

describe("result shapes", () => {
  const cases: [string, graph.Tensor, number[]][] = [
    ["a row vector", add(tensor(128, 784), tensor(784)), [128, 784]],
    ["an outer sum", add(tensor(3, 1), tensor(1, 4)), [3, 4]],
    ["both sides grow", multiply(tensor(5, 1, 4), tensor(3, 1)), [5, 3, 4]],
    ["a number", add(tensor(2, 3), 1), [2, 3]],
    ["two numbers", add(1, 2), []],
    ["three in where", graph.where(tensor(3, 1), tensor(4), 0), [3, 4]],
    ["sum of all", sum(tensor(2, 3)), []],
    ["sum of a negative axis", sum(tensor(2, 3, 4), { axes: -2 }), [2, 4]],
    ["sum kept", sum(tensor(2, 3, 4), { axes: [0, 2], keepDimensions: true }), [1, 3, 1]],
    ["sum of no axes", sum(tensor(2, 3), { axes: [] }), [2, 3]],
    ["mean", graph.mean(tensor(2, 3), { axes: 0 }), [3]],
    ["logsumexp", graph.logsumexp(tensor(2, 3), { axes: 1, keepDimensions: true }), [2, 1]],
    ["reshape with -1", reshapeTensor(tensor(2, 3, 4), [-1, 8]), [3, 8]],
    ["transpose", graph.transpose(tensor(2, 3, 4)), [4, 3, 2]],
    ["transpose by permutation", graph.transpose(tensor(2, 3, 4), [1, 0, 2]), [3, 2, 4]],
    ["slice", slice(tensor(5, 6), [1, 0], [4, 2]), [3, 2]],
    ["concatenate", graph.concatenate([tensor(2, 3), tensor(2, 5)], -1), [2, 8]],
    [
      "pad",
      graph.pad(tensor(2, 3), [
        [1, 0],
        [2, 2],
      ]),
      [3, 7],
    ],
    ["matmul", matmul(tensor(2, 3), tensor(3, 4)), [2, 4]],
    ["matmul transposed", matmul(tensor(3, 2), tensor(4, 3), { transposeA: true, transposeB: true }), [2, 4]],
    ["matmul of batches", matmul(tensor(7, 2, 3), tensor(7, 3, 4)), [7, 2, 4]],
    ["matmul of a batch and a matrix", matmul(tensor(7, 5, 2, 3), tensor(3, 4)), [7, 5, 2, 4]],
    ["matmul of a matrix and a batch", matmul(tensor(2, 3), tensor(7, 3, 4)), [7, 2, 4]],
    ["gather", graph.gather(tensor(10, 28, 28), whole), [3, 28, 28]],
    ["scatterAdd", graph.scatterAdd(whole, tensor(3, 4), 10), [10, 4]],
  ];
  test.each(cases)("%s", (_name, result, shape) => {
    expect(result.shape).toEqual(shape);
  });

  test("elementwise nodes hold inputs of exactly their own shape", () => {
    const sums = [add(tensor(3, 1), tensor(4)), graph.where(tensor(3, 1), 1, tensor(2, 3, 4)), graph.clamp(tensor(2, 3), 0, 1)];
    for (const node of graph.topological(sums)) {
      if (graph.rowOf(node.op).family !== "elementwise") continue;
      for (const { shape } of node.inputs) expect(shape).toEqual(node.shape);
    }
  });

  test("what changes nothing makes no node", () => {
    const x = tensor(2, 3);
    expect(reshapeTensor(x, [2, -1])).toBe(x);
    expect(broadcastTo(x, [2, 3])).toBe(x);
    expect(graph.cast(x)).toBe(x);
    expect(graph.concatenate([x], 0)).toBe(x);
  });

  test("element types: gather keeps the table's, cast and arithmetic give float32", () => {
    expect(graph.gather(input("bytes", [9, 4], "uint8"), whole).dtype).toBe("uint8");
    expect(graph.cast(whole).dtype).toBe("float32");
    expect(graph.less(tensor(2), 1).dtype).toBe("float32");
    expect(graph.shuffledIndices({ rows: 9, batch: 4, shuffle: true, stream: 0 }).dtype).toBe("int32");
  });

  test("tensors cannot be changed", () => {
    const x = slice(tensor(4), [0], [2]);
    for (const part of [x, x.shape, x.inputs, x.attributes, x.attributes.start]) expect(Object.isFrozen(part)).toBe(true);
  });
});

describe("errors say what was done, with which shapes, and what to do", () => {
  const cases: [string, () => unknown, VaeErrorCode, RegExp][] = [
    [
      "broadcasting",
      () => add(tensor(128, 784), tensor(128, 20)),
      "shape",
      /^add: shapes \[128, 784\] and \[128, 20\] do not broadcast: axis 1 is 784 and 20\n {2}hint: aligned at the last axis/,
    ],
    [
      "broadcasting of three",
      () => graph.where(tensor(2), tensor(3), 0),
      "shape",
      /^where: shapes \[2\] and \[3\] and \[\] do not broadcast: axis 0/,
    ],
    ["element types", () => add(whole, 1), "dtype", /^add: expected float32; received int32 \[3\]\n {2}hint: .*cast\(x\) converts/],
    ["unary element types", () => graph.exp(whole), "dtype", /^exp: expected float32; received int32 \[3\]/],
    ["reductions of whole numbers", () => sum(whole), "dtype", /^sum: expected float32; received int32/],
    ["no tensor", () => add("x" as unknown as number, 1), "argument", /^add: expected a tensor or a number; received "x"/],
    ["undefined", () => graph.exp(undefined as unknown as number), "argument", /^exp: .*received undefined/],
    ["axis out of range", () => sum(tensor(2, 3), { axes: 2 }), "argument", /^sum: expected an axis from -2 to 1 of \[2, 3\]; received 2/],
    ["axis of a mean", () => graph.mean(tensor(2, 3), { axes: [0.5] }), "argument", /^mean: expected an axis .*received 0.5/],
    ["axis of a scalar", () => sum(1, { axes: 0 }), "argument", /^sum: expected no axis/],
    ["axis twice", () => sum(tensor(2, 3), { axes: [1, -1] }), "argument", /^sum: expected each axis once; received \[1, -1\]/],
    ["broadcastTo", () => broadcastTo(tensor(2, 3), [2, 4]), "shape", /^broadcastTo: shapes \[2, 3\] and \[2, 4\] do not broadcast/],
    [
      "broadcastTo a smaller shape",
      () => broadcastTo(tensor(2, 3), [3]),
      "shape",
      /^broadcastTo: shape \[2, 3\] does not broadcast to \[3\]/,
    ],
    ["reshape", () => reshapeTensor(tensor(2, 3), [4, 2]), "shape", /^reshape: \[2, 3\] has 6 elements and \[4, 2\] has 8/],
    [
      "reshape that does not divide",
      () => reshapeTensor(tensor(2, 3), [4, -1]),
      "shape",
      /^reshape: expected a shape of whole numbers .*\[4, -1\]/,
    ],
    ["transpose", () => graph.transpose(tensor(2, 3), [0, 0]), "argument", /^transpose: expected each of the 2 axes .*received \[0, 0\]/],
    [
      "slice outside",
      () => slice(tensor(4), [2], [5]),
      "argument",
      /^slice: expected 0 <= start < end .*\[4\]; received start \[2\], end \[5\]/,
    ],
    ["empty slice", () => slice(tensor(4), [2], [2]), "argument", /^slice: /],
    ["slice of another rank", () => slice(tensor(4, 4), [0], [1]), "argument", /^slice: .*2 axes of \[4, 4\]/],
    [
      "concatenate",
      () => graph.concatenate([tensor(2, 3), tensor(3, 3)], 1),
      "shape",
      /^concatenate: .*only on axis 1; received \[2, 3\] and \[3, 3\]/,
    ],
    ["concatenate types", () => graph.concatenate([tensor(3), whole], 0), "dtype", /^concatenate: .*int32 \[3\]/],
    ["concatenate nothing", () => graph.concatenate([], 0), "argument", /^concatenate: expected at least one tensor/],
    ["pad", () => graph.pad(tensor(2, 3), [[1, 1]]), "argument", /^pad: .*2 axes of \[2, 3\]; received 1 pairs/],
    ["negative pad", () => graph.pad(tensor(2), [[-1, 0]]), "argument", /^pad: expected padding to be a whole number .*received -1/],
    [
      "matmul inner",
      () => matmul(tensor(2, 3), tensor(4, 5)),
      "shape",
      /^matmul: inner dimensions of \[2, 3\] and \[4, 5\] are 3 and 4\n {2}hint: transpose/,
    ],
    ["matmul batch", () => matmul(tensor(2, 2, 3), tensor(4, 3, 5)), "shape", /^matmul: batch dimensions of .* differ/],
    [
      "matmul vector",
      () => matmul(tensor(2, 3), tensor(3)),
      "shape",
      /^matmul: shapes \[2, 3\] and \[3\] are not both matrices\n {2}hint: reshape/,
    ],
    ["gather by floats", () => graph.gather(tensor(4), tensor(2)), "dtype", /^gather: expected int32 indices; received float32 \[2\]/],
    ["gather from a scalar", () => graph.gather(1, whole), "shape", /^gather: expected a table with rows/],
    ["scatterAdd", () => graph.scatterAdd(whole, tensor(4, 2), 5), "shape", /^scatterAdd: .*\[3\]; received \[4, 2\]/],
    ["clamp", () => graph.clamp(tensor(2), 1, 0), "argument", /^clamp: expected low <= high; received 1 and 0/],
    [
      "a negative size",
      () => input("x", [2, -1]),
      "shape",
      /^input "x": expected a shape of whole numbers of at least 1; received \[2, -1\]/,
    ],
    ["a fractional size", () => graph.normal([2.5], 0), "shape", /^normal: .*received \[2.5\]/],
    [
      "an unknown element type",
      () => input("x", [2], "float16" as "float32"),
      "dtype",
      /^input "x": expected the dtype to be "float32", "int32" or "uint8"; received "float16"/,
    ],
    ["no name", () => graph.state("", [2]), "argument", /^state: expected a name/],
    [
      "a constant of another length",
      () => constantTensor({ data: [1, 2], shape: [3] }),
      "shape",
      /^constant: expected 3 numbers for shape \[3\]; received 2/,
    ],
    [
      "a stream",
      () => graph.uniform([2], -1),
      "argument",
      /^uniform: expected the stream to be a whole number from 0 to 2147483647; received -1/,
    ],
    [
      "no rows",
      () => graph.shuffledIndices({ rows: 0, batch: 1, shuffle: true, stream: 0 }),
      "argument",
      /^shuffledIndices: expected rows .*received 0/,
    ],
  ];
  test.each(cases)("%s", (_name, body, code, message) => {
    const error = failure(body);
    expect(error.message).toMatch(message);
    expect(error.code).toBe(code);
  });

  test("the stack begins at the user's own call", () => {
    const { stack } = failure(() => graph.mean(add(tensor(2), tensor(3))));
    const first = stack!.split("\n").find((line) => line.startsWith("    at "));
    expect(first).toContain("test/graph/shape.test.ts");
    const inner = failure(() => graph.logsumexp(whole)).stack!;
    expect(inner).not.toContain("lib/graph");
  });
});

describe("evaluate", () => {
  test("names what was not fed, and the wrong length", () => {
    const x = tensor(2, 3);
    expect(() => evaluate([square(x)])).toThrow(/^evaluate: input "x" \[2, 3\] was not fed/);
    expect(() => evaluate([square(x)], new Map([[x, [1, 2]]]))).toThrow(/^evaluate: expected 6 numbers for input "x" \[2, 3\]; received 2/);
  });

  test("an index outside the table", () => {
    const rows = graph.gather(constantTensor({ data: [1, 2], shape: [2] }), whole);
    expect(() => evaluate([rows], new Map([[whole, [0, 1, 2]]]))).toThrow(/^gather: expected indices from 0 to 1; received 2 at 2/);
  });

  test("an inner node can be fed", () => {
    const x = tensor(2);
    const hidden = square(x);
    expect([
      ...evaluate(
        [add(hidden, 1)],
        new Map([
          [hidden, [5, 6]],
          [x, [0, 0]],
        ]),
      )[0]!,
    ]).toEqual([6, 7]);
  });
});

test("a graph prints one node per line, numbered from 0", () => {
  const loss = sum(square(add(matmul(input("x", [2, 3]), graph.state("weight", [3, 4])), slice(graph.normal([8], 1), [4], [8]))));
  expect(print(loss)).toBe(
    [
      '%0 = input name="x" : float32 [2, 3]',
      '%1 = state name="weight" : float32 [3, 4]',
      "%2 = matmul(%0, %1) transposeA=false transposeB=false : float32 [2, 4]",
      "%3 = normal stream=1 : float32 [8]",
      "%4 = slice(%3) start=[4] end=[8] : float32 [4]",
      "%5 = broadcast_to(%4) : float32 [2, 4]",
      "%6 = add(%2, %5) : float32 [2, 4]",
      "%7 = square(%6) : float32 [2, 4]",
      "%8 = sum(%7) axes=[0, 1] : float32 []",
      "return %8",
    ].join("\n"),
  );
  expect(print(constantTensor({ data: Array(20).fill(1), shape: [20] }))).toContain("data=[1, 1, 1, 1, 1, 1, 1, 1, … 20 in all]");
});

test("a table that lacks a row, or has one under another's name, does not compile", () => {
  const row = graph.ops.negate as OpRow<"negate", One, Plain>;
  interface Signatures {
    negate: { inputs: One; attributes: Plain };
    absolute: { inputs: One; attributes: Plain };
  }
  // @ts-expect-error: absolute is missing
  const missing: Rows<Signatures> = { negate: row };
  // @ts-expect-error: a row named negate cannot stand as absolute
  const misnamed: Rows<Signatures> = { negate: row, absolute: row };
  expect([missing, misnamed].length).toBe(2);
});
