import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadCheckpoint, readSafetensors, type StoredTensor, saveCheckpoint, writeSafetensors } from "../../lib/io/index.js";
import { failure, temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);

const tensors = new Map<string, StoredTensor>([
  ["pixels", { dtype: "uint8", shape: [3], data: Uint8Array.of(1, 2, 255) }],
  ["encoder/0/weights", { dtype: "float32", shape: [2, 3], data: Float32Array.of(1, -2, 3.5, Number.NaN, -0, 1e-40) }],
  ["step", { dtype: "int32", shape: [], data: Int32Array.of(-7) }],
  ["empty", { dtype: "float32", shape: [0, 4], data: new Float32Array(0) }],
]);

function raw(name: string, bytes: Uint8Array): string {
  writeFileSync(at(name), bytes);
  return at(name);
}

/** A safetensors file with any header, right or wrong. */
function forge(name: string, header: unknown, values: Uint8Array = new Uint8Array(0)): string {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return raw(name, Buffer.concat([length, json, values]));
}

const f32 = (begin: number, end: number, shape = [(end - begin) / 4]) => ({ dtype: "F32", shape, data_offsets: [begin, end] });

describe("safetensors", () => {
  test("a round trip keeps every bit", async () => {
    await writeSafetensors(at("a.safetensors"), { tensors, metadata: { made: "by a test" } });
    const file = await readSafetensors(at("a.safetensors"));
    expect(file.metadata).toEqual({ made: "by a test" });
    expect([...file.tensors.keys()].sort()).toEqual([...tensors.keys()].sort());
    for (const [name, tensor] of tensors) expect(file.tensors.get(name)).toEqual(tensor);
    await writeSafetensors(at("b.safetensors"), { tensors, metadata: { made: "by a test" } });
    expect(readFileSync(at("b.safetensors"))).toEqual(readFileSync(at("a.safetensors")));
  });

  test("the layout is that of the format: little-endian, aligned, padded with spaces, without holes", async () => {
    await writeSafetensors(at("layout.safetensors"), {
      tensors: new Map([["x", { dtype: "float32", shape: [1], data: Float32Array.of(1) }]]),
      metadata: {},
    });
    const bytes = readFileSync(at("layout.safetensors"));
    const length = Number(bytes.readBigUInt64LE());
    expect(length % 8).toBe(0);
    expect(
      bytes
        .subarray(8, 8 + length)
        .toString()
        .trimEnd(),
    ).toBe('{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}');
    expect([...bytes.subarray(8 + length)]).toEqual([0, 0, 0x80, 0x3f]);
  });

  test("names that JavaScript objects treat specially are names like others", async () => {
    const odd = new Map(
      ["__proto__", "constructor", "0", "ä/ö 🙂"].map((name): [string, StoredTensor] => [
        name,
        { dtype: "int32", shape: [1], data: Int32Array.of(3) },
      ]),
    );
    await writeSafetensors(at("odd.safetensors"), { tensors: odd, metadata: {} });
    const file = await readSafetensors(at("odd.safetensors"));
    expect(new Set(file.tensors.keys())).toEqual(new Set(odd.keys()));
  });

  test("reads the element types of other programs", async () => {
    const values = Buffer.alloc(64);
    values.writeUInt16LE(0x3e00, 0); // float16 1.5
    values.writeUInt16LE(0x0001, 2); // the smallest subnormal, 2^-24
    values.writeUInt16LE(0xfc00, 4); // -Infinity
    values.writeUInt16LE(0x7bff, 6); // 65504, the largest
    values.writeUInt16LE(0xc040, 8); // bfloat16 -3
    values.writeDoubleLE(0.1, 10);
    values.writeBigInt64LE(-5n, 18);
    values.writeInt8(-1, 26);
    values.writeUInt16LE(65535, 27);
    values.writeUInt8(1, 29);
    values.writeUInt32LE(7, 30);
    const entry = (dtype: string, begin: number, end: number, count: number) => ({ dtype, shape: [count], data_offsets: [begin, end] });
    const header = {
      half: entry("F16", 0, 8, 4),
      brain: entry("BF16", 8, 10, 1),
      double: entry("F64", 10, 18, 1),
      long: entry("I64", 18, 26, 1),
      tiny: entry("I8", 26, 27, 1),
      short: entry("U16", 27, 29, 1),
      flag: entry("BOOL", 29, 30, 1),
      word: entry("U32", 30, 34, 1),
    };
    const file = await readSafetensors(forge("types", header, values.subarray(0, 34)));
    const data = (name: string) => file.tensors.get(name)?.data;
    expect(data("half")).toEqual(Float32Array.of(1.5, 2 ** -24, Number.NEGATIVE_INFINITY, 65504));
    expect(data("brain")).toEqual(Float32Array.of(-3));
    expect(data("double")).toEqual(Float32Array.of(0.1));
    expect(data("long")).toEqual(Int32Array.of(-5));
    expect(data("tiny")).toEqual(Int32Array.of(-1));
    expect(data("short")).toEqual(Int32Array.of(65535));
    expect(data("flag")).toEqual(Uint8Array.of(1));
    expect(data("word")).toEqual(Int32Array.of(7));
    values.writeBigInt64LE(2n ** 40n, 0);
    const error = await failure("file", () => readSafetensors(forge("large", { big: entry("I64", 0, 8, 1) }, values.subarray(0, 8))));
    expect(error.message).toMatch(/large: element 0 of tensor "big".*1099511627776/);
  });

  test("every break of the format is named, with file, tensor and offsets", async () => {
    const cases: [name: string, path: string, message: RegExp][] = [
      ["short", raw("short", Buffer.from("abc")), /at least 8 bytes; received 3 bytes/],
      ["absurd", raw("absurd", Buffer.alloc(16, 0xff)), /header length at byte 0/],
      ["json", forge("json", "{no json"), /bytes 8 to 16 are not JSON/],
      ["array", forge("array", "[]"), /not a JSON object/],
      ["space", forge("space", "  {}"), /not a JSON object/],
      [
        "dtype",
        forge("dtype", { x: { dtype: "F8_E4M3", shape: [1], data_offsets: [0, 1] } }, new Uint8Array(1)),
        /"x".*element type.*F8_E4M3/,
      ],
      ["entry", forge("entry", { x: 3 }), /"x".*element type/],
      ["shape", forge("shape", { x: f32(0, 4, [-1]) }, new Uint8Array(4)), /"x" has no valid shape.*\[-1\]/],
      ["offsets", forge("offsets", { x: { ...f32(0, 4), data_offsets: [4, 0] } }, new Uint8Array(4)), /"x".*data_offsets.*\[4,0\]/],
      ["one", forge("one", { x: { ...f32(0, 4), data_offsets: [0] } }, new Uint8Array(4)), /"x".*data_offsets/],
      ["length", forge("length", { x: f32(0, 4, [2]) }, new Uint8Array(4)), /"x".*8 bytes for F32 \[2\]; received 4 bytes at \[0, 4\)/],
      ["end", forge("end", { x: f32(0, 8) }, new Uint8Array(4)), /truncated: tensor "x".*8 bytes.*received 4 bytes/],
      [
        "overlap",
        forge("overlap", { x: f32(0, 8), y: f32(4, 8) }, new Uint8Array(8)),
        /overlap between tensor "x" and tensor "y".*begin at 8/,
      ],
      ["hole", forge("hole", { x: f32(0, 4), y: f32(8, 12) }, new Uint8Array(12)), /hole between tensor "x" and tensor "y".*begin at 4/],
      ["rest", forge("rest", { x: f32(0, 4) }, new Uint8Array(5)), /behind tensor "x".*4 bytes.*received 5 bytes/],
      ["metadata", forge("metadata", { __metadata__: { a: 1 } }), /metadata.*texts/],
      ["missing", at("missing"), /no such file.*\n.*working folder/],
    ];
    for (const [name, path, message] of cases) {
      const error = await failure("file", () => readSafetensors(path));
      expect(error.message, name).toMatch(message);
      expect(error.message, name).toContain(path);
    }
  });

  test("every truncation is an error", async () => {
    await writeSafetensors(at("whole"), { tensors, metadata: {} });
    const bytes = readFileSync(at("whole"));
    for (let length = 0; length < bytes.length; length++) {
      writeFileSync(at("cut"), bytes.subarray(0, length));
      await failure("file", () => readSafetensors(at("cut")));
    }
  });

  test("data that do not fill their shape are not written", async () => {
    const wrong = new Map<string, StoredTensor>([["x", { dtype: "float32", shape: [3], data: new Float32Array(2) }]]);
    expect((await failure("shape", () => writeSafetensors(at("wrong"), { tensors: wrong, metadata: {} }))).message).toMatch(
      /"x".*3 values.*2 values/,
    );
    expect(readdirSync(folder)).not.toContain("wrong");
  });
});

describe("checkpoint", () => {
  const config = { kind: "vae", input: [28, 28, 1], latent: 20, clamp: [-30, 20], name: null };

  test("a round trip keeps configuration, training state and tensors", async () => {
    await saveCheckpoint(at("model.vae"), { config, training: { step: 12, seed: 1 }, tensors });
    const checkpoint = await loadCheckpoint(at("model.vae"));
    expect(checkpoint.config).toEqual(config);
    expect(checkpoint.training).toEqual({ step: 12, seed: 1 });
    expect(checkpoint.tensors.get("step")).toEqual(tensors.get("step"));
    await saveCheckpoint(at("untrained.vae"), { config, tensors });
    expect((await loadCheckpoint(at("untrained.vae"))).training).toBeNull();
  });

  test("saving again replaces the file and leaves nothing beside it", async () => {
    for (const step of [1, 2]) await saveCheckpoint(at("again.vae"), { config, training: step, tensors });
    expect((await loadCheckpoint(at("again.vae"))).training).toBe(2);
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  test("a save that fails leaves the old file, and names what failed", async () => {
    await saveCheckpoint(at("kept.vae"), { config, training: 1, tensors });
    const error = await failure("argument", () => saveCheckpoint(at("kept.vae"), { config: { beta: Number.NaN }, tensors }));
    expect(error.message).toMatch(/^save: "beta" cannot be saved/);
    expect((await loadCheckpoint(at("kept.vae"))).training).toBe(1);
    expect((await failure("file", () => saveCheckpoint(join(folder, "none", "x.vae"), { config, tensors }))).message).toMatch(
      /no such file or folder/,
    );
    expect((await failure("file", () => saveCheckpoint(folder, { config, tensors }))).message).toContain(folder);
  });

  test("what is no checkpoint is refused with the reason", async () => {
    await writeSafetensors(at("weights"), { tensors, metadata: {} });
    expect((await failure("file", () => loadCheckpoint(at("weights")))).message).toMatch(/not a checkpoint.*\n.*readSafetensors/);
    const cases: [string, RegExp][] = [
      ['{"version":3,"config":{}}', /unknown version.*from 1 to 2.*version 3.*\n.*update/],
      ['{"config":{}}', /unknown version.*undefined/],
      ['{"version":1}', /hold no config/],
      ["{", /not a JSON object/],
      ["[]", /not a JSON object/],
    ];
    for (const [text, message] of cases) {
      await writeSafetensors(at("odd.vae"), { tensors, metadata: { "node-vae": text } });
      expect((await failure("file", () => loadCheckpoint(at("odd.vae")))).message).toMatch(message);
    }
    await saveCheckpoint(at("long.vae"), { config, tensors });
    writeFileSync(at("long.vae"), readFileSync(at("long.vae")).subarray(0, -1));
    expect((await failure("file", () => loadCheckpoint(at("long.vae")))).message).toMatch(/^load: .*long\.vae: truncated/);
  });
});
