// Writes a plan as the int32 words that native/plan.h describes and native/plan.cc reads.
import { VaeError } from "../errors.js";
import { greatest } from "../graph/extremes.js";
import type { DType } from "../graph/tensor.js";
import { type Instruction, type Plan, type PlanStep, type ReductionAxes, SPACE_DIMENSIONS } from "./plan.js";

/** The names of native/ops.def in its order: an id is a position. */
export interface NativeTables {
  readonly kernels: readonly string[];
  readonly instructions: readonly string[];
}

const MAGIC = 0x45415650;
const VERSION = 1;
const DTYPES: Readonly<Record<DType, number>> = { float32: 0, int32: 1, uint8: 2 };
const AXES: Readonly<Record<ReductionAxes, number>> = { rows: 1, columns: 2, both: 3 };
/** Stands where an instruction has no argument. */
const NONE = -1;

/**
 * The words of a plan, for the addon's `compile`.
 *
 * @param tables the addon's own tables, from `info()`, so that a plan can never be read with other numbers
 * @throws `VaeError` `"argument"` for an op whose instruction the tables do not have, `"plan"` for a kernel that they do not have and
 *   for numbers that are not whole
 */
export function encodePlan(plan: Plan, tables: NativeTables): Int32Array {
  return new Encoder(tables).plan(plan);
}

class Encoder {
  readonly #words: number[] = [];
  readonly #kernels: ReadonlyMap<string, number>;
  readonly #instructions: ReadonlyMap<string, number>;

  constructor(tables: NativeTables) {
    this.#kernels = new Map(tables.kernels.map((name, id) => [name, id]));
    this.#instructions = new Map(tables.instructions.map((name, id) => [name, id]));
  }

  plan({ arenaBytes, buffers, inputs, outputs, terms, commit, steps }: Plan): Int32Array {
    const slots = buffers.map((buffer) => (buffer.kind === "resident" ? buffer.slot + 1 : 0));
    this.#word(MAGIC, VERSION);
    this.#wide(arenaBytes);
    this.#word(Math.max(0, greatest(slots)), buffers.length, inputs.length, outputs.length, terms.buffer, commit, steps.length);
    for (const buffer of buffers) {
      const resident = buffer.kind === "resident";
      this.#word(resident ? 1 : 0, DTYPES[buffer.dtype]);
      this.#wide(buffer.elements);
      this.#wide(resident ? buffer.slot : buffer.offset);
      this.#word(!resident || buffer.writable ? 1 : 0);
    }
    for (const { buffer } of [...inputs, ...outputs]) this.#word(buffer);
    for (const step of steps) this.#step(step);
    return Int32Array.from(this.#words);
  }

  #step({ kernel, label, space, operands, attributes, program }: PlanStep): void {
    const id = this.#kernels.get(kernel);
    if (id === undefined) throw wrong(`no native kernel "${kernel}" (step "${label}")`);
    this.#word(id);
    this.#dimensions(space);
    this.#word(operands.length, attributes.length, program.length);
    for (const { buffer, offset, strides } of operands) {
      this.#word(buffer);
      this.#wide(offset);
      this.#dimensions(strides);
    }
    this.#word(...attributes);
    for (const instruction of program) this.#instruction(instruction);
  }

  #instruction(instruction: Instruction): void {
    const id = this.#instructions.get(instruction.op);
    if (id === undefined) throw noInstruction(instruction.op);
    this.#word(id, ...argumentsOf(instruction));
  }

  #dimensions(values: readonly number[]): void {
    if (values.length !== SPACE_DIMENSIONS) throw wrong(`a space or strides of ${values.length} dimensions, not ${SPACE_DIMENSIONS}`);
    for (const value of values) this.#wide(value);
  }

  #word(...values: number[]): void {
    for (const value of values) {
      if (!Number.isInteger(value) || value < -(2 ** 31) || value >= 2 ** 32) throw wrong(`${value} does not fit into 32 bits`);
      this.#words.push(value | 0);
    }
  }

  /** A 64-bit number in two's complement, low word first. */
  #wide(value: number): void {
    if (!Number.isSafeInteger(value)) throw wrong(`${value} is not a whole number`);
    this.#words.push(value | 0, Math.floor(value / 2 ** 32) | 0);
  }
}

function argumentsOf(instruction: Instruction): [a: number, b: number, c: number] {
  if ("axes" in instruction) return [instruction.value, instruction.operand, AXES[instruction.axes]];
  if ("operand" in instruction) {
    return "value" in instruction ? [instruction.value, instruction.operand, NONE] : [instruction.operand, NONE, NONE];
  }
  if ("value" in instruction) return [floatBits(instruction.value), NONE, NONE];
  if ("arguments" in instruction) {
    const [a = NONE, b = NONE, c = NONE] = instruction.arguments;
    return [a, b, c];
  }
  return [NONE, NONE, NONE];
}

function floatBits(value: number): number {
  return new Int32Array(Float32Array.of(value).buffer)[0]!;
}

/** A row of the op table without its line in native/ops.def. */
function noInstruction(op: string): VaeError {
  return new VaeError({
    code: "argument",
    operation: op,
    problem: "the op has no native instruction",
    hint: "evaluate() can still compute it",
  });
}

function wrong(problem: string): VaeError {
  return new VaeError({ code: "plan", operation: "encodePlan", problem });
}
