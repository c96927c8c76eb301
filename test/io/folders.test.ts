// Folders of images as people have them: links, hidden files, classes, transparency, 16 bits, files that are none.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { datasets, type ImagesOptions, saveImages } from "../../lib/index.js";
import { failure, temporaryFolder } from "../support/io.js";

const root = temporaryFolder();

/** A new folder with the files given by their paths; a text is a link to that path. */
function folder(files: Readonly<Record<string, Uint8Array | string>>): string {
  const path = mkdtempSync(join(root, "images-"));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    if (typeof content === "string") symlinkSync(content, join(path, name));
    else writeFileSync(join(path, name), content);
  }
  return path;
}

const grey = (...values: number[]) =>
  sharp(Uint8Array.from(values), { raw: { width: values.length, height: 1, channels: 1 } })
    .toColourspace("b-w")
    .png()
    .toBuffer();
const colour = (background: string, format: "png" | "jpeg" | "webp" = "png") =>
  sharp({ create: { width: 4, height: 4, channels: 4, background } })
    .toFormat(format)
    .toBuffer();

const one = { size: [1, 1], channels: 1 } as const;
const red = await colour("#ff0000");

describe("what is found", () => {
  test("hidden files and folders and those of Macs are passed over, extensions in any case are not", async () => {
    const path = folder({
      "a.PNG": await grey(10),
      "b.JPE": await colour("#ffffff", "jpeg"),
      "c.jfif": await colour("#ffffff", "jpeg"),
      "._a.png": Buffer.from("0005160700020000", "hex"),
      ".git/x.png": Buffer.from("no image"),
      ".ipynb_checkpoints/a.png": await grey(1),
      "__MACOSX/._a.png": Buffer.from("no image"),
      "more/.hidden/x.png": Buffer.from("no image"),
      "more/d.webp": await colour("#00ff00", "webp"),
    });
    expect((await datasets.images(path, { ...one, recursive: true })).rows).toBe(4);
  });

  test("links are followed, in circles too, and every class has what its link leads to", async () => {
    const path = folder({ "all/cats/1.png": await grey(10), "all/dogs/1.png": await grey(20), "all/dogs/2.png": await grey(30) });
    mkdirSync(join(path, "subset/cats"), { recursive: true });
    symlinkSync(join(path, "all/dogs"), join(path, "subset/dogs"));
    symlinkSync("dogs", join(path, "subset/wolves"));
    symlinkSync(join(path, "all/cats/1.png"), join(path, "subset/cats/linked.png"));
    for (const link of ["subset/cats/up", "subset/cats/again", "subset/cats/self"]) symlinkSync("..", join(path, link));
    const found = await datasets.images(join(path, "subset"), { ...one, labels: "folder" });
    expect(found).toMatchObject({ labelNames: ["cats", "dogs", "wolves"], labels: Int32Array.of(0, 1, 1, 2, 2) });
    expect([...found.data]).toEqual([10, 20, 30, 20, 30]);
    // Without classes there is no reason to read a folder twice.
    expect((await datasets.images(join(path, "subset"), { ...one, recursive: true })).rows).toBe(3);
  });

  test("links that lead nowhere are named", async () => {
    const image = folder({ "a.png": await grey(1), "b.png": "nothing.png" });
    expect((await failure("file", () => datasets.images(image, one))).message).toMatch(/b\.png: no such file/);
    const loop = folder({ "a/1.png": await grey(1), b: "b" });
    expect((await failure("file", () => datasets.images(loop, { ...one, labels: "folder" }))).message).toMatch(/b: a link to nothing/);
  });

  test("folders without images stay classes, and classes keep their numbers", async () => {
    const path = folder({ "birds/1.png": await grey(10), "dogs/1.png": await grey(30) });
    mkdirSync(join(path, "cats"));
    expect(await datasets.images(path, { ...one, labels: "folder" })).toMatchObject({
      labelNames: ["birds", "cats", "dogs"],
      labels: Int32Array.of(0, 2),
    });
    const classes = ["dogs", "fish", "cats", "birds"];
    expect(await datasets.images(path, { ...one, labels: "folder", classes })).toMatchObject({
      labelNames: classes,
      labels: Int32Array.of(3, 0),
    });
    const unknown = await failure("file", () => datasets.images(path, { ...one, labels: "folder", classes: ["birds", "dogs"] }));
    expect(unknown.message).toMatch(/cats: a folder that is none of the classes.*"birds","dogs"/);
    for (const wrong of [
      { classes },
      { labels: "folder", classes: [] },
      { labels: "folder", classes: ["a", "a"] },
      { labels: "folder", recursive: false },
    ]) {
      await failure("argument", () => datasets.images(path, { ...one, ...wrong } as ImagesOptions));
    }
  });
});

describe("what is decoded", () => {
  test("formats by content: neither an SVG nor a TIFF is read because of its name, a JPEG called PNG is", async () => {
    expect((await datasets.images(folder({ "a.png": await colour("#ffffff", "jpeg") }), one)).data[0]).toBe(255);
    const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/hosts"/></svg>';
    const others = {
      svg: Buffer.from(svg),
      xml: Buffer.from(`<?xml version="1.0"?>${svg}`),
      gif: await sharp(red).gif().toBuffer(),
      tiff: await sharp(red).tiff().toBuffer(),
      avif: await sharp(red).avif().toBuffer(),
      empty: Buffer.alloc(0),
      wave: Buffer.from("RIFF0000WAVEfmt "),
    };
    for (const [name, content] of Object.entries(others)) {
      const error = await failure("file", () => datasets.images(folder({ "x.png": content }), one));
      expect(error.message, name).toMatch(/x\.png: no image of a kind that is read; expected a PNG, JPEG or WebP file/);
    }
  });

  test("what is no regular file is not waited for", async () => {
    const path = folder({ "a.png": await grey(3) });
    execFileSync("mkfifo", [join(path, "b.png")]);
    symlinkSync("/dev/zero", join(path, "c.png"));
    expect((await failure("file", () => datasets.images(path, one))).message).toMatch(/b\.png: is a pipe, not a regular file/);
    expect((await datasets.images(path, { ...one, unreadable: "skip" })).skipped.map(({ file }) => file)).toEqual(["b.png", "c.png"]);
  });

  test("unreadable files may be skipped, and are named with their reason", async () => {
    const whole = await sharp({ create: { width: 64, height: 64, channels: 3, background: "#123456" } })
      .png()
      .toBuffer();
    const path = folder({
      "a/1.png": await grey(10),
      "a/2.png": whole.subarray(0, -30),
      "b/3.png": Buffer.from("no image"),
      "b/4.png": await grey(20),
    });
    const { data, rows, labels, skipped } = await datasets.images(path, { ...one, labels: "folder", unreadable: "skip" });
    expect([rows, ...data, ...(labels ?? [])]).toEqual([2, 10, 20, 0, 1]);
    expect(skipped).toMatchObject([
      { file: "a/2.png", reason: expect.stringMatching(/cannot be decoded/) },
      { file: "b/3.png", reason: expect.stringMatching(/no image/) },
    ]);
    expect((await failure("file", () => datasets.images(path, { ...one, labels: "folder" }))).message).toMatch(
      /a.2\.png: cannot be decoded/,
    );
    const none = folder({ "a.png": Buffer.from("no image") });
    expect((await failure("file", () => datasets.images(none, { ...one, unreadable: "skip" }))).message).toMatch(
      /no image of the folder can be read/,
    );
  });

  test("transparency is laid over the background, or kept", async () => {
    const ink = Uint8Array.of(0, 0, 0, 255, 0, 0, 0, 0);
    const raw = { raw: { width: 2, height: 1, channels: 4 } } as const;
    const path = folder({ "ink.png": await sharp(ink, raw).png().toBuffer() });
    const read = async (options: object) => [...(await datasets.images(path, { size: [1, 2], channels: 1, ...options })).data];
    expect(await read({})).toEqual([0, 0]);
    for (const white of ["white", 255, [255, 255, 255], "#ffffff"]) expect(await read({ background: white })).toEqual([0, 255]);
    expect(await read({ channels: 3, background: [10, 20, 30] })).toEqual([0, 0, 0, 10, 20, 30]);
    expect(await read({ channels: 4 })).toEqual([0, 0, 0, 255, 0, 0, 0, 0]);
    // Grey with opacity has two channels.
    const shaded = await sharp(Uint8Array.of(100, 255, 200, 0), { raw: { width: 2, height: 1, channels: 2 } })
      .png()
      .toBuffer();
    expect([...(await datasets.images(folder({ "a.png": shaded }), { size: [1, 2], channels: 4 })).data]).toEqual([
      100, 100, 100, 255, 200, 200, 200, 0,
    ]);
    // Bars are of the background, too.
    const bars = await datasets.images(folder({ "a.png": await grey(9, 9) }), {
      size: [4, 2],
      channels: 1,
      resize: "contain",
      background: 77,
    });
    expect([bars.data[0], bars.data[7]]).toEqual([77, 77]);
    for (const background of [256, -1, 0.5, [1, 2], "red", "#fff", null]) {
      await failure("argument", () => datasets.images(path, { ...one, background: background as number }));
    }
    await failure("argument", () => datasets.images(path, { ...one, channels: 4, background: 0 }));
  });

  test("16 bits are kept where they are asked for, with the background and in grey", async () => {
    const levels = Uint16Array.of(0, 1, 255, 256, 32_768, 65_535);
    const wide = { width: 6, height: 1 } as const;
    const deep = await sharp(levels, { raw: { ...wide, channels: 1 } })
      .toColourspace("grey16")
      .png()
      .toBuffer();
    const path = folder({ "a.png": deep, "b.png": await grey(0, 1, 2, 3, 128, 255) });
    const { data } = await datasets.images(path, { size: [1, 6], channels: 1, depth: 16 });
    expect(data).toEqual(
      Float32Array.from([...levels].map((value) => value / 65_535).concat([0, 1, 2, 3, 128, 255].map((value) => value / 255))),
    );
    expect((await datasets.images(path, { size: [1, 6], channels: 1 })).data).toBeInstanceOf(Uint8Array);
    const half = Uint16Array.of(65_535, 0, 0, 32_768, 0, 65_535, 0, 0);
    const clear = folder({
      "a.png": await sharp(half, { raw: { width: 2, height: 1, channels: 4 } })
        .toColourspace("rgb16")
        .png()
        .toBuffer(),
    });
    const options = { size: [1, 2], depth: 16 } as const;
    const alpha = 32_768 / 65_535;
    expect([...(await datasets.images(clear, { ...options, background: "white" })).data]).toEqual(
      [1, 1 - alpha, 1 - alpha, 1, 1, 1].map((value) => expect.closeTo(value, 4)),
    );
    expect((await datasets.images(clear, { ...options, channels: 4 })).data[3]).toBeCloseTo(alpha, 5);
    // The same grey as with 8 bits.
    const grey8 = await datasets.images(clear, { size: [1, 2], channels: 1, background: "white" });
    const grey16 = await datasets.images(clear, { ...options, channels: 1, background: "white" });
    for (const place of [0, 1]) expect(grey16.data[place]! * 255).toBeCloseTo(grey8.data[place]!, -0.5);
    await failure("argument", () => datasets.images(path, { ...one, depth: 16, bytes: "raw" }));
  });

  test("palettes, CMYK, profiles and animations", async () => {
    const palette = await sharp(red).png({ palette: true, colours: 2 }).toBuffer();
    const cmyk = await sharp({ create: { width: 4, height: 4, channels: 3, background: "#ff0000" } })
      .toColourspace("cmyk")
      .jpeg({ quality: 100 })
      .toBuffer();
    const profile = await sharp(red).withIccProfile("p3").png().toBuffer();
    const frames = Buffer.concat([Buffer.alloc(12, 255), Buffer.alloc(12, 7)]);
    const animation = await sharp(frames, { raw: { width: 2, height: 4, channels: 3, pageHeight: 2 } })
      .webp({ lossless: true })
      .toBuffer();
    const path = folder({ "1.png": palette, "2.jpg": cmyk, "3.png": profile, "4.webp": animation });
    const { data } = await datasets.images(path, { size: [1, 1] });
    const pixel = (row: number) => [...data.subarray(3 * row, 3 * row + 3)];
    expect(pixel(0)).toEqual([255, 0, 0]);
    expect(pixel(1)[0]).toBeGreaterThan(200);
    expect(Math.max(...pixel(1).slice(1))).toBeLessThan(40);
    for (const [place, value] of [255, 0, 0].entries()) expect(Math.abs(pixel(2)[place]! - value)).toBeLessThan(3);
    expect(pixel(3)).toEqual([255, 255, 255]);
  });

  test("masks of 0 and 1 are a question", async () => {
    const path = folder({ "a.png": await grey(0, 1), "b.png": await grey(1, 1) });
    const options = { size: [1, 2], channels: 1 } as const;
    expect((await failure("data", () => datasets.images(path, options))).hint).toMatch(/bytes: "raw"/);
    expect(await datasets.images(path, { ...options, bytes: "raw" })).toMatchObject({ data: Float32Array.of(0, 1, 1, 1), bytes: "raw" });
    expect(await datasets.images(path, { ...options, bytes: "scaled" })).toMatchObject({
      data: Uint8Array.of(0, 1, 1, 1),
      bytes: "scaled",
    });
  });
});

/** A PNG that declares a size and holds nothing of it. */
function hollowPng(width: number, height: number): Uint8Array {
  const chunk = (type: string, data: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
    let crc = ~0;
    for (const byte of body) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : 0xedb88320);
    }
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(data.length, 0);
    frame.writeInt32BE(~crc, 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 1;
  const magic = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([magic, chunk("IHDR", header), chunk("IDAT", deflateSync(Buffer.alloc(1))), chunk("IEND", Buffer.alloc(0))]);
}

describe("limits", () => {
  test("images that declare too many pixels, or too long sides, are refused before they are decoded", async () => {
    const wide = folder({ "a.png": hollowPng(16_711_700, 16) });
    const error = await failure("file", () => datasets.images(wide, one));
    expect(error.message).toMatch(
      /a\.png: the image is too large; expected at most 50000000 pixels \(the option maxPixels\); received 16711700 × 16 pixels/,
    );
    const long = folder({ "a.png": hollowPng(30_000, 16) });
    expect((await failure("file", () => datasets.images(long, one))).message).toMatch(/too long.*28284/);
    const few = folder({ "a.png": await colour("#ffffff") });
    expect((await failure("file", () => datasets.images(few, { ...one, maxPixels: 15 }))).message).toMatch(/4 × 4/);
    expect((await datasets.images(few, { ...one, maxPixels: 16 })).rows).toBe(1);
    await failure("argument", () => datasets.images(few, { ...one, maxPixels: 0 }));
  });

  test("rows larger than maxBytes are refused before they are made", async () => {
    const path = folder({ "a.png": await colour("#ffffff") });
    const error = await failure("file", () => datasets.images(path, { size: [1e5, 1e5] }));
    expect(error.message).toMatch(/too large: 1 images of 100000 × 100000 × 3; expected at most 268435456 bytes.*maxBytes/);
    await failure("file", () => datasets.images(path, { ...one, maxBytes: 1 }));
    expect((await datasets.images(path, { ...one, maxBytes: 2 })).rows).toBe(1);
  });

  test("sheets of too many pixels are refused", async () => {
    const sheet = join(root, "sheet.png");
    const shape = [1, 1, 1] as const;
    for (const options of [
      { shape, scale: 64, columns: 1 },
      { shape, gap: 1000 },
      { shape, gap: 1000, scale: 64, columns: 1e6 },
    ]) {
      const error = await failure("argument", () => saveImages(sheet, new Uint8Array(20_000), options));
      expect(error.message).toMatch(/^saveImages: the sheet is too large; expected at most 50000000 pixels \(the option maxPixels\)/);
    }
    await failure("argument", () => saveImages(sheet, new Uint8Array(4), { shape, maxPixels: 3, gap: 0, scale: 1 }));
    await saveImages(sheet, new Uint8Array(4), { shape, maxPixels: 4, gap: 0, scale: 1 });
  });
});
