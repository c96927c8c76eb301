import { VaeError } from "../errors.js";
import { toTensor } from "./leaves.js";
import { broadcastTo } from "./movement.js";
import { broadcastShapes } from "./shape.js";
import {
  calledBy,
  checkFloat,
  distinct,
  integers,
  type Many,
  makeNode,
  notDifferentiable,
  type OpCase,
  type OpRow,
  type Plain,
  type Rows,
  real,
  type SampleInput,
  type Three,
  type Two,
} from "./table.js";
import { type Shape, sameShape, showShape, type Tensor, type TensorLike, type TensorType } from "./tensor.js";
import { negate } from "./unary.js";

/** The elementwise functions of two tensors; each is an instruction of native/ops.def. */
export type BinaryName = "add" | "subtract" | "multiply" | "divide" | "maximum" | "minimum" | "less" | "less_equal" | "equal";

type BinarySignatures = Record<BinaryName, { inputs: Two; attributes: Plain }> & { where: { inputs: Three; attributes: Plain } };

interface BinaryDescription {
  value(a: number, b: number): number;
  /** The gradients of both inputs, from the gradient of the output, the inputs and the output. */
  derivative: ((gradient: Tensor, a: Tensor, b: Tensor, output: Tensor) => readonly [Tensor, Tensor]) | null;
  /** Bends or jumps at a = b, to which the many values of the large case come too close for finite differences. */
  kink?: true;
  /** Samples of the left and right side; distinct values by default. */
  left?(shape: Shape): SampleInput;
  right?(shape: Shape): SampleInput;
}

/** Nodes hold inputs of exactly one shape: broadcasting is explicit in the graph. */
function elementwiseType(name: string, inputs: Many): TensorType {
  checkFloat(name, inputs);
  const [first, ...others] = inputs;
  const other = others.find((tensor) => !sameShape(tensor.shape, first!.shape));
  if (other !== undefined) {
    const received = `${showShape(first!.shape)} and ${showShape(other.shape)}`;
    throw new VaeError({
      code: "shape",
      operation: name,
      expected: "inputs of one shape",
      received,
      hint: "broadcastTo(x, shape) repeats a tensor",
    });
  }
  return first!;
}

function row<Name extends BinaryName>(name: Name, description: BinaryDescription): OpRow<Name, Two, Plain> {
  const { value, derivative, kink, left = (shape) => distinct(shape), right = (shape) => distinct(shape, 0.37) } = description;
  const build = (a: Tensor, b: Tensor) => combine(name, a, b);
  const cases: OpCase[] = [
    { name: "matrix", inputs: [left([3, 4]), right([3, 4])], build },
    { name: "row vector", inputs: [left([3, 4]), right([4])], build },
    { name: "column vector", inputs: [left([3, 1]), right([2, 3, 4])], build },
    { name: "outer", inputs: [left([3, 1]), right([1, 4])], build },
    { name: "scalar", inputs: [left([]), right([2, 3])], build },
    { name: "large", inputs: [left([67, 1031]), right([1031])], build, large: true, gradient: kink !== true },
    { name: "ties", inputs: [integers([4, 5], -2, 3, "float32"), integers([4, 5], 1, 4, "float32")], build, gradient: false },
  ];
  return {
    name,
    family: "elementwise",
    type: (inputs) => elementwiseType(name, inputs),
    derivative: derivative === null ? notDifferentiable : ({ inputs: [a, b], output, gradient }) => derivative(gradient, a, b, output),
    evaluate: ([a, b]) => a.data.map((x, i) => value(x, b.data[i]!)),
    cases,
  };
}

/** The gradient of the side that wins; equal sides share it evenly. */
function winner(gradient: Tensor, wins: Tensor, ties: Tensor): Tensor {
  return where(ties, multiply(gradient, 0.5), where(wins, gradient, 0));
}

const whereBuild = (condition: Tensor, a: Tensor, b: Tensor) => where(condition, a, b);

export const binaryRows: Rows<BinarySignatures> = {
  add: row("add", { value: (a, b) => a + b, derivative: (gradient) => [gradient, gradient] }),
  subtract: row("subtract", { value: (a, b) => a - b, derivative: (gradient) => [gradient, negate(gradient)] }),
  multiply: row("multiply", { value: (a, b) => a * b, derivative: (gradient, a, b) => [multiply(gradient, b), multiply(gradient, a)] }),
  divide: row("divide", {
    value: (a, b) => a / b,
    derivative(gradient, _a, b, output) {
      const quotient = divide(gradient, b);
      return [quotient, negate(multiply(quotient, output))];
    },
    right: (shape) => real(shape, 0.5, 3),
  }),
  maximum: row("maximum", {
    value: Math.max,
    kink: true,
    derivative(gradient, a, b) {
      const ties = equal(a, b);
      return [winner(gradient, less(b, a), ties), winner(gradient, less(a, b), ties)];
    },
  }),
  minimum: row("minimum", {
    value: Math.min,
    kink: true,
    derivative(gradient, a, b) {
      const ties = equal(a, b);
      return [winner(gradient, less(a, b), ties), winner(gradient, less(b, a), ties)];
    },
  }),
  less: row("less", { value: (a, b) => (a < b ? 1 : 0), derivative: null, kink: true }),
  less_equal: row("less_equal", { value: (a, b) => (a <= b ? 1 : 0), derivative: null, kink: true }),
  equal: row("equal", { value: (a, b) => (a === b ? 1 : 0), derivative: null, kink: true }),
  where: {
    name: "where",
    family: "elementwise",
    type: (inputs) => elementwiseType("where", inputs),
    derivative: ({ inputs: [condition], gradient }) => [null, where(condition, gradient, 0), where(condition, 0, gradient)],
    evaluate: ([condition, a, b]) => condition.data.map((chosen, i) => (chosen !== 0 ? a.data[i]! : b.data[i]!)),
    cases: [
      // The condition is not differentiable: it is made inside, so that only the branches are perturbed.
      {
        name: "matrix",
        inputs: [distinct([3, 4]), real([3, 4]), real([3, 4])],
        build: (mask, a, b) => where(less(0.01, mask), a, b),
      },
      {
        name: "broadcast",
        inputs: [distinct([3, 1]), real([4]), real([])],
        build: (mask, a, b) => where(less(0.01, mask), a, b),
      },
      { name: "mask", inputs: [integers([5, 7], 0, 2, "float32"), real([5, 7]), real([5, 7])], build: whereBuild, gradient: false },
      { name: "large", inputs: [real([67, 1031]), real([67, 1031]), real([67, 1031])], build: whereBuild, large: true },
    ],
  },
};

/** Makes the node of an elementwise op, with its inputs broadcast to their common shape. */
function combine(name: BinaryName, ...inputs: readonly [TensorLike, TensorLike]): Tensor {
  const [a, b] = broadcastTogether(name, inputs) as unknown as Two;
  return makeNode(binaryRows[name], [a, b], {});
}

function broadcastTogether(operation: string, inputs: readonly TensorLike[]): readonly Tensor[] {
  const tensors = inputs.map((input) => toTensor(operation, input));
  checkFloat(operation, tensors);
  const shape = broadcastShapes(
    operation,
    tensors.map((tensor) => tensor.shape),
  );
  return tensors.map((tensor) => broadcastTo(tensor, shape));
}

/** a + b, broadcast by numpy's rules like every function of two tensors here. */
export function add(a: TensorLike, b: TensorLike): Tensor;
export function add(a: TensorLike, b: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(add, surplus, () => combine("add", a, b));
}

/** a - b */
export function subtract(a: TensorLike, b: TensorLike): Tensor;
export function subtract(a: TensorLike, b: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(subtract, surplus, () => combine("subtract", a, b));
}

/** a · b, element by element; see `matmul` for the matrix product. */
export function multiply(a: TensorLike, b: TensorLike): Tensor;
export function multiply(a: TensorLike, b: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(multiply, surplus, () => combine("multiply", a, b));
}

/** a / b */
export function divide(a: TensorLike, b: TensorLike): Tensor;
export function divide(a: TensorLike, b: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(divide, surplus, () => combine("divide", a, b));
}

/** The larger of a and b. Where they are equal, the gradient goes to both in halves. */
export function maximum(a: TensorLike, b: TensorLike): Tensor;
export function maximum(a: TensorLike, b: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(maximum, surplus, () => combine("maximum", a, b));
}

/** The smaller of a and b. Where they are equal, the gradient goes to both in halves. */
export function minimum(a: TensorLike, b: TensorLike): Tensor;
export function minimum(a: TensorLike, b: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(minimum, surplus, () => combine("minimum", a, b));
}

/** 1 where a < b, else 0; float32. Comparisons have zero derivative. */
export function less(a: TensorLike, b: TensorLike): Tensor;
export function less(a: TensorLike, b: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(less, surplus, () => combine("less", a, b));
}

/** 1 where a ≤ b, else 0. */
export function lessEqual(a: TensorLike, b: TensorLike): Tensor;
export function lessEqual(a: TensorLike, b: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(lessEqual, surplus, () => combine("less_equal", a, b));
}

/** 1 where a = b, else 0. */
export function equal(a: TensorLike, b: TensorLike): Tensor;
export function equal(a: TensorLike, b: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(equal, surplus, () => combine("equal", a, b));
}

/**
 * a where the condition is not 0, else b; all three broadcast. What is not chosen does not reach the result or the
 * gradient, not even as NaN; guard the function that makes the NaN as well, for its own derivative sees it.
 *
 * @example
 * ```ts
 * const positive = less(0, x);
 * const safeLog = where(positive, log(where(positive, x, 1)), 0);
 * ```
 */
export function where(condition: TensorLike, a: TensorLike, b: TensorLike): Tensor;
export function where(condition: TensorLike, a: TensorLike, b: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(where, surplus, () => makeNode(binaryRows.where, broadcastTogether("where", [condition, a, b]) as unknown as Three, {}));
}
