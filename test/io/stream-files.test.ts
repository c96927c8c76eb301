// Rows that are read from files in pieces: the same as the loaders give, and files that are not what they should be.
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { sizeOf } from "../../lib/graph/tensor.js";
import { datasets, type RowStream } from "../../lib/index.js";
import { RowReader } from "../../lib/io/row-reader.js";
import { failure, temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();
let files = 0;

function file(...parts: readonly (Uint8Array | string)[]): string {
  const path = join(folder, `file-${files++}`);
  writeFileSync(path, Buffer.concat(parts.map((part) => Buffer.from(part as Uint8Array))));
  return path;
}

function npy(descr: string, shape: readonly number[], values: Uint8Array, order = "False"): string {
  const header = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${shape.join(", ")},), }`.padEnd(117);
  return file(Buffer.from(`\x93NUMPY\x01\x00${String.fromCharCode(118)}\x00${header}\n`, "latin1"), values);
}

function idx(type: number, shape: readonly number[], values: Uint8Array): string {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.set([0, 0, type, shape.length]);
  for (const [axis, size] of shape.entries()) header.writeUInt32BE(size, 4 + 4 * axis);
  return file(header, values);
}

const bytes = (values: ArrayBufferView): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
const wave = (length: number): Float32Array => Float32Array.from({ length }, (_, i) => Math.sin(i));
const count = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7) % 256);

async function firstRows(stream: RowStream, rows: number): Promise<Float32Array | Uint8Array> {
  const reader = new RowReader(stream, stream.shape!, "fit");
  try {
    return (await reader.next(rows)).data.slice();
  } finally {
    await reader.close();
  }
}

/** A stream's epoch and a half, which are to be the rows of a loader. */
async function expectRows(stream: RowStream, { data, rows, shape }: Awaited<ReturnType<typeof datasets.npy>>): Promise<void> {
  expect({ rows: stream.rows, shape: stream.shape }).toEqual({ rows, shape });
  const wanted = rows + Math.ceil(rows / 2);
  const size = sizeOf(shape);
  const seen = await firstRows(stream, wanted);
  expect(seen.constructor.name).toBe(data.constructor.name);
  expect(Buffer.compare(bytes(seen.slice(0, rows * size)), bytes(data))).toBe(0);
  expect(Buffer.compare(bytes(seen.slice(rows * size)), bytes(data.slice(0, (wanted - rows) * size)))).toBe(0);
}

describe("the rows that the loaders give", () => {
  test("NPY: element types, byte orders, more than one piece", async () => {
    const doubles = Float64Array.from({ length: 12 }, (_, i) => i / 3);
    const big = Buffer.alloc(24);
    for (let i = 0; i < 6; i++) big.writeFloatBE(i + 0.5, 4 * i);
    const paths = [
      npy("<f4", [5000, 10, 12], bytes(wave(600_000))),
      npy("<f4", [2, 400_000], bytes(wave(800_000))), // rows longer than a piece
      npy("|u1", [7, 3], count(21)),
      npy("<f8", [3, 4], bytes(doubles)),
      npy(">f4", [6], big),
      npy("<i2", [2, 3], bytes(Int16Array.of(-1, 2, -3, 4, -5, 6))),
      npy("<f4", [4, 1], bytes(wave(4)), "True"), // one axis of more than one: the order says nothing
    ];
    for (const path of paths) await expectRows(await datasets.stream(path), await datasets.npy(path));
  });

  test("IDX: images, flat rows, other element types", async () => {
    const paths = [idx(8, [50, 4, 5], count(1000)), idx(8, [30, 6], count(180)), idx(8, [3, 2, 2, 3], count(36))];
    paths.push(idx(11, [2, 2], Uint8Array.of(0, 1, 255, 255, 1, 0, 0, 2)));
    for (const path of paths) await expectRows(await datasets.stream(pathToFileURL(path)), await datasets.idx(path));
  });

  test("files without a header, several one after the other", async () => {
    const [values, small] = [wave(40_000), count(24)];
    const floats = await datasets.stream([file(bytes(values.subarray(0, 30_000))), file(bytes(values.subarray(30_000)))], {
      shape: [10, 10],
      dtype: "float32",
    });
    expect(floats.name).toMatch(/file-\d+ and 1 more$/);
    await expectRows(floats, datasets.from(values, [10, 10]));
    await expectRows(await datasets.stream([file(small)], { shape: [2, 3], dtype: "uint8" }), datasets.from(small, [2, 3]));
  });

  test("in an order that is mixed, every row once", async () => {
    const path = npy("<f4", [100, 1], bytes(Float32Array.from({ length: 100 }, (_, i) => i)));
    const seen = await firstRows(await datasets.stream(path, { shuffleBuffer: 30 }), 100);
    expect([...seen]).not.toEqual([...seen].sort((a, b) => a - b));
    expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });
});

test("a large file takes no more memory than a small one", async () => {
  const path = file("");
  truncateSync(path, 2 ** 29); // zeros that take no room on the disk
  const stream = await datasets.stream(path, { shape: [1024], dtype: "float32", shuffleBuffer: 1000 });
  expect(stream.rows).toBe(2 ** 17);
  const reader = new RowReader(stream, [1024], "fit");
  await reader.next(1000);
  const before = process.memoryUsage().rss;
  let most = before;
  for (let row = 1000; row < 2 ** 17 + 5000; row += 1000) {
    await reader.next(1000);
    most = Math.max(most, process.memoryUsage().rss);
  }
  await reader.close();
  expect(most - before).toBeLessThan(50e6);
});

describe("what is refused", () => {
  test("arguments and options", async () => {
    const path = npy("|u1", [7, 3], count(21));
    await failure("argument", () => datasets.stream([]));
    for (const paths of [undefined, 3, [path, 3], ""]) await failure("argument", () => datasets.stream(paths as never));
    const wrong = [{ shapes: [3] }, { shape: [3] }, { dtype: "uint8" }, { shape: [3], dtype: "int8" }, { shuffleBuffer: 1.5 }, 3, null];
    for (const options of wrong) await failure("argument", () => datasets.stream(path, options as never));
    await failure("shape", () => datasets.stream(path, { shape: [0], dtype: "uint8" }));
    await failure("argument", () => datasets.stream(path, {}, ...([1] as never[])));
  });

  test("files that are not what they should be", async () => {
    const none = await failure("file", () => datasets.stream(join(folder, "none")));
    expect(none.message).toMatch(/^datasets\.stream: .*none: no such file or folder/);
    await failure("file", () => datasets.stream(folder));
    const cases: [string, string, RegExp][] = [
      ["file", npy("<f4", [3, 2], bytes(wave(5))), /truncated; expected 152 bytes for float32 \[3, 2\]; received 148 bytes/],
      ["file", npy("<f4", [3, 2], bytes(wave(7))), /more bytes behind the values/],
      ["file", npy("<f4", [3, 2], bytes(wave(6)), "True"), /Fortran order.*\n.*ascontiguousarray/],
      ["file", npy("<c8", [3, 2], bytes(wave(12))), /unknown element type/],
      ["file", file(Buffer.from("\x93NUM", "latin1")), /not an NPY file/],
      ["file", idx(8, [3], count(3)), /wrong rank/],
      ["file", idx(8, [3, 2], count(5)), /truncated/],
      ["file", file(gzipSync(count(100))), /is packed, and cannot be streamed\n.*gunzip/],
      ["file", file(Uint8Array.of(5, 6, 7, 8)), /neither an NPY nor an IDX file\n.*shape/],
      ["file", file(""), /neither an NPY nor an IDX file/],
      ["data", npy("<f4", [0, 2], new Uint8Array()), /is empty; expected at least one row/],
    ];
    for (const [code, path, message] of cases) {
      expect((await failure(code as "file", () => datasets.stream(path))).message).toMatch(message);
    }
    const raw = { shape: [2], dtype: "float32" } as const;
    expect((await failure("file", () => datasets.stream(file(count(12)), raw))).message).toContain("a multiple of 8 bytes");
    await failure("data", () => datasets.stream(file(""), raw));
  });

  test("files that differ", async () => {
    const first = npy("|u1", [7, 3], count(21));
    await failure("shape", () => datasets.stream([first, npy("|u1", [7, 4], count(28))]));
    await failure("dtype", () => datasets.stream([first, npy("<f4", [1, 3], bytes(wave(3)))]));
  });

  test("what is found while it is read", async () => {
    const large = npy("<f8", [2, 2], bytes(Float64Array.of(1, 2, 3, 1e300)));
    const error = await failure("file", async () => firstRows(await datasets.stream(large), 2));
    expect(error.message).toMatch(/row 1, column 1 is out of range; expected .*; received 1e\+300/);
    const values = wave(600_000);
    values[599_999] = Number.NaN;
    const nan = await datasets.stream(npy("<f4", [6000, 100], bytes(values)));
    const found = await failure("data", () => firstRows(nan, 6000));
    expect(found.message).toMatch(/^fit: row 5999, column 99 of .*file-\d+ is NaN/);
    const shrinking = npy("<f4", [6000, 100], bytes(wave(600_000)));
    const stream = await datasets.stream(shrinking);
    truncateSync(shrinking, 2_000_000);
    expect((await failure("file", () => firstRows(stream, 6000))).message).toContain("the file shrank while it was read");
  });
});
