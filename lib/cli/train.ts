import { Command, Option } from "commander";
import { sameShape, showShape, sizeOf } from "../graph/index.js";
import { isUint8Array } from "../graph/kinds.js";
import {
  type Activation,
  adam,
  bernoulli,
  type Dataset,
  dense,
  elbo,
  gaussian,
  type Likelihood,
  load,
  presets,
  standardize,
  type Vae,
  VaeError,
  type VaeOptions,
  vae,
} from "../index.js";
import { activations } from "../nn/activations.js";
import type { ProfiledKernel } from "../train/run.js";
import { openData } from "./data.js";
import { trainAndSave } from "./ending.js";
import { openDataFor } from "./model.js";
import {
  addDataOptions,
  addDeviceOptions,
  addExamples,
  type DataOptions,
  type DeviceChoice,
  layerSizes,
  placementOf,
  placeOf,
  positiveNumber,
  wholeNumber,
} from "./options.js";
import { checkOutput, reportDone } from "./output-check.js";
import { duration, ProgressDisplay } from "./progress.js";

const PRESETS = ["image28", "image64", "image", "table"] as const;

interface TrainOptions extends DataOptions, DeviceChoice {
  readonly preset?: (typeof PRESETS)[number];
  readonly likelihood: "auto" | "bernoulli" | "gaussian";
  readonly scale: number | "learned" | "perDimension";
  readonly latent?: number;
  readonly hidden: readonly number[];
  readonly activation: Activation;
  readonly beta: number;
  readonly seed: number;
  readonly standardize: boolean;
  readonly epochs: number;
  readonly steps?: number;
  readonly batch: number;
  readonly learningRate?: number;
  readonly out?: string;
  readonly resume?: string;
  readonly profile: boolean;
}

const EXAMPLES = [
  ["the usual example: handwritten digits, 784-400-20", "node-vae train --data mnist --out digits.vae"],
  ["a folder of pictures, in colour, 64 × 64", "node-vae train --data pictures --size 64x64 --hidden 800,400 --latent 32"],
  ["the same with convolutions", "node-vae train --data pictures --size 64x64 --preset image64 --batch 64"],
  ["a table, without its column of classes", "node-vae train --data sensors.csv --label state --latent 4 --hidden 64,32 --epochs 200"],
  ["a NumPy array of flat images, 20,000 steps of a β-VAE", "node-vae train --data digits.npy --shape 28x28 --beta 4 --steps 20000"],
  ["10 more epochs of a saved model, the very same run going on", "node-vae train --data mnist --resume digits.vae --epochs 10"],
] as const;

/** `node-vae train` */
export function trainCommand(): Command {
  const command = new Command("train").description(
    "Train a VAE and save it. Ctrl-C (SIGTERM, SIGHUP, …) stops after a whole step and saves what there is; a second stops at once.",
  );
  addDataOptions(command)
    .option("-o, --out <model>", "file to save the model to (default: model.vae, or the file given to --resume)")
    .addOption(
      new Option("--preset <name>", "instead of --hidden: convolutions for images (of any size: image), or layers for a table")
        .choices(PRESETS)
        .conflicts("hidden"),
    )
    .option("--latent <dimensions>", "latent dimensions (default: 20, or the preset's)", wholeNumber(1))
    .addOption(
      new Option("--hidden <sizes>", "dense hidden layers of the encoder; the decoder has them in reverse")
        .argParser(layerSizes)
        .default([400], "400"),
    )
    .addOption(new Option("--activation <name>", "of the hidden layers").choices(activations).default("relu"))
    .addOption(
      new Option("--likelihood <kind>", "auto is bernoulli for bytes and for values in [0, 1], gaussian for others")
        .choices(["auto", "bernoulli", "gaussian"])
        .default("auto"),
    )
    .addOption(
      new Option("--scale <deviation>", "gaussian: standard deviation of a value; a number, learned (one for all) or perDimension")
        .argParser((text) => (text === "learned" || text === "perDimension" ? text : positiveNumber()(text)))
        .default("learned"),
    )
    .option(
      "--no-standardize",
      "tables with a gaussian likelihood: leave columns as they are (default: mean 0 and deviation 1, kept in the model's file)",
    )
    .option("--beta <weight>", "weight of the KL term", positiveNumber({ zero: true }), 1)
    .addOption(
      new Option("--epochs <count>", "passes over the data, fractions too").argParser(positiveNumber()).default(10).conflicts("steps"),
    )
    .addOption(new Option("--steps <count>", "steps, instead of epochs").argParser(wholeNumber(1)))
    .option("--batch <rows>", "rows per step", wholeNumber(1), 128)
    .option("--learning-rate <rate>", "of Adam (default: 0.001, or what the model was trained with before)", positiveNumber())
    .option("--profile", "at the end, print what every kernel call of a training step took", false)
    .option("--seed <number>", "decides initial weights, order of rows and noise", wholeNumber(0), 1)
    .addOption(
      new Option("--resume <model>", "go on training a saved model").conflicts([
        "preset",
        "latent",
        "hidden",
        "activation",
        "likelihood",
        "scale",
        "beta",
        "seed",
      ]),
    );
  return addExamples(addDeviceOptions(command), EXAMPLES).action(train);
}

async function train(options: TrainOptions): Promise<void> {
  const out = options.out ?? options.resume ?? "model.vae";
  await checkOutput(out, [{ name: "--data", path: options.data }], "model.vae");
  using resumed = options.resume === undefined ? undefined : await load(options.resume, placementOf(options));
  process.stderr.write(`reading ${options.data}\n`);
  const data = resumed === undefined ? await openData(options) : await openDataFor(resumed, options);
  using model = resumed ?? newModel(options, data);
  process.stderr.write(`${describeRun(model, data)}\n`);

  const { batch, epochs, steps, learningRate } = options;
  // From here on there is something to lose; before, Ctrl-C just ends the program.
  const history = await trainAndSave(model, out, async (signal) => {
    using display = new ProgressDisplay();
    return await model.fit(data, {
      ...(steps === undefined ? { epochs } : { steps }),
      batchSize: batch,
      ...(learningRate === undefined ? {} : { optimizer: adam({ learningRate }) }),
      signal,
      onProgress: display.show,
      profile: options.profile,
    });
  });
  if (history === undefined) return;
  const loss = history.epochs.at(-1)?.metrics.loss;
  const ending = loss === undefined ? "" : `, loss ${loss.toFixed(2)} nats in the last epoch`;
  const profile = history.profile === undefined ? "" : profileTable(history.profile);
  reportDone(out, `${profile}trained ${history.steps} steps in ${duration(history.seconds)}${ending}; saved ${out}`);
}

/** A line per kernel call, in the order of the step. */
function profileTable(kernels: readonly ProfiledKernel[]): string {
  const total = kernels.reduce((sum, { microseconds }) => sum + microseconds, 0);
  const lines = kernels.map(({ kernel, ops, extent, microseconds }) => {
    const share = `${((100 * microseconds) / total).toFixed(1)} %`;
    return `${microseconds.toFixed(1).padStart(10)} ${share.padStart(7)}  ${`${kernel} ${extent.join("×")}`.padEnd(38)} ${ops}`;
  });
  return ["        µs   share  kernel", ...lines, `${total.toFixed(1).padStart(10)} a step`, ""].join("\n");
}

function newModel(options: TrainOptions, data: Dataset): Vae {
  const { beta, seed } = options;
  const likelihood = likelihoodFor(options, data);
  const { prepare: _ofPreset, ...architecture } = architectureFor(options, data);
  const standardized = options.standardize && isTable(data) && likelihood.kind === "gaussian";
  const prepare = standardized ? { prepare: standardize() } : {};
  return vae({ ...architecture, ...prepare, likelihood, objective: elbo({ beta }), seed, ...placementOf(options) });
}

/** Rows that are named or numbered columns, not pixels: flat, and not bytes. */
function isTable({ data, shape }: Dataset): boolean {
  return shape.length === 1 && !isUint8Array(data);
}

function architectureFor({ preset, latent: asked, hidden, activation }: TrainOptions, { shape }: Dataset): VaeOptions {
  const shared = { activation, ...(asked === undefined ? {} : { latent: asked }) };
  const channels = shape[2] ?? 1;
  switch (preset) {
    case undefined: {
      const layers = hidden.map((units) => dense(units, { activation }));
      return { input: shape, latent: asked ?? 20, encoder: layers, decoder: layers.toReversed(), likelihood: "bernoulli" };
    }
    case "image":
      return presets.image({ size: shape, ...shared });
    case "table":
      return { ...presets.table({ columns: sizeOf(shape), ...shared }), input: shape };
    default: {
      const options = preset === "image28" ? presets.image28({ channels, ...shared }) : presets.image64({ channels, ...shared });
      if (sameShape(shape, options.input)) return options;
      throw new VaeError({
        code: "shape",
        operation: `--preset ${preset}`,
        expected: `rows of ${showShape(options.input)}`,
        received: showShape(shape),
        hint: shape.length === 1 ? "say what shape the flat rows have with --shape 28x28x1" : "--preset image takes images of any size",
      });
    }
  }
}

function likelihoodFor({ likelihood, scale }: TrainOptions, { data }: Dataset): Likelihood {
  if (likelihood === "bernoulli") return bernoulli();
  if (likelihood === "gaussian") return gaussian({ scale });
  const probabilities = isUint8Array(data) || data.every((value) => value >= 0 && value <= 1);
  return probabilities ? bernoulli() : gaussian({ scale });
}

function describeRun(model: Vae, { rows, name, shape }: Dataset): string {
  const { likelihood } = model.config;
  const { step } = model.training;
  return [
    `${rows.toLocaleString("en-US")} rows of ${shape.join(" × ")} from ${name}`,
    ...(model.config.prepare === undefined ? [] : ["columns standardized; the model keeps their means and deviations"]),
    `${likelihood.kind} likelihood, on ${placeOf(model)}${step > 0 ? `, from step ${step} on` : ""}`,
    model.summary(),
    "",
  ].join("\n");
}
