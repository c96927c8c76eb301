// What the functions of a part gave: users define parts, and a wrong result must be told with the part's name, where it was made,
// rather than by whatever op meets it first.
import { describe, VaeError } from "../errors.js";
import { isTensor, showShape } from "../graph/index.js";
import { isPromise, letGo } from "../graph/kinds.js";

/** The function of a part whose result is looked at. */
export interface Asked {
  /** `"likelihood"`, `"prior"`, … */
  readonly family: string;
  /** Its kind. */
  readonly part: string;
  /** The function's name. */
  readonly method: string;
}

/** The error for a result that is not what was asked for. */
export function wrongResult(
  { family, part, method }: Asked,
  code: "argument" | "shape" | "dtype",
  expected: string,
  value: unknown,
  hint?: string,
) {
  letGo(value);
  const received = isTensor(value) ? `a ${value.dtype} tensor ${showShape(value.shape)}` : describe(value);
  const advice = isPromise(value) ? `${method} must not be async` : hint;
  return new VaeError({
    code,
    operation: `${family} ${part}`,
    expected: `${method} to give ${expected}`,
    received,
    ...(advice === undefined ? {} : { hint: advice }),
  });
}
