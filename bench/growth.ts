// `npm run bench -- growth`: how speed and memory grow with the batch, the width and the data set.
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadAddon } from "#lib/runtime/native.js";
import { Child } from "./child.js";
import { program } from "./contestants.js";
import { syntheticDigits } from "./digits.js";
import { describeMachine } from "./machine.js";
import { Probes } from "./probes.js";
import type { Task } from "./protocol.js";
import { endReport, report, writeResult } from "./results.js";
import { median, threeDigits } from "./statistics.js";
import { percent, table } from "./table.js";
import { denseWorkload, stepOperations, type Workload } from "./workload.js";

export interface GrowthSettings {
  readonly tier: string;
  readonly threads: number;
  readonly quick: boolean;
  readonly json?: string;
  readonly command: readonly string[];
}

/** One size. */
interface Point {
  /** What grows: its value. */
  readonly size: number;
  readonly workload: Workload;
  readonly rows: number;
}

/** What was measured there. */
export interface GrowthMeasurement {
  readonly size: number;
  readonly stepsPerSecond: number;
  readonly samplesPerSecond: number;
  readonly gigaflops: number;
  readonly fractionOfPeak: number;
  readonly startupMilliseconds: number;
  readonly firstStepMilliseconds: number;
  /** Bytes by `model.memory()`, and by the process's resident size less what JavaScript holds. */
  readonly statedBytes: number;
  readonly nativeBytes: number;
  readonly peakMemoryBytes: number;
}

const ROWS = 10_000;

export async function growth(settings: GrowthSettings): Promise<void> {
  const machine = describeMachine(settings.command);
  const tier = settings.tier === "" ? loadAddon().info().tier : settings.tier;
  const w1 = { name: "W1", input: 784, hidden: [400], latent: 20, batch: 128 };
  // Rows of 64 bytes: ten million of them fit into the memory of a small machine three times.
  const narrow = denseWorkload({ name: "narrow", input: 64, hidden: [256], latent: 8, batch: 128 });
  const powers = (low: number, high: number, factor: number): number[] => {
    const count = Math.floor(Math.log(high / low) / Math.log(factor) + 1e-9) + 1;
    return Array.from({ length: count }, (_, i) => low * factor ** i);
  };
  const wide = settings.quick ? 1024 : 4096;
  const sweeps: Readonly<Record<string, readonly Point[]>> = {
    "batch size": powers(1, 4096, settings.quick ? 16 : 4).map((batch) => ({
      size: batch,
      workload: denseWorkload({ ...w1, batch }),
      rows: ROWS,
    })),
    "hidden width": powers(64, wide, settings.quick ? 4 : 2).map((width) => ({
      size: width,
      workload: denseWorkload({ ...w1, hidden: [width] }),
      rows: ROWS,
    })),
    "data set rows": powers(1000, settings.quick ? 1e6 : 1e7, 10).map((rows) => ({ size: rows, workload: narrow, rows })),
  };
  const folder = mkdtempSync(join(tmpdir(), "node-vae-bench-"));
  const probes = new Probes(settings.threads, 0.05);
  const measured: Record<string, GrowthMeasurement[]> = {};
  try {
    for (const [sweep, points] of Object.entries(sweeps)) {
      const done: GrowthMeasurement[] = [];
      measured[sweep] = done;
      for (const point of points) {
        report(`${sweep} ${point.size}`);
        done.push(await measure(point, join(folder, "data"), { ...settings, tier }, probes));
      }
    }
  } finally {
    probes.exit();
    rmSync(folder, { recursive: true });
    endReport();
  }
  console.log(
    `${machine.cpu}, ${tier}, ${settings.threads} thread${settings.threads > 1 ? "s" : ""}, Node ${machine.node}, ${machine.date}`,
  );
  for (const [sweep, points] of Object.entries(measured)) console.log(`\n${table([sweep, ...columns], points.map(row))}`);
  const path = writeResult("growth", { machine, tier, threads: settings.threads, sweeps: measured }, settings);
  if (path !== undefined) console.log(`\nwritten to ${path}`);
}

const columns = ["steps/s", "rows/s", "GFLOP/s", "of peak", "start s", "first ms", "stated MB", "native MB", "peak MB"];

function row(one: GrowthMeasurement): string[] {
  return [
    String(one.size),
    threeDigits(one.stepsPerSecond),
    threeDigits(one.samplesPerSecond),
    threeDigits(one.gigaflops),
    percent(one.fractionOfPeak),
    threeDigits(one.startupMilliseconds / 1000),
    threeDigits(one.firstStepMilliseconds),
    threeDigits(one.statedBytes / 1e6),
    threeDigits(one.nativeBytes / 1e6),
    threeDigits(one.peakMemoryBytes / 1e6),
  ];
}

/** A process of its own for every size, so that memory begins at nothing. */
async function measure(point: Point, data: string, { tier, threads, quick }: GrowthSettings, probes: Probes): Promise<GrowthMeasurement> {
  const { size, workload, rows } = point;
  writeRows(data, rows, workload.input);
  const task: Task = { workload, data, threads, configuration: tier, startedAt: Date.now() };
  const child = new Child(process.execPath, ["--expose-gc", program("node-vae"), JSON.stringify(task)]);
  const ready = await child.answer("ready", 120);
  const seconds = quick ? 0.2 : 0.6;
  await child.ask({ type: "run", seconds: seconds / 2 }, "ran", 120);
  const rates: number[] = [];
  const peaks: number[] = [];
  const turn = async () => {
    peaks.push((await probes.peak(tier, threads)).fma);
    const ran = await child.ask({ type: "run", seconds }, "ran", 120);
    rates.push(ran.turns.reduce((sum, [steps]) => sum + steps, 0) / ran.turns.reduce((sum, [, time]) => sum + time, 0));
    return ran;
  };
  for (let round = 0; round < 2; round++) await turn();
  const last = await turn();
  child.exit();
  const stepsPerSecond = median(rates);
  const gigaflops = (stepsPerSecond * stepOperations(workload)) / 1e9;
  return {
    size,
    stepsPerSecond,
    samplesPerSecond: stepsPerSecond * workload.batch,
    gigaflops,
    fractionOfPeak: gigaflops / median(peaks),
    startupMilliseconds: ready.startup,
    firstStepMilliseconds: ready.firstStep,
    statedBytes: last.memory?.stated ?? Number.NaN,
    nativeBytes: last.memory?.native ?? Number.NaN,
    peakMemoryBytes: last.peakMemory,
  };
}

/** Synthetic rows; beyond the first ten thousand they repeat. */
function writeRows(path: string, rows: number, width: number): void {
  const block = syntheticDigits(Math.min(rows, ROWS), width);
  const file = openSync(path, "w");
  for (let left = rows; left > 0; left -= ROWS) writeSync(file, block, 0, Math.min(left, ROWS) * width);
  closeSync(file);
}
