import { describe, VaeError } from "../errors.js";
import { checkAttached, checkOptions, numbers } from "./arguments.js";
import { isArrayLike } from "./kinds.js";
import { calledBy, checkWhole, makeNode, type None, notDifferentiable, type OpRow, type Plain, type Rows } from "./table.js";
import { checkShape, checkTable, type DType, isTensor, type Shape, showShape, sizeOf, type Tensor, type TensorLike } from "./tensor.js";

interface LeafSignatures {
  input: { inputs: None; attributes: { readonly name: string } };
  state: { inputs: None; attributes: { readonly name: string } };
  constant: { inputs: None; attributes: { readonly value: number } | { readonly data: readonly number[] } };
  step: { inputs: None; attributes: Plain };
}

const dtypes: readonly string[] = ["float32", "int32", "uint8"] satisfies readonly DType[];

/** A leaf whose value comes with the call, from feeds or residents. */
function fed<Name extends "input" | "state">(name: Name): OpRow<Name, None, { readonly name: string }> {
  return {
    name,
    family: "leaf",
    type(_inputs, attributes, requested) {
      if (typeof attributes.name !== "string" || attributes.name === "") {
        throw new VaeError({ code: "argument", operation: name, expected: "a name", received: describe(attributes.name) });
      }
      return asked(`${name} "${attributes.name}"`, requested);
    },
    derivative: notDifferentiable,
    evaluate(_inputs, attributes, type) {
      throw new VaeError({
        code: "argument",
        operation: "evaluate",
        problem: `${name} "${attributes.name}" ${showShape(type.shape)} was not fed`,
        hint: "add it to the map of feeds",
      });
    },
    cases: [],
  };
}

function otherLength(shape: Shape, length: number): VaeError {
  const expected = `${numbers(sizeOf(shape))} for shape ${showShape(shape)}`;
  return new VaeError({ code: "shape", operation: "constant", expected, received: numbers(length) });
}

/** The type that a leaf is asked to have, checked. */
function asked(operation: string, requested: { readonly shape: Shape; readonly dtype: DType } | undefined) {
  const type = requested ?? { shape: [], dtype: "float32" };
  checkShape(operation, type.shape);
  if (!dtypes.includes(type.dtype)) {
    throw new VaeError({
      code: "dtype",
      operation,
      expected: 'the dtype to be "float32", "int32" or "uint8"',
      received: describe(type.dtype),
    });
  }
  return type;
}

export const leafRows: Rows<LeafSignatures> = {
  input: fed("input"),
  state: fed("state"),
  constant: {
    name: "constant",
    family: "leaf",
    type(_inputs, attributes, requested) {
      const type = asked("constant", requested);
      const length = "value" in attributes ? 1 : attributes.data.length;
      if (length !== sizeOf(type.shape)) {
        throw otherLength(type.shape, length);
      }
      return type;
    },
    derivative: notDifferentiable,
    evaluate: (_inputs, attributes) => Float64Array.from("value" in attributes ? [attributes.value] : attributes.data),
    cases: [
      { name: "scalar", inputs: [], build: () => constantTensor(1.5) },
      { name: "matrix", inputs: [], build: () => constantTensor({ data: [1, -2, 3, 0.5, 0, 7], shape: [2, 3] }) },
    ],
  },
  step: {
    name: "step",
    family: "leaf",
    type: () => ({ shape: [], dtype: "float32" }),
    derivative: notDifferentiable,
    evaluate: (_inputs, _attributes, _type, environment) => Float64Array.of(environment.step),
    cases: [{ name: "counter", inputs: [], build: () => step() }],
  },
};

/**
 * A value that the caller gives with every run.
 *
 * @example
 * ```ts
 * const x = input("x", [128, 784]);
 * const pixels = cast(input("pixels", [128, 784], "uint8"));
 * ```
 */
export function input(name: string, shape: Shape, dtype?: DType): Tensor;
export function input(name: string, shape: Shape, dtype: DType = "float32", ...surplus: unknown[]): Tensor {
  return calledBy(input, surplus, () => makeNode(leafRows.input, [], { name }, { shape, dtype }));
}

/** A value that stays on the device between runs: a weight, an optimizer moment, a data set. Bound by name to a resident. */
export function state(name: string, shape: Shape, dtype?: DType): Tensor;
export function state(name: string, shape: Shape, dtype: DType = "float32", ...surplus: unknown[]): Tensor {
  return calledBy(state, surplus, () => makeNode(leafRows.state, [], { name }, { shape, dtype }));
}

/**
 * A float32 value known when the graph is made: a number (a scalar), or row-major data of a shape.
 *
 * @example
 * ```ts
 * constantTensor(0.5);
 * constantTensor({ data: [1, 0, 0, 1], shape: [2, 2] });
 * ```
 */
export function constantTensor(value: number | { readonly data: ArrayLike<number>; readonly shape: Shape }): Tensor;
export function constantTensor(value: number | { readonly data: ArrayLike<number>; readonly shape: Shape }, ...surplus: unknown[]): Tensor {
  return calledBy(constantTensor, surplus, () => {
    if (typeof value === "number") return makeNode(leafRows.constant, [], { value }, { shape: [], dtype: "float32" });
    const { data, shape } = checkOptions("constant", value, ["data", "shape"]);
    if (ArrayBuffer.isView(data)) checkAttached("constant", data);
    checkShape("constant", shape);
    // The length first: what is like an array may say that it is of any.
    if (isArrayLike(data)) checkTable("constant", "its data", data.length);
    if (isArrayLike(data) && data.length !== sizeOf(shape)) throw otherLength(shape, data.length);
    if (!isArrayLike(data) || !Array.from(data).every((number) => typeof number === "number")) {
      throw new VaeError({ code: "argument", operation: "constant", expected: "data to be an array of numbers", received: describe(data) });
    }
    return makeNode(leafRows.constant, [], { data: Object.freeze(Array.from(data)) }, { shape, dtype: "float32" });
  });
}

/** The step counter of the run, from 0, as a float32 scalar (exact up to 2^24 steps). */
export function step(): Tensor;
export function step(...surplus: unknown[]): Tensor {
  return calledBy(step, surplus, () => makeNode(leafRows.step, [], {}));
}

/** The tensor itself, or a scalar constant for a number; anything else is an error of the operation. */
export function toTensor(operation: string, value: TensorLike): Tensor {
  if (typeof value === "number") return constantTensor(value);
  if (isTensor(value)) return value;
  throw new VaeError({ code: "argument", operation, expected: "a tensor or a number", received: describe(value) });
}

/** A stream of noise is one word of the counter. */
export function checkStream(operation: string, stream: number): void {
  checkWhole(operation, "the stream", stream, 0, 2 ** 32 - 1);
}

/** Streams from here on are for the parts of models: what callers number themselves is below. */
export const FIRST_RESERVED_STREAM = 2 ** 31;

/** Throws `"argument"` for a stream that callers may not draw from. */
export function checkUsersStream(operation: string, stream: number): void {
  checkWhole(operation, "the stream", stream, 0, FIRST_RESERVED_STREAM - 1);
}
