// One image file: what it is, whether it is small enough, and its pixels, brought to size.
import type { Sharp } from "sharp";
import { VaeError } from "../errors.js";
import { messageOf } from "../graph/kinds.js";
import { fileError, fileSystemError, openRegular } from "./files.js";
import type { Source } from "./source.js";

/** Red, green and blue, 0 to 255. */
export type Colour = readonly [red: number, green: number, blue: number];

/** What every image of a folder becomes. */
export interface PictureForm {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3 | 4;
  readonly resize: "cover" | "contain" | "fill";
  readonly background: Colour;
  /** Bits per value: bytes, or float32 in [0, 1] with as much as 16 bits tell apart. */
  readonly depth: 8 | 16;
  readonly maxPixels: number;
}

/**
 * Images that are long and thin take far more memory than their pixels, since lines are decoded whole and several at a time. So
 * a side may be this many times as long as that of a square of the most pixels.
 */
const LONGEST_SIDE = 4;

/** sharp's module, as far as it is used here. */
type OpenImage = (
  input: string | Uint8Array,
  options?: {
    readonly raw?: { readonly width: number; readonly height: number; readonly channels: 1 | 3 };
    readonly limitInputPixels?: number | false;
  },
) => Sharp;

/** sharp is loaded when it is first needed: those who train on arrays never pay for it. */
export async function loadSharp(operation: string): Promise<OpenImage> {
  try {
    return (await import("sharp")).default;
  } catch (cause) {
    const hint = "npm install sharp; on this platform it may need npm install --os=… --cpu=… sharp";
    throw new VaeError({
      code: "file",
      operation,
      problem: "the package sharp, which reads and writes images, cannot be loaded",
      hint,
      cause,
    });
  }
}

/** A file that is an image of a kind that is read, small enough to be decoded. */
export interface Picture {
  readonly source: Source;
  /** Those of two bytes per value, and of four values, count twice. */
  readonly pixels: number;
  /** Whether it has more than 8 bits per value. */
  readonly deep: boolean;
}

/** Looks at a file's beginning. Throws `"file"` for what is no image, is none of PNG, JPEG and WebP, or too large. */
export async function openPicture(openImage: OpenImage, source: Source, maxPixels: number): Promise<Picture> {
  await checkContent(source);
  const header = await decoding(source, () => openImage(source.path, { limitInputPixels: false }).metadata());
  const { width, height, depth, format, space } = header;
  if (!FORMATS.some(({ name }) => name === format)) throw notAnImage(source, `${format} data`);
  const deep = depth !== "uchar";
  const large = deep || space === "cmyk";
  const pixels = width * height * (large ? 2 : 1);
  const found = `${width} × ${height} pixels${large ? ", which count twice, of 16 bits or CMYK" : ""}`;
  if (pixels > maxPixels) {
    throw fileError(source, "the image is too large", {
      expected: `at most ${maxPixels} pixels (the option maxPixels)`,
      received: found,
      hint: `where that is right, pass { maxPixels: ${pixels} }`,
    });
  }
  const longest = Math.floor(LONGEST_SIDE * Math.sqrt(maxPixels));
  if (Math.max(width, height) > longest) {
    throw fileError(source, "the image is too long", {
      expected: `sides of at most ${longest} pixels (4 times the square root of the option maxPixels)`,
      received: found,
    });
  }
  return { source, pixels, deep };
}

/** The formats that are read, by their first bytes. Others are not even tried: an SVG may name files and addresses to be fetched. */
const FORMATS = [
  { name: "png", parts: [{ at: 0, text: "\x89PNG\r\n\x1a\n" }] },
  { name: "jpeg", parts: [{ at: 0, text: "\xff\xd8\xff" }] },
  {
    name: "webp",
    parts: [
      { at: 0, text: "RIFF" },
      { at: 8, text: "WEBP" },
    ],
  },
];

const MAGIC_BYTES = 12;

async function checkContent(source: Source): Promise<void> {
  const start = Buffer.alloc(MAGIC_BYTES);
  let length = 0;
  try {
    await using file = await openRegular(source);
    length = (await file.read(start, 0, MAGIC_BYTES, 0)).bytesRead;
  } catch (cause) {
    throw fileSystemError(source, cause);
  }
  const text = start.toString("latin1", 0, length);
  if (FORMATS.some(({ parts }) => parts.every((part) => text.startsWith(part.text, part.at)))) return;
  throw notAnImage(source, length === 0 ? "an empty file" : `a file that begins with ${start.toString("hex", 0, length)}`);
}

function notAnImage(source: Source, received: string): VaeError {
  const hint = "convert or remove the file; what it is called does not matter";
  return fileError(source, "no image of a kind that is read", { expected: "a PNG, JPEG or WebP file", received, hint });
}

async function decoding<T>(source: Source, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (cause) {
    throw fileError(source, `cannot be decoded: ${messageOf(cause)}`, { hint: "remove or replace the file", cause });
  }
}

/** Its pixels in the form asked for, channels innermost. */
export async function decodePicture(
  openImage: OpenImage,
  { source, deep }: Picture,
  form: PictureForm,
): Promise<Uint8Array | Float32Array> {
  return decoding(source, async () => {
    const upright = openImage(source.path, { limitInputPixels: form.maxPixels }).autoOrient();
    if (form.depth === 16 && deep) return deepPixels(upright, form);
    const bytes = await bytePixels(upright, form);
    return form.depth === 16 ? Float32Array.from(bytes, (value) => value / 255) : bytes;
  });
}

async function bytePixels(image: Sharp, { width, height, channels, resize, background: [r, g, b] }: PictureForm): Promise<Uint8Array> {
  if (channels === 4) {
    const sized = image.ensureAlpha().resize(width, height, { fit: resize, background: { r: 0, g: 0, b: 0, alpha: 0 } });
    return sized.toColourspace("srgb").ensureAlpha().raw().toBuffer();
  }
  const background = { r, g, b };
  const sized = image.flatten({ background }).resize(width, height, { fit: resize, background });
  return (channels === 1 ? sized.greyscale() : sized.toColourspace("srgb")).raw().toBuffer();
}

/** libvips lays over backgrounds and turns to grey with 8 bits, so both are done here. */
async function deepPixels(image: Sharp, { width, height, channels, resize, background }: PictureForm): Promise<Float32Array> {
  const sized = image.ensureAlpha().resize(width, height, { fit: resize, background: { r: 0, g: 0, b: 0, alpha: 0 } });
  const buffer = await sized.toColourspace("rgb16").ensureAlpha().raw({ depth: "ushort" }).toBuffer();
  const stored = new Uint16Array(buffer.buffer, buffer.byteOffset, buffer.byteLength / 2);
  const result = new Float32Array(width * height * channels);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const alpha = stored[4 * pixel + 3]! / 65_535;
    const value = (channel: number): number => {
      const own = stored[4 * pixel + channel]! / 65_535;
      return channels === 4 ? own : own * alpha + (background[channel]! / 255) * (1 - alpha);
    };
    const [red, green, blue] = [value(0), value(1), value(2)];
    if (channels === 1) result[pixel] = luminance(red, green, blue);
    else result.set(channels === 3 ? [red, green, blue] : [red, green, blue, alpha], pixel * channels);
  }
  return result;
}

/** The grey of the same luminance (IEC 61966-2-1): what libvips does with 8 bits. */
function luminance(red: number, green: number, blue: number): number {
  if (red === green && green === blue) return red;
  const linear = (value: number) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  return light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055;
}
