import { describe, VaeError } from "../errors.js";
import { checkOptions } from "./arguments.js";
import { isMap } from "./kinds.js";
import { rowOf } from "./ops.js";
import { calledBy, checkWhole, type Environment, type Value } from "./table.js";
import { isTensor, showShape, sizeOf, type Tensor, topological } from "./tensor.js";

/** The values of inputs and states, or of any other tensor to be taken as given, row-major. */
export type Feeds = ReadonlyMap<Tensor, ArrayLike<number>>;

/** Options of {@link evaluate}. */
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
export function evaluate(outputs: readonly Tensor[], feeds?: Feeds, options?: EvaluateOptions): Float64Array[];
export function evaluate(
  outputs: readonly Tensor[],
  feeds: Feeds = new Map(),
  options: EvaluateOptions = {},
  ...surplus: unknown[]
): Float64Array[] {
  return calledBy(evaluate, surplus, () => {
    const { seed = 0, step = 0 } = checkOptions("evaluate", options, ["seed", "step"]);
    const environment: Environment = { seed: keyOf(seed), step };
    checkWhole("evaluate", "step", step, 0);
    if (!isMap(feeds)) {
      throw new VaeError({ code: "argument", operation: "evaluate", expected: "a Map from tensors to numbers", received: describe(feeds) });
    }
    const values = new Map<Tensor, Value>();
    for (const [tensor, data] of feeds) values.set(tensor, fedValue(tensor, data));
    for (const tensor of topological(outputs, values)) {
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

function keyOf(seed: number | bigint): bigint {
  if ((typeof seed === "bigint" || Number.isSafeInteger(seed)) && seed >= 0) return BigInt(seed);
  throw new VaeError({
    code: "argument",
    operation: "evaluate",
    expected: "seed to be a whole number of at least 0",
    received: describe(seed),
  });
}

function fedValue(tensor: Tensor, data: ArrayLike<number>): Value {
  if (!isTensor(tensor)) {
    throw new VaeError({ code: "argument", operation: "evaluate", expected: "tensors as the keys of feeds", received: describe(tensor) });
  }
  if (typeof data !== "object" || data === null || typeof data.length !== "number") {
    throw new VaeError({ code: "argument", operation: "evaluate", expected: "arrays of numbers as feeds", received: describe(data) });
  }
  if (data.length !== sizeOf(tensor.shape)) {
    const name = typeof tensor.attributes.name === "string" ? ` "${tensor.attributes.name}"` : "";
    throw new VaeError({
      code: "shape",
      operation: "evaluate",
      expected: `${sizeOf(tensor.shape)} numbers for ${tensor.op}${name} ${showShape(tensor.shape)}`,
      received: String(data.length),
    });
  }
  const numbers = Array.from(data);
  const wrong = numbers.findIndex((value) => typeof value !== "number");
  if (wrong >= 0) {
    throw new VaeError({ code: "argument", operation: "evaluate", expected: "feeds of numbers", received: describe(numbers[wrong]) });
  }
  return { shape: tensor.shape, dtype: tensor.dtype, data: Float64Array.from(numbers) };
}
