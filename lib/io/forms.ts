// What a source of rows is, by its form alone; whether it is a right one is checked where it is read.
import { isRecord } from "../graph/arguments.js";
import { isArray, isReadable } from "../graph/kinds.js";
import type { Dataset } from "./dataset.js";
import type { FieldRecord } from "./field-record.js";

/** True for anything that means to be a {@link Dataset}; `checkDataset` says whether it is one. */
export function isDataset(value: unknown): value is Dataset {
  return typeof value === "object" && value !== null && isReadable(value) && "data" in value && ("rows" in value || "shape" in value);
}

/**
 * True for anything that means to be a {@link FieldRecord}: a plain object with arrays by name, also where `x` is missing. Data
 * sets, fields and iterables are none.
 */
export function isFieldRecord(value: unknown): value is FieldRecord {
  try {
    if (!isRecord(value) || isDataset(value) || Symbol.iterator in value || Symbol.asyncIterator in value) return false;
    return Object.hasOwn(value, "x") || Object.values(value).some((part) => isArray(part) || ArrayBuffer.isView(part));
  } catch {
    return false; // a proxy that was revoked, or getters that throw
  }
}
