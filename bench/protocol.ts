// What a contestant's process and the harness say to each other: one JSON object per line, questions on stdin, answers on
// stdout. A process answers one question at a time and is idle between them, so that processes can take turns.
import { createInterface } from "node:readline";
import type { Workload } from "./workload.js";

/** A contestant's task, as JSON in its first argument. */
export interface Task {
  readonly workload: Workload;
  /** The file of the data set: bytes, rows × workload.input. */
  readonly data: string;
  readonly threads: number;
  /** The contestant's own choice, such as a backend. */
  readonly configuration: string;
  /** When the process was started, in milliseconds since 1970. */
  readonly startedAt: number;
}

export type Question =
  | { readonly type: "run"; readonly seconds: number }
  | { readonly type: "probe"; readonly tier: string; readonly seconds: number }
  | { readonly type: "exit" };

/** Said once, after the first training step. */
export interface Ready {
  readonly type: "ready";
  /** Name and version. */
  readonly library: string;
  /** Milliseconds from the start of the process until everything stood ready for the first step, data included. */
  readonly startup: number;
  /** Milliseconds of the first step, with all compilation that it caused. */
  readonly firstStep: number;
  /** Loss per row of the first step. */
  readonly loss: number;
}

/** The answer to `run`. */
export interface Ran {
  readonly type: "ran";
  /** Steps and the seconds that they took together; one step each where the library is asked step by step. */
  readonly turns: readonly (readonly [steps: number, seconds: number])[];
  /** Loss per row of the last step. */
  readonly loss: number;
  /** Bytes, the most that the process ever had resident. */
  readonly peakMemory: number;
  /** Bytes resident now that no JavaScript object accounts for, and bytes that the model states; where asked for. */
  readonly memory?: { readonly native: number; readonly stated: number };
}

/** The answer to `probe`, in GFLOP/s of one thread. */
export interface Probed {
  readonly type: "probed";
  readonly fma: number;
  readonly l1: number;
}

/** Instead of any answer. */
export interface Failed {
  readonly type: "failed";
  readonly message: string;
}

export type Answer = Ready | Ran | Probed | Failed;

/** A library at its task, ready for the first step. */
export interface Contestant {
  readonly library: string;
  /** Makes one step, or a few where many steps are one call; the very first call makes one. Gives the loss per row. */
  advance(): Promise<{ readonly steps: number; readonly loss: number }>;
  memory?(): Ran["memory"];
}

/** Answers on stdout, unless something there is not JSON: libraries write what they like. */
export function say(answer: Answer): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

/** Calls `answer` with each question in turn; ends the process at `exit` or when the harness is gone. */
export async function listen(answer: (question: Question) => Promise<Answer> | Answer): Promise<never> {
  for await (const line of createInterface({ input: process.stdin })) {
    const question = JSON.parse(line) as Question;
    if (question.type === "exit") break;
    say(await Promise.resolve(answer(question)).catch(failed));
  }
  process.exit(0);
}

/** The life of a contestant's process. */
export async function compete(build: (task: Task) => Promise<Contestant>): Promise<void> {
  try {
    const task = JSON.parse(process.argv[2] ?? "") as Task;
    const contestant = await build(task);
    const startup = Date.now() - task.startedAt;
    const begin = performance.now();
    const { loss } = await contestant.advance();
    say({ type: "ready", library: contestant.library, startup, firstStep: performance.now() - begin, loss });
    await listen((question) => (question.type === "run" ? run(contestant, question.seconds) : failed(`cannot ${question.type}`)));
  } catch (error) {
    say(failed(error));
    process.exit(1);
  }
}

async function run(contestant: Contestant, seconds: number): Promise<Ran> {
  const turns: [steps: number, seconds: number][] = [];
  const begin = performance.now();
  let [before, loss] = [begin, Number.NaN];
  while (turns.length === 0 || before - begin < 1000 * seconds) {
    const advanced = await contestant.advance();
    const now = performance.now();
    turns.push([advanced.steps, (now - before) / 1000]);
    loss = advanced.loss;
    before = now;
  }
  const memory = contestant.memory?.();
  return { type: "ran", turns, loss, peakMemory: process.resourceUsage().maxRSS * 1024, ...(memory === undefined ? {} : { memory }) };
}

function failed(error: unknown): Failed {
  return { type: "failed", message: error instanceof Error ? error.message : String(error) };
}
