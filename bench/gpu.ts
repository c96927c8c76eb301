// `npm run bench -- gpu`: whole training steps on a CUDA device beside PyTorch's, and the floors that nobody gets below.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { encodePlan } from "#lib/compile/encode.js";
import { compile } from "#lib/compile/index.js";
import { loadAddon, type Precision } from "#lib/runtime/native.js";
import { type Candidate, program } from "./contestants.js";
import { syntheticRows } from "./digits.js";
import { describeMachine, type Machine } from "./machine.js";
import { trainingStep } from "./profile.js";
import { endReport, report, resultPath, writeResult } from "./results.js";
import { type Measurement, type Race, race, ratio } from "./rounds.js";
import { threeDigits } from "./statistics.js";
import { percent, table } from "./table.js";
import { parameterCount, stepOperations, type Workload } from "./workload.js";

export interface GpuSettings {
  readonly workloads: readonly Workload[];
  readonly precisions: readonly string[];
  readonly seconds: number;
  readonly rounds: number;
  readonly minutes: number;
  readonly rows: number;
  readonly python: string;
  readonly json?: string;
  readonly command: readonly string[];
}

/** What the GPU can do at best, as PyTorch's libraries reach it: FLOP/s, bytes/s, seconds per node of a graph. */
interface Limits {
  readonly gpu: string;
  readonly torch: string;
  readonly matmul: Readonly<Record<Precision, number>>;
  readonly copy: number;
  readonly node: number;
}

/** Seconds of a step that arithmetic, memory and launches each take at least. */
interface Floors {
  /** Operations over the measured rate of a large product in that precision. */
  readonly arithmetic: number;
  /** Adam reads and writes weight and both moments, 24 bytes per weight, and a row of bytes is read: over the copy's rate. */
  readonly memory: number;
  /** All kernels, as if each waited for the one before, times the measured time of a node: no floor where some run side by side. */
  readonly launches: number;
  readonly kernels: number;
}

interface GpuRace extends Race {
  readonly precision: Precision;
  readonly floors: Floors;
  readonly ratios: Readonly<Record<string, number>>;
}

const PRECISIONS: readonly string[] = ["float32", "tf32", "bfloat16"] satisfies Precision[];

export async function gpu(settings: GpuSettings): Promise<void> {
  const begin = performance.now();
  const wrong = settings.precisions.find((name) => !PRECISIONS.includes(name));
  if (wrong !== undefined) throw new RangeError(`precisions are ${PRECISIONS.join(", ")}; received ${wrong}`);
  const { cuda } = loadAddon().info();
  if (cuda.devices.length === 0) throw new Error(`no CUDA device is usable: ${cuda.problem}`);
  const machine = describeMachine(settings.command);
  report("measuring the limits of the GPU");
  const script = fileURLToPath(new URL("../../bench/contestants/gpu_probe.py", import.meta.url));
  const limits = JSON.parse(execFileSync(settings.python, [script], { encoding: "utf8", timeout: 60_000 })) as Limits;
  console.log(describeLimits(machine, limits));
  const races: GpuRace[] = [];
  const left: string[] = [];
  const pace = { seconds: settings.seconds, rounds: settings.rounds };
  const path = settings.json ?? resultPath("gpu");
  const folder = mkdtempSync(join(tmpdir(), "node-vae-bench-"));
  try {
    for (const precision of settings.precisions as readonly Precision[]) {
      for (const workload of settings.workloads) {
        if (performance.now() - begin > 60_000 * settings.minutes) {
          left.push(`${workload.name} ${precision}`);
          continue;
        }
        const file = join(folder, "data");
        writeFileSync(file, syntheticRows(workload, Math.max(workload.batch, Math.min(settings.rows, (64 << 20) / workload.input))));
        const peak = { fma: limits.matmul[precision] / 1e9, l1: limits.copy / 1e9 };
        const finished = await race(
          candidates(workload, precision, settings.python),
          workload,
          file,
          { peak: async () => peak },
          settings,
          report,
        );
        const [own, ...peers] = finished.measurements;
        const ratios = own?.family === "node-vae" ? Object.fromEntries(peers.map((peer) => [peer.name, ratio(own, peer)])) : {};
        const one: GpuRace = { ...finished, precision, floors: floorsOf(workload, precision, limits), ratios };
        races.push(one);
        endReport();
        console.log(describeRace(one));
        // After every race, so that a run that is cut short leaves what it found.
        writeResult("gpu", { machine, devices: cuda.devices, limits, pace, races, left }, { json: path });
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
    endReport();
  }
  if (left.length > 0) console.log(`\nout of time, not run: ${left.join(", ")}`);
  writeResult("gpu", { machine, devices: cuda.devices, limits, pace, races, left }, { json: path });
  console.log(`\nwritten to ${path}`);
}

/** Ourselves first, then PyTorch as most people run it, with the step in a graph, and that with inductor (its default mode). */
function candidates(workload: Workload, precision: Precision, python: string): Candidate[] {
  const images = workload.image === undefined ? "" : "-channelslast";
  const shared = { threads: 1, tier: precision, environment: {} };
  const own = { command: process.execPath, args: ["--expose-gc", program("node-vae")] };
  const torch = { command: python, args: [fileURLToPath(new URL("../../bench/contestants/pytorch.py", import.meta.url))] };
  return [
    { ...shared, ...own, name: `node-vae-cuda-${precision}`, family: "node-vae", configuration: `cuda-${precision}` },
    ...["eager-fused", "eager-fused-graphs", "compile-fused-graphs"].map((way): Candidate => {
      const configuration = `cuda-${way}-${precision}${images}`;
      return { ...shared, ...torch, name: `pytorch-${configuration}`, family: "PyTorch", configuration };
    }),
  ];
}

function floorsOf(workload: Workload, precision: Precision, limits: Limits): Floors {
  const addon = loadAddon();
  const plan = compile(trainingStep(workload).graph);
  const launches = addon.lowerCuda(encodePlan(plan, addon.info()), 90, precision).reduce((sum, step) => sum + step.length, 0);
  const bytes = 24 * parameterCount(workload) + workload.batch * workload.input;
  const kernels = launches + 1; // and the one that looks at the terms and counts the step
  return {
    arithmetic: stepOperations(workload) / limits.matmul[precision],
    memory: bytes / limits.copy,
    launches: kernels * limits.node,
    kernels,
  };
}

function describeLimits({ node, date }: Machine, { gpu: name, torch, matmul, copy, node: latency }: Limits): string {
  const rates = PRECISIONS.map((precision) => `${precision} ${threeDigits(matmul[precision as Precision] / 1e12)}`).join(", ");
  return [
    `${name}, PyTorch ${torch}, Node ${node}, ${date}`,
    `products in TFLOP/s: ${rates}; copy ${threeDigits(copy / 1e12)} TB/s; a node of a graph ${threeDigits(1e6 * latency)} µs`,
  ].join("\n");
}

function describeRace({ workload, precision, operationsPerStep, measurements, failures, floors, ratios }: GpuRace): string {
  const { arithmetic, memory, launches, kernels } = floors;
  const floor = Math.max(arithmetic, memory);
  const { name, network, batch } = workload;
  return [
    "",
    `${name} in ${precision}: ${network}, batch ${batch}, ${threeDigits(operationsPerStep / 1e9)} GFLOP a step`,
    `floors in µs: arithmetic ${threeDigits(1e6 * arithmetic)}, memory ${threeDigits(1e6 * memory)}; ${kernels} kernels one after the other ${threeDigits(1e6 * launches)}`,
    table(
      ["contestant", "steps/s", "µs", "TFLOP/s", "floor / time", "first ms", "loss", "at step"],
      measurements.map((one) => row(one, floor)),
    ),
    ...Object.entries(ratios).map(([peer, times]) => `node-vae is ${threeDigits(times)} × ${peer}`),
    ...failures.map((failure) => `${failure.name} failed: ${failure.reason}`),
  ].join("\n");
}

function row(one: Measurement, floor: number): string[] {
  return [
    one.name,
    threeDigits(one.stepsPerSecond),
    threeDigits(1e6 / one.stepsPerSecond),
    threeDigits(one.gigaflops / 1000),
    percent(floor * one.stepsPerSecond),
    threeDigits(one.firstStepMilliseconds),
    threeDigits(one.loss.last),
    String(one.loss.steps),
  ];
}
