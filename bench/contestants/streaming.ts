// A training of W1 on floats in their order, which are resident, streamed from their file, or so few that only the model counts.
import { closeSync, openSync, readSync } from "node:fs";
import { adam, type DataSource, datasets, type RowStream, type TrainSettings, vae } from "node-vae";
import { modelOptions } from "../model.js";
import { type Workload, workloads } from "../workload.js";

export type StreamingSource = "resident" | "streamed" | "two batches";

/** The task, as JSON in the first argument. */
export interface StreamingTask {
  readonly source: StreamingSource;
  /** The file: float32, rows × 784. */
  readonly path: string;
  readonly rows: number;
  readonly threads: number;
  /** How many losses are compared. */
  readonly losses: number;
  readonly seconds: number;
}

/** The answer, as JSON on stdout. */
export interface StreamingAnswer {
  readonly losses: readonly number[];
  readonly stepsPerSecond: number;
  /** The most that the process ever had resident. */
  readonly peakBytes: number;
}

/** Steps from one report to the next in the part that is timed. */
const EVERY = 25;

const task = JSON.parse(process.argv[2] ?? "") as StreamingTask;
const workload = workloads.W1 as Workload;
const model = vae({ ...modelOptions(workload), device: "cpu", threads: task.threads, seed: 1 });
const source = await sourceOf(task);
const common: TrainSettings = { batchSize: workload.batch, shuffle: false, optimizer: adam({ learningRate: 1e-3 }) };

const losses: number[] = [];
for await (const { metrics } of model.train(source, { ...common, steps: task.losses, every: 1 })) losses.push(metrics.loss!);

let [steps, begin, end] = [-EVERY, 0, 0];
for await (const _ of model.train(source, { ...common, steps: Number.MAX_SAFE_INTEGER, every: EVERY })) {
  end = performance.now();
  if (steps < 0) begin = end; // what the first steps took was compiling, and the upload of resident rows
  steps += EVERY;
  if (end - begin > 1000 * task.seconds) break;
}
const answer: StreamingAnswer = {
  losses,
  stepsPerSecond: (1000 * steps) / (end - begin),
  peakBytes: process.resourceUsage().maxRSS * 1024,
};
process.stdout.write(`${JSON.stringify(answer)}\n`);

async function sourceOf({ source, path, rows }: StreamingTask): Promise<DataSource | RowStream> {
  if (source === "streamed") return await datasets.stream(path, { shape: [workload.input], dtype: "float32" });
  const wanted = source === "resident" ? rows : 2 * workload.batch;
  return readRows(path, wanted * workload.input);
}

/** One call of `readSync` reads less than 2 GiB. */
function readRows(path: string, values: number): Float32Array {
  const data = new Float32Array(values);
  const bytes = new Uint8Array(data.buffer);
  const file = openSync(path, "r");
  for (let at = 0; at < bytes.length; ) {
    const read = readSync(file, bytes, at, Math.min(1 << 28, bytes.length - at), at);
    if (read === 0) throw new Error(`${path} is shorter than ${bytes.length} bytes`);
    at += read;
  }
  closeSync(file);
  return data;
}
