import { stat } from "node:fs/promises";
import { join } from "node:path";
import { VaeError } from "../errors.js";
import { Fields, noMore } from "../graph/arguments.js";
import { isArray } from "../graph/kinds.js";
import { sizeOf } from "../graph/tensor.js";
import { type BytesMeaning, bytesOption, checkBytesInSlices, LOADER_HINT } from "./bytes.js";
import type { Dataset } from "./dataset.js";
import { fileError, type Source, sourceOf } from "./files.js";
import { type Colour, decodePicture, loadSharp, openPicture, type PictureForm } from "./image-file.js";
import { classesOf, findImages } from "./image-search.js";
import { allocated, byteLimit, checkBytesNeeded } from "./limits.js";
import { namesOption } from "./options.js";

/** What a folder of images is read with. */
export interface ImagesOptions {
  /** `[height, width]` that every image is brought to. */
  readonly size: readonly [height: number, width: number];
  /**
   * 1 for grey, 3 for red, green and blue, 4 for these and the opacity; default 3. With 1 and 3 transparency is laid over
   * `background`; with 4 it is kept.
   */
  readonly channels?: 1 | 3 | 4;
  /**
   * What shows through transparency, and the bars of `resize: "contain"`: a grey from 0 to 255, `[red, green, blue]`, `"#rrggbb"`,
   * `"black"` (default) or `"white"`. Black ink on a transparent ground needs another one than black.
   */
  readonly background?: number | readonly [red: number, green: number, blue: number] | string;
  /**
   * 8 (default): rows of bytes, to which images of 16 bits are rounded. 16: rows of float32 in [0, 1], four times as large, in
   * which images of 16 bits keep them all.
   */
  readonly depth?: 8 | 16;
  /** Look into folders inside the folder too; default false, true with `labels`. */
  readonly recursive?: boolean;
  /** `"folder"`: the first folder below names the class of an image. */
  readonly labels?: "folder";
  /**
   * With `labels`: the names of the classes in the order of their numbers, so that these are the same for every folder that is
   * loaded. Other folders are errors; classes without a folder are none. Default: the folders there are, sorted.
   */
  readonly classes?: readonly string[];
  /**
   * How another aspect ratio is met: `"cover"` (default) cuts off what is too much in the middle, `"contain"` adds bars of the
   * background (transparent ones with 4 channels), `"fill"` stretches.
   */
  readonly resize?: "cover" | "contain" | "fill";
  /** Files that cannot be decoded: `"error"` (default), or `"skip"`, which leaves them out and names them in `skipped`. */
  readonly unreadable?: "error" | "skip";
  /**
   * What the bytes of the images stand for: `"scaled"`, value / 255; `"raw"`, the value itself, as float32. To be given where all of
   * them are 0 and 1, as in masks; else the default is `"scaled"`. Not with `depth: 16`.
   */
  readonly bytes?: BytesMeaning;
  /**
   * The most pixels that one image may have before it is brought to size, where those of 16 bits and of CMYK count twice; default 50
   * million. A side may have at most four times the square root of that, which is 28,284.
   */
  readonly maxPixels?: number;
  /** The most bytes of memory that the rows may take; default 256 MiB, or ten times the files where that is more. */
  readonly maxBytes?: number;
}

/** A file that was left out. */
export interface SkippedFile {
  /** Relative to the folder. */
  readonly file: string;
  readonly reason: string;
}

/** The rows of a folder of images. */
export interface ImagesDataset extends Dataset {
  /** The files that `unreadable: "skip"` left out. */
  readonly skipped: readonly SkippedFile[];
}

/** Decoding is done by sharp's own threads; this many images are in their queue at a time. */
const AT_ONCE = 16;

/** Pixels of the images that are decoded at a time, if there are several. */
const PIXELS_AT_ONCE = 16e6;

/** Bytes of the rows that are made at a time, if there are several. */
const BYTES_AT_ONCE = 2 ** 26;

const MOST_PIXELS = 50e6;

/**
 * Loads the PNG, JPEG and WebP files of a folder (`.png`, `.jpg`, `.jpeg`, `.jpe`, `.jfif`, `.webp` in upper or lower case) as rows
 * of `[height, width, channels]`, in the order of their names.
 *
 * - What a file is shows in its first bytes. Other files than PNG, JPEG and WebP are passed over where they are called
 *   otherwise, and are unreadable where they are called so: an SVG is not rendered, whatever it is called.
 * - Linked files and folders are followed; a folder that is reached twice is read once, or once in every class. Hidden files and
 *   folders (`.git`, `._photo.png`) and `__MACOSX` are passed over.
 * - With `labels: "folder"`, every folder in the folder is a class, also one without images.
 * - Images are turned upright by their EXIF orientation. Palettes, CMYK and embedded colour profiles become sRGB, grey the
 *   luminance of it. Of animations the first frame is taken.
 *
 * @throws VaeError `"file"` naming the file that cannot be decoded, is larger than `maxPixels` or is in no class; for a folder that is missing or without images, and for rows of more than `maxBytes`; `"data"` where all
 *   bytes are 0 and 1 and `bytes` is left out.
 */
export async function images(folder: string | URL, options: ImagesOptions, ...surplus: never[]): Promise<ImagesDataset> {
  noMore("datasets.images", surplus, 'datasets.images("faces", { size: [64, 64] })');
  const source = sourceOf("datasets.images", folder, "folder");
  const { form, labelled, recursive, classes, skips, bytes, limit } = readOptions(source.operation, options);
  const found = await findImages({ source, recursive, labelled });
  const labels = labelled ? classesOf(found, classes, source) : undefined;
  const { files } = found;
  const shape = [form.height, form.width, form.channels];
  const size = sizeOf(shape);
  const isFloat = form.depth === 16 || bytes === "raw";
  const rowBytes = size * (isFloat ? 4 : 1);
  // One row more: that of an image on its way. Only where it matters are the files' sizes asked for.
  const needed = (files.length + 1) * rowBytes;
  const most = needed <= limit(0) ? limit(0) : limit(await storedBytes(source, files));
  checkBytesNeeded(source, needed, most, `${files.length} images of ${shape.join(" × ")}`);
  const open = await loadSharp(source.operation);
  const data = allocated(source, needed, () => (isFloat ? new Float32Array(files.length * size) : new Uint8Array(files.length * size)));

  const kept: number[] = [];
  const failures = new Map<number, VaeError>();
  const leaveOut = (index: number, error: unknown): void => {
    if (!(error instanceof VaeError)) throw error;
    failures.set(index, error);
  };
  const fileSource = (index: number): Source => ({ ...source, path: join(source.path, files[index]!) });
  for (let begin = 0; begin < files.length; begin += AT_ONCE) {
    const indices = Array.from({ length: Math.min(AT_ONCE, files.length - begin) }, (_, index) => begin + index);
    const opened = await settle(indices, (index) => openPicture(open, fileSource(index), form.maxPixels), leaveOut);
    for (const group of groups(opened, ({ value }) => Math.max(value.pixels / PIXELS_AT_ONCE, rowBytes / BYTES_AT_ONCE))) {
      const decoded = await settle(
        group,
        ({ value }) => decodePicture(open, value, form),
        ({ item }, error) => leaveOut(item, error),
      );
      for (const { item: picture, value } of decoded) {
        data.set(value, kept.length * size);
        kept.push(picture.item);
      }
    }
    if (!skips && failures.size > 0) throw inOrder(failures)[0]![1];
  }
  const skipped = inOrder(failures).map(([index, { message }]) => ({ file: files[index]!, reason: message }));
  if (kept.length === 0) throw fileError(source, "no image of the folder can be read", { received: skipped[0]!.reason });
  const rows = {
    data: kept.length === files.length ? data : data.slice(0, kept.length * size),
    rows: kept.length,
    shape,
    ...(labels === undefined ? {} : { labels: Int32Array.from(kept, (index) => labels.labels[index]!), labelNames: labels.labelNames }),
    name: source.path,
    skipped,
  };
  if (isFloat) return bytes === "raw" ? { ...rows, bytes } : rows;
  await checkBytesInSlices({ ...rows, bytes }, source.operation, LOADER_HINT);
  return { ...rows, bytes: "scaled" };
}

function inOrder<Value>(byIndex: ReadonlyMap<number, Value>): [index: number, value: Value][] {
  return [...byIndex].sort(([a], [b]) => a - b);
}

/** What became of an item. */
interface Settled<Item, Value> {
  readonly item: Item;
  readonly value: Value;
}

/** Calls for all items at once; all of them end before the failures are told. */
async function settle<Item, Value>(
  items: readonly Item[],
  call: (item: Item) => Promise<Value>,
  failed: (item: Item, error: unknown) => void,
): Promise<Settled<Item, Value>[]> {
  const results = await Promise.allSettled(items.map(call));
  return results.flatMap((result, index) => {
    const item = items[index]!;
    if (result.status === "fulfilled") return [{ item, value: result.value }];
    failed(item, result.reason);
    return [];
  });
}

/** Parts of a list, in order, of weights that add up to at most 1, or of one item. */
function groups<Item>(items: readonly Item[], weight: (item: Item) => number): Item[][] {
  const parts: Item[][] = [];
  let room = 0;
  for (const item of items) {
    room -= weight(item);
    if (parts.length === 0 || room < 0) {
      parts.push([]);
      room = 1 - weight(item);
    }
    parts.at(-1)!.push(item);
  }
  return parts;
}

/** What the files take on the disk; those that cannot be asked are found when they are opened. */
async function storedBytes({ path }: Source, files: readonly string[]): Promise<number> {
  let total = 0;
  for (let begin = 0; begin < files.length; begin += AT_ONCE) {
    const sizes = files.slice(begin, begin + AT_ONCE).map((file) =>
      stat(join(path, file)).then(
        ({ size }) => size,
        () => 0,
      ),
    );
    for (const size of await Promise.all(sizes)) total += size;
  }
  return total;
}

function readOptions(operation: string, options: ImagesOptions) {
  const fields = new Fields(operation, options);
  const given: unknown = fields.raw("size");
  if (!isArray(given) || given.length !== 2) throw fields.wrong("size", "[height, width]");
  const [height, width] = fields.shape("size");
  const channels: unknown = fields.raw("channels") ?? 3;
  if (channels !== 1 && channels !== 3 && channels !== 4) throw fields.wrong("channels", "1, 3 or 4");
  const depth: unknown = fields.raw("depth") ?? 8;
  if (depth !== 8 && depth !== 16) throw fields.wrong("depth", "8 or 16");
  const labelled = fields.raw("labels") !== undefined && fields.choice("labels", ["folder"]) === "folder";
  const recursive = fields.boolean("recursive", labelled);
  if (labelled && !recursive) throw fields.wrong("recursive", 'left out or true with labels: "folder"');
  const classes = namesOption(fields, "classes");
  if (classes !== undefined && !labelled) throw fields.wrong("classes", 'left out without labels: "folder"');
  if (classes !== undefined && (classes.length === 0 || new Set(classes).size < classes.length)) {
    throw fields.wrong("classes", "at least one name, each of them once");
  }
  const background = colourOption(fields);
  if (background !== undefined && channels === 4) throw fields.wrong("background", "left out with 4 channels, which keep transparency");
  const bytes = bytesOption(fields);
  if (bytes !== undefined && depth === 16) throw fields.wrong("bytes", "left out with depth: 16, where rows are floats in [0, 1]");
  const form: PictureForm = {
    height: height!,
    width: width!,
    channels,
    depth,
    resize: fields.choice("resize", ["cover", "contain", "fill"], "cover"),
    background: background ?? BLACK,
    maxPixels: fields.number("maxPixels", { minimum: 1, maximum: Number.MAX_SAFE_INTEGER, integer: true }, MOST_PIXELS),
  };
  const skips = fields.choice("unreadable", ["error", "skip"], "error") === "skip";
  const limit = byteLimit(fields);
  fields.finish();
  return { form, labelled, recursive, classes, skips, bytes, limit };
}

const BLACK: Colour = [0, 0, 0];
const WHITE: Colour = [255, 255, 255];

function colourOption(fields: Fields): Colour | undefined {
  const value = fields.raw("background");
  if (value === undefined) return undefined;
  const isByte = (part: unknown): boolean => typeof part === "number" && Number.isInteger(part) && part >= 0 && part <= 255;
  if (value === "black") return BLACK;
  if (value === "white") return WHITE;
  if (typeof value === "number" && isByte(value)) return [value, value, value];
  if (isArray(value) && value.length === 3 && value.every(isByte)) return value as unknown as Colour;
  const digits = typeof value === "string" ? /^#([\da-f]{2})([\da-f]{2})([\da-f]{2})$/i.exec(value) : null;
  if (digits !== null) return [1, 2, 3].map((place) => Number.parseInt(digits[place]!, 16)) as unknown as Colour;
  throw fields.wrong("background", 'a grey from 0 to 255, [red, green, blue], "#rrggbb", "black" or "white"');
}
