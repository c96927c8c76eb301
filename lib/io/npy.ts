import { Fields, noMore } from "../graph/arguments.js";
import { type ArrayOptions, arrayOptions, readLabels, readRows, type StoredArray } from "./arrays.js";
import { ByteReader } from "./byte-reader.js";
import type { Dataset } from "./dataset.js";
import { fileError, readBytes, sourceOf } from "./files.js";
import { parseNpyHeader } from "./npy-header.js";
import type { Source } from "./source.js";

/** What an NPY file is read with. */
export interface NpyOptions extends ArrayOptions {
  /** Path of the NPY file with one whole number per row. */
  readonly labels?: string | URL;
}

/**
 * Loads rows from a NumPy `.npy` file. The first axis counts the rows; a vector gives rows of one value.
 *
 * `uint8` stays bytes (see `bytes`); floats, other integers and booleans become float32, which rounds float64 and whole numbers
 * above 2^24. Labels are exact. C and Fortran order, both byte orders and header versions 1 to 3 are read, up to 32 axes.
 *
 * @throws VaeError `"file"` for a file that is missing, truncated, larger than `maxBytes`, of another kind or with an element
 *   type that is no number, and for a value that is finite but beyond float32 (row and column are named); `"data"` where there
 *   are no rows, and for bytes that are all 0 and 1 where `bytes` is left out.
 */
export async function npy(path: string | URL, options: NpyOptions = {}, ...surplus: never[]): Promise<Dataset> {
  noMore("datasets.npy", surplus, 'datasets.npy("rows.npy", { labels: "labels.npy" })');
  const source = sourceOf("datasets.npy", path);
  const fields = new Fields(source.operation, options);
  const labels = fields.raw("labels");
  const { bytes, limit } = arrayOptions(fields);
  fields.finish();
  const content = await readBytes(source);
  const reader = new ByteReader(content);
  const dataset = await readRows(reader, await readNpyHeader(reader, source), { bytes, limit: limit(content.length) }, source);
  if (labels === undefined) return dataset;
  const labelSource = sourceOf(source.operation, labels);
  const labelReader = new ByteReader(await readBytes(labelSource));
  const header = await readNpyHeader(labelReader, labelSource);
  return { ...dataset, labels: await readLabels(labelReader, header, dataset, limit(content.length), labelSource) };
}

/** Longer headers are those of structured types, which are not read anyway. */
const LONGEST_HEADER = 1 << 16;

/** Magic, version, header length (uint16, from version 2 on uint32), and a Python dictionary literal; then the values. */
export async function readNpyHeader(reader: ByteReader, source: Source): Promise<StoredArray> {
  const start = Buffer.from(await reader.take(8));
  if (start.toString("latin1", 0, 6) !== "\x93NUMPY") {
    const received = `${start.toString("hex", 0, 6)} (${reader.total ?? `at least ${start.length}`} bytes)`;
    throw fileError(source, "not an NPY file: wrong magic at byte 0", { expected: "934e554d5059", received });
  }
  const version = start[6] ?? 0;
  if (version < 1 || version > 3) {
    throw fileError(source, "unknown version at byte 6", { expected: "1, 2 or 3", received: String(version) });
  }
  const truncated = (expected: number) =>
    fileError(source, `truncated in the header at byte ${reader.position}`, {
      expected: `at least ${expected} bytes`,
      received: `${reader.position} bytes`,
    });
  const sizeBytes = version === 1 ? 2 : 4;
  const size = Buffer.from(await reader.take(sizeBytes));
  const begin = 8 + sizeBytes;
  if (size.length < sizeBytes) throw truncated(begin);
  const length = size.readUIntLE(0, sizeBytes);
  if (length > LONGEST_HEADER) {
    const expected = `at most ${LONGEST_HEADER} bytes`;
    throw fileError(source, "the header is too long", { expected, received: `${length} bytes` });
  }
  const header = Buffer.from(await reader.take(length));
  if (header.length < length) throw truncated(begin + length);
  return parseNpyHeader(header.toString(version === 3 ? "utf8" : "latin1"), source);
}
