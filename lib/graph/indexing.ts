import { VaeError } from "../errors.js";
import { toTensor } from "./leaves.js";
import {
  calledBy,
  checkFloat,
  checkWhole,
  integers,
  makeNode,
  type Plain,
  type Rows,
  real,
  showType,
  type Two,
  type Value,
} from "./table.js";
import { sameShape, showShape, sizeOf, type Tensor, type TensorLike } from "./tensor.js";

/** For those who gave floats. */
export const INT32 = 'give them as int32: input(name, shape, "int32") in a graph, an Int32Array in ops';

interface IndexingSignatures {
  /** Inputs: table, indices. */
  gather: { inputs: Two; attributes: Plain };
  /** Inputs: indices, updates. */
  scatter_add: { inputs: Two; attributes: { readonly rows: number } };
}

function checkIndices(operation: string, indices: Tensor): void {
  if (indices.dtype !== "int32") {
    throw new VaeError({ code: "dtype", operation, expected: "int32 indices", received: showType(indices), hint: INT32 });
  }
}

/** Calls `visit` with each row index and its position; an index outside the table is an error. */
function forEachRow(operation: string, indices: Value, rows: number, visit: (row: number, position: number) => void): void {
  indices.data.forEach((row, position) => {
    if (!(row >= 0 && row < rows)) {
      throw new VaeError({ code: "argument", operation, expected: `indices from 0 to ${rows - 1}`, received: `${row} at ${position}` });
    }
    visit(row, position);
  });
}

export const indexingRows: Rows<IndexingSignatures> = {
  gather: {
    name: "gather",
    family: "indexing",
    type([table, indices]) {
      checkIndices("gather", indices);
      if (table.shape.length === 0) {
        throw new VaeError({ code: "shape", operation: "gather", expected: "a table with rows", received: "a scalar" });
      }
      return { shape: [...indices.shape, ...table.shape.slice(1)], dtype: table.dtype };
    },
    derivative: ({ inputs: [table, indices], gradient }) => [
      table.dtype === "float32" ? scatterAdd(indices, gradient, table.shape[0]!) : null,
      null,
    ],
    evaluate([table, indices]) {
      const width = sizeOf(table.shape.slice(1));
      const result = new Float64Array(indices.data.length * width);
      forEachRow("gather", indices, table.shape[0]!, (row, position) => {
        result.set(table.data.subarray(row * width, (row + 1) * width), position * width);
      });
      return result;
    },
    cases: [
      { name: "rows", inputs: [real([5, 3]), integers([4], 0, 5)], build: (table, indices) => gather(table, indices) },
      { name: "repeated", inputs: [real([2, 3]), integers([3, 2], 0, 2)], build: (table, indices) => gather(table, indices) },
      { name: "vector", inputs: [real([6]), integers([4], 0, 6)], build: (table, indices) => gather(table, indices) },
      { name: "images", inputs: [real([3, 2, 2]), integers([2], 0, 3)], build: (table, indices) => gather(table, indices) },
      { name: "one row", inputs: [real([4, 3]), integers([], 0, 4)], build: (table, indices) => gather(table, indices) },
      {
        name: "bytes",
        inputs: [integers([9, 5], 0, 256, "uint8"), integers([6], 0, 9)],
        build: (table, indices) => gather(table, indices),
      },
      { name: "labels", inputs: [integers([9], -5, 5), integers([6], 0, 9)], build: (table, indices) => gather(table, indices) },
      {
        name: "large",
        inputs: [real([1000, 131]), integers([128], 0, 1000)],
        build: (table, indices) => gather(table, indices),
        large: true,
      },
    ],
  },
  scatter_add: {
    name: "scatter_add",
    family: "indexing",
    type([indices, updates], { rows }) {
      checkIndices("scatterAdd", indices);
      checkFloat("scatterAdd", [updates]);
      checkWhole("scatterAdd", "rows", rows, 1);
      const rank = indices.shape.length;
      if (!sameShape(updates.shape.slice(0, rank), indices.shape)) {
        throw new VaeError({
          code: "shape",
          operation: "scatterAdd",
          expected: `updates whose shape begins with that of the indices, ${showShape(indices.shape)}`,
          received: showShape(updates.shape),
        });
      }
      return { shape: [rows, ...updates.shape.slice(rank)], dtype: "float32" };
    },
    derivative: ({ inputs: [indices], gradient }) => [null, gather(gradient, indices)],
    evaluate([indices, updates], { rows }, type) {
      const width = sizeOf(type.shape.slice(1));
      const result = new Float64Array(sizeOf(type.shape));
      forEachRow("scatterAdd", indices, rows, (row, position) => {
        for (let i = 0; i < width; i++) result[row * width + i]! += updates.data[position * width + i]!;
      });
      return result;
    },
    cases: [
      { name: "rows", inputs: [integers([4], 0, 3), real([4, 3])], build: (indices, updates) => scatterAdd(indices, updates, 3) },
      { name: "matrix of indices", inputs: [integers([2, 3], 0, 5), real([2, 3, 2])], build: (at, updates) => scatterAdd(at, updates, 5) },
      { name: "vector", inputs: [integers([5], 0, 3), real([5])], build: (indices, updates) => scatterAdd(indices, updates, 3) },
      {
        name: "large",
        inputs: [integers([300], 0, 50), real([300, 131])],
        build: (indices, updates) => scatterAdd(indices, updates, 50),
        large: true,
      },
    ],
  },
};

/**
 * Rows of a table by index: the result is indices.shape + table.shape[1..], of the table's element type. The derivative
 * reaches the table only.
 *
 * @example
 * ```ts
 * const batch = gather(images, shuffledIndices({ rows: 60_000, batch: 128, shuffle: true, stream: 0 }));
 * ```
 */
export function gather(table: TensorLike, indices: TensorLike): Tensor;
export function gather(table: TensorLike, indices: TensorLike, ...surplus: unknown[]): Tensor {
  return calledBy(gather, surplus, () => makeNode(indexingRows.gather, [toTensor("gather", table), toTensor("gather", indices)], {}));
}

/** A table of `rows` rows, zero but for the updates, each added to the row that its index names. */
export function scatterAdd(indices: TensorLike, updates: TensorLike, rows: number): Tensor;
export function scatterAdd(indices: TensorLike, updates: TensorLike, rows: number, ...surplus: unknown[]): Tensor {
  return calledBy(scatterAdd, surplus, () =>
    makeNode(indexingRows.scatter_add, [toTensor("scatterAdd", indices), toTensor("scatterAdd", updates)], { rows }),
  );
}
