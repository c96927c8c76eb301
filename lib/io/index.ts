export { type BytesMeaning, checkBytesInSlices } from "./bytes.js";
export { checkFinite, checkRange, checkValues, type ValueRange } from "./check.js";
export { type Checkpoint, type JsonValue, loadCheckpoint, saveCheckpoint } from "./checkpoint.js";
export { concatenateDatasets } from "./concatenate.js";
export type { CsvCategoryColumn, CsvDataset, CsvNumberColumn, CsvOptions, CsvPreparation } from "./csv.js";
export { type Batch, type DataSource, type Dataset, type ImmediateSource, isDataset, toDataset } from "./dataset.js";
export { datasets, type FromOptions } from "./datasets.js";

export type { DTypeArrays } from "./elements.js";

export type { IdxOptions } from "./idx.js";
export type { ImagesDataset, ImagesOptions, SkippedFile } from "./image-folder.js";
export { imageSheet, type Pixels, type Sheet, type SheetOptions, type SheetRows, saveImages, writePng } from "./image-sheet.js";
export type { MnistOptions } from "./mnist.js";
export type { NpyOptions } from "./npy.js";
export type { NpzOptions } from "./npz.js";
export type { RecordsOptions } from "./records.js";
export { readSafetensors, type Safetensors, type StoredTensor, writeSafetensors } from "./safetensors.js";
export { type Standardization, type Standardizer, type StandardizerOptions, standardizer } from "./standardizer.js";
export { type RowRange, type SplitOptions, split, subset } from "./subset.js";
