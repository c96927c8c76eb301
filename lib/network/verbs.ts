// What a trained network is asked.
import { newArray } from "../graph/bytes.js";
import { sizeOf } from "../graph/tensor.js";
import type { DataSource, Dataset } from "../io/dataset.js";
import { collectRows, overRows } from "../train/program.js";
import { checkBytesAsTrained, feedOf, ownRows, stopping } from "../train/rows.js";
import type { NetworkTrainee } from "./saved.js";

type Signal = AbortSignal | undefined;

/** Arrays by name, rows × width each. */
export type AnyPredictions = Readonly<Record<string, Float32Array | Int32Array>>;

/** Means over rows by name, and `rows`. */
export type AnyEvaluation = Readonly<Record<string, number | Float64Array>>;

/** What the loss predicts of every row. Only x is asked for. */
export async function predictRows(model: NetworkTrainee, source: DataSource, signal: Signal): Promise<AnyPredictions> {
  const operation = "predict";
  signal?.throwIfAborted();
  const { predictions, predict, fields } = model.trainable;
  const dataset = await ownRows(model, source, operation, stopping(signal));
  await checkBytesAsTrained(model, dataset, operation);
  const feed = await feedOf({ x: fields.x! }, dataset, operation);
  const widths = Object.fromEntries(Object.entries(predictions).map(([name, { shape }]) => [name, sizeOf(shape)]));
  const arrays = await collectRows(model, predict, feed, { operation, signal }, widths);
  const typed = Object.entries(predictions).map(([name, { dtype }]) => {
    const values = arrays[name]!;
    if (dtype !== "int32") return [name, values] as const;
    const whole = newArray(Int32Array, values.length, { operation, what: `of results (${name})`, hint: "use fewer rows at a time" });
    whole.set(values);
    return [name, whole] as const;
  });
  return Object.fromEntries(typed);
}

/** Means of the loss's values over all rows, taken in float64. */
export async function evaluateRows(model: NetworkTrainee, dataset: Dataset, operation: string, signal: Signal): Promise<AnyEvaluation> {
  await checkBytesAsTrained(model, dataset, operation);
  const { fields, evaluate, values } = model.trainable;
  const feed = await feedOf(fields, dataset, operation);
  const sums = Object.fromEntries(Object.entries(values).map(([name, { shape }]) => [name, new Float64Array(sizeOf(shape))]));
  for await (const { count, outputs } of overRows(model, evaluate, feed, { operation, signal })) {
    for (const [name, sum] of Object.entries(sums)) {
      // Rows behind the last one only fill the batch.
      const rows = outputs[name]!.subarray(0, count * sum.length);
      for (let index = 0; index < rows.length; index++) sum[index % sum.length]! += rows[index]!;
    }
  }
  const means = Object.entries(sums).map(([name, sum]) => {
    const mean = sum.map((total) => total / feed.rows);
    return [name, values[name]!.shape.length === 0 ? mean[0]! : mean] as const;
  });
  return { ...Object.fromEntries(means), rows: feed.rows };
}
