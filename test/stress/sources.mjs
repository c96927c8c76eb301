// Sources of rows: good ones of every kind, and ones that break the protocol of iterables in every way there is.
import { Readable } from "node:stream";
import { Own, zoo } from "./zoo.mjs";

const thrower = () => {
  throw new Own("from a caller's own source");
};
const batch = () => Float32Array.of(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8);

/** An iterable of one or the other kind around the parts of an iterator. */
const sync = (iterator) => ({ [Symbol.iterator]: () => iterator });
const async = (iterator) => ({ [Symbol.asyncIterator]: () => iterator });
/** Gives so many batches, then what `end` gives. */
const after = (count, end, wrap) => {
  let left = count;
  return () => (left-- > 0 ? wrap({ done: false, value: batch() }) : end());
};

const good = [
  () => [batch()].values(),
  () => new Set([batch(), batch()]),
  () => [[0.1, 0.2, 0.3, 0.4]],
  () => batch(),
  () => Uint8Array.of(9, 8, 7, 6),
  () => ({ x: batch(), label: ["a", "b"], age: Float32Array.of(1, 2) }),
  () =>
    (async function* () {
      yield { x: batch(), label: ["a", "b"] };
      yield { x: [[0.1, 0.2, 0.3, 0.4]], label: "b" };
    })(),
  () =>
    (async function* () {
      yield batch();
      yield [[0.1, 0.2, 0.3, 0.4]];
    })(),
  () => Readable.from([batch(), batch()]),
  () => Readable.from([Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6, 7, 8])]),
  () => new Blob([Uint8Array.of(1, 2, 3, 4)]).stream(),
  () =>
    async({
      next: after(
        2,
        () => ({ done: true }),
        (result) => result,
      ),
    }), // promises of none, which await takes too
];

/** Results of `next` that are none. */
const wrong = [undefined, null, 7, "text", Symbol("s"), () => 1, [], {}, { value: 1 }, { done: false }, { done: 1 }, { done: "yes" }];
const closings = [
  undefined,
  thrower,
  async () => thrower(),
  () => 7,
  () => Promise.reject(new Own("closing")),
  7,
  () => new Promise(() => {}),
];

function broken(choose) {
  const count = choose.below(3);
  const closing = choose.of(closings);
  const parts = closing === undefined ? {} : { return: closing };
  const result = choose.of(wrong);
  const stranger = () => choose.of(zoo)();
  const resolved = async (value) => value;
  return choose.of([
    () =>
      sync({
        ...parts,
        next: after(
          count,
          () => result,
          (value) => value,
        ),
      }),
    () =>
      async({
        ...parts,
        next: after(
          count,
          () => result,
          (value) => value,
        ),
      }),
    () => async({ ...parts, next: after(count, () => resolved(result), resolved) }),
    () => sync({ ...parts, next: after(count, thrower, (value) => value) }),
    () => async({ ...parts, next: after(count, thrower, resolved) }),
    () => async({ ...parts, next: after(count, () => Promise.reject(new Own("rejected")), resolved) }),
    () =>
      sync({
        ...parts,
        next: after(
          count,
          () => ({ done: false, value: stranger() }),
          (value) => value,
        ),
      }),
    () => async({ ...parts, next: after(count, () => resolved({ done: false, value: stranger() }), resolved) }),
    // biome-ignore lint/suspicious/noThenProperty: a thenable is what is meant
    () => async({ ...parts, next: after(count, () => ({ then: thrower }), resolved) }),
    // biome-ignore lint/suspicious/noThenProperty: a thenable is what is meant
    () => async({ ...parts, next: after(count, () => ({ then: (done) => [done({ done: true }), done(7), thrower()] }), resolved) }),
    () => sync({ ...parts, next: after(count, () => ({ get done() { return thrower(); } }), (value) => value) }), // biome-ignore format: one line
    () => async({ ...parts, next: after(count, () => resolved({ done: false, get value() { return thrower(); } }), resolved) }), // biome-ignore format: one line
    () => sync({ next: after(count, () => ({ done: true }), (value) => value), get return() { return thrower(); } }), // biome-ignore format: one line
    () => sync(stranger()),
    () => async(stranger()),
    () => ({ [Symbol.iterator]: thrower }),
    () => ({ [Symbol.asyncIterator]: async () => thrower() }),
    () => ({ [Symbol.iterator]: 7, [Symbol.asyncIterator]: "text" }),
    () => ({ getReader: thrower, [Symbol.asyncIterator]: thrower }),
    () => ({ getReader: () => stranger(), [Symbol.asyncIterator]: thrower }),
    () => ({ getReader: () => ({ read: async () => result }), [Symbol.asyncIterator]: thrower }),
    () => Readable.from([batch(), choose.of(wrong) ?? 1]), // not all of the zoo: Node looks at what it is given, and fails on a revoked proxy
    () => new Readable({ read() { this.destroy(new Own("a stream that breaks")); } }), // biome-ignore format: one line
    () => new ReadableStream({ pull: (controller) => controller.error(new Own("a web stream that breaks")) }),
    () => new ReadableStream({ pull: (controller) => controller.enqueue(stranger()) }),
  ])();
}

/** Sources that do not end by themselves: only for calls that end when their model is disposed of. */
const endless = [
  () => async({ next: () => new Promise(() => {}) }),
  () => async({ next: async () => ({ done: false, value: batch() }), return: () => new Promise(() => {}) }),
  () =>
    (function* () {
      for (;;) yield batch();
    })(),
  () => new ReadableStream({}),
];

/** A source for a call, most often a good one. */
export function anySource(choose, { mayBeEndless = false } = {}) {
  const way = choose.random();
  if (way < 0.5) return choose.of(good)();
  if (way < 0.97 || !mayBeEndless) return broken(choose);
  return choose.of(endless)();
}
