import { add, divide, less, multiply, subtract, where } from "./binary.js";
import { toTensor } from "./leaves.js";
import {
  calledBy,
  checkFloat,
  list,
  makeNode,
  notDifferentiable,
  type One,
  type OpCase,
  type OpRow,
  type Plain,
  type Rows,
  real,
} from "./table.js";
import type { Tensor, TensorLike } from "./tensor.js";

/** The elementwise functions of one tensor; each is an instruction of native/ops.def. */
export type UnaryName =
  | "negate"
  | "absolute"
  | "sign"
  | "reciprocal"
  | "square"
  | "sqrt"
  | "exp"
  | "expm1"
  | "log"
  | "log1p"
  | "tanh"
  | "sigmoid"
  | "softplus"
  | "relu"
  | "floor"
  | "sin"
  | "cos"
  | "is_finite";

type UnarySignatures = Record<UnaryName, { inputs: One; attributes: Plain }>;

interface UnaryDescription {
  value(x: number): number;
  /** The gradient of the input, from the input x, the output y and the gradient of the output. */
  derivative: ((gradient: Tensor, x: Tensor, y: Tensor) => Tensor) | null;
  /** Where the samples lie, and which points are kinks. */
  range?: readonly [low: number, high: number];
  avoid?: readonly number[];
  /** Values where a kernel may go wrong: far out, close to zero, not finite. */
  extremes?: readonly number[];
}

function row<Name extends UnaryName>(name: Name, description: UnaryDescription): OpRow<Name, One, Plain> {
  const { value, derivative, range = [-2, 2], avoid, extremes } = description;
  const build = (x: Tensor) => makeNode(unaryRows[name], [x], {});
  const cases: OpCase[] = [
    { name: "matrix", inputs: [real([3, 4], ...range, avoid)], build },
    { name: "scalar", inputs: [real([], ...range, avoid)], build },
    { name: "large", inputs: [real([67, 1031], ...range, avoid)], build, large: true },
  ];
  if (extremes !== undefined) cases.push({ name: "extremes", inputs: [list(...extremes)], build, gradient: false });
  return {
    name,
    family: "elementwise",
    type([x]) {
      checkFloat(name, [x]);
      return x;
    },
    derivative: derivative === null ? notDifferentiable : ({ inputs: [x], output, gradient }) => [derivative(gradient, x, output)],
    evaluate: ([x]) => x.data.map(value),
    cases,
  };
}

const signed = [0, 1e-30, -1e-30, 1e-6, -1e-6, 1e-3, -1e-3, 1, -1, 20, -20, 80, -80];

export const unaryRows: Rows<UnarySignatures> = {
  negate: row("negate", { value: (x) => -x, derivative: (gradient) => negate(gradient) }),
  absolute: row("absolute", { value: Math.abs, derivative: (gradient, x) => multiply(gradient, sign(x)), avoid: [0] }),
  sign: row("sign", { value: Math.sign, derivative: null, avoid: [0], extremes: signed }),
  reciprocal: row("reciprocal", {
    value: (x) => 1 / x,
    derivative: (gradient, _x, y) => negate(multiply(gradient, square(y))),
    range: [0.5, 3],
  }),
  square: row("square", { value: (x) => x * x, derivative: (gradient, x) => multiply(multiply(gradient, x), 2) }),
  sqrt: row("sqrt", {
    value: Math.sqrt,
    derivative: (gradient, _x, y) => divide(multiply(gradient, 0.5), y),
    range: [0.3, 4],
    extremes: [0, 1e-30, 1e-6, 1, 1e6, 1e30],
  }),
  exp: row("exp", { value: Math.exp, derivative: (gradient, _x, y) => multiply(gradient, y), extremes: signed }),
  expm1: row("expm1", { value: Math.expm1, derivative: (gradient, _x, y) => multiply(gradient, add(y, 1)), extremes: signed }),
  log: row("log", {
    value: Math.log,
    derivative: (gradient, x) => divide(gradient, x),
    range: [0.3, 4],
    extremes: [0, 1e-30, 1e-6, 0.999999, 1, 1.000001, 1e6, 1e30],
  }),
  log1p: row("log1p", {
    value: Math.log1p,
    derivative: (gradient, x) => divide(gradient, add(x, 1)),
    range: [-0.6, 3],
    extremes: [0, 1e-30, -1e-30, 1e-6, -1e-6, -0.5, -0.999, 1, 1e6, 1e30],
  }),
  tanh: row("tanh", { value: Math.tanh, derivative: (gradient, _x, y) => multiply(gradient, subtract(1, square(y))), extremes: signed }),
  sigmoid: row("sigmoid", {
    // Each branch keeps the exponential at most 1, so that neither overflows.
    value: (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x))),
    derivative: (gradient, _x, y) => multiply(gradient, multiply(y, subtract(1, y))),
    extremes: signed,
  }),
  softplus: row("softplus", {
    value: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
    derivative: (gradient, x) => multiply(gradient, sigmoid(x)),
    extremes: signed,
  }),
  relu: row("relu", {
    value: (x) => Math.max(x, 0),
    // The mask is read from the output, so that the input need not be kept for the backward pass.
    derivative: (gradient, _x, y) => where(less(0, y), gradient, 0),
    avoid: [0],
    extremes: signed,
  }),
  floor: row("floor", { value: Math.floor, derivative: null, avoid: [-2, -1, 0, 1, 2], extremes: signed }),
  sin: row("sin", { value: Math.sin, derivative: (gradient, x) => multiply(gradient, cos(x)), extremes: signed }),
  cos: row("cos", { value: Math.cos, derivative: (gradient, x) => negate(multiply(gradient, sin(x))), extremes: signed }),
  is_finite: row("is_finite", {
    value: (x) => (Number.isFinite(x) ? 1 : 0),
    derivative: null,
    extremes: [0, 1, -1, 3e38, -3e38, Infinity, -Infinity, Number.NaN],
  }),
};

function unary(caller: (x: TensorLike) => Tensor, name: UnaryName, x: TensorLike, surplus: readonly unknown[]): Tensor {
  return calledBy(caller, surplus, () => makeNode(unaryRows[name], [toTensor(name, x)], {}));
}

/** -x */
export function negate(x: TensorLike): Tensor;
export function negate(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(negate, "negate", x, surplus);
}

/** |x|. The derivative at 0 is 0. */
export function absolute(x: TensorLike): Tensor;
export function absolute(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(absolute, "absolute", x, surplus);
}

/** -1, 0 or 1. Its derivative is zero everywhere. */
export function sign(x: TensorLike): Tensor;
export function sign(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(sign, "sign", x, surplus);
}

/** 1 / x */
export function reciprocal(x: TensorLike): Tensor;
export function reciprocal(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(reciprocal, "reciprocal", x, surplus);
}

/** x² */
export function square(x: TensorLike): Tensor;
export function square(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(square, "square", x, surplus);
}

/** The square root; NaN below 0, and its derivative is infinite at 0. */
export function sqrt(x: TensorLike): Tensor;
export function sqrt(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(sqrt, "sqrt", x, surplus);
}

/** e to the x. */
export function exp(x: TensorLike): Tensor;
export function exp(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(exp, "exp", x, surplus);
}

/** eˣ - 1, exact for small x. */
export function expm1(x: TensorLike): Tensor;
export function expm1(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(expm1, "expm1", x, surplus);
}

/** The natural logarithm; -infinity at 0, NaN below. */
export function log(x: TensorLike): Tensor;
export function log(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(log, "log", x, surplus);
}

/** log(1 + x), exact for small x. */
export function log1p(x: TensorLike): Tensor;
export function log1p(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(log1p, "log1p", x, surplus);
}

/** The hyperbolic tangent. */
export function tanh(x: TensorLike): Tensor;
export function tanh(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(tanh, "tanh", x, surplus);
}

/** 1 / (1 + e⁻ˣ) */
export function sigmoid(x: TensorLike): Tensor;
export function sigmoid(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(sigmoid, "sigmoid", x, surplus);
}

/** log(1 + eˣ), which never overflows. */
export function softplus(x: TensorLike): Tensor;
export function softplus(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(softplus, "softplus", x, surplus);
}

/** max(x, 0). The derivative at 0 is 0. */
export function relu(x: TensorLike): Tensor;
export function relu(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(relu, "relu", x, surplus);
}

/** The largest whole number not above x. Its derivative is zero everywhere. */
export function floor(x: TensorLike): Tensor;
export function floor(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(floor, "floor", x, surplus);
}

/** The sine of x in radians. */
export function sin(x: TensorLike): Tensor;
export function sin(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(sin, "sin", x, surplus);
}

/** The cosine of x in radians. */
export function cos(x: TensorLike): Tensor;
export function cos(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(cos, "cos", x, surplus);
}

/** 1 where x is neither infinite nor NaN, else 0. Exported as `isFinite`. */
export function finiteMask(x: TensorLike): Tensor;
export function finiteMask(x: TensorLike, ...surplus: unknown[]): Tensor {
  return unary(finiteMask, "is_finite", x, surplus);
}
// Messages call a function by its name, and this one is known by another: isFinite is a global of the language.
Object.defineProperty(finiteMask, "name", { value: "isFinite" });
