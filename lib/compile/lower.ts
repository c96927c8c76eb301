// Clusters to plan steps: operands, merged dimensions, attributes.
import { stridesOf } from "../graph/shape.js";
import type { Tensor } from "../graph/tensor.js";
import type { Cluster } from "./cluster.js";
import { lowerConvolution, lowerMatmul } from "./lower-product.js";
import { lowerSpecial } from "./lower-special.js";
import type { Operand, PlanStep } from "./plan.js";
import { emitProgram, type Sink, type SpaceOperand } from "./program.js";
import { layOut } from "./space.js";
import { sliceView } from "./view.js";

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
  if (cluster.kind === "product")
    return [cluster.root!.op === "matmul" ? lowerMatmul(cluster, context) : lowerConvolution(cluster, context)];
  return lowerSpecial(cluster.root!, context);
}

/** The graph ops of a cluster, for profiles. */
export function label(cluster: Cluster): string {
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

export function place(operands: readonly SpaceOperand[], strides: readonly (readonly number[])[]): Operand[] {
  return operands.map(({ buffer, offset }, i) => ({ buffer, offset, strides: strides[i]! }));
}

/** The strides that a piece of a concatenation has inside the whole, and its offset there. */
export function pieceView(whole: Tensor, index: number) {
  const axis = whole.attributes.axis as number;
  const piece = whole.inputs[index]!;
  const start = whole.shape.map(() => 0);
  start[axis] = whole.inputs.slice(0, index).reduce((sum, t) => sum + t.shape[axis]!, 0);
  const end = start.map((from, d) => from + piece.shape[d]!);
  return sliceView({ shape: whole.shape, offset: 0, strides: stridesOf(whole.shape) }, start, end);
}
