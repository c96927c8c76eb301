// Real digits, few enough that a test trains on them in a second, and what every model that is a composition must hold.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import {
  type DataSource,
  datasets,
  type Evaluation,
  type FieldRecord,
  type FitSettings,
  fieldsOf,
  type Given,
  load,
  type Vae,
  type WiredConfig,
} from "../../lib/index.js";

/** Pixels of a digit. */
export const PIXELS = 784;

/** Digits as rows, x from 0 to 1. */
export interface Digits extends FieldRecord {
  readonly x: Float32Array;
  readonly label: Int32Array;
}

/** The first digits of MNIST, of its training images or of its test images. */
export async function digits(rows: number, part: "train" | "test" = "train"): Promise<Digits> {
  const { x, label } = fieldsOf(await datasets.mnist({ train: part === "train", limit: rows }));
  return { x: Float32Array.from(x!.data, (value) => value / 255), label: Int32Array.from(label!.data) };
}

/**
 * Nats per digit, on average, of the best model that knows no digit from another: independent pixels with the means of the training
 * digits. A model with latents must do better than that.
 */
export function meanImageBound(train: Digits, test: Digits): number {
  const means = new Float64Array(PIXELS);
  train.x.forEach((value, index) => {
    means[index % PIXELS]! += value / train.label.length;
  });
  let total = 0;
  test.x.forEach((value, index) => {
    const p = Math.min(1 - 1e-3, Math.max(1e-3, means[index % PIXELS]!));
    total += value * Math.log(p) + (1 - value) * Math.log1p(-p);
  });
  return total / test.label.length;
}

/** Whether two results are the same to the bit. */
export function sameBytes(a: Float32Array, b: Float32Array): boolean {
  const bytes = ({ buffer, byteOffset, byteLength }: Float32Array): Buffer => Buffer.from(buffer, byteOffset, byteLength);
  return bytes(a).equals(bytes(b));
}

type AnyVae = Vae | Vae<WiredConfig>;

/** Runs `body` with a model that was saved and loaded. */
export async function withLoaded(model: AnyVae, body: (loaded: Vae) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "compositions-"));
  try {
    const path = join(folder, "model.vae");
    await model.save(path);
    await using loaded = await load(path, { device: "cpu" });
    expect(loaded.config).toEqual(model.config);
    await body(loaded);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** A model that was saved and loaded gives the same bits, and goes on training with the same ones. */
export async function expectSameAfterLoad(
  model: AnyVae,
  rows: DataSource,
  training: FitSettings<Evaluation> = {},
  given?: Given,
): Promise<void> {
  const asked = { seed: 5, ...(given === undefined ? {} : { given }) };
  await withLoaded(model, async (loaded) => {
    expect(await loaded.score(rows, { samples: 2 })).toEqual(await model.score(rows, { samples: 2 }));
    expect(await loaded.sample(4, asked)).toEqual(await model.sample(4, asked));
    const [before, after] = [await model.fit(rows, { ...training, steps: 2 }), await loaded.fit(rows, { ...training, steps: 2 })];
    expect(after.epochs.at(-1)!.metrics).toEqual(before.epochs.at(-1)!.metrics);
    const parameters = await model.parameters();
    for (const [name, { data }] of await loaded.parameters()) expect(sameBytes(data, parameters.get(name)!.data), name).toBe(true);
  });
}
