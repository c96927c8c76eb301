// Rows that arrive: endless, slow, cut anywhere, failing. A source is read as far as it is needed, and left when somebody says stop.
import { createReadStream, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { type DataSource, datasets, dense, gaussian, type Vae, type VaeOptions, vae } from "../../lib/index.js";
import { clusteredRows } from "../support/data.js";
import { failure, temporaryFolder } from "../support/io.js";

const SIZE = 8;
const rows = clusteredRows(48, SIZE);
const options: VaeOptions = { input: [SIZE], latent: 2, encoder: [dense(8)], decoder: [dense(8)], likelihood: gaussian(), seed: 1 };
const fresh = (): Vae => vae({ ...options, device: "cpu", threads: 1 });
const mine = new Error("mine");
const folder = temporaryFolder();

/** A source that is asked for batches, and notes what happens to it. */
class Watched {
  batches = 0;
  closed = false;

  /** Without an end, and without a turn of the event loop. */
  *endless(batch = rows): Generator<Float32Array> {
    try {
      for (;;) {
        this.batches++;
        yield batch;
      }
    } finally {
      this.closed = true;
    }
  }

  async *endlessAsync(): AsyncGenerator<Float32Array> {
    yield* this.endless();
  }

  /** Some batches, and then nothing for ever; `return` is heard at once, as with sources that know how to let go. */
  silent(batch = rows): AsyncIterable<Float32Array> {
    const iterator = {
      next: (): Promise<IteratorResult<Float32Array>> =>
        this.batches++ < 2 ? Promise.resolve({ value: batch, done: false }) : new Promise(() => undefined),
      return: () => {
        this.closed = true;
        return new Promise<IteratorResult<Float32Array>>(() => undefined); // and never says that it is done
      },
    };
    return { [Symbol.asyncIterator]: () => iterator };
  }
}

/** Rejects after two seconds: what is tested must end by itself. */
function soon<T>(promise: Promise<T>): Promise<T> {
  const late = new Promise<never>((_, reject) => setTimeout(reject, 2000, new Error("nothing happened for two seconds")).unref());
  return Promise.race([promise, late]);
}

async function stillWorks(one: Vae): Promise<void> {
  const { step } = one.training;
  await one.fit(rows, { steps: 1, batchSize: 8 });
  expect(one.training.step).toBe(step + 1);
}

const verbs: [string, (one: Vae, source: AsyncIterable<Float32Array>) => Promise<unknown>][] = [
  ["fit", (one, source) => one.fit(source, { steps: 100, batchSize: 64 })],
  ["fit validation", (one, source) => one.fit(rows, { steps: 1, validation: source })],
  [
    "train",
    async (one, source) => {
      for await (const _ of one.train(source, { epochs: 1 })) expect.unreachable();
    },
  ],
  ["encode", (one, source) => one.encode(source)],
  ["reconstruct", (one, source) => one.reconstruct(source)],
  ["score", (one, source) => one.score(source)],
  ["evaluate", (one, source) => one.evaluate(source)],
];

describe("a source without an end", () => {
  test.each(["endless", "endlessAsync"] as const)("with steps it is read as far as they need: %s", async (kind) => {
    await using one = fresh();
    const source = new Watched();
    const { steps } = await soon(one.fit(source[kind](), { steps: 5, batchSize: 20 }));
    expect(steps).toBe(5);
    expect(source).toMatchObject({ batches: 3, closed: true });
  });

  test("train with steps reads so far too, and not before the loop is entered", async () => {
    await using one = fresh();
    const source = new Watched();
    const training = one.train(source.endless(), { steps: 6, batchSize: 16, every: 3 });
    expect(source.batches).toBe(0);
    const seen = [];
    for await (const { step } of training) seen.push(step);
    expect(seen).toEqual([3, 6]);
    expect(source).toMatchObject({ batches: 2, closed: true });
  });

  test("the rows that were read are trained on as an array of them would be", async () => {
    await using one = fresh();
    await using other = fresh();
    const a = await one.fit(new Watched().endless(), { steps: 6, batchSize: 16 });
    const b = await other.fit(Float32Array.from([...rows, ...rows]), { steps: 6, batchSize: 16 });
    expect(a.epochs.map(({ metrics }) => metrics)).toEqual(b.epochs.map(({ metrics }) => metrics));
  });

  test.each(["endless", "endlessAsync"] as const)("otherwise it is refused at maxRows and closed: %s", async (kind) => {
    await using one = fresh();
    const uses: ((source: DataSource) => unknown)[] = [
      (source) => one.fit(source, { epochs: 2, maxRows: 1000 }),
      (source) => one.fit(source, { steps: 1000, maxRows: 1000 }),
      (source) => one.fit(rows, { validation: source, maxRows: 1000 }),
      (source) => one.train(source, { maxRows: 1000 }).next(),
      (source) => datasets.from(source, [SIZE], { maxRows: 1000 }),
    ];
    for (const use of uses) {
      const source = new Watched();
      const error = await failure("data", () => use(source[kind]()));
      expect(error.message).toMatch(/not ended after 1000 rows; expected at most 1000 rows \(maxRows\).*\n.*steps × batchSize/);
      expect(source).toMatchObject({ batches: 21, closed: true });
    }
    expect((await Promise.resolve(datasets.from([rows].values(), [SIZE], { maxRows: 48 }))).rows).toBe(48);
    await stillWorks(one);
  });

  test("an abort and a disposal are heard while it is read, whether it waits or not", async () => {
    for (const kind of ["endless", "endlessAsync"] as const) {
      await using one = fresh();
      const [source, controller] = [new Watched(), new AbortController()];
      setTimeout(() => controller.abort(mine), 20);
      await expect(one.fit(source[kind](), { epochs: 1, maxRows: 2 ** 28, signal: controller.signal })).rejects.toBe(mine);
      expect(source.closed).toBe(true);
      await stillWorks(one);
      const other = new Watched();
      const scoring = failure("disposed", () => one.score(other[kind]()));
      setTimeout(() => one.dispose(), 20);
      await scoring;
      expect(other.closed).toBe(true);
    }
  });

  test("one row at each end is all that interpolate looks for", async () => {
    await using one = fresh();
    const source = new Watched();
    await failure("shape", () => one.interpolate(rows.slice(0, SIZE), source.endless()));
    expect(source).toMatchObject({ batches: 1, closed: true });
    async function* failing(): AsyncGenerator<Float32Array> {
      yield rows.slice(0, SIZE);
      throw mine;
    }
    await expect(one.interpolate(rows.slice(0, SIZE), failing())).rejects.toBe(mine);
    const silent = new Watched();
    setTimeout(() => one.dispose(), 20);
    await failure("disposed", () => soon(one.interpolate(rows.slice(0, SIZE), silent.silent(new Float32Array(0)))));
    expect(silent.closed).toBe(true);
  });
});

describe("a source that falls silent", () => {
  test.each(verbs)("%s rejects when the model is disposed of, and closes it", async (_, verb) => {
    const one = fresh();
    const source = new Watched();
    const end = failure("disposed", () => soon(verb(one, source.silent())));
    setTimeout(() => one.dispose(), 20);
    await end;
    expect(source.closed).toBe(true);
  });

  test.each([
    ["fit", (one, source, signal) => one.fit(source, { steps: 100, signal })],
    ["fit validation", (one, source, signal) => one.fit(rows, { steps: 1, validation: source, signal })],
    ["train", (one, source, signal) => one.train(source, { steps: 100, signal }).next()],
    ["evaluate", (one, source, signal) => one.evaluate(source, { signal })],
    ["datasets.from", (_, source, signal) => Promise.resolve(datasets.from(source, [SIZE], { signal }))],
  ] satisfies [string, (one: Vae, source: AsyncIterable<Float32Array>, signal: AbortSignal) => Promise<unknown>][])(
    "%s rejects with the reason of an abort, before and meanwhile, and closes it",
    async (_, verb) => {
      await using one = fresh();
      for (const delay of [undefined, 0, 20]) {
        const [source, controller] = [new Watched(), new AbortController()];
        if (delay === undefined) controller.abort(mine);
        else setTimeout(() => controller.abort(mine), delay);
        await expect(soon<unknown>(verb(one, source.silent(), controller.signal))).rejects.toBe(mine);
        if (delay !== undefined) expect(source.closed).toBe(true);
      }
      await stillWorks(one);
    },
  );

  test("a stream of Node is destroyed and a web stream cancelled, although a chunk is awaited", async () => {
    await using one = fresh();
    for (const make of [
      () => {
        const stream = new Readable({ read: () => undefined });
        return { stream, closed: new Promise((resolve) => stream.once("close", resolve)) };
      },
      () => {
        const { promise, resolve } = withResolvers();
        return { stream: new ReadableStream<Uint8Array>({ cancel: resolve }), closed: promise };
      },
    ]) {
      const { stream, closed } = make();
      const controller = new AbortController();
      setTimeout(() => controller.abort(mine), 10);
      await expect(soon(one.fit(stream, { signal: controller.signal }))).rejects.toBe(mine);
      await soon(closed);
    }
  });

  test("where the other source fails, it is closed and nobody waits for it", async () => {
    await using one = fresh();
    const wrong = new Float32Array(5);
    for (const [data, validation, watched] of [
      ((source) => [source.silent(), wrong, source])(new Watched()),
      ((source) => [wrong, source.silent(), source])(new Watched()),
    ] as [DataSource, DataSource, Watched][]) {
      await failure("shape", () => soon(one.fit(data, { steps: 1000, validation })));
      expect(watched.closed).toBe(true);
    }
    const source = new Watched();
    await failure("shape", () => soon(one.interpolate(source.silent(), wrong)));
    expect(source.closed).toBe(true);
    await stillWorks(one);
  });
});

describe("a source that fails", () => {
  test.each(verbs)("%s passes on what it throws, as it is", async (_, verb) => {
    await using one = fresh();
    async function* failing(): AsyncGenerator<Float32Array> {
      yield rows;
      throw mine;
    }
    await expect(verb(one, failing())).rejects.toBe(mine);
    await stillWorks(one);
    const failingAtOnce = {
      [Symbol.asyncIterator]: () => {
        throw mine;
      },
    };
    await expect(verb(one, failingAtOnce)).rejects.toBe(mine);
    await expect(verb(one, createReadStream(join(folder, "none.bin")))).rejects.toMatchObject({ code: "ENOENT" });
    await stillWorks(one);
  });

  test("is closed when a batch cannot be used", async () => {
    await using one = fresh();
    const source = new Watched();
    await failure("shape", () => one.fit(source.endless(new Float32Array(5)), { steps: 10 }));
    expect(source).toMatchObject({ batches: 1, closed: true });
    await stillWorks(one);
  });

  test("iterators that do not do as iterators do are refused in words", async () => {
    for (const iterator of [undefined, {}, { next: () => 3 }, { next: () => Promise.resolve(null) }]) {
      const source = { [Symbol.asyncIterator]: () => iterator } as unknown as DataSource;
      await failure("argument", () => datasets.from(source, [SIZE]));
    }
    expect((await failure("argument", () => datasets.from(Readable.from(["text"]), [SIZE]))).hint).toMatch(/without an encoding/);
    expect((await failure("argument", () => datasets.from(Readable.from([1, 2]), [SIZE]))).hint).toMatch(/Float32Array\.from/);
  });
});

describe("a source that is used twice", () => {
  test("is refused while it is being read, since both would get some of the rows", async () => {
    await using one = fresh();
    const generator = new Watched().endlessAsync();
    const twice = failure("argument", () => one.fit(generator, { steps: 1e4, batchSize: 4096, validation: generator }));
    expect((await twice).message).toMatch(/being read already/);
    const stream = new Readable({ read: () => undefined });
    const first = datasets.from(stream, [SIZE]) as Promise<unknown>;
    await failure("argument", () => datasets.from(stream, [SIZE]));
    stream.push(new Uint8Array(SIZE));
    stream.push(null);
    expect(await first).toMatchObject({ rows: 1 });
    const web = new ReadableStream<Uint8Array>();
    web.getReader();
    await failure("argument", () => datasets.from(web, [SIZE]));
  });

  test("says why there is nothing left", async () => {
    await using one = fresh();
    const batches = [rows].values();
    const error = await failure("data", () => one.fit(batches, { validation: batches }));
    expect(error.hint).toMatch(/each row once/);
  });
});

test("a buffer that a source fills again and again is copied as it comes", async () => {
  const buffer = new Float32Array(2);
  function* filling(): Generator<Float32Array> {
    for (let row = 0; row < 3; row++) yield buffer.fill(row);
  }
  async function* fillingLater(): AsyncGenerator<Float32Array> {
    yield* filling();
  }
  for (const source of [filling(), fillingLater()]) expect([...(await datasets.from(source, [2])).data]).toEqual([0, 0, 1, 1, 2, 2]);
});

test("many sources at a time are no leak of listeners", async () => {
  await using one = fresh();
  const warnings: unknown[] = [];
  const note = (warning: unknown) => warnings.push(warning);
  process.on("warning", note);
  await Promise.all(Array.from({ length: 20 }, () => one.score(Readable.from([rows]))));
  await new Promise((resolve) => setTimeout(resolve, 10));
  process.off("warning", note);
  expect(warnings).toEqual([]);
});

describe("a stream of bytes", () => {
  const bytes = Uint8Array.from({ length: 100 * SIZE }, (_, index) => index % 251);
  const chunksOf = (size: number): Buffer[] =>
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, chunk) => Buffer.from(bytes.slice(chunk * size, (chunk + 1) * size)));
  const webStream = (chunks: readonly Uint8Array[]): ReadableStream<Uint8Array> =>
    new ReadableStream({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(chunk);
        controller.close();
      },
    });
  async function* generated(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
    yield* chunks;
  }

  test.each([1, 3, 7, 8, 9, 100, 801])("may be cut anywhere: chunks of %i bytes", async (size) => {
    const chunks = chunksOf(size);
    for (const source of [Readable.from(chunks), webStream(chunks), generated(chunks)]) {
      expect(await datasets.from(source, [2, 4])).toMatchObject({ rows: 100, shape: [2, 4], data: bytes });
    }
  });

  test("of a file is what the same bytes in memory are, to every verb", async () => {
    const path = join(folder, "rows.bin");
    writeFileSync(path, bytes);
    const file = () => createReadStream(path, { highWaterMark: 13 });
    await using one = fresh();
    expect(await one.score(file())).toEqual(await one.score(bytes));
    expect(await one.encode(file())).toEqual(await one.encode(bytes));
    const { epochs } = await one.fit(file(), { epochs: 2, batchSize: 10, validation: file() });
    expect(epochs.at(-1)?.validation?.rows).toBe(100);
    const { steps } = await one.fit(file(), { steps: 2, batchSize: 3 });
    expect(steps).toBe(2);
  });

  test("that ends inside a row is refused, and so are other batches that do", async () => {
    const chunks = chunksOf(100);
    const short = [...chunks.slice(0, -1), chunks.at(-1)!.subarray(0, 95)];
    const error = await failure("shape", () => datasets.from(Readable.from(short), [SIZE]));
    expect(error.message).toMatch(/end stop inside a row; expected a multiple of 8 bytes.*received 795 bytes \(99 rows and 3 bytes\)/);
    const mixed = [Uint8Array.of(1, 2), [Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)]];
    await failure("shape", () => datasets.from(Readable.from(mixed), [SIZE]));
    await failure("shape", () => datasets.from(generated([new Float32Array(5) as never, new Float32Array(3) as never]), [SIZE]));
    expect((await failure("shape", () => datasets.from(chunks.values(), [SIZE]))).hint).toMatch(/Readable\.from\(chunks\)/);
  });
});

function withResolvers(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
