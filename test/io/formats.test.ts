import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { zipSync } from "fflate";
import { describe, expect, test } from "vitest";
import { datasets } from "../../lib/io/index.js";
import { failure, temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();

function file(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

const count = (length: number) => Uint8Array.from({ length }, (_, index) => index);

describe("datasets.idx", () => {
  function idxBytes(dimensions: readonly number[], values: Uint8Array, type = 0x08): Buffer {
    const header = Buffer.alloc(4 + 4 * dimensions.length);
    header.writeUInt32BE((type << 8) | dimensions.length);
    for (const [axis, size] of dimensions.entries()) header.writeUInt32BE(size, 4 + 4 * axis);
    return Buffer.concat([header, values]);
  }
  const imagesBytes = idxBytes([2, 2, 3], count(12));
  const labelsBytes = idxBytes([2], Uint8Array.of(7, 200));

  test("reads images, flat rows and labels, gzipped or not", async () => {
    const labels = file("labels.gz", gzipSync(labelsBytes));
    const grey = await datasets.idx(file("images", imagesBytes), { labels });
    expect(grey).toMatchObject({ rows: 2, shape: [2, 3, 1], data: count(12), labels: Int32Array.of(7, 200) });
    expect(await datasets.idx(file("images.anything", gzipSync(imagesBytes)))).toMatchObject({
      rows: 2,
      data: count(12),
      labels: undefined,
    });
    expect((await datasets.idx(file("rgb", idxBytes([1, 2, 2, 3], count(12))))).shape).toEqual([2, 2, 3]);
    expect((await datasets.idx(file("flat", idxBytes([3, 4], count(12))))).shape).toEqual([4]);
  });

  test("other element types are big-endian and become float32", async () => {
    const shorts = Buffer.alloc(4);
    shorts.writeInt16BE(-2, 0);
    shorts.writeInt16BE(300, 2);
    expect((await datasets.idx(file("shorts", idxBytes([2, 1], shorts, 0x0b)))).data).toEqual(Float32Array.of(-2, 300));
    const double = Buffer.alloc(8);
    double.writeDoubleBE(0.25);
    expect((await datasets.idx(file("double", idxBytes([1, 1], double, 0x0e)))).data).toEqual(Float32Array.of(0.25));
  });

  test("errors name file, byte offset, expected and found", async () => {
    const cases: [name: string, bytes: Uint8Array, message: RegExp][] = [
      ["empty", new Uint8Array(0), /truncated in the magic number at byte 0.*at least 4.*received 0/],
      [
        "magic",
        Buffer.concat([Buffer.from([1, 2]), imagesBytes.subarray(2)]),
        /wrong magic number at byte 0.*0x00000803.*received 0x01020803/,
      ],
      ["type", idxBytes([1, 1], count(1), 0x0a), /wrong magic number at byte 0.*0x00000a02/],
      ["rank", labelsBytes, /wrong rank at byte 3.*received 1.*\n.*labels: path/],
      ["dimensions", imagesBytes.subarray(0, 10), /truncated in the dimensions at byte 10.*at least 16.*received 10/],
      ["values", imagesBytes.subarray(0, -1), /truncated in the values at byte 27.*28 bytes for uint8 \[2, 2, 3\].*received 27/],
      ["count", idxBytes([3, 2, 3], count(12)), /truncated.*34 bytes.*received 28/],
      ["longer", Buffer.concat([imagesBytes, count(1)]), /more bytes behind the values at byte 28.*received 29/],
      ["cut.gz", gzipSync(imagesBytes).subarray(0, -12), /truncated: the gzip data end too early, at byte \d+/],
      ["bad.gz", Buffer.concat([gzipSync(imagesBytes).subarray(0, -8), Buffer.alloc(8)]), /gzip data are corrupt/],
    ];
    for (const [name, bytes, message] of cases) {
      const path = file(name, bytes);
      const error = await failure("file", () => datasets.idx(path));
      expect(error.message, name).toMatch(message);
      expect(error.message, name).toContain(`datasets.idx: ${path}: `);
    }
    const images = file("images", imagesBytes);
    const wrong = await failure("file", () => datasets.idx(images, { labels: file("three", idxBytes([3], count(3))) }));
    expect(wrong.message).toMatch(/three: the number of labels at byte 4.*expected 2, as in .*images.*received 3/);
    expect((await failure("file", () => datasets.idx(images, { labels: images }))).message).toMatch(/wrong rank at byte 3.*labels/);
    await failure("file", () => datasets.idx(join(folder, "missing")));
    await failure("data", () => datasets.idx(file("none", idxBytes([0, 2, 2], count(0)))));
  });
});

/** The NPY format, written here independently of the reader. */
function npyBytes(descr: string, shape: readonly number[], values: Uint8Array, { fortran = false, version = 1 } = {}): Uint8Array {
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': ${descr.startsWith("[") ? descr : `'${descr}'`}, 'fortran_order': ${fortran ? "True" : "False"}, 'shape': (${tuple}), }`;
  const start = version === 1 ? 10 : 12;
  const padded = `${text.padEnd(Math.ceil((start + text.length + 1) / 64) * 64 - start - 1)}\n`;
  const head = Buffer.alloc(start);
  head.write("\x93NUMPY", "latin1");
  head[6] = version;
  if (version === 1) head.writeUInt16LE(padded.length, 8);
  else head.writeUInt32LE(padded.length, 8);
  return Buffer.concat([head, Buffer.from(padded, "latin1"), values]);
}

const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

describe("datasets.npy", () => {
  test("reads every element type as float32, and uint8 as bytes", async () => {
    const cases: [descr: string, values: ArrayBufferView, expected: Float32Array | Uint8Array][] = [
      ["<f4", Float32Array.of(1.5, -2), Float32Array.of(1.5, -2)],
      ["<f8", Float64Array.of(0.1, -2), Float32Array.of(0.1, -2)],
      ["<f2", Uint16Array.of(0x3c00, 0xb800), Float32Array.of(1, -0.5)],
      ["|u1", Uint8Array.of(0, 255), Uint8Array.of(0, 255)],
      ["|i1", Int8Array.of(-1, 127), Float32Array.of(-1, 127)],
      ["<i2", Int16Array.of(-1, 300), Float32Array.of(-1, 300)],
      ["<u2", Uint16Array.of(65535, 300), Float32Array.of(65535, 300)],
      ["<i4", Int32Array.of(-1, 70000), Float32Array.of(-1, 70000)],
      ["<i8", BigInt64Array.of(-1n, 2n ** 40n), Float32Array.of(-1, 2 ** 40)],
      ["|b1", Uint8Array.of(0, 1), Float32Array.of(0, 1)],
      [">f4", Uint8Array.of(0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0), Float32Array.of(1, -2)],
    ];
    for (const [descr, values, expected] of cases) {
      const dataset = await datasets.npy(file("types.npy", npyBytes(descr, [2, 1], bytesOf(values))));
      expect(dataset, descr).toMatchObject({ rows: 2, shape: [1], data: expected });
    }
  });

  test("reads versions 1 to 3, vectors, and Fortran order", async () => {
    const values = bytesOf(Float32Array.of(1, 2, 3));
    for (const version of [1, 2, 3]) {
      expect(await datasets.npy(file("v.npy", npyBytes("<f4", [3], values, { version })))).toMatchObject({ rows: 3, shape: [1] });
    }
    // The array with [i, j, k] = 100 i + 10 j + k, first index fastest.
    const at = (i: number, j: number, k: number) => 100 * i + 10 * j + k;
    const order: number[] = [];
    for (let k = 0; k < 4; k++) for (let j = 0; j < 3; j++) for (let i = 0; i < 2; i++) order.push(at(i, j, k));
    const fortran = await datasets.npy(file("f.npy", npyBytes("<i2", [2, 3, 4], bytesOf(Int16Array.from(order)), { fortran: true })));
    expect(fortran).toMatchObject({ rows: 2, shape: [3, 4] });
    for (let i = 0; i < 2; i++)
      for (let j = 0; j < 3; j++) for (let k = 0; k < 4; k++) expect(fortran.data[i * 12 + j * 4 + k]).toBe(at(i, j, k));
  });

  test("labels come from a second file and are whole numbers", async () => {
    const rows = file("rows.npy", npyBytes("|u1", [2, 2], count(4)));
    const labels = file("labels.npy", npyBytes("<i8", [2], bytesOf(BigInt64Array.of(3n, -1n))));
    expect((await datasets.npy(rows, { labels })).labels).toEqual(Int32Array.of(3, -1));
    const fractions = file("fractions.npy", npyBytes("<f4", [2], bytesOf(Float32Array.of(1, 1.5))));
    expect((await failure("file", () => datasets.npy(rows, { labels: fractions }))).message).toMatch(
      /fractions\.npy: element 1 is not a label.*1\.5/,
    );
    expect(
      (await failure("file", () => datasets.npy(labels, { labels: file("one.npy", npyBytes("|u1", [1], count(1))) }))).message,
    ).toMatch(/one\.npy.*expected 2/);
  });

  test("errors name file, place, expected and found", async () => {
    const whole = npyBytes("<f4", [2, 3], new Uint8Array(24));
    const cases: [name: string, bytes: Uint8Array, message: RegExp][] = [
      ["magic.npy", Buffer.from("PK34567890123"), /wrong magic at byte 0.*934e554d5059.*504b/],
      ["version.npy", Buffer.from("\x93NUMPY\x04\x00\x00\x00", "latin1"), /unknown version at byte 6.*received 4/],
      ["header.npy", whole.subarray(0, 60), /truncated in the header at byte 60.*at least 128.*received 60/],
      ["short.npy", whole.subarray(0, 9), /truncated in the header at byte 9/],
      ["values.npy", whole.subarray(0, -1), /truncated in the values.*152 bytes for float32 \[2, 3\].*received 151/],
      ["longer.npy", Buffer.concat([whole, count(1)]), /more bytes behind.*received 153/],
      ["object.npy", npyBytes("|O", [2], new Uint8Array(16)), /unknown element type.*\|O.*\n.*astype/],
      ["struct.npy", npyBytes("[('a', '<f4')]", [2], new Uint8Array(8)), /unknown element type.*structured/],
      ["text.npy", npyBytes("<U5", [1], new Uint8Array(20)), /unknown element type.*<U5/],
      ["scalar.npy", npyBytes("<f4", [], new Uint8Array(4)), /single number/],
    ];
    for (const [name, bytes, message] of cases) {
      const error = await failure("file", () => datasets.npy(file(name, bytes)));
      expect(error.message, name).toMatch(message);
      expect(error.message).toContain(name);
    }
    await failure("data", () => datasets.npy(file("none.npy", npyBytes("<f4", [0, 3], new Uint8Array(0)))));
  });
});

describe("datasets.npz", () => {
  const members = {
    "x.npy": npyBytes("<f4", [2, 2], bytesOf(Float32Array.of(1, 2, 3, 4))),
    "y.npy": npyBytes("|u1", [2], Uint8Array.of(4, 9)),
  };

  test("reads stored and deflated archives, small ones and large ones", async () => {
    for (const level of [0, 6] as const) {
      const path = file("both.npz", zipSync(members, { level }));
      expect(await datasets.npz(path, { labels: "y" })).toMatchObject({
        data: Float32Array.of(1, 2, 3, 4),
        labels: Int32Array.of(4, 9),
        shape: [2],
      });
      expect((await datasets.npz(path, { key: "y" })).data).toEqual(Uint8Array.of(4, 9));
    }
    const large = Float32Array.from({ length: 300_000 }, (_, index) => index % 1000);
    const path = file("large.npz", zipSync({ "arr_0.npy": npyBytes("<f4", [3000, 100], bytesOf(large)) }, { level: 1 }));
    const dataset = await datasets.npz(path);
    expect([dataset.rows, Buffer.compare(bytesOf(dataset.data), bytesOf(large))]).toEqual([3000, 0]);
  });

  test("names that are not there, and truncated archives, are errors", async () => {
    const bytes = zipSync(members);
    const path = file("ok.npz", bytes);
    expect((await failure("file", () => datasets.npz(path))).message).toMatch(/which array.*x, y/);
    expect((await failure("file", () => datasets.npz(path, { key: "z" }))).message).toMatch(/no array "z".*one of x, y/);
    expect((await failure("file", () => datasets.npz(path, { labels: "z" }))).message).toMatch(/x, y/);
    for (let length = 0; length < bytes.length; length += 13) {
      expect((await failure("file", () => datasets.npz(file("cut.npz", bytes.subarray(0, length))))).message).toMatch(
        /cut\.npz: not a readable NPZ archive/,
      );
    }
    const inner = zipSync({ "x.npy": members["x.npy"].subarray(0, -3) }, { level: 0 });
    expect((await failure("file", () => datasets.npz(file("inner.npz", inner)))).message).toMatch(
      /inner\.npz\[x\]: truncated in the values/,
    );
  });
});

describe("datasets.csv", () => {
  const text = "\ufeffage,colour,height,class\n30,red,1.5,yes\n50,blue,-2e-1,no\n\n40,red,.25,yes\n";

  test("reads numeric columns, labels and categories", async () => {
    const path = file("people.csv", text);
    const dataset = await datasets.csv(path, { label: "class", categorical: ["colour"] });
    expect(dataset).toMatchObject({
      rows: 3,
      shape: [4],
      columns: ["age", "colour=blue", "colour=red", "height"],
      labelNames: ["no", "yes"],
    });
    expect(dataset.data).toEqual(Float32Array.of(30, 0, 1, 1.5, 50, 1, 0, -0.2, 40, 0, 1, 0.25));
    expect(dataset.labels).toEqual(Int32Array.of(1, 0, 1));
    const numbers = await datasets.csv(path, { columns: ["height"], label: "age" });
    expect(numbers).toMatchObject({ columns: ["height"], labels: Int32Array.of(30, 50, 40), labelNames: undefined });
  });

  test("takes other delimiters, quotes and files without a header", async () => {
    expect(await datasets.csv(file("semicolon.csv", '1;"2"\r\n3;4\r\n'), { delimiter: ";", header: false })).toMatchObject({
      columns: ["0", "1"],
      data: Float32Array.of(1, 2, 3, 4),
    });
  });

  test("standardizes by mean and standard deviation of each column, and says by which", async () => {
    const dataset = await datasets.csv(file("std.csv", "a,b,c\n1,5,x\n3,5,y\n"), { standardize: true, categorical: ["c"] });
    expect([...dataset.data]).toEqual([-1, 0, 1, 0, 1, 0, 0, 1]);
    expect(dataset.standardization).toEqual({ mean: Float32Array.of(2, 5, 0, 0), standardDeviation: Float32Array.of(1, 1, 1, 1) });
  });

  test("missing values throw, are filled in, or drop their row", async () => {
    const path = file("missing.csv", "a,b,class\n1,2,x\n,4,y\n5,NA,x\n6,7,\n");
    const error = await failure("file", () => datasets.csv(path, { columns: ["a", "b"] }));
    expect(error.message).toMatch(/missing\.csv: line 3, column "a": missing value.*\n.*"mean"/);
    expect([...(await datasets.csv(path, { columns: ["a", "b"], missing: "mean" })).data]).toEqual([
      1,
      2,
      4,
      4,
      5,
      Math.fround(13 / 3),
      6,
      7,
    ]);
    expect([...(await datasets.csv(path, { columns: ["a", "b"], missing: -1 })).data]).toEqual([1, 2, -1, 4, 5, -1, 6, 7]);
    expect(await datasets.csv(path, { label: "class", missing: "drop" })).toMatchObject({
      rows: 1,
      data: Float32Array.of(1, 2),
      labelNames: ["x"],
    });
    expect((await failure("file", () => datasets.csv(path, { label: "class", missing: 0 }))).message).toMatch(/line 5, column "class"/);
    expect((await datasets.csv(path, { columns: ["class"], categorical: ["class"], missing: 0 })).data).toEqual(
      Float32Array.of(1, 0, 0, 1, 1, 0, 0, 0),
    );
  });

  test("errors name file, line, column and text", async () => {
    const people = file("people.csv", text);
    expect((await failure("file", () => datasets.csv(people))).message).toMatch(
      /people\.csv: line 2, column "colour": not a number.*"red".*\n.*categorical/,
    );
    for (const cell of ["0x10", "Infinity", "1e39", "1,5", "12a", "1 2"]) {
      const path = file("cell.csv", `a\n1\n"${cell}"\n`);
      expect((await failure("file", () => datasets.csv(path))).message, cell).toMatch(/line 3, column "a": not a number/);
    }
    expect((await failure("file", () => datasets.csv(file("ragged.csv", "a,b\n1,2\n3\n")))).message).toMatch(
      /line 3: wrong number of cells; expected 2 for .*; received 1/,
    );
    expect((await failure("file", () => datasets.csv(file("quote.csv", 'a,b\n1,"2\n')))).message).toMatch(/quote\.csv: line \d.*[Qq]uote/);
    expect((await failure("file", () => datasets.csv(file("twice.csv", "a,a\n1,2\n")))).message).toMatch(/two columns are called "a"/);
    expect((await failure("argument", () => datasets.csv(people, { columns: ["weight"] }))).message).toMatch(
      /no column "weight".*"age", "colour"/,
    );
    expect((await failure("argument", () => datasets.csv(people, { columns: ["age"], categorical: ["colour"] }))).message).toMatch(
      /"colour" among/,
    );
    expect((await failure("file", () => datasets.csv(join(folder, "missing.file")))).message).toMatch(/no such file/);
    for (const empty of ["", "a,b\n"]) await failure("data", () => datasets.csv(file("empty.csv", empty)));
  });

  test("a long file is read whole", async () => {
    const lines = Array.from({ length: 20_000 }, (_, row) => `${row},${row / 2}`);
    const dataset = await datasets.csv(file("long.csv", `a,b\n${lines.join("\n")}\n`));
    expect([dataset.rows, dataset.data[2 * 19_999], dataset.data[2 * 19_999 + 1]]).toEqual([20_000, 19_999, 9999.5]);
  });
});

describe("datasets.from", () => {
  test("takes arrays at once and async iterables as a promise", async () => {
    expect(
      datasets.from(
        [
          [1, 2],
          [3, 4],
        ],
        [2],
      ),
    ).toMatchObject({ rows: 2, data: Float32Array.of(1, 2, 3, 4) });
    const stream = (async function* () {
      yield Uint8Array.of(1, 2);
    })();
    expect(await datasets.from(stream, [2])).toMatchObject({ rows: 1, data: Uint8Array.of(1, 2) });
    expect((await failure("shape", () => datasets.from(new Float32Array(3), [2]))).operation).toBe("datasets.from");
  });
});
