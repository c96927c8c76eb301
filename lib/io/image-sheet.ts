import { describe, VaeError } from "../errors.js";
import { Fields, noMore } from "../graph/arguments.js";
import { isArray, isFloat32Array, isReadable, isUint8Array, messageOf } from "../graph/kinds.js";
import { sizeOf } from "../graph/tensor.js";
import { fileError, sourceOf, writeAtomically } from "./files.js";
import { loadSharp } from "./image-file.js";

/** How images are laid out on a sheet. */
export interface SheetOptions {
  /** Shape of one image: `[height, width, 1]` for grey or `[height, width, 3]` for red, green and blue. */
  readonly shape: readonly [height: number, width: number, channels: number];
  /** Images side by side; default the square root of their number, rounded up. */
  readonly columns?: number;
  /** Whole number by which pixels are enlarged, each to a square; default 2 for MNIST, 1 from 48 pixels on. */
  readonly scale?: number;
  /** Pixels between images and around them, after scaling; default 2. */
  readonly gap?: number;
  /** Grey value, 0 to 255, of gaps and empty places; default 48, a dark grey that sets dark images apart without outshining them. */
  readonly background?: number;
  /** The most pixels that the sheet may have; default 50 million. */
  readonly maxPixels?: number;
}

const MOST_PIXELS = 50e6;

/** Pixels, row-major, channels innermost. */
export interface Sheet {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
  readonly data: Uint8Array;
}

/** Images, row-major: floats in [0, 1] (others are clipped) or bytes. */
export type Pixels = Float32Array | Uint8Array;

/** Images, or two lists of as many to be compared: each line of the first has the same line of the second below it. */
export type SheetRows = Pixels | { readonly pairs: readonly [Pixels, Pixels] };

/**
 * Lays images out on one sheet, line by line.
 *
 * @example
 * ```ts
 * await saveImages("samples.png", await digits.sample(64), { shape: [28, 28, 1] });
 * await saveImages("pairs.png", { pairs: [originals, reconstructions] }, { shape: [28, 28, 1], columns: 10 });
 * ```
 * @throws VaeError `"shape"` for data that are not whole images, `"argument"` for options out of range and for sheets of more than
 *   `maxPixels`.
 */
export function imageSheet(rows: SheetRows, options: SheetOptions, operation = "imageSheet"): Sheet {
  const fields = new Fields(operation, options);
  const whole = (name: string, minimum: number, maximum: number, fallback: number): number =>
    fields.number(name, { minimum, maximum, integer: true }, fallback);
  const [height = 0, width = 0, channels, ...rest] = fields.shape("shape");
  if ((channels !== 1 && channels !== 3) || rest.length > 0) throw fields.wrong("shape", "[height, width, 1 or 3]", "", "shape");
  const shape = [height, width, channels] as const;
  const lists = listsOf(rows, operation);
  const counts = lists.map((list) => list.length / sizeOf(shape));
  const [count = 0] = counts;
  if (!Number.isInteger(count) || count < 1 || counts.some((other) => other !== count)) {
    throw new VaeError({
      code: "shape",
      operation,
      expected: `whole images of ${sizeOf(shape)} values${lists.length > 1 ? ", as many originals as reconstructions" : ""}`,
      received: lists.map((list) => `${list.length} values`).join(" and "),
    });
  }
  const scale = whole("scale", 1, 64, Math.max(1, Math.round(64 / Math.max(height, width))));
  const columns = Math.min(count, whole("columns", 1, 1e6, Math.ceil(Math.sqrt(count))));
  const gap = whole("gap", 0, 1000, 2);
  const background = whole("background", 0, 255, 48);
  const maxPixels = whole("maxPixels", 1, Number.MAX_SAFE_INTEGER, MOST_PIXELS);
  fields.finish();

  const lines = Math.ceil(count / columns);
  const cell = { width: width * scale + gap, height: height * scale + gap };
  // The two lines of a pair stand close together, and apart from the next.
  const apart = lists.length > 1 ? 4 * gap : 0;
  const blockHeight = cell.height * lists.length + apart;
  const sheetWidth = cell.width * columns + gap;
  const sheetHeight = blockHeight * lines - apart + gap;
  const sheetPixels = `${count} images on ${sheetWidth} × ${sheetHeight} pixels`;
  if (sheetWidth * sheetHeight > maxPixels) {
    throw new VaeError({
      code: "argument",
      operation,
      problem: "the sheet is too large",
      expected: `at most ${maxPixels} pixels (the option maxPixels)`,
      received: sheetPixels,
      hint: "show fewer images, make scale or gap smaller, or pass a larger maxPixels",
    });
  }
  const data = emptySheet(sheetWidth * sheetHeight * channels, sheetPixels, operation).fill(background);
  lists.forEach((list, place) => {
    for (let image = 0; image < count; image++) {
      const left = gap + (image % columns) * cell.width;
      const top = gap + Math.floor(image / columns) * blockHeight + place * cell.height;
      paint(
        list.subarray(image * sizeOf(shape), (image + 1) * sizeOf(shape)),
        shape,
        scale,
        data,
        (top * sheetWidth + left) * channels,
        sheetWidth,
      );
    }
  });
  return { width: sheetWidth, height: sheetHeight, channels, data };
}

function emptySheet(bytes: number, received: string, operation: string): Uint8Array {
  try {
    return new Uint8Array(bytes);
  } catch (cause) {
    throw new VaeError({ code: "argument", operation, problem: "the sheet does not fit into memory", received, cause });
  }
}

function listsOf(rows: SheetRows, operation: string): readonly Pixels[] {
  const paired = typeof rows === "object" && rows !== null && isReadable(rows) && "pairs" in rows;
  const lists: unknown = paired ? rows.pairs : [rows];
  const isPixels = (list: unknown): list is Pixels => isFloat32Array(list) || isUint8Array(list);
  if (isArray(lists) && lists.length === (paired ? 2 : 1) && lists.every(isPixels)) return lists;
  const expected = "a Float32Array or Uint8Array of images, or { pairs } of two of them";
  throw new VaeError({ code: "argument", operation, expected, received: describe(rows) });
}

/** Nearest neighbour: the pixels of small images stay what the model made them, with nothing made up in between. */
function paint(
  pixels: Pixels,
  [height, width, channels]: readonly [number, number, number],
  scale: number,
  target: Uint8Array,
  origin: number,
  sheetWidth: number,
): void {
  const bytes = isUint8Array(pixels);
  for (let y = 0; y < height * scale; y++) {
    const line = Math.floor(y / scale) * width;
    let to = origin + y * sheetWidth * channels;
    for (let x = 0; x < width * scale; x++) {
      const from = (line + Math.floor(x / scale)) * channels;
      for (let channel = 0; channel < channels; channel++) {
        const value = pixels[from + channel]!;
        target[to++] = bytes ? value : Math.round(255 * Math.min(1, Math.max(0, value)));
      }
    }
  }
}

/**
 * Writes a sheet, or any raw pixels, as a PNG file, atomically.
 *
 * @throws VaeError `"file"` when it cannot be written.
 */
export async function writePng(path: string | URL, { width, height, channels, data }: Sheet, operation = "writePng"): Promise<void> {
  const target = sourceOf(operation, path);
  const open = await loadSharp(operation);
  await writeAtomically(target, [await encodePng()]);

  async function encodePng(): Promise<Uint8Array> {
    try {
      const image = open(data, { raw: { width, height, channels }, limitInputPixels: false });
      return await (channels === 1 ? image.toColourspace("b-w") : image).png({ compressionLevel: 9 }).toBuffer();
    } catch (cause) {
      const received = `${width} × ${height} pixels`;
      throw fileError(target, `cannot be encoded as PNG: ${messageOf(cause)}`, { received, cause });
    }
  }
}

/**
 * Lays images out on a sheet and writes it as a PNG file: {@link imageSheet} and {@link writePng} in one.
 *
 * @throws VaeError as the two do.
 */
export async function saveImages(path: string | URL, rows: SheetRows, options: SheetOptions, ...surplus: never[]): Promise<void> {
  noMore("saveImages", surplus, 'saveImages("samples.png", rows, { shape: [28, 28, 1] })');
  await writePng(path, imageSheet(rows, options, "saveImages"), "saveImages");
}
