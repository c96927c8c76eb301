import { describe, VaeError } from "../errors.js";
import { isCallback, noMore } from "./arguments.js";
import { type Attributes, checkSize, makeTensor, type Shape, showShape, type Tensor, type TensorType } from "./tensor.js";

/** The kind of work that an op is; the compiler lowers family by family. */
export type Family =
  | "leaf" // input, state, constant, step
  | "random" // leaves drawn from Philox
  | "elementwise" // every input has the output's shape; the op's name is an instruction of native/ops.def
  | "identity" // the values pass unchanged: cast, stop_gradient
  | "reduce"
  | "movement" // the same values at other places
  | "linear"
  | "convolution" // three directions, each with a program over its result
  | "windows" // the sum of windows into an image
  | "indexing"
  | "scan" // running along an axis
  | "sort"
  | "factorization"; // of small matrices, batched

/** A value in the reference evaluation: every element type as float64, row-major. */
export interface Value extends TensorType {
  readonly data: Float64Array;
}

/** What an evaluation depends on beside its inputs: the key and the counter of the noise. */
export interface Environment {
  readonly seed: bigint;
  readonly step: number;
}

/** How the sample data of a case is made. */
export type SampleValues =
  | { readonly kind: "range"; readonly low: number; readonly high: number; readonly avoid: readonly number[] }
  | { readonly kind: "distinct"; readonly low: number; readonly high: number; readonly offset: number }
  | { readonly kind: "integers"; readonly low: number; readonly high: number }
  | { readonly kind: "list"; readonly values: readonly number[] };

/** An input of a case: its type and where its values lie. */
export interface SampleInput extends TensorType {
  readonly values: SampleValues;
}

/**
 * A sample use of an op. One list feeds the reference tests, the gradient checks of first and second order, the
 * conformance of every backend and the benchmarks.
 */
export interface OpCase {
  /** What is special about it; unique within its row. */
  readonly name: string;
  readonly inputs: readonly SampleInput[];
  build(...inputs: readonly Tensor[]): Tensor;
  /** False where the values sit on kinks or infinities, so that finite differences mean nothing. Default true. */
  readonly gradient?: boolean;
  /** Large enough to be worth timing; too large to perturb every element. Default false. */
  readonly large?: boolean;
}

/** The inputs of a row, by their number. */
export type None = readonly [];
export type One = readonly [Tensor];
export type Two = readonly [Tensor, Tensor];
export type Three = readonly [Tensor, Tensor, Tensor];
/** The inputs of a row that has any number of them. */
export type Many = readonly Tensor[];

/** The attributes of a row that has none. */
export type Plain = Readonly<Record<string, never>>;

/** What a derivative is made of. */
export interface DerivativeContext<Inputs extends Many = Many, Told extends Attributes = Attributes> {
  readonly inputs: Inputs;
  readonly output: Tensor;
  /** The derivative of the final scalar with respect to `output`; of the output's shape. */
  readonly gradient: Tensor;
  readonly attributes: Told;
}

/** One op: all that TypeScript knows about it stands together. */
export interface OpRow<Name extends string = string, Inputs extends Many = Many, Told extends Attributes = Attributes> {
  readonly name: Name;
  readonly family: Family;
  /**
   * The shape rule: the output's type, or a VaeError with the operation, the shapes and a hint. `requested` is the type
   * asked for, where inputs and attributes do not fix it (leaves, reshape, broadcast_to).
   */
  type(inputs: Inputs, attributes: Told, requested?: TensorType): TensorType;
  /** One gradient per input, of the input's shape, written in other ops only; null where the op is not differentiable. */
  derivative(context: DerivativeContext<Inputs, Told>): readonly (Tensor | null)[];
  /** The slow truth, in float64. */
  evaluate(inputs: { readonly [Index in keyof Inputs]: Value }, attributes: Told, type: TensorType, environment: Environment): Float64Array;
  readonly cases: readonly OpCase[];
}

/** The rows that a list of signatures asks for: a missing one, or one under another's name, does not compile. */
export type Rows<Signatures extends Record<keyof Signatures, { readonly inputs: Many; readonly attributes: Attributes }>> = {
  readonly [Name in keyof Signatures & string]: OpRow<Name, Signatures[Name]["inputs"], Signatures[Name]["attributes"]>;
};

/** The derivative of a row that has none with respect to any input. */
export function notDifferentiable(context: DerivativeContext): readonly null[] {
  return context.inputs.map(() => null);
}

/** Makes a node of a row, once its shape rule agrees. */
export function makeNode<Inputs extends Many, Told extends Attributes>(
  row: OpRow<string, Inputs, Told>,
  inputs: Inputs,
  attributes: Told,
  requested?: TensorType,
): Tensor {
  const type = row.type(inputs, attributes, requested);
  checkSize(row.name, type.shape);
  return makeTensor(row.name, inputs, attributes, type);
}

/**
 * Runs `body`; a VaeError from it points at the line that called `caller`, which is the user's own.
 *
 * @param surplus what stood behind the last argument of the call: an error, for it would be ignored
 */
export function calledBy<Result>(caller: (...inputs: never[]) => unknown, surplus: readonly unknown[], body: () => Result): Result {
  try {
    if (!isCallback(surplus)) noMore(caller.name, surplus);
    return body();
  } catch (error) {
    if (!(error instanceof VaeError)) throw error;
    const named = error.named(publicName(error.operation));
    Error.captureStackTrace(named, caller);
    throw named;
  }
}

/** `lessEqual` for the op `less_equal`: a function is known by its name, not by its op's. */
function publicName(operation: string): string {
  return /^\w+$/.test(operation) ? operation.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()) : operation;
}

/** The same for a function that is made of others: their errors bear its name, with which the user called them. */
export function composed<Result>(caller: (...inputs: never[]) => unknown, surplus: readonly unknown[], body: () => Result): Result {
  return calledBy(caller, surplus, () => {
    try {
      return body();
    } catch (error) {
      throw error instanceof VaeError ? error.named(caller.name) : error;
    }
  });
}

/** `float32 [128, 20]`, as it stands in messages. */
export function showType(type: TensorType): string {
  return `${type.dtype} ${showShape(type.shape)}`;
}

/** Throws unless every tensor is float32. */
export function checkFloat(operation: string, tensors: readonly Tensor[]): void {
  const wrong = tensors.find((tensor) => tensor.dtype !== "float32");
  if (wrong !== undefined) {
    throw new VaeError({
      code: "dtype",
      operation,
      expected: "float32",
      received: showType(wrong),
      hint: "arithmetic is float32: cast(x) converts whole numbers",
    });
  }
}

/** Throws unless the number is whole and within [low, high]. */
export function checkWhole(operation: string, what: string, value: number, low: number, high = Number.MAX_SAFE_INTEGER): void {
  if (!Number.isSafeInteger(value) || value < low || value > high) {
    const range = high === Number.MAX_SAFE_INTEGER ? `of at least ${low}` : `from ${low} to ${high}`;
    throw new VaeError({ code: "argument", operation, expected: `${what} to be a whole number ${range}`, received: describe(value) });
  }
}

const float32 = (shape: Shape, values: SampleValues): SampleInput => ({ shape, dtype: "float32", values });

/** Uniform in [low, high), pushed at least 0.1 away from the points to avoid (kinks and poles). */
export function real(shape: Shape, low = -2, high = 2, avoid: readonly number[] = []): SampleInput {
  return float32(shape, { kind: "range", low, high, avoid });
}

/**
 * Evenly spaced and shuffled, so that no two are equal. `offset`, in spacings, keeps two inputs of one size apart.
 */
export function distinct(shape: Shape, offset = 0, low = -2, high = 2): SampleInput {
  return float32(shape, { kind: "distinct", low, high, offset });
}

/** Whole numbers in [low, high): indices, pixels, and floats with many ties. */
export function integers(shape: Shape, low: number, high: number, dtype: TensorType["dtype"] = "int32"): SampleInput {
  return { shape, dtype, values: { kind: "integers", low, high } };
}

/** Exactly these values, in a vector. */
export function list(...values: readonly number[]): SampleInput {
  return float32([values.length], { kind: "list", values });
}
