// Plans written by hand, for tests of the native session: each is small enough to know its answer. And the arrays to feed
// them, and to compare.
import type { Instruction, Operand, Plan, PlanBuffer, PlanStep } from "../../lib/compile/plan.js";

export const op = (name: string, ...values: number[]): Instruction => ({ op: name, arguments: values });
export const load = (operand: number): Instruction => ({ op: "load", operand });
export const store = (value: number, operand: number): Instruction => ({ op: "store", value, operand });
export const constant = (value: number): Instruction => ({ op: "constant", value });
export const accumulator: Instruction = { op: "accumulator" };

/** A view by the strides of its last dimensions; the ones before have stride 0. */
export function view(buffer: number, strides: readonly number[], offset = 0): Operand {
  return { buffer, offset, strides: [...new Array<number>(6 - strides.length).fill(0), ...strides] };
}

/** A step over the last dimensions of a space; the ones before are 1. */
export function step(kernel: PlanStep["kernel"], space: readonly number[], parts: Partial<PlanStep>): PlanStep {
  const ones = new Array<number>(6 - space.length).fill(1);
  return { kernel, label: kernel, space: [...ones, ...space], operands: [], attributes: [], program: [], ...parts };
}

export function map(space: readonly number[], operands: readonly Operand[], program: readonly Instruction[]): PlanStep {
  return step("map", space, { operands, program });
}

export function resident(name: string, slot: number, elements: number, writable = true): PlanBuffer {
  return { kind: "resident", name, dtype: "float32", elements, slot, writable };
}

/** Arena buffers one behind the other (name, dtype, elements), and residents as they are. */
export function plan(
  buffers: readonly (PlanBuffer | readonly [name: string, dtype: PlanBuffer["dtype"], elements: number])[],
  steps: readonly PlanStep[],
  parts: { inputs?: readonly number[]; outputs?: readonly number[]; terms?: number; termNames?: readonly string[]; commit?: number } = {},
): Plan {
  let arenaBytes = 0;
  const placed = buffers.map((buffer): PlanBuffer => {
    if ("kind" in buffer) return buffer;
    const [name, dtype, elements] = buffer;
    const offset = arenaBytes;
    arenaBytes += Math.ceil((elements * (dtype === "uint8" ? 1 : 4)) / 64) * 64;
    return { kind: "arena", name, dtype, elements, offset };
  });
  const named = (buffer: number) => ({ name: placed[buffer]!.name, buffer });
  return {
    arenaBytes,
    buffers: placed,
    inputs: (parts.inputs ?? []).map(named),
    outputs: (parts.outputs ?? []).map((buffer) => ({ ...named(buffer), shape: [placed[buffer]!.elements] })),
    terms: { names: parts.termNames ?? [], buffer: parts.terms ?? -1 },
    commit: parts.commit ?? 0,
    steps,
  };
}

/** out = a * b + 1, elementwise over n. */
export function mapPlan(n: number): Plan {
  return plan(
    [
      ["a", "float32", n],
      ["b", "float32", n],
      ["out", "float32", n],
    ],
    [
      map(
        [n],
        [view(0, [1]), view(1, [1]), view(2, [1])],
        [load(0), load(1), op("multiply", 0, 1), constant(1), op("add", 2, 3), store(4, 2)],
      ),
    ],
    { inputs: [0, 1], outputs: [2], commit: 1 },
  );
}

/** out = relu(a b + bias) for a [m, k], b [k, n]; `columns` are the sums of out's columns, `top` the largest of all. */
export function matmulPlan(m: number, k: number, n: number): Plan {
  return plan(
    [
      ["a", "float32", m * k],
      ["b", "float32", k * n],
      ["bias", "float32", n],
      ["out", "float32", m * n],
      ["columns", "float32", n],
      ["top", "float32", 1],
    ],
    [
      step("matmul", [m, n], {
        operands: [view(0, [k, 0]), view(1, [0, 1]), view(2, [0, 1]), view(3, [n, 1]), view(4, [0, 1])],
        attributes: [k, 1, n],
        program: [
          accumulator,
          load(2),
          op("add", 0, 1),
          op("relu", 2),
          store(3, 3),
          { op: "reduce_sum", value: 3, operand: 4, axes: "rows" },
        ],
      }),
      map([m, n], [view(3, [n, 1]), view(5, [0, 0])], [load(0), { op: "reduce_max", value: 0, operand: 1, axes: "both" }]),
    ],
    { inputs: [0, 1, 2], outputs: [3, 4, 5], commit: 2 },
  );
}

/** A shuffled batch of rows from a uint8 table, scaled to [0, 1], and the gradient-like sum back into the table's rows. */
export function gatherPlan(rows: number, columns: number, batch: number, shuffle: boolean): Plan {
  return plan(
    [
      { kind: "resident", name: "table", dtype: "uint8", elements: rows * columns, slot: 0, writable: false },
      ["indices", "int32", batch],
      ["bytes", "uint8", batch * columns],
      ["scaled", "float32", batch * columns],
      ["sums", "float32", rows * columns],
      ["indicesOut", "float32", batch],
    ],
    [
      step("shuffled_indices", [batch], { operands: [view(1, [1])], attributes: [rows, shuffle ? 1 : 0, 7] }),
      step("gather", [batch, columns], {
        operands: [view(0, [0, 1]), view(1, [1, 0]), view(2, [columns, 1])],
        attributes: [rows, columns],
      }),
      map([batch * columns], [view(2, [1]), view(3, [1])], [load(0), constant(1 / 255), op("multiply", 0, 1), store(2, 1)]),
      step("scatter_add", [batch, columns], {
        operands: [view(3, [columns, 1]), view(1, [1, 0]), view(4, [columns, 1])],
        attributes: [rows],
      }),
      map([batch], [view(1, [1]), view(5, [1])], [load(0), store(0, 1)]),
    ],
    { outputs: [3, 4, 5], commit: 5 },
  );
}

/** n uniform and n normal numbers, and the step counter. */
export function randomPlan(n: number): Plan {
  return plan(
    [
      ["uniform", "float32", n],
      ["normal", "float32", n],
      ["step", "float32", 1],
    ],
    [
      step("random_uniform", [n], { operands: [view(0, [1])], attributes: [3] }),
      step("random_normal", [n], { operands: [view(1, [1])], attributes: [4] }),
      step("step_index", [1], { operands: [view(2, [0])] }),
    ],
    { outputs: [0, 1, 2], commit: 3 },
  );
}

/**
 * weight := 2 weight, for n weights. The term is the first weight's square: with a weight of 1 at step 0 it is 4^s at step
 * s, finite up to step 63, while the weight itself is finite up to step 127.
 */
export function doublingPlan(n = 1): Plan {
  return plan(
    [resident("weight", 0, n), ["terms", "float32", 1]],
    [
      map([1], [view(0, [0]), view(1, [0])], [load(0), op("square", 0), store(1, 1)]),
      map([n], [view(0, [1])], [load(0), op("add", 0, 0), store(1, 0)]),
    ],
    { terms: 1, termNames: ["square"], commit: 1 },
  );
}

/** A run of many steps that each take a while: products of n x n matrices. */
export function slowPlan(n: number): Plan {
  return plan(
    [
      ["a", "float32", n * n],
      ["out", "float32", n * n],
    ],
    [
      step("matmul", [n, n], {
        operands: [view(0, [n, 0]), view(0, [0, 1]), view(1, [n, 1])],
        attributes: [n, 1, n],
        program: [accumulator, store(0, 2)],
      }),
    ],
    { commit: 1 },
  );
}

export const floats = (n: number, value: (i: number) => number) => Float32Array.from({ length: n }, (_, i) => value(i));
export const wave = (n: number, phase = 0) => floats(n, (i) => Math.sin(i * 0.7 + phase));

/** The largest difference; Infinity when the lengths differ or a value is NaN. */
export function distance(actual: ArrayLike<number> | undefined, expected: ArrayLike<number>): number {
  if (actual?.length !== expected.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return largest;
}
