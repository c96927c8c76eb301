// Model files that are damaged, forged or larger than they look: load refuses them in little time and memory, and says why.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { batchNorm, conv2d, dense, flatten, load, readSafetensors, residual, sequential, VaeError, vae, warmup } from "../../lib/index.js";

const folder = mkdtempSync(join(tmpdir(), "node-vae-files-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "model.vae");

interface Parts {
  readonly config?: unknown;
  readonly training?: unknown;
  /** JSON text in the place of the description. */
  readonly description?: string;
  readonly tensors?: Readonly<Record<string, unknown>>;
  readonly values?: number;
}

const plain = { input: [4], latent: 2, encoder: [], decoder: [], likelihood: "gaussian" };

function write({ config = plain, training = null, description, tensors = {}, values = 0 }: Parts): string {
  const text = description ?? JSON.stringify({ version: 1, config, training });
  return writeHeader(JSON.stringify({ __metadata__: { "node-vae": text }, ...tensors }), values);
}

function writeHeader(header: string, values = 0): string {
  const json = Buffer.from(header.padEnd(Math.ceil(header.length / 8) * 8));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(path, Buffer.concat([size, json, Buffer.alloc(values)]));
  return path;
}

/** What load says, in how many CPU seconds. */
async function refusal(file: string): Promise<{ readonly error: VaeError; readonly seconds: number }> {
  const begin = process.cpuUsage();
  const error = await load(file, { device: "cpu", threads: 1 }).then(
    (model) => model.dispose(),
    (reason: unknown) => reason,
  );
  const { user, system } = process.cpuUsage(begin);
  if (!(error instanceof VaeError)) throw new Error(`expected a VaeError, not ${String(error)}`, { cause: error });
  expect(Buffer.byteLength(error.message)).toBeLessThanOrEqual(2048);
  return { error, seconds: (user + system) / 1e6 };
}

/** Text nested so deep: `open` and `close` around `inside`. */
const nested = (depth: number, open: string, close: string, inside = "") => `${open.repeat(depth)}${inside}${close.repeat(depth)}`;
const inEncoder = (layer: string) =>
  `{"version":1,"config":{"input":[4],"latent":2,"encoder":[${layer}],"decoder":[],"likelihood":"bernoulli"},"training":null}`;

describe("nesting", () => {
  test.each([
    ["sequential", '{"kind":"sequential","layers":[', "]}"],
    ["residual", '{"kind":"residual","layers":[', "]}"],
    ["both sides of residual", '{"kind":"residual","layers":[],"shortcut":[', "]}"],
  ])("layers in layers cost a time linear in their depth: %s", async (_name, open, close) => {
    for (const depth of [24, 60, 64]) {
      const { error, seconds } = await refusal(write({ description: inEncoder(nested(depth, open, close, '{"kind":"dense","units":3}')) }));
      expect(["architecture", "file"]).toContain(error.code);
      expect(seconds).toBeLessThan(1);
    }
    for (const depth of [65, 500, 20_000]) {
      const { error, seconds } = await refusal(write({ description: inEncoder(nested(depth, open, close)) }));
      expect(error).toMatchObject({ code: "file" });
      expect(error.message).toContain("nested more than 64 deep");
      expect(seconds).toBeLessThan(1);
    }
  });

  test("deep models train, and infer", async () => {
    const deep = (depth: number): ReturnType<typeof dense> =>
      depth === 0 ? dense(3) : depth % 2 === 0 ? sequential([deep(depth - 1)]) : residual([deep(depth - 1), dense(4)]);
    const begin = process.cpuUsage();
    using model = vae({ ...plain, likelihood: "gaussian", encoder: [deep(40)], decoder: [], device: "cpu", threads: 1 });
    const rows = Float32Array.from({ length: 40 }, (_, i) => Math.sin(i));
    await model.fit(rows, { steps: 2, batchSize: 4 });
    await model.save(path);
    using again = await load(path, { device: "cpu", threads: 1 });
    expect(await again.reconstruct(rows)).toHaveLength(40);
    expect(process.cpuUsage(begin).user / 1e6).toBeLessThan(20);
  });

  test("a schedule of schedules", async () => {
    let target: Parameters<typeof warmup>[0]["target"] = 1;
    for (let depth = 0; depth < 60; depth++) target = warmup({ steps: 2, target });
    using model = vae({
      ...plain,
      likelihood: "gaussian",
      encoder: [],
      decoder: [],
      objective: { kind: "elbo", beta: target },
      device: "cpu",
      threads: 1,
    });
    const { steps } = await model.fit(new Float32Array(16).fill(0.5), { steps: 3, batchSize: 4 });
    expect(steps).toBe(3);
  });

  test.each([
    ["in the description", () => write({ description: `{"version":1,"config":${nested(100_000, "[", "]")}}` })],
    ["as the version", () => write({ description: `{"version":${nested(100_000, '{"a":', "}", "1")},"config":1}` })],
    ["as the header", () => writeHeader(nested(100_000, "[", "]"))],
    ["as a tensor", () => writeHeader(`{"w":${nested(100_000, '{"dtype":', "}", "1")}}`)],
    ["as an element type", () => writeHeader(`{"w":{"dtype":${nested(100_000, "[", "]")},"shape":[],"data_offsets":[0,0]}}`)],
    ["as metadata", () => writeHeader(`{"__metadata__":{"a":${nested(100_000, "[", "]")}}}`)],
    ["as the training", () => write({ training: JSON.parse(nested(2000, "[", "]")) })],
  ])("JSON of any depth is a damaged file: %s", async (_name, make) => {
    const { error, seconds } = await refusal(make());
    expect(error.code).toBe("file");
    expect(error.message).toContain(path);
    expect(seconds).toBeLessThan(1);
  });
});

describe("declared sizes are compared before anything is allocated", () => {
  test.each<[string, object]>([
    ["dense layers", { encoder: [dense(2 ** 26)], input: [2 ** 20] }],
    ["groups", { input: [1, 1, 2 ** 26], encoder: [conv2d(2 ** 26, 1, { groups: 3 })] }],
    ["latents", { latent: 2 ** 24 }],
    ["channels", { input: [1, 1, 2 ** 26], encoder: [{ kind: "groupNorm", groups: 2 ** 26 }] }],
    ["many layers", { encoder: Array.from({ length: 20_000 }, () => flatten()) }],
    ["many normalizations", { encoder: Array.from({ length: 5000 }, () => batchNorm()) }],
    ["many axes", { input: Array.from({ length: 100_000 }, () => 1) }],
  ])("%s", async (_name, change) => {
    const before = process.memoryUsage().rss;
    const { error, seconds } = await refusal(write({ config: { ...plain, ...change } }));
    expect(["architecture", "file"]).toContain(error.code);
    expect(seconds).toBeLessThan(2);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 2 ** 20);
  });
});

describe("what is told", () => {
  const name = "n".repeat(100_000);
  test.each<[string, string, Parts]>([
    ["a long kind", "file", { config: { ...plain, encoder: [{ kind: name }] } }],
    ["a long option", "file", { config: { ...plain, encoder: [{ kind: "dense", units: 3, [name]: 1 }] } }],
    ["an option that does not fit", "file", { config: { ...plain, encoder: [{ kind: "dense", units: -1 }] } }],
    ["layers that do not fit", "file", { config: { ...plain, encoder: [{ kind: "reshape", shape: [5] }] } }],
    ["a training that cannot be", "file", { training: { step: -1 } }],
    ["an unknown optimizer", "file", { training: { step: 1, optimizer: { kind: name }, optimizerStart: 0 } }],
    ["weights that are missing", "architecture", {}],
    ["long names of weights", "architecture", { tensors: { [name]: { dtype: "F32", shape: [1], data_offsets: [0, 4] } }, values: 4 }],
    [
      "weights that are whole numbers",
      "architecture",
      {
        config: { ...plain, input: [1], latent: 1 },
        tensors: Object.fromEntries(
          ["encoder.head.weight:1,2", "encoder.head.bias:2", "decoder.head.weight:1,1", "decoder.head.bias:1"].map((entry, i) => {
            const [key, sizes] = entry.split(":") as [string, string];
            const shape = sizes.split(",").map(Number);
            const begin = [0, 8, 16, 20][i]!;
            return [key, { dtype: "I32", shape, data_offsets: [begin, begin + 4 * shape.reduce((a, b) => a * b)] }];
          }),
        ),
        values: 24,
      },
    ],
    ["an offset beyond all numbers", "file", { tensors: { w: { dtype: "F32", shape: [1e300], data_offsets: [0, 1e300] } } }],
    ["a size that overflows", "file", { tensors: { w: { dtype: "F32", shape: Array(40).fill(2 ** 50), data_offsets: [0, 0] } } }],
    ["metadata that are no texts", "file", { tensors: { __metadata__: { "node-vae": 1 } } }],
    [
      "tensors that overlap",
      "file",
      {
        tensors: { a: { dtype: "F32", shape: [2], data_offsets: [0, 8] }, b: { dtype: "F32", shape: [2], data_offsets: [4, 12] } },
        values: 12,
      },
    ],
    [
      "a tensor called __proto__",
      "architecture",
      { tensors: JSON.parse('{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'), values: 4 },
    ],
  ])("%s is %s, in at most 2 KB", async (_name, code, parts) => {
    const { error } = await refusal(write(parts));
    expect(error.code).toBe(code);
    expect(error.message).toContain("model.vae");
  });

  test("thousands of tensors are read in a time linear in their number", async () => {
    const tensors = Object.fromEntries(
      Array.from({ length: 20_000 }, (_, i) => [`layer.${i}`, { dtype: "F32", shape: [1], data_offsets: [4 * i, 4 * i + 4] }]),
    );
    const { error, seconds } = await refusal(write({ tensors, values: 80_000 }));
    expect(error.code).toBe("architecture");
    expect(seconds).toBeLessThan(2);
    expect((await readSafetensors(path)).tensors.size).toBe(20_000);
  });
});

test("3,000 mutated files load, or are refused as what they are", { timeout: 60_000 }, async () => {
  using model = vae({
    ...plain,
    likelihood: "gaussian",
    encoder: [dense(3), batchNorm()],
    decoder: [residual([dense(2)])],
    device: "cpu",
    threads: 1,
  });
  await model.fit(
    Float32Array.from({ length: 40 }, (_, i) => Math.sin(i)),
    { steps: 2, batchSize: 4 },
  );
  await model.save(path);
  const good = readFileSync(path);
  const header = Number(good.readBigUInt64LE());
  let state = 1;
  const below = (count: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
  const codes = new Map<string, number>();
  for (let round = 0; round < 3000; round++) {
    const bytes = Buffer.from(good);
    let end = bytes.length;
    for (let changes = below(4); changes >= 0; changes--) {
      const place = below(4) === 0 ? below(bytes.length) : below(header + 8);
      const way = below(6);
      if (way === 0) bytes[place] = below(256);
      else if (way === 1) bytes[place]! ^= 1 << below(8);
      else if (way === 2) bytes[place] = '0123456789[]{}",:-e.'.charCodeAt(below(20));
      else if (way === 3) end = Math.min(end, place + 1);
      else if (way === 4) bytes.copyWithin(place, below(bytes.length), below(bytes.length));
      else bytes.writeUInt8(below(256), below(8));
    }
    writeFileSync(path, bytes.subarray(0, end));
    const begin = performance.now();
    const code = await load(path, { device: "cpu", threads: 1 }).then(
      (loaded) => {
        loaded.dispose();
        return "loaded";
      },
      (error: unknown) => {
        if (!(error instanceof VaeError)) throw error;
        expect(Buffer.byteLength(error.message)).toBeLessThanOrEqual(2048);
        return error.code;
      },
    );
    expect(performance.now() - begin).toBeLessThan(5000);
    codes.set(code, (codes.get(code) ?? 0) + 1);
  }
  expect([...codes.keys()].filter((code) => !["loaded", "file", "architecture", "data"].includes(code))).toEqual([]);
  expect(codes.get("file")).toBeGreaterThan(500);
});
