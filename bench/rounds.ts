// The race: every contestant is started once, then they take turns, one at a time, with the machine probed before each turn.
import { Child } from "./child.js";
import type { Candidate } from "./contestants.js";
import type { Peak, Probes } from "./probes.js";
import type { Ran, Ready, Task } from "./protocol.js";
import { median, quantile } from "./statistics.js";
import { stepOperations, type Workload } from "./workload.js";

/** How long, how often. */
export interface Pace {
  /** Seconds of a turn. */
  readonly seconds: number;
  readonly rounds: number;
}

/** What one contestant did at one workload. Rates are medians over rounds, quiet ones come from the fastest tenth. */
export interface Measurement {
  readonly name: string;
  readonly family: string;
  readonly library: string;
  readonly configuration: string;
  readonly threads: number;
  /** The instruction tier whose peak counts. */
  readonly tier: string;
  readonly stepsPerSecond: number;
  /** Steps per second of each round. */
  readonly rounds: readonly number[];
  /** The 10th percentile of the seconds of a step. */
  readonly quietStepSeconds: number;
  readonly gigaflops: number;
  /** Of the same run, medians over rounds, all threads together. */
  readonly peak: Peak;
  readonly fractionOfPeak: number;
  /** The quiet step against the 90th percentile of the probe. */
  readonly quietFractionOfPeak: number;
  readonly startupMilliseconds: number;
  readonly firstStepMilliseconds: number;
  readonly peakMemoryBytes: number;
  readonly loss: { readonly first: number; readonly last: number; readonly steps: number };
}

export interface Failure {
  readonly name: string;
  readonly reason: string;
}

export interface Race {
  readonly workload: Workload;
  readonly operationsPerStep: number;
  readonly measurements: readonly Measurement[];
  readonly failures: readonly Failure[];
}

/** PyTorch's inductor compiles C++ in its first step. */
const READY_SECONDS = 240;

interface Runner {
  readonly candidate: Candidate;
  readonly child: Child;
  readonly ready: Ready;
  readonly turns: { readonly peak: Peak; readonly ran: Ran }[];
  /** Steps made before the first round. */
  warmUp: number;
}

/**
 * Runs all candidates at a workload. Whoever fails leaves the race and is listed.
 *
 * @param data the file of the data set, bytes
 * @param report is told what happens
 */
export async function race(
  candidates: readonly Candidate[],
  workload: Workload,
  data: string,
  probes: Pick<Probes, "peak">,
  pace: Pace,
  report: (line: string) => void,
): Promise<Race> {
  const failures: Failure[] = [];
  let runners: Runner[] = [];
  const attempt = async <T>(name: string, act: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await act();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      failures.push({ name, reason });
      report(`${name} failed: ${reason}`);
      return undefined;
    }
  };
  for (const candidate of candidates) {
    report(`${workload.name}: starting ${candidate.name}`);
    const runner = await attempt(candidate.name, () => start(candidate, workload, data, pace));
    if (runner !== undefined) runners.push(runner);
  }
  for (let round = 1; round <= pace.rounds; round++) {
    for (const runner of [...runners]) {
      const { candidate } = runner;
      report(`${workload.name}: round ${round} of ${pace.rounds}, ${candidate.name}`);
      const done = await attempt(candidate.name, async () => {
        const peak = await probes.peak(candidate.tier, candidate.threads);
        runner.turns.push({ peak, ran: await turn(runner.child, pace.seconds) });
        return true;
      });
      if (done !== true) runners = runners.filter((other) => other !== runner);
    }
  }
  for (const { child } of runners) child.exit();
  const operations = stepOperations(workload);
  return { workload, operationsPerStep: operations, measurements: runners.map((runner) => measure(runner, operations)), failures };
}

async function start(candidate: Candidate, workload: Workload, data: string, pace: Pace): Promise<Runner> {
  const { command, args, environment, configuration, threads } = candidate;
  const task: Task = { workload, data, threads, configuration, startedAt: Date.now() };
  const child = new Child(command, [...args, JSON.stringify(task)], environment);
  const ready = await child.answer("ready", READY_SECONDS);
  const { turns } = await turn(child, pace.seconds / 2);
  return { candidate, child, ready, turns: [], warmUp: 1 + stepsOf(turns) };
}

/** A slow library may need long for a single step; only a hanging one is given up. */
function turn(child: Child, seconds: number): Promise<Ran> {
  return child.ask({ type: "run", seconds }, "ran", 120 + 10 * seconds);
}

function measure({ candidate, ready, turns, warmUp }: Runner, operations: number): Measurement {
  const { name, family, configuration, threads, tier } = candidate;
  const rounds = turns.map(({ ran }) => stepsOf(ran.turns) / ran.turns.reduce((total, [, seconds]) => total + seconds, 0));
  const stepsPerSecond = median(rounds);
  const quietStepSeconds = quantile(
    turns.flatMap(({ ran }) => ran.turns.map(([steps, seconds]) => seconds / steps)),
    0.1,
  );
  const fma = turns.map(({ peak }) => peak.fma);
  const peak = { fma: median(fma), l1: median(turns.map(({ peak: { l1 } }) => l1)) };
  const gigaflops = (stepsPerSecond * operations) / 1e9;
  return {
    name,
    family,
    library: ready.library,
    configuration,
    threads,
    tier,
    stepsPerSecond,
    rounds,
    quietStepSeconds,
    gigaflops,
    peak,
    fractionOfPeak: gigaflops / peak.fma,
    quietFractionOfPeak: operations / quietStepSeconds / 1e9 / quantile(fma, 0.9),
    startupMilliseconds: ready.startup,
    firstStepMilliseconds: ready.firstStep,
    peakMemoryBytes: Math.max(...turns.map(({ ran }) => ran.peakMemory)),
    loss: {
      first: ready.loss,
      last: turns.at(-1)!.ran.loss,
      steps: warmUp + turns.reduce((total, { ran }) => total + stepsOf(ran.turns), 0),
    },
  };
}

function stepsOf(turns: Ran["turns"]): number {
  return turns.reduce((total, [steps]) => total + steps, 0);
}

/** How many times faster a contestant is than another: the median over rounds, whose phases of the machine both met. */
export function ratio(fast: Measurement, slow: Measurement): number {
  return median(fast.rounds.map((rate, round) => rate / slow.rounds[round]!));
}

/** The best of every family but node-vae: whom node-vae is compared with. */
export function bestPeers(measurements: readonly Measurement[]): Measurement[] {
  const best = new Map<string, Measurement>();
  for (const measurement of measurements) {
    const { family, stepsPerSecond } = measurement;
    if (family !== "node-vae" && stepsPerSecond > (best.get(family)?.stepsPerSecond ?? 0)) best.set(family, measurement);
  }
  return [...best.values()];
}
