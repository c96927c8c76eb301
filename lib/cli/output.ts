import { extname } from "node:path";
import { VaeError } from "../errors.js";
import { type Shape, showShape, sizeOf } from "../graph/tensor.js";
import { writeAtomically } from "../io/files.js";
import { type Pixels, type SheetRows, saveImages } from "../io/index.js";

/** Kinds of files that rows are written to. */
export type OutputKind = "png" | "csv" | "npy";

/** The kind of file that a path asks for, by its ending. Checked before any work is done. */
export function outputKind(path: string, kinds: readonly OutputKind[]): OutputKind {
  const ending = extname(path).slice(1).toLowerCase();
  const kind = kinds.find((candidate) => candidate === ending);
  if (kind !== undefined) return kind;
  throw new VaeError({
    code: "argument",
    operation: "--out",
    expected: `a file name ending in ${kinds.map((candidate) => `.${candidate}`).join(", ")}`,
    received: path,
  });
}

/** A row's shape as that of an image, `[height, width, 1 or 3]`; throws where it is none. */
export function imageShape(shape: Shape): readonly [height: number, width: number, channels: number] {
  const [height, width, channels = 1, ...rest] = shape;
  if (height !== undefined && width !== undefined && rest.length === 0 && (channels === 1 || channels === 3)) {
    return [height, width, channels];
  }
  throw new VaeError({
    code: "shape",
    operation: "--out",
    problem: "the rows are not images, so they cannot be drawn",
    expected: "rows of shape [height, width] or [height, width, 1 or 3]",
    received: showShape(shape),
    hint: "write a .csv or .npy file, or say what shape the flat rows have with --shape 28x28",
  });
}

/** Writes images as a sheet. */
export async function writeSheet(path: string, rows: SheetRows, shape: Shape, columns?: number): Promise<void> {
  await saveImages(path, rows, { shape: imageShape(shape), ...(columns === undefined ? {} : { columns }) });
}

/** A table with named columns: parts of a row, side by side. */
export interface TablePart {
  /** Names of the columns. */
  readonly columns: readonly string[];
  /** rows × columns values, row-major. */
  readonly values: Pixels | Int32Array;
  /** What the values are called, by number: written instead of the numbers. */
  readonly names?: readonly string[] | undefined;
}

/** Writes parts side by side as CSV with a header line. Numbers keep all the digits that a float32 has. */
export async function writeCsv(path: string, parts: readonly TablePart[]): Promise<void> {
  const rows = parts[0]!.values.length / parts[0]!.columns.length;
  const lines = [parts.flatMap(({ columns }) => columns.map(quoted)).join(",")];
  for (let row = 0; row < rows; row++) {
    lines.push(
      parts.map(({ columns, values, names }) => cells(values.subarray(row * columns.length, (row + 1) * columns.length), names)).join(","),
    );
  }
  await writeAtomically({ operation: "write CSV", path }, [Buffer.from(`${lines.join("\n")}\n`)]);
}

/** Nine significant digits tell any two float32 numbers apart; `Number` drops the zeros that say nothing. */
function cells(values: Pixels | Int32Array, names: readonly string[] = []): string {
  return Array.from(values, (value) => quoted(names[value] ?? String(Number(value.toPrecision(9))))).join(",");
}

function quoted(name: string): string {
  return /[",\n]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
}

/**
 * Writes float32 values as a NumPy `.npy` file, version 1.0: magic, version, header length, a Python dictionary padded so
 * that the values begin at a multiple of 64 bytes, and the values in C order.
 */
export async function writeNpy(path: string, values: Float32Array, shape: Shape): Promise<void> {
  if (sizeOf(shape) !== values.length) {
    const received = `${values.length} values`;
    throw new VaeError({ code: "shape", operation: "write NPY", expected: `${sizeOf(shape)} values for ${showShape(shape)}`, received });
  }
  const dictionary = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }`;
  const length = Math.ceil((10 + dictionary.length + 1) / 64) * 64;
  const header = Buffer.alloc(length, " ");
  header.write("\x93NUMPY\x01\x00", 0, "latin1");
  header.writeUInt16LE(length - 10, 8);
  header.write(dictionary, 10, "latin1");
  header.write("\n", length - 1, "latin1");
  const body = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => {
    body.writeFloatLE(value, index * 4);
  });
  await writeAtomically({ operation: "write NPY", path }, [header, body]);
}

/** Writes rows of a model's shape to a sheet, a table with these columns or numbered ones, or an array, by the file's ending. */
export async function writeRows(
  path: string,
  rows: Float32Array,
  shape: Shape,
  columns: readonly string[] = numbered("value", sizeOf(shape)),
): Promise<void> {
  switch (outputKind(path, ["png", "csv", "npy"])) {
    case "png":
      return writeSheet(path, rows, shape);
    case "csv":
      return writeCsv(path, [{ columns, values: rows }]);
    case "npy":
      return writeNpy(path, rows, [rows.length / sizeOf(shape), ...shape]);
  }
}

/** `name_0`, `name_1`, … */
export function numbered(name: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${name}_${index}`);
}
