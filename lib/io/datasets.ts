import { Fields, noMore, signalOption } from "../graph/arguments.js";
import { isPromise, isUint8Array } from "../graph/kinds.js";
import type { Shape } from "../graph/tensor.js";
import { type BytesMeaning, bytesOption, checkBytes, withRawAsFloats } from "./bytes.js";
import { csv } from "./csv.js";
import { type DataSource, type Dataset, type ImmediateSource, toDataset } from "./dataset.js";
import { idx } from "./idx.js";
import { images } from "./image-folder.js";
import { mnist } from "./mnist.js";
import { npy } from "./npy.js";
import { npz } from "./npz.js";
import { records } from "./records.js";
import { stream } from "./stream-files.js";

/** What rows are taken with. */
export interface FromOptions {
  /**
   * What bytes stand for: `"scaled"`, value / 255; `"raw"`, the value itself, kept as float32 (four bytes per value). To be given
   * where all bytes are 0 and 1; else the default is `"scaled"`. Floats always stand for themselves.
   */
  readonly bytes?: BytesMeaning;
  /** Most rows that an iterable may bring, which are all held in memory; default: as many as fill 512 MiB. */
  readonly maxRows?: number;
  /** Aborting ends the reading of an async iterable at once: it is closed, and the promise rejects with the reason. */
  readonly signal?: AbortSignal;
}

/**
 * Rows of the given shape from a typed array, an array of rows, a record of arrays by field name (`x` has the rows, see
 * `withField` for the others), an iterable of batches or, as a promise, an async iterable of batches. Typed arrays of up to 8 MiB are copied, larger ones are used in place: they are the data set's memory.
 *
 * Chunks of bytes of an async iterable, such as a stream of a file of bytes, may be cut anywhere; all other batches hold whole rows.
 *
 * @example
 * ```ts
 * const masks = datasets.from(zerosAndOnes, [64, 64, 1], { bytes: "raw" });
 * const photos = datasets.from({ x: pixels, label: ["cat", "dog", "cat"], age: [3, 7, 1] }, [32, 32, 3]);
 * ```
 * @throws VaeError `"shape"`, `"data"`, `"dtype"`, `"detached"` or `"argument"`, saying which row or batch does not fit; `"data"`
 *   for bytes that are all 0 and 1 where `bytes` is left out, and for more than `maxRows`. What a source throws, and the reason of an
 *   abort, are passed on as they are.
 */
function from(source: ImmediateSource, shape: Shape, options?: FromOptions, ...surplus: never[]): Dataset;
function from(source: DataSource, shape: Shape, options?: FromOptions, ...surplus: never[]): Dataset | Promise<Dataset>;
function from(source: DataSource, shape: Shape, options: FromOptions = {}, ...surplus: never[]): Dataset | Promise<Dataset> {
  const operation = "datasets.from";
  noMore(operation, surplus, 'datasets.from(values, [28, 28, 1], { bytes: "raw" })');
  const fields = new Fields(operation, options);
  const bytes = bytesOption(fields);
  const maxRows = fields.raw("maxRows") === undefined ? undefined : fields.number("maxRows", { minimum: 1, integer: true });
  const signal = signalOption(fields);
  fields.finish();
  const meant = (dataset: Dataset): Dataset => {
    if (!isUint8Array(dataset.data)) return dataset;
    const told = bytes === undefined ? dataset : { ...dataset, bytes };
    checkBytes(told, operation);
    return withRawAsFloats({ ...told, bytes: told.bytes ?? "scaled" });
  };
  const dataset = toDataset(source, shape, operation, { maxRows, stops: signal === undefined ? [] : [signal] });
  return isPromise(dataset) ? dataset.then(meant) : meant(dataset);
}

/**
 * Loaders, one per format. Every one gives a {@link Dataset} in memory and reports a bad file with its name, the offset, line
 * or row, what was expected there and what was found. `datasets.stream` gives rows that a training reads from files as it goes.
 *
 * @example
 * ```ts
 * const digits = await datasets.mnist({ train: true });
 * const faces = await datasets.images("faces", { size: [64, 64] });
 * const sensors = await datasets.csv("sensors.csv", { label: "state", standardize: true });
 * ```
 */
export const datasets = Object.freeze({ csv, from, idx, images, mnist, npy, npz, records, stream });
