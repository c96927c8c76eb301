// What a model consists of, as a table to print.
import { greatest } from "../graph/extremes.js";
import { sizeOf } from "../graph/index.js";
import { type NamedParameter, type Place, parametersIn, type Stack } from "../nn/index.js";

/** What stands in the column of layers for what is no layer. */
export interface SummaryKinds {
  /** The kind of a part, by its name; undefined for one that is left out. */
  readonly part: (name: string) => string | undefined;
  /** Of parameters that belong to no part. */
  readonly own: string;
}

/** The layers with their shapes and parameter counts as a table to print. */
export function summaryOf(place: Place, kinds: SummaryKinds): string {
  const count = (specs: readonly NamedParameter[]): number => specs.reduce((total, { shape }) => total + sizeOf(shape), 0);
  const shape = (dimensions: readonly number[]): string => dimensions.join(" × ") || "1";
  const group = (number: number): string => number.toLocaleString("en-US");
  const rows = [
    ["name", "layer", "input", "output", "parameters"],
    ...stacksIn(place)
      .flatMap(({ entries }) => entries)
      .map(({ name, layer, input, output, place: own }) => [
        name,
        layer.kind,
        shape(input),
        shape(output),
        group(count(parametersIn(own))),
      ]),
    ...Object.entries(place.parts).flatMap(([name, part]) => {
      const kind = kinds.part(name);
      return kind === undefined ? [] : [[name, kind, "", "", group(count(Object.values(part.parameters)))]];
    }),
    ...Object.values(place.parameters).map(({ name, shape: own }) => [name, kinds.own, "", "", group(sizeOf(own))]),
    ["total", "", "", "", group(count(parametersIn(place)))],
  ];
  const widths = rows[0]!.map((_, column) => greatest(rows.map((row) => row[column]!.length)));
  const last = widths.length - 1;
  return rows
    .map((row) => row.map((cell, column) => (column === last ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!))).join("  "))
    .join("\n");
}

/** The networks of a place and of its parts. */
function stacksIn({ networks, parts }: Place): readonly Stack[] {
  return [...Object.values(networks), ...Object.values(parts).flatMap(stacksIn)];
}
