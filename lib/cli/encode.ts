import { Command } from "commander";
import { addModelArgument, modelAndData, openDataFor, openModel } from "./model.js";
import { addDataOptions, addDeviceOptions, addExamples, addLimitSeed, type DataOptions, type DeviceChoice } from "./options.js";
import { numbered, outputKind, writeCsv, writeNpy } from "./output.js";
import { checkOutput, reportDone } from "./output-check.js";

interface EncodeOptions extends DataOptions, DeviceChoice {
  readonly out: string;
  readonly deviations?: boolean;
}

/** `node-vae encode` */
export function encodeCommand(): Command {
  const command = addModelArgument(new Command("encode")).description(
    "Write the latent mean of every row, an embedding, as CSV (with the row's class, by name, where the data have one) or NPY.",
  );
  addLimitSeed(addDataOptions(command))
    .option("-o, --out <file>", "file to write: .csv or .npy", "latents.csv")
    .option("--deviations", "standard deviations too, behind the means");
  const examples = [
    ["embeddings of the test digits, with their classes", "node-vae encode digits.vae --data mnist-test --out latents.csv"],
    [
      "means and standard deviations as a NumPy array, rows × 40",
      "node-vae encode digits.vae --data mnist-test --deviations --out latents.npy",
    ],
  ] as const;
  return addExamples(addDeviceOptions(command), examples).action(encode);
}

async function encode(path: string, options: EncodeOptions): Promise<void> {
  const { out, deviations } = options;
  const kind = outputKind(out, ["csv", "npy"]);
  await checkOutput(out, modelAndData(path, options), "latents.csv");
  using model = await openModel(path, options);
  const data = await openDataFor(model, options);
  const { mean, standardDeviation } = await model.encode(data);
  const { latent } = model.config;
  if (kind === "csv") {
    await writeCsv(out, [
      { columns: numbered("mean", latent), values: mean },
      ...(deviations ? [{ columns: numbered("deviation", latent), values: standardDeviation }] : []),
      ...(data.labels === undefined ? [] : [{ columns: ["label"], values: data.labels, names: data.labelNames }]),
    ]);
  } else {
    const parts = deviations ? [mean, standardDeviation] : [mean];
    await writeNpy(out, sideBySide(parts, latent), [data.rows, latent * parts.length]);
  }
  reportDone(out, `wrote ${data.rows} rows of ${latent} latent dimensions to ${out}`);
}

/** Joins arrays of rows of `width` values row by row. */
function sideBySide(parts: readonly Float32Array[], width: number): Float32Array {
  const joined = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  parts.forEach((part, place) => {
    for (let row = 0; row * width < part.length; row++) {
      joined.set(part.subarray(row * width, (row + 1) * width), (row * parts.length + place) * width);
    }
  });
  return joined;
}
