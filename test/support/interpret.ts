// The meaning of a plan, as slowly and plainly as possible: what every backend must agree with, and a judge of the
// compiler that needs no native code. Follows native/plan.h.

import type { Instruction, Plan, PlanStep } from "../../lib/compile/plan.js";
import { batchIndex, normalDraws, uniformDraws } from "../../lib/graph/philox.js";
import { special } from "./interpret-special.js";

export interface InterpretOptions {
  readonly inputs?: Readonly<Record<string, ArrayLike<number>>>;
  /** Residents by name; written in place. */
  readonly residents?: Readonly<Record<string, Float64Array>>;
  readonly seed?: number;
  readonly step?: number;
}

export function interpret(plan: Plan, options: InterpretOptions = {}): { outputs: Record<string, Float64Array>; terms: Float64Array } {
  // One float64 stands at the first byte of each element, so that lifetimes that overlap wrongly show.
  const bytes = new Float64Array(plan.arenaBytes).fill(Number.NaN);
  const memory = plan.buffers.map((buffer) => {
    if (buffer.kind === "arena") return { data: bytes, base: buffer.offset, size: buffer.dtype === "uint8" ? 1 : 4 };
    const data = buffer.data ? Float64Array.from(buffer.data) : options.residents?.[buffer.name];
    if (!data) throw new Error(`no resident "${buffer.name}"`);
    return { data, base: 0, size: 1 };
  });
  for (const { name, buffer } of plan.inputs) {
    const data = options.inputs?.[name];
    if (!data) throw new Error(`no input "${name}"`);
    const { data: target, base, size } = memory[buffer]!;
    for (let i = 0; i < data.length; i++) target[base + i * size] = data[i]!;
  }
  const { seed = 0, step = 0 } = options;
  plan.steps.forEach((planStep, index) => {
    if (index < plan.commit) {
      for (const i of planStep.program) {
        if (i.op !== "store" || !("operand" in i)) continue;
        if (plan.buffers[planStep.operands[i.operand]!.buffer]!.kind === "resident")
          throw new Error(`step ${index} writes a state before commit`);
      }
    }
    runStep(planStep, memory, seed, step);
  });
  const take = (buffer: number) => {
    const { elements } = plan.buffers[buffer]!;
    const { data, base, size } = memory[buffer]!;
    return Float64Array.from({ length: elements }, (_, i) => data[base + i * size]!);
  };
  return {
    outputs: Object.fromEntries(plan.outputs.map(({ name, buffer }) => [name, take(buffer)])),
    terms: plan.terms.buffer < 0 ? new Float64Array() : take(plan.terms.buffer),
  };
}

type Memory = readonly { readonly data: Float64Array; readonly base: number; readonly size: number }[];

function* positions(space: readonly number[]): Generator<number[]> {
  const total = space.reduce((n, size) => n * size, 1);
  for (let linear = 0; linear < total; linear++) {
    const at = new Array<number>(space.length);
    let rest = linear;
    for (let d = space.length - 1; d >= 0; d--) {
      at[d] = rest % space[d]!;
      rest = Math.floor(rest / space[d]!);
    }
    yield at;
  }
}

function runStep(step: PlanStep, memory: Memory, seed: number, counter: number): void {
  const address = (operand: number, at: readonly number[]) => {
    const { buffer, offset, strides } = step.operands[operand]!;
    const { base, size } = memory[buffer]!;
    return base + size * at.reduce((sum, index, d) => sum + index * strides[d]!, offset);
  };
  const data = (operand: number) => memory[step.operands[operand]!.buffer]!.data;
  const count = step.space[5]!;
  const zero = [0, 0, 0, 0, 0, 0];
  const sizeOf = (operand: number) => memory[step.operands[operand]!.buffer]!.size;
  const column = (i: number) => [0, 0, 0, 0, 0, i];
  switch (step.kernel) {
    case "map":
      runProgram(step, address, data, () => Number.NaN);
      return;
    case "matmul": {
      const [k, aStride, bStride] = step.attributes as [number, number, number];
      runProgram(step, address, data, (at) => {
        const [a, b] = [address(0, at), address(1, at)];
        let sum = 0;
        for (let i = 0; i < k; i++) sum += data(0)[a + i * aStride * sizeOf(0)]! * data(1)[b + i * bStride * sizeOf(1)]!;
        return sum;
      });
      return;
    }
    case "conv2d":
    case "conv2d_input_gradient":
    case "conv2d_weight_gradient": {
      const [first, second] = [0, 1].map((operand) => (i: number) => data(operand)[address(operand, zero) + i * sizeOf(operand)]!);
      runProgram(step, address, data, (at) => convolve(step, first!, second!, at[4]!, at[5]!));
      return;
    }
    case "fold":
    case "cumulative_sum":
    case "sort":
    case "cholesky":
    case "triangular_solve": {
      const [first, second] = [0, 1].map((operand) => (i: number) => data(operand)[address(operand, zero) + i * sizeOf(operand)]!);
      const output = step.operands.length - 1;
      special(step, first!, second!).forEach((value, i) => {
        data(output)[address(output, zero) + i * sizeOf(output)] = value;
      });
      return;
    }
    case "random_uniform":
    case "random_normal": {
      const draw = step.kernel === "random_uniform" ? uniformDraws : normalDraws;
      const values = draw(count, step.attributes[0]!, counter, BigInt(seed));
      values.forEach((value, i) => {
        data(0)[address(0, column(i))] = value;
      });
      return;
    }
    case "shuffled_indices":
      for (let i = 0; i < count; i++) {
        const [rows, shuffle, stream] = step.attributes as [number, number, number];
        data(0)[address(0, column(i))] = batchIndex(
          { step: counter, i },
          { rows, batch: count, shuffle: shuffle === 1, stream },
          BigInt(seed),
        );
      }
      return;
    case "step_index":
      data(0)[address(0, zero)] = counter;
      return;
    case "gather":
      for (const at of positions(step.space)) {
        const row = data(1)[address(1, at)]!;
        data(2)[address(2, at)] = data(0)[address(0, at) + row * step.attributes[1]! * sizeOf(0)]!;
      }
      return;
    case "scatter_add": {
      const [rowStride, rows] = [step.operands[2]!.strides[4]!, step.attributes[0]!];
      const target = (row: number, c: number) => address(2, zero) + (row * rowStride + c) * sizeOf(2);
      for (let r = 0; r < rows; r++) for (let c = 0; c < count; c++) data(2)[target(r, c)] = 0;
      for (const at of positions(step.space)) data(2)[target(data(1)[address(1, at)]!, at[5]!)]! += data(0)[address(0, at)]!;
      return;
    }
  }
}

/** One element of a convolution, in whichever direction, as the sum over the taps or places that meet in it. */
function convolve(step: PlanStep, first: (i: number) => number, second: (i: number) => number, row: number, column: number): number {
  const [n, h, w, c, oh, ow, f, kh, kw, sh, sw, top, left, dh, dw, groups] = step.attributes as [
    ...[number, number, number, number, number, number, number, number],
    ...[number, number, number, number, number, number, number, number],
  ];
  const [cg, fg] = [c / groups, f / groups];
  const x = (image: number, y: number, z: number, channel: number) => ((image * h + y) * w + z) * c + channel;
  const out = (image: number, y: number, z: number, filter: number) => ((image * oh + y) * ow + z) * f + filter;
  const weight = (y: number, z: number, channel: number, filter: number) => ((y * kw + z) * cg + channel) * f + filter;
  let sum = 0;
  const taps = (body: (ky: number, kz: number) => void) => {
    for (let ky = 0; ky < kh; ky++) for (let kz = 0; kz < kw; kz++) body(ky, kz);
  };
  if (step.kernel === "conv2d") {
    const [image, oy, oz] = [Math.floor(row / (oh * ow)), Math.floor(row / ow) % oh, row % ow];
    taps((ky, kz) => {
      const [y, z] = [oy * sh - top + ky * dh, oz * sw - left + kz * dw];
      if (y < 0 || y >= h || z < 0 || z >= w) return;
      const group = Math.floor(column / fg);
      for (let i = 0; i < cg; i++) sum += first(x(image, y, z, group * cg + i)) * second(weight(ky, kz, i, column));
    });
  } else if (step.kernel === "conv2d_input_gradient") {
    const [image, y, z] = [Math.floor(row / (h * w)), Math.floor(row / w) % h, row % w];
    taps((ky, kz) => {
      const [oy, oz] = [(y + top - ky * dh) / sh, (z + left - kz * dw) / sw];
      if (!Number.isInteger(oy) || !Number.isInteger(oz) || oy < 0 || oy >= oh || oz < 0 || oz >= ow) return;
      const group = Math.floor(column / cg);
      for (let j = 0; j < fg; j++) sum += first(out(image, oy, oz, group * fg + j)) * second(weight(ky, kz, column % cg, group * fg + j));
    });
  } else {
    const [ky, kz, channel] = [Math.floor(row / (kw * cg)), Math.floor(row / cg) % kw, row % cg];
    const group = Math.floor(column / fg);
    for (let image = 0; image < n; image++) {
      for (let oy = 0; oy < oh; oy++) {
        for (let oz = 0; oz < ow; oz++) {
          const [y, z] = [oy * sh - top + ky * dh, oz * sw - left + kz * dw];
          if (y < 0 || y >= h || z < 0 || z >= w) continue;
          sum += first(x(image, y, z, group * cg + channel)) * second(out(image, oy, oz, column));
        }
      }
    }
  }
  return sum;
}

function runProgram(
  step: PlanStep,
  address: (operand: number, at: readonly number[]) => number,
  data: (operand: number) => Float64Array,
  accumulator: (at: readonly number[]) => number,
): void {
  const started = new Set<string>();
  for (const at of positions(step.space)) {
    const values: number[] = [];
    step.program.forEach((instruction, i) => {
      values[i] = Number.NaN;
      if ("arguments" in instruction)
        values[i] = compute(
          instruction,
          instruction.arguments.map((a) => values[a]!),
        );
      else if (instruction.op === "constant") values[i] = instruction.value;
      else if (instruction.op === "load") values[i] = data(instruction.operand)[address(instruction.operand, at)]!;
      else if (instruction.op === "accumulator") values[i] = accumulator(at);
      else if (instruction.op === "store") data(instruction.operand)[address(instruction.operand, at)] = values[instruction.value]!;
      else {
        const target = address(instruction.operand, at);
        const key = `${i}:${target}`;
        const old = started.has(key) ? data(instruction.operand)[target]! : instruction.op === "reduce_sum" ? 0 : Number.NEGATIVE_INFINITY;
        started.add(key);
        const value = values[instruction.value]!;
        data(instruction.operand)[target] = instruction.op === "reduce_sum" ? old + value : Math.max(old, value);
      }
    });
  }
}

const functions: Record<string, (a: number, b: number, c: number) => number> = {
  negate: (a) => -a,
  absolute: Math.abs,
  sign: Math.sign,
  reciprocal: (a) => 1 / a,
  square: (a) => a * a,
  sqrt: Math.sqrt,
  exp: Math.exp,
  expm1: Math.expm1,
  log: Math.log,
  log1p: Math.log1p,
  tanh: Math.tanh,
  sigmoid: (a) => 1 / (1 + Math.exp(-a)),
  softplus: (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a))),
  relu: (a) => Math.max(a, 0),
  floor: Math.floor,
  sin: Math.sin,
  cos: Math.cos,
  is_finite: (a) => Number(Number.isFinite(a)),
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
  maximum: (a, b) => Math.max(a, b),
  minimum: (a, b) => Math.min(a, b),
  less: (a, b) => Number(a < b),
  less_equal: (a, b) => Number(a <= b),
  equal: (a, b) => Number(a === b),
  where: (a, b, c) => (a !== 0 ? b : c),
  multiply_add: (a, b, c) => a * b + c,
  interpolate: (a, b, c) => a + c * (b - a),
  interpolate_square: (a, b, c) => a + c * (b * b - a),
  subtract_product: (a, b, c) => a - b * c,
  sqrt_add: (a, b) => Math.sqrt(a) + b,
  divide_root: (a, b, c) => a / (Math.sqrt(b) + c),
  add_relu: (a, b) => Math.max(a + b, 0),
  where_positive: (a, b) => (a > 0 ? b : 0),
};

function compute(instruction: Extract<Instruction, { arguments: readonly number[] }>, inputs: readonly number[]): number {
  const apply = functions[instruction.op];
  if (!apply) throw new Error(`no instruction "${instruction.op}"`);
  return apply(inputs[0]!, inputs[1]!, inputs[2]!);
}
