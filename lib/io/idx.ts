import { Fields, noMore } from "../graph/arguments.js";
import { type ArrayOptions, arrayOptions, readLabels, readRows, type StoredArray } from "./arrays.js";
import { type ByteReader, gunzipped } from "./byte-reader.js";
import type { Dataset } from "./dataset.js";
import type { ElementType } from "./elements.js";
import { fileError, readBytes, sourceOf } from "./files.js";
import type { Source } from "./source.js";

/** What an IDX file is read with. */
export interface IdxOptions extends ArrayOptions {
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
 * stay bytes (see `bytes`); other element types become float32, which rounds float64 and whole numbers above 2^24. Labels are exact.
 *
 * @throws VaeError `"file"`, naming file, byte offset, what was expected there and what was found, also for a file larger than
 *   `maxBytes` and for values beyond float32; `"data"` where there are no rows, and for bytes that are all 0 and 1 where `bytes` is
 *   left out.
 */
export async function idx(path: string | URL, options: IdxOptions = {}, ...surplus: never[]): Promise<Dataset> {
  noMore("datasets.idx", surplus, 'datasets.idx("images.idx3-ubyte", { labels: "labels.idx1-ubyte" })');
  const source = sourceOf("datasets.idx", path);
  const fields = new Fields(source.operation, options);
  const labels = fields.raw("labels");
  const { bytes, limit } = arrayOptions(fields);
  fields.finish();
  const content = await readBytes(source);
  const reader = gunzipped(content, source);
  const header = await readIdxHeader(reader, source, [2, 3, 4]);
  const loaded = await readRows(reader, header, { bytes, limit: limit(content.length) }, source);
  const dataset = { ...loaded, shape: loaded.shape.length === 2 ? [...loaded.shape, 1] : loaded.shape };
  if (labels === undefined) return { ...dataset, labels: undefined };
  return { ...dataset, labels: await readIdxLabels(sourceOf(source.operation, labels), dataset, limit(content.length)) };
}

async function readIdxLabels(source: Source, dataset: Dataset, limit: number): Promise<Int32Array> {
  const { rows, name } = dataset;
  const reader = gunzipped(await readBytes(source), source);
  const header = await readIdxHeader(reader, source, [1]);
  if (header.shape[0] !== rows) {
    throw fileError(source, "the number of labels at byte 4 is not that of the rows", {
      expected: `${rows}, as in ${name}`,
      received: String(header.shape[0]),
    });
  }
  if (header.type.startsWith("float")) {
    throw fileError(source, "the element type at byte 2 is no type of labels", { expected: "a whole number type", received: header.type });
  }
  return readLabels(reader, header, dataset, limit, source);
}

/** Magic number and dimensions. */
export async function readIdxHeader(reader: ByteReader, source: Source, ranks: readonly number[]): Promise<StoredArray> {
  const take = async (length: number, what: string): Promise<DataView> => {
    const end = reader.position + length;
    const bytes = await reader.take(length);
    if (bytes.length === length) return new DataView(bytes.buffer, bytes.byteOffset, length);
    throw fileError(source, `truncated in the ${what} at byte ${reader.position}`, {
      expected: `at least ${end} bytes`,
      received: `${reader.position} bytes`,
    });
  };
  const magic = (await take(4, "magic number")).getUint32(0);
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
  const dimensions = await take(4 * rank, "dimensions");
  const shape = Array.from({ length: rank }, (_, axis) => dimensions.getUint32(4 * axis));
  return { type, shape, littleEndian: false, fortranOrder: false };
}
