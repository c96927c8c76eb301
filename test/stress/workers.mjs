// Ends workers and processes in the middle of whatever they do, many times, and sees that this process lives on and stays as
// small as it was.
//
//   node test/stress/workers.mjs [--rounds 1000] [--from 0] [--seed 1] [--lanes 2] [--bare]
//
// A round starts a worker that trains, iterates, infers, saves, loads, idles, or holds many devices with reads and writes
// queued, and ends it at a random moment: by terminate(), by an uncaught error or process.exit() in the worker, by an
// AbortSignal, by dispose(); or it starts a process that trains beside two such workers and exits or dies of an error. Half
// of the rounds wait until the work has begun, the others end it at any moment from the worker's birth on. A round fails on
// any other end than that, or when it takes longer than ROUND_MILLISECONDS.
//
// Memory is looked at a hundred times, when no worker is left. After the first quarter of the rounds, which fill caches and
// the allocator's arenas, the slope of the resident set over the rounds is estimated by the median of the slopes of all pairs
// of samples (Theil and Sen), which outliers do not move.
// It must be below SLOPE_LIMIT. --bare does the same with workers that never load the library: what Node itself grows by.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";

const { values: given } = parseArgs({
  options: {
    rounds: { type: "string" },
    from: { type: "string" },
    seed: { type: "string" },
    lanes: { type: "string" },
    bare: { type: "boolean" },
  },
});
const ROUNDS = Number(given.rounds ?? 1_000);
const FROM = Number(given.from ?? 0);
const SEED = Number(given.seed ?? 1);
const LANES = Number(given.lanes ?? 2);
/** KiB a round. A lost session, thread or device costs tens of them each time; what remains is noise and Node's own. */
const SLOPE_LIMIT = 8;
/** Fewer samples say nothing about a slope. */
const ROUNDS_FOR_SLOPE = 400;
const ROUND_MILLISECONDS = 120_000; // on a machine that does much else besides

const library = new URL("../../dist/", import.meta.url).href;
const works = ["train", "iterate", "infer", "save", "load", "idle", "contexts"];
const endings = ["terminate", "process", "error", "abort", "terminate", "process", "exit", "dispose"];

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc");
const folder = mkdtempSync(join(tmpdir(), "node-vae-stress-"));
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Numbers in [0, 1) from a round's number, so that a round can be repeated by itself. */
function randomOf(round) {
  let state = (SEED * 0x9e3779b1 + round * 0x85ebca6b) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Every work meets every ending: 7 and 8 have no common divisor. */
function planOf(round) {
  const random = randomOf(round);
  const work = works[round % works.length];
  const ending = endings[round % endings.length];
  const waits = random() < 0.5;
  return { work, ending, waits, delay: Math.floor(random() * (waits ? 30 : 400)), name: `round-${round}`, library, folder };
}

async function endWorker(plan) {
  const { ending, waits, delay } = plan;
  const file = new URL(given.bare ? "bare.mjs" : "worker.mjs", import.meta.url);
  const worker = new Worker(file, { workerData: plan, stdout: false });
  let error;
  worker.on("error", (thrown) => (error = thrown));
  const exit = new Promise((ended) => worker.on("exit", ended));
  const expected = { terminate: 1, error: 1, exit: 3 }[ending] ?? 0;
  if (ending === "terminate") {
    if (waits) await Promise.race([new Promise((begun) => worker.on("message", begun)), exit]);
    await sleep(delay);
    await worker.terminate();
  }
  const code = await exit;
  const isUnborn = ending === "terminate" && !waits && code === 0; // Node's code when the worker had run nothing yet
  if (code !== expected && !isUnborn) throw new Error(`exit code ${code} instead of ${expected}`, { cause: error });
  if (ending === "error" ? error === undefined : error !== undefined)
    throw new Error("another error than the one thrown", { cause: error });
}

async function endProcess(plan, round) {
  const how = round % 3 === 0 ? "error" : "exit";
  const child = spawn(process.execPath, [new URL("child.mjs", import.meta.url).pathname, JSON.stringify({ ...plan, how })], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let messages = "";
  child.stderr.on("data", (data) => (messages += data));
  const [code, signal] = await once(child, "close");
  if (code !== (how === "error" ? 1 : 7)) throw new Error(`a process ended with ${signal ?? code}: ${messages.slice(0, 2_000)}`);
}

async function run(round) {
  const plan = planOf(round);
  const timer = new AbortController();
  const late = sleepUntil(ROUND_MILLISECONDS, timer.signal);
  try {
    await Promise.race([plan.ending === "process" && !given.bare ? endProcess(plan, round) : endWorker(plan), late]);
  } catch (cause) {
    throw new Error(`round ${round} (${plan.work}, ${plan.ending}, seed ${SEED}): ${cause.message}`, { cause: cause.cause ?? cause });
  } finally {
    timer.abort();
  }
}

function sleepUntil(milliseconds, signal) {
  return new Promise((_, reject) => {
    const timer = setTimeout(() => reject(new Error(`it did not end within ${milliseconds} ms`)), milliseconds);
    signal.addEventListener("abort", () => clearTimeout(timer));
  });
}

/** The median slope of all pairs of points. */
function slopeOf(points) {
  const slopes = points.flatMap(([x, y], i) => points.slice(i + 1).map(([x2, y2]) => (y2 - y) / (x2 - x)));
  return slopes.sort((a, b) => a - b)[slopes.length >> 1];
}

/** [round, KiB] */
const samples = [];
const BATCH = Math.max(LANES, Math.ceil(ROUNDS / 100));

/** Some rounds, LANES of them at a time. The resident set is looked at when no worker is left. */
async function runBatch(first, behind) {
  let next = first;
  const lane = async () => {
    while (next < behind) await run(FROM + next++);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  collectGarbage();
  samples.push([behind, process.memoryUsage.rss() / 1_024]);
}

try {
  for (let first = 0; first < ROUNDS; first += BATCH) {
    await runBatch(first, Math.min(first + BATCH, ROUNDS));
    const [done, size] = samples.at(-1);
    if (samples.length % 10 === 0) console.log(`${done} rounds, ${(size / 1_024).toFixed(1)} MiB resident`);
  }
  console.log(`alive after ${ROUNDS} rounds`);
  if (ROUNDS >= ROUNDS_FOR_SLOPE) {
    const slope = slopeOf(samples.filter(([round]) => round > ROUNDS / 4));
    console.log(`resident set: ${slope.toFixed(2)} KiB a round; the limit is ${SLOPE_LIMIT}`);
    if (slope > SLOPE_LIMIT) throw new Error("memory is not flat");
  }
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
process.exit(); // also when a worker hangs
