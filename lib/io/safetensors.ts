import { describe, VaeError } from "../errors.js";
import { isRecord, noMore } from "../graph/arguments.js";
import { isArray } from "../graph/kinds.js";
import { type DType, type Shape, showShape, sizeOf } from "../graph/tensor.js";
import { type DTypeArrays, decodeElements, ElementRangeError, type ElementType, elements } from "./elements.js";
import { fileError, readBytes, sourceOf, writeAtomically } from "./files.js";
import type { Source } from "./source.js";

/** A tensor as it stands in a file or on its way to one. */
export type StoredTensor = { [D in DType]: { readonly dtype: D; readonly shape: Shape; readonly data: DTypeArrays[D] } }[DType];

/** What a safetensors file holds. */
export interface Safetensors {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** The `__metadata__` of the header: texts by name. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** Element types by their safetensors name. */
const READABLE: Readonly<Record<string, ElementType>> = {
  F16: "float16",
  BF16: "bfloat16",
  F32: "float32",
  F64: "float64",
  I8: "int8",
  I16: "int16",
  I32: "int32",
  I64: "int64",
  U8: "uint8",
  U16: "uint16",
  U32: "uint32",
  U64: "uint64",
  BOOL: "bool",
};

const WRITTEN: Readonly<Record<DType, string>> = { float32: "F32", int32: "I32", uint8: "U8" };

/** As in numpy. */
const MOST_AXES = 64;

/** The limit of the reference implementation; it keeps a corrupt length from asking for all memory. */
const MAX_HEADER_BYTES = 100_000_000;

/**
 * Writes a safetensors file (8-byte little-endian header length, JSON header, raw little-endian values), atomically:
 * `path` holds the old file or the whole new one. Equal contents give equal bytes.
 *
 * @throws VaeError `"shape"` when a tensor's data do not fill its shape, `"file"` when the file cannot be written.
 */
export async function writeSafetensors(
  path: string | URL,
  { tensors, metadata }: Safetensors,
  operation = "writeSafetensors",
): Promise<void> {
  await writeAtomically(sourceOf(operation, path), encodeSafetensors({ tensors, metadata }, operation));
}

/**
 * Reads a safetensors file, of this library or of any other program: tensors by name, row-major, and the header's texts. F32, I32
 * and U8 stay what they are; F16, BF16 and F64 become float32, BOOL becomes uint8, other integers become int32.
 *
 * @throws VaeError `"file"` for a file that is missing, truncated, or breaks the format in any way, naming file, tensor and
 *   offsets; also where an integer does not fit an int32.
 * @example
 * ```ts
 * const { tensors } = await readSafetensors("torch.safetensors");
 * const weights = await model.parameters();
 * const { data } = tensors.get("fc1.bias")!; // a linear layer's weight is [units, inputs] in PyTorch, [inputs, units] here
 * weights.set("encoder.0.bias", { data: Float32Array.from(data), shape: [data.length] });
 * await model.setParameters(weights);
 * ```
 */
export async function readSafetensors(path: string | URL, ...surplus: never[]): Promise<Safetensors> {
  noMore("readSafetensors", surplus);
  return readSafetensorsFor("readSafetensors", path);
}

/** {@link readSafetensors} for a verb, under whose name errors come. */
export async function readSafetensorsFor(operation: string, path: string | URL): Promise<Safetensors> {
  const source = sourceOf(operation, path);
  return decodeSafetensors(await readBytes(source), source);
}

function encodeSafetensors({ tensors, metadata }: Safetensors, operation: string): Uint8Array[] {
  // Wide elements first keeps every tensor aligned to its element size; the sort is stable, so the caller's order stays.
  const ordered = [...tensors].sort(([, a], [, b]) => elements[b.dtype].bytes - elements[a.dtype].bytes);
  const header: [string, unknown][] = Object.keys(metadata).length === 0 ? [] : [["__metadata__", metadata]];
  const values: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { dtype, shape, data }] of ordered) {
    if (data.length !== sizeOf(shape) || name === "__metadata__") {
      throw new VaeError({
        code: "shape",
        operation,
        problem: `tensor "${name}" cannot be stored`,
        expected: name === "__metadata__" ? "another name" : `${sizeOf(shape)} values for ${showShape(shape)}`,
        received: `${data.length} values`,
      });
    }
    header.push([name, { dtype: WRITTEN[dtype], shape, data_offsets: [offset, offset + data.byteLength] }]);
    values.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    offset += data.byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  // Spaces behind the JSON are part of the format: they align the values to 8 bytes.
  const head = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(head.length - 8), true);
  head.set(json, 8);
  return [head, ...values];
}

/** Parses the bytes of a file; the tensors may be views of them. */
export function decodeSafetensors(bytes: Uint8Array<ArrayBuffer>, source: Source): Safetensors {
  const { header, begin } = readHeader(bytes, source);
  const { __metadata__: rawMetadata = {}, ...entries } = header;
  const metadata = checkMetadata(rawMetadata, source);
  const ranges = Object.entries(entries).map(([name, entry]) => checkEntry(name, entry, bytes.length - begin, source));
  checkCoverage(ranges, bytes.length - begin, source);
  const tensors = new Map(ranges.map((range) => [range.name, decodeTensor(range, bytes.subarray(begin), source)]));
  return { tensors, metadata };
}

function readHeader(bytes: Uint8Array<ArrayBuffer>, source: Source): { readonly header: Record<string, unknown>; readonly begin: number } {
  if (bytes.length < 8) {
    throw fileError(source, "not a safetensors file: too short for the header length", {
      expected: "at least 8 bytes",
      received: `${bytes.length} bytes`,
    });
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw fileError(source, "not a safetensors file: the header length at byte 0 is absurd", {
      expected: `at most ${MAX_HEADER_BYTES}`,
      received: String(length),
    });
  }
  const begin = 8 + Number(length);
  if (begin > bytes.length) {
    throw fileError(source, "truncated inside the header, or not a safetensors file", {
      expected: `at least ${begin} bytes`,
      received: `${bytes.length} bytes`,
    });
  }
  let header: unknown;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, begin));
    header = JSON.parse(text);
  } catch (cause) {
    throw fileError(source, `not a safetensors file: bytes 8 to ${begin} are not JSON`, { cause });
  }
  if (bytes[8] !== 0x7b || !isRecord(header)) throw fileError(source, "not a safetensors file: the header is not a JSON object");
  const repeated = repeatedName(text);
  if (repeated !== undefined) {
    throw fileError(source, `the name ${describe(repeated)} stands twice in one object of the header`, {
      hint: "write every tensor under a name of its own",
    });
  }
  return { header, begin };
}

/** How deep the header is looked through for repeated names: itself, and what it holds by name. */
const NAMED_DEPTH = 2;

/**
 * A name that an object has twice, of which JSON.parse keeps the last without a word: a tensor would be lost, or another be taken
 * than a reader takes who keeps the first.
 *
 * @param text that JSON.parse takes
 */
function repeatedName(text: string): string | undefined {
  const names = [new Set<string>(), new Set<string>()] as const;
  let depth = 0;
  for (let index = 0; index < text.length; index++) {
    const character = text[index];
    if (character === "{") names[depth++]?.clear();
    else if (character === "}") depth--;
    if (character !== '"') continue;
    const begin = index++;
    while (text[index] !== '"') index += text[index] === "\\" ? 2 : 1;
    if (depth > NAMED_DEPTH || !isBeforeColon(text, index + 1)) continue;
    const name = JSON.parse(text.slice(begin, index + 1)) as string;
    const known = names[depth - 1]!;
    if (known.has(name)) return name;
    known.add(name);
  }
  return undefined;
}

function isBeforeColon(text: string, from: number): boolean {
  let index = from;
  while (/\s/.test(text[index] ?? "")) index++;
  return text[index] === ":";
}

interface Range {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

function checkEntry(name: string, entry: unknown, available: number, source: Source): Range {
  const { dtype, shape, data_offsets: offsets } = isRecord(entry) ? entry : {};
  const label = `tensor "${name}"`;
  const type = typeof dtype === "string" && Object.hasOwn(READABLE, dtype) ? READABLE[dtype] : undefined;
  if (type === undefined) {
    throw fileError(source, `${label} has an unknown element type`, {
      expected: Object.keys(READABLE).join(", "),
      received: describe(dtype),
    });
  }
  if (!isSizes(shape) || shape.length > MOST_AXES) {
    throw fileError(source, `${label} has no valid shape`, {
      expected: `at most ${MOST_AXES} whole numbers from 0`,
      received: describe(shape),
    });
  }
  const [begin, end] = isSizes(offsets) ? offsets : [];
  if (!isSizes(offsets) || offsets.length !== 2 || begin === undefined || end === undefined || begin > end) {
    throw fileError(source, `${label} has no valid data_offsets`, {
      expected: "[begin, end]",
      received: describe(offsets),
    });
  }
  if (end > available) {
    throw fileError(source, `truncated: ${label} ends behind the end of the file`, {
      expected: `${end} bytes of values (this tensor is [${begin}, ${end}))`,
      received: `${available} bytes`,
    });
  }
  const bytes = sizeOf(shape) * elements[type].bytes;
  if (end - begin !== bytes) {
    throw fileError(source, `${label} has another length than its shape`, {
      expected: `${bytes} bytes for ${String(dtype)} ${showShape(shape)}`,
      received: `${end - begin} bytes at [${begin}, ${end})`,
    });
  }
  return { name, type, shape, begin, end };
}

/** The format wants every byte to belong to exactly one tensor. */
function checkCoverage(ranges: readonly Range[], available: number, source: Source): void {
  let reached = 0;
  let previous = "the header";
  for (const { name, begin, end } of [...ranges].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== reached) {
      throw fileError(source, `${begin < reached ? "overlap" : "hole"} between ${previous} and tensor "${name}"`, {
        expected: `tensor "${name}" to begin at ${reached}`,
        received: `[${begin}, ${end})`,
      });
    }
    reached = end;
    previous = `tensor "${name}"`;
  }
  if (reached !== available) {
    throw fileError(source, `bytes behind ${previous} that belong to no tensor`, {
      expected: `${reached} bytes of values`,
      received: `${available} bytes`,
    });
  }
}

function decodeTensor({ name, type, shape, begin, end }: Range, values: Uint8Array, source: Source): StoredTensor {
  const bytes = values.subarray(begin, end);
  try {
    const { dtype } = elements[type];
    if (dtype === "float32") return { dtype, shape, data: decodeElements(bytes, type, dtype) };
    if (dtype === "int32") return { dtype, shape, data: decodeElements(bytes, type, dtype) };
    return { dtype, shape, data: decodeElements(bytes, type, dtype) };
  } catch (cause) {
    if (!(cause instanceof ElementRangeError)) throw cause;
    throw fileError(source, `element ${cause.index} of tensor "${name}" does not fit ${cause.dtype}`, {
      received: String(cause.value),
      cause,
    });
  }
}

function checkMetadata(metadata: unknown, source: Source): Readonly<Record<string, string>> {
  const texts: [string, string][] = [];
  for (const [key, value] of Object.entries(isRecord(metadata) ? metadata : { __metadata__: metadata })) {
    if (typeof value !== "string") {
      throw fileError(source, "the metadata of the header is not an object of texts", {
        received: `${key}: ${describe(value)}`,
      });
    }
    texts.push([key, value]);
  }
  return Object.fromEntries(texts);
}

function isSizes(value: unknown): value is readonly number[] {
  return isArray(value) && value.every((size) => Number.isSafeInteger(size) && (size as number) >= 0);
}
