// What a file keeps of whatever was trained: how far its training is, what its data were called, and its tensors.
import { stat } from "node:fs/promises";
import { VaeError } from "../errors.js";
import { isRecord } from "../graph/arguments.js";
import { withMemoryErrors } from "../graph/bytes.js";
import { type JsonValue, type LoadedCheckpoint, loadCheckpoint, saveCheckpoint } from "../io/checkpoint.js";
import { shownPath, sourceOf } from "../io/files.js";
import { checkNames, type DataNames } from "../io/names.js";
import type { StoredTensor } from "../io/safetensors.js";
import { Fields, type NamedParameter, parseOptimizer, slotNames } from "../nn/index.js";
import { checkMemory } from "../runtime/memory.js";
import { checkParameters, checkWeights } from "./check-weights.js";
import type { SlotsOf, Trainee, TrainingState } from "./state.js";
import { parametersOf } from "./trainable.js";
import { type NamedArray, slotState } from "./weights.js";

/**
 * Writes what is trained to a file, with all that it takes to go on with the very same run.
 *
 * @param config what it is made of, as plain data
 * @throws VaeError `"file"`, or `"data"` for weights that are not finite
 */
export async function saveTrainee(path: string | URL, trainee: Trainee, config: object): Promise<void> {
  const { weights, state, names } = trainee;
  const parameters = parametersOf(trainee.trainable);
  const { columns, labelNames, categories } = names;
  // A training may take up another optimizer meanwhile: the one saved is that of the slots there are when the reads are queued.
  let { optimizer, optimizerStart, scheduleStart, slots } = state;
  const tensors = await weights.read(() => {
    ({ optimizer, optimizerStart, scheduleStart, slots } = state);
    return [...parameters.map(({ name }) => name), ...weights.slotStates()];
  }, "save");
  checkWeights(parameters, tensors, "save");
  await saveCheckpoint(path, {
    config: json(config),
    training: json({
      step: state.step,
      optimizer,
      optimizerStart,
      scheduleStart,
      ...(slots === undefined ? {} : { slots }),
      bytes: state.bytes,
    }),
    ...(columns === undefined && labelNames === undefined ? {} : { data: json({ columns, labelNames, categories }) }),
    tensors: new Map([...tensors].map(([name, { data, shape }]) => [name, { dtype: "float32" as const, data, shape }])),
  });
}

/** A checkpoint that was read, and nothing of it checked yet. */
export interface OpenedCheckpoint {
  /** The function that was called: `"load"`. */
  readonly verb: string;
  /** The file's path for messages. */
  readonly shown: string;
  readonly checkpoint: LoadedCheckpoint;
}

/**
 * Reads a file that {@link saveTrainee} wrote.
 *
 * @throws VaeError `"file"`, or `"memory"` where it does not fit
 */
export async function openCheckpoint(path: string | URL, verb: string): Promise<OpenedCheckpoint> {
  const { path: file } = sourceOf(verb, path);
  const shown = shownPath(file);
  const operation = `${verb} ${shown}`;
  const bytes = await stat(file).then(
    ({ size }) => size,
    () => 0, // which loading says better
  );
  const needs = { "of the file": bytes, "of weights and optimizer state": bytes };
  checkMemory(operation, needs, "free memory, or load it on a machine with more");
  const checkpoint = await withMemoryErrors(operation, "load a smaller model", () => loadCheckpoint(path, verb));
  return { verb, shown, checkpoint };
}

/** Reads what a checkpoint says of its model; whatever is wrong there is wrong with the file. */
export function readDescription<T>({ verb, shown, checkpoint }: OpenedCheckpoint, read: (checkpoint: LoadedCheckpoint) => T): T {
  try {
    return read(checkpoint);
  } catch (cause) {
    if (!(cause instanceof VaeError)) throw cause;
    const problem = `${shown}: the description of the model cannot be used: ${cause.message.split("\n", 1)[0]}`;
    const hint = `${cause.hint === undefined ? "" : `${cause.hint}; `}kinds of your own must be defined before ${verb}`;
    throw new VaeError({ code: "file", operation: verb, problem, hint, cause });
  }
}

/**
 * Weights and optimizer slots, checked.
 *
 * @param stored as they stand in the file, under the names of today
 * @throws VaeError `"architecture"` or `"data"`
 */
export function tensorsIn(
  { verb, shown }: OpenedCheckpoint,
  parameters: readonly NamedParameter[],
  state: TrainingState,
  stored: ReadonlyMap<string, StoredTensor>,
): ReadonlyMap<string, NamedArray> {
  const operation = `${verb} ${shown}`;
  // Before anything of the declared size is allocated: a small file may declare weights of any size.
  checkParameters([...parameters, ...slotsIn(parameters, state, stored)], stored, operation);
  const tensors = new Map([...stored].map(([name, tensor]) => [name, { data: floatsOf(operation, name, tensor), shape: tensor.shape }]));
  checkWeights(parameters, tensors, operation);
  return tensors;
}

/** The slots that a file has, each of a parameter's shape. A parameter may have none: it was frozen, or never trained. */
function slotsIn(parameters: readonly NamedParameter[], { optimizer, slots = {} }: TrainingState, stored: ReadonlyMap<string, unknown>) {
  return parameters.flatMap((spec) => {
    const own = Object.hasOwn(slots, spec.name) ? undefined : optimizer;
    // Those of an optimizer of another group are whatever the file has of them.
    const prefix = slotState(spec.name, "");
    const names =
      own === undefined || own === null
        ? [...stored.keys()].filter((name) => name.startsWith(prefix))
        : slotNames(own).map((slot) => slotState(spec.name, slot));
    return names.filter((name) => stored.has(name)).map((name) => ({ ...spec, name }));
  });
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

/** How far a training is, out of a checkpoint. */
export function readState(training: JsonValue): TrainingState {
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
    ...readSlots(fields, step),
    ...(fields.raw("bytes") === undefined ? {} : { bytes: fields.choice("bytes", ["scaled"]) }),
  };
  fields.finish();
  return state;
}

/** Parameters whose slots are of another optimizer or another step. */
function readSlots(fields: Fields, step: number): { readonly slots?: Readonly<Record<string, SlotsOf>> } {
  const given = fields.raw("slots");
  if (given === undefined) return {};
  if (!isRecord(given)) throw fields.wrong("slots", "{ kind, start } by the names of parameters");
  const slots = Object.entries(given).map(([name, value]) => {
    const own = new Fields(`training slots ${name}`, value);
    const kind = own.raw("kind");
    if (typeof kind !== "string") throw own.wrong("kind", "an optimizer's kind");
    return [name, { kind, start: own.number("start", { minimum: 0, maximum: step, integer: true }) }] as const;
  });
  return { slots: Object.fromEntries(slots) };
}

/** Names of the data in a checkpoint; files of versions that did not keep them have none. @param size values in a row of x */
export function readNames(data: JsonValue, size: number): DataNames {
  const operation = "data";
  const fields = new Fields(operation, data ?? {});
  const names = { columns: fields.raw("columns"), labelNames: fields.raw("labelNames"), categories: fields.raw("categories") };
  fields.finish();
  const { categories } = names;
  if (categories !== undefined && !isRecord(categories)) throw fields.wrong("categories", "names by column");
  for (const [column, texts] of Object.entries(categories ?? {})) checkNames(operation, texts, `the categories of ${column}`);
  if (categories === undefined) delete names.categories;
  checkNames(operation, names.columns, "names of the values of a row", size);
  checkNames(operation, names.labelNames, "names of the classes");
  return names as DataNames;
}

/** Plain data as JSON values; saving checks the numbers. */
function json(value: object): JsonValue {
  return JSON.parse(JSON.stringify(value)) as JsonValue;
}
