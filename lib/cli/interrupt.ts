import { constants } from "node:os";
import { isatty } from "node:tty";
import { codeOf } from "../graph/kinds.js";
import { fileSystemError } from "../io/files.js";
import { reportFailure } from "./failure.js";

/** Several signals of one ending: a package runner and the terminal pass on the same Ctrl-C, systemd sends SIGTERM and SIGHUP. */
const SAME_ENDING_MS = 200;

/** A save that takes longer is announced, so that nobody thinks the signal went unheard. */
const ANNOUNCED_MS = 250;

/** What terminals, service managers and batch systems end programs with, before they kill them. */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR2"] as const;

/** What a shell reports for a program that wrote to a closed pipe: 128 + the number of SIGPIPE. */
const CLOSED_PIPE = 141;

/** The same for SIGHUP. */
const HANGUP = 129;

/** Errors of a stream whose reader, or terminal, is gone. */
const GONE: ReadonlySet<string> = new Set(["EPIPE", "EIO", "ENXIO", "ERR_STREAM_DESTROYED"]);

/** Why a command ends before its work is done. */
export interface Ending {
  /** For people: `interrupted`, `SIGTERM`, `standard error was closed`. */
  readonly why: string;
  readonly exitCode: number;
}

/** Interrupts decide what a closed stream means while they are in scope. */
let inScope = 0;

/** Outputs that nobody reads any more. */
const gone = new Set<NodeJS.WriteStream>();

/**
 * Turns what ends a program into an abort signal for as long as it is in scope: Ctrl-C and its kin, a closed output, a lost
 * terminal, and errors that nobody caught, which become the signal's reason. A second signal ends the program at once, with
 * nothing saved.
 *
 * @example
 * ```ts
 * using interrupt = new Interrupt();
 * await model.fit(data, { signal: interrupt.signal });
 * ```
 */
export class Interrupt implements Disposable {
  readonly #worth: () => boolean;
  readonly #terminals = [0, 1, 2].filter(isatty);
  readonly #controller = new AbortController();
  #ending: Ending | undefined;
  #since = 0;
  #disposed = false;
  #announcement: NodeJS.Timeout | undefined;

  /** @param worth whether there is something to save: until then a closed output is no reason to end, and the next may be */
  constructor(worth: () => boolean) {
    this.#worth = worth;
    inScope++;
    for (const name of SIGNALS) process.on(name, this.#receive);
    process.on("uncaughtException", this.#fail);
    process.stdout.on("error", this.#loseOutput);
    process.stderr.on("error", this.#loseErrors);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Why the work is to end; undefined as long as it is not, and when it ends for an error that nobody caught. */
  get ending(): Ending | undefined {
    return this.#ending;
  }

  /** Lets the program end as its ending asks for, once its work is saved. */
  leave(): void {
    if (this.#ending === undefined) return;
    process.exitCode = this.#ending.exitCode;
    // Where its terminal is gone Node aborts at its end, when it puts the terminal in order: the signal ends it properly.
    if (this.#terminals.every(isatty)) return;
    this[Symbol.dispose]();
    process.kill(process.pid, "SIGHUP");
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#announcement);
    for (const name of SIGNALS) process.off(name, this.#receive);
    process.off("uncaughtException", this.#fail);
    process.stdout.off("error", this.#loseOutput);
    process.stderr.off("error", this.#loseErrors);
    if (!this.#disposed) inScope--;
    this.#disposed = true;
  }

  readonly #receive = (name: NodeJS.Signals): void => {
    const exitCode = 128 + constants.signals[name];
    if (!this.signal.aborted) {
      this.#end({ why: name === "SIGINT" ? "interrupted" : name, exitCode });
      const text = `${name}: the last complete step will be saved; once more to end at once, without\n`;
      this.#announcement = setTimeout(() => process.stderr.write(text), ANNOUNCED_MS);
    } else if (performance.now() - this.#since > SAME_ENDING_MS) {
      if (process.stderr.isTTY) process.stderr.write("\u001b[?25h\n"); // the cursor, which the progress bar hides
      process.exit(exitCode);
    }
  };

  readonly #loseOutput = (error: unknown): void => this.#lose("standard output was closed", error);
  readonly #loseErrors = (error: unknown): void => this.#lose("standard error was closed", error);

  /** A full disk under a log is no reason to stop; a reader that is gone, or a terminal, is. */
  #lose(why: string, error: unknown): void {
    if (this.signal.aborted || !GONE.has(codeOf(error)) || !this.#worth()) return;
    this.#end(codeOf(error) === "EIO" ? { why: "the terminal is gone", exitCode: HANGUP } : { why, exitCode: CLOSED_PIPE });
  }

  #end(ending: Ending): void {
    this.#ending = ending;
    this.#since = performance.now();
    this.#controller.abort();
  }

  readonly #fail = (error: unknown): void => {
    if (this.signal.aborted) process.exit(reportFailure(error, true)); // it went wrong once more, on the way out
    this.#controller.abort(error);
  };
}

/**
 * What closed outputs mean while no {@link Interrupt} is in scope: `node-vae … | head` closes the pipe early, and that is no
 * error; without standard error the work goes on, since there is only nobody left to tell.
 */
export function watchOutputs(): void {
  for (const stream of [process.stdout, process.stderr]) stream.prependListener("error", () => gone.add(stream));
  process.stdout.on("error", (error) => {
    if (inScope > 0) return;
    if (GONE.has(codeOf(error))) process.exit();
    process.exit(reportFailure(fileSystemError({ operation: "write", path: "standard output" }, error), false));
  });
}

/** Says what is to be read whatever happened: on standard error, or on standard output where the other is closed. */
export function say(text: string): void {
  const stream = gone.has(process.stderr) ? process.stdout : process.stderr;
  stream.write(`${text}\n`);
}
