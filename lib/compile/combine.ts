// Combined instructions. The tile runner makes one pass over a tile per instruction, so two instructions whose middle
// value nobody else needs are quicker as one. The forms are those that training steps are full of: bias with ReLU, the
// mask of a ReLU's gradient, and the moving averages and the step of Adam.
import type { Instruction } from "./plan.js";

interface Operation {
  readonly op: string;
  readonly arguments: readonly number[];
}

/** What a rule may ask about the program so far. */
interface Lookup {
  /** The operation that made a value, if only the one at hand uses it. */
  only(value: number): Operation | undefined;
  /** True for the constant 0. */
  isZero(value: number): boolean;
}

type Rule = (args: readonly number[], lookup: Lookup) => Operation | undefined;

/** By the op that ends the pattern; the first rule that applies wins, and its result is tried again. */
const rules: Readonly<Record<string, readonly Rule[]>> = {
  add: [
    ([a, b], { only }) => {
      const [x, y] = only(a!)?.op === "multiply" ? [a!, b!] : [b!, a!];
      const product = only(x);
      return product?.op === "multiply" ? { op: "multiply_add", arguments: [...product.arguments, y] } : undefined;
    },
    ([a, b], { only }) => {
      const [x, y] = only(a!)?.op === "sqrt" ? [a!, b!] : [b!, a!];
      const root = only(x);
      return root?.op === "sqrt" ? { op: "sqrt_add", arguments: [root.arguments[0]!, y] } : undefined;
    },
  ],
  // a + c (b - a)
  multiply_add: [
    ([x, y, a], { only }) => {
      for (const [difference, c] of [
        [x!, y!],
        [y!, x!],
      ] as const) {
        const made = only(difference);
        if (made?.op === "subtract" && made.arguments[1] === a) return { op: "interpolate", arguments: [a!, made.arguments[0]!, c] };
      }
      return undefined;
    },
  ],
  interpolate: [
    ([a, b, c], { only }) => {
      const made = only(b!);
      return made?.op === "square" ? { op: "interpolate_square", arguments: [a!, made.arguments[0]!, c!] } : undefined;
    },
  ],
  subtract: [
    ([a, b], { only }) => {
      const made = only(b!);
      return made?.op === "multiply" ? { op: "subtract_product", arguments: [a!, ...made.arguments] } : undefined;
    },
  ],
  divide: [
    ([a, b], { only }) => {
      const made = only(b!);
      return made?.op === "sqrt_add" ? { op: "divide_root", arguments: [a!, ...made.arguments] } : undefined;
    },
  ],
  relu: [
    ([a], { only }) => {
      const made = only(a!);
      return made?.op === "add" ? { op: "add_relu", arguments: made.arguments } : undefined;
    },
  ],
  // where(0 < a, b, 0)
  where: [
    ([condition, b, zero], { only, isZero }) => {
      const made = only(condition!);
      if (made?.op !== "less" || !isZero(zero!) || !isZero(made.arguments[0]!)) return undefined;
      return { op: "where_positive", arguments: [made.arguments[1]!, b!] };
    },
  ],
};

/** Replaces patterns and drops what nobody uses any more. */
export function combine(program: readonly Instruction[]): Instruction[] {
  const uses = new Array<number>(program.length).fill(0);
  for (const instruction of program) for (const value of valuesRead(instruction)) uses[value]!++;
  const combined = [...program];
  const lookup: Lookup = {
    only: (value) => {
      const made = combined[value]!;
      return uses[value] === 1 && "arguments" in made ? made : undefined;
    },
    isZero: (value) => {
      const made = combined[value]!;
      return made.op === "constant" && "value" in made && Object.is(made.value, 0);
    },
  };
  // A value that nobody uses any more does not use its arguments either, so that they may be combined in their turn.
  const release = (value: number) => {
    if (--uses[value]! === 0) for (const argument of valuesRead(combined[value]!)) release(argument);
  };
  combined.forEach((instruction, i) => {
    if (!("arguments" in instruction)) return;
    let current: Operation = instruction;
    for (;;) {
      let next: Operation | undefined;
      for (const rule of rules[current.op] ?? []) next ??= rule(current.arguments, lookup);
      if (!next) break;
      for (const value of next.arguments) uses[value]!++;
      for (const value of current.arguments) release(value);
      current = next;
    }
    combined[i] = current;
  });
  return withoutUnused(combined);
}

function withoutUnused(program: readonly Instruction[]): Instruction[] {
  const used = new Set<number>();
  const kept: number[] = [];
  for (let i = program.length - 1; i >= 0; i--) {
    const instruction = program[i]!;
    const ends = instruction.op === "store" || instruction.op.startsWith("reduce_");
    if (!ends && !used.has(i)) continue;
    kept.unshift(i);
    for (const value of valuesRead(instruction)) used.add(value);
  }
  const position = new Map(kept.map((old, now) => [old, now]));
  const moved = (value: number) => position.get(value)!;
  return kept.map((i) => {
    const instruction = program[i]!;
    if ("arguments" in instruction) return { op: instruction.op, arguments: instruction.arguments.map(moved) };
    return "value" in instruction && "operand" in instruction ? { ...instruction, value: moved(instruction.value) } : instruction;
  });
}

function valuesRead(instruction: Instruction): readonly number[] {
  if ("arguments" in instruction) return instruction.arguments;
  return "value" in instruction && "operand" in instruction ? [instruction.value] : [];
}
