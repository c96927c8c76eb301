// Fields from what callers have: texts, numbers, typed arrays, or the field of another data set.
import { types } from "node:util";
import { describe, VaeError } from "../errors.js";
import { checkAttached } from "../graph/arguments.js";
import { isArray, isInt32Array, isUint8Array } from "../graph/kinds.js";
import { type Shape, showShape, sizeOf } from "../graph/tensor.js";
import {
  type BesideX,
  checkCategories,
  checkField,
  checkFieldLength,
  checkFieldName,
  type Field,
  type FieldArray,
  type FieldPlace,
  fieldInWords,
  isObject,
  notFieldArray,
  readParts,
} from "./field.js";
import { isFieldArray, ownedValues, rowsBetween, zerosLike } from "./field-array.js";

/**
 * What a field is made from: one category (a text) or one number for all rows; texts or numbers, one per row; values in a typed
 * array; or a {@link Field}, as another data set has it.
 */
export type FieldValues = string | number | FieldArray | readonly (string | number)[] | Field;

/** How a caller's values are taken. */
export interface ValuesOptions {
  /** The shape of one row's value; default that of a {@link Field}, else `[]`. */
  readonly shape?: Shape | undefined;
  /** Typed arrays are copied whatever their size, since the source may use their memory again; default false. */
  readonly copied?: boolean;
}

/** The same, and what numbers are meant to be. */
interface Meaning extends ValuesOptions {
  /** Numbers in lists are whole, and kept as int32: those of labels. */
  readonly whole?: boolean;
}

/**
 * The data set with one more field, or with another one of that name. The data set is known to be right; values are checked.
 *
 * @throws VaeError as {@link readField}; `"argument"` for a name that no field can have, and for `x`
 */
export function addField<Rows extends BesideX>(
  dataset: Rows,
  name: string,
  values: unknown,
  operation: string,
  options: ValuesOptions = {},
): Rows {
  checkFieldName(name, operation);
  const place = { name, rows: dataset.rows, owner: dataset.name ?? "Dataset", operation };
  if (name === "x") {
    const hint = "x is the data set's own rows: make another one with datasets.from(values, shape), and add the other fields to it";
    throw new VaeError({ code: "argument", operation, expected: "the name of a field beside x", received: describe(name), hint });
  }
  if (name !== "label") return { ...dataset, fields: { ...dataset.fields, [name]: readField(values, place, options) } };
  const field = readField(values, place, { ...options, whole: true });
  return { ...dataset, labels: labelsIn(field, operation), labelNames: field.names };
}

/**
 * Values of a caller as a field. Typed arrays up to 8 MiB and lists are copied; larger typed arrays, those on shared memory and a
 * {@link Field} are used in place.
 *
 * @throws VaeError `"argument"` for what no field can be made from, `"shape"` for another number of values, `"dtype"` for another
 *   typed array, `"data"` for numbers that the field cannot hold and for categories without a name, `"detached"`
 */
function readField(values: unknown, place: FieldPlace, meaning: Meaning): Field {
  const { operation, rows } = place;
  const { shape = [], copied = false } = meaning;
  const copyOf = (data: FieldArray) => rowsBetween(data, 1, 0, data.length, operation);
  if (typeof values === "string" || typeof values === "number") {
    const one = listField([values], place, { ...meaning, shape: [] });
    return { ...one, data: zerosLike(one.data, rows * sizeOf(shape), operation).fill(one.data[0]!), shape };
  }
  if (isFieldArray(values)) {
    checkAttached(operation, values, fieldInWords(place));
    checkFieldLength(values.length, shape, place);
    return { data: copied ? copyOf(values) : ownedValues(values, operation), shape };
  }
  if (ArrayBuffer.isView(values)) throw notFieldArray(values, place);
  if (isArray(values)) {
    checkFieldLength(values.length, shape, place);
    return listField(Array.from(values), place, { ...meaning, shape });
  }
  if (!isObject(values) || !("data" in values)) throw notValues(values, place);
  if (meaning.shape !== undefined) {
    const expected = "no option shape beside a field, which has one";
    throw new VaeError({ code: "argument", operation, expected, received: showShape(meaning.shape) });
  }
  const field = readParts(values as Field);
  checkField(field, place);
  checkCategories(field, 0, field.data.length, place);
  return copied ? { ...field, data: copyOf(field.data) } : field;
}

/** Texts as categories in order of first appearance; numbers as float32, or int32 where they are to be whole. */
function listField(list: readonly unknown[], place: FieldPlace, { shape = [], whole = false }: Meaning): Field {
  const kind = typeof list[0] === "string" ? "string" : "number";
  const stranger = list.findIndex((value) => typeof value !== kind);
  if (stranger >= 0) throw notInList(list, stranger, place);
  if (kind === "string") {
    const numbers = new Map<string, number>();
    const data = Int32Array.from(list as readonly string[], (text) => {
      const number = numbers.get(text) ?? numbers.size;
      numbers.set(text, number);
      return number;
    });
    return { data, shape, names: [...numbers.keys()] };
  }
  const fits = whole ? (value: number) => (value | 0) === value : (value: number) => Number.isFinite(Math.fround(value));
  const wrong = (list as readonly number[]).findIndex((value) => !fits(value));
  if (wrong < 0) {
    const numbers = list as readonly number[];
    return { data: whole ? Int32Array.from(numbers) : Float32Array.from(numbers), shape };
  }
  throw new VaeError({
    code: "data",
    operation: place.operation,
    problem: `value ${wrong} of ${fieldInWords(place)}`,
    expected: whole ? "a whole number that fits an int32" : "a finite number that fits a float32",
    received: String(list[wrong]),
    hint: whole ? "number the classes, or give their names as texts" : "remove or fill in missing and infinite values",
  });
}

/** How many bytes a field of `rows` rows takes that is made of the values; 0 for what none is made of. */
export function bytesToKeep(values: unknown, rows: number): number {
  if (ArrayBuffer.isView(values)) return values.byteLength;
  if (isArray(values)) return 4 * values.length;
  return isObject(values) ? ((values as Partial<Field>).data?.byteLength ?? 0) : 4 * rows;
}

function labelsIn({ data, shape }: Field, operation: string): Int32Array {
  if (shape.length > 0) {
    throw new VaeError({ code: "shape", operation, expected: "one label per row, shape []", received: showShape(shape) });
  }
  if (isInt32Array(data)) return data;
  if (isUint8Array(data)) return Int32Array.from(data);
  const expected = "labels as texts, or as whole numbers in an array, an Int32Array or a Uint8Array";
  throw new VaeError({ code: "dtype", operation, expected, received: describe(data), hint: "convert them: Int32Array.from(labels)" });
}

function notInList(list: readonly unknown[], index: number, place: FieldPlace): VaeError {
  const value = list[index];
  const before = typeof list[0] === "string" ? "a text, as the value before" : "a number, as the value before";
  const hint = "values of a shape are one flat list: withField(rows, name, values.flat(), { shape: [2] })";
  return new VaeError({
    code: "argument",
    operation: place.operation,
    problem: `value ${index} of ${fieldInWords(place)}`,
    expected: index === 0 ? "a text or a number" : before,
    received: describe(value),
    ...(isArray(value) || ArrayBuffer.isView(value) ? { hint } : {}),
  });
}

function notValues(values: unknown, place: FieldPlace): VaeError {
  const expected = `${fieldInWords(place)} as a text, a number, an array of texts or numbers, a typed array or a Field`;
  const hint = types.isPromise(values) ? { hint: "await it first" } : {};
  return new VaeError({ code: "argument", operation: place.operation, expected, received: describe(values), ...hint });
}
