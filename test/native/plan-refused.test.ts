// Native validation, check by check: each refusal names the step, its kernel and what is wrong.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Plan } from "../../lib/compile/plan.js";
import { Device } from "../../lib/runtime/device.js";
import { accumulator, doublingPlan, load, matmulPlan, op, resident, store } from "../support/plans.js";

let device: Device;
beforeEach(() => {
  device = Device.open({ device: "cpu", threads: 1 });
});
afterEach(() => device.dispose());

describe("plans that are refused say where and why", () => {
  const good = matmulPlan(4, 3, 2);
  const change = (parts: Partial<Plan["steps"][number]>, index = 0): Plan => ({
    ...good,
    steps: good.steps.map((old, i) => (i === index ? { ...old, ...parts } : old)),
  });
  const [matmul] = good.steps;
  const operands = (index: number, parts: object) => matmul!.operands.map((old, i) => (i === index ? { ...old, ...parts } : old));

  test.each<[name: string, broken: Plan, message: RegExp]>([
    ["a view beyond its buffer", change({ attributes: [4, 1, 2] }), /step 0 \(matmul\): operand 0 reaches beyond the 12 elements/],
    ["a negative stride", change({ operands: operands(2, { strides: [0, 0, 0, 0, 0, -1] }) }), /operand 2 has the negative stride -1/],
    ["a buffer that is not there", change({ operands: operands(1, { buffer: 9 }) }), /operand 1 names buffer 9 of 6/],
    ["overlapping stores", change({ operands: operands(3, { strides: [0, 0, 0, 0, 1, 1] }) }), /operand 3 is written at overlapping/],
    ["a later value", change({ program: [accumulator, op("relu", 1), store(1, 3)] }), /instruction 1 \(relu\) names value 1/],
    ["the value of a store", change({ program: [accumulator, store(0, 3), store(1, 3)] }), /store gives none/],
    ["no store", change({ program: [accumulator] }), /stores nothing/],
    [
      "accumulator in map",
      change({ program: [accumulator, store(0, 1)] }, 1),
      /step 1 \(map\): instruction 0 \(accumulator\) stands outside/,
    ],
    ["A as an operand of the program", change({ program: [load(0), store(0, 3)] }), /names operand 0; the program's are 2 to 4/],
    ["too few attributes", change({ attributes: [3] }), /takes 3 attributes, not 1/],
    ["too many iterations", change({ space: [2 ** 30, 2 ** 30, 1, 1, 4, 2] }), /too many iterations/],
    ["an arena that is too small", { ...good, arenaBytes: 64 }, /buffer 1 .*inside the arena/],
    ["a commit behind the end", { ...good, commit: 3 }, /commit at step 3 of 2/],
    ["terms that are not there", { ...good, terms: { names: [], buffer: 17 } }, /row of terms names buffer 17/],
    ["an update before the commit", { ...doublingPlan(), commit: 2 }, /step 1 \(map\): operand 0 writes a resident before the commit/],
    [
      "an update of what is not writable",
      { ...doublingPlan(), buffers: [resident("weight", 0, 1, false), ...doublingPlan().buffers.slice(1)] },
      /step 1 \(map\): operand 0 is written but its resident is not writable/,
    ],
  ])("%s", (_, broken, message) => {
    device.resident("weight", [1], "float32");
    expect(() => device.load(broken)).toThrow(expect.objectContaining({ code: "plan", message: expect.stringMatching(message) }));
  });

  test("the untouched plan is taken", () => {
    expect(device.load(good).memory().arena).toBe(good.arenaBytes);
  });

  test("residents that are not there, or of another size", () => {
    expect(() => device.load(doublingPlan())).toThrow(expect.objectContaining({ code: "argument" }));
    device.resident("weight", [2], "float32");
    expect(() => device.load(doublingPlan())).toThrow(expect.objectContaining({ code: "argument" }));
  });
});
