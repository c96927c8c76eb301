// Matrix products and convolutions: kernels whose epilogue is a tile program.
import { VaeError } from "../errors.js";
import { showShape, type Tensor } from "../graph/tensor.js";
import type { Cluster } from "./cluster.js";
import { type Lowering, label, place } from "./lower.js";
import type { PlanStep } from "./plan.js";
import { storageRoot, viewOf } from "./prepare.js";
import { emitProgram, type SpaceOperand } from "./program.js";
import { layOut } from "./space.js";

export function lowerMatmul(cluster: Cluster, context: Lowering): PlanStep {
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

/** The dimensions of a convolution as native/plan.h lists them, of whichever of its three directions. */
function convolutionAttributes(node: Tensor): number[] {
  const [first, second] = [node.inputs[0]!, node.inputs[1]!];
  // x [N, H, W, C], w [kh, kw, C/groups, F], y [N, OH, OW, F]; each direction lacks the one that it computes.
  const [x, w, y] =
    node.op === "conv2d" ? [first, second, node] : node.op === "conv2d_input_gradient" ? [node, second, first] : [first, node, second];
  const { stride, padding, dilation, groups } = node.attributes as {
    stride: readonly [number, number];
    padding: readonly [readonly [number, number], readonly [number, number]];
    dilation: readonly [number, number];
    groups: number;
  };
  const [kernelHeight, kernelWidth] = w.shape as readonly [number, number];
  return [...x.shape, ...y.shape.slice(1), kernelHeight, kernelWidth, ...stride, padding[0][0], padding[1][0], ...dilation, groups];
}

export function lowerConvolution(cluster: Cluster, context: Lowering): PlanStep {
  const node = cluster.root!;
  const leading = node.inputs.map((input): SpaceOperand => {
    const at = context.locate(storageRoot(input));
    return { buffer: at.buffer, offset: at.offset + viewOf(input).offset, strides: cluster.space.map(() => 0) };
  });
  const program = emitProgram(cluster, context.clusterOf, context.sinksOf, context.locate, leading);
  const laid = layOut(
    cluster.space,
    cluster.split,
    program.operands.map((operand) => operand.strides),
  )!;
  return {
    kernel: node.op as PlanStep["kernel"],
    label: label(cluster),
    space: laid.space,
    operands: place(program.operands, laid.strides),
    attributes: convolutionAttributes(node),
    program: program.instructions,
  };
}
