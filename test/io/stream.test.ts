// Rows of a stream: which come, in which order, how little is held, what is refused, and how sources are left.
import { createReadStream, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { type Batch, type RowStream, streamed } from "../../lib/index.js";
import { checkRange } from "../../lib/io/check.js";
import { RowReader, type RowReaderOptions } from "../../lib/io/row-reader.js";
import { failure, temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();
const mine = new Error("mine");

/** Rows of two values, (n, n + ½). */
const row = (n: number): number[] => [n, n + 0.5];
const floats = (...numbers: number[]): Float32Array => Float32Array.from(numbers.flatMap(row));

function reader(stream: RowStream, options?: RowReaderOptions): RowReader {
  return new RowReader(stream, [2], "fit", options);
}

/** The numbers of the next rows. */
async function take(from: RowReader, rows: number): Promise<number[]> {
  const read = await from.next(rows);
  expect(read.data.length).toBe(2 * rows);
  const numbers = Array.from({ length: rows }, (_, i) => read.data[2 * i]!);
  expect([...read.data]).toEqual(numbers.flatMap(row));
  return numbers;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

/** Batches of 3, 0, 1 and 4 rows of the numbers 1 to 8. */
function* mixed(): Generator<Batch> {
  yield floats(1, 2, 3);
  yield new Float32Array();
  yield [row(4)];
  yield [row(5), Float32Array.from(row(6)), row(7), Float64Array.from(row(8))];
}
async function* mixedAsync(): AsyncGenerator<Batch> {
  yield* mixed();
}

describe("rows come in order, whatever the batches", () => {
  test.each([
    ["a generator", () => mixed()],
    ["an async generator", () => mixedAsync()],
    ["a stream of Node", () => Readable.from(mixed()) as AsyncIterable<Batch>],
    ["a web stream", () => ReadableStream.from(mixed()) as unknown as AsyncIterable<Batch>],
  ])("%s", async (_, open) => {
    for (const count of [1, 2, 3, 5, 8, 19]) {
      const rows = reader(streamed(open, { rows: 8 }));
      const seen: number[] = [];
      while (seen.length < 24) seen.push(...(await take(rows, count)));
      expect(seen).toEqual(seen.map((_, i) => (i % 8) + 1));
      await rows.close();
    }
  });

  test("bytes of an async source may be cut anywhere, also across the rows of a call", async () => {
    const bytes = Uint8Array.from({ length: 2000 }, (_, i) => i % 251);
    const path = join(folder, "bytes");
    writeFileSync(path, bytes);
    const rows = reader(streamed(() => createReadStream(path, { highWaterMark: 7 }) as AsyncIterable<Uint8Array>));
    expect(await rows.open()).toBe("uint8");
    for (const begin of [0, 400, 800]) {
      const { data } = await rows.next(400);
      expect(data).toEqual(Uint8Array.from({ length: 800 }, (_, i) => bytes[(2 * begin + i) % 2000]!));
    }
    await rows.close();
  });

  test("open reads the first batch only, and loses none of it", async () => {
    let batches = 0;
    const stream = streamed(function* () {
      for (;;) yield floats(++batches);
    });
    const rows = reader(stream);
    expect(batches).toBe(0);
    expect(() => rows.dtype).toThrow(/await open first/);
    expect([await rows.open(), await rows.open(), rows.dtype, batches]).toEqual(["float32", "float32", "float32", 1]);
    expect(await take(rows, 3)).toEqual([1, 2, 3]);
    expect(batches).toBe(3);
    await rows.close();
  });

  test("a source may use its memory again once it is asked for the next batch", async () => {
    const memory = new Float32Array(4);
    const rows = reader(
      streamed(function* () {
        for (let n = 1; ; n += 2) {
          memory.set(floats(n, n + 1));
          yield memory;
        }
      }),
    );
    expect(await take(rows, 1)).toEqual([1]);
    expect(await take(rows, 6)).toEqual([2, 3, 4, 5, 6, 7]);
    await rows.close();
  });
});

describe("a shuffle buffer", () => {
  const numbers = (shuffleBuffer: number, count = 200) =>
    streamed(
      function* () {
        for (const n of range(0, count)) yield floats(n);
      },
      { shuffleBuffer },
    );
  const epochs = async (stream: RowStream, seed: number, count = 3): Promise<number[][]> => {
    const rows = reader(stream, { seed });
    const seen: number[] = [];
    while (seen.length < 200 * count) seen.push(...(await take(rows, 40)));
    await rows.close();
    return range(0, count).map((epoch) => seen.slice(200 * epoch, 200 * (epoch + 1)));
  };

  test.each([2, 16, 200, 1000])("of %i rows gives each row once per epoch, by the seed", async (capacity) => {
    const [a, b, c] = [await epochs(numbers(capacity), 1), await epochs(numbers(capacity), 1), await epochs(numbers(capacity), 2)];
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
    expect(a[0]).not.toEqual(a[1]);
    for (const epoch of a) {
      expect(epoch).not.toEqual(range(0, 200));
      expect(epoch.toSorted((x, y) => x - y)).toEqual(range(0, 200));
      // A row cannot come before it was read.
      expect(epoch.every((n, place) => n <= place + capacity)).toBe(true);
    }
  });

  test("as large as the epoch, it puts every row at every place equally often", async () => {
    const stream = streamed(
      function* () {
        yield floats(0, 1, 2, 3, 4);
      },
      { shuffleBuffer: 5 },
    );
    const counts = Array.from({ length: 5 }, () => new Array<number>(5).fill(0));
    const rows = reader(stream, { seed: 3 });
    for (let epoch = 0; epoch < 2000; epoch++) {
      for (const [place, n] of (await take(rows, 5)).entries()) counts[place]![n]!++;
    }
    await rows.close();
    // 400 each, with a standard deviation of 18.
    for (const count of counts.flat()) expect(Math.abs(count - 400)).toBeLessThan(90);
  });

  test("does not change the order of how many are taken at a time, and 0 and 1 mix nothing", async () => {
    const taken = async (count: number) => {
      const rows = reader(numbers(16), { seed: 5 });
      const seen: number[] = [];
      while (seen.length < 400) seen.push(...(await take(rows, count)));
      await rows.close();
      return seen.slice(0, 400);
    };
    expect(await taken(1)).toEqual(await taken(77));
    for (const none of [0, 1]) expect((await epochs(numbers(none), 1))[2]).toEqual(range(0, 200));
  });

  test("that does not fit into memory is refused", async () => {
    const wide = streamed(() => [[new Array<number>(5000).fill(0)]].values(), { shuffleBuffer: 2 ** 31 });
    await failure("memory", () => new RowReader(wide, [5000], "fit").next(1));
  });
});

describe("one epoch of what can be read once", () => {
  const sources: [string, () => AsyncIterable<Batch> | Iterable<Batch>][] = [
    ["a generator", mixed],
    ["an async generator", mixedAsync],
    ["a stream of Node", () => Readable.from(mixed())],
    ["a web stream", () => ReadableStream.from(mixed()) as unknown as AsyncIterable<Batch>],
  ];
  test.each(sources)("%s", async (_, make) => {
    const stream = streamed(make());
    const rows = reader(stream);
    expect(await take(rows, 6)).toEqual([1, 2, 3, 4, 5, 6]);
    expect((await rows.next(6, 2)).rows).toBe(2);
    expect((await failure("data", () => rows.next(1))).message).toContain("can be read only once");
    await failure("data", () => reader(stream).next(1));
  });

  test("rows before a failure are given in whole units; the failure comes next, and stays", async () => {
    const stream = streamed(function* () {
      yield* mixed();
      throw mine;
    });
    const rows = reader(stream);
    const { data, rows: count } = await rows.next(20, 3);
    expect([count, ...data.filter((_, i) => i % 2 === 0)]).toEqual([6, 1, 2, 3, 4, 5, 6]);
    for (let again = 0; again < 2; again++) await expect(rows.next(1)).rejects.toBe(mine);
    await expect(reader(stream).next(20, 9)).rejects.toBe(mine);
  });

  test("an iterable that makes new iterators is read again; a function that gives the same one is not", async () => {
    expect(await take(reader(streamed(new Set([floats(1, 2)]))), 5)).toEqual([1, 2, 1, 2, 1]);
    const one = mixed();
    const error = await failure("data", () => reader(streamed(() => one)).next(9));
    expect(error.message).toMatch(/no rows in its epoch 1.*\n.*make a new one for each epoch/);
  });
});

describe("what is refused", () => {
  const batches = (...list: unknown[]) => streamed(() => list.values() as Iterable<Batch>);

  test("sources and options", async () => {
    const wrong: unknown[] = [floats(1), [floats(1)], undefined, null, 3, "rows", {}, Promise.resolve(mixed()), class {}];
    for (const source of wrong) await failure("argument", () => streamed(source as never));
    for (const options of [{ row: 3 }, { rows: 0 }, { rows: 1.5 }, { shuffleBuffer: -1 }, { shuffleBuffer: "2" }, 3, null]) {
      await failure("argument", () => streamed(mixed, options as never));
    }
    await failure("argument", () => streamed(mixed, {}, ...([1] as never[])));
    for (const given of [floats(1), [floats(1)], undefined, Promise.reject(mine)]) {
      await failure("argument", () => reader(streamed((() => given) as never)).next(1));
    }
  });

  test("an epoch without rows, and another number of rows than said", async () => {
    for (const stream of [batches(), batches(new Float32Array(), [])]) await failure("data", () => reader(stream).open());
    const more = streamed(mixed, { rows: 7 });
    expect((await failure("data", () => reader(more).next(10))).message).toContain("expected 7 rows in an epoch; received more");
    const fewer = streamed(mixed, { rows: 9 });
    expect((await failure("data", () => reader(fewer).next(10))).message).toContain("expected 9 rows in an epoch; received 8");
  });

  test("another dtype, rows of another size, what is no batch", async () => {
    const dtype = await failure("dtype", () => reader(batches(floats(1), Uint8Array.of(1, 2))).next(2));
    expect(dtype.message).toContain("batch 1 of the stream mixes bytes and floats");
    await failure("dtype", () => reader(batches(Uint8Array.of(1, 2), [row(1)])).next(2));
    await failure("shape", () => reader(batches(floats(1), new Float32Array(3))).next(2));
    await failure("shape", () => reader(batches([[1, 2, 3]])).next(2));
    await failure("shape", () => reader(streamed(() => Readable.from([Uint8Array.of(1, 2, 3)]))).next(2));
    for (const batch of ["rows", 3, null, undefined, {}, [["a", "b"]], Int32Array.of(1, 2)]) {
      await failure("argument", () => reader(batches(batch)).next(2));
    }
    await failure("shape", () => new RowReader({ ...batches(), shape: [3] }, [2], "fit"));
  });

  test("values: the row of the epoch is named", async () => {
    const bad = batches(floats(1, 2), Float32Array.of(3, 3.5, 4, Number.NaN, 5, 5.5));
    expect((await failure("data", () => reader(bad).next(5))).message).toContain("row 3, column 1 of the stream is NaN");
    const rows = reader(bad);
    expect(await take(rows, 3)).toEqual([1, 2, 3]);
    expect((await failure("data", () => rows.next(2))).message).toContain("row 3, column 1 of the stream is NaN");
    const check: RowReaderOptions["check"] = (part, firstRow) => checkRange(part, { low: 0, high: 5 }, "fit", firstRow);
    const checked = reader({ ...batches(floats(...range(0, 9))), shuffleBuffer: 4 }, { check });
    expect((await failure("data", () => checked.next(9))).message).toContain(
      "row 5, column 1 of the stream is 5.5; expected values in [0, 5]",
    );
  });

  test("a buffer that is taken away while rows of it are needed", async () => {
    const batch = floats(1, 2, 3);
    const rows = reader(batches(batch));
    expect(await take(rows, 1)).toEqual([1]);
    structuredClone(batch, { transfer: [batch.buffer as ArrayBuffer] });
    await failure("detached", () => rows.next(1));
  });
});

describe("sources are closed", () => {
  /** A source that notes how it is left; after two batches it waits for ever. */
  function watched(waits = false) {
    const noted = { closed: 0, asked: 0 };
    const stream = streamed(() => ({
      [Symbol.asyncIterator]: () => ({
        next: (): Promise<IteratorResult<Batch>> =>
          noted.asked++ < 2 || !waits ? Promise.resolve({ done: false, value: floats(noted.asked) }) : new Promise(() => undefined),
        return: (): Promise<IteratorResult<Batch>> => {
          noted.closed++;
          return new Promise(() => undefined);
        },
      }),
    }));
    return { noted, stream };
  }

  test("when they are not wanted any more", async () => {
    const { noted, stream } = watched();
    const rows = reader(stream);
    expect(await take(rows, 3)).toEqual([1, 2, 3]);
    expect(noted.closed).toBe(0);
    await rows.close();
    await rows.close();
    expect(noted.closed).toBe(1);
    await failure("disposed", () => rows.next(1));
    await reader(stream).close(); // before anything was read
  });

  test("by an abort, also while a batch is awaited", async () => {
    const { noted, stream } = watched(true);
    const controller = new AbortController();
    const rows = reader(stream, { stops: [new AbortController().signal, controller.signal] });
    const reading = rows.next(5);
    setTimeout(() => controller.abort(mine), 20);
    await expect(reading).rejects.toBe(mine);
    expect(noted).toEqual({ closed: 1, asked: 3 });
    await expect(reader(stream, { stops: [AbortSignal.abort(mine)] }).next(1)).rejects.toBe(mine);
  });

  test("by close, while a batch is awaited", async () => {
    const { noted, stream } = watched(true);
    const rows = reader(stream);
    const reading = failure("disposed", () => rows.next(5));
    await new Promise((resolve) => setTimeout(resolve, 10));
    await rows.close();
    await reading;
    expect(noted.closed).toBe(1);
  });

  test("when their rows are refused", async () => {
    let closed = false;
    const stream = streamed(function* () {
      try {
        for (;;) yield Float32Array.of(1, Number.NaN);
      } finally {
        closed = true;
      }
    });
    await failure("data", () => reader(stream).next(1));
    expect(closed).toBe(true);
  });
});

test("long reading leaves the event loop its turns", async () => {
  const batch = new Float32Array(2 << 10);
  const rows = reader(
    streamed(function* () {
      for (;;) yield batch;
    }),
  );
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const begin = performance.now();
  while (performance.now() - begin < 200) await rows.next(1 << 14);
  clearInterval(timer);
  await rows.close();
  expect(turns).toBeGreaterThan(5);
});
