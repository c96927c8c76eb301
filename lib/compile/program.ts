// A cluster's nodes as a tile program: loads just before their first use, stores as soon as their value is there,
// but state stores last, because a state is often loaded in the same program.
import { stridesOf } from "../graph/shape.js";
import type { Tensor } from "../graph/tensor.js";
import type { Cluster } from "./cluster.js";
import { combine } from "./combine.js";
import type { Instruction } from "./plan.js";
import { isPointwise, storageRoot, stripReshape, viewOf } from "./prepare.js";
import { uniformValue } from "./simplify.js";
import { reductionSplit, reductionStrides } from "./space.js";
import { reshapeView } from "./view.js";

/** A view of a buffer over a cluster's space, before dimensions are merged. */
export interface SpaceOperand {
  readonly buffer: number;
  readonly offset: number;
  readonly strides: readonly number[];
}

/** Somewhere that a node's elements are stored to. */
export interface Sink {
  readonly buffer: number;
  readonly offset: number;
  /** Over the node's own shape; undefined for row-major. */
  readonly strides?: readonly number[];
  /** A state's buffer, stored to at the end of the program. */
  readonly state?: boolean;
}

export interface Program {
  readonly instructions: readonly Instruction[];
  readonly operands: readonly SpaceOperand[];
}

export function emitProgram(
  cluster: Cluster,
  clusterOf: ReadonlyMap<Tensor, Cluster>,
  sinksOf: (node: Tensor) => readonly Sink[],
  locate: (root: Tensor) => { readonly buffer: number; readonly offset: number },
  leading: readonly SpaceOperand[],
): Program {
  const instructions: Instruction[] = [];
  const operands: SpaceOperand[] = [...leading];
  const values = new Map<Tensor, number>();
  const constants = new Map<number, number>();
  const loads = new Map<string, number>();
  const atEnd: Instruction[] = [];

  const emit = (instruction: Instruction) => instructions.push(instruction) - 1;
  const operand = (made: SpaceOperand) => operands.push(made) - 1;
  const inCluster = (input: Tensor) => {
    const inner = stripReshape(input);
    return cluster.members.has(inner) && (isPointwise(inner) || inner === cluster.root) ? inner : undefined;
  };

  const value = (input: Tensor): number => {
    const uniform = uniformValue(input);
    if (uniform !== undefined) {
      if (!constants.has(uniform)) constants.set(uniform, emit({ op: "constant", value: uniform }));
      return constants.get(uniform)!;
    }
    const inner = inCluster(input);
    if (inner) return values.get(inner)!;
    const view = reshapeView(viewOf(input), cluster.space)!;
    const place = locate(storageRoot(input));
    const key = `${place.buffer}:${place.offset + view.offset}:${view.strides.join()}`;
    if (!loads.has(key)) {
      const index = operand({ buffer: place.buffer, offset: place.offset + view.offset, strides: view.strides });
      loads.set(key, emit({ op: "load", operand: index }));
    }
    return loads.get(key)!;
  };

  const store = (node: Tensor) => {
    if (clusterOf.get(node) !== cluster) return; // computed again here; its home stores it
    for (const sink of sinksOf(node)) {
      const over = reshapeView({ shape: node.shape, offset: 0, strides: sink.strides ?? stridesOf(node.shape) }, cluster.space)!;
      const index = operand({ buffer: sink.buffer, offset: sink.offset, strides: over.strides });
      const instruction: Instruction = { op: "store", value: values.get(node)!, operand: index };
      if (sink.state) atEnd.push(instruction);
      else emit(instruction);
    }
  };

  if (cluster.kind === "product") {
    values.set(cluster.root!, emit({ op: "accumulator" }));
    store(cluster.root!);
  }
  for (const node of cluster.nodes) {
    if (node.op === "sum" || node.op === "max") {
      const { axes } = reductionSplit(node);
      const strides = reductionStrides(cluster.space, cluster.split!, axes);
      for (const sink of sinksOf(node)) {
        const index = operand({ buffer: sink.buffer, offset: sink.offset, strides });
        emit({ op: node.op === "sum" ? "reduce_sum" : "reduce_max", value: value(node.inputs[0]!), operand: index, axes });
      }
      continue;
    }
    if (node.op === "copy" || node.op === "cast") values.set(node, value(node.inputs[0]!));
    else {
      const parts = node.inputs.map(value);
      values.set(node, emit({ op: node.op, arguments: parts }));
    }
    store(node);
  }
  return { instructions: combine([...instructions, ...atEnd]), operands };
}
