import { describe, expect, it } from "vitest";
import { compile, type SessionGraph } from "../../lib/compile/index.js";
import { assignOffsets } from "../../lib/compile/memory.js";
import { printPlan } from "../../lib/compile/print.js";
import { reshapeView, sliceView, transposeView } from "../../lib/compile/view.js";
import { VaeError } from "../../lib/errors.js";
import { add, input, matmul, multiply, normal, reshapeTensor, slice, state, step, sum, transpose } from "../../lib/graph/index.js";
import { interpret } from "../support/interpret.js";

/** Runs one step of a graph over the given states and returns them as they are afterwards. */
function stepped(graph: SessionGraph, residents: Record<string, number[]>): Record<string, number[]> {
  const memory = Object.fromEntries(Object.entries(residents).map(([name, data]) => [name, Float64Array.from(data)]));
  interpret(compile(graph), { residents: memory });
  return Object.fromEntries(Object.entries(memory).map(([name, data]) => [name, [...data]]));
}

describe("updates take effect together, at the end of the step", () => {
  const a = state("a", [2]);
  const b = state("b", [2]);

  it("swaps two states", () => {
    const updates = [
      [a, b],
      [b, a],
    ] as const;
    expect(stepped({ updates }, { a: [1, 2], b: [3, 4] })).toEqual({ a: [3, 4], b: [1, 2] });
  });

  it("reads old values everywhere, whatever is written in place", () => {
    const updates = [
      [a, add(a, b)],
      [b, multiply(a, b)],
    ] as const;
    expect(stepped({ updates }, { a: [1, 2], b: [3, 4] })).toEqual({ a: [4, 6], b: [3, 8] });
  });

  it("updates a matrix that its own update multiplies by", () => {
    const w = state("w", [2, 2]);
    expect(stepped({ updates: [[w, matmul(w, w)]] }, { w: [1, 2, 3, 4] })).toEqual({ w: [7, 10, 15, 22] });
  });

  it("updates from a transposed or shifted view of the state itself", () => {
    const w = state("w", [2, 2]);
    expect(stepped({ updates: [[w, transpose(w)]] }, { w: [1, 2, 3, 4] })).toEqual({ w: [1, 3, 2, 4] });
    const line = state("line", [3]);
    const shifted = add(line, multiply(0, add(line, 1)));
    expect(stepped({ updates: [[line, shifted]] }, { line: [1, 2, 3] })).toEqual({ line: [1, 2, 3] });
  });

  it("updates several states from one value, and one from the step counter", () => {
    const updates = [
      [a, add(a, 1)],
      [b, add(a, 1)],
    ] as const;
    expect(stepped({ updates }, { a: [1, 2], b: [0, 0] })).toEqual({ a: [2, 3], b: [2, 3] });
    const counter = state("counter", []);
    expect(stepped({ updates: [[counter, step()]] }, { counter: [7] })).toEqual({ counter: [0] });
  });

  it("writes no state before the terms are known", () => {
    const x = input("x", [2]);
    const graph = { updates: [[a, add(a, x)]] as const, terms: { total: sum(multiply(a, x)) } };
    const plan = compile(graph);
    expect(plan.commit).toBeGreaterThan(0);
    expect(plan.commit).toBeLessThan(plan.steps.length);
    const memory = { a: Float64Array.of(1, 2) };
    expect([...interpret(plan, { inputs: { x: [10, 20] }, residents: memory }).terms]).toEqual([50]);
    expect([...memory.a]).toEqual([11, 22]);
  });

  it("gives one draw to several takers", () => {
    const noise = normal([3], 5);
    const { outputs } = interpret(compile({ outputs: { one: noise, two: noise, three: add(noise, 0) } }));
    expect(outputs.one).toEqual(outputs.two);
    expect(outputs.one).toEqual(outputs.three);
  });
});

describe("bad graphs are refused with names and shapes", () => {
  const refuses = (graph: SessionGraph, pattern: RegExp) => {
    expect(() => compile(graph)).toThrow(VaeError);
    expect(() => compile(graph)).toThrow(pattern);
  };
  const w = state("w", [2]);
  it("an update of another shape", () => refuses({ updates: [[w, input("x", [3])]] }, /update of state "w".*\[2\].*\[3\]/));
  it("an update of what is no state", () => refuses({ updates: [[input("x", [3]), input("x", [3])]] }, /state tensor/));
  it("the same state twice", () =>
    refuses(
      {
        updates: [
          [w, w],
          [w, add(w, 1)],
        ],
      },
      /"w" is updated twice/,
    ));
  it("a term that is no scalar", () => refuses({ terms: { loss: w } }, /term "loss".*\[2\]/));
  it("two states of one name", () => refuses({ outputs: { a: w, b: state("w", [3]) } }, /both named "w"/));
});

describe("views", () => {
  const base = { shape: [2, 3, 4], offset: 0, strides: [12, 4, 1] };
  it("reshape without a copy where strides allow", () => {
    expect(reshapeView(base, [6, 4])?.strides).toEqual([4, 1]);
    expect(reshapeView(base, [2, 3, 2, 2])?.strides).toEqual([12, 4, 2, 1]);
    const cut = sliceView(base, [0, 0, 1], [2, 3, 3]);
    expect(reshapeView(cut, [6, 2])).toEqual({ shape: [6, 2], offset: 1, strides: [4, 1] });
    expect(reshapeView(cut, [12])).toBeUndefined();
    expect(reshapeView(transposeView(base, [2, 1, 0]), [24])).toBeUndefined();
    expect(reshapeView(transposeView(base, [2, 0, 1]), [4, 6])?.strides).toEqual([1, 4]);
  });
});

describe("memory", () => {
  it("never lets lifetimes that overlap share bytes, and reuses bytes otherwise", () => {
    // A fixed pseudo-random set of lifetimes.
    let seed = 12345;
    const next = (n: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return seed % n;
    };
    const lifetimes = Array.from({ length: 200 }, () => {
      const first = next(50);
      return { bytes: 4 * (1 + next(5000)), first, last: first + next(10) };
    });
    const { offsets, bytes } = assignOffsets(lifetimes);
    lifetimes.forEach((a, i) => {
      expect(offsets[i]! % 64).toBe(0);
      expect(offsets[i]! + a.bytes).toBeLessThanOrEqual(bytes);
      lifetimes.slice(0, i).forEach((b, j) => {
        const alive = a.first <= b.last && b.first <= a.last;
        const apart = offsets[i]! + a.bytes <= offsets[j]! || offsets[j]! + b.bytes <= offsets[i]!;
        expect(!alive || apart).toBe(true);
      });
    });
    const peak = Math.max(
      ...Array.from({ length: 60 }, (_, t) =>
        lifetimes.reduce((sum, life) => sum + (life.first <= t && t <= life.last ? life.bytes : 0), 0),
      ),
    );
    expect(bytes).toBeLessThan(1.35 * peak);
  });
});

describe("fusion", () => {
  it("makes one kernel of a product, its bias, its activation and the sums over it", () => {
    const h = add(matmul(input("x", [8, 5]), state("w", [5, 6])), state("b", [6]));
    const plan = compile({ outputs: { h, columns: sum(h, { axes: [0] }), rows: sum(h, { axes: [1] }), all: sum(h) } });
    expect(plan.steps.map((s) => s.kernel)).toEqual(["matmul"]);
  });

  it("looks through reshapes", () => {
    const x = input("x", [4, 6]);
    const y = reshapeTensor(multiply(x, 2), [4, 3, 2]);
    const plan = compile({ outputs: { y: add(y, state("c", [4, 3, 2])) } });
    expect(plan.steps).toHaveLength(1);
  });

  it("prints plans that people can read", () => {
    const w = state("w", [3, 2]);
    const x = input("x", [4, 3]);
    const loss = sum(matmul(x, w));
    expect(
      printPlan(compile({ updates: [[w, multiply(w, 0.5)]], terms: { loss }, outputs: { head: slice(x, [0, 0], [2, 3]) } })),
    ).toMatchSnapshot();
  });
});
