import { add, expm1, greater, minimum, multiply, relu, sigmoid, softplus, square, type Tensor, tanh, where } from "../graph/index.js";

const functions = {
  linear: (x: Tensor): Tensor => x,
  relu,
  tanh,
  sigmoid,
  softplus,
  /** x for x > 0, else eˣ − 1 (Clevert, Unterthiner & Hochreiter 2016). */
  elu: (x: Tensor): Tensor => where(greater(x, 0), x, expm1(minimum(x, 0))),
  /** The tanh form, ½x(1 + tanh(√(2/π)(x + 0.044715x³))) (Hendrycks & Gimpel 2016). */
  gelu: (x: Tensor): Tensor =>
    multiply(multiply(0.5, x), add(1, tanh(multiply(multiply(Math.sqrt(2 / Math.PI), x), add(1, multiply(0.044715, square(x))))))),
  /** x · sigmoid(x) (Elfwing, Uchibe & Doya 2018). */
  silu: (x: Tensor): Tensor => multiply(x, sigmoid(x)),
} as const;

/** The name of an elementwise function that follows a layer. */
export type Activation = keyof typeof functions;

export const activations = Object.freeze(Object.keys(functions) as Activation[]);

/** Applies an activation by name. */
export function activate(activation: Activation, x: Tensor): Tensor {
  return functions[activation](x);
}
