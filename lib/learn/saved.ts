// A model as a file: one checkpoint with what it is made of, how far its training is, what its data were called, and its tensors.
import { stat } from "node:fs/promises";
import { VaeError } from "../errors.js";
import { withMemoryErrors } from "../graph/bytes.js";
import { firstNotFinite } from "../io/check.js";
import { type Checkpoint, type JsonValue, loadCheckpoint, saveCheckpoint } from "../io/checkpoint.js";
import { shownPath, sourceOf } from "../io/files.js";
import { checkNames, type DataNames } from "../io/names.js";
import { type Preparation, parsePreparation } from "../io/preparation.js";
import type { StoredTensor } from "../io/safetensors.js";
import { Fields, parseOptimizer, slotNames } from "../nn/index.js";
import { checkMemory } from "../runtime/memory.js";
import { type Architecture, architectureOf, checkParameters } from "../vae/architecture.js";
import { parseConfig, type VaeConfig } from "../vae/config.js";
import { slotState } from "../vae/graph.js";
import type { NamedArray } from "../vae/weights.js";
import { slotStates, type Trainable, type TrainingState } from "./state.js";

/**
 * Writes a model to a file.
 *
 * @throws VaeError `"file"`, or `"data"` for weights that are not finite
 */
export async function saveModel(path: string | URL, model: Trainable, preparation: Preparation | undefined): Promise<void> {
  const { architecture, weights, state, names } = model;
  const { columns, labelNames } = names;
  // A training may take up another optimizer meanwhile: the one saved is that of the slots there are when the reads are queued.
  let { optimizer, optimizerStart, scheduleStart } = state;
  const tensors = await weights.read(() => {
    ({ optimizer, optimizerStart, scheduleStart } = state);
    return [...architecture.parameters.map(({ name }) => name), ...slotStates(weights)];
  }, "save");
  checkWeights(architecture, tensors, "save");
  await saveCheckpoint(path, {
    config: json(architecture.config),
    training: json({ step: state.step, optimizer, optimizerStart, scheduleStart, bytes: state.bytes }),
    ...(columns === undefined && labelNames === undefined ? {} : { data: json({ columns, labelNames }) }),
    ...(preparation === undefined ? {} : { preparation: json(preparation) }),
    tensors: new Map([...tensors].map(([name, { data, shape }]) => [name, { dtype: "float32" as const, data, shape }])),
  });
}

/** A model out of a file, checked in itself. */
export interface SavedModel {
  readonly architecture: Architecture;
  readonly state: TrainingState;
  readonly names: DataNames;
  readonly preparation: Preparation | undefined;
  /** Weights and optimizer slots, by name. */
  readonly tensors: ReadonlyMap<string, NamedArray>;
}

/**
 * Reads what {@link saveModel} wrote.
 *
 * @throws VaeError `"file"`, `"architecture"`, `"data"`, or `"memory"` where the file does not fit
 */
export async function readModel(path: string | URL): Promise<SavedModel> {
  const { path: file } = sourceOf("load", path);
  const shown = shownPath(file);
  const operation = `load ${shown}`;
  const bytes = await stat(file).then(
    ({ size }) => size,
    () => 0, // which loading says better
  );
  const needs = { "of the file": bytes, "of weights and optimizer state": bytes };
  checkMemory(operation, needs, "free memory, or load it on a machine with more");
  const checkpoint = await withMemoryErrors(operation, "load a smaller model", () => loadCheckpoint(path));
  const described = readDescription(shown, checkpoint);
  const { architecture, state } = described;
  const slots = slotNames(state.optimizer ?? { kind: "sgd", momentum: 0 }).flatMap((slot) =>
    architecture.trained.map((spec) => ({ ...spec, name: slotState(spec.name, slot) })),
  );
  // Before anything of the declared size is allocated: a small file may declare weights of any size.
  checkParameters({ ...architecture, parameters: [...architecture.parameters, ...slots] }, checkpoint.tensors, operation);
  const tensors = new Map(
    [...checkpoint.tensors].map(([name, tensor]) => [name, { data: floatsOf(operation, name, tensor), shape: tensor.shape }]),
  );
  checkWeights(architecture, tensors, operation);
  return { ...described, tensors };
}

/** What a checkpoint says of its model; whatever is wrong there is wrong with the file. */
function readDescription(path: string, { config, training, data, preparation }: Required<Checkpoint>) {
  try {
    const architecture = architectureOf(parseConfig(config, "config"));
    return {
      architecture,
      state: readState(training),
      names: readNames(data, architecture),
      preparation: preparation === null ? undefined : parsePreparation(preparation, architecture.size, "preparation"),
    };
  } catch (cause) {
    if (!(cause instanceof VaeError)) throw cause;
    const problem = `${path}: the description of the model cannot be used: ${cause.message.split("\n", 1)[0]}`;
    const hint = `${cause.hint === undefined ? "" : `${cause.hint}; `}kinds of your own must be defined before load`;
    throw new VaeError({ code: "file", operation: "load", problem, hint, cause });
  }
}

function floatsOf(operation: string, name: string, { dtype, data }: StoredTensor): Float32Array {
  if (dtype === "float32") return data;
  throw new VaeError({
    code: "architecture",
    operation,
    problem: `"${name}" does not hold weights`,
    expected: "floating-point numbers",
    received: `${dtype} values`,
  });
}

function readState(training: JsonValue): TrainingState {
  const fields = new Fields("training", training ?? {});
  const count = { minimum: 0, integer: true };
  const optimizer = fields.raw("optimizer") ?? null;
  const step = fields.number("step", count, 0);
  const optimizerStart = fields.number("optimizerStart", { ...count, maximum: step }, 0);
  const state = {
    step,
    optimizer: optimizer === null ? null : parseOptimizer(optimizer, "training optimizer"),
    optimizerStart,
    // Files from before schedules had a start of their own read them from the optimizer's.
    scheduleStart: fields.number("scheduleStart", { ...count, maximum: step }, optimizerStart),
    ...(fields.raw("bytes") === undefined ? {} : { bytes: fields.choice("bytes", ["scaled"]) }),
  };
  fields.finish();
  return state;
}

/** Names of the data in a checkpoint; files of versions that did not keep them have none. */
function readNames(data: JsonValue, { size }: Architecture): DataNames {
  const operation = "data";
  const fields = new Fields(operation, data ?? {});
  const names = { columns: fields.raw("columns"), labelNames: fields.raw("labelNames") };
  fields.finish();
  checkNames(operation, names.columns, "names of the values of a row", size);
  checkNames(operation, names.labelNames, "names of the classes");
  return names as DataNames;
}

/** Throws `"data"` at the first weight that is not finite. Optimizer slots may be: a second moment that overflows stops its weight. */
export function checkWeights(
  { parameters }: Architecture,
  values: ReadonlyMap<string, { readonly data: Float32Array }>,
  operation: string,
): void {
  for (const { name } of parameters) {
    const { data } = values.get(name)!;
    const index = firstNotFinite(data);
    if (index < 0) continue;
    throw new VaeError({ code: "data", operation, problem: `value ${index} of "${name}" is ${data[index]}`, expected: "finite weights" });
  }
}

/** Plain data as JSON values; saving checks the numbers. */
function json(value: VaeConfig | TrainingState | DataNames | Preparation): JsonValue {
  return JSON.parse(JSON.stringify(value)) as JsonValue;
}
