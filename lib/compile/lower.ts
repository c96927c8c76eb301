// Clusters to plan steps: operands, merged dimensions, attributes.
import { VaeError } from "../errors.js";
import { showShape, sizeOf, type Tensor } from "../graph/tensor.js";
import type { Cluster } from "./cluster.js";
import type { Operand, PlanStep } from "./plan.js";
import { storageRoot, viewOf } from "./prepare.js";
import { emitProgram, type Sink, type SpaceOperand } from "./program.js";
import { layOut } from "./space.js";
import { contiguousStrides, contiguousView, sliceView } from "./view.js";

export interface Place {
  readonly buffer: number;
  readonly offset: number;
}

export interface Lowering {
  readonly clusterOf: ReadonlyMap<Tensor, Cluster>;
  readonly sinksOf: (node: Tensor) => readonly Sink[];
  readonly locate: (root: Tensor) => Place;
}

export function lower(cluster: Cluster, context: Lowering): PlanStep[] {
  if (cluster.kind === "map") return [lowerMap(cluster, context)];
  if (cluster.kind === "matmul") return [lowerMatmul(cluster, context)];
  return lowerSpecial(cluster.root!, context);
}

function label(cluster: Cluster): string {
  const ops = [...(cluster.root ? [cluster.root.op] : []), ...cluster.nodes.map((node) => node.op)];
  const counts = new Map<string, number>();
  for (const op of ops) counts.set(op, (counts.get(op) ?? 0) + 1);
  return [...counts].map(([op, n]) => (n > 1 ? `${op}×${n}` : op)).join(" ");
}

function lowerMap(cluster: Cluster, context: Lowering): PlanStep {
  const program = emitProgram(cluster, context.clusterOf, context.sinksOf, context.locate, []);
  const laid = layOut(
    cluster.space,
    cluster.split,
    program.operands.map((operand) => operand.strides),
  )!;
  return {
    kernel: "map",
    label: label(cluster),
    space: laid.space,
    operands: place(program.operands, laid.strides),
    attributes: [],
    program: program.instructions,
  };
}

function place(operands: readonly SpaceOperand[], strides: readonly (readonly number[])[]): Operand[] {
  return operands.map(({ buffer, offset }, i) => ({ buffer, offset, strides: strides[i]! }));
}

function lowerMatmul(cluster: Cluster, context: Lowering): PlanStep {
  const node = cluster.root!;
  const [a, b] = [node.inputs[0]!, node.inputs[1]!];
  const batch = node.shape.slice(0, -2);
  // [..., rows, columns] strides, with a missing batch broadcast.
  const matrix = (input: Tensor, transposed: boolean) => {
    const view = viewOf(input);
    const at = context.locate(storageRoot(input));
    const [r, c] = transposed ? [view.strides.at(-1)!, view.strides.at(-2)!] : [view.strides.at(-2)!, view.strides.at(-1)!];
    const missing = batch.length - (view.shape.length - 2);
    const outer = batch.map((size, d) => (d < missing || view.shape[d - missing] !== size ? 0 : view.strides[d - missing]!));
    return { buffer: at.buffer, offset: at.offset + view.offset, outer, r, c };
  };
  const left = matrix(a, node.attributes.transposeA === true);
  const right = matrix(b, node.attributes.transposeB === true);
  const k = node.attributes.transposeA === true ? a.shape.at(-2)! : a.shape.at(-1)!;
  const leading: SpaceOperand[] = [
    { buffer: left.buffer, offset: left.offset, strides: [...left.outer, left.r, 0] },
    { buffer: right.buffer, offset: right.offset, strides: [...right.outer, 0, right.c] },
  ];
  const program = emitProgram(cluster, context.clusterOf, context.sinksOf, context.locate, leading);
  // A and B walk the batch too, so they take part in the merging of its dimensions.
  const laid = layOut(
    cluster.space,
    cluster.split,
    program.operands.map((operand) => operand.strides),
  );
  if (!laid) {
    throw new VaeError({
      code: "shape",
      operation: "matmul",
      expected: "at most four batch dimensions",
      received: showShape(node.shape),
      hint: "reshape the batch dimensions together first",
    });
  }
  return {
    kernel: "matmul",
    label: label(cluster),
    space: laid.space,
    operands: place(program.operands, laid.strides),
    attributes: [k, left.c, right.r],
    program: program.instructions,
  };
}

const line = (count: number) => [1, 1, 1, 1, 1, count];

function lowerSpecial(node: Tensor, context: Lowering): PlanStep[] {
  const own = context.locate(node);
  const of = (input: Tensor) => {
    const at = context.locate(storageRoot(input));
    return { buffer: at.buffer, offset: at.offset + viewOf(input).offset };
  };
  const rowsBy = (at: Place, row: number, column: number): Operand => ({ ...at, strides: [0, 0, 0, 0, row, column] });
  const step = (kernel: PlanStep["kernel"], space: number[], operands: Operand[], attributes: number[]): PlanStep[] => [
    { kernel, label: node.op, space, operands, attributes, program: [] },
  ];
  switch (node.op) {
    case "uniform":
    case "normal":
      return step(`random_${node.op}`, line(sizeOf(node.shape)), [rowsBy(own, 0, 1)], [node.attributes.stream as number]);
    case "shuffled_indices": {
      const { rows, shuffle, stream } = node.attributes;
      return step("shuffled_indices", line(node.shape[0]!), [rowsBy(own, 0, 1)], [rows as number, shuffle ? 1 : 0, stream as number]);
    }
    case "step":
      return step("step_index", line(1), [rowsBy(own, 0, 0)], []);
    case "gather": {
      const [table, indices] = [node.inputs[0]!, node.inputs[1]!];
      const elements = sizeOf(table.shape.slice(1));
      return step(
        "gather",
        [1, 1, 1, 1, sizeOf(indices.shape), elements],
        [rowsBy(of(table), 0, 1), rowsBy(of(indices), 1, 0), rowsBy(own, elements, 1)],
        [table.shape[0]!, elements],
      );
    }
    case "scatter_add": {
      const [indices, updates] = [node.inputs[0]!, node.inputs[1]!];
      const elements = sizeOf(node.shape.slice(1));
      return step(
        "scatter_add",
        [1, 1, 1, 1, sizeOf(indices.shape), elements],
        [rowsBy(of(updates), elements, 1), rowsBy(of(indices), 1, 0), rowsBy(own, elements, 1)],
        [node.shape[0]!],
      );
    }
    case "concatenate":
      return []; // the pieces' producers store into it
    case "pad":
      return lowerPad(node, own, of(node.inputs[0]!));
    default:
      throw new VaeError({
        code: "argument",
        operation: node.op,
        problem: "the op has no native kernel",
        hint: "evaluate() can still compute it",
      });
  }
}

/** Fills the frame (and what it frames) with the value, then copies the interior. */
function lowerPad(node: Tensor, own: Place, from: Place): PlanStep[] {
  const input = node.inputs[0]!;
  const before = node.attributes.before as readonly number[];
  const interior = sliceView(
    contiguousView(node.shape),
    before,
    before.map((amount, d) => amount + input.shape[d]!),
  );
  const fill: PlanStep = {
    kernel: "map",
    label: "pad: fill",
    space: line(sizeOf(node.shape)),
    operands: [{ ...own, strides: [0, 0, 0, 0, 0, 1] }],
    attributes: [],
    program: [
      { op: "constant", value: node.attributes.value as number },
      { op: "store", value: 0, operand: 0 },
    ],
  };
  const laid = layOut(input.shape, undefined, [viewOf(input).strides, interior.strides])!;
  const copy: PlanStep = {
    kernel: "map",
    label: "pad: copy",
    space: laid.space,
    operands: [
      { ...from, strides: laid.strides[0]! },
      { buffer: own.buffer, offset: own.offset + interior.offset, strides: laid.strides[1]! },
    ],
    attributes: [],
    program: [
      { op: "load", operand: 0 },
      { op: "store", value: 0, operand: 1 },
    ],
  };
  return [fill, copy];
}

/** The strides that a piece of a concatenation has inside the whole, and its offset there. */
export function pieceView(whole: Tensor, index: number) {
  const axis = whole.attributes.axis as number;
  const piece = whole.inputs[index]!;
  const start = whole.shape.map(() => 0);
  start[axis] = whole.inputs.slice(0, index).reduce((sum, t) => sum + t.shape[axis]!, 0);
  const end = start.map((from, d) => from + piece.shape[d]!);
  return sliceView({ shape: whole.shape, offset: 0, strides: contiguousStrides(whole.shape) }, start, end);
}
