import { VaeError } from "../errors.js";
import { checkOptions } from "./arguments.js";
import { rowOf } from "./ops.js";
import { calledBy, type Environment, type Value } from "./table.js";
import { showShape, sizeOf, type Tensor, topological } from "./tensor.js";

/** The values of inputs and states, or of any other tensor to be taken as given, row-major. */
export type Feeds = ReadonlyMap<Tensor, ArrayLike<number>>;

export interface EvaluateOptions {
  /** Key of the noise. Default 0. */
  readonly seed?: number | bigint | undefined;
  /** Step counter of the noise, the batch order and `step()`. Default 0. */
  readonly step?: number | undefined;
}

/**
 * The slow truth: computes tensors in float64 with plain loops, as the reference that native results are tested against.
 * Results are row-major, one array per output; whole numbers come as numbers.
 *
 * @example
 * ```ts
 * const x = input("x", [3]);
 * const [total] = evaluate([sum(x)], new Map([[x, [1, 2, 3]]])); // Float64Array [6]
 * ```
 */
export function evaluate(outputs: readonly Tensor[], feeds: Feeds = new Map(), options: EvaluateOptions = {}): Float64Array[] {
  return calledBy(evaluate, () => {
    const { seed = 0, step = 0 } = checkOptions("evaluate", options, ["seed", "step"]);
    const environment: Environment = { seed: BigInt(seed), step };
    const values = new Map<Tensor, Value>();
    for (const [tensor, data] of feeds) values.set(tensor, fedValue(tensor, data));
    for (const tensor of topological(outputs)) {
      if (!values.has(tensor)) values.set(tensor, computed(tensor, values, environment));
    }
    return outputs.map((tensor) => values.get(tensor)!.data);
  });
}

function computed(tensor: Tensor, values: ReadonlyMap<Tensor, Value>, environment: Environment): Value {
  const { op, attributes, shape, dtype } = tensor;
  const inputs = tensor.inputs.map((input) => values.get(input)!);
  return { shape, dtype, data: rowOf(op).evaluate(inputs, attributes, { shape, dtype }, environment) };
}

function fedValue(tensor: Tensor, data: ArrayLike<number>): Value {
  if (data.length !== sizeOf(tensor.shape)) {
    const name = typeof tensor.attributes.name === "string" ? ` "${tensor.attributes.name}"` : "";
    throw new VaeError({
      code: "shape",
      operation: "evaluate",
      expected: `${sizeOf(tensor.shape)} numbers for ${tensor.op}${name} ${showShape(tensor.shape)}`,
      received: String(data.length),
    });
  }
  return { shape: tensor.shape, dtype: tensor.dtype, data: Float64Array.from(data) };
}
