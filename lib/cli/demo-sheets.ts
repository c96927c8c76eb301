// The demo's pictures.
import { join } from "node:path";
import { type Dataset, type Evaluation, split, type Vae } from "../index.js";
import { imageSheet, subset, writePng } from "../io/index.js";
import { withLabels } from "./labels.js";
import { imageShape, writeSheet } from "./output.js";

/** Images side by side on every sheet. */
const COLUMNS = 10;

export async function drawSamples(model: Vae, { shape }: Dataset, out: string): Promise<void> {
  await writeSheet(join(out, "samples.png"), await model.sample(COLUMNS * COLUMNS, { seed: 1 }), shape, COLUMNS);
}

export async function drawReconstructions(model: Vae, test: Dataset, out: string): Promise<void> {
  // Where the rows have an order of their own, the first ones are all alike.
  const originals =
    test.labels === undefined
      ? split(test, { count: Math.min(3 * COLUMNS, test.rows - 1), seed: 1 })[1]
      : subset(test, { end: Math.min(3 * COLUMNS, test.rows) });
  const reconstructions = await model.reconstruct(originals);
  await writeSheet(join(out, "reconstructions.png"), { pairs: [originals.data, reconstructions] }, test.shape, COLUMNS);
}

/** From the most typical image of every class to that of the next class. */
export async function drawInterpolations(model: Vae, test: Dataset, out: string): Promise<void> {
  const candidates = subset(test, { end: Math.min(1000, test.rows) });
  const { mean } = await model.encode(candidates);
  const labels = candidates.labels!;
  const classes = [...new Set(labels)].sort((a, b) => a - b);
  const typical = classes.map((label) => subset(candidates, [mostTypical(mean, labels, label)]));
  const path: Float32Array[] = [];
  for (const [place, from] of typical.entries()) {
    path.push(await model.interpolate(from, typical[(place + 1) % typical.length]!, COLUMNS));
  }
  await writeSheet(join(out, "interpolations.png"), joined(path), test.shape, COLUMNS);
}

/**
 * A line for each of the latent dimensions that say most about the test images: one image's latent with that dimension going
 * from −3 to 3, all others as they are. Lines are labelled with the dimension, columns with its value.
 */
export async function drawTraversals(model: Vae, test: Dataset, { klPerDimension }: Evaluation, out: string): Promise<void> {
  const { mean } = await model.encode(subset(test, { end: 1 }));
  const dimensions = [...klPerDimension.keys()].sort((a, b) => klPerDimension[b]! - klPerDimension[a]!).slice(0, COLUMNS);
  const values = Array.from({ length: COLUMNS }, (_, step) => -3 + (6 * step) / (COLUMNS - 1));
  const latents = dimensions.flatMap((dimension) => values.map((value) => mean.with(dimension, value)));
  const sheet = imageSheet(await model.decode(latents), { shape: imageShape(test.shape), columns: COLUMNS });
  const labels = { lines: dimensions.map((dimension) => `z${dimension}`), columns: values.map((value) => value.toFixed(1)) };
  await writePng(join(out, "traversals.png"), withLabels(sheet, labels));
}

/** The row of a class whose latent mean is nearest to the average over the class. */
function mostTypical(latents: Float32Array, labels: Int32Array, label: number): number {
  const size = latents.length / labels.length;
  const rows = [...labels.keys()].filter((row) => labels[row] === label);
  const latentOf = (row: number): Float32Array => latents.subarray(row * size, (row + 1) * size);
  const centre = new Float32Array(size).map((_, dimension) => rows.reduce((sum, row) => sum + latentOf(row)[dimension]!, 0) / rows.length);
  const distance = (row: number): number =>
    Math.sqrt(latentOf(row).reduce((sum, value, dimension) => sum + (value - centre[dimension]!) ** 2, 0));
  return rows.reduce((best, row) => (distance(row) < distance(best) ? row : best));
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let place = 0;
  for (const part of parts) {
    whole.set(part, place);
    place += part.length;
  }
  return whole;
}
