import { describe, VaeError } from "../errors.js";
import { binaryRows } from "./binary.js";
import { convolutionRows } from "./convolution.js";
import { cumulativeRows } from "./cumulative.js";
import { identityRows } from "./identity.js";
import { indexingRows } from "./indexing.js";
import { leafRows } from "./leaves.js";
import { linearRows } from "./linear.js";
import { movementRows } from "./movement.js";
import { randomRows } from "./random.js";
import { reduceRows } from "./reduce.js";
import { sortRows } from "./sorting.js";
import type { OpRow } from "./table.js";
import { triangularRows } from "./triangular.js";
import { unaryRows } from "./unary.js";
import { windowRows } from "./windows.js";

/** The closed table: every op there is, by name. Each family's type lists its names, so none can be missing. */
export const ops = {
  ...leafRows,
  ...randomRows,
  ...unaryRows,
  ...binaryRows,
  ...identityRows,
  ...reduceRows,
  ...movementRows,
  ...linearRows,
  ...convolutionRows,
  ...windowRows,
  ...indexingRows,
  ...cumulativeRows,
  ...sortRows,
  ...triangularRows,
};

/** The name of an op: `"add"`, `"broadcast_to"`, … */
export type OpName = keyof typeof ops;

const rows: { readonly [Name in OpName]: OpRow } = ops;

/** The row of an op, by name; VaeError `"argument"` for a name that the table lacks. */
export function rowOf(op: string): OpRow {
  if (typeof op !== "string" || !Object.hasOwn(rows, op)) {
    throw new VaeError({ code: "argument", operation: "rowOf", expected: 'the name of an op, such as "add"', received: describe(op) });
  }
  return rows[op as OpName];
}
