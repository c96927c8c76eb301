import { stat } from "node:fs/promises";
import { VaeError } from "../errors.js";
import { type Shape, showShape, sizeOf } from "../graph/tensor.js";
import { fileError, fileSystemError, openRegular } from "../io/files.js";
import { type Dataset, datasets, split } from "../io/index.js";
import type { DataOptions } from "./options.js";

/** What a trained model asks of its data. */
export interface Wanted {
  /** The shape of a row; images are brought to it. */
  readonly input: Shape;
  /** Names of its columns, and of the categories of its columns of texts. */
  readonly columns: readonly string[] | undefined;
  readonly categories: Readonly<Record<string, readonly string[]>> | undefined;
}

/**
 * Loads what `--data` names, for a model as that was trained on it. What kind of file it is shows in its first bytes, whatever
 * it is called.
 */
export async function openData(options: DataOptions, wanted?: Wanted): Promise<Dataset> {
  const loaded = await load(options, wanted);
  const shaped = withShape(loaded, options.shape);
  return options.limit === undefined ? shaped : drawnRows(shaped, options.limit, options.seed ?? 1);
}

/** The columns of a file that a model wants, in its order. */
function sourceColumns({ columns, categories = {} }: Wanted): readonly string[] | undefined {
  const sourceOf = new Map<string, string>(
    Object.entries(categories).flatMap(([name, texts]) => texts.map((text) => [`${name}=${text}`, name] as const)),
  );
  return columns === undefined ? undefined : [...new Set(columns.map((column) => sourceOf.get(column) ?? column))];
}

/** So many rows, drawn by the seed, in their order: the head of a file may be sorted, and tell nothing of the whole. */
export function drawnRows(dataset: Dataset, count: number, seed: number): Dataset {
  return count >= dataset.rows ? dataset : split(dataset, { count, seed })[1];
}

async function load(options: DataOptions, wanted: Wanted | undefined): Promise<Dataset> {
  const { data: path } = options;
  const bytes = options.bytes === undefined ? {} : { bytes: options.bytes };
  if (path === "mnist" || path === "mnist-test") return datasets.mnist({ train: path === "mnist", ...bytes });
  switch (await kindOf(path)) {
    case "folder": {
      const [height = 64, width = 64, channels = 3] = wanted?.input.length === 3 ? wanted.input : [];
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
      const { label, header, decimal, comment, encoding, missing } = options;
      const columns = options.columns ?? (wanted === undefined ? undefined : sourceColumns(wanted));
      const named = options.categorical ?? Object.keys(wanted?.categories ?? {});
      const categorical = named.length === 0 ? undefined : named;
      const delimiter = options.delimiter ?? (/\.tsv(\.gz)?$/i.test(path) ? "\t" : undefined);
      const given = Object.entries({ label, columns, categorical, header, delimiter, decimal, comment, encoding, missing });
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
