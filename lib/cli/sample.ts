import { Command } from "commander";
import { VaeError } from "../errors.js";
import { type Shape, showShape, sizeOf } from "../graph/index.js";
import { addModelArgument, openModel } from "./model.js";
import { addDeviceOptions, addExamples, type DeviceChoice, positiveNumber, shape, wholeNumber } from "./options.js";
import { imageShape, outputKind, writeRows } from "./output.js";
import { checkOutput, reportDone } from "./output-check.js";

interface SampleOptions extends DeviceChoice {
  readonly out: string;
  readonly count: number;
  readonly seed: number;
  readonly temperature: number;
  readonly shape?: Shape;
}

/** `node-vae sample` */
export function sampleCommand(): Command {
  const command = addModelArgument(new Command("sample"))
    .description("Draw new rows from a trained model: images as a PNG sheet, any rows as CSV or NPY, by the ending of --out.")
    .option("-n, --count <rows>", "rows to draw", wholeNumber(1), 64)
    .option("-o, --out <file>", "file to write: .png, .csv or .npy", "samples.png")
    .option("--seed <number>", "the same seed draws the same rows", wholeNumber(0), 1)
    .option("--temperature <factor>", "below 1 for more typical and less varied rows", positiveNumber({ zero: true }), 1)
    .option("--shape <shape>", "shape of a row as an image, where the model has it flat: 28x28", shape);
  const examples = [
    ["a sheet of 8 × 8 images", "node-vae sample digits.vae --count 64 --out sheet.png"],
    ["1,000 synthetic rows of a table", "node-vae sample sensors.vae --count 1000 --out synthetic.csv"],
    ["as a NumPy array", "node-vae sample digits.vae --count 10000 --seed 7 --out samples.npy"],
  ] as const;
  return addExamples(addDeviceOptions(command), examples).action(sample);
}

async function sample(path: string, options: SampleOptions): Promise<void> {
  const { out, count, seed, temperature } = options;
  const kind = outputKind(out, ["png", "csv", "npy"]);
  await checkOutput(out, [{ name: "the model", path }], "samples.png");
  using model = await openModel(path, options);
  const rowShape = options.shape ?? model.config.input;
  checkRowShape(rowShape, model.config.input);
  if (kind === "png") imageShape(rowShape);
  const rows = await model.sample(count, { seed, temperature });
  await writeRows(out, rows, rowShape, model.columns);
  reportDone(out, `wrote ${count} samples to ${out}`);
}

function checkRowShape(shape: Shape, input: Shape): void {
  if (sizeOf(shape) === sizeOf(input)) return;
  throw new VaeError({
    code: "shape",
    operation: "--shape",
    expected: `a shape of ${sizeOf(input)} values, as the model's rows have`,
    received: `${showShape(shape)}, ${sizeOf(shape)} values`,
  });
}
