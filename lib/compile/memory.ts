// One arena per plan: every temporary gets an offset such that buffers whose lifetimes overlap never share bytes.
// Greedy by size (Pisarchyk & Lee 2020, "Efficient memory management for deep neural net inference"): the largest
// buffer first, each into the smallest gap that fits.
import type { Instruction, PlanStep } from "./plan.js";

/** Live from the step that first writes it to the step that last reads it, both included. */
export interface Lifetime {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

/** Buffers start at cache lines, which are also the widest vectors. */
export const ALIGNMENT = 64;

export function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** Byte offset per lifetime, and the size of the arena. */
export function assignOffsets(lifetimes: readonly Lifetime[]): { offsets: number[]; bytes: number } {
  const offsets = new Array<number>(lifetimes.length).fill(0);
  const placed: number[] = [];
  let bytes = 0;
  const bySize = lifetimes.map((_, i) => i).sort((a, b) => lifetimes[b]!.bytes - lifetimes[a]!.bytes || a - b);
  for (const index of bySize) {
    const { bytes: size, first, last } = lifetimes[index]!;
    const rivals = placed.filter((other) => lifetimes[other]!.first <= last && first <= lifetimes[other]!.last);
    rivals.sort((a, b) => offsets[a]! - offsets[b]!);
    let best = -1;
    let bestGap = Number.POSITIVE_INFINITY;
    let end = 0;
    for (const rival of rivals) {
      const gap = offsets[rival]! - end;
      if (gap >= align(size) && gap < bestGap) {
        best = end;
        bestGap = gap;
      }
      end = Math.max(end, offsets[rival]! + align(lifetimes[rival]!.bytes));
    }
    offsets[index] = best >= 0 ? best : end;
    bytes = Math.max(bytes, offsets[index]! + align(size));
    placed.push(index);
  }
  return { offsets, bytes };
}

/**
 * A temporary whose last reader makes another temporary at the very same positions gives it its bytes.
 * Safe where the program is done with the old value by the time the new one exists.
 */
export function mergeInPlace(
  steps: readonly PlanStep[],
  used: ReadonlyMap<number, { first: number; last: number }>,
  temporaryBytes: (buffer: number) => number | undefined,
): (buffer: number) => number {
  const parent = new Map<number, number>();
  const find = (i: number): number => {
    let root = i;
    for (let above = parent.get(root); above !== undefined; above = parent.get(root)) root = above;
    return root;
  };
  steps.forEach((step, index) => {
    const taken = new Set<number>();
    step.program.forEach((store, at) => {
      if (store.op !== "store" || !("operand" in store) || !("value" in store)) return;
      const target = step.operands[store.operand]!;
      const wholeStep = (buffer: number) => step.operands.filter((operand) => operand.buffer === buffer);
      if (used.get(target.buffer)!.first !== index || wholeStep(target.buffer).length !== 1 || target.offset !== 0) return;
      for (const [loadAt, load] of step.program.entries()) {
        if (load.op !== "load" || !("operand" in load)) continue;
        const source = step.operands[load.operand]!;
        const fits =
          source.offset === 0 &&
          !taken.has(source.buffer) &&
          temporaryBytes(source.buffer) !== undefined &&
          temporaryBytes(source.buffer) === temporaryBytes(target.buffer) &&
          used.get(source.buffer)!.last === index &&
          used.get(source.buffer)!.first < index &&
          wholeStep(source.buffer).length === 1 &&
          source.strides.join() === target.strides.join() &&
          loadAt < at &&
          lastUse(step.program, loadAt) <= store.value;
        if (!fits) continue;
        taken.add(source.buffer);
        parent.set(find(target.buffer), find(source.buffer));
        return;
      }
    });
  });
  return find;
}

/** The last instruction that reads a value. */
function lastUse(program: readonly Instruction[], value: number): number {
  return program.findLastIndex(
    (i) => ("arguments" in i && i.arguments.includes(value)) || ("value" in i && "operand" in i && i.value === value),
  );
}
