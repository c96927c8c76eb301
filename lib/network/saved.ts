// A network as a file: the container of all models, with another description in it.
import { isRecord } from "../graph/arguments.js";
import { fileError, sourceOf } from "../io/files.js";
import type { DataNames } from "../io/names.js";
import { openCheckpoint, readDescription, readNames, readState, saveTrainee, tensorsIn } from "../train/saved.js";
import type { Trainee, TrainingState } from "../train/state.js";
import type { NamedArray } from "../train/weights.js";
import { type NetworkArchitecture, networkArchitecture } from "./architecture.js";
import { parseNetwork } from "./config.js";

/** A network as its verbs see it. */
export interface NetworkTrainee extends Trainee {
  readonly trainable: NetworkArchitecture;
}

/**
 * Writes a network to a file.
 *
 * @throws VaeError `"file"`, or `"data"` for weights that are not finite
 */
export async function saveNetwork(path: string | URL, trainee: NetworkTrainee): Promise<void> {
  await saveTrainee(path, trainee, { network: trainee.trainable.config });
}

/** A network out of a file, checked in itself. */
export interface SavedNetwork {
  readonly architecture: NetworkArchitecture;
  readonly state: TrainingState;
  readonly names: DataNames;
  /** Weights and optimizer slots, by name. */
  readonly tensors: ReadonlyMap<string, NamedArray>;
}

/**
 * Reads what {@link saveNetwork} wrote.
 *
 * @throws VaeError `"file"`, `"architecture"`, `"data"`, or `"memory"` where the file does not fit
 */
export async function readNetwork(path: string | URL): Promise<SavedNetwork> {
  const verb = "loadNetwork";
  const opened = await openCheckpoint(path, verb);
  const { config, training, data, tensors } = opened.checkpoint;
  if (!isRecord(config) || !("network" in config)) {
    throw fileError(sourceOf(verb, path), "holds no network", { hint: "load(path) loads VAEs" });
  }
  const described = readDescription(opened, () => {
    const architecture = networkArchitecture(parseNetwork(config.network, "config"));
    return { architecture, state: readState(training), names: readNames(data, architecture.size) };
  });
  return { ...described, tensors: tensorsIn(opened, described.architecture.parameters, described.state, tensors) };
}
