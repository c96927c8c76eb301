import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Sharp } from "sharp";
import { VaeError } from "../errors.js";
import { Fields } from "../graph/arguments.js";
import { messageOf } from "../graph/kinds.js";
import { sizeOf } from "../graph/tensor.js";
import type { Dataset } from "./dataset.js";
import { fileError, fileSystemError, type Source, sourceOf } from "./files.js";

/** What a folder of images is read with. */
export interface ImagesOptions {
  /** `[height, width]` that every image is brought to. */
  readonly size: readonly [height: number, width: number];
  /** 1 for grey, 3 for red, green and blue; default 3. Transparency is laid over black. */
  readonly channels?: 1 | 3;
  /** Look into folders inside the folder too; default false, true with `labels`. */
  readonly recursive?: boolean;
  /** `"folder"`: the first folder below names the class of an image. */
  readonly labels?: "folder";
  /**
   * How another aspect ratio is met: `"cover"` (default) cuts off what is too much in the middle, `"contain"` adds black bars,
   * `"fill"` stretches.
   */
  readonly resize?: "cover" | "contain" | "fill";
}

const EXTENSIONS = /\.(png|jpe?g|webp)$/i;

/** Decoding is done by sharp's own threads; this many images are in their queue at a time. */
const AT_ONCE = 16;

/**
 * Loads the PNG, JPEG and WebP files of a folder, in the order of their names, as rows of bytes of
 * `[height, width, channels]`. Images are turned upright by their EXIF orientation; other files are passed over.
 *
 * @throws VaeError `"file"` naming the file that cannot be decoded, or for a folder that is missing or without images.
 */
export async function images(folder: string | URL, options: ImagesOptions): Promise<Dataset> {
  const source = sourceOf("datasets.images", folder, "folder");
  const { size, channels, labelled, recursive, resize } = readOptions(source.operation, options);
  const names = await listImages(source, recursive);
  const classes = labelled ? folderLabels(names, source) : {};
  const open = await loadSharp(source.operation);
  const [height, width] = size;
  const shape = [height, width, channels];
  const data = new Uint8Array(names.length * sizeOf(shape));

  const decode = async (index: number) => {
    const path = join(source.path, names[index]!);
    try {
      const image = open(path).autoOrient().flatten({ background: "black" }).resize(width, height, { fit: resize, background: "black" });
      const pixels = await (channels === 1 ? image.greyscale() : image.toColourspace("srgb")).raw().toBuffer();
      data.set(pixels, index * sizeOf(shape));
    } catch (cause) {
      const reason = messageOf(cause);
      throw fileError({ ...source, path }, `cannot be decoded: ${reason}`, { hint: "remove or replace the file", cause });
    }
  };
  for (let begin = 0; begin < names.length; begin += AT_ONCE) {
    const batch = Array.from({ length: Math.min(AT_ONCE, names.length - begin) }, (_, index) => decode(begin + index));
    // All of them end before an error is passed on, and the first in order is the one reported.
    for (const result of await Promise.allSettled(batch)) if (result.status === "rejected") throw result.reason;
  }
  return { data, rows: names.length, shape, ...classes, name: source.path };
}

function readOptions(operation: string, options: ImagesOptions) {
  const fields = new Fields(operation, options);
  const given: unknown = fields.raw("size");
  if (!Array.isArray(given) || given.length !== 2) throw fields.wrong("size", "[height, width]");
  const [height, width] = fields.shape("size");
  const channels: unknown = fields.raw("channels") ?? 3;
  if (channels !== 1 && channels !== 3) throw fields.wrong("channels", "1 or 3");
  const labelled = fields.raw("labels") !== undefined && fields.choice("labels", ["folder"]) === "folder";
  const recursive = fields.boolean("recursive", labelled);
  const resize = fields.choice("resize", ["cover", "contain", "fill"], "cover");
  fields.finish();
  return { size: [height!, width!] as const, channels, labelled, recursive, resize };
}

/** Opens an image file or raw pixels. */
type OpenImage = (input: string | Uint8Array, options?: { readonly raw: { width: number; height: number; channels: 1 | 3 } }) => Sharp;

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

/** Paths relative to the folder, sorted by code unit so that the order is the same everywhere. */
async function listImages(source: Source, recursive: boolean): Promise<string[]> {
  const found: string[] = [];
  const walk = async (relative: string): Promise<void> => {
    for (const entry of await readdir(join(source.path, relative), { withFileTypes: true })) {
      const name = relative === "" ? entry.name : `${relative}/${entry.name}`;
      if (entry.isDirectory()) {
        if (recursive) await walk(name);
      } else if (EXTENSIONS.test(name)) {
        found.push(name);
      }
    }
  };
  try {
    await walk("");
  } catch (cause) {
    throw fileSystemError(source, cause);
  }
  if (found.length === 0) {
    const hint = recursive ? undefined : "for images in folders inside the folder pass { recursive: true }";
    throw fileError(source, "no images in the folder", { expected: "PNG, JPEG or WebP files", ...(hint === undefined ? {} : { hint }) });
  }
  return found.sort();
}

function folderLabels(names: readonly string[], source: Source): { readonly labels: Int32Array; readonly labelNames: readonly string[] } {
  const classes = names.map((name) => {
    const [first = "", ...rest] = name.split("/");
    if (rest.length > 0) return first;
    throw fileError({ ...source, path: join(source.path, name) }, "stands in no folder that would name its class", {
      hint: 'leave out labels: "folder", or move it',
    });
  });
  const labelNames = [...new Set(classes)].sort();
  const labelOf = new Map(labelNames.map((name, label) => [name, label]));
  return { labels: Int32Array.from(classes, (name) => labelOf.get(name)!), labelNames };
}
