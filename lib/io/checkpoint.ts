import { describe, VaeError } from "../errors.js";
import { isArray } from "../graph/kinds.js";
import { fileError, sourceOf } from "./files.js";
import { readSafetensorsFor, type StoredTensor, writeSafetensors } from "./safetensors.js";

/** Anything that JSON can hold. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/** A model on disk. */
export interface Checkpoint {
  /** What the model is: enough to build it again. */
  readonly config: JsonValue;
  /** How far its training is, to go on with the very same run; null when it was not trained. */
  readonly training?: JsonValue;
  /** Names of the data that it was trained on; null where they had none. */
  readonly data?: JsonValue;
  /** How the rows were prepared that the model is trained on; null where it is not known. */
  readonly preparation?: JsonValue;
  /** Weights and optimizer state, by name. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** What {@link loadCheckpoint} gives. */
export interface LoadedCheckpoint extends Required<Checkpoint> {
  /** Of the file: names may have changed since. */
  readonly version: number;
}

/** Raised when older versions of node-vae could misread the file. Files of earlier ones are read too. */
const VERSION = 2;
const KEY = "node-vae";

/**
 * Saves a checkpoint as one safetensors file, which Python's `safetensors` opens too. The configuration stands as JSON in the
 * header's metadata under `"node-vae"`; nothing in the file is executable. An interrupted save leaves the old file.
 *
 * @throws VaeError `"argument"` for a number that JSON cannot hold, `"shape"` for data that do not fill their shape, `"file"`
 *   when the file cannot be written.
 */
export async function saveCheckpoint(path: string | URL, checkpoint: Checkpoint, operation = "save"): Promise<void> {
  const { config, training = null, data, preparation, tensors } = checkpoint;
  const json = JSON.stringify({ version: VERSION, config, training, data, preparation }, (key, value: unknown) => {
    // JSON turns NaN and infinities into null without a word, and the model would come back as another one.
    if (typeof value === "number" && !Number.isFinite(value)) {
      throw new VaeError({
        code: "argument",
        operation,
        problem: `"${key}" cannot be saved`,
        expected: "a finite number",
        received: String(value),
      });
    }
    return value;
  });
  await writeSafetensors(path, { tensors, metadata: { [KEY]: json } }, operation);
}

/**
 * Loads what {@link saveCheckpoint} saved.
 *
 * @throws VaeError `"file"` for a file that is missing, truncated, corrupt, not a checkpoint, or of an unknown version.
 */
export async function loadCheckpoint(path: string | URL, operation = "load"): Promise<LoadedCheckpoint> {
  const source = sourceOf(operation, path);
  const { tensors, metadata } = await readSafetensorsFor(operation, path);
  const text = metadata[KEY];
  if (text === undefined) {
    throw fileError(source, `a safetensors file, but not a checkpoint: its metadata have no "${KEY}"`, {
      hint: "load takes what model.save wrote; readSafetensors(path) reads weights of other programs",
    });
  }
  const metadataError = () => fileError(source, `the "${KEY}" metadata are not a JSON object`);
  const { version, config, training, data, preparation } = parse(text, metadataError);
  if (typeof version !== "number" || !(version >= 1 && version <= VERSION)) {
    throw fileError(source, "a checkpoint of an unknown version", {
      expected: `a version from 1 to ${VERSION}`,
      received: `version ${describe(version)}`,
      hint: "update node-vae, or save the model again with this version",
    });
  }
  if (config === undefined) throw fileError(source, `the "${KEY}" metadata hold no config`);
  return { version, config, training: training ?? null, data: data ?? null, preparation: preparation ?? null, tensors };
}

function parse(text: string, error: () => VaeError): { readonly [key: string]: JsonValue } {
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch {
    throw error();
  }
  if (typeof value !== "object" || value === null || isArray(value)) throw error();
  return value as { readonly [key: string]: JsonValue };
}
