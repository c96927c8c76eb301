// A model as a file: one checkpoint with what it is made of, how far its training is, what its data were called, and its tensors.
import { isRecord } from "../graph/arguments.js";
import { fileError, sourceOf } from "../io/files.js";
import type { DataNames } from "../io/names.js";
import { openCheckpoint, readDescription, readNames, readState, saveTrainee, tensorsIn } from "../train/saved.js";
import type { TrainingState } from "../train/state.js";
import type { NamedArray } from "../train/weights.js";
import { type Architecture, architectureOf } from "./architecture.js";
import { parseConfig } from "./config.js";
import type { Inference } from "./infer.js";
import { migrateDescription, migrateNames } from "./migration.js";

/**
 * Writes a model to a file.
 *
 * @throws VaeError `"file"`, or `"data"` for weights that are not finite
 */
export async function saveModel(path: string | URL, model: Inference): Promise<void> {
  await saveTrainee(path, model, model.trainable.config);
}

/** A model out of a file, checked in itself. */
export interface SavedModel {
  readonly architecture: Architecture;
  readonly state: TrainingState;
  readonly names: DataNames;
  /** Weights and optimizer slots, by name. */
  readonly tensors: ReadonlyMap<string, NamedArray>;
}

/**
 * Reads what {@link saveModel} wrote.
 *
 * @throws VaeError `"file"`, `"architecture"`, `"data"`, or `"memory"` where the file does not fit
 */
export async function readModel(path: string | URL): Promise<SavedModel> {
  const opened = await openCheckpoint(path, "load");
  const { config, version } = opened.checkpoint;
  if (isRecord(config) && "network" in config) {
    throw fileError(sourceOf("load", path), "holds a network, which is no VAE", { hint: "loadNetwork(path) loads it" });
  }
  const { tensors, ...described } = readDescription(opened, (checkpoint) => {
    const migrated = migrateDescription(checkpoint);
    const architecture = architectureOf(parseConfig(migrated.config, "config"));
    return {
      architecture,
      state: readState(migrated.training),
      names: readNames(migrated.data, architecture.size),
      tensors: migrated.tensors,
    };
  });
  const { parameters } = described.architecture;
  const stored = version === 1 ? migrateNames(parameters, tensors) : tensors;
  return { ...described, tensors: tensorsIn(opened, parameters, described.state, stored) };
}
