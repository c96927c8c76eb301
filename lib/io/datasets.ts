import type { Shape } from "../graph/tensor.js";
import { csv } from "./csv.js";
import { type DataSource, type Dataset, type ImmediateSource, toDataset } from "./dataset.js";
import { images } from "./folder.js";
import { idx } from "./idx.js";
import { mnist } from "./mnist.js";
import { npy, npz } from "./npy.js";

/**
 * Rows of the given shape from a typed array, an array of rows, an iterable of batches or, as a promise, an async iterable
 * of batches. Typed arrays of up to 8 MiB are copied, larger ones are used in place: they are the data set's memory.
 *
 * @throws VaeError `"shape"`, `"data"`, `"dtype"`, `"detached"` or `"argument"`, saying which row or batch does not fit.
 */
function from(source: ImmediateSource, shape: Shape): Dataset;
function from(source: DataSource, shape: Shape): Dataset | Promise<Dataset>;
function from(source: DataSource, shape: Shape): Dataset | Promise<Dataset> {
  return toDataset(source, shape, "datasets.from");
}

/**
 * Loaders, one per format. Every one gives a {@link Dataset} in memory and reports a bad file with its name, the offset, line
 * or row, what was expected there and what was found.
 *
 * @example
 * ```ts
 * const digits = await datasets.mnist({ train: true });
 * const faces = await datasets.images("faces", { size: [64, 64] });
 * const sensors = await datasets.csv("sensors.csv", { label: "state", standardize: true });
 * ```
 */
export const datasets = Object.freeze({ csv, from, idx, images, mnist, npy, npz });
