// `npm run bench`: whole training steps of node-vae beside other libraries.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { datasets } from "node-vae";
import { loadAddon } from "#lib/runtime/native.js";
import { chart } from "./chart.js";
import { type Absent, findContestants } from "./contestants.js";
import { syntheticRows } from "./digits.js";
import { describeMachine, type Machine } from "./machine.js";
import { Probes } from "./probes.js";
import { endReport, report, writeResult, writeText } from "./results.js";
import { bestPeers, type Measurement, type Race, race, ratio } from "./rounds.js";
import { threeDigits } from "./statistics.js";
import { percent, table } from "./table.js";
import type { Workload } from "./workload.js";

export interface TrainSettings {
  readonly workloads: readonly Workload[];
  readonly contestants: readonly string[];
  readonly threads: readonly number[];
  readonly seconds: number;
  readonly rounds: number;
  /** Rows of synthetic data. */
  readonly rows: number;
  readonly pythons: readonly string[];
  readonly quick: boolean;
  readonly json?: string;
  readonly chart?: string;
  /** A folder with train-images-idx3-ubyte, or that name with .gz; else the data are synthetic. */
  readonly data?: string;
  /** The command line, for the record. */
  readonly command: readonly string[];
}

/** What is written as JSON. */
export interface TrainResult {
  readonly machine: Machine;
  readonly data: string;
  readonly pace: { readonly seconds: number; readonly rounds: number };
  readonly races: readonly (Race & { readonly ratios: Ratios })[];
  readonly absent: readonly Absent[];
}

/** How many times faster each contestant of node-vae is than the best of every other family. */
type Ratios = Readonly<Record<string, Readonly<Record<string, number>>>>;

export async function train(settings: TrainSettings): Promise<void> {
  const machine = describeMachine(settings.command);
  const { tiers } = loadAddon().info();
  const { candidates, absent } = findContestants({ ...settings, tiers });
  if (candidates.length === 0) throw new Error(`no contestant is called ${settings.contestants.join(" or ")}`);
  const { seconds, rounds } = settings;
  const folder = mkdtempSync(join(tmpdir(), "node-vae-bench-"));
  const probes = new Probes(Math.max(...candidates.map(({ threads }) => threads)), Math.max(0.05, seconds / 10));
  const races: (Race & { readonly ratios: Ratios })[] = [];
  try {
    for (const workload of settings.workloads) {
      const file = join(folder, "data");
      writeFileSync(file, await rowsFor(workload, settings));
      const onImages = workload.image !== undefined;
      const able = candidates.filter(({ images }) => images === undefined || images === onImages);
      const finished = await race(able, workload, file, probes, { seconds, rounds }, report);
      const tooSlow = candidates.filter(({ images }) => onImages && images === false);
      const failures = [
        ...finished.failures,
        ...tooSlow.map(({ name }) => ({ name, reason: "left out, as it takes seconds for every row" })),
      ];
      races.push({ ...finished, failures, ratios: ratiosOf(finished.measurements) });
    }
  } finally {
    probes.exit();
    rmSync(folder, { recursive: true });
    endReport();
  }
  const data = settings.data === undefined ? `${settings.rows} synthetic rows` : "images of an IDX file";
  const result: TrainResult = { machine, data, pace: { seconds, rounds }, races, absent };
  console.log(describe(result));
  const path = writeResult("train", result, settings);
  if (path !== undefined) console.log(`\nwritten to ${path}`);
  if (settings.chart !== undefined) drawChart(result, settings.chart);
}

/** Draws the chart of a JSON result. */
export function redraw(json: string, svg: string): void {
  drawChart(JSON.parse(readFileSync(json, "utf8")) as TrainResult, svg);
}

function drawChart({ machine, races, pace }: TrainResult, path: string): void {
  const { cpu, node, date } = machine;
  const how = `median of ${pace.rounds} alternated rounds of ${pace.seconds} s`;
  writeText(path, chart(races, `${cpu}, Node ${node}, ${how}, ${date.slice(0, 10)}`));
  console.log(`drawn to ${path}`);
}

/** More bytes of rows say nothing about speed, and libraries that keep them as floats hold them fourfold. */
const MOST_BYTES = 32 * 1024 * 1024;

async function rowsFor(workload: Workload, { data, rows }: TrainSettings): Promise<Uint8Array> {
  const { input, name } = workload;
  if (data === undefined) return syntheticRows(workload, Math.min(rows, Math.floor(MOST_BYTES / input)));
  const images = await datasets.idx(join(data, "train-images-idx3-ubyte"));
  if (images.data.length !== images.rows * input || !(images.data instanceof Uint8Array)) {
    throw new RangeError(`the images of ${data} are not rows of ${input} bytes, which ${name} takes`);
  }
  return images.data;
}

function ratiosOf(measurements: readonly Measurement[]): Ratios {
  const own = measurements.filter(({ family }) => family === "node-vae");
  const peers = bestPeers(measurements);
  return Object.fromEntries(own.map((one) => [one.name, Object.fromEntries(peers.map((peer) => [peer.name, ratio(one, peer)]))]));
}

function describe({ machine, races, absent, data, pace }: TrainResult): string {
  const { cpu, processors, caches, memoryGiB, node, date } = machine;
  const lines = [
    `${cpu}, ${processors} processors, ${memoryGiB} GiB, ${caches.join(", ")}, Node ${node}, ${date}`,
    `${data}; ${pace.rounds} alternated rounds of ${pace.seconds} s; medians; quiet is the fastest tenth`,
  ];
  for (const { workload, operationsPerStep, measurements, failures, ratios } of races) {
    const { name, network, latent, batch } = workload;
    lines.push(
      "",
      `${name}: ${network} to ${latent} latents and back, batch ${batch}, ${threeDigits(operationsPerStep / 1e9)} GFLOP a step`,
    );
    lines.push(table(heading, measurements.map(row)));
    for (const [own, peers] of Object.entries(ratios)) {
      const parts = Object.entries(peers).map(([peer, times]) => `${threeDigits(times)} × ${peer}`);
      if (parts.length > 0) lines.push(`${own} is ${parts.join(", ")}`);
    }
    for (const failure of failures) lines.push(`${failure.name} failed: ${failure.reason}`);
  }
  for (const { name, reason } of absent) lines.push(`${name} is not here: ${reason}`);
  return lines.join("\n");
}

const heading = [
  "contestant",
  "steps/s",
  "quiet ms",
  "GFLOP/s",
  "FMA",
  "L1",
  "of peak",
  "quiet",
  "start s",
  "first ms",
  "peak MB",
  "loss",
  "at step",
];

function row(one: Measurement): string[] {
  return [
    one.name,
    threeDigits(one.stepsPerSecond),
    threeDigits(1000 * one.quietStepSeconds),
    threeDigits(one.gigaflops),
    threeDigits(one.peak.fma),
    threeDigits(one.peak.l1),
    percent(one.fractionOfPeak),
    percent(one.quietFractionOfPeak),
    threeDigits(one.startupMilliseconds / 1000),
    threeDigits(one.firstStepMilliseconds),
    threeDigits(one.peakMemoryBytes / 1e6),
    threeDigits(one.loss.last),
    String(one.loss.steps),
  ];
}
