// Values that no caller should hand over, and what turns a good value into such a one.
import { runInNewContext } from "node:vm";

/** What the getters, proxies and iterators of the zoo throw: a caller's own error, which may pass through. */
export class Own extends Error {
  name = "Own";
}

const thrower = () => {
  throw new Own("from a caller's own code");
};

/** Random choices from a seed (mulberry32), so that a failure can be made again. */
export function chooser(seed) {
  let state = seed >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (count) => Math.floor(random() * count);
  return { random, below, of: (list) => list[below(list.length)] };
}

const cyclicObject = () => {
  const value = { kind: "sequential", layers: [] };
  value.self = value;
  value.layers.push(value);
  return value;
};
const cyclicArray = () => {
  const value = [];
  value.push(value, value);
  return value;
};
const deep = (make) => {
  let value = {};
  for (let level = 0; level < 5000; level++) value = make(value);
  return value;
};
const detached = (array) => {
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
};
const shrunk = () => {
  const buffer = new ArrayBuffer(64, { maxByteLength: 128 });
  const array = new Float32Array(buffer, 0, 16);
  buffer.resize(8);
  return array;
};
const revoked = (target) => {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
};
const throwingProxy = (target) =>
  new Proxy(target, { get: thrower, has: thrower, ownKeys: thrower, getPrototypeOf: thrower, getOwnPropertyDescriptor: thrower });
class Instance {
  kind = "dense";
  units = 3;
  length = 4;
}

/** Makers, since some values are used up. Whole numbers stay small: how much memory a large one may take is another question. */
export const zoo = [
  ...[undefined, null, true, false, Number.NaN, Infinity, -Infinity, 0, -0, 1, 2, 3, 7, -1, 0.5, 1.5, 1e-320].map((v) => () => v),
  ...[2 ** 53, -(2 ** 53), 1e300, 2 ** 64, 10n, -1n, 2n ** 200n, "", "0", "1", "dense", "adam", "gaussian", "__proto__", "constructor"].map(
    (v) => () => v,
  ),
  ...["toString", "axes", "cpu", "cuda:7", "\0", "\ud800", "no/such/folder/x", ".", "x".repeat(100_000), Symbol("s"), Symbol.iterator].map(
    (v) => () => v,
  ),
  () => () => 1,
  () => async () => 1,
  () => thrower,
  () => class {},
  () => new Instance(),
  () => new Date(0),
  () => new Date(Number.NaN),
  () => /x/,
  () => new Map(),
  () => new Map([["axes", 1]]),
  () => new Map([["encoder.0.weight", { data: [1] }]]),
  () => new Map([[1, null]]),
  () => new Set([1, 2]),
  () => new WeakMap(),
  () => Promise.resolve(1),
  // biome-ignore lint/suspicious/noThenProperty: a thenable is what is meant
  () => ({ then: (done) => done(1) }),
  () => new Error("an error as a value"),
  () => new URL("file:///no/such/file"),
  () => new URL("file://host/file"),
  () => new URL("file:///a%2Fb"),
  () => new URL("file:///%00"),
  () => new URL("https://example.org/rows.csv"),
  () => ({ href: "file:///x", protocol: "file:", pathname: Symbol("s") }),
  () => ({ href: "", protocol: "", pathname: "" }),
  () => "file:///no/such/file",
  () => new AbortController().signal,
  () => AbortSignal.abort(new Own("aborted")),
  () => [],
  () => [1],
  () => [0],
  () => [-1],
  () => [2, 3],
  () => [[1, 2], [3]],
  () => [undefined],
  () => [null],
  () => [Symbol("s")],
  () => [1n],
  () => ["1", "2"],
  () => [Number.NaN],
  () => [0.5],
  // biome-ignore lint/suspicious/noSparseArray: a hole is what is meant
  () => [, 1],
  () => new Array(5),
  () => Array.from({ length: 70 }, () => 1),
  () => Object.assign([1, 2], { length: 2, extra: 1 }),
  () => Object.freeze([2, 2]),
  cyclicArray,
  cyclicObject,
  () => deep((value) => [value]),
  () => deep((value) => ({ kind: "sequential", layers: [value] })),
  () => deep((value) => ({ kind: "warmup", steps: 1, target: value })),
  () => ({}),
  () => Object.create(null),
  () => Object.freeze({ a: 1 }),
  () => Object.create({ axes: 1 }),
  () => JSON.parse('{"__proto__": {"axes": 1}, "constructor": 1}'),
  () => ({ length: 3 }),
  () => ({ length: -1 }),
  () => ({ length: 2 ** 53 }),
  () => ({ length: "3" }),
  () => ({ kind: 1 }),
  () => ({ kind: "dense" }),
  () => ({ kind: "dense", units: Symbol("s") }),
  () => ({ kind: "dense", units: 3, activation: () => 1 }),
  () => ({ kind: "constructor" }),
  () => ({ data: [1, 2], shape: [2] }),
  () => ({ data: null, shape: null }),
  () => ({ data: Float32Array.of(1, 2), shape: [3] }),
  () => ({ data: Float32Array.of(1, 2), shape: [2] }),
  () => ({ data: Float32Array.of(1, 2), shape: cyclicArray() }),
  () => ({ data: Float32Array.of(1, 2, 3, 4), rows: 1, shape: [4], name: "forged" }),
  () => ({ data: Float32Array.of(1, 2, 3, 4), rows: 2 ** 40, shape: [4] }),
  () => ({ data: Float32Array.of(1, 2, 3, 4), rows: 1, shape: [4], labels: "abc", columns: 7, name: Symbol("s") }),
  () => ({ id: 1, op: "input", inputs: [], attributes: {}, shape: [2, 3], dtype: "float32" }),
  () => ({ id: 1, op: "no such op", inputs: [], attributes: {}, shape: [], dtype: "float32" }),
  () => ({
    get axes() {
      return thrower();
    },
    get kind() {
      return thrower();
    },
    get length() {
      return thrower();
    },
  }),
  () => ({ [Symbol.iterator]: thrower }),
  () => ({ [Symbol.iterator]: () => ({ next: thrower }) }),
  () => ({ [Symbol.asyncIterator]: () => ({ next: async () => thrower() }) }),
  () => [Float32Array.of(1, 2, 3, 4)].values(),
  () =>
    (function* () {
      yield [[1, 2, 3, 4]];
      yield Symbol("s");
    })(),
  () =>
    (async function* () {
      yield Float32Array.of(1, 2, 3, 4);
      yield 7;
    })(),
  () => throwingProxy({}),
  () => throwingProxy([]),
  () => revoked({}),
  () => revoked([]),
  () => new Proxy([2, 3], {}),
  () => new Proxy(Float32Array.of(1, 2, 3, 4), {}),
  ...[Float32Array, Float64Array, Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Int32Array, Uint32Array].flatMap((Type) => [
    () => new Type(),
    () => Type.of(1, 2, 3, 4),
    () => new Type(8),
  ]),
  () => Float32Array.of(Number.NaN, Infinity, -Infinity, -0),
  () => BigInt64Array.of(1n, 2n),
  () => Buffer.from("abcd"),
  () => new DataView(new ArrayBuffer(8)),
  () => new ArrayBuffer(8),
  () => new SharedArrayBuffer(8),
  () => new Float32Array(new SharedArrayBuffer(16)),
  () => new Float32Array(new ArrayBuffer(16, { maxByteLength: 64 })),
  () => detached(Float32Array.of(1, 2, 3, 4)),
  () => detached(Uint8Array.of(1, 2, 3, 4)),
  () => ({ data: detached(Float32Array.of(1, 2)), shape: [2] }),
  shrunk,
  () => [detached(Float32Array.of(1, 2, 3, 4))],
  () => runInNewContext("({ axes: 0 })"),
  () => runInNewContext("Float32Array.of(1, 2, 3, 4)"),
  () => runInNewContext("[2, 3]"),
  () => globalThis,
];

/** Names that options have somewhere. */
const names = "axis axes shape data kind length units stride padding seed steps options signal constructor __proto__".split(" ");

/** The value with one of its properties behind a getter. */
function withGetter(value, choose, get) {
  const [key = "x"] = Object.keys(value).length > 0 ? [choose.of(Object.keys(value))] : [];
  return Object.defineProperty({ ...value }, key, { get, enumerable: true, configurable: true });
}

/** Gives its properties the first time they are asked for, and anything afterwards: what was checked is not what is used. */
function fickle(value, choose) {
  const asked = new Set();
  const get = (target, key) => {
    if (!asked.has(key)) {
      asked.add(key);
      return target[key];
    }
    return choose.of(zoo)();
  };
  return new Proxy({ ...value }, { get }); // of a frozen one no proxy may give anything else
}

/** A copy of a value with something in it changed, or another value altogether. */
export function spoiled(value, choose, depth = 0) {
  const stranger = () => choose.of(zoo)();
  const isList = Array.isArray(value);
  const isPlain = typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
  if (depth > 3 || !(isList || isPlain) || choose.random() < 0.3) {
    if (!isPlain || choose.random() < 0.7) return stranger();
    // The same options in another guise.
    return choose.of([
      () => new Map(Object.entries(value)),
      () => Object.assign(new Instance(), value),
      () => Object.entries(value),
      () => Object.assign(Object.create(null), value),
      () => Object.freeze({ ...value }),
      () => new Proxy(value, {}),
      () => throwingProxy(value),
      () => revoked(value),
      () => Object.create(value),
      () => withGetter(value, choose, thrower),
      () => withGetter(value, choose, stranger),
      () => fickle(value, choose),
    ])();
  }
  const copy = isList ? [...value] : { ...value };
  const keys = Object.keys(copy);
  const change = choose.below(10);
  if (change === 0) copy[isList ? keys.length : choose.of(names)] = stranger();
  else if (change === 1 && keys.length > 0) delete copy[choose.of(keys)];
  else if (keys.length > 0) {
    const key = choose.of(keys);
    copy[key] = spoiled(copy[key], choose, depth + 1);
  }
  return copy;
}
