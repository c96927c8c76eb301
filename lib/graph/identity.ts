import { toTensor } from "./leaves.js";
import { calledBy, integers, makeNode, notDifferentiable, type One, type Plain, type Rows, real } from "./table.js";
import type { Tensor, TensorLike } from "./tensor.js";

interface IdentitySignatures {
  cast: { inputs: One; attributes: Plain };
  stop_gradient: { inputs: One; attributes: Plain };
}

export const identityRows: Rows<IdentitySignatures> = {
  cast: {
    name: "cast",
    family: "identity",
    type: ([x]) => ({ shape: x.shape, dtype: "float32" }),
    derivative: notDifferentiable, // of whole numbers; the cast of a float32 tensor makes no node
    evaluate: ([x]) => x.data.slice(),
    cases: [
      { name: "pixels", inputs: [integers([3, 5], 0, 256, "uint8")], build: (x) => cast(x) },
      { name: "indices", inputs: [integers([7], -1000, 1000)], build: (x) => cast(x) },
      { name: "large", inputs: [integers([128, 785], 0, 256, "uint8")], build: (x) => cast(x), large: true },
    ],
  },
  stop_gradient: {
    name: "stop_gradient",
    family: "identity",
    type: ([x]) => x,
    derivative: notDifferentiable,
    evaluate: ([x]) => x.data.slice(),
    cases: [{ name: "matrix", inputs: [real([3, 4])], build: (x) => stopGradient(x), gradient: false }],
  },
};

/** The same numbers as float32: uint8 0…255 and int32 (exact up to 2^24). A float32 tensor is returned as it is. */
export function cast(x: TensorLike): Tensor;
export function cast(x: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(cast, surplus, () => {
    const tensor = toTensor("cast", x);
    return tensor.dtype === "float32" ? tensor : makeNode(identityRows.cast, [tensor], {});
  });
}

/** x itself, which `grad` takes for a constant. */
export function stopGradient(x: TensorLike): Tensor;
export function stopGradient(x: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(stopGradient, surplus, () => makeNode(identityRows.stop_gradient, [toTensor("stopGradient", x)], {}));
}
