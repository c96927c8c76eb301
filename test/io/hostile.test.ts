// Files that are damaged, odd, or made to take memory: each is read, or refused with a VaeError, in little time.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { deflateRawSync, gzipSync } from "node:zlib";
import { zipSync } from "fflate";
import { describe, expect, test } from "vitest";
import { datasets, VaeError } from "../../lib/index.js";
import { failure, temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

/** An NPY file with any header. */
function npyOf(header: string, values: Uint8Array = new Uint8Array(), version = 1): Buffer {
  const head = Buffer.alloc(version === 1 ? 10 : 12);
  head.write("\x93NUMPY", "latin1");
  head[6] = version;
  if (version === 1) head.writeUInt16LE(header.length, 8);
  else head.writeUInt32LE(header.length, 8);
  return Buffer.concat([head, Buffer.from(header, "latin1"), values]);
}

const npyHeader = (descr: string, shape: string, fortran = "False") =>
  `{'descr': ${descr}, 'fortran_order': ${fortran}, 'shape': ${shape}, }\n`;
const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const floats = bytesOf(Float32Array.of(1, 2, 3, 4, 5, 6));

describe("NPY headers", () => {
  const read = (header: string, values: Uint8Array = floats, version = 1) =>
    datasets.npy(file("header.npy", npyOf(header, values, version)));

  test("are read as the Python literals that they are", async () => {
    const headers = [
      npyHeader("'<f4'", "(2, 3)"),
      npyHeader('"<f4"', "(2L, 3L,)"),
      npyHeader("'f4'", "( 2,3 )"),
      "{'shape':(2,3),'descr':'=f4','fortran_order':False}",
      `{"fortran_order": False, "shape": (2, 3), "descr": "|f4"}${" ".repeat(3000)}\n`,
    ];
    for (const header of headers) {
      for (const version of [1, 2, 3]) expect(await read(header, floats, version), header).toMatchObject({ rows: 2, shape: [3] });
    }
    const axes = `(2, ${"1, ".repeat(30)}3)`;
    expect((await read(npyHeader("'<f4'", axes, "True"))).data).toEqual(Float32Array.of(1, 3, 5, 2, 4, 6));
  });

  test.each<[string, string, RegExp]>([
    ["a name of Object's", npyHeader("'<constructor'", "(2, 3)"), /unknown element type.*<constructor/],
    ["another one", npyHeader("'<__proto__'", "(2, 3)"), /unknown element type/],
    ["no descr", "{'fortran_order': False, 'shape': (2, 3)}", /header is not that of an NPY file/],
    ["another key", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'x': 1}", /header is not/],
    ["a key twice", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'shape': (3, 2)}", /header is not/],
    ["no tuple", npyHeader("'<f4'", "(6)"), /header is not/],
    ["a list", npyHeader("'<f4'", "[2, 3]"), /header is not/],
    ["truths", npyHeader("'<f4'", "(True,)"), /the shape is none.*received \[true\]/],
    ["negative sizes", npyHeader("'<f4'", "(-2, -3)"), /the shape is none.*-2/],
    ["fractions", npyHeader("'<f4'", "(2.0, 3)"), /header is not/],
    ["a size beyond 2^53", npyHeader("'<f4'", "(99999999999999999999,)"), /the shape is none/],
    ["a product beyond 2^53", npyHeader("'<f4'", "(4294967296, 4294967296)"), /the shape is too large.*2\^53/],
    ["a nested shape", npyHeader("'<f4'", "((2, 3),)"), /the shape is none/],
    ["many axes", npyHeader("'<f4'", `(6, ${"1, ".repeat(32)})`), /too many axes.*at most 32.*33 axes/],
    ["more behind it", `${npyHeader("'<f4'", "(2, 3)").trim()} + 1`, /header is not/],
    ["a call", npyHeader("'<f4'", "tuple([2, 3])"), /header is not/],
    ["deep brackets", `${"[".repeat(60_000)}`, /header is not/],
    ["a quote without end", `'${"\\".repeat(60_000)}`, /header is not/],
    ["nothing", "", /header is not/],
    ["fields", npyHeader("[('height', '<f4'), ('age', '<i4')]", "(2,)"), /a structured type with the fields \["height","age"\]/],
    ["a subarray", npyHeader("('<f4', (3,))", "(2,)"), /a structured type/],
    ["objects", npyHeader("'|O'", "(2,)"), /Python objects/],
    ["complex numbers", npyHeader("'<c8'", "(2, 3)"), /complex numbers/],
    ["dates", npyHeader("'<M8[ns]'", "(2,)"), /dates/],
    ["long doubles", npyHeader("'<f16'", "(2,)"), /floats of another size/],
  ])("%s", async (_, header, message) => {
    const error = await failure("file", () => read(header));
    expect(error.message).toMatch(message);
    expect(error.message.length).toBeLessThan(600);
  });

  test("that are too long are not parsed", async () => {
    const axes = npyHeader("'<f4'", `(${"1, ".repeat(500_000)})`, "True");
    expect((await failure("file", () => read(axes, floats.subarray(0, 4), 2))).message).toMatch(
      /header is too long; expected at most 65536/,
    );
  });
});

describe("values", () => {
  test("finite ones beyond float32 are named by row and column; NaN and infinities are the model's business", async () => {
    const shape = "(2, 2)";
    const read = (type: string, values: ArrayBufferView, fortran = "False") =>
      datasets.npy(file("values.npy", npyOf(npyHeader(`'${type}'`, shape, fortran), bytesOf(values))));
    const large = await failure("file", () => read("<f8", Float64Array.of(1, 2, -1e300, 4)));
    expect(large.message).toMatch(/values\.npy: row 1, column 0 is out of range; expected values that float32 can hold.*received -1e\+300/);
    expect((await failure("file", () => read("<f8", Float64Array.of(1, 2, 3.5e38, 4), "True"))).message).toMatch(/row 0, column 1/);
    const odd = [Number.NaN, Number.POSITIVE_INFINITY, 3.4e38, 5e-324];
    expect([...(await read("<f8", Float64Array.from(odd))).data]).toEqual([Number.NaN, Number.POSITIVE_INFINITY, Math.fround(3.4e38), 0]);
    const double = Buffer.alloc(8);
    double.writeDoubleBE(1e39);
    const path = file("double", Buffer.concat([Buffer.from([0, 0, 14, 2, 0, 0, 0, 1, 0, 0, 0, 1]), double]));
    expect((await failure("file", () => datasets.idx(path))).message).toMatch(/row 0, column 0.*1e\+39/);
  });

  test("large whole numbers round to float32, but not as labels", async () => {
    const values = bytesOf(BigInt64Array.of(2n ** 24n + 1n, 2n ** 62n));
    const path = file("whole.npy", npyOf(npyHeader("'<i8'", "(2,)"), values));
    expect([...(await datasets.npy(path)).data]).toEqual([2 ** 24, 2 ** 62]);
    expect((await failure("file", () => datasets.npy(path, { labels: path }))).message).toMatch(
      /element 1 is not a label.*4611686018427388000/,
    );
    const exact = file("exact.npy", npyOf(npyHeader("'<i8'", "(2,)"), bytesOf(BigInt64Array.of(2n ** 24n + 1n, -(2n ** 31n)))));
    expect((await datasets.npy(path, { labels: exact })).labels).toEqual(Int32Array.of(2 ** 24 + 1, -(2 ** 31)));
  });
});

describe("limits", () => {
  const megabyte = 2 ** 20;
  const idxHeader = (...dimensions: number[]) => {
    const header = Buffer.alloc(4 + 4 * dimensions.length);
    header.writeUInt32BE(0x0800 + dimensions.length);
    for (const [axis, size] of dimensions.entries()) header.writeUInt32BE(size, 4 + 4 * axis);
    return header;
  };

  test("packed files are unpacked as far as they say, and not beyond maxBytes", async () => {
    const path = file("bomb.gz", gzipSync(Buffer.concat([idxHeader(300 * 1024, 1024), Buffer.alloc(megabyte)])));
    const error = await failure("file", () => datasets.idx(path));
    expect(error.message).toMatch(
      /bomb\.gz: too large: uint8 \[307200, 1024\] as uint8; expected at most 268435456 bytes of memory \(the option maxBytes\)/,
    );
    expect(error.hint).toMatch(/maxBytes: 314572800/);
    const longer = file("longer.gz", gzipSync(Buffer.concat([idxHeader(2, 2), Buffer.alloc(8 * megabyte)])));
    expect((await failure("file", () => datasets.idx(longer))).message).toMatch(/more bytes behind the values at byte 16.*at least 17/);
    const short = file("short.gz", gzipSync(Buffer.concat([idxHeader(2, 2), Buffer.alloc(3)])));
    expect((await failure("file", () => datasets.idx(short))).message).toMatch(/truncated in the values at byte 15/);
    const rows = file("rows.idx", Buffer.concat([idxHeader(100, 1), Buffer.alloc(100)]));
    const labels = file("labels.idx", Buffer.concat([idxHeader(100), Buffer.alloc(100)]));
    expect((await datasets.idx(rows, { labels, maxBytes: 500 })).rows).toBe(100);
    expect((await failure("file", () => datasets.idx(rows, { labels, maxBytes: 499 }))).message).toMatch(/the rows and their labels/);
    await failure("file", () => datasets.idx(rows, { bytes: "raw", maxBytes: 399 }));
    for (const maxBytes of [0, 1.5, "all", Number.POSITIVE_INFINITY])
      await failure("argument", () => datasets.idx(rows, { maxBytes } as object));
  });

  test("an archive's other members stay packed, and its sizes are held to", async () => {
    const array = npyOf(npyHeader("'|u1'", "(2, 2)"), Uint8Array.of(9, 2, 3, 4));
    const bomb = npyOf(npyHeader("'|u1'", "(400, 1048576)"), new Uint8Array(2 * megabyte));
    const path = file("other.npz", zipSync({ "x.npy": array, "bomb.npy": bomb }));
    expect((await datasets.npz(path, { key: "x" })).data).toEqual(Uint8Array.of(9, 2, 3, 4));
    expect((await failure("file", () => datasets.npz(path, { key: "bomb" }))).message).toMatch(/\[bomb\]: too large/);
  });
});

describe("NPZ archives", () => {
  const array = npyOf(npyHeader("'<f4'", "(2, 3)"), floats);

  test("names of Object's properties are names", async () => {
    const path = file("names.npz", zipSync({ "x.npy": array, "y.npy": array }));
    for (const key of ["constructor", "__proto__", "toString", ""]) {
      expect((await failure("file", () => datasets.npz(path, { key }))).message).toMatch(/no array/);
      await failure("file", () => datasets.npz(path, { key: "x", labels: key }));
    }
    const odd = file("odd.npz", zipSync({ "constructor.npy": array, "../x.npy": array }));
    expect((await datasets.npz(odd, { key: "constructor" })).rows).toBe(2);
    expect((await datasets.npz(odd, { key: "../x" })).rows).toBe(2);
  });

  /** A member with sizes and places that the test chooses. */
  function archive({
    flags = 0,
    method = 8,
    checksum = 0,
    size = array.length,
    name = "x.npy",
    zip64 = false,
    prefix = 0,
    times = 1,
  } = {}): Buffer {
    const packed = method === 8 ? deflateRawSync(array) : array;
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50);
    local.writeUInt16LE(name.length, 26);
    const extra = Buffer.alloc(zip64 ? 28 : 0);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50);
    entry.writeUInt16LE(flags, 8);
    entry.writeUInt16LE(method, 10);
    entry.writeUInt32LE(checksum, 16);
    entry.writeUInt16LE(name.length, 28);
    entry.writeUInt16LE(extra.length, 30);
    if (zip64) {
      for (const place of [20, 24, 42]) entry.writeUInt32LE(0xffffffff, place);
      extra.writeUInt16LE(1, 0);
      extra.writeUInt16LE(24, 2);
      for (const [index, value] of [size, packed.length, 0].entries()) extra.writeBigUInt64LE(BigInt(value), 4 + 8 * index);
    } else {
      entry.writeUInt32LE(packed.length, 20);
      entry.writeUInt32LE(size, 24);
    }
    const members = Buffer.concat([local, Buffer.from(name), packed]);
    const directory = Buffer.concat(Array.from({ length: times }, () => [entry, Buffer.from(name), extra]).flat());
    const records: Buffer[] = [];
    if (zip64) {
      const record = Buffer.alloc(76);
      record.writeUInt32LE(0x06064b50);
      for (const [place, value] of [
        [32, times],
        [40, directory.length],
        [48, members.length],
      ] as const)
        record.writeBigUInt64LE(BigInt(value), place);
      record.writeUInt32LE(0x07064b50, 56);
      record.writeBigUInt64LE(BigInt(members.length + directory.length), 64);
      records.push(record);
    }
    const end = Buffer.alloc(22);
    end.writeUInt32LE(0x06054b50);
    end.writeUInt16LE(zip64 ? 0xffff : times, 10);
    end.writeUInt32LE(zip64 ? 0xffffffff : directory.length, 12);
    end.writeUInt32LE(zip64 ? 0xffffffff : members.length, 16);
    return Buffer.concat([Buffer.alloc(prefix, "#"), members, directory, ...records, end]);
  }
  const whole = zipSync({ "x.npy": array });
  const checksum = Buffer.from(whole).readUInt32LE(14);

  test("of ZIP64, stored, and with a data descriptor are read", async () => {
    for (const options of [{}, { zip64: true }, { method: 0 }, { zip64: true, method: 0 }, { flags: 8 }, { flags: 8, zip64: true }]) {
      expect((await datasets.npz(file("good.npz", archive({ checksum, ...options })))).data).toEqual(Float32Array.of(1, 2, 3, 4, 5, 6));
    }
  });

  test.each<[string, Parameters<typeof archive>[0], RegExp]>([
    ["encrypted", { flags: 1 }, /x\]: the member is encrypted/],
    ["packed otherwise", { method: 12 }, /packed in an unknown way.*method 12/],
    ["a wrong checksum", { checksum: checksum ^ 1 }, /the member is corrupt/],
    ["a wrong checksum, stored", { checksum: (checksum ^ 1) >>> 0, method: 0 }, /the member is corrupt/],
    ["too small a size", { size: array.length - 1 }, /the member is corrupt/],
    ["too large a size", { size: array.length + 1 }, /the member is corrupt/],
    ["a name twice", { times: 2 }, /two members of one name.*x\.npy/],
    ["strongly encrypted", { flags: 0x41 }, /not a readable NPZ archive.*encryption/],
    ["bytes before the archive", { prefix: 777 }, /not a readable NPZ archive/],
    ["bytes before a ZIP64 archive", { prefix: 5, zip64: true }, /not a readable NPZ archive/],
    ["a stored member of two sizes", { method: 0, size: array.length + 1 }, /not a readable NPZ archive.*mismatch/],
  ])("%s", async (_, options, message) => {
    const bytes = archive({ checksum, ...options, ...(options?.checksum === undefined ? {} : { checksum: options.checksum >>> 0 }) });
    expect((await failure("file", () => datasets.npz(file("bad.npz", bytes)))).message).toMatch(message);
  });
});

/** More than the suite takes time for: `NODE_VAE_DAMAGED_FILES=100000 npx vitest run test/io/hostile.test.ts`. */
const DAMAGED_FILES = Number(process.env.NODE_VAE_DAMAGED_FILES ?? 1000);

test("damaged files are read or refused", { timeout: 10_000 + 50 * DAMAGED_FILES }, async () => {
  let state = 12_345;
  const random = (below: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
  const array = npyOf(npyHeader("'<f4'", "(2, 3)"), floats);
  const idxFile = Buffer.concat([
    Buffer.from([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3]),
    Buffer.from([7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
  ]);
  const seeds: [(path: string) => Promise<unknown>, Uint8Array][] = [
    [datasets.npy, array],
    [datasets.npy, npyOf(npyHeader("'>f8'", "(2, 3)", "True"), new Uint8Array(48), 2)],
    [
      (path) => datasets.npz(path, { key: "x", labels: "y" }),
      zipSync({ "x.npy": array, "y.npy": npyOf(npyHeader("'|u1'", "(2,)"), Uint8Array.of(0, 1)) }),
    ],
    [datasets.npz, zipSync({ "x.npy": array }, { level: 0 })],
    [datasets.idx, idxFile],
    [datasets.idx, gzipSync(idxFile)],
  ];
  const interesting = [0, 1, 0x7f, 0x80, 0xff, 0x27, 0x28, 0x2c, 0x30];
  const path = join(folder, "damaged");
  for (let round = 0; round < DAMAGED_FILES; round++) {
    const [read, seed] = seeds[round % seeds.length]!;
    let bytes = Buffer.from(seed);
    for (let change = random(4); change >= 0; change--) {
      const at = random(bytes.length || 1);
      const kind = random(5);
      if (kind === 0) bytes = bytes.subarray(0, at);
      else if (kind === 1) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(random(bytes.length || 1))]);
      else if (kind === 2 && at + 4 <= bytes.length) bytes.writeUInt32LE(random(2) === 0 ? 0xffffffff : random(2 ** 32), at);
      else if (at < bytes.length) bytes[at] = kind === 3 ? interesting[random(interesting.length)]! : random(256);
    }
    writeFileSync(path, bytes);
    try {
      await read(path);
    } catch (error) {
      if (!(error instanceof VaeError)) throw new Error(`${bytes.toString("hex")} gave ${String(error)}`, { cause: error });
      expect(error.message.length).toBeLessThan(2048);
      expect(["file", "data"]).toContain(error.code);
    }
  }
});
