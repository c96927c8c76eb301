// Ops with a kernel of their own and no program.
import { VaeError } from "../errors.js";
import { sizeOf, type Tensor } from "../graph/tensor.js";
import type { Lowering, Place } from "./lower.js";
import type { Operand, PlanStep } from "./plan.js";
import { storageRoot, viewOf } from "./prepare.js";
import { layOut } from "./space.js";
import { contiguousView, sliceView } from "./view.js";

const line = (count: number) => [1, 1, 1, 1, 1, count];

export function lowerSpecial(node: Tensor, context: Lowering): PlanStep[] {
  const own = context.locate(node);
  const of = (input: Tensor) => {
    const at = context.locate(storageRoot(input));
    return { buffer: at.buffer, offset: at.offset + viewOf(input).offset };
  };
  const rowsBy = (at: Place, row: number, column: number): Operand => ({ ...at, strides: [0, 0, 0, 0, row, column] });
  const step = (kernel: PlanStep["kernel"], space: number[], operands: Operand[], attributes: number[]): PlanStep[] => [
    { kernel, label: node.op, space, operands, attributes, program: [] },
  ];
  /** One input and one output, both contiguous over [outer, rows, columns]. */
  const inOut = (kernel: PlanStep["kernel"], [outer, rows, columns]: readonly number[], attributes: number[]) => {
    const strides = [0, 0, 0, rows! * columns!, columns!, 1];
    return step(
      kernel,
      [1, 1, 1, outer!, rows!, columns!],
      [
        { ...of(node.inputs[0]!), strides },
        { ...own, strides },
      ],
      attributes,
    );
  };
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
    case "cumulative_sum": {
      const axis = node.attributes.axis as number;
      const sizes = [node.shape.slice(0, axis), [node.shape[axis]!], node.shape.slice(axis + 1)].map(sizeOf);
      return inOut("cumulative_sum", sizes, [node.attributes.reverse ? 1 : 0, node.attributes.exclusive ? 1 : 0]);
    }
    case "sort_values":
    case "sort_indices":
      return inOut(
        "sort",
        [1, sizeOf(node.shape.slice(0, -1)), node.shape.at(-1)!],
        [node.attributes.descending ? 1 : 0, node.op === "sort_indices" ? 1 : 0],
      );
    case "cholesky":
      return inOut("cholesky", [sizeOf(node.shape.slice(0, -2)), ...node.shape.slice(-2)], []);
    case "triangular_solve": {
      const [n, m] = [node.shape.at(-2)!, node.shape.at(-1)!];
      const space = [1, 1, 1, sizeOf(node.shape.slice(0, -2)), n, m];
      const [l, b] = [of(node.inputs[0]!), of(node.inputs[1]!)];
      const operands = [
        { ...l, strides: [0, 0, 0, n * n, n, 0] },
        { ...b, strides: [0, 0, 0, n * m, m, 1] },
        { ...own, strides: [0, 0, 0, n * m, m, 1] },
      ];
      return step("triangular_solve", space, operands, [node.attributes.transpose ? 1 : 0]);
    }
    case "fold":
      return lowerFold(node, of(node.inputs[0]!), own);
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

/** The sum of overlapping windows; its dimensions stand as a convolution's, with as many filters as channels. */
function lowerFold(node: Tensor, windows: Place, own: Place): PlanStep[] {
  const [n, outputHeight, outputWidth, kernelHeight, kernelWidth] = node.inputs[0]!.shape as readonly [
    number,
    number,
    number,
    number,
    number,
  ];
  const [, height, width, channels] = node.shape as readonly [number, number, number, number];
  const { stride, dilation } = node.attributes as { stride: readonly number[]; dilation: readonly number[] };
  return [
    {
      kernel: "fold",
      label: node.op,
      space: [1, 1, 1, n, height * width, channels],
      operands: [
        { ...windows, strides: [0, 0, 0, 0, 0, 0] },
        { ...own, strides: [0, 0, 0, height * width * channels, channels, 1] },
      ],
      attributes: [
        n,
        height,
        width,
        channels,
        outputHeight,
        outputWidth,
        channels,
        kernelHeight,
        kernelWidth,
        ...stride,
        0,
        0,
        ...dilation,
        1,
      ],
      program: [],
    },
  ];
}
