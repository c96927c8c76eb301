import { describe, VaeError } from "../errors.js";
import { noMore } from "../graph/arguments.js";
import { isArray, isUint8Array } from "../graph/kinds.js";
import { showShape, sizeOf } from "../graph/tensor.js";
import { type Dataset, readDataset } from "./dataset.js";
import { zerosLike } from "./field-array.js";
import { atOnce, joinBesideX } from "./field-join.js";
import { columnOrder, copyColumns, reorderedStatistics } from "./names.js";

const operation = "concatenateDatasets";

/**
 * The rows of several data sets, one behind the other, put together by name.
 *
 * - **Columns** are brought into the order of the first data set that names them; they must be the same ones. Rows without names
 *   are taken as they are.
 * - **Classes** keep their names: the numbers of the first data set stay, and names that come new behind it get the next numbers.
 *   Either all data sets have labels or none, and either all of these have names for them or none.
 * - **Fields** are the same ones in all data sets, by name. Their categories are put together by name, as those of classes are.
 *
 * @throws VaeError `"argument"` for an empty list, `"shape"` for rows of different shapes, `"dtype"` for a mix of bytes and floats,
 *   `"data"` for other columns, for labels, names of classes or fields that only some have, for a label or category without a name, and
 *   for rows that were standardized with different statistics.
 */
export function concatenateDatasets(datasets: readonly Dataset[], ...surplus: never[]): Dataset {
  noMore(operation, surplus);
  if (!isArray(datasets)) {
    throw new VaeError({ code: "argument", operation, expected: "an array of data sets", received: describe(datasets) });
  }
  const parts = Array.from(datasets, (dataset) => readDataset(dataset, operation));
  const [first]: readonly Dataset[] = parts;
  if (first === undefined) throw new VaeError({ code: "argument", operation, expected: "at least one data set", received: "none" });
  if (shared(parts, "labels", "labels") !== undefined) shared(parts, "labelNames", "names of classes");
  const { columns, orders } = columnsOf(parts);
  checkRows(parts, first);
  checkStandardization(parts, orders);
  const rows = parts.reduce((sum, dataset) => sum + dataset.rows, 0);
  const size = sizeOf(first.shape);
  const data = zerosLike(first.data, rows * size, operation);
  let offset = 0;
  for (const [index, dataset] of parts.entries()) {
    const order = orders[index];
    if (order === undefined) data.set(dataset.data, offset);
    else copyColumns(dataset.data, data, order, { start: 0, end: dataset.rows, offset });
    offset += dataset.rows * size;
  }
  const beside = atOnce(joinBesideX(parts, operation));
  const bytes = parts.find((dataset) => dataset.bytes !== undefined)?.bytes;
  return { ...first, data, bytes, rows, ...beside, columns, name: nameOf(parts) };
}

/** Names that a name is made of; more would fill every message. */
const MOST_NAMES = 4;

function nameOf(datasets: readonly Dataset[]): string {
  const names = datasets.slice(0, MOST_NAMES).map(({ name }: Partial<Dataset>) => (typeof name === "string" ? name : "Dataset"));
  return [...names, ...(datasets.length > MOST_NAMES ? [`${datasets.length - MOST_NAMES} more`] : [])].join(" + ");
}

/** The columns of all, and where each data set has them; undefined where in place. */
function columnsOf(datasets: readonly Dataset[]): { columns: Dataset["columns"]; orders: readonly (Int32Array | undefined)[] } {
  const owner = datasets.find((dataset) => dataset.columns !== undefined);
  const columns = owner?.columns;
  const orders = datasets.map(({ columns: given, name }) =>
    given === undefined || columns === undefined ? undefined : columnOrder(given, columns, { operation, name, owner: owner!.name }),
  );
  return { columns, orders };
}

function checkRows(datasets: readonly Dataset[], first: Dataset): void {
  const bytes = isUint8Array(first.data);
  for (const { name, shape, data, bytes: meaning } of datasets) {
    if (shape.join() !== first.shape.join()) {
      const expected = `rows of ${showShape(first.shape)}, as in ${first.name}`;
      throw new VaeError({ code: "shape", operation, problem: name, expected, received: showShape(shape) });
    }
    if (isUint8Array(data) !== bytes) {
      const [expected, received] = bytes ? ["bytes", "floats"] : ["floats", "bytes"];
      throw new VaeError({ code: "dtype", operation, problem: name, expected: expected!, received: received! });
    }
    if (bytes && (meaning === "raw") !== (first.bytes === "raw")) {
      const inWords = (raw: boolean): string => (raw ? "bytes that stand for themselves" : "bytes that stand for value / 255");
      const [expected, received] = [inWords(first.bytes === "raw"), inWords(meaning === "raw")];
      throw new VaeError({ code: "dtype", operation, problem: name, expected, received });
    }
  }
}

/** A value means the same in all rows only where the same was done to it. */
function checkStandardization(datasets: readonly Dataset[], orders: readonly (Int32Array | undefined)[]): void {
  const statistics = datasets.map((dataset, index) => {
    const order = orders[index];
    const { mean, standardDeviation } = (order === undefined ? dataset.standardization : reorderedStatistics(dataset, order)) ?? {};
    return mean === undefined ? "" : `${mean.join()} ${standardDeviation?.join()}`;
  });
  const other = statistics.findIndex((text) => text !== statistics[0]);
  if (other < 0) return;
  throw new VaeError({
    code: "data",
    operation,
    problem: `${datasets[other]!.name} was standardized otherwise than ${datasets[0]!.name}`,
    expected: "the same mean and standard deviation of every column",
    hint: "put the rows together as they are in the files, and standardize all of them at once with standardizer(training)",
  });
}

/** What all have or none; throws where only some do, since their rows would lose it or get another's. */
function shared<Key extends "labels" | "labelNames">(datasets: readonly Dataset[], key: Key, what: string): Dataset[Key] {
  const having = datasets.find((dataset) => dataset[key] !== undefined);
  const lacking = datasets.find((dataset) => dataset[key] === undefined);
  if (having === undefined || lacking === undefined) return having?.[key];
  throw new VaeError({
    code: "data",
    operation,
    problem: `${having.name} has ${what} and ${lacking.name} has none`,
    expected: `${what} in all data sets or in none`,
    hint: "leave the labels out of all of them with { ...dataset, labels: undefined, labelNames: undefined }",
  });
}
