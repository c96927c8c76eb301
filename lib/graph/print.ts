import { describe, VaeError } from "../errors.js";
import { isArray } from "./kinds.js";
import { showType } from "./table.js";
import { type Attributes, isTensor, type Tensor, topological } from "./tensor.js";

/**
 * A graph as text, one node per line in order, for snapshots and debugging. Numbering starts at %0 whatever was built
 * before, so that equal graphs print equally.
 *
 * @example
 * ```ts
 * print(sum(square(input("x", [2, 3]))));
 * // %0 = input name="x" : float32 [2, 3]
 * // %1 = square(%0) : float32 [2, 3]
 * // %2 = sum(%1) axes=[0, 1] : float32 []
 * // return %2
 * ```
 */
export function print(outputs: Tensor | readonly Tensor[]): string {
  const wanted: readonly Tensor[] = isTensor(outputs) ? [outputs] : outputs;
  if (!isArray(wanted) || !Array.from(wanted).every(isTensor)) {
    throw new VaeError({ code: "argument", operation: "print", expected: "a tensor or an array of tensors", received: describe(outputs) });
  }
  const order = topological(wanted);
  const names = new Map(order.map((tensor, i) => [tensor, `%${i}`]));
  const name = (tensor: Tensor) => names.get(tensor)!;
  const lines = order.map((tensor) => {
    const inputs = tensor.inputs.length === 0 ? "" : `(${tensor.inputs.map(name).join(", ")})`;
    return `${name(tensor)} = ${tensor.op}${inputs}${showAttributes(tensor.attributes)} : ${showType(tensor)}`;
  });
  return [...lines, `return ${wanted.map(name).join(", ")}`].join("\n");
}

function showAttributes(attributes: Attributes): string {
  return Object.entries(attributes)
    .map(([key, value]) => ` ${key}=${showAttribute(value)}`)
    .join("");
}

const LONGEST_LIST = 8;

function showAttribute(value: Attributes[string]): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object") return String(value);
  const shown = value.slice(0, LONGEST_LIST).map((element) => showAttribute(element));
  return `[${shown.join(", ")}${value.length > LONGEST_LIST ? `, … ${value.length} in all` : ""}]`;
}
