import { describe, VaeError } from "../errors.js";
import { add } from "./binary.js";
import { isArray } from "./kinds.js";
import { constantTensor } from "./leaves.js";
import { broadcastTo } from "./movement.js";
import { rowOf } from "./ops.js";
import { calledBy, checkFloat } from "./table.js";
import { isTensor, showShape, type Tensor, topological } from "./tensor.js";

/**
 * The derivatives of a scalar with respect to tensors, as new nodes of the graph: one per tensor, of its shape. Works on
 * its own results, for second derivatives. A tensor that the output does not depend on gets zeros.
 *
 * Reverse accumulation: from the output back, every node hands each of its inputs its share of the gradient.
 *
 * @example
 * ```ts
 * const [dWeight, dBias] = grad(loss, [weight, bias]);
 * const [product] = grad(sum(multiply(dWeight, direction)), [weight]); // a Hessian-vector product
 * ```
 */
export function grad(output: Tensor, wrt: readonly Tensor[]): Tensor[];
export function grad(output: Tensor, wrt: readonly Tensor[], ...surplus: unknown[]): Tensor[] {
  return calledBy(grad, surplus, () => {
    checkArguments(output, wrt);
    const order = topological([output]);
    const active = dependents(order, wrt);
    const gradients = new Map<Tensor, Tensor>();
    if (active.has(output)) gradients.set(output, constantTensor(1));
    for (const tensor of order.reverse()) {
      const gradient = gradients.get(tensor);
      if (gradient === undefined || !tensor.inputs.some((input) => active.has(input))) continue;
      const { inputs, attributes, op } = tensor;
      const shares = rowOf(op).derivative({ inputs, output: tensor, gradient, attributes });
      inputs.forEach((input, i) => {
        const share = shares[i] ?? null;
        if (share === null || !active.has(input)) return;
        const others = gradients.get(input);
        gradients.set(input, others === undefined ? share : add(others, share));
      });
    }
    return wrt.map((tensor) => gradients.get(tensor) ?? broadcastTo(0, tensor.shape));
  });
}

/** The nodes through which the output may depend on one of the sources, the sources themselves included. */
function dependents(order: readonly Tensor[], sources: readonly Tensor[]): ReadonlySet<Tensor> {
  const active = new Set(sources);
  for (const tensor of order) if (tensor.inputs.some((input) => active.has(input))) active.add(tensor);
  return active;
}

function checkArguments(output: Tensor, wrt: readonly Tensor[]): void {
  if (!isTensor(output)) throw new VaeError({ code: "argument", operation: "grad", expected: "a tensor", received: describe(output) });
  if (!isArray(wrt) || !Array.from(wrt).every(isTensor)) {
    throw new VaeError({
      code: "argument",
      operation: "grad",
      expected: "an array of tensors to differentiate by",
      received: describe(wrt),
    });
  }
  if (output.shape.length > 0) {
    throw new VaeError({
      code: "shape",
      operation: "grad",
      expected: "a scalar output",
      received: showShape(output.shape),
      hint: "sum or mean it first; for a Jacobian-vector product, sum(multiply(output, vector))",
    });
  }
  checkFloat("grad", [output, ...wrt]);
}
