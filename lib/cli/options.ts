// What several commands take: how an option's text becomes a value, and groups of options that belong together.
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Shape } from "../graph/index.js";
import type { BytesMeaning } from "../io/index.js";
import { type Encoding, encodings } from "../io/text.js";
import type { Precision } from "../runtime/native.js";

/** A whole number of at least `minimum`. */
export function wholeNumber(minimum: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= minimum) return value;
    throw new InvalidArgumentError(`Expected a whole number of at least ${minimum}.`);
  };
}

/** A decimal number above 0, or with `zero` also 0. */
export function positiveNumber({ zero = false } = {}): (text: string) => number {
  return (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (Number.isFinite(value) && (value > 0 || (zero && value === 0))) return value;
    throw new InvalidArgumentError(`Expected a number ${zero ? "of at least" : "above"} 0.`);
  };
}

/** Hidden layers, `400,200`; `none` for no hidden layer. */
export function layerSizes(text: string): readonly number[] {
  if (text === "none") return [];
  const sizes = text.split(",").map((size) => (/^\d+$/.test(size.trim()) ? Number(size) : 0));
  if (sizes.every((size) => size >= 1)) return sizes;
  throw new InvalidArgumentError("Expected whole numbers of at least 1 with commas between them, such as 400,200, or none.");
}

/** A shape, `28x28` or `64x64x3`. */
export function shape(text: string): Shape {
  const sizes = text.split("x").map((size) => (/^\d+$/.test(size) ? Number(size) : 0));
  if (sizes.every((size) => size >= 1)) return sizes;
  throw new InvalidArgumentError("Expected whole numbers of at least 1 with x between them, such as 28x28 or 64x64x3.");
}

/** Height and width, `64x48`. */
export function imageSize(text: string): readonly [height: number, width: number] {
  const [height, width, ...rest] = shape(text);
  if (height !== undefined && width !== undefined && rest.length === 0) return [height, width];
  throw new InvalidArgumentError("Expected height and width, such as 64x64.");
}

/** Values per pixel, 1 or 3. */
export function channelCount(text: string): 1 | 3 {
  if (text === "1") return 1;
  if (text === "3") return 3;
  throw new InvalidArgumentError("Expected 1 or 3.");
}

/** What becomes of missing cells. */
export function missing(text: string): "error" | "mean" | "drop" | number {
  if (text === "error" || text === "mean" || text === "drop") return text;
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (Number.isFinite(value)) return value;
  throw new InvalidArgumentError("Expected error, mean, drop or a number.");
}

/** What {@link addDataOptions} adds. */
export interface DataOptions {
  readonly data: string;
  readonly limit?: number;
  readonly seed?: number;
  readonly shape?: Shape;
  readonly size?: readonly [height: number, width: number];
  readonly channels?: 1 | 3;
  readonly key?: string;
  readonly bytes?: BytesMeaning;
  readonly label?: string;
  readonly columns?: readonly string[];
  readonly categorical?: readonly string[];
  readonly delimiter?: string;
  readonly decimal?: "." | ",";
  readonly comment?: string;
  readonly encoding?: Encoding;
  readonly missing?: "error" | "mean" | "drop" | number;
  readonly header?: boolean;
}

/** `--data` and how to read it. */
export function addDataOptions(command: Command): Command {
  return command
    .requiredOption("-d, --data <path>", "IDX (also .gz), NPY, NPZ or CSV (also .csv.gz) file, folder of images, mnist or mnist-test")
    .option("--limit <rows>", "only so many rows, drawn at random by --seed and kept in their order", wholeNumber(1))
    .option("--shape <shape>", "shape of a row where the file has it flat: 28x28, 64x64x3", shape)
    .option("--size <size>", "folder of images: height and width that all are brought to (default: the model's, or 64x64)", imageSize)
    .option("--channels <count>", "folder of images: 1 for grey, 3 for colour (default: the model's, or 3)", channelCount)
    .option("--key <name>", "NPZ: name of the array with the rows, where there are several")
    .addOption(
      new Option("--bytes <meaning>", "IDX, NPY, NPZ, images: bytes stand for value / 255, or for themselves (default: scaled)").choices([
        "scaled",
        "raw",
      ]),
    )
    .option("--label <column>", "CSV: column with the class of a row, which is no part of the data")
    .option("--columns <names>", "CSV: columns to use, with commas between them (default: all)", (text: string) => text.split(","))
    .option(
      "--categorical <names>",
      "CSV: columns of texts, each to become a column of 0 and 1 per text (default: the model's)",
      (text: string) => text.split(","),
    )
    .option("--delimiter <character>", "CSV: between the cells (default: what the first lines have, a tab in .tsv files)")
    .addOption(new Option("--decimal <character>", "CSV: before the fraction of a number (default: a point)").choices([".", ","]))
    .option("--comment <text>", "CSV: what lines begin with that are to be passed over, such as #")
    .addOption(new Option("--encoding <name>", "CSV: default by its byte order mark, else utf-8").choices(encodings))
    .option("--missing <what>", "CSV: missing cells are an error, become the mean or a number, or drop their row (default: error)", missing)
    .option("--header", "CSV: the first line holds names even if these are numbers")
    .option("--no-header", "CSV: the first line already holds values");
}

/** `--seed` for commands that draw nothing but the rows of `--limit`. */
export function addLimitSeed(command: Command): Command {
  return command.option("--seed <number>", "of the rows that --limit draws", wholeNumber(0), 1);
}

/** What {@link addDeviceOptions} adds. */
export interface DeviceChoice {
  readonly device: "auto" | "cpu" | "cuda" | `cuda:${number}`;
  readonly threads?: number;
  readonly precision?: Precision;
}

/** `--device`, `--threads` and `--precision`. */
export function addDeviceOptions(command: Command): Command {
  return command
    .option("--device <name>", "auto, cpu, cuda or cuda:<index>", "auto")
    .option(
      "--threads <count>",
      "on the CPU; results do not depend on it (default: NODE_VAE_THREADS, or one per processor)",
      wholeNumber(1),
    )
    .addOption(
      new Option("--precision <name>", "of products and convolutions on CUDA (default: float32)").choices(["float32", "tf32", "bfloat16"]),
    );
}

/** What `vae` and `load` take of a command's options. */
export function placementOf({ device, threads, precision }: DeviceChoice): DeviceChoice {
  return { device, ...(threads === undefined ? {} : { threads }), ...(precision === undefined ? {} : { precision }) };
}

/** Where a model is, for people: "cpu", or "cuda:0 in tf32". */
export function placeOf({ device, precision }: { readonly device: string; readonly precision: Precision }): string {
  return device === "cpu" ? device : `${device} in ${precision}`;
}

/** Lines under the options of `--help`: what to type, and what it does. */
export function addExamples(command: Command, examples: readonly (readonly [what: string, line: string])[]): Command {
  const text = examples.map(([what, line]) => `  # ${what}\n  $ ${line}`).join("\n");
  return command.addHelpText("after", `\nExamples:\n${text}`);
}
