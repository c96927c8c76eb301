import { stat } from "node:fs/promises";
import { VaeError } from "../errors.js";
import { type Shape, showShape, sizeOf } from "../graph/tensor.js";
import { fileError, fileSystemError, openRegular } from "../io/files.js";
import { type Dataset, datasets, subset } from "../io/index.js";
import type { DataOptions } from "./options.js";

/**
 * Loads what `--data` names. What kind of file it is shows in its first bytes, whatever it is called.
 *
 * @param input the shape that a model asks for; flat rows of as many values are given that shape
 */
export async function openData(options: DataOptions, input?: Shape): Promise<Dataset> {
  const loaded = await load(options, input);
  const shaped = withShape(loaded, options.shape);
  return options.limit === undefined ? shaped : subset(shaped, { end: Math.min(options.limit, shaped.rows) });
}

async function load(options: DataOptions, input: Shape | undefined): Promise<Dataset> {
  const { data: path } = options;
  const bytes = options.bytes === undefined ? {} : { bytes: options.bytes };
  if (path === "mnist" || path === "mnist-test") return datasets.mnist({ train: path === "mnist", ...bytes });
  switch (await kindOf(path)) {
    case "folder": {
      const [height = 64, width = 64, channels = 3] = input?.length === 3 ? input : [];
      return datasets.images(path, {
        size: options.size ?? [height, width],
        channels: options.channels ?? (channels === 1 ? 1 : 3),
        ...bytes,
        recursive: true,
      });
    }
    case "idx":
      return datasets.idx(path, bytes);
    case "npy":
      return datasets.npy(path, bytes);
    case "npz":
      return datasets.npz(path, { ...bytes, ...(options.key === undefined ? {} : { key: options.key }) });
    case "csv": {
      const { label, columns, header, decimal, comment, encoding, missing } = options;
      const delimiter = options.delimiter ?? (/\.tsv(\.gz)?$/i.test(path) ? "\t" : undefined);
      const given = Object.entries({ label, columns, header, delimiter, decimal, comment, encoding, missing });
      return datasets.csv(path, Object.fromEntries(given.filter(([, value]) => value !== undefined)));
    }
  }
}

async function kindOf(path: string): Promise<"folder" | "idx" | "npy" | "npz" | "csv"> {
  const source = { operation: "--data", path };
  const start = Buffer.alloc(6);
  try {
    if ((await stat(path)).isDirectory()) return "folder";
    await using file = await openRegular(source);
    await file.read(start, 0, start.length, 0);
  } catch (cause) {
    throw fileSystemError(source, cause);
  }
  if (start.toString("latin1") === "\x93NUMPY") return "npy";
  if (start.toString("latin1", 0, 2) === "PK") return "npz";
  if (/\.(csv|tsv|txt|data)(\.gz)?$/i.test(path)) return "csv";
  if (start.readUInt16BE(0) === 0x1f8b || /ubyte$|\.idx\d*$/i.test(path)) return "idx";
  if (start.readUInt16BE(0) === 0) return "idx";
  throw fileError(source, "not a kind of file that rows can be read from", {
    expected:
      "an IDX, NPY, NPZ or CSV file (ending in .csv, .tsv, .txt or .data, also with .gz behind it), a folder of images, mnist or mnist-test",
    hint: "a single image goes into a folder of its own",
  });
}

function withShape(dataset: Dataset, shape: Shape | undefined): Dataset {
  if (shape === undefined || shape.join() === dataset.shape.join()) return dataset;
  if (sizeOf(shape) === sizeOf(dataset.shape)) return { ...dataset, shape };
  throw new VaeError({
    code: "shape",
    operation: "--shape",
    expected: `a shape of ${sizeOf(dataset.shape)} values, as the rows of ${dataset.name} have`,
    received: `${showShape(shape)}, ${sizeOf(shape)} values`,
  });
}
