// How trainings end: whatever happens, what was learned is saved.
import { realpath } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import { type Vae, VaeError } from "../index.js";
import { shownPath } from "../io/files.js";
import { Interrupt, say } from "./interrupt.js";

/**
 * Trains a model and saves it, also when a signal, a closed output or an error ends the training: then the last complete step.
 * A training that was ended says where the model is and sets the exit code; one that failed saves and throws what it failed
 * with. Until a step is made nothing is saved: a model file that is there already is worth more than one that has learned nothing.
 *
 * @returns what `train` resolves to, or undefined when it was ended
 * @throws what `train` rejects with, and `VaeError` `"file"` when the model could not be saved to `out`
 */
export async function trainAndSave<T>(model: Vae, out: string, train: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
  const first = model.training.step;
  const learned = () => model.training.step > first;
  using interrupt = new Interrupt(learned);
  const { signal } = interrupt;
  let result: T | undefined;
  try {
    result = await train(signal);
  } catch (error) {
    const ended = interrupt.ending !== undefined && error === signal.reason;
    if (!ended) {
      if (learned()) say(await describeSave(model, out));
      throw error;
    }
  }
  if (learned()) await saveTrained(model, out);
  const { ending } = interrupt;
  if (ending === undefined) return result;
  const saved = learned() ? `saved step ${model.training.step} to ${out}` : "no step was made; nothing saved";
  say(`${ending.why}: ${saved}`);
  interrupt.leave();
  return undefined;
}

/** Saves what a failed training has learned. What it failed with matters more than that this fails too. */
async function describeSave(model: Vae, out: string): Promise<string> {
  try {
    await saveTrained(model, out);
    return `saved step ${model.training.step} to ${out}`;
  } catch (error) {
    if (!(error instanceof VaeError)) throw error;
    return `error: ${error.message}`;
  }
}

/** Saves a model, or elsewhere when it cannot be saved where it should: an error then says where. */
async function saveTrained(model: Vae, out: string): Promise<void> {
  try {
    await model.save(out);
  } catch (error) {
    if (!(error instanceof VaeError) || error.code !== "file") throw error;
    const path = await saveElsewhere(model, out);
    if (path === undefined) throw error;
    const { code, operation } = error;
    const problem = error.message.replace(`${operation}: `, "").split("\n")[0]!;
    throw new VaeError({ code, operation, problem, hint: `the trained model was saved to ${shownPath(path)} instead`, cause: error });
  }
}

async function saveElsewhere(model: Vae, out: string): Promise<string | undefined> {
  const time = new Date().toISOString().replaceAll(/[:.]/g, "-");
  const name = `${basename(out, extname(out)).slice(0, 60)}-rescued-${time}.vae`;
  for (const folder of [".", tmpdir()]) {
    try {
      const path = join(await realpath(folder), name);
      await model.save(path);
      return path;
    } catch {
      // No room or no permission there either; the next folder may do.
    }
  }
  return undefined;
}
