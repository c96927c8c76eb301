// Rows as a record of arrays by field name: { x: images, label: labels }.
import { describe, VaeError } from "../errors.js";
import { isArray, isFloat32Array, isUint8Array } from "../graph/kinds.js";
import type { Batch } from "./batch-parts.js";
import type { FieldValues } from "./field-values.js";

/**
 * Rows as arrays by field name. `x` holds the rows themselves, as a typed array or an array of rows; every other field is what
 * `withField` takes, with a value for every row: `{ x: images, label: ["cat", "dog", …], age: Float32Array.of(…) }`.
 */
export interface FieldRecord {
  readonly x: Batch;
  readonly [field: string]: Batch | FieldValues;
}

/** The parts of a record. */
export interface RecordParts {
  readonly x: Batch;
  readonly others: readonly (readonly [name: string, values: unknown])[];
}

/**
 * The fields of a record, read once, so that a getter cannot give what was not checked.
 *
 * @throws VaeError `"argument"` where x is missing, or is no array
 */
export function partsOf(record: FieldRecord, operation: string, where = "a record of fields"): RecordParts {
  const entries = Object.entries(record);
  const found = entries.find(([name]) => name === "x");
  if (found === undefined) {
    const names = entries.map(([name]) => describe(name)).join(", ");
    const hint = "call the rows x: { x: rows, label: labels }";
    throw new VaeError({ code: "argument", operation, expected: `${where} to have the field x`, received: names, hint });
  }
  const [, x]: readonly [string, unknown] = found;
  if (isFloat32Array(x) || isUint8Array(x) || isArray(x)) {
    return { x: x as Batch, others: entries.filter((entry) => entry !== found) };
  }
  throw new VaeError({
    code: ArrayBuffer.isView(x) ? "dtype" : "argument",
    operation,
    expected: `x of ${where} as a Float32Array, a Uint8Array or an array of rows`,
    received: describe(x),
    hint: "fields are added to a data set with withField(dataset, name, values); an iterable gives a record per batch",
  });
}
