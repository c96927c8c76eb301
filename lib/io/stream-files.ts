import { VaeError } from "../errors.js";
import { Fields, noMore } from "../graph/arguments.js";
import { isArray } from "../graph/kinds.js";
import { type Shape, sameShape, showShape, sizeOf } from "../graph/tensor.js";
import { outOfRange, type StoredArray } from "./arrays.js";
import { ByteReader } from "./byte-reader.js";
import { decodeElements, ElementRangeError, elements } from "./elements.js";
import type { Values } from "./epoch-rows.js";
import { fileError, fileSystemError, openRegular, type Source, shownPath, sourceOf } from "./files.js";
import { readIdxHeader } from "./idx.js";
import { readNpyHeader } from "./npy.js";
import { type RowStream, type StreamOptions, shuffleBufferOption } from "./stream.js";

/** How files are streamed. */
export interface StreamFilesOptions extends Pick<StreamOptions, "shuffleBuffer"> {
  /** The shape of a row, together with `dtype`: for files of values alone, without a header. */
  readonly shape?: Shape;
  /** What files without a header hold: `"uint8"`, or little-endian `"float32"`. */
  readonly dtype?: "float32" | "uint8";
}

/** Rows in a file: where they begin and how they are packed. */
interface StoredRows {
  readonly source: Source;
  readonly stored: Pick<StoredArray, "type" | "littleEndian">;
  /** The first byte of the values. */
  readonly begin: number;
  readonly rows: number;
  readonly shape: Shape;
}

/** No header that is read is longer. */
const HEADER_BYTES = 1 << 17;

/** Read at a time: it stays in the processor's cache until it is copied. */
const PIECE_BYTES = 1 << 20;

const EXAMPLE = 'datasets.stream("rows.bin", { shape: [28, 28, 1], dtype: "float32" })';

/**
 * Rows of files that are read in pieces while a training runs, several files one after the other; never all in memory. The files
 * are read again in every epoch, and are to stay as they are.
 *
 * NPY files and IDX files say their shape and type by themselves; `uint8` stays bytes, other types become float32. Files without a
 * header hold row after row of the `shape` and `dtype` given.
 *
 * @example
 * ```ts
 * const rows = await datasets.stream(["part-0.npy", "part-1.npy"], { shuffleBuffer: 10_000 });
 * ```
 * @throws VaeError `"file"` for a file that is missing, truncated or of another kind, for Fortran order, and, while it is read,
 *   for one that has changed and for values beyond float32; `"data"` for a file without rows; `"shape"` and `"dtype"` for files
 *   that differ; `"argument"`
 */
export async function stream(
  paths: string | URL | readonly (string | URL)[],
  options: StreamFilesOptions = {},
  ...surplus: never[]
): Promise<RowStream> {
  const operation = "datasets.stream";
  noMore(operation, surplus, EXAMPLE);
  const sources = (isArray(paths) ? paths : [paths]).map((path) => sourceOf(operation, path));
  const fields = new Fields(operation, options);
  const raw = rawOptions(fields);
  const shuffleBuffer = shuffleBufferOption(fields);
  fields.finish();
  const [first, ...others] = await Promise.all(
    sources.map((source) => (raw === undefined ? withHeader(source) : withoutHeader(source, raw))),
  );
  if (first === undefined) throw new VaeError({ code: "argument", operation, expected: "the path of at least one file", received: "none" });
  for (const other of others) checkAlike(first, other);
  const files = [first, ...others];
  return Object.freeze({
    kind: "stream",
    rows: files.reduce((sum, { rows }) => sum + rows, 0),
    shape: first.shape,
    shuffleBuffer,
    name: others.length === 0 ? shownPath(first.source.path) : `${shownPath(first.source.path)} and ${others.length} more`,
    open: () => readFiles(files),
  });
}

function rawOptions(fields: Fields): Required<Pick<StreamFilesOptions, "shape" | "dtype">> | undefined {
  const [shape, dtype] = [fields.raw("shape"), fields.raw("dtype")];
  if (shape === undefined && dtype === undefined) return undefined;
  if (shape === undefined || dtype === undefined) {
    throw new VaeError({
      code: "argument",
      operation: fields.operation,
      expected: "shape and dtype together, or neither",
      received: shape === undefined ? "dtype alone" : "shape alone",
      hint: `NPY and IDX files say both by themselves; other files: ${EXAMPLE}`,
    });
  }
  return { shape: [...fields.shape("shape")], dtype: fields.choice("dtype", ["float32", "uint8"]) };
}

function withoutHeader(
  source: Source,
  { shape, dtype }: { readonly shape: Shape; readonly dtype: "float32" | "uint8" },
): Promise<StoredRows> {
  return look(source, async (_, size) => {
    const rowBytes = sizeOf(shape) * elements[dtype].bytes;
    if (size % rowBytes === 0) {
      return { source, stored: { type: dtype, littleEndian: true }, begin: 0, rows: size / rowBytes, shape };
    }
    const expected = `a multiple of ${rowBytes} bytes, for rows of ${showShape(shape)} as ${dtype}`;
    throw fileError(source, "does not hold whole rows", { expected, received: `${size} bytes` });
  });
}

function withHeader(source: Source): Promise<StoredRows> {
  return look(source, async (start, size) => {
    const reader = new ByteReader(start);
    const array = await readHeader(reader, start, source);
    const [rows, ...rest] = array.shape;
    if (rows === undefined) throw fileError(source, "a single number, not rows", { expected: "at least one axis", received: "shape []" });
    if (array.fortranOrder && array.shape.filter((length) => length > 1).length > 1) {
      const hint = "in Python: numpy.save(path, numpy.ascontiguousarray(array)); datasets.npy reads it, whole";
      throw fileError(source, "in Fortran order the values of a row lie apart, and cannot be streamed", { hint });
    }
    const end = reader.position + sizeOf(array.shape) * elements[array.type].bytes;
    if (size !== end) {
      const expected = `${end} bytes for ${array.type} ${showShape(array.shape)}`;
      throw fileError(source, size < end ? "truncated" : "more bytes behind the values", { expected, received: `${size} bytes` });
    }
    return { source, stored: array, begin: reader.position, rows, shape: rest.length === 0 ? [1] : rest };
  });
}

async function readHeader(reader: ByteReader, start: Uint8Array, source: Source): Promise<StoredArray> {
  if (start[0] === 0x93) return readNpyHeader(reader, source);
  if (start[0] === 0 && start[1] === 0) {
    const array = await readIdxHeader(reader, source, [2, 3, 4]);
    return array.shape.length === 3 ? { ...array, shape: [...array.shape, 1] } : array;
  }
  const packed = start[0] === 0x1f && start[1] === 0x8b;
  throw fileError(source, packed ? "is packed, and cannot be streamed" : "neither an NPY nor an IDX file", {
    hint: packed ? `unpack it first: gunzip ${shownPath(source.path)}` : `say what a file without a header holds: ${EXAMPLE}`,
  });
}

/** Calls `find` with the first bytes of a file and its size; refuses a file without rows. */
async function look(source: Source, find: (start: Uint8Array, size: number) => Promise<StoredRows>): Promise<StoredRows> {
  const file = await openRegular(source);
  try {
    const { size } = await file.stat();
    const start = new Uint8Array(Math.min(size, HEADER_BYTES));
    const { bytesRead } = await file.read(start, 0, start.length, 0);
    const found = await find(start.subarray(0, bytesRead), size);
    if (found.rows * sizeOf(found.shape) > 0) return found;
    const problem = `${shownPath(source.path)} is empty`;
    throw new VaeError({ code: "data", operation: source.operation, problem, expected: "at least one row", received: "none" });
  } catch (cause) {
    throw fileSystemError(source, cause);
  } finally {
    await file.close();
  }
}

function checkAlike(first: StoredRows, other: StoredRows): void {
  const { operation } = first.source;
  const problem = `${shownPath(other.source.path)} has other rows than ${shownPath(first.source.path)}`;
  if (!sameShape(first.shape, other.shape)) {
    throw new VaeError({ code: "shape", operation, problem, expected: showShape(first.shape), received: showShape(other.shape) });
  }
  const [expected, received] = [dtypeOf(first), dtypeOf(other)];
  if (expected !== received) throw new VaeError({ code: "dtype", operation, problem, expected, received });
}

function dtypeOf({ stored: { type } }: StoredRows): "float32" | "uint8" {
  return type === "uint8" ? "uint8" : "float32";
}

async function* readFiles(files: readonly StoredRows[]): AsyncGenerator<Values> {
  for (const file of files) yield* readFile(file);
}

/** The file's rows, many at a time, in memory that is used again. */
async function* readFile(stored: StoredRows): AsyncGenerator<Values> {
  const { source, begin, rows, shape } = stored;
  const rowBytes = sizeOf(shape) * elements[stored.stored.type].bytes;
  const most = Math.min(rows, Math.max(1, Math.floor(PIECE_BYTES / rowBytes)));
  const buffer = new Uint8Array(most * rowBytes);
  const file = await openRegular(source);
  try {
    for (let row = 0; row < rows; row += most) {
      const piece = buffer.subarray(0, Math.min(most, rows - row) * rowBytes);
      const position = begin + row * rowBytes;
      for (let filled = 0; filled < piece.length; ) {
        const { bytesRead } = await file.read(piece, filled, piece.length - filled, position + filled);
        if (bytesRead === 0) {
          const expected = `${begin + rows * rowBytes} bytes, as when it was opened`;
          throw fileError(source, "the file shrank while it was read", { expected, received: `${position + filled} bytes` });
        }
        filled += bytesRead;
      }
      yield decoded(piece, row, stored);
    }
  } catch (cause) {
    throw fileSystemError(source, cause);
  } finally {
    await file.close();
  }
}

function decoded(piece: Uint8Array, row: number, { source, rows, shape, stored: { type, littleEndian } }: StoredRows): Values {
  try {
    return type === "uint8" ? piece : decodeElements(piece, type, "float32", littleEndian);
  } catch (cause) {
    if (!(cause instanceof ElementRangeError)) throw cause;
    throw outOfRange(cause, [rows, ...shape], source, row);
  }
}
