// `npm run bench -- streaming`: a data set on disk trained in a fraction of its memory, beside the same rows resident.
import { spawn } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { StreamingAnswer, StreamingSource, StreamingTask } from "./contestants/streaming.js";
import { program } from "./contestants.js";
import { syntheticDigits } from "./digits.js";
import { describeMachine } from "./machine.js";
import { endReport, report, writeResult } from "./results.js";
import { median, threeDigits } from "./statistics.js";
import { table } from "./table.js";

export interface StreamingSettings {
  readonly gigabytes: number;
  readonly threads: number;
  readonly seconds: number;
  readonly rounds: number;
  /** Where the file is written; it is removed afterwards. */
  readonly folder: string;
  readonly json?: string;
  readonly quick: boolean;
  readonly command: readonly string[];
}

const WIDTH = 784;
const BLOCK_ROWS = 10_000;
const LOSSES = 100;
const SOURCES: readonly StreamingSource[] = ["two batches", "resident", "streamed"];

export const defaultFolder: string = tmpdir();

export async function streaming(settings: StreamingSettings): Promise<void> {
  const { gigabytes, threads, seconds, rounds, quick } = settings;
  const machine = describeMachine(settings.command);
  const rows = Math.ceil((gigabytes * 1e9) / (4 * WIDTH));
  const folder = mkdtempSync(join(settings.folder, "node-vae-bench-"));
  const answers: Record<StreamingSource, StreamingAnswer[]> = { "two batches": [], resident: [], streamed: [] };
  try {
    const path = join(folder, "rows");
    report(`writing ${gigabytes} GB`);
    writeRows(path, rows);
    for (let round = 0; round < rounds; round++) {
      for (const source of SOURCES) {
        report(`${source}, round ${round + 1} of ${rounds}`);
        answers[source].push(await train({ source, path, rows, threads, losses: LOSSES, seconds }));
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
    endReport();
  }
  const result = summarize(answers, rows);
  console.log(`${machine.cpu}, ${threads} thread${threads > 1 ? "s" : ""}, ${rows} rows of ${WIDTH} floats, Node ${machine.node}`);
  console.log(
    `\n${table(
      ["rows", "steps/s", "peak MB"],
      result.sources.map(({ source, stepsPerSecond, peakBytes }) => row(source, stepsPerSecond, peakBytes)),
    )}`,
  );
  console.log(
    `\nstreamed: ${threeDigits(result.ratio)} of the resident steps/s, ${megabytes(result.beyondModelBytes)} MB beyond the model`,
  );
  console.log(`first ${LOSSES} losses ${result.sameLosses ? "the same" : "DIFFER"}`);
  const written = writeResult("streaming", { machine, threads, gigabytes, ...result }, { ...settings, quick });
  if (written !== undefined) console.log(`written to ${written}`);
}

function summarize(answers: Readonly<Record<StreamingSource, readonly StreamingAnswer[]>>, rows: number) {
  const sources = SOURCES.map((source) => ({
    source,
    stepsPerSecond: median(answers[source].map((answer) => answer.stepsPerSecond)),
    peakBytes: Math.max(...answers[source].map((answer) => answer.peakBytes)),
  }));
  const [few, , streamed] = sources;
  // Within a round: a slow phase of the machine meets both.
  const ratio = median(answers.streamed.map((answer, round) => answer.stepsPerSecond / answers.resident[round]!.stepsPerSecond));
  const [expected, ...others] = [...answers.resident, ...answers.streamed].map(({ losses }) => JSON.stringify(losses));
  return {
    rows,
    sources,
    ratio,
    beyondModelBytes: streamed!.peakBytes - few!.peakBytes,
    sameLosses: others.every((losses) => losses === expected),
  };
}

function row(source: string, stepsPerSecond: number, peakBytes: number): string[] {
  return [source, threeDigits(stepsPerSecond), megabytes(peakBytes)];
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}

/** A process of its own for every training, so that memory begins at nothing. */
async function train(task: StreamingTask): Promise<StreamingAnswer> {
  const child = spawn(process.execPath, [program("streaming"), JSON.stringify(task)], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  const [output, code] = await Promise.all([text(child.stdout), ended]);
  if (code !== 0) throw new Error(`the training on ${task.source} rows ended with exit code ${code}`);
  return JSON.parse(output) as StreamingAnswer;
}

/** Synthetic rows as floats; each block of them is a little darker than the one before, ten in turn. */
function writeRows(path: string, rows: number): void {
  const digits = syntheticDigits(BLOCK_ROWS, WIDTH);
  const block = new Float32Array(digits.length);
  const file = openSync(path, "w");
  for (let first = 0; first < rows; first += BLOCK_ROWS) {
    const scale = (1 - ((first / BLOCK_ROWS) % 10) / 20) / 255;
    for (let i = 0; i < block.length; i++) block[i] = digits[i]! * scale;
    const bytes = new Uint8Array(block.buffer, 0, 4 * WIDTH * Math.min(BLOCK_ROWS, rows - first));
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
  }
  closeSync(file);
}
