// Kinds of options that only loaders have.
import type { Fields } from "../graph/arguments.js";
import { isArray } from "../graph/kinds.js";
import { isNames } from "./names.js";

/** A name; undefined when left out. */
export function nameOption(fields: Fields, option: string): string | undefined {
  const value = fields.raw(option);
  if (value === undefined || typeof value === "string") return value;
  throw fields.wrong(option, "a name");
}

/** Names; undefined when left out. */
export function namesOption(fields: Fields, option: string): readonly string[] | undefined {
  const value = fields.raw(option);
  if (value === undefined) return undefined;
  if (isArray(value) && isNames(value)) return value;
  throw fields.wrong(option, "an array of names");
}
