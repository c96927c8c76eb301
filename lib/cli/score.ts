import { Command } from "commander";
import { addModelArgument, modelAndData, openDataFor, openModel } from "./model.js";
import { addDataOptions, addDeviceOptions, addExamples, type DataOptions, type DeviceChoice, wholeNumber } from "./options.js";
import { outputKind, writeCsv, writeNpy } from "./output.js";
import { checkOutput, reportDone } from "./output-check.js";

interface ScoreOptions extends DataOptions, DeviceChoice {
  readonly out: string;
  readonly samples: number;
}

/** `node-vae score` */
export function scoreCommand(): Command {
  const command = addModelArgument(new Command("score")).description(
    "Write an anomaly score for every row, in nats: the higher, the less the row looks like the training data.",
  );
  addDataOptions(command)
    .option("-o, --out <file>", "file to write: .csv or .npy", "scores.csv")
    .option("--samples <count>", "mean over so many draws, the same for all rows; 0 takes the latent mean", wholeNumber(0), 0)
    .option("--seed <number>", "of the draws (default: the model's) and of the rows that --limit draws (default: 1)", wholeNumber(0));
  const examples = [["the rows of a table that look strange", "node-vae score sensors.vae --data today.csv --out scores.csv"]] as const;
  return addExamples(addDeviceOptions(command), examples).action(score);
}

async function score(path: string, options: ScoreOptions): Promise<void> {
  const { out, samples, seed } = options;
  const kind = outputKind(out, ["csv", "npy"]);
  await checkOutput(out, modelAndData(path, options), "scores.csv");
  using model = await openModel(path, options);
  const data = await openDataFor(model, options);
  const scores = await model.score(data, { samples, ...(seed === undefined ? {} : { seed }) });
  if (kind === "npy") await writeNpy(out, scores, [data.rows]);
  else {
    const labels = data.labels === undefined ? [] : [{ columns: ["label"], values: data.labels, names: data.labelNames }];
    await writeCsv(out, [{ columns: ["score"], values: scores }, ...labels]);
  }
  reportDone(out, `wrote ${data.rows} scores to ${out}`);
}
