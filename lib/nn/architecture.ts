// What the options of models have in common: what goes in, and lists of layers.
import { describe, VaeError } from "../errors.js";
import type { Fields } from "../graph/arguments.js";
import type { Shape } from "../graph/index.js";
import { isArray } from "../graph/kinds.js";
import { type Layer, layers } from "./layer.js";

/** Reads the option `input`, the shape of one row. */
export function readInput(fields: Fields): Shape {
  const shape = fields.shape("input");
  if (shape.length === 0)
    throw fields.wrong("input", "the shape of a sample, with at least one axis", "for plain numbers use [1]", "shape");
  return [...shape];
}

/** Reads an option that is a list of layers. */
export function readLayers(fields: Fields, name: string): readonly Layer[] {
  const list = fields.raw(name);
  if (!isArray(list)) {
    throw new VaeError({
      code: "argument",
      operation: fields.operation,
      expected: `${name} to be an array of layers`,
      received: describe(list),
      hint: `${name}: [dense(400, { activation: "relu" })]; an empty array is a linear model`,
    });
  }
  // Not map(), which passes over the holes of a sparse array.
  return Array.from(list, (layer, index) => layers.parse(layer, `${fields.operation} ${name}[${index}]`));
}
