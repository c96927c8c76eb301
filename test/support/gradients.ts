// Derivatives against central finite differences of the float64 evaluation, for any graph.
import { add, evaluate, grad, input, multiply, sizeOf, sum, type Tensor } from "../../lib/graph/index.js";
import { uniformDraws } from "../../lib/graph/philox.js";

export type Values = Map<Tensor, Float64Array>;

/** The largest difference between a derivative and its finite difference, each relative to 1 + |derivative|. */
export interface GradientErrors {
  readonly first: number;
  readonly second: number;
}

/** Fixed weights in [-1, 1), so that no direction of the output is privileged and nothing cancels by symmetry. */
export function weights(size: number, stream: number): Float64Array {
  return uniformDraws(size, stream, 0, 77n).map((u) => 2 * u - 1);
}

/** A scalar in which every element of every tensor counts: the sum of weight times element. */
export function projection(tensors: readonly Tensor[], values: Values, stream: number): Tensor {
  const parts = tensors.map((tensor, i) => {
    const weight = input(`weight${i}`, tensor.shape);
    values.set(weight, weights(sizeOf(tensor.shape), stream + i));
    return sum(multiply(tensor, weight));
  });
  return parts.reduce((total, part) => add(total, part));
}

/** Checks the first derivatives of a projection of `output`, and then those of a projection of the first ones. */
export function checkDerivatives(output: Tensor, by: readonly Tensor[], values: Values, directional: boolean): GradientErrors {
  const loss = projection([output], values, 100);
  const gradients = grad(loss, by);
  const curvature = projection(gradients, values, 200);
  const second = grad(curvature, by);
  const compare = directional ? directionalError : elementError;
  return {
    first: compare(loss, gradients, by, values),
    second: compare(curvature, second, by, values),
  };
}

const STEP = 1e-5;

/** Every element of every input moved by itself. */
function elementError(loss: Tensor, gradients: readonly Tensor[], by: readonly Tensor[], values: Values): number {
  const exact = evaluate(gradients, values);
  let worst = 0;
  by.forEach((tensor, t) => {
    const data = values.get(tensor)!;
    exact[t]!.forEach((derivative, i) => {
      const at = (offset: number) => evaluate([loss], new Map(values).set(tensor, data.with(i, data[i]! + offset)))[0]![0]!;
      worst = Math.max(worst, relative(derivative, (at(STEP) - at(-STEP)) / (2 * STEP)));
    });
  });
  return worst;
}

/** All elements moved at once in one direction: two evaluations, whatever the size. */
function directionalError(loss: Tensor, gradients: readonly Tensor[], by: readonly Tensor[], values: Values): number {
  const directions = by.map((tensor, t) => weights(sizeOf(tensor.shape), 300 + t));
  const exact = evaluate(gradients, values);
  const derivative = exact.reduce((total, gradient, t) => total + gradient.reduce((dot, g, i) => dot + g * directions[t]![i]!, 0), 0);
  const at = (offset: number) => {
    const moved = by.map((tensor, t) => [tensor, values.get(tensor)!.map((x, i) => x + offset * directions[t]![i]!)] as const);
    return evaluate([loss], new Map([...values, ...moved]))[0]![0]!;
  };
  return relative(derivative, (at(STEP) - at(-STEP)) / (2 * STEP));
}

function relative(derivative: number, difference: number): number {
  const error = Math.abs(derivative - difference) / (1 + Math.abs(derivative));
  return Number.isNaN(error) ? Infinity : error;
}
