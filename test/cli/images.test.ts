// Convolutional models on the command line: presets of train, and the demo's image subjects, on a few made-up images.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { load, presets } from "../../lib/index.js";
import { run } from "../support/cli.js";
import { clusteredRows } from "../support/data.js";
import { temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();

/** An IDX file of bytes. */
function writeIdx(path: string, shape: readonly number[], values: Uint8Array): void {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.writeUInt32BE(0x0800 + shape.length);
  shape.forEach((size, axis) => {
    header.writeUInt32BE(size, 4 + 4 * axis);
  });
  const file = Buffer.concat([header, values]);
  writeFileSync(path, path.endsWith(".gz") ? gzipSync(file) : file);
}

function images(count: number, size: number): Uint8Array {
  return Uint8Array.from(clusteredRows(count, size), (value) => 255 * value);
}

describe("train --preset", () => {
  const odd = join(folder, "odd-images-idx4-ubyte");
  writeIdx(odd, [40, 9, 13, 3], images(40, 9 * 13 * 3));

  test("image: convolutions for images of any size", async () => {
    const out = join(folder, "odd.vae");
    const args = ["--preset", "image", "--latent", "3", "--activation", "silu", "--steps", "3", "--batch", "8", "--out", out];
    const { code, stderr } = await run(["train", "--data", odd, ...args]);
    expect(code, stderr).toBe(0);
    using model = await load(out);
    const expected = presets.image({ size: [9, 13, 3], latent: 3, activation: "silu" });
    expect(model.config).toMatchObject({ ...expected, likelihood: { kind: "bernoulli" } });
    const drawn = await run(["reconstruct", out, "--data", odd, "--out", join(folder, "odd.png")]);
    expect(drawn.code, drawn.stderr).toBe(0);
  });

  test("table: dense layers for rows", async () => {
    const table = join(folder, "rows.csv");
    writeFileSync(table, `a,b,c\n${Array.from({ length: 20 }, (_, i) => `${Math.sin(i)},${Math.cos(i)},${i / 10}`).join("\n")}\n`);
    const out = join(folder, "rows.vae");
    const { code, stderr } = await run(["train", "--data", table, "--preset", "table", "--steps", "3", "--batch", "8", "--out", out]);
    expect(code, stderr).toBe(0);
    using model = await load(out);
    expect(model.config).toMatchObject(presets.table({ columns: 3 }));
  });

  test.each([
    [
      ["--data", odd, "--preset", "image28"],
      /--preset image28: expected rows of \[28, 28, 3\]; received \[9, 13, 3\]\n {2}hint: --preset image takes/,
    ],
    [["--data", odd, "--preset", "image", "--hidden", "20"], /cannot be used with option '--hidden/],
    [["--data", odd, "--preset", "images"], /Allowed choices are image28, image64, image, table/],
    [["--data", odd, "--preset", "image", "--resume", "a.vae"], /cannot be used with option '--preset/],
  ])("%j is refused", async (args, message) => {
    const { code, stderr } = await run(["train", ...args]);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
  });
});

describe("the demo", () => {
  test("fashion: four sheets and a model", async () => {
    const data = join(folder, "fashion-mnist");
    mkdirSync(data);
    for (const [prefix, count] of [
      ["train", 700],
      ["t10k", 60],
    ] as const) {
      writeIdx(join(data, `${prefix}-images-idx3-ubyte.gz`), [count, 28, 28], images(count, 784));
      writeIdx(
        join(data, `${prefix}-labels-idx1-ubyte.gz`),
        [count],
        Uint8Array.from({ length: count }, (_, i) => i % 3),
      );
    }
    const out = join(folder, "fashion-out");
    const { code, stdout, stderr } = await run(["demo", "fashion", "--data", folder, "--quick", "--out", out]);
    expect(code, stderr).toBe(0);
    expect(stdout).toMatch(/learns 700 pieces of clothing/);
    expect(stdout).toContain("60 reconstructions are identical, bit for bit");
    for (const [name, lines] of Object.entries({ samples: 10, interpolations: 3 })) {
      expect(await sharp(join(out, `${name}.png`)).metadata()).toMatchObject({ format: "png", width: 582, height: 2 + 58 * lines });
    }
    // Labels as wide as "z12" or "z9" at the left, a line of values on top.
    const { width, height } = await sharp(join(out, "traversals.png")).metadata();
    expect(height).toBe(582 + 26);
    expect([582 + 30, 582 + 38]).toContain(width);
    expect(existsSync(join(out, "reconstructions.png"))).toBe(true);
    using model = await load(join(out, "fashion.vae"));
    expect(model.config).toMatchObject({ encoder: presets.image28().encoder, latent: 16 });
    expect(model.training.step).toBe(2);
  });

  test("emoji: colour, no classes and so no interpolations", async () => {
    const data = join(folder, "emoji");
    mkdirSync(data);
    for (const style of ["google", "twitter"])
      writeIdx(join(data, `emoji-${style}-images-idx4-ubyte`), [25, 64, 64, 3], images(25, 64 * 64 * 3));
    const out = join(folder, "emoji-out");
    const { code, stdout, stderr } = await run(["demo", "emoji", "--data", folder, "--quick", "--out", out]);
    expect(code, stderr).toBe(0);
    // Three of 25 in either style are for the test.
    expect(stdout).toMatch(/learns 44 emoji/);
    expect(existsSync(join(out, "interpolations.png"))).toBe(false);
    expect(await sharp(join(out, "traversals.png")).metadata()).toMatchObject({ channels: 3, height: 662 + 26 });
    expect(stdout).toMatch(/After 5 of 60 epochs the model has learnt little/);
  });

  test.each([
    [["demo", "emoji"], /demo emoji: expected --data FOLDER/],
    [["demo", "fashion", "--data", "nowhere"], /--data: there is no train-images-idx3-ubyte; expected .*nowhere.*received nowhere/],
    [["demo", "faces"], /Allowed choices are digits, fashion, emoji/],
  ])("%j is refused", async (args, message) => {
    const { code, stderr } = await run([...args, "--out", join(folder, "refused")]);
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
  });
});
