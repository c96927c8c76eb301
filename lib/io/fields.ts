import { Fields, noMore } from "../graph/arguments.js";
import type { Shape } from "../graph/tensor.js";
import { type Dataset, readDataset } from "./dataset.js";
import type { Field } from "./field.js";
import { addField, type FieldValues } from "./field-values.js";

/** How the values of a field are meant. */
export interface FieldOptions {
  /** The shape of one row's value; default `[]`, a number per row. */
  readonly shape?: Shape;
}

/**
 * All fields of a data set by name: `x`, its data; `label`, where it has labels, with the names of the classes; and the others. The
 * arrays are those of the data set, not copies.
 *
 * @example
 * ```ts
 * const { x, label } = fieldsOf(await datasets.mnist()); // x: uint8 [28, 28, 1]; label: int32 []
 * ```
 * @throws VaeError `"argument"`, `"dtype"`, `"shape"` or `"detached"` for what is no data set
 */
export function fieldsOf(dataset: Dataset, ...surplus: never[]): Readonly<Record<string, Field>> {
  const operation = "fieldsOf";
  noMore(operation, surplus);
  const { data, shape, labels, labelNames, fields } = readDataset(dataset, operation);
  const label: Field | undefined = labels && { data: labels, shape: [], ...(labelNames === undefined ? {} : { names: labelNames }) };
  return Object.freeze({ x: { data, shape }, ...(label === undefined ? {} : { label }), ...fields });
}

/**
 * The data set with one more field, or with another one of that name. A field has a value for every row; it goes with its rows
 * through {@link subset}, {@link split}, {@link concatenateDatasets} and standardization.
 *
 * - A text is one category for all rows, a number one float32 for all rows.
 * - An array of texts gives categories: an int32 field whose names are numbered in the order in which they first appear.
 * - An array of numbers gives float32. A `Float32Array`, `Uint8Array` or `Int32Array` keeps its element type: numbers of tokens and of
 *   categories are an `Int32Array`. Typed arrays of up to 8 MiB are copied, larger ones are used in place.
 * - Values of a shape are rows × product(shape) values in one flat array, with the option `shape`.
 * - A {@link Field} is used as it is.
 *
 * `label` sets the data set's labels and their names: texts, or whole numbers. `x` is the data set's own rows, and cannot be set.
 *
 * @param name 1 to 64 letters (a to z), digits, `_` and `-`
 * @example
 * ```ts
 * const here = withField(await datasets.csv("here.csv"), "site", "A");
 * const there = withField(await datasets.csv("there.csv"), "site", "B");
 * const all = concatenateDatasets([here, there]); // fieldsOf(all).site.names: ["A", "B"]
 * const texts = withField(all, "tokens", Int32Array.from(tokens), { shape: [128] });
 * ```
 * @throws VaeError `"argument"` for a name that no field can have, for `x`, and for values of another type; `"shape"` for another number
 *   of values than the rows have; `"dtype"` for another kind of typed array; `"data"` for numbers that are not finite, labels that are
 *   not whole, and categories without a name; `"detached"` for a transferred buffer. Floats in a typed array are checked when they
 *   are used.
 */
export function withField(dataset: Dataset, name: string, values: FieldValues, options: FieldOptions = {}, ...surplus: never[]): Dataset {
  const operation = "withField";
  noMore(operation, surplus, 'withField(rows, "tokens", values, { shape: [128] })');
  const own = readDataset(dataset, operation);
  const fields = new Fields(operation, options);
  const shape = fields.raw("shape") === undefined ? undefined : [...fields.shape("shape")];
  fields.finish();
  return addField(own, name, values, operation, { shape });
}
