// What the commands have in common that ask a trained model something.
import type { Command } from "commander";
import { type Dataset, load, type Vae, type VaeConfig, VaeError, type WiredConfig } from "../index.js";
import { alignColumns, MODEL_COLUMNS } from "../io/names.js";
import { openData, type Wanted } from "./data.js";
import { type DataOptions, type DeviceChoice, placementOf } from "./options.js";
import type { Input } from "./output-check.js";

/** The model as the command's first argument. */
export function addModelArgument(command: Command): Command {
  return command.argument("<model>", "file that train saved");
}

/** What such a command reads, and its output must not overwrite. */
export function modelAndData(model: string, { data }: DataOptions): readonly Input[] {
  return [
    { name: "the model", path: model },
    { name: "--data", path: data },
  ];
}

/** Loads a model onto the device asked for. */
export async function openModel(path: string, options: DeviceChoice): Promise<Vae> {
  const model = await load<VaeConfig | WiredConfig>(path, placementOf(options));
  const { config } = model;
  if (!("wiring" in config)) return model as Vae;
  model.dispose();
  const problem = `${path} holds a model of the wiring "${config.wiring.kind}"`;
  throw new VaeError({ code: "architecture", operation: "load", problem, expected: "a model with an encoder, a latent and a decoder" });
}

/** What a model asks of its data. */
export function wantedBy(model: Vae): Wanted {
  return { input: model.config.input, columns: model.columns, categories: model.categories };
}

/** Loads rows for a model, read as those that it was trained on, their columns in the model's order: what is written beside them fits. */
export async function openDataFor(model: Vae, options: DataOptions): Promise<Dataset> {
  const data = await openData(options, wantedBy(model));
  return alignColumns(data, model.columns, "--data", MODEL_COLUMNS, model.categories);
}
