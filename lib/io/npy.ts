import { type FlateError, type Unzipped, unzip } from "fflate";
import { Fields } from "../graph/arguments.js";
import { type DType, type Shape, showShape, sizeOf } from "../graph/tensor.js";
import { noRows } from "./collect.js";
import type { Dataset } from "./dataset.js";
import { type DTypeArrays, decodeElements, ElementRangeError, type ElementType, elements, makeArray } from "./elements.js";
import { fileError, readBytes, type Source, sourceOf } from "./files.js";
import { nameOption } from "./options.js";

/** What an NPY file is read with. */
export interface NpyOptions {
  /** Path of the NPY file with one whole number per row. */
  readonly labels?: string | URL;
}

/** What an NPZ archive is read with. */
export interface NpzOptions {
  /** Name of the array with the rows; may be left out where there is only one beside the labels. */
  readonly key?: string;
  /** Name of the array with one whole number per row. */
  readonly labels?: string;
}

/** Element types by what stands behind the byte order in a NumPy `descr`. */
const ELEMENT_TYPES: Readonly<Record<string, ElementType>> = {
  f2: "float16",
  f4: "float32",
  f8: "float64",
  i1: "int8",
  i2: "int16",
  i4: "int32",
  i8: "int64",
  u1: "uint8",
  u2: "uint16",
  u4: "uint32",
  u8: "uint64",
  b1: "bool",
};

/**
 * Loads rows from a NumPy `.npy` file. The first axis counts the rows; a vector gives rows of one value.
 *
 * `uint8` stays bytes (which stand for value / 255); floats, other integers and booleans become float32. C and Fortran
 * order, both byte orders and header versions 1 to 3 are read.
 *
 * @throws VaeError `"file"` for a file that is missing, truncated, of another kind or with an unknown element type.
 */
export async function npy(path: string | URL, options: NpyOptions = {}): Promise<Dataset> {
  const source = sourceOf("datasets.npy", path);
  const fields = new Fields(source.operation, options);
  const labels = fields.raw("labels");
  fields.finish();
  const dataset = toRows(parseNpy(await readBytes(source), source), source);
  if (labels === undefined) return dataset;
  const labelSource = sourceOf(source.operation, labels);
  return { ...dataset, labels: toLabels(parseNpy(await readBytes(labelSource), labelSource), dataset.rows, labelSource) };
}

/**
 * Loads rows, and labels if asked for, from arrays of a NumPy `.npz` archive, compressed or not. See {@link npy} for what
 * becomes of the element types.
 *
 * @throws VaeError `"file"` as {@link npy} does, and for a name that is not in the archive, listing those that are.
 */
export async function npz(path: string | URL, options: NpzOptions = {}): Promise<Dataset> {
  const source = sourceOf("datasets.npz", path);
  const fields = new Fields(source.operation, options);
  const key = nameOption(fields, "key");
  const labels = nameOption(fields, "labels");
  fields.finish();
  const members = await unpack(await readBytes(source), source);
  const names = Object.keys(members).map((name) => name.replace(/\.npy$/, ""));
  const others = names.filter((name) => name !== labels);
  const chosen = key ?? (others.length === 1 ? others[0] : undefined);
  if (chosen === undefined) {
    throw fileError(source, "which array holds the rows?", { expected: `{ key } to be one of ${others.join(", ")}`, received: "no key" });
  }
  const member = (name: string) => {
    const bytes = members[`${name}.npy`] ?? members[name];
    if (bytes === undefined)
      throw fileError(source, `no array "${name}"`, { expected: `one of ${names.join(", ")}`, received: `"${name}"` });
    const memberSource = { ...source, path: `${source.path}[${name}]` };
    return { array: parseNpy(bytes, memberSource), source: memberSource };
  };
  const rows = member(chosen);
  const dataset = { ...toRows(rows.array, rows.source), name: source.path };
  if (labels === undefined) return dataset;
  const label = member(labels);
  return { ...dataset, labels: toLabels(label.array, dataset.rows, label.source) };
}

interface NpyArray {
  readonly type: ElementType;
  readonly littleEndian: boolean;
  readonly fortranOrder: boolean;
  readonly shape: Shape;
  readonly values: Uint8Array;
}

/** Magic, version, header length (uint16, from version 2 on uint32), and a Python dictionary literal; then the values. */
function parseNpy(bytes: Uint8Array<ArrayBuffer>, source: Source): NpyArray {
  const magic = Buffer.from(bytes.subarray(0, 6)).toString("latin1");
  if (magic !== "\x93NUMPY") {
    const received = `${Buffer.from(bytes.subarray(0, 6)).toString("hex")} (${bytes.length} bytes)`;
    throw fileError(source, "not an NPY file: wrong magic at byte 0", { expected: "934e554d5059", received });
  }
  const version = bytes[6] ?? 0;
  if (version < 1 || version > 3)
    throw fileError(source, "unknown version at byte 6", { expected: "1, 2 or 3", received: String(version) });
  const start = version === 1 ? 10 : 12;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const begin =
    bytes.length < start ? Number.POSITIVE_INFINITY : start + (version === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  if (begin > bytes.length) {
    const expected = `at least ${begin === Number.POSITIVE_INFINITY ? start : begin} bytes`;
    throw fileError(source, `truncated in the header at byte ${bytes.length}`, { expected, received: `${bytes.length} bytes` });
  }
  const header = Buffer.from(bytes.subarray(start, begin)).toString(version === 3 ? "utf8" : "latin1");
  const layout = parseHeader(header.trim(), source);
  const expected = sizeOf(layout.shape) * elements[layout.type].bytes;
  const found = bytes.length - begin;
  if (found !== expected) {
    throw fileError(
      source,
      found < expected ? `truncated in the values at byte ${bytes.length}` : `more bytes behind the values at byte ${begin + expected}`,
      {
        expected: `${expected} bytes of values for ${layout.type} ${showShape(layout.shape)}`,
        received: `${found} bytes`,
      },
    );
  }
  return { ...layout, values: bytes.subarray(begin) };
}

function parseHeader(header: string, source: Source): Omit<NpyArray, "values"> {
  const descr = /'descr'\s*:\s*'([^']*)'/.exec(header)?.[1];
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(header)?.[1];
  // Python 2 wrote long integers with an L behind them.
  const sizes = /'shape'\s*:\s*\(([\dL,\s]*)\)/.exec(header)?.[1];
  const type = ELEMENT_TYPES[descr?.slice(1) ?? ""];
  if (type === undefined && /'descr'/.test(header)) {
    throw fileError(source, "unknown element type", {
      expected: Object.keys(ELEMENT_TYPES).join(", "),
      received: descr ?? "a structured type",
      hint: "convert it in Python: numpy.save(path, array.astype(numpy.float32))",
    });
  }
  if (descr === undefined || type === undefined || order === undefined || sizes === undefined) {
    throw fileError(source, "the header is not that of an NPY file", {
      expected: "{'descr': …, 'fortran_order': …, 'shape': …}",
      received: header.slice(0, 200),
    });
  }
  const shape = sizes
    .replaceAll("L", "")
    .split(",")
    .filter((size) => size.trim() !== "")
    .map(Number);
  return { type, littleEndian: descr[0] !== ">", fortranOrder: order === "True", shape };
}

function toRows(array: NpyArray, source: Source): Dataset {
  const [rows, ...rest] = array.shape;
  if (rows === undefined) throw fileError(source, "a single number, not rows", { expected: "at least one axis", received: "shape []" });
  if (sizeOf(array.shape) === 0) throw noRows(source.operation);
  const data = array.type === "uint8" ? decode(array, "uint8", source) : decode(array, "float32", source);
  return { data, rows, shape: rest.length === 0 ? [1] : rest, name: source.path };
}

function toLabels(array: NpyArray, rows: number, source: Source): Int32Array {
  if (sizeOf(array.shape) !== rows) {
    throw fileError(source, "the number of labels is not that of the rows", { expected: String(rows), received: showShape(array.shape) });
  }
  return decode(array, "int32", source);
}

function decode<D extends DType>(array: NpyArray, dtype: D, source: Source): DTypeArrays[D] {
  try {
    const values = decodeElements(array.values, array.type, dtype, array.littleEndian);
    return array.fortranOrder && array.shape.length > 1 ? toRowMajor(values, array.shape, dtype) : values;
  } catch (cause) {
    if (!(cause instanceof ElementRangeError)) throw cause;
    throw fileError(source, `element ${cause.index} is not a label`, {
      expected: "whole numbers that fit an int32",
      received: String(cause.value),
      cause,
    });
  }
}

/** Fortran order lets the first index run fastest. Walks the result in its order with an odometer of indices. */
function toRowMajor<D extends DType>(values: DTypeArrays[D], shape: Shape, dtype: D): DTypeArrays[D] {
  const result = makeArray(dtype, values.length);
  const strides: number[] = [];
  shape.reduce((stride, size) => {
    strides.push(stride);
    return stride * size;
  }, 1);
  const indices = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < result.length; to++) {
    result[to] = values[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      indices[axis]!++;
      if (indices[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      indices[axis] = 0;
    }
  }
  return result;
}

/** Unpacks the whole archive; large members are inflated by worker threads. */
function unpack(bytes: Uint8Array, source: Source): Promise<Unzipped> {
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown) => {
      const hint = "an NPZ archive ends in a directory; without it the file is truncated or of another kind";
      reject(fileError(source, "not a readable NPZ archive", { received: `${bytes.length} bytes (${String(cause)})`, hint, cause }));
    };
    try {
      unzip(bytes, (error: FlateError | null, members) => (error === null ? resolve(members) : fail(error)));
    } catch (cause) {
      // A directory that points outside the file fails at once, not through the callback.
      fail(cause);
    }
  });
}
