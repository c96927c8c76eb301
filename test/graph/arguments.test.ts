// What callers hand over: misspelt options, values of any kind in messages, arrays whose memory is gone.
import { describe, expect, test } from "vitest";
import { describe as picture } from "../../lib/errors.js";
import { checkAttached, checkOptions, Fields, suggestion } from "../../lib/graph/arguments.js";
import * as graph from "../../lib/graph/index.js";
import { constantTensor, input } from "../../lib/graph/index.js";
import { failure } from "../support/failure.js";

const x = input("x", [4, 6]);
const images = input("images", [2, 5, 5, 1]);
const kernel = input("kernel", [3, 3, 1, 1]);
const windows = input("windows", [2, 3, 3, 3, 3, 1]);
const square = input("square", [3, 3]);

describe("a misspelt option of a graph function is refused, with the right one", () => {
  const wrong = (options: object) => options as never;
  const calls: readonly (readonly [operation: string, misspelt: string, known: string, call: () => unknown])[] = [
    ["sum", "axis", "axes", () => graph.sum(x, wrong({ axis: 1 }))],
    ["max", "keepDimension", "keepDimensions", () => graph.max(x, wrong({ keepDimension: true }))],
    ["mean", "axis", "axes", () => graph.mean(x, wrong({ axis: 1 }))],
    ["logsumexp", "axis", "axes", () => graph.logsumexp(x, wrong({ axis: 1 }))],
    ["matmul", "transposeb", "transposeB", () => graph.matmul(x, x, wrong({ transposeb: true }))],
    ["softmax", "axes", "axis", () => graph.softmax(x, wrong({ axes: 0 }))],
    ["logSoftmax", "axes", "axis", () => graph.logSoftmax(x, wrong({ axes: 0 }))],
    ["sort", "descend", "descending", () => graph.sort(x, wrong({ descend: true }))],
    ["topK", "axes", "axis", () => graph.topK(x, 2, wrong({ axes: 0 }))],
    ["cumulativeSum", "reversed", "reverse", () => graph.cumulativeSum(x, 0, wrong({ reversed: true }))],
    ["triangularSolve", "transposed", "transpose", () => graph.triangularSolve(square, square, wrong({ transposed: true }))],
    ["conv2d", "strides", "stride", () => graph.convolve2d(images, kernel, wrong({ strides: 2 }))],
    ["conv2dInputGradient", "inputsize", "inputSize", () => graph.conv2dInputGradient(images, kernel, wrong({ inputsize: [5, 5] }))],
    ["conv2dWeightGradient", "group", "groups", () => graph.conv2dWeightGradient(images, images, wrong({ kernelSize: [3, 3], group: 1 }))],
    ["convTranspose2d", "outputsize", "outputSize", () => graph.convolveTransposed2d(images, kernel, wrong({ outputsize: 5 }))],
    ["conv1d", "paddings", "padding", () => graph.convolve1d(square, square, wrong({ paddings: 1 }))],
    ["convTranspose1d", "dilations", "dilation", () => graph.convolveTransposed1d(square, square, wrong({ dilations: 1 }))],
    ["maxPool2d", "strides", "stride", () => graph.poolMax2d(images, 2, wrong({ strides: 1 }))],
    ["averagePool2d", "paddings", "padding", () => graph.poolAverage2d(images, 2, wrong({ paddings: 1 }))],
    ["unfold", "kernelsize", "kernelSize", () => graph.unfold(images, wrong({ kernelsize: [3, 3] }))],
    ["fold", "inputsize", "inputSize", () => graph.fold(windows, wrong({ inputsize: [5, 5] }))],
    ["shuffledIndices", "shufle", "shuffle", () => graph.shuffledIndices(wrong({ rows: 4, batch: 2, stream: 0, shufle: true }))],
    ["constant", "shap", "shape", () => graph.constantTensor(wrong({ data: [1, 2], shap: [2] }))],
    ["evaluate", "sed", "seed", () => graph.evaluate([constantTensor(1)], new Map(), wrong({ sed: 1 }))],
  ];

  test.each(calls)("%s", (operation, misspelt, known, call) => {
    const error = failure(call);
    expect(error.code).toBe("argument");
    expect(error.message).toMatch(new RegExp(`^${operation}: unknown option "${misspelt}"\n.*did you mean "${known}"\\?.*options: `));
    expect(error.stack!.split("\n").find((line) => line.trim().startsWith("at "))).toContain("test/graph/arguments.test.ts");
  });

  test("as is what is no object of options at all", () => {
    for (const options of [1, null, "axes", [1], () => 1]) {
      expect(failure(() => graph.sum(x, options as never)).message).toMatch(/^sum: expected an object of options; received /);
    }
    expect(failure(() => graph.unfold(images, undefined as never)).message).toMatch(/^unfold: expected an object of options/);
    expect(failure(() => graph.sort(x, null as never)).message).toMatch(/^sort: expected an object of options; received null/);
    expect(graph.sum(x, undefined).shape).toEqual([]);
  });

  test("and a required one that is missing is not taken for 1", () => {
    expect(failure(() => graph.unfold(images, {} as never)).message).toMatch(/^unfold: expected kernelSize to be .*received undefined/);
    expect(failure(() => graph.fold(windows, {} as never)).message).toMatch(/^fold: expected inputSize to be .*received undefined/);
    expect(failure(() => graph.conv2dInputGradient(images, kernel, {} as never)).message).toMatch(/expected inputSize .*undefined/);
  });
});

describe("settings that no kernel could run with are refused where they are given", () => {
  test.each<[string, () => unknown, RegExp]>([
    [
      "a far dilation",
      () => graph.convolve2d(images, kernel, { dilation: 1e9 }),
      /^conv2d: an image with its padding has 2000000005×2000000005/,
    ],
    [
      "much padding",
      () => graph.convolve2d(images, kernel, { padding: 1e6 }),
      /^conv2d: an image with its padding .*more than 2\^34 values/,
    ],
    [
      "more than 32 bits",
      () => graph.convolve2d(images, kernel, { stride: 2 ** 31 }),
      /^conv2d: .*stride.*at most 2147483647; received 2147483648/,
    ],
    [
      "a stride of many phases",
      () => graph.convolve2d(input("large", [1, 300, 300, 1]), kernel, { stride: 300 }),
      /^conv2d: a stride of 300×300 has more than 2\^16 places/,
    ],
    [
      "a kernel of many taps",
      () => graph.convolve2d(input("large", [1, 2000, 2000, 1]), input("taps", [2000, 2000, 1, 1])),
      /^conv2d: a kernel of 2000×2000 has more than 2\^20 taps/,
    ],
    ["a padded tensor", () => graph.pad(x, [[0, 2 ** 40]].concat([[0, 0]]) as never), /^pad: expected a shape of at most 2\^40 elements/],
    [
      "a shape",
      () => input("wide", [1e9, 1e9]),
      /^input "wide": expected a shape of at most 2\^40 elements; received \[1000000000, 1000000000\]/,
    ],
  ])("%s", (_name, call, message) => {
    const error = failure(call);
    expect(error.code).toBe("shape");
    expect(error.message).toMatch(message);
  });

  test("windows that lie side by side have no tables", () => {
    expect(graph.poolMax2d(input("large", [1, 1200, 1200, 1]), 1200).shape).toEqual([1, 1, 1, 1]);
    expect(failure(() => graph.poolMax2d(input("large", [1, 1200, 1200, 1]), 1100, { stride: 1 })).message).toMatch(/2\^20 taps/);
  });
});

describe("a value in a message", () => {
  const cyclic: Record<string, unknown> = { kind: "dense" };
  cyclic.self = cyclic;
  const ring: unknown[] = [];
  ring.push(ring);
  test.each<[unknown, string]>([
    [undefined, "undefined"],
    [null, "null"],
    [1.5, "1.5"],
    [Number.NaN, "NaN"],
    ["text", '"text"'],
    [10n, "10n"],
    [Symbol("s"), "Symbol(s)"],
    [() => 1, "a function"],
    [[28, -28], "[28,-28]"],
    [[Number.NaN, 1n, undefined], "[NaN,1n,undefined]"],
    [{ kind: "dense", units: [1] }, '{"kind":"dense","units":[1]}'],
    [Object.create(null), "{}"],
    [new Float32Array(3), "a Float32Array"],
    [new Int32Array(3), "an Int32Array"],
    [new Map(), "a Map"],
    [Promise.resolve(), "a Promise"],
    [cyclic, '{"kind":"dense","self":{"kind":"dense","self":{…}}}'],
    [ring, "[[[…]]]"],
  ])("%#", (value, expected) => {
    expect(picture(value)).toBe(expected);
  });

  test("takes a line at most, and no time", () => {
    const long = "x".repeat(1e6);
    for (const value of [long, [long], { [long]: 1 }, new Array(1e7).fill(0), 10n ** 1000n, { a: { b: long } }]) {
      expect(picture(value).length).toBeLessThanOrEqual(80);
    }
    expect(suggestion(long, ["stride"])).toBe("");
    expect(failure(() => checkOptions("f", { [long]: 1 }, ["a" as never])).message.length).toBeLessThan(200);
  });
});

test("shapes that no plan can hold are refused as options too", () => {
  const error = failure(() => new Fields("vae", { input: [1e9, 1e9] }).shape("input"));
  expect(error.message).toBe("vae: expected input to be a shape of at most 2^40 elements; received [1000000000,1000000000]");
  expect(new Fields("vae", { input: [2 ** 20, 2 ** 20] }).shape("input")).toEqual([2 ** 20, 2 ** 20]);
});

test("numbers out of bounds are told which are in", () => {
  const expected = (bounds: Parameters<Fields["number"]>[1]) => failure(() => new Fields("f", { n: -1 }).number("n", bounds)).expected;
  expect(expected({ minimum: 1, integer: true })).toBe("n to be a whole number of at least 1");
  expect(expected({ minimum: 0, below: 1 })).toBe("n to be a finite number of at least 0 and below 1");
  expect(expected({ above: 0, maximum: 9 })).toBe("n to be a finite number above 0 and at most 9");
  expect(expected({ minimum: 0, maximum: 9 })).toBe("n to be a finite number of at least 0 and at most 9");
  expect(expected({ maximum: -2 })).toBe("n to be a finite number of at most -2");
});

test("an array whose memory is gone is told from an empty one", () => {
  const gone = new Float64Array(4);
  structuredClone(gone, { transfer: [gone.buffer] });
  const error = failure(() => checkAttached("f", gone, "x"));
  expect([error.code, error.message]).toEqual(["detached", expect.stringMatching(/^f: the buffer of x was transferred or resized/)]);
  for (const array of [new Float32Array(), new Uint8Array(2), new Uint8Array(new ArrayBuffer(8), 8)]) checkAttached("f", array, "x");
});
