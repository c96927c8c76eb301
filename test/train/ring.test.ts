// A training on rows that come through a ring takes the same course as one on rows that are all resident.
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import {
  cast,
  gather,
  grad,
  matmul,
  mean,
  multiply,
  reshapeTensor,
  shuffledIndices,
  square,
  state,
  subtract,
  sum,
} from "../../lib/graph/index.js";
import { type Batch, type RowStream, streamed } from "../../lib/index.js";
import { RowReader } from "../../lib/io/row-reader.js";
import { Device, type DeviceOptions } from "../../lib/runtime/device.js";
import type { Session } from "../../lib/runtime/session.js";
import { Ring, type RingSource, ringRows } from "../../lib/train/ring.js";
import { useEmulator } from "../support/emulator.js";
import { failure } from "../support/io.js";

const absent = useEmulator();
if (absent !== undefined) test.skip(`rings on the emulator: ${absent}`, () => undefined);

const SIZE = 6;
type DataType = "float32" | "uint8";

/** A regression on the rows of the resident "data", in their order: every step's loss depends on the rows of all steps before. */
function training(device: Device, rows: number, batch: number, dtype: DataType): Session {
  const data = state("data", [rows, SIZE], dtype);
  const weights = state("weights", [SIZE, 1]);
  const stored = gather(data, shuffledIndices({ rows, batch, shuffle: false, stream: 1 }));
  const x = dtype === "uint8" ? cast(stored) : stored;
  const error = subtract(reshapeTensor(matmul(x, weights), [batch]), mean(x, { axes: [1] }));
  const loss = mean(square(error));
  const [gradient] = grad(loss, [weights]);
  const rate = dtype === "uint8" ? 1e-6 : 0.05;
  return device.session({ terms: { loss, first: sum(x) }, updates: [[weights, subtract(weights, multiply(gradient!, rate))]] });
}

function values(rows: number, dtype: DataType): Float32Array | Uint8Array {
  const length = rows * SIZE;
  if (dtype === "uint8") return Uint8Array.from({ length }, (_, i) => (i * 37 + (i >> 5)) % 256);
  return Float32Array.from({ length }, (_, i) => Math.sin(i * 1.7) + 0.5);
}

/** Batches of uneven sizes; some take their time. */
function unevenly(data: Float32Array | Uint8Array, waits = false): RowStream {
  const rows = data.length / SIZE;
  return streamed(async function* (): AsyncGenerator<Batch> {
    for (let row = 0, count = 1; row < rows; row += count, count = (count % 7) + 1) {
      if (waits && row % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      yield data.slice(row * SIZE, Math.min(rows, row + count) * SIZE);
    }
  });
}

describe("on the processor", () => cases({ device: "cpu", threads: 2 }));
describe.skipIf(absent !== undefined)("on CUDA", () => cases({ device: "cuda" }));

function cases(options: DeviceOptions): void {
  let devices: Device[] = [];
  const open = (): Device => {
    const device = Device.open(options);
    devices.push(device);
    return device;
  };
  const closeAll = (): void => {
    for (const device of devices) device.dispose();
    devices = [];
  };
  beforeEach(closeAll);
  afterAll(closeAll);

  async function resident(data: Float32Array | Uint8Array, batch: number, steps: number, dtype: DataType): Promise<Float32Array> {
    const device = open();
    const rows = data.length / SIZE;
    const session = training(device, rows, batch, dtype);
    await device.resident("data", [rows, SIZE], dtype).write(data);
    return (await session.run({ steps })).terms;
  }

  interface Through {
    readonly batch: number;
    readonly places: number;
    readonly steps: number;
    readonly atOnce: number;
    readonly queued?: boolean;
    readonly firstStep?: number;
  }

  async function throughRing(stream: RowStream, dtype: DataType, through: Through): Promise<Float32Array> {
    const { batch, places, steps, atOnce, queued = false, firstStep = 0 } = through;
    const device = open();
    const rows = places * batch;
    const session = training(device, rows, batch, dtype);
    const reader = new RowReader(stream, [SIZE], "fit");
    expect(await reader.open()).toBe(dtype);
    const endStep = firstStep + steps;
    const ring = new Ring(device.resident("data", [rows, SIZE], dtype), reader, {
      ringRows: rows,
      batchSize: batch,
      rowSize: SIZE,
      endStep,
    });
    const terms: number[] = [];
    const runs = [];
    for (let step = firstStep; step < endStep; ) {
      const count = await ring.ready(step, Math.min(atOnce, endStep - step));
      expect(count).toBeLessThanOrEqual(Math.min(atOnce, Math.floor(places / 2)));
      const run = session.run({ steps: count, firstStep: step });
      if (!queued) await run;
      runs.push(run);
      step += count;
    }
    for (const { terms: some } of await Promise.all(runs)) terms.push(...some);
    await ring.close();
    return Float32Array.from(terms);
  }

  const dtypes: readonly DataType[] = ["float32", "uint8"];
  test.each(dtypes)("the same losses as with all rows resident: %s", async (dtype) => {
    const data = values(50, dtype); // no multiple of the batch
    const expected = await resident(data, 8, 100, dtype);
    expect(new Set(expected).size).toBeGreaterThan(100);
    for (const places of [2, 3, 8, 200]) {
      for (const atOnce of [1, 7, 1000]) {
        const through = { batch: 8, places, steps: 100, atOnce };
        expect(await throughRing(unevenly(data), dtype, through), `${places} places, ${atOnce} at once`).toEqual(expected);
      }
    }
  });

  test("also where no run is awaited before the next rows are queued, and where rows are slow", async () => {
    const data = values(60, "float32");
    const expected = await resident(data, 4, 100, "float32");
    const through = { batch: 4, places: 6, steps: 100, atOnce: 50 };
    expect(await throughRing(unevenly(data), "float32", { ...through, queued: true })).toEqual(expected);
    expect(await throughRing(unevenly(data, true), "float32", through)).toEqual(expected);
  });

  test("a training that goes on begins at its step's place, with the stream's first rows", async () => {
    const data = values(50, "float32");
    const rotated = new Float32Array(data.length);
    const begin = ((13 * 8) % 50) * SIZE; // where the stream begins in a training that goes on at step 13
    rotated.set(data.subarray(0, data.length - begin), begin);
    rotated.set(data.subarray(data.length - begin), 0);
    const device = open();
    const session = training(device, 50, 8, "float32");
    await device.resident("data", [50, SIZE], "float32").write(rotated as Float32Array);
    const { terms } = await session.run({ steps: 40, firstStep: 13 });
    const through = { batch: 8, places: 5, steps: 40, atOnce: 9, firstStep: 13 };
    expect(await throughRing(unevenly(data), "float32", through)).toEqual(terms);
  });
}

describe("what a ring reads", () => {
  /** Notes what is written, and takes as long as it is told. */
  function target() {
    const writes: { readonly offset: number; readonly first: number; readonly length: number }[] = [];
    let write = async (): Promise<void> => undefined;
    return {
      writes,
      answer: (next: () => Promise<void>) => {
        write = next;
      },
      write: (data: ArrayLike<number>, { offset = 0 } = {}) => {
        writes.push({ offset, first: data[0]!, length: data.length });
        return write();
      },
    };
  }

  /** Rows of one value, their number. */
  function counting(most = Number.POSITIVE_INFINITY) {
    const noted = { rows: 0, closed: 0 };
    const source: RingSource = {
      async next(rows, unit) {
        const count = Math.min(rows, most - noted.rows);
        const given = count - (count % unit);
        if (given === 0) throw new Error("no more rows");
        noted.rows += given;
        return { data: Float32Array.from({ length: given }, (_, i) => noted.rows - given + i), rows: given };
      },
      close: async () => {
        noted.closed++;
      },
    };
    return { noted, source };
  }

  const settle = () => new Promise((resolve) => setTimeout(resolve, 20));
  const options = { ringRows: 12, batchSize: 3, rowSize: 1 };

  test("as far ahead as the ring has room for, and never what queued steps have yet to read", async () => {
    const [to, { noted, source }] = [target(), counting()];
    const ring = new Ring(to, source, options);
    await settle();
    expect(noted.rows).toBe(0);
    expect(await ring.ready(0, 1)).toBe(1);
    await settle();
    expect(noted.rows).toBe(12);
    expect(await ring.ready(0, 4)).toBe(2); // half of the ring
    expect(await ring.ready(1, 1)).toBe(1);
    await settle();
    expect(noted.rows).toBe(15);
    expect(to.writes.at(-1)).toEqual({ offset: 0, first: 12, length: 3 });
    expect(await ring.ready(5, 9)).toBeGreaterThan(0); // all that was there is used
    await settle();
    expect(noted.rows).toBe(27);
    // Row n stands at n mod 12, and no write runs over the ring's end.
    for (const { offset, first, length } of to.writes) {
      expect(offset).toBe(first % 12);
      expect(offset + length).toBeLessThanOrEqual(12);
    }
    await ring.close();
    expect(noted.closed).toBe(1);
  });

  test("no further than to the last step", async () => {
    const { noted, source } = counting();
    const ring = new Ring(target(), source, { ...options, endStep: 3 });
    await ring.ready(0, 3);
    await settle();
    expect(noted.rows).toBe(9);
    await failure("argument", () => ring.ready(3, 1));
    await ring.close();
  });

  test("all rows before a failure are used", async () => {
    const { source } = counting(20);
    const ring = new Ring(target(), source, options);
    let step = 0;
    await expect(
      (async () => {
        for (;;) step += await ring.ready(step, 1);
      })(),
    ).rejects.toThrow("no more rows");
    expect(step).toBe(6); // 18 of 20 rows
    await expect(ring.ready(step, 1)).rejects.toThrow("no more rows");
    await ring.close();
  });

  test("after a write that failed no step is to run", async () => {
    const to = target();
    const ring = new Ring(to, counting().source, options);
    await ring.ready(0, 1);
    to.answer(() => Promise.reject(new Error("gone")));
    await ring.ready(1, 1);
    await settle();
    await expect(ring.ready(2, 1)).rejects.toThrow("gone");
    await ring.close();
  });

  test("close ends a wait, and reading", async () => {
    let give: (reason: unknown) => void = () => undefined;
    const source: RingSource = {
      next: () => new Promise((_, reject) => (give = reject)),
      close: async () => give(new Error("closed")),
    };
    const ring = new Ring(target(), source, options);
    const waiting = failure("disposed", () => ring.ready(0, 1));
    await settle();
    await ring.close();
    await ring.close();
    await waiting;
    await failure("disposed", () => ring.ready(0, 1));
  });

  test("steps that are not next are refused, and rings of another size", async () => {
    const ring = new Ring(target(), counting().source, { ...options, operation: "train" });
    for (const step of [-1, 0.5, Number.NaN]) await failure("argument", () => ring.ready(step, 1));
    await ring.ready(5, 1);
    await settle();
    expect((await failure("argument", () => ring.ready(4, 1))).message).toBe(
      "train: expected firstStep to be a whole number from 5 to 9; received 4",
    );
    await failure("argument", () => ring.ready(10, 1));
    await ring.close();
    for (const rows of [3, 7, 0]) await failure("argument", () => new Ring(target(), counting().source, { ...options, ringRows: rows }));
  });

  test("ringRows: about 32 MiB, two batches at least, 4096 at most", () => {
    expect(ringRows({ batchSize: 128, rowBytes: 784 * 4 })).toBe(128 * 83);
    expect(ringRows({ batchSize: 64, rowBytes: 2 ** 22 })).toBe(128);
    expect(ringRows({ batchSize: 32, rowBytes: 16 })).toBe(32 * 4096);
  });
});
