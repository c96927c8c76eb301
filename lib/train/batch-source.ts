// Where a training's batches come from: rows that are resident, or a ring that a stream fills while steps run.
import { VaeError } from "../errors.js";
import type { DType } from "../graph/index.js";
import { sizeOf } from "../graph/tensor.js";
import { checkFinite, checkRange } from "../io/check.js";
import { RowReader } from "../io/row-reader.js";
import type { RowStream } from "../io/stream.js";
import type { Resident } from "../runtime/device.js";
import type { HostArray } from "../runtime/native.js";
import { Ring, ringRows } from "./ring.js";
import type { Feed } from "./rows.js";
import type { Trainee } from "./state.js";
import type { FieldSpec } from "./trainable.js";
import { rowsState } from "./weights.js";

/** Rows as a training asks for them. */
export interface BatchSource {
  /** Rows of an epoch, where that is known. */
  readonly rows: number | undefined;
  /** Rows that are resident at a time: step s reads from row s · batchSize on, modulo these, in order or shuffled. */
  readonly resident: number;
  /** Whether their order may be shuffled on the device. */
  readonly mayShuffle: boolean;
  readonly dtypes: Readonly<Record<string, DType>>;
  /** Declares the residents and begins to fill them. */
  open(trainee: Trainee, batchSize: number): Promise<void>;
  /** Waits for rows of steps from `firstStep` on; gives for how many of them they are there, at least one. */
  ready(firstStep: number, steps: number): Promise<number>;
  close(): Promise<void>;
}

/** The resident of a field, of `rows` rows. */
function declare({ weights }: Trainee, name: string, { shape }: FieldSpec, rows: number, dtype: DType): Resident {
  return weights.declare(rowsState(name), shape.length === 0 ? [rows] : [rows, sizeOf(shape)], dtype);
}

/** All rows at once. */
export function residentRows({ rows, fields }: Feed): BatchSource {
  return {
    rows,
    resident: rows,
    mayShuffle: true,
    dtypes: Object.fromEntries(Object.entries(fields).map(([name, { dtype }]) => [name, dtype])),
    open: async (trainee) => {
      const write = ([name, { data, dtype }]: [string, { data: HostArray; dtype: DType }]) =>
        declare(trainee, name, trainee.trainable.fields[name]!, rows, dtype).write(data);
      await Promise.all(Object.entries(fields).map(write));
    },
    ready: async (_, steps) => steps,
    close: async () => undefined,
  };
}

/** What a stream is read with. */
interface StreamRequest {
  readonly operation: string;
  readonly batchSize: number;
  /** The step at which the training ends. */
  readonly endStep: number;
  readonly stops: readonly AbortSignal[];
}

/**
 * Rows of a stream, through a ring.
 *
 * @throws VaeError `"argument"` for a model that asks for further fields, or that learns from its rows before it trains
 */
export async function streamedRows(trainee: Trainee, stream: RowStream, request: StreamRequest): Promise<BatchSource> {
  const { operation, batchSize, endStep, stops } = request;
  const { trainable, seed, state } = trainee;
  const others = Object.keys(trainable.fields).filter((name) => name !== "x");
  if (others.length > 0) {
    const problem = `a stream holds rows of x alone, and the model asks for ${others.join(", ")}`;
    throw new VaeError({ code: "argument", operation, problem, hint: "train on a data set or a record of arrays" });
  }
  if (trainable.fit !== undefined && state.step === 0) {
    const problem = "the model learns means and deviations of its rows before it trains, and a stream's rows are never all there";
    throw new VaeError({ code: "argument", operation, problem, hint: "fit(sample, { steps: 1 }) on a data set first: they are kept" });
  }
  const field = trainable.fields.x!;
  const rowSize = sizeOf(field.shape);
  const reader = new RowReader(stream, field.shape, operation, {
    seed,
    stops,
    check: (rows, first) => {
      const range = field.range?.();
      if (range === undefined) checkFinite(rows, operation, first);
      else checkRange(rows, range, operation, first);
    },
  });
  const dtype = await reader.open();
  const resident = ringRows({ batchSize, rowBytes: rowSize * (dtype === "uint8" ? 1 : 4) });
  let ring: Ring | undefined;
  return {
    rows: stream.rows,
    resident,
    mayShuffle: false,
    dtypes: { x: dtype },
    open: async () => {
      ring = new Ring(declare(trainee, "x", field, resident, dtype), reader, {
        ringRows: resident,
        batchSize,
        rowSize,
        endStep,
        operation,
      });
    },
    ready: (firstStep, steps) => ring!.ready(firstStep, steps),
    close: async () => {
      await (ring?.close() ?? reader.close());
    },
  };
}
