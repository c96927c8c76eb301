import { Command } from "commander";
import { drawnRows } from "./data.js";
import { addModelArgument, modelAndData, openDataFor, openModel } from "./model.js";
import { addDataOptions, addDeviceOptions, addExamples, addLimitSeed, type DataOptions, type DeviceChoice } from "./options.js";
import { imageShape, numbered, outputKind, writeCsv, writeNpy, writeSheet } from "./output.js";
import { checkOutput, reportDone } from "./output-check.js";

interface ReconstructOptions extends DataOptions, DeviceChoice {
  readonly out: string;
}

/** Images on a sheet unless --limit says otherwise: two lines of ten, which fit a screen. */
const SHEET_ROWS = 20;
const SHEET_COLUMNS = 10;

/** `node-vae reconstruct` */
export function reconstructCommand(): Command {
  const command = addModelArgument(new Command("reconstruct")).description(
    "Encode rows and decode them again: on a PNG sheet each line of originals above its reconstructions, as CSV or NPY the reconstructions.",
  );
  addLimitSeed(addDataOptions(command)).option(
    "-o, --out <file>",
    "file to write: .png (20 rows drawn by --seed, or --limit), .csv or .npy",
    "reconstructions.png",
  );
  const examples = [
    ["20 test digits above their reconstructions", "node-vae reconstruct digits.vae --data mnist-test --out pairs.png"],
    ["the reconstruction of every row of a table", "node-vae reconstruct sensors.vae --data sensors.csv --label state --out clean.csv"],
  ] as const;
  return addExamples(addDeviceOptions(command), examples).action(reconstruct);
}

async function reconstruct(path: string, options: ReconstructOptions): Promise<void> {
  const { out } = options;
  const kind = outputKind(out, ["png", "csv", "npy"]);
  await checkOutput(out, modelAndData(path, options), "reconstructions.png");
  using model = await openModel(path, options);
  const all = await openDataFor(model, options);
  const rowShape = options.shape ?? model.config.input;
  if (kind === "png") imageShape(rowShape);
  const data = kind === "png" && options.limit === undefined ? drawnRows(all, SHEET_ROWS, options.seed ?? 1) : all;
  const rows = await model.reconstruct(data);
  if (kind === "png") await writeSheet(out, { pairs: [data.data, rows] }, rowShape, SHEET_COLUMNS);
  else if (kind === "npy") await writeNpy(out, rows, [data.rows, ...rowShape]);
  else await writeCsv(out, [{ columns: model.columns ?? data.columns ?? numbered("value", rows.length / data.rows), values: rows }]);
  reportDone(out, `wrote ${data.rows} reconstructions to ${out}`);
}
