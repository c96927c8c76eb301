// A plan as text: for people, and for the snapshot tests that pin what is fused.
import type { Instruction, Operand, Plan, PlanStep } from "./plan.js";

/**
 * Prints a plan, one kernel call after another with its tile program.
 *
 * Spaces are written without leading unit dimensions, operands as `buffer+offset[strides]`.
 */
export function printPlan(plan: Plan): string {
  const lines = [`plan: ${plan.steps.length} steps, arena ${plan.arenaBytes} bytes, updates from step ${plan.commit}`];
  plan.buffers.forEach((buffer, i) => {
    const where = buffer.kind === "arena" ? `arena+${buffer.offset}` : `resident ${buffer.slot}${buffer.writable ? " (updated)" : ""}`;
    lines.push(`  b${i} ${buffer.name}: ${buffer.dtype} × ${buffer.elements}, ${where}`);
  });
  plan.steps.forEach((step, i) => {
    lines.push(...printStep(step, i));
  });
  for (const { name, buffer } of plan.outputs) lines.push(`output ${name} = b${buffer}`);
  if (plan.terms.names.length > 0) lines.push(`terms ${plan.terms.names.join(", ")} = b${plan.terms.buffer}`);
  return `${lines.join("\n")}\n`;
}

function printStep(step: PlanStep, index: number): string[] {
  const first = step.space.findIndex((size) => size !== 1);
  const from = first < 0 ? step.space.length - 1 : first;
  const show = ({ buffer, offset, strides }: Operand) => `b${buffer}${offset ? `+${offset}` : ""}[${strides.slice(from).join(" ")}]`;
  const used = new Set(step.program.flatMap((i) => ("operand" in i ? [i.operand] : [])));
  const direct = step.operands.filter((_, i) => !used.has(i)).map(show);
  const attributes = step.attributes.length > 0 ? ` (${step.attributes.join(", ")})` : "";
  const head = `step ${index} ${step.kernel} [${step.space.slice(from).join(", ")}]${attributes} ${direct.join(" ")}`.trimEnd();
  const body = step.program.map((instruction, i) => `    ${printInstruction(instruction, i, (operand) => show(step.operands[operand]!))}`);
  return [`${head}  — ${step.label}`, ...body];
}

function printInstruction(instruction: Instruction, index: number, show: (operand: number) => string): string {
  if ("arguments" in instruction) return `%${index} = ${instruction.op} ${instruction.arguments.map((a) => `%${a}`).join(" ")}`;
  switch (instruction.op) {
    case "load":
      return `%${index} = load ${show(instruction.operand)}`;
    case "accumulator":
      return `%${index} = accumulator`;
    case "constant":
      return `%${index} = ${instruction.value}`;
    case "store":
      return `store %${instruction.value} -> ${show(instruction.operand)}`;
    default:
      return `${instruction.op} %${instruction.value} over ${instruction.axes} -> ${show(instruction.operand)}`;
  }
}
