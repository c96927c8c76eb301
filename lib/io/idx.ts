import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { Fields } from "../graph/arguments.js";
import { codeOf } from "../graph/kinds.js";
import { type Shape, sizeOf } from "../graph/tensor.js";
import { noRows } from "./collect.js";
import type { Dataset } from "./dataset.js";
import { decodeElements, type ElementType, elements } from "./elements.js";
import { fileError, readBytes, type Source, sourceOf } from "./files.js";

/** What an IDX file is read with. */
export interface IdxOptions {
  /** Path of the file with one label per row, IDX of rank 1, also gzipped. */
  readonly labels?: string | URL;
}

/** The third byte of an IDX file. Values are big-endian. */
const ELEMENT_TYPES: Readonly<Record<number, ElementType>> = {
  8: "uint8",
  9: "int8",
  11: "int16",
  12: "int32",
  13: "float32",
  14: "float64",
};

/**
 * Loads rows from an IDX file, the format of MNIST and its kin (two zero bytes, element type, rank, the dimensions as
 * big-endian uint32, the values), gzipped or not.
 *
 * Rank 2 gives flat rows, rank 3 gives images of one channel `[height, width, 1]`, rank 4 `[height, width, channels]`. Bytes
 * stay bytes; other element types become float32.
 *
 * @throws VaeError `"file"`, naming file, byte offset, what was expected there and what was found.
 */
export async function idx(path: string | URL, options: IdxOptions = {}): Promise<Dataset> {
  const source = sourceOf("datasets.idx", path);
  const fields = new Fields(source.operation, options);
  const labels = fields.raw("labels");
  fields.finish();
  const { type, shape, values } = await readIdx(source, [2, 3, 4]);
  const [rows = 0, ...rowShape] = shape;
  if (rows === 0 || sizeOf(rowShape) === 0) throw noRows(source.operation);
  return {
    data: type === "uint8" ? decodeElements(values, type, "uint8") : decodeElements(values, type, "float32", false),
    rows,
    shape: rowShape.length === 2 ? [...rowShape, 1] : rowShape,
    labels: labels === undefined ? undefined : await readLabels(sourceOf(source.operation, labels), rows, source.path),
    name: source.path,
  };
}

async function readLabels(source: Source, rows: number, imagesPath: string): Promise<Int32Array> {
  const { type, shape, values } = await readIdx(source, [1]);
  if (shape[0] !== rows) {
    throw fileError(source, "the number of labels at byte 4 is not that of the rows", {
      expected: `${rows}, as in ${imagesPath}`,
      received: String(shape[0]),
    });
  }
  if (type.startsWith("float")) {
    throw fileError(source, "the element type at byte 2 is no type of labels", { expected: "a whole number type", received: type });
  }
  return decodeElements(values, type, "int32", false);
}

/** Header and values of an IDX file, checked against each other. */
async function readIdx(
  source: Source,
  ranks: readonly number[],
): Promise<{ readonly type: ElementType; readonly shape: Shape; readonly values: Uint8Array }> {
  const bytes = await unpack(await readBytes(source), source);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const need = (end: number, what: string) => {
    if (bytes.length >= end) return;
    throw fileError(source, `truncated in the ${what} at byte ${bytes.length}`, {
      expected: `at least ${end} bytes`,
      received: `${bytes.length} bytes`,
    });
  };
  need(4, "magic number");
  const magic = view.getUint32(0);
  const hexadecimal = `0x${magic.toString(16).padStart(8, "0")}`;
  const type = ELEMENT_TYPES[(magic >> 8) & 0xff];
  if (magic >>> 16 !== 0 || type === undefined) {
    throw fileError(source, "not an IDX file: wrong magic number at byte 0", {
      expected: ranks.map((rank) => `0x0000080${rank}`).join(" or "),
      received: hexadecimal,
    });
  }
  const rank = magic & 0xff;
  if (!ranks.includes(rank)) {
    throw fileError(source, "wrong rank at byte 3", {
      expected: `${ranks.join(", ")} (${ranks.includes(1) ? "labels" : "rows or images"})`,
      received: `${rank} (magic number ${hexadecimal})`,
      ...(rank === 1 ? { hint: "this looks like a file of labels: pass it as { labels: path }" } : {}),
    });
  }
  const begin = 4 + 4 * rank;
  need(begin, "dimensions");
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  const expected = begin + sizeOf(shape) * elements[type].bytes;
  if (bytes.length !== expected) {
    const problem =
      bytes.length < expected ? `truncated in the values at byte ${bytes.length}` : `more bytes behind the values at byte ${expected}`;
    throw fileError(source, problem, {
      expected: `${expected} bytes for ${type} [${shape.join(", ")}] (dimensions at bytes 4 to ${begin - 1})`,
      received: `${bytes.length} bytes`,
    });
  }
  return { type, shape, values: bytes.subarray(begin) };
}

const unzip = promisify<Uint8Array, Uint8Array>(gunzip);

/** Takes the gzip wrapping off where there is one; it shows by its first two bytes, whatever the file is called. */
async function unpack(bytes: Uint8Array, source: Source): Promise<Uint8Array> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return await unzip(bytes);
  } catch (cause) {
    const truncated = codeOf(cause) === "Z_BUF_ERROR";
    const problem = truncated ? `truncated: the gzip data end too early, at byte ${bytes.length}` : "the gzip data are corrupt";
    throw fileError(source, problem, { cause, hint: "fetch the file again" });
  }
}
