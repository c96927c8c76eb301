// Names of categories, as parts are given them.
import type { Fields } from "../graph/arguments.js";
import { isArray } from "../graph/kinds.js";
import { isNames } from "../io/names.js";

/** How many categories there may be: each is a column of a matrix. */
const MOST_CATEGORIES = 100_000;

/**
 * Reads the option `names`: names of categories, or how many there are, which are then called `"0"` … `"n − 1"`.
 *
 * @throws VaeError `"argument"` unless there is one at least, and all differ
 */
export function readCategories(options: Fields): readonly string[] {
  const given = options.raw("names");
  if (typeof given === "number") {
    const count = options.number("names", { minimum: 1, maximum: MOST_CATEGORIES, integer: true });
    return Array.from({ length: count }, (_, index) => `${index}`);
  }
  const isRight =
    isArray(given) && given.length > 0 && given.length <= MOST_CATEGORIES && isNames(given) && new Set(given).size === given.length;
  if (!isRight) throw options.wrong("names", "a number of categories, or their names, all different");
  return [...given];
}
