import { describe, VaeError } from "../errors.js";
import { Fields, isRecord } from "../graph/arguments.js";
import { isArray } from "../graph/kinds.js";

/**
 * How the rows of a table were prepared that a model is trained on, kept in its file so that later rows can be prepared alike:
 * value = (raw − mean) / standardDeviation, by column. Methods of a model take prepared rows; the command line prepares them.
 */
export interface Preparation {
  /** Names of the columns in the order of a row; empty where they have none and go by their place. */
  readonly columns: readonly string[];
  /** As many as a row has values; 0 for what was left as it is. */
  readonly mean: readonly number[];
  /** Above 0; 1 for what was left as it is, and for constant columns. */
  readonly standardDeviation: readonly number[];
  /** Columns of texts with their categories, each of which is a column `"name=category"` of 0 and 1. */
  readonly categories: Readonly<Record<string, readonly string[]>>;
}

/**
 * Checks a preparation that came from a caller or from a file, and copies it.
 *
 * @param size values in a row of the model
 * @throws VaeError `"argument"`, or `"shape"` for another number of columns
 */
export function parsePreparation(value: unknown, size: number, operation: string): Preparation {
  const fields = new Fields(operation, value);
  const columns = textsOf(fields, "columns", fields.raw("columns"));
  const mean = numbersOf(fields, "mean", Number.isFinite);
  const standardDeviation = numbersOf(fields, "standardDeviation", (number) => Number.isFinite(number) && number > 0);
  const given = fields.raw("categories") ?? {};
  if (!isRecord(given)) throw fields.wrong("categories", "an object of arrays of texts");
  fields.finish();
  const categories = Object.fromEntries(Object.entries(given).map(([name, texts]) => [name, textsOf(fields, "categories", texts)]));
  const lengths = [mean.length, standardDeviation.length, ...(columns.length === 0 ? [] : [columns.length])];
  if (lengths.some((length) => length !== size)) {
    const expected = `a preparation of ${size} columns, as a row of the model has`;
    throw new VaeError({ code: "shape", operation, expected, received: lengths.join(", ") });
  }
  const unknown = columns.length === 0 ? undefined : categoryColumns(categories).find((name) => !columns.includes(name));
  if (unknown !== undefined) throw fields.wrong("columns", `names with ${describe(unknown)} among them, as the categories say`);
  return deepFrozen({ columns, mean, standardDeviation, categories });
}

/** The columns that categories become, in order. */
export function categoryColumns(categories: Preparation["categories"]): readonly string[] {
  return Object.entries(categories).flatMap(([name, texts]) => texts.map((text) => `${name}=${text}`));
}

function textsOf(fields: Fields, name: string, value: unknown): readonly string[] {
  const texts: readonly unknown[] = isArray(value) ? Array.from(value) : [undefined];
  if (texts.every((text) => typeof text === "string") && new Set(texts).size === texts.length) return [...(texts as string[])];
  throw fields.wrong(name, "different texts in an array");
}

function numbersOf(fields: Fields, name: string, isRight: (value: number) => boolean): readonly number[] {
  const value = fields.raw(name);
  if (isArray(value) && Array.from(value).every((number) => typeof number === "number" && isRight(number))) return [...(value as number[])];
  throw fields.wrong(name, name === "mean" ? "finite numbers in an array" : "finite numbers above 0 in an array");
}

function deepFrozen(preparation: Preparation): Preparation {
  for (const part of [...Object.values(preparation), ...Object.values(preparation.categories)]) Object.freeze(part);
  return Object.freeze(preparation);
}
