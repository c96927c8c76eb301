// A field: one value per row beside x, such as a class, a site, an age or a list of tokens.
import { describe, VaeError } from "../errors.js";
import { checkAttached } from "../graph/arguments.js";
import { isArray, isInt32Array, isReadable, typedArrayName } from "../graph/kinds.js";
import { type Shape, shapeInstead, showShape, sizeOf } from "../graph/tensor.js";
import type { Dataset } from "./dataset.js";
import { isFieldArray } from "./field-array.js";
import { checkNames } from "./names.js";

/** Values of one field, row-major: rows × product(shape). */
export type FieldArray = Float32Array | Uint8Array | Int32Array;

/** One value per row of a data set: a number, or a tensor of a shape. */
export interface Field {
  /** rows × product(shape) values, row-major. */
  readonly data: FieldArray;
  /** The shape of one row's value; `[]` for a number per row. */
  readonly shape: Shape;
  /** For int32 fields that hold categories: their names, by number, all different. */
  readonly names?: readonly string[] | undefined;
}

/** A data set without its rows: what it has for each of them beside x. */
export type BesideX = Pick<Dataset, "rows" | "name" | "labels" | "labelNames" | "fields">;

/** Which field of which data set is looked at. */
export interface FieldPlace {
  readonly name: string;
  /** How many rows the data set has. */
  readonly rows: number;
  /** The name of the data set, for messages. */
  readonly owner: string;
  readonly operation: string;
}

/** `the field "site" of sensors.csv` */
export function fieldInWords({ name, owner }: FieldPlace): string {
  return `the field ${describe(name)} of ${owner}`;
}

const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * Throws `"argument"` unless a field can have the name: 1 to 64 letters (a to z), digits, `_` and `-`. Names that every object of
 * JavaScript has, such as `constructor`, would be found where no field is.
 */
export function checkFieldName(name: unknown, operation: string): asserts name is string {
  const inherited = typeof name === "string" && name in Object.prototype;
  if (typeof name === "string" && NAME.test(name) && !inherited) return;
  throw new VaeError({
    code: "argument",
    operation,
    expected: "the name of a field to be 1 to 64 letters (a to z), digits, _ and -",
    received: inherited ? `${describe(name)}, which every object of JavaScript has` : describe(name),
  });
}

/** Where a data set keeps the fields that have places of their own. */
const PLACES: ReadonlyMap<string, string> = new Map([
  ["x", "data and shape"],
  ["label", "labels and labelNames"],
]);

/** The fields with every property read once. What is no field stays as it is, to be refused by {@link checkFieldTable}. */
export function readFieldTable(fields: Readonly<Record<string, Field>>): Readonly<Record<string, Field>> {
  if (!isObject(fields)) return fields;
  return Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, isObject(field) ? readParts(field) : field]));
}

/** The parts of a field, read once; lists are copied. */
export function readParts({ data, shape, names }: Field): Field {
  const listed = <T>(list: readonly T[]): readonly T[] => (isArray(list) ? Array.from(list as readonly T[]) : list);
  return { data, shape: listed(shape), ...(names === undefined ? {} : { names: listed(names) }) };
}

/** Throws unless the fields beside x, where there are any, are fields of so many rows. */
export function checkFieldTable(fields: unknown, { rows, owner, operation }: Omit<FieldPlace, "name">): void {
  if (fields === undefined) return;
  if (!isObject(fields)) {
    const expected = `the fields of ${owner} as an object of fields by name`;
    throw new VaeError({ code: "argument", operation, expected, received: describe(fields) });
  }
  for (const [name, field] of Object.entries(fields)) {
    checkFieldName(name, operation);
    const place = PLACES.get(name);
    if (place !== undefined) {
      const expected = `the fields of ${owner} to be those beside x and label`;
      throw new VaeError({ code: "argument", operation, expected, received: describe(name), hint: `${name} is kept in ${place}` });
    }
    checkField(field, { name, rows, owner, operation });
  }
}

/**
 * Throws unless the parts of a field are there and fit together. Its values are not looked at.
 *
 * @throws VaeError `"argument"`, `"dtype"`, `"shape"` or `"detached"`
 */
export function checkField(field: unknown, place: FieldPlace): asserts field is Field {
  const { operation } = place;
  const what = fieldInWords(place);
  if (!isObject(field)) {
    const hint = "withField(rows, name, values) makes a field";
    throw new VaeError({ code: "argument", operation, expected: `${what} as { data, shape }`, received: describe(field), hint });
  }
  const { data, shape, names } = field as Partial<Field>;
  if (!isFieldArray(data)) throw notFieldArray(data, place);
  checkAttached(operation, data, what);
  if (shapeInstead(shape) !== undefined) {
    const expected = `the shape of a row of ${what} to be ${shapeInstead(shape)}`;
    throw new VaeError({ code: "shape", operation, expected, received: describe(shape) });
  }
  checkNames(operation, names, `names of the categories of ${what}`);
  if (names !== undefined && !isInt32Array(data)) {
    const expected = `${what}, which has names of categories, as an Int32Array`;
    throw new VaeError({ code: "dtype", operation, expected, received: describe(data) });
  }
  checkFieldLength(data.length, shape!, place);
}

/** Throws `"shape"` unless there is a value of the shape for every row. */
export function checkFieldLength(length: number, shape: Shape, { name, rows, owner, operation }: FieldPlace): void {
  const values = rows * sizeOf(shape);
  if (length === values) return;
  const width = rows === 0 ? 0 : length / rows;
  const hint = `for ${width} values per row give their shape: withField(rows, "${name}", values, { shape: [${width}] })`;
  throw new VaeError({
    code: "shape",
    operation,
    problem: `the field ${describe(name)} does not have a value for every row of ${owner}`,
    expected: `${values} values for ${rows} rows${shape.length === 0 ? "" : ` of shape ${showShape(shape)}`}`,
    received: `${length} values`,
    ...(shape.length === 0 && Number.isInteger(width) && width > 1 ? { hint } : {}),
  });
}

/** Throws `"data"` at the first category from `begin` to `end` that has no name. Fields without names pass. */
export function checkCategories({ data, shape, names }: Field, begin: number, end: number, { name, owner, operation }: FieldPlace): void {
  if (names === undefined) return;
  for (let index = begin; index < end; index++) {
    const category = data[index]!;
    if (category >= 0 && category < names.length) continue;
    throw new VaeError({
      code: "data",
      operation,
      problem: `the ${name} of row ${Math.floor(index / sizeOf(shape))} of ${owner}`,
      expected: `the number of one of ${names.length} names of categories`,
      received: String(category),
    });
  }
}

/** The error for what cannot hold the values of a field. */
export function notFieldArray(data: unknown, place: FieldPlace): VaeError {
  const parts = {
    operation: place.operation,
    expected: `${fieldInWords(place)} as a Float32Array, a Uint8Array or an Int32Array`,
    received: describe(data),
  };
  if (!ArrayBuffer.isView(data)) return new VaeError({ code: "argument", ...parts });
  const instead: Readonly<Partial<Record<string, string>>> = {
    BigInt64Array: "Int32Array.from(values, Number)",
    BigUint64Array: "Int32Array.from(values, Number)",
    Uint8ClampedArray: "new Uint8Array(values)",
    Float64Array: "Float32Array.from(values)",
    Float16Array: "Float32Array.from(values)",
  };
  return new VaeError({ code: "dtype", ...parts, hint: `convert it: ${instead[typedArrayName(data) ?? ""] ?? "Int32Array.from(values)"}` });
}

/** True for what properties can be read from by name, arrays left out. */
export function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !isArray(value) && !ArrayBuffer.isView(value) && isReadable(value);
}
