// What a trained model is asked, as programs: graphs by name that rows go through in batches of a fixed size.
import { Fields, signalOption } from "../graph/arguments.js";
import { type DType, input, reshapeTensor, type Shape, type Tensor } from "../graph/index.js";
import { callPace } from "../io/pace.js";
import { Noise, type NoiseSource, Pass, type Scope } from "../nn/index.js";
import { dtypeOf } from "../runtime/feed.js";
import type { HostArray } from "../runtime/native.js";
import type { SessionGraph } from "../runtime/session.js";
import { batches, batchFor, type Feed, type Results, type RowBatch, resultRows } from "./rows.js";
import type { Trainee } from "./state.js";
import type { Batch } from "./trainable.js";

/** A graph over a batch of rows, at inference. */
export interface Program {
  /** Tells it from the model's others. */
  readonly name: string;
  /** Shapes of one row's values, by the names of what goes in. */
  readonly inputs: Readonly<Record<string, Shape>>;
  /** Names of scalars that go in beside the rows. */
  readonly scalars?: readonly string[];
  /** Where its noise comes from; default: a source of its own. Two programs of one name here draw the same. */
  readonly noise?: string;
  /** What the parts draw from instead of that source. */
  readonly draws?: (noise: NoiseSource, inputs: Batch) => NoiseSource;
  /** @param rows of the batch: programs may have no inputs that would say so */
  build(inputs: Batch, scope: Scope, rows: number): Readonly<Record<string, Tensor>>;
}

/** What every verb takes. */
export interface CallOptions {
  /** Ends the call between two native calls, each over some hundred rows; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** The signal of a verb that takes no other options. */
export function callOptions(operation: string, options: CallOptions): AbortSignal | undefined {
  const fields = new Fields(operation, options);
  const signal = signalOption(fields);
  fields.finish();
  return signal;
}

/** How a program is called. */
export interface ProgramCall {
  readonly operation: string;
  readonly signal?: AbortSignal | undefined;
  /** Of its noise. */
  readonly seed?: number;
  readonly scalars?: Readonly<Record<string, number>>;
  /** What helps where there is too little memory. */
  readonly advice?: string;
}

/** The graph of a program for batches of so many rows. */
export function programGraph(
  { trainable }: Pick<Trainee, "trainable">,
  program: Program,
  rows: number,
  dtypes: Readonly<Record<string, DType>>,
): SessionGraph {
  const inputs = Object.entries(program.inputs).map(([name, shape]) => {
    const flat = shape.length === 0 ? [] : [shape.reduce((size, dimension) => size * dimension, 1)];
    const fed = input(name, [rows, ...flat], dtypes[name] ?? "float32");
    return [name, shape.length <= 1 ? fed : reshapeTensor(fed, [rows, ...shape])] as const;
  });
  const scalars = (program.scalars ?? []).map((name) => [name, input(name, [])] as const);
  const given = Object.fromEntries([...inputs, ...scalars]);
  const noise = new Noise(program.noise ?? program.name);
  const scope = new Pass("inference", program.draws?.(noise, given) ?? noise).scope(trainable.place);
  return { outputs: program.build(given, scope, rows) };
}

/** Runs one batch through a program, compiled at its first use. @param step which of the noise's endless batches it is */
export async function runBatch(
  trainee: Trainee,
  program: Program,
  { rows, inputs, step }: { readonly rows: number; readonly inputs: Readonly<Record<string, HostArray>>; readonly step: number },
  { operation, signal, seed = 0, scalars = {}, advice }: ProgramCall,
): Promise<Readonly<Record<string, Float32Array>>> {
  signal?.throwIfAborted();
  const dtypes = Object.fromEntries(Object.entries(inputs).map(([name, data]) => [name, dtypeOf(data) as DType]));
  const key = [program.name, ...Object.values(dtypes), rows].join(" ");
  const given = { ...inputs, ...Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, Float32Array.of(value)])) };
  const { outputs } = await trainee.weights.run(
    key,
    () => programGraph(trainee, program, rows, dtypes),
    { steps: 1, firstStep: step, seed, inputs: given },
    operation,
    advice,
  );
  await callPace.rest();
  return outputs as Readonly<Record<string, Float32Array>>;
}

/** What one batch gave. */
export interface BatchOutputs extends RowBatch {
  readonly outputs: Readonly<Record<string, Float32Array>>;
}

/** Runs rows through a program, each batch in one native call; between them the event loop turns, and a signal is heard. */
export async function* overRows(
  trainee: Trainee,
  program: Program,
  feed: Feed,
  call: ProgramCall,
  rows = batchFor(feed.rows),
): AsyncGenerator<BatchOutputs, void, undefined> {
  for (const batch of batches(feed, rows, call.operation)) {
    const outputs = await runBatch(trainee, program, { rows, inputs: batch.inputs, step: batch.index }, call);
    yield { ...batch, outputs };
  }
}

/** The outputs of a program for all rows, `rows × values` each, row-major. */
export async function collectRows(
  trainee: Trainee,
  program: Program,
  feed: Feed,
  call: ProgramCall,
  widths?: Readonly<Record<string, number>>,
): Promise<Readonly<Record<string, Float32Array>>> {
  const rows = batchFor(feed.rows);
  // Where the widths are known, what does not fit is refused before anything is computed.
  let results: Results | undefined = widths === undefined ? undefined : resultRows(feed.rows, widths, call.operation);
  try {
    for await (const { start, count, outputs } of overRows(trainee, program, feed, call, rows)) {
      const known = Object.entries(outputs).map(([name, output]) => [name, output.length / rows] as const);
      results ??= resultRows(feed.rows, Object.fromEntries(known), call.operation);
      results.release();
      for (const [name, width] of known) results.arrays[name]!.set(outputs[name]!.subarray(0, count * width), start * width);
    }
  } finally {
    results?.release();
  }
  return results!.arrays;
}
