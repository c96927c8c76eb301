import { describe, VaeError } from "../errors.js";
import { isArray, isFunction, isReadable } from "./kinds.js";

/** Element types. Arithmetic is float32; int32 holds indices, uint8 holds raw pixels. */
export type DType = "float32" | "int32" | "uint8";

/** Dimensions, outermost first. `[]` is a scalar. */
export type Shape = readonly number[];

/** What an op is told beside its inputs: plain data, so that a graph can be printed and compared. */
export type Attributes = Readonly<Record<string, number | boolean | string | readonly number[] | readonly (readonly number[])[]>>;

/**
 * A node of the symbolic graph: an immutable description of a value, not the value. Made by the functions of
 * `node-vae/graph`, differentiated by `grad`, compiled to a plan and run natively.
 */
export interface Tensor {
  /** Unique and increasing: inputs always have smaller ids than the nodes that use them. */
  readonly id: number;
  /** A row of the op table. */
  readonly op: string;
  readonly inputs: readonly Tensor[];
  readonly attributes: Attributes;
  readonly shape: Shape;
  readonly dtype: DType;
}

/** A tensor, or a number that stands for a float32 scalar. */
export type TensorLike = Tensor | number;

/** What is known of a tensor before it has values. */
export interface TensorType {
  readonly shape: Shape;
  readonly dtype: DType;
}

let nextId = 0;

/** The class of all nodes: a value of this form that somebody else made has gone through no shape rule. */
class TensorNode implements Tensor {
  /** What messages call it. */
  static readonly name = "Tensor";
  readonly id = nextId++;
  readonly inputs: readonly Tensor[];
  readonly attributes: Attributes;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly #made = true;

  constructor(
    readonly op: string,
    inputs: readonly Tensor[],
    attributes: Attributes,
    type: TensorType,
  ) {
    this.inputs = Object.freeze([...inputs]);
    this.attributes = Object.freeze({ ...attributes });
    this.shape = Object.freeze([...type.shape]);
    this.dtype = type.dtype;
    Object.freeze(this);
  }

  static made(value: object): boolean {
    return #made in value;
  }
}

/** Makes a node. Only op rows call this; everything else calls the op's function. */
export function makeTensor(op: string, inputs: readonly Tensor[], attributes: Attributes, type: TensorType): Tensor {
  return new TensorNode(op, inputs, attributes, type);
}

/** True for what the functions of this graph made. Tensors of another copy of the library are none. */
export function isTensor(value: unknown): value is Tensor {
  return typeof value === "object" && value !== null && TensorNode.made(value);
}

/** Number of elements; 1 for a scalar. */
export function sizeOf(shape: Shape): number {
  checkArray("sizeOf", shape);
  let product = 1;
  for (const dimension of shape) product *= typeof dimension === "number" ? dimension : Number.NaN;
  return product;
}

/** Whether two shapes have the same axes. */
export function sameShape(a: Shape, b: Shape): boolean {
  checkArray("sameShape", a);
  checkArray("sameShape", b);
  return a.length === b.length && a.every((dimension, axis) => dimension === b[axis]);
}

function checkArray(operation: string, shape: Shape): void {
  if (!isArray(shape))
    throw new VaeError({ code: "shape", operation, expected: "a shape, an array of numbers", received: describe(shape) });
}

/** `[128, 784]`, as it stands in messages. */
export function showShape(shape: Shape): string {
  const isShape = isArray(shape) && shape.length <= MOST_AXES && shape.every((dimension) => typeof dimension === "number");
  return isShape ? `[${shape.join(", ")}]` : describe(shape); // what a caller takes for a shape may be anything
}

/** What a plan may hold in one buffer (native/plan_check.h). */
const MOST_ELEMENTS = 2 ** 40;

/** As in numpy; what a shape costs grows with its axes. */
const MOST_AXES = 64;

/** What would be a shape, in words, where the value is none; undefined where it is. */
export function shapeInstead(value: unknown): string | undefined {
  if (!isArray(value)) return "a shape, an array of whole numbers of at least 1";
  if (value.length > MOST_AXES) return `a shape of at most ${MOST_AXES} axes`;
  // Array.from() shows the holes of a sparse array, which every() passes over.
  if (!Array.from(value as Shape).every((dimension) => Number.isSafeInteger(dimension) && dimension >= 1)) {
    return "a shape of whole numbers of at least 1";
  }
  return sizeOf(value as Shape) > MOST_ELEMENTS ? "a shape of at most 2^40 elements" : undefined;
}

/** Throws unless every dimension is a whole number of at least 1, and their product is one that can be computed with. */
export function checkShape(operation: string, shape: Shape): void {
  const expected = shapeInstead(shape);
  if (expected === undefined) return;
  throw new VaeError({ code: "shape", operation, expected, received: showShape(shape) });
}

/** Throws where a result has more elements than can be computed with; its dimensions are known to be right. */
export function checkSize(operation: string, shape: Shape): void {
  const size = sizeOf(shape);
  if (size <= MOST_ELEMENTS) return;
  throw new VaeError({
    code: "shape",
    operation,
    expected: "a result of at most 2^40 elements",
    received: `${showShape(shape)}, about ${size.toPrecision(2)}`,
  });
}

/** What a graph may hold as a table of numbers: it is plain data, which is printed, compared and hashed. */
const LARGEST_TABLE = 2 ** 22;

/**
 * A list for a constant, made number by number.
 *
 * @param what it holds, for the message: `"a mask of 5000 × 5000"`
 * @throws VaeError `"shape"` for more than a graph can hold
 */
export function tableOf(operation: string, what: string, length: number, valueAt: (index: number) => number): number[] {
  checkTable(operation, what, length);
  return Array.from({ length }, (_, index) => valueAt(index));
}

/** Throws for a table of more numbers than a graph can hold. */
export function checkTable(operation: string, what: string, length: number): void {
  if (length <= LARGEST_TABLE) return;
  throw new VaeError({
    code: "shape",
    operation,
    expected: `at most 2^22 numbers in ${what}`,
    received: `${length} numbers`,
    hint: "large data go into a graph as an input or a state",
  });
}

/**
 * Every tensor that the outputs need, themselves included, in an order in which inputs come before their users.
 *
 * @param known tensors whose values are there already, a Map or a Set: what only they need is left out
 */
export function topological(outputs: readonly Tensor[], known: Pick<ReadonlySet<Tensor>, "has"> = new Set()): Tensor[] {
  if (!isArray(outputs) || !Array.from(outputs).every(isTensor)) {
    throw new VaeError({ code: "argument", operation: "topological", expected: "an array of tensors", received: describe(outputs) });
  }
  const has: unknown = typeof known === "object" && known !== null && isReadable(known) ? known.has : undefined;
  if (!isFunction(has)) {
    const expected = "known tensors as a Map or a Set";
    throw new VaeError({ code: "argument", operation: "topological", expected, received: describe(known) });
  }
  const seen = new Set<Tensor>(outputs);
  // A set iterates over what is added meanwhile: a queue without recursion, so that a long graph cannot overflow the stack.
  for (const tensor of seen) {
    if (known.has(tensor)) continue;
    for (const input of tensor.inputs) seen.add(input);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}
