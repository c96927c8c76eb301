// Weights that come from outside: from a file, from a caller.
import { describe, VaeError } from "../errors.js";
import { checkAttached } from "../graph/arguments.js";
import { type Shape, sameShape, sizeOf } from "../graph/index.js";
import { isArray, isMap, isReadable, typedArrayName } from "../graph/kinds.js";
import { firstNotFinite } from "../io/check.js";
import type { NamedParameter } from "../nn/index.js";

/**
 * Throws `"architecture"` unless `received` has exactly these parameters, each with its number of elements and, where one is
 * given, its shape; `"argument"` where it is not even a map of arrays.
 */
export function checkParameters(
  parameters: readonly NamedParameter[],
  received: ReadonlyMap<string, { readonly data: { readonly length: number }; readonly shape?: Shape }>,
  operation: string,
): void {
  const wrong = (problem: string, expected: string, found: string): VaeError =>
    new VaeError({
      code: "architecture",
      operation,
      problem,
      expected,
      received: found,
      hint: "weights fit only a model that is made of the same parts",
    });
  const misshapen = (expected: string, found: unknown): VaeError =>
    new VaeError({
      code: "argument",
      operation,
      expected,
      received: describe(found),
      hint: "parameters() gives a Map of that form: change the values in it",
    });
  if (!isMap(received)) throw misshapen("a Map from names to { data: Float32Array }", received);
  for (const [name, tensor] of received) {
    if (typeof name !== "string") throw misshapen("names of parameters as texts", name);
    if (typeof tensor !== "object" || tensor === null || !isReadable(tensor))
      throw misshapen(`"${name}" as { data: Float32Array }`, tensor);
    const data: unknown = tensor.data;
    const isNumbers = isArray(data) ? Array.from(data).every((value) => typeof value === "number") : typedArrayName(data) !== undefined;
    if (!isNumbers) throw misshapen(`"${name}" as { data: Float32Array }`, tensor);
    if (ArrayBuffer.isView(data)) checkAttached(operation, data, `"${name}"`);
  }
  for (const { name, shape } of parameters) {
    const tensor = received.get(name);
    const elements = sizeOf(shape);
    if (tensor === undefined) throw wrong(`missing weights "${name}"`, `[${shape.join(", ")}]`, "nothing");
    if (tensor.data.length !== elements) {
      throw wrong(`"${name}" has another size`, `${elements} values, [${shape.join(", ")}]`, `${tensor.data.length} values`);
    }
    if (tensor.shape !== undefined && !(isArray(tensor.shape) && sameShape(tensor.shape, shape))) {
      throw wrong(`"${name}" has another shape`, describe(shape), describe(tensor.shape));
    }
  }
  const names = new Set(parameters.map(({ name }) => name));
  const extra = [...received.keys()].find((name) => !names.has(name));
  if (extra !== undefined) throw wrong(`unknown weights "${extra}"`, "only the model's parameters", `"${extra}"`);
}

/** Throws `"data"` at the first weight that is not finite. Optimizer slots may be: a second moment that overflows stops its weight. */
export function checkWeights(
  parameters: readonly NamedParameter[],
  values: ReadonlyMap<string, { readonly data: Float32Array }>,
  operation: string,
): void {
  for (const { name } of parameters) {
    const { data } = values.get(name)!;
    const index = firstNotFinite(data);
    if (index < 0) continue;
    throw new VaeError({ code: "data", operation, problem: `value ${index} of "${name}" is ${data[index]}`, expected: "finite weights" });
  }
}
