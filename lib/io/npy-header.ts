// The header of an NPY file: a Python literal, which is parsed as such. Nothing else of Python's is understood.
import { describe } from "../errors.js";
import { isArray } from "../graph/kinds.js";
import { showShape, sizeOf } from "../graph/tensor.js";
import type { StoredArray } from "./arrays.js";
import type { ElementType } from "./elements.js";
import { fileError } from "./files.js";
import type { Source } from "./source.js";

/** Element types by what stands behind the byte order in a NumPy `descr`. */
const ELEMENT_TYPES: ReadonlyMap<string, ElementType> = new Map([
  ["f2", "float16"],
  ["f4", "float32"],
  ["f8", "float64"],
  ["i1", "int8"],
  ["i2", "int16"],
  ["i4", "int32"],
  ["i8", "int64"],
  ["u1", "uint8"],
  ["u2", "uint16"],
  ["u4", "uint32"],
  ["u8", "uint64"],
  ["b1", "bool"],
]);

/** What the other kinds of NumPy are, by their letter. */
const OTHER_KINDS: ReadonlyMap<string, string> = new Map([
  ["c", "complex numbers"],
  ["O", "Python objects"],
  ["S", "texts"],
  ["a", "texts"],
  ["U", "texts"],
  ["T", "texts"],
  ["V", "raw memory"],
  ["M", "dates"],
  ["m", "durations"],
  ["f", "floats of another size"],
]);

/** Most axes: as many as an array of NumPy 1 may have. */
const MOST_AXES = 32;

/** Literals inside literals; headers of ours have two levels. */
const MOST_LEVELS = 8;

/** What the text of a header says; throws `"file"` where it is no header or one of another kind of array. */
export function parseNpyHeader(text: string, source: Source): StoredArray {
  const malformed = (received: string) =>
    fileError(source, "the header is not that of an NPY file", {
      expected: "{'descr': …, 'fortran_order': True or False, 'shape': (…)}",
      received,
    });
  const header = parseLiteral(text);
  if (!isDictionary(header)) throw malformed(describe(text.trim()));
  const { entries } = header;
  const [descr, order, shape] = ["descr", "fortran_order", "shape"].map((key) => entries.get(key));
  if (entries.size !== 3 || descr === undefined || typeof order !== "boolean" || !isTuple(shape)) throw malformed(describe(text.trim()));
  const sizes = shape.tuple;
  if (!sizes.every((size): size is number => typeof size === "number" && Number.isSafeInteger(size) && size >= 0)) {
    throw fileError(source, "the shape is none", { expected: "whole numbers from 0", received: pythonTuple(sizes) });
  }
  if (sizes.length > MOST_AXES) {
    throw fileError(source, "too many axes", { expected: `at most ${MOST_AXES}`, received: `${sizes.length} axes` });
  }
  if (!Number.isSafeInteger(sizeOf(sizes))) {
    throw fileError(source, "the shape is too large", { expected: "at most 2^53 elements", received: showShape(sizes) });
  }
  return { ...elementOf(descr, source), fortranOrder: order, shape: sizes };
}

function elementOf(descr: Literal, source: Source): { readonly type: ElementType; readonly littleEndian: boolean } {
  const [, byteOrder, code = "", kind = ""] = typeof descr === "string" ? (/^([<>|=]?)(([A-Za-z]).*)$/s.exec(descr) ?? []) : [];
  const type = ELEMENT_TYPES.get(code);
  if (type !== undefined) return { type, littleEndian: byteOrder !== ">" };
  const name = typeof descr === "string" ? describe(descr).slice(1, -1) : undefined;
  const meaning = OTHER_KINDS.get(kind);
  throw fileError(source, "unknown element type", {
    expected: [...ELEMENT_TYPES.keys()].join(", "),
    received: name === undefined ? structured(descr) : `${name}${meaning === undefined ? "" : `, which is ${meaning}`}`,
    hint:
      name === undefined
        ? "save one field in Python: numpy.save(path, array['field'].astype(numpy.float32))"
        : "convert it in Python: numpy.save(path, array.astype(numpy.float32))",
  });
}

/** A structured type is a list of `('name', 'type')`. */
function structured(descr: Literal): string {
  const fields = isArray(descr) ? descr.map((field) => (isTuple(field) ? field.tuple[0] : undefined)) : [];
  const names = fields.filter((name) => typeof name === "string");
  return names.length === 0 ? "a structured type" : `a structured type with the fields ${describe(names)}`;
}

function pythonTuple(values: readonly Literal[]): string {
  return describe(values.map((value) => (isTuple(value) || isDictionary(value) ? "…" : value)));
}

/** Python's literals as far as headers have them; tuples are told from lists. */
type Literal = string | number | boolean | null | readonly Literal[] | Tuple | Dictionary;
interface Tuple {
  readonly tuple: readonly Literal[];
}
interface Dictionary {
  readonly entries: ReadonlyMap<string, Literal>;
}

function isTuple(value: Literal | undefined): value is Tuple {
  return typeof value === "object" && value !== null && "tuple" in value;
}

function isDictionary(value: Literal | undefined): value is Dictionary {
  return typeof value === "object" && value !== null && "entries" in value && !isArray(value);
}

/** Python 2 wrote long integers with an L behind them. */
const TOKEN = /\s*(?:([{}()[\],:])|('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(-?\d+)L?(?![\w.])|(True|False|None)(?!\w))/sy;

/** The value of a text that is one literal; undefined where it is none. Reads the text once. */
function parseLiteral(text: string): Literal | undefined {
  let at = 0;
  const next = (): RegExpExecArray | undefined => {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text) ?? undefined;
    if (token !== undefined) at = TOKEN.lastIndex;
    return token;
  };
  const peek = (): string | undefined => {
    TOKEN.lastIndex = at;
    return TOKEN.exec(text)?.[1];
  };
  const skip = (mark: string): boolean => peek() === mark && next() !== undefined;

  /** What stands between brackets, and whether a comma ends it. */
  function list(close: string, level: number): { readonly items: readonly Literal[]; readonly comma: boolean } | undefined {
    const items: Literal[] = [];
    let comma = true;
    while (!skip(close)) {
      const item = comma ? value(level + 1) : undefined;
      if (item === undefined) return undefined;
      items.push(item);
      comma = skip(",");
    }
    return { items, comma };
  }

  function dictionary(level: number): Dictionary | undefined {
    const entries = new Map<string, Literal>();
    for (let comma = true; !skip("}"); comma = skip(",")) {
      const key = comma ? value(level + 1) : undefined;
      const item = typeof key === "string" && skip(":") ? value(level + 1) : undefined;
      if (typeof key !== "string" || item === undefined || entries.has(key)) return undefined;
      entries.set(key, item);
    }
    return { entries };
  }

  function value(level: number): Literal | undefined {
    const token = level > MOST_LEVELS ? undefined : next();
    if (token === undefined) return undefined;
    const [, mark, quoted, digits, word] = token;
    if (quoted !== undefined) return quoted.slice(1, -1).replace(/\\(.)/gs, "$1");
    if (digits !== undefined) return Number(digits);
    if (word !== undefined) return word === "None" ? null : word === "True";
    if (mark === "{") return dictionary(level);
    if (mark === "[") return list("]", level)?.items;
    if (mark !== "(") return undefined;
    const inside = list(")", level);
    // A single value in brackets is that value; with a comma behind it a tuple.
    return inside?.items.length === 1 && !inside.comma ? inside.items[0] : inside && { tuple: inside.items };
  }

  const parsed = value(0);
  return /^[\s\0]*$/.test(text.slice(at)) ? parsed : undefined;
}
